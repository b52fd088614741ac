"""What maps and predictions are worth."""
