"""Forgeries whose mask is known."""
