"""What a run kept is what cutting its videos again would give, and nothing else is given for it."""

import shutil
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from skimage.data import astronaut

from operators.inputs.view import View
from operators.kept import Kept
from operators.prepare import PrepareParams, prepare, recut
from operators.video.keyframes import KeyframeParams
from operators.video.sandbox import Limits
from pipelines.lake.sink import unnest
from schemas.tables import FRAMES, INPUTS, MANIFEST, NESTED, TRUTH, VIDEO_ROW, VIDEOS

VIEWS = (View(64, shows="flow"), View(64), View(96))
PARAMS = PrepareParams(KeyframeParams(selection="uniform", max_keyframes=3))
BLOCK = "block.parquet"
ANY_SECONDS = {"prepare_s": None}


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> pa.Table:
    """A MANIFEST of three clips, one of them without a face."""
    folder = tmp_path_factory.mktemp("videos")
    rows = []
    for name, left in (("b", 96), ("a", 80), ("c", None)):
        with av.open(str(folder / f"{name}.mp4"), "w") as container:
            stream = container.add_stream("libx264", rate=25)
            stream.width, stream.height, stream.pix_fmt = 256, 256, "yuv420p"
            for step in range(6):
                picture = (
                    np.zeros((256, 256, 3), np.uint8) if left is None else astronaut()[:256, left + step :][:, :256]
                )
                container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), "rgb24")))
            container.mux(stream.encode(None))
        rows.append({"video_id": name, "uri": str(folder / f"{name}.mp4"), "dataset": "d"})
    return pa.Table.from_pylist(rows, schema=MANIFEST.schema)


@pytest.fixture(scope="module")
def prepared(videos) -> pa.Table:
    return prepare(videos, params=PARAMS, limits=Limits(), views=VIEWS)


@pytest.fixture(scope="module")
def kept(prepared, tmp_path_factory) -> Kept:
    """A run's tables, of one block."""
    folder = tmp_path_factory.mktemp("lake") / "run_id=r"
    for table in (VIDEOS, FRAMES, TRUTH, INPUTS):
        (folder / table.name).mkdir(parents=True)
        pq.write_table(unnest(prepared, table, "r"), folder / table.name / BLOCK, row_group_size=2)
    return Kept(folder, dict.fromkeys("abc", BLOCK), frozenset(map(str, VIEWS)))


def gone(videos: pa.Table) -> pa.Table:
    """The same videos, whose files are no more."""
    return pa.Table.from_pylist(
        [row | {"uri": f"/gone/{row['video_id']}"} for row in videos.to_pylist()], videos.schema
    )


@pytest.mark.parametrize("views", [VIEWS, VIEWS[1:], VIEWS[:1]])
def test_a_video_that_was_kept_is_not_decoded_again(videos, prepared, kept, views):
    found = prepare(gone(videos), params=PARAMS, limits=Limits(), views=views, kept=(kept,)).to_pylist()
    for row, expected in zip(found, prepared.to_pylist(), strict=True):
        names = set(map(str, views))
        expected["inputs"] = [item for item in expected["inputs"] if item["view"] in names]
        assert row | ANY_SECONDS | {"uri": expected["uri"]} == expected | ANY_SECONDS
    assert [row["status"] for row in found] == ["ok", "ok", "no_face"]
    assert [len(row["inputs"]) for row in found] == [3 * len(views), 3 * len(views), 0]


def test_inputs_that_were_kept_are_not_cut_again(prepared, kept):
    rows = [row | {"uri": "/gone", "inputs": []} for row in prepared.to_pylist()]
    rows = [row for row in rows if row["status"] == "ok"]
    table, flows = pa.Table.from_pylist(rows, schema=VIDEO_ROW), {row["video_id"]: PARAMS.flow for row in rows}
    found = recut(table, flows=flows, limits=Limits(), views=VIEWS, kept=kept)
    assert found["status"].to_pylist() == ["ok", "ok"]
    assert found["inputs"].to_pylist() == prepared["inputs"].to_pylist()[:2]


def test_what_was_not_kept_so_is_cut(videos, prepared, kept):
    def statuses(table: pa.Table, views: tuple[View, ...], of: Kept) -> list[str]:
        return prepare(table, params=PARAMS, limits=Limits(), views=views, kept=(of,))["status"].to_pylist()

    absent = gone(videos)
    assert statuses(absent, (*VIEWS, View(32)), kept) == ["error"] * 3  # a view that it did not cut
    assert statuses(absent, VIEWS, Kept(kept.folder, {"a": BLOCK}, kept.views)) == ["error", "ok", "error"]
    with_truth = [row | {"truth_uri": "/gone/truth"} for row in absent.to_pylist()]
    assert statuses(pa.Table.from_pylist(with_truth, videos.schema), VIEWS, kept) == ["error"] * 3
    assert statuses(videos, (*VIEWS, View(32)), kept) == prepared["status"].to_pylist()


@pytest.mark.parametrize("table", [INPUTS, VIDEOS, FRAMES, TRUTH])
def test_what_another_process_has_removed_meanwhile_is_cut(videos, prepared, kept, tmp_path, table):
    """A run that keeps its inputs and takes a video back writes the block anew, and an hour later the old one goes."""
    shutil.copytree(kept.folder, tmp_path / "lake")
    (tmp_path / "lake" / table.name / BLOCK).unlink()
    old = Kept(tmp_path / "lake", kept.blocks, kept.views)
    found = prepare(videos, params=PARAMS, limits=Limits(), views=VIEWS, kept=(old,)).to_pylist()
    assert [row | ANY_SECONDS for row in found] == [row | ANY_SECONDS for row in prepared.to_pylist()]
    if table is INPUTS:
        rows = [row | {"inputs": []} for row in prepared.to_pylist()[:1]]
        flows = {row["video_id"]: PARAMS.flow for row in rows}
        again = recut(pa.Table.from_pylist(rows, VIDEO_ROW), flows=flows, limits=Limits(), views=VIEWS, kept=old)
        assert again["inputs"].to_pylist() == prepared["inputs"].to_pylist()[:1]


def test_a_video_that_failed_is_tried_again(videos, prepared, kept, tmp_path):
    failed = [
        row | {"status": "error", "inputs": []} | {table.name: [] for table in NESTED} for row in prepared.to_pylist()
    ]
    for table in (VIDEOS, FRAMES, TRUTH, INPUTS):
        (tmp_path / table.name).mkdir()
        rows = unnest(pa.Table.from_pylist(failed, schema=VIDEO_ROW), table, "r")
        pq.write_table(rows, tmp_path / table.name / BLOCK)
    again = Kept(Path(tmp_path), kept.blocks, kept.views)
    found = prepare(videos, params=PARAMS, limits=Limits(), views=VIEWS, kept=(again,))
    assert found["status"].to_pylist() == prepared["status"].to_pylist()
