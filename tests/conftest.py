"""Fixtures every test may use."""

import gc
import os
from pathlib import Path

import pytest
from hypothesis import settings

import pipelines  # noqa: F401  sets how threads wait, before any test imports torch

#: a loaded machine is no reason to fail
settings.register_profile("viba", deadline=None)
settings.load_profile("viba")
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def clips() -> Path:
    """The folder of real clips, with its index.csv."""
    folder = Path(os.environ.get("VIBA_CLIPS", ROOT / ".." / "shared" / "clips")).resolve()
    if not (folder / "index.csv").is_file():
        pytest.skip(f"no real clips at {folder}; set VIBA_CLIPS to a folder that has them")
    return folder


def pytest_unconfigure() -> None:
    # Hypothesis leaves a function in gc.callbacks, which outlives the modules and holds them all: DuckDB's
    # classes among them, which nanobind then reports as leaked
    gc.callbacks[:] = [each for each in gc.callbacks if not each.__module__.startswith("hypothesis.")]
