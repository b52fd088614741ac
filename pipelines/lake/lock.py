"""One writer per chain and run: two would write every row twice."""

import fcntl
import json
import os
import platform
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from operators.storage.remote import Remote
from pipelines.beside import beside
from pipelines.errors import UserError, one_line
from pipelines.lake.layout import Layout

#: how often a claim on a store is renewed, and how old it is when its process must be gone
_RENEWED_S: Final = 20.0
_DEAD_S: Final = 120.0


@contextmanager
def locked(layout: Layout, chain: str, run_id: str) -> Iterator[None]:
    """Inside, no other process writes this run's tables of this chain; other runs go on side by side.

    The lock ends with the process, however that ends. It holds between machines where their file system passes locks
    on, as NFS 4 does; for a lake on a store see `_claimed`. Raises UserError where another process has it, and for a
    lake that cannot be written.
    """
    path = layout.lock(chain, run_id)
    if isinstance(path, Remote):
        with _claimed(path, run_id):
            yield
        return
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
            raise _held(run_id, file.read().strip()) from error
        file.truncate(0)
        file.write(f"process {os.getpid()} on {platform.node()}\n")
        file.flush()
        yield


@contextmanager
def _claimed(folder: Remote, run_id: str) -> Iterator[None]:
    """As `locked`, by objects in a folder of a store, which knows no locks.

    Each process writes a claim and only then looks for others, so of two at least one sees the other; a store that
    shows at once what was written, as S3, GCS and Azure do, is all that takes. A claim is renewed while its process
    lives, and counts until it is `_DEAD_S` older than a new one by the store's own clock, or its process is known to be
    gone on this machine. So it does not hold for a process that is stopped, or cut off from the store, for longer and
    then goes on.
    """
    claim, who = folder / uuid.uuid4().hex, json.dumps([os.getpid(), platform.node(), _machine()])
    try:
        claim.write_text(who)
        claims = {path: info for path, info in folder.listed() if info.is_file}
        now = claims[claim].mtime
        for path, info in claims.items():
            if path == claim:
                continue
            try:
                pid, node, machine = json.loads(path.read_text())
            except FileNotFoundError:  # taken back meanwhile
                continue
            gone = machine == _machine() and not os.path.exists(f"/proc/{pid}")
            if gone or (now - info.mtime).total_seconds() > _DEAD_S:
                path.unlink(missing_ok=True)
            else:
                raise _held(run_id, f"process {pid} on {node}, or was until it was killed within {_DEAD_S:.0f} s")
    except BaseException as error:
        with suppress(OSError):
            claim.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise UserError(f"cannot write the lake at {folder}: {one_line(error)}") from error
        raise

    def renew(done: threading.Event) -> None:
        while not done.wait(_RENEWED_S):
            with suppress(OSError):
                claim.write_text(who)

    try:
        with beside(renew, "lock"):
            yield
    finally:
        with suppress(OSError):
            claim.unlink(missing_ok=True)


def _held(run_id: str, who: str) -> UserError:
    return UserError(
        f"run {run_id} is being written by {who or 'another process'}: wait until it ends, or stop it; another --set, "
        "--model or --lake makes another run"
    )


def _machine() -> str:
    """What tells this machine, since it was started, and its container from others."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip() + os.readlink("/proc/self/ns/pid")
    except OSError:  # no Linux: of nobody else's process is known whether it is there
        return uuid.uuid4().hex
