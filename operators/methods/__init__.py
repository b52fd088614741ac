"""How a map is made."""
