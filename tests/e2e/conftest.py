"""A small folder of videos, and the command line: in this process on one Ray, and as processes that can be killed."""

import contextlib
import io
import random
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import ray

from bench.processes import Command
from operators.forging.portrait import make_clips
from pipelines.__main__ import main
from pipelines.lake.layout import Layout

#: a small network and few steps: what is tested is the way the data takes, not the attribution
FAST = [
    *("--model", "test_resnet", "--layer", "layer3", "--max-keyframes", "2"),
    *("--set", "bottleneck.draws=1", "--set", "bottleneck.steps=3", "--set", "resources.videos_per_block=1"),
]


class Said(NamedTuple):
    """What a command wrote."""

    out: str
    err: str


@pytest.fixture(scope="session", autouse=True)
def _terminal() -> Iterator[None]:
    """A wide terminal, and a Ray of our own: the first command starts it, the others join, the last test ends it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("COLUMNS", "200")
        patch.setenv("RAY_worker_niceness", "0")  # else they wait for whatever else runs, the other tests first of all
        patch.delenv("RAY_ADDRESS", raising=False)
        yield
        ray.shutdown()


@pytest.fixture(scope="session")
def viba() -> Callable[..., Said]:
    """viba(COMMAND, ...): runs it in this process, where it has to end with `code`."""

    def run(*arguments: str | Path, code: int = 0) -> Said:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            found = main([str(each) for each in arguments])
        assert found == code, out.getvalue() + err.getvalue()
        return Said(out.getvalue(), err.getvalue())

    return run


@pytest.fixture(scope="session")
def explain(viba) -> Callable[..., Said]:
    """explain(VIDEOS, LAKE, ...): as the FAST flags say, unless told otherwise."""
    return lambda videos, lake, *more: viba("explain", videos, "--lake", lake, *FAST, *more)


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six clips with a face, one without, a broken one, a twin of a clip, and a text that is no video."""
    folder = tmp_path_factory.mktemp("videos")
    make_clips(folder, n_real=3, n_fake=3, frames_per_clip=8)
    shutil.rmtree(folder / "masks")
    (folder / "twin").mkdir()
    first = min((folder / "real").iterdir())
    (folder / "twin" / first.name).write_bytes(first.read_bytes())
    (folder / "broken.mp4").write_bytes(b"not a video at all")
    (folder / "notes.txt").write_text("a text")
    return folder


@pytest.fixture(scope="session")
def undisturbed(videos: Path, explain, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lake of one run over `videos` that nothing interrupted; to be read, not written."""
    lake = tmp_path_factory.mktemp("undisturbed") / "lake"
    explain(videos, lake)
    return lake


@pytest.fixture(scope="session")
def known(undisturbed: Path) -> Path:
    """Statistics of the FAST layer, for runs that are not about estimating them."""
    layout = Layout(undisturbed)
    return layout.statistics(layout.run_ids()[0])


class Killable(Command):
    """`python -m pipelines`, with all of its processes."""

    def end(self) -> str:
        """Waits for it to succeed, with nothing on standard error; what it said."""
        code, out, err = self.ended(600)
        assert code == 0, out + err
        assert not err
        return out

    def kill_when(
        self,
        reached: Callable[[], bool],
        jitter: random.Random | None = None,
        wanted: Callable[[int, bytes], bool] = lambda *_: True,
    ) -> tuple[int, str]:
        """`kill -9` of those that are `wanted`, else of driver, Ray and workers, as soon as it has `reached` a point,
        or up to half a second later; how it ended, and what was on standard error.

        Until then nothing may be there: what Ray says of its own accord stays off the screen.
        """
        deadline = time.monotonic() + 300
        while not reached() and self.goes_on():
            assert time.monotonic() < deadline, "no progress"
            time.sleep(0.01)
        if jitter is not None:
            time.sleep(jitter.random() / 2)
        alive = self.goes_on()
        self.kill(wanted)
        code, out, err = self.ended(60)
        assert alive, f"it was over before it was killed:\n{out}{err}"
        return code, err


@pytest.fixture(scope="session")
def killable() -> type[Killable]:
    """killable(COMMAND, ...): starts it as a process of its own."""
    return Killable


@pytest.fixture(scope="session")
def fast() -> list[str]:
    """Flags of `explain` for a small network and few steps."""
    return FAST
