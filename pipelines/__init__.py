"""What runs: the command line, the pipeline, and what is read from a lake."""
