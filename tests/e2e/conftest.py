"""A small folder of videos, and running the command line as a user does."""

import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from operators.forging.portrait import make_clips

ROOT = Path(__file__).resolve().parents[2]
#: a small network and few steps: what is tested is the way the data takes, not the attribution
FAST = [
    *("--model", "resnet10t", "--layer", "layer3", "--max-keyframes", "2"),
    *("--set", "bottleneck.draws=1", "--set", "bottleneck.steps=3", "--set", "resources.videos_per_block=1"),
]


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six clips with a face, one without, a broken one, a twin of a clip, and a text that is no video."""
    folder = tmp_path_factory.mktemp("videos")
    make_clips(folder, n_real=3, n_fake=3, frames_per_clip=8)
    for mask in (folder / "masks").iterdir():
        mask.unlink()
    (folder / "masks").rmdir()
    (folder / "twin").mkdir()
    first = min((folder / "real").iterdir())
    (folder / "twin" / first.name).write_bytes(first.read_bytes())
    (folder / "broken.mp4").write_bytes(b"not a video at all")
    (folder / "notes.txt").write_text("a text")
    return folder


class CommandLine:
    """Runs `python -m pipelines`; every process it starts carries a mark, so that all of them can be killed."""

    def __init__(self) -> None:
        self.mark = f"VIBA_TEST_MARK={uuid.uuid4()}"
        name, value = self.mark.split("=")
        self.environment = {**os.environ, name: value, "RAY_AUTH_MODE": "disabled", "COLUMNS": "200"}
        self.environment.pop("RAY_ADDRESS", None)

    def start_explain(self, videos: Path, lake: Path) -> subprocess.Popen[str]:
        return self.start("explain", videos, "--lake", lake, *FAST)

    def start(self, *arguments: str | Path) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "pipelines", *map(str, arguments)],
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def explain(self, videos: Path, lake: Path, *more: str) -> subprocess.CompletedProcess[str]:
        done = self.run("explain", videos, "--lake", lake, *FAST, *more)
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=600)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def processes(self) -> list[int]:
        """Every living process with the mark, whoever its parent is by now."""
        found = []
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit() and int(folder.name) != os.getpid():
                try:
                    marked = self.mark.encode() in (folder / "environ").read_bytes().split(b"\0")
                    zombie = (folder / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
                except OSError:
                    continue
                if marked and not zombie:
                    found.append(int(folder.name))
        return found

    def kill_everything(self) -> int:
        """`kill -9` until nothing is left; how many were killed."""
        killed: set[int] = set()
        while left := self.processes():
            for pid in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                    killed.add(pid)
                except ProcessLookupError:
                    pass
        return len(killed)


@pytest.fixture(scope="session")
def command_line() -> type[CommandLine]:
    """For fixtures that live longer than a test."""
    return CommandLine


@pytest.fixture
def viba() -> CommandLine:
    return CommandLine()


@pytest.fixture(scope="session")
def undisturbed(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lake of one run over `videos` that nothing interrupted."""
    lake = tmp_path_factory.mktemp("undisturbed") / "lake"
    CommandLine().explain(videos, lake)
    return lake
