"""Side-by-side measurements, run by hand, each printing a ratio and its quality check."""
