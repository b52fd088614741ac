"""The one exception a user's mistake raises, and what is said of errors that are the machine's."""

import errno
import re
import sys
import tempfile
from typing import Final

from pipelines.called import called

#: what the disk, its owner or its file system says no to: none of it is a bug of ours
_MACHINE: Final = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE}
)
CONTINUES: Final = "what is finished is kept, and the same command continues"
#: before the lines of a traceback that say what was raised
_RAISED: Final = re.compile(r"\n(?=[A-Za-z_][\w.]*: )")
_MOST: Final = 500
#: how pyarrow says that a store did not do what was asked
_STORE: Final = re.compile("AWS Error|google::cloud|Azure")
_CAUSED: Final = "The above exception was the direct cause"


class UserError(Exception):
    """Something the user can mend. `python -m pipelines` prints the message as one line and exits with 1."""


def one_line(error: Exception) -> str:
    """What an error of a library says, without its line breaks and the carets below a statement."""
    return " ".join(line.strip() for line in str(error).splitlines() if line.strip(" ^~"))


def told(error: Exception) -> str | None:
    """What the user is told in one line of a full disk, a damaged file, or an error that ended Ray's work; None for
    anything else, which is a bug. The whole of what a worker said is in a file that the line names.
    """
    if isinstance(error, OSError) and error.errno in _MACHINE:
        where = f": {error.filename}" if error.filename else ""
        return f"{error.strerror}{where}; {CONTINUES}"
    if isinstance(error, OSError) and _STORE.search(str(error)):
        return f"{one_line(error)[:_MOST]}; {CONTINUES}"
    if "Parquet" in str(error) and type(error).__module__.partition(".")[0].strip("_") in ("duckdb", "pyarrow"):
        return f"a file is damaged: {one_line(error)}; {called('verify --lake LAKE')} names every one"
    if "ray" in sys.modules and isinstance(error, sys.modules["ray"].exceptions.RayError):
        with tempfile.NamedTemporaryFile("w", prefix="viba-", suffix=".log", delete=False, encoding="utf-8") as log:
            log.write(str(error))
        return f"{_raised(str(error))}; {CONTINUES}. All that was said of it: {log.name}"
    return None


def _raised(text: str) -> str:
    """What the first traceback of a worker's report ends in, or the report itself, where there is none."""
    first = text.partition(_CAUSED)[0]
    return one_line(Exception(_RAISED.split(first)[-1]))[:_MOST]
