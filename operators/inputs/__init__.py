"""Frames in, what models and measures see out: faces, flow, true masks."""
