"""The one exception a user's mistake raises."""


class UserError(Exception):
    """Something the user can mend. `python -m pipelines` prints the message as one line and exits with 1."""
