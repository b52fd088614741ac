"""Lakes made of hand-written rows, laid out as a run writes them."""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from operators.forging.portrait import make_clips
from pipelines.lake import read
from pipelines.lake.layout import Layout
from schemas.tables import ANNOTATIONS, CURVES, FAKE, INPUTS, LABELS, LAKE_TABLES, REAL, TCAV_TABLES, Table

Rows = dict[str, list[dict]]

_EXPLAINED = {"model": "m", "method": "iba", "layer": "l", "target": "fake"}
#: what a row says unless told; a sample begins with its map, and a prediction row with `prob_fake` stands for the two
#: rows of a detector of forgeries
DEFAULTS: dict[str, dict] = {
    "runs": {"started_at": datetime(2026, 1, 1, tzinfo=UTC), "starts": [], "layers": []}
    | {"config": json.dumps({"detectors": [{"spec": {"name": "m", "classes": LABELS}}]})},
    "videos": {"video_id": "v", "dataset": "d", "status": "ok", "width": 64, "height": 48, "n_frames": 9},
    "frames": {"video_id": "v", "keyframe_score": 1.0, "status": "ok", "has_flow": True}
    | {"face_x": 0, "face_y": 0, "face_width": 64, "face_height": 48, "face_score": 1.0},
    "inputs": {"video_id": "v", "view": "face picture 4", "pixels": bytes(48)},
    "predictions": {"video_id": "v", "model": "m", "class": "fake", "probability": 1.0, "rank": 1},
    "masks": {"video_id": "v", **_EXPLAINED, "span_frames": 1, "unit": "bits per pixel", "empty": False}
    | {"box_x": 0, "box_y": 0, "box_width": 64, "box_height": 48, "input_size": 4, "height": 1, "width": 2}
    | {"saliency": [1.0, 0.5], "scale": 2.0, "total_bits": 3.0, "floor_bits": 2.0, "loss_first": 1.0, "loss_last": 0.5},
    "closed": {"model": "m", "layer": "l", "class": "fake", "probability": 0.25, "rank": 2},
    "metrics": {"video_id": "v", **_EXPLAINED, "mask_rule": "max0.5", "n_frames": 1, "tcs": 0.5, "persistence": 1.0},
    "truth": {"video_id": "v", "height": 1, "width": 2, "mask": [0, 255], "area": 0.5},
    "localisation_frames": {"video_id": "v", **_EXPLAINED}
    | {"heat_inside": 0.5, "rra": 0.5, "chance": 0.5, "pointing": True, "ehr": 0.5},
    "regions": {"video_id": "v", **_EXPLAINED, "region": "mouth", "heat": 0.5, "area": 0.25, "source": "mesh"},
    "annotations": {"annotator": "a", "video_id": "v", "showing": 1, "regions": [], "source": "a.csv"},
    "judged": {"video_id": "v", "status": "ok", "n_frames": 1, "passes": 9, "judge_s": 1.0},
    "judged_maps": {"video_id": "v", **_EXPLAINED, "gini": 0.5, "entropy": 0.5, "half": 0.25},
    "faithfulness": {"video_id": "v", **_EXPLAINED, "metric": "srg", "fill": "blur", "value": 0.25},
    "faithfulness_curves": {"video_id": "v", **_EXPLAINED, "removal": "morf", "fill": "blur"}
    | {"removed": [0.0, 1.0], "probability": [0.75, 0.5]},
    "cavs": {"tcav_id": "t", "model": "m", "layer": "l", "n_train": 20, "n_test": 10, "seed": 0},
    "tcav_scores": {"tcav_id": "t", "model": "m", "layer": "l", "class": "fake", "n_clips": 5, "layer_number": 0},
    "sanity": {"video_id": "v", **_EXPLAINED, "test": "weights", "place": "fc", "depth": 1.0, "similarity": 0.25},
}


@pytest.fixture(scope="session", autouse=True)
def _few_resamples() -> Iterator[None]:
    """A page and an evaluation draw a tenth as often: how often they do is test_reliability's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("operators.measures.reliability.RESAMPLES", 200)
        yield


@pytest.fixture
def make_lake(tmp_path: Path) -> Callable[..., Path]:
    """make_lake(tables) -> a lake, as `write_lake` makes it, in a folder of the test's own."""
    return partial(write_lake, lake=tmp_path / "lake")


