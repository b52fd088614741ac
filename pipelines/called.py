"""How a command of ours is typed where this one was."""

import shlex
import shutil
import sys
from pathlib import Path


def called(arguments: str) -> str:
    """`arguments`, as a shell takes them, behind the interpreter that runs this process: `.venv/bin/python -m ...`."""
    return f"{_interpreter()} -m pipelines {arguments}".rstrip()


def _interpreter() -> str:
    """From the working directory where it lies below it, else by its name where that finds it, else by its path."""
    own = Path(sys.executable)
    if own.is_relative_to(Path.cwd()):
        return shlex.quote(str(own.relative_to(Path.cwd())))
    return own.name if shutil.which(own.name) == str(own) else shlex.quote(str(own))
