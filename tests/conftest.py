"""Fixtures every test may use."""

import atexit
import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

import pipelines  # noqa: F401  sets how threads wait, before any test imports torch

#: a loaded machine is no reason to fail
settings.register_profile("viba", deadline=None)
settings.load_profile("viba")
ROOT = Path(__file__).resolve().parents[1]

_status: list[int] = []


def _end() -> None:
    if _status:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(_status[-1])


# What the tests import stays: no collection goes through it, and in the end nobody takes it to pieces, which would take
# seconds. Whoever else has something to do in the end registers after this, and is done before.
gc.disable()
atexit.register(_end)


@pytest.fixture(scope="session")
def clips() -> Path:
    """The folder of real clips, with its index.csv."""
    folder = Path(os.environ.get("VIBA_CLIPS", ROOT / ".." / "shared" / "clips")).resolve()
    if not (folder / "index.csv").is_file():
        pytest.skip(f"no real clips at {folder}; set VIBA_CLIPS to a folder that has them")
    return folder


@pytest.fixture
def secret(s3_server) -> str:
    """What must be nowhere."""
    return s3_server.environment["AWS_SECRET_ACCESS_KEY"]


@pytest.fixture(scope="session")
def s3_server() -> Iterator[Any]:
    pytest.importorskip("moto", reason="no S3 server: it is in the extra dev")
    from bench.s3 import Server

    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        server = Server()
        for name, value in server.environment.items():
            patch.setenv(name, value)
        yield server
        server.stop()


@pytest.fixture
def s3(s3_server) -> Iterator[Any]:
    """The server, calm before and after; `s3.bucket` is the URI of an empty bucket of this test's own."""
    s3_server.calm()
    s3_server.bucket = s3_server.new_bucket()
    s3_server.calm()
    yield s3_server
    s3_server.calm()


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


def pytest_sessionfinish(exitstatus: int) -> None:
    _status.append(exitstatus)
