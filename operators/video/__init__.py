"""Files and frames: decoding, encoding, keyframes, the sandbox they run in."""
