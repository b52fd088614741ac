"""The page: everything a run found as one file that a browser opens."""
