"""Concepts as clips, and whether a decision rests on them (Video-TCAV)."""