def write_lake(tables: Rows, run_id: str = "r1", *, lake: Path, name: str = "a", pending: bool = False) -> Path:
    """A lake with one run and its videos committed; again adds to it.

    `name` names the files, as a block of videos does; `pending` leaves the block uncommitted.
    """
    layout, ids = Layout(lake), set()
    for table in LAKE_TABLES:
        if table is INPUTS and table.name not in tables:  # as of a run that keeps none
            continue
        rows = _table(table, run_id, tables.get(table.name, []), table.schema)
        if "video_id" in table.schema.names:
            ids |= set(rows["video_id"].to_pylist())
        _write(rows, layout.table(run_id, table.name) / name)
    if "annotations" in tables:
        rows = _table(ANNOTATIONS, run_id, tables["annotations"], ANNOTATIONS.schema)
        _write(rows, layout.annotations.with_suffix(""))
    for chain in {table.chain for table in LAKE_TABLES} - {None}:
        committed = layout.checkpoints(chain, run_id) / (f"{name}.pending" if pending else name)
        _write(pa.table({"video_id": pa.array(sorted(ids), pa.string())}), committed)
    return lake


def views_of(tables: Rows, run_id: str = "r1") -> "duckdb.DuckDBPyConnection":
    """The views of `open_lake` over the rows of one run."""
    return read.views(
        {
            table: ds.dataset(_table(table, run_id, tables.get(table.name, []), read.readable(table)))
            for table in (*LAKE_TABLES, CURVES, ANNOTATIONS, *TCAV_TABLES)
        }
    )


# the type is in quotes: fixtures live until after DuckDB's module has gone, which calls a class they still name a leak
@pytest.fixture
def views() -> Callable[..., "duckdb.DuckDBPyConnection"]:
    """views(videos=[...], masks=[...]) -> the views over these rows; without files, which are test_lake's."""
    return lambda **tables: views_of({"runs": [{}]} | tables)


@pytest.fixture(scope="session")
def portraits(tmp_path_factory) -> dict[tuple[str, str], bytes]:
    """(label, number) -> two forged and two genuine clips of six frames."""
    folder = tmp_path_factory.mktemp("portraits")
    make_clips(folder, n_real=2, n_fake=2, frames_per_clip=6)
    return {(file.parent.name, file.stem): file.read_bytes() for file in sorted(folder.glob("*/*.mp4"))}


@pytest.fixture
def browser(chromium):
    """Chromium and the folder of its downloads; skips where there is none."""
    yield chromium
    chromium[0].get("about:blank")  # else what is on the page plays on beside every other test


@pytest.fixture(scope="session")
def chromium(tmp_path_factory):
    webdriver = pytest.importorskip("selenium.webdriver", reason="no selenium here: it is in the extra dev")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("no browser here: Debian has chromium and chromium-driver")
    folder = tmp_path_factory.mktemp("downloads")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1200,1000"):
        options.add_argument(argument)
    options.add_experimental_option("prefs", {"download.default_directory": str(folder)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    chrome = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield chrome, folder
    chrome.quit()


def until(true: Callable[[], object], what: str) -> None:
    """Wait for what a browser does in its own time, a minute of which a loaded machine may need."""
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end, f"never: {what}"
        time.sleep(0.05)


def _write(table: pa.Table, stem: Path) -> None:
    stem.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, stem.with_name(f"{stem.name}.parquet"))


def _table(table: Table, run_id: str, rows: list[dict], schema: pa.Schema) -> pa.Table:
    """The rows in full, by the table's schema or what it is read as."""
    full = [_full(table, run_id, each) for row in rows for each in _of_two_classes(row)]
    return pa.Table.from_pylist(full, schema=schema)


def _of_two_classes(row: dict) -> list[dict]:
    if "prob_fake" not in row:
        return [row]
    rest = {name: value for name, value in row.items() if name != "prob_fake"}
    fake = row["prob_fake"]
    return [
        rest | {"class": REAL, "probability": 1 - fake, "rank": 1 if fake <= 0.5 else 2},
        rest | {"class": FAKE, "probability": fake, "rank": 2 if fake <= 0.5 else 1},
    ]


def _full(table: Table, run_id: str, row: dict) -> dict:
    told = DEFAULTS[table.name] | {"run_id": run_id, "first_frame": row.get("frame", 0)} | row
    full = {field.name: told[field.name] if field.name in told else _blank(field) for field in table.schema}
    if full.get("saliency") is not None:
        full["saliency"] = np.asarray(full["saliency"], np.float16)
    return full


def _blank(field: pa.Field) -> object:
    if field.nullable:
        return None
    return "" if pa.types.is_string(field.type) else field.type.to_pandas_dtype()(0)
