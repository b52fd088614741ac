"""Files on this machine's disks and on object stores, alike."""
