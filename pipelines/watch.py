"""One line where the Ray that this process starts is killed, or does not start."""

import os
import select
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import ray
from ray._private import worker

from pipelines.errors import CONTINUES, UserError, one_line

#: without one of these nothing that waits for Ray ends before Ray's own time limit, and then with pages of its errors
_NEEDED: Final = ("raylet", "gcs_server")
_LOOK_S: Final = 0.05


@contextmanager
def watched() -> Iterator[None]:
    """Inside, a Ray is started; from then on, until it is shut down, the process ends as soon as that is killed.

    Where it does not start, UserError names a file with what was said on standard error meanwhile.
    """
    starting, heard = threading.Event(), os.dup(2)
    starting.set()
    with tempfile.NamedTemporaryFile("w", prefix="viba-ray-", suffix=".log", delete=False) as said:
        threading.Thread(target=_watch, args=(starting, heard), name="watch", daemon=True).start()
        os.dup2(said.fileno(), 2)
        try:
            yield
        except Exception as error:
            raise UserError(f"Ray does not start: {one_line(error)}; what it said is in {said.name}") from error
        finally:
            os.dup2(heard, 2)
            starting.clear()
    os.unlink(said.name)


def _watch(starting: threading.Event, heard: int) -> None:
    while (node := worker._global_node) is None:
        if not starting.is_set():  # it did not
            return
        time.sleep(_LOOK_S)
    if not hasattr(os, "pidfd_open"):  # no Linux
        return
    ended, names = select.poll(), {}
    for name in _NEEDED:
        try:
            descriptor = os.pidfd_open(node.all_processes[name][0].process.pid)
        except ProcessLookupError:  # already
            killed = name
            break
        ended.register(descriptor, select.POLLIN)
        names[descriptor] = name
    else:
        (descriptor, _), *_ = ended.poll()
        killed = names[descriptor]
    if starting.is_set() or ray.is_initialized():  # else it was shut down
        _end(heard, killed)


def _end(heard: int, name: str) -> None:
    """At once: whatever this process would do on its way out waits for Ray."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # Ray's own threads have much to say now
    cursor = "\n\x1b[?25h" if os.isatty(heard) else ""  # the bars hid it
    os.write(heard, f"{cursor}viba: Ray was killed (its {name}); {CONTINUES}\n".encode())
    os._exit(1)
