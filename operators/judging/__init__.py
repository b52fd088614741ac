"""What judging asks of maps and models."""
