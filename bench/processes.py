"""The command line as processes that are watched, hurt and killed."""

import atexit
import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
_MARK: Final = "VIBA_BENCH_MARK"


def is_raylet(_: int, line: bytes) -> bool:
    """Whether a command line is that of Ray's process for a node."""
    return line.split(b"\0", 1)[0].endswith(b"/raylet")


class Command:
    """`python -m pipelines ARGUMENTS`, or another program, started at once, with all it starts; its group is its own.

    All of its processes carry a mark in their environment, whoever their parent is by now.
    """

    def __init__(
        self,
        *arguments: str | Path,
        program: tuple[str, ...] = (sys.executable, "-m", "pipelines"),
        env: Mapping[str, str] | None = None,
        within: tuple[str, ...] = (),
    ) -> None:
        mark = str(uuid.uuid4())
        self._mark = f"{_MARK}={mark}".encode()
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            [*within, *program, *map(str, arguments)],
            cwd=ROOT,
            env=os.environ | {_MARK: mark, "COLUMNS": "200"} | dict(env or {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        atexit.register(self.kill, lambda *_: True)

    def goes_on(self) -> bool:
        """Whether the command itself has not ended."""
        return self.process.poll() is None

    def age_s(self) -> float:
        """Seconds since its start."""
        return time.monotonic() - self.started

    def ended(self, within_s: float) -> tuple[int, str, str]:
        """Its exit code and what it said on both ways; SystemExit where it has not ended in time: it hangs."""
        try:
            out, err = self.process.communicate(timeout=within_s)
        except subprocess.TimeoutExpired:
            self.kill(lambda *_: True)
            raise SystemExit(f"HANG: it has not ended for {within_s:g} s") from None
        return self.process.returncode, out, err

    def pids(self, wanted: Callable[[int, bytes], bool]) -> list[int]:
        """Its living processes that are `wanted`, by their id and command line."""
        found = []
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit() and int(folder.name) != os.getpid():
                with contextlib.suppress(OSError):
                    marked = self._mark in (folder / "environ").read_bytes().split(b"\0")
                    zombie = (folder / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
                    if marked and not zombie and wanted(int(folder.name), (folder / "cmdline").read_bytes()):
                        found.append(int(folder.name))
        return found

    def kill(self, wanted: Callable[[int, bytes], bool]) -> int:
        """`kill -9` of all that are `wanted`, and of those that they start meanwhile; how many there were. The command
        itself comes first, for it would have something to say of the others."""
        n = 0
        while left := self.pids(wanted):
            for pid in sorted(left, key=lambda pid: pid != self.process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    n += 1
            time.sleep(0.05)
        return n
