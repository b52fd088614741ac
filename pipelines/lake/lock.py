"""One writer per chain and run: two would write every row twice."""

import fcntl
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager

from pipelines.errors import UserError
from pipelines.lake.layout import Layout


@contextmanager
def locked(layout: Layout, chain: str, run_id: str) -> Iterator[None]:
    """Inside, no other process writes this run's tables of this chain; other runs go on side by side.

    The lock ends with the process, however that ends. It holds between machines where their file system passes locks
    on, as NFS 4 does. Raises UserError where another process has it, and for a lake that cannot be written.
    """
    path = layout.lock(chain, run_id)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+")
    except OSError as error:
        raise UserError(f"cannot write the lake {layout.root}: {error.strerror}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            raise UserError(
                f"run {run_id} is being written by {file.read().strip() or 'another process'}: wait until it ends, or "
                "stop it; another --set, --model or --lake makes another run"
            ) from error
        file.truncate(0)
        file.write(f"process {os.getpid()} on {platform.node()}\n")
        file.flush()
        yield
