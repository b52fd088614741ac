"""Runs functions on files nobody trusts in a child process with a time and a memory limit.

The child is a fresh interpreter, not a fork and not multiprocessing's spawn, which would import the main module of
whatever program this runs in. It serves many calls.
"""

import ctypes
import gc
import os
import pickle
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import field
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Annotated, Any, NoReturn, ParamSpec, TypeVar

from annotated_types import Ge, Le

from schemas.errors import SampleError
from schemas.params import checked

P = ParamSpec("P")
T = TypeVar("T")

_ROOT = Path(__file__).resolve().parents[2]
#: imports from a slow network disk are not the sample's fault
_START_S = 300.0
_PROGRESS_S = 0.5
_WATCHDOG_S = 1.0
#: how Python, C++ and OpenCV say that memory ran out
_NO_MEMORY = ("MemoryError", "bad_alloc", "Cannot allocate memory", "Insufficient memory")
#: kinds of messages from the child, each sent with a payload
_STARTED, _PROGRESS, _RESULT, _SAMPLE, _MEMORY, _BUG = "started", "progress", "result", "sample", "memory", "bug"


@checked
class Limits:
    """What one call may take."""

    timeout_s: Annotated[float, Ge(1)] = 3600.0
    stall_s: Annotated[float, Ge(1), Le(86_400)] = 60.0  #: longest time without a sign of progress
    #: address space of the child; its libraries take about 800 MB of it
    memory_mb: Annotated[int, Ge(1024), Le(1 << 20)] = 4096
    #: decoded frames that are kept, so that a video is decoded once; one of more is decoded twice
    kept_mb: Annotated[int, Ge(0), Le(1 << 16)] = field(default=512, metadata={"identity": False})
    #: the largest video that is fetched from a store to this machine's disk
    fetch_mb: Annotated[int, Ge(1), Le(1 << 24)] = field(default=20_480, metadata={"identity": False})
    calls_per_child: Annotated[int, Ge(1), Le(100_000)] = 200  #: then a fresh child, in case a library leaks


def progress() -> None:
    """To be called often by a function that runs in a sandbox: it gets on. Elsewhere it does nothing."""
    if _child is not None:
        _child.progress()


class Sandbox:
    """One child process, started by the first call and replaced after a failure."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`function(*args, **kwargs)`, a module-level function, called in the child.

        Raises the SampleError that the function raises, or SampleError decode_timeout, decode_memory, decode_crash.
        Any other exception is a bug and comes as RuntimeError with the child's traceback.
        """
        if self._process is None or self._process.poll() is not None or self._calls >= self._limits.calls_per_child:
            self.close()
            self._start()
        self._calls += 1
        try:
            kind, payload = self._call(pickle.dumps((function, args, kwargs)))
        except BaseException:
            self.close()
            raise
        if kind == _RESULT:
            return payload
        if kind == _SAMPLE:
            if payload.code == "not_found":  # no library has seen anything
                self._calls -= 1
            raise payload
        self.close()
        if kind == _MEMORY:
            raise SampleError("decode_memory", f"limit {self._limits.memory_mb} MB: {payload}")
        raise RuntimeError(f"failed in the child process:\n{payload}")

    def close(self) -> None:
        """Ends the child, whatever it is doing."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
            self._connection.close()
            self._stderr.close()

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        self._connection, self._calls = Connection(ours.detach()), 0
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115, it lives as long as the child
        with theirs:
            path = os.pathsep.join([str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
            arguments = (theirs.fileno(), os.getpid(), self._limits.memory_mb)
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "operators.video.sandbox", *map(str, arguments)],
                env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._stderr,
                pass_fds=[theirs.fileno()],
            )

    def _call(self, request: bytes) -> tuple[str, Any]:
        """Sends the request and waits for the child's last word on it."""
        limits, started = self._limits, False
        end = time.monotonic() + _START_S
        try:
            self._connection.send_bytes(request)
            while True:
                left = end - time.monotonic()
                if not self._connection.poll(max(0.0, min(left, limits.stall_s) if started else left)):
                    break
                kind, payload = self._connection.recv()
                if kind == _STARTED:
                    started, end = True, time.monotonic() + limits.timeout_s
                elif kind != _PROGRESS:
                    return kind, payload
        except (EOFError, ConnectionError):
            if not started and self._calls > 1:  # it died between two calls, which is not this call's fault
                self.close()
                self._start()
                self._calls = 1
                return self._call(request)
            self._raise_death(started)
        if not started:
            raise RuntimeError(f"the child process was not ready after {_START_S:g} s")
        stalled = left > limits.stall_s
        why = f"no progress for {limits.stall_s:g} s" if stalled else f"not done after {limits.timeout_s:g} s"
        raise SampleError("decode_timeout", why)

    def _raise_death(self, started: bool) -> NoReturn:
        assert self._process is not None
        status = self._process.wait()
        self._stderr.seek(0)
        said = self._stderr.read().decode(errors="replace").strip()
        if not started and status != -signal.SIGKILL:  # which is the kernel's, for want of memory
            raise RuntimeError(f"the child process did not start (status {status}):\n{said}")
        last_line = said.splitlines()[-1] if said else ""
        if any(text in said for text in _NO_MEMORY):
            raise SampleError("decode_memory", f"limit {self._limits.memory_mb} MB: {last_line}")
        how = signal.Signals(-status).name if status < 0 else f"exit status {status}"
        raise SampleError("decode_crash", f"{how} {last_line}".strip())


@cache
def kept_sandbox(limits: Limits) -> Sandbox:
    """One child per worker process, kept from file to file."""
    return Sandbox(limits)


class _Child:
    """The other end: serves calls until the parent hangs up."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._told_s = 0.0

    def progress(self) -> None:
        now = time.monotonic()
        if now - self._told_s >= _PROGRESS_S:
            self._told_s = now
            self._connection.send((_PROGRESS, None))

    def serve(self) -> None:
        while True:
            try:
                request = self._connection.recv_bytes()
            except EOFError:
                return
            self._connection.send_bytes(self._answer(request))
            _give_back()

    def _answer(self, request: bytes) -> bytes:
        try:
            function, args, kwargs = pickle.loads(request)
            self._connection.send((_STARTED, None))
            return pickle.dumps((_RESULT, function(*args, **kwargs)))
        except SampleError as error:
            return pickle.dumps((_SAMPLE, error))
        except Exception as error:
            text = traceback.format_exception_only(error)[-1].strip()
            if isinstance(error, MemoryError) or any(part in text for part in _NO_MEMORY):
                return pickle.dumps((_MEMORY, text))
            return pickle.dumps((_BUG, traceback.format_exc()))


def _give_back() -> None:
    """Hands memory back to the system while the process waits for its next video.

    A frame whose side data was asked for lives until gc runs, and with it libav's pool: all frames of that video. And
    glibc keeps what was freed. What is left after a call is what was imported: no later collection goes through it.
    """
    gc.collect()
    gc.freeze()
    with suppress(AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


_child: _Child | None = None


def _main(fd: int, parent: int, memory_mb: int) -> None:
    global _child
    resource.setrlimit(resource.RLIMIT_AS, (memory_mb << 20, memory_mb << 20))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent to handle
    threading.Thread(target=_die_with, args=(parent,), daemon=True).start()
    _child = _Child(Connection(fd))
    _child.serve()


def _die_with(parent: int) -> None:
    """Ends this process when its parent is gone, even amid a computation."""
    while os.getppid() == parent:
        time.sleep(_WATCHDOG_S)
    os._exit(1)


if __name__ == "__main__":
    from operators.video import sandbox

    sandbox._main(*map(int, sys.argv[1:]))
