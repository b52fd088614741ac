"""A network that can be worked out by hand, through every stage to the tables and what SQL makes of them."""

import json
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from ray.data.block import BlockAccessor
from torch import Tensor, nn

from operators.collect import Collector, from_partial
from operators.explain import Explainer
from operators.inputs.view import View
from operators.measure import measure
from operators.measures.maps import cells
from operators.methods import statistics
from operators.methods.bottleneck import Bottleneck
from operators.methods.gradcam import GradCam
from operators.methods.iba import Iba
from operators.methods.ready import Files
from operators.models.spec import spec_for
from operators.models.weights import Detector
from pipelines.closed import keep_closed
from pipelines.config import Config
from pipelines.lake.layout import Layout
from pipelines.lake.read import open_lake, queries
from pipelines.lake.sink import LakeSink
from schemas.tables import EXPLAIN, LABELS, NESTED, SINK_TABLES, VIDEO_ROW
from tests.queries.conftest import write_lake

SIDE = 8
SPEC = replace(spec_for("resnet10t"), name="known", view=View(SIDE), mean=(0.0,) * 3, std=(1.0,) * 3)
DETECTOR = Detector(SPEC, ("layer",))
#: video -> label, share of its columns that are red, share of its rows that are green
VIDEOS = {"a": ("real", 0.5, 0.0), "b": ("fake", 0.0, 0.5), "c": ("fake", 0.75, 0.5)}
#: of one pass lambda is sigmoid(5) everywhere
PASSED = 1 / (1 + math.exp(-5))


class Known(nn.Module):
    """The logit of real is 4 times the mean of red, of fake 4 times that of green; the layer is the picture itself."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 1, bias=False)
        self.layer.weight.data = torch.eye(3).view(3, 3, 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        return 4 * self.layer(images).mean((2, 3))[:, :2]


@pytest.fixture(autouse=True)
def _known(monkeypatch):
    before = torch.get_num_threads()
    monkeypatch.setattr(Detector, "load", lambda _self: Known().eval())
    yield
    torch.set_num_threads(before)


def picture(red: float, green: float, side: int = SIDE) -> np.ndarray:
    found = np.zeros((side, side, 3), np.uint8)
    found[:, : round(red * side), 0] = 255
    found[: round(green * side), :, 1] = 255
    return found


def item(pixels: np.ndarray, frame: int = 0) -> dict:
    box = {"box_x": 0, "box_y": 0, "box_width": 16, "box_height": 16}
    return box | {"frame": frame, "span_frames": 1, "view": str(View(len(pixels))), "pixels": pixels.tobytes()}


def video(name: str, inputs: list[dict], label: str | None = None) -> dict:
    face = {f"face_{side}": inputs[0][f"box_{side}"] for side in ("x", "y", "width", "height")}
    frame = {"frame": 0, "time_s": 0.0, "keyframe_score": 1.0, "status": "ok", "face_score": 1.0, "has_flow": True}
    truth = np.zeros((SIDE, SIDE), np.uint8)
    truth[: SIDE // 2] = 255
    row = dict.fromkeys(VIDEO_ROW.names) | {table.name: [] for table in NESTED}
    row |= {"video_id": name, "uri": name, "dataset": "d", "label": label, "split": "test", "status": "ok"}
    known = [{"frame": 0, "height": SIDE, "width": SIDE, "mask": truth.ravel(), "area": 0.5}]
    return row | {"inputs": inputs, "frames": [frame | face], "truth": known if label == "fake" else []}


def table() -> pa.Table:
    rows = [video(name, [item(picture(red, green))], label) for name, (label, red, green) in VIDEOS.items()]
    return pa.Table.from_pylist(rows, schema=VIDEO_ROW)


@pytest.fixture
def files(tmp_path) -> Files:
    """Of the layer's statistics: mean 0 and deviation 1, and the lower half is switched off."""
    shape = (3, SIDE, SIDE)
    on = torch.zeros(shape, dtype=torch.int64)
    on[:, : SIDE // 2] = 2
    known = statistics.LayerStatistics(2, torch.zeros(shape).double(), torch.ones(shape).double(), on)
    statistics.save(known, statistics.path_in(tmp_path, "known", "layer"), {})
    return Files(tmp_path, {})


def explained(files: Files, rows: pa.Table, *methods, targets=("predicted",), detectors=(DETECTOR,)) -> pa.Table:
    return Explainer(detectors, methods, targets, files, batch_samples=2, threads=1)(rows)


def test_what_the_network_says_is_what_the_rows_say(files):
    rows = explained(files, table(), GradCam()).to_pylist()
    for row, (_, red, green) in zip(rows, VIDEOS.values(), strict=True):
        said = {each["class"]: each for each in row["predictions"]}
        assert (said["real"]["logit"], said["fake"]["logit"]) == (pytest.approx(4 * red), pytest.approx(4 * green))
        p_fake = 1 / (1 + math.exp(4 * (red - green)))
        assert said["fake"]["probability"] == pytest.approx(p_fake)
        assert said["real"]["probability"] == pytest.approx(1 - p_fake)
        assert (said["real"]["rank"], said["fake"]["rank"]) == ((1, 2) if red > green else (2, 1))
        # the gradient of 4 times a mean over 64 cells is 1/16 in each of them
        (mask,) = row["masks"]
        told = picture(red, green)[..., LABELS.index(mask["target"])] / 255
        assert mask["target"] == ("real" if red > green else "fake")
        np.testing.assert_allclose(cells(mask), told / 16)
        assert (mask["empty"], mask["error_code"]) == (False, None)
        assert row["inputs"] == []


def test_each_class_that_is_asked_about_has_its_own_map(files):
    (row, *_) = explained(files, table().slice(2), GradCam(), targets=("fake", "label", "real")).to_pylist()
    found = {mask["target"]: cells(mask) for mask in row["masks"]}
    assert len(row["masks"]) == len(found) == 2
    for number, name in enumerate(LABELS):
        np.testing.assert_allclose(found[name], picture(0.75, 0.5)[..., number] / 255 / 16)


def test_through_the_bottleneck_only_what_is_switched_on_passes(files):
    """One pass, before which nothing is fitted: the map is the KL at lambda = sigmoid(5), in closed form."""
    rows = explained(files, table(), Iba(Bottleneck(steps=1))).to_pylist()
    of_noise = -0.5 * (1 + 2 * math.log(1 - PASSED) - (1 - PASSED) ** 2)
    for row, (_, red, green) in zip(rows, VIDEOS.values(), strict=True):
        (mask,) = row["masks"]
        shown = picture(red, green)[: SIDE // 2] / 255
        bits = (3 * of_noise + PASSED**2 * shown.sum(2) / 2) / math.log(2)
        np.testing.assert_allclose(cells(mask)[: SIDE // 2], bits, rtol=1e-3)
        assert not cells(mask)[SIDE // 2 :].any()
        assert mask["total_bits"] == pytest.approx(bits.sum(), rel=1e-5)
        assert mask["floor_bits"] == pytest.approx(bits.sum(), rel=1e-5)  # without a step no class has pulled
        assert mask["empty"]
        through = {each["class"]: each for each in row["predictions"] if each["method"] == "iba"}
        logits = {name: 4 * PASSED * shown[..., number].sum() / SIDE**2 for number, name in enumerate(LABELS)}
        assert {name: each["logit"] for name, each in through.items()} == pytest.approx(logits, abs=0.01)
        p_fake = 1 / (1 + math.exp(logits["real"] - logits["fake"]))
        assert through["fake"]["probability"] == pytest.approx(p_fake, abs=0.01)
        assert {each["target"] for each in through.values()} == {mask["target"]}
        assert {each["layer"] for each in through.values()} == {"layer"}
        plain = {each["class"]: each["probability"] for each in row["predictions"] if each["method"] == ""}
        assert plain["fake"] == pytest.approx(1 / (1 + math.exp(4 * (red - green))))


def test_a_detector_sees_its_own_inputs_alone(files):
    small = Detector(replace(SPEC, name="small", view=View(4)), ("layer",))
    row = video("v", [item(picture(1, 0)), item(picture(0, 1, side=4))])
    (found,) = explained(
        files, pa.Table.from_pylist([row], schema=VIDEO_ROW), GradCam(), detectors=(DETECTOR, small)
    ).to_pylist()
    said = {(each["model"], each["class"]): each["logit"] for each in found["predictions"]}
    assert said == {("known", "real"): 4, ("known", "fake"): 0, ("small", "real"): 0, ("small", "fake"): 4}
    assert {mask["model"]: (mask["height"], mask["input_size"]) for mask in found["masks"]} == {
        "known": (8, 8),
        "small": (4, 4),
    }


class Changed(Known):
    """What `change` makes of the means."""

    def __init__(self, change) -> None:
        super().__init__()
        self.change = change

    def forward(self, images: Tensor) -> Tensor:
        return self.change(self.layer(images).mean((2, 3))[:, :2])


def test_a_map_that_is_not_finite_costs_that_map_alone(files, monkeypatch):
    """Of a root at 0 the derivative is infinite: the frame without a green pixel has no map, the other one has."""
    monkeypatch.setattr(Detector, "load", lambda _self: Changed(torch.sqrt).eval())
    row = video("v", [item(picture(0.5, 0.0)), item(picture(0.5, 0.25), frame=1)])
    (found,) = explained(files, pa.Table.from_pylist([row], schema=VIDEO_ROW), GradCam()).to_pylist()
    assert (found["status"], len(found["predictions"])) == ("ok", 4)
    without, with_green = found["masks"]
    failed = {name: without[name] for name in ("error_code", "saliency", "scale", "empty")}
    assert failed == {"error_code": "explain_failed", "saliency": None, "scale": None, "empty": None}
    assert with_green["error_code"] is None
    assert cells(with_green).max() > 0


def test_logits_that_are_not_finite_cost_the_video(files, monkeypatch):
    monkeypatch.setattr(Detector, "load", lambda _self: Changed(torch.log).eval())
    rows = explained(files, table(), GradCam()).to_pylist()
    assert [(row["status"], row["error_code"]) for row in rows] == [
        ("error", "explain_failed"),
        ("error", "explain_failed"),
        ("ok", None),
    ]
    assert rows[0]["masks"] == rows[0]["predictions"] == rows[0]["frames"] == []


def test_the_layers_statistics_are_those_of_the_pictures():
    """Two at a time, so that batches are merged."""
    found = {row["layer"]: from_partial(row) for row in Collector((DETECTOR,), 2, 1)(table()).to_pylist()}
    shown = np.stack([picture(red, green) for _, red, green in VIDEOS.values()]).transpose(0, 3, 1, 2) / 255
    assert found["layer"].n == 3
    np.testing.assert_allclose(found["layer"].mean, shown.mean(0), atol=1e-7)
    np.testing.assert_allclose(found["layer"].std(), shown.std(0, ddof=1).clip(min=0.01), atol=1e-6)
    np.testing.assert_array_equal(found["layer"].nonzero, (shown > 0).sum(0))


def written(lake: Path, rows: pa.Table) -> Path:
    """A lake of one run to which the sink wrote the rows as one block, which is committed."""
    config = json.dumps({"detectors": [{"spec": {"name": "known", "classes": LABELS}}]})
    write_lake({"runs": [{"config": config}]}, lake=lake)
    layout = Layout(lake)
    task = SimpleNamespace(kwargs={"write_uuid": "w"}, task_idx=3)
    sink = LakeSink(layout, "r1", SINK_TABLES)
    sink.write_block(BlockAccessor.for_block(rows.drop_columns("inputs")), 0, task)
    name = sink.filename_provider.get_filename_for_task("w", 3)
    pq.write_table(rows.select(["video_id"]), layout.checkpoints(EXPLAIN, "r1") / name)
    return lake


def asked(lake: Path, name: str) -> list[dict]:
    with open_lake(lake) as connection:
        return connection.sql(queries("tables")[name]).to_arrow_table().to_pylist()


def test_the_tables_of_the_paper_say_what_the_network_said(files, tmp_path):
    rows = explained(files, table(), GradCam(), Iba(Bottleneck(steps=1)))
    lake = written(tmp_path / "lake", measure(rows, rules=("max0.5",)))
    with open_lake(lake) as connection:
        found = connection.sql(
            "select video_id, probability from predictions where method = '' and class = 'fake'"
        ).fetchall()
    assert dict(found) == pytest.approx({"a": 0.119203, "b": 0.880797, "c": 0.268941}, abs=1e-6)
    plain, through = asked(lake, "table2")
    # c is taken for real: sure of itself to .73 and wrong, the two others to .88 and right
    assert plain == {"model": "known", "method": "", "n": 3, "precision": 1.0, "recall": 0.5} | {
        "accuracy": pytest.approx(2 / 3),
        "ece": pytest.approx((2 * (1 - 0.880797) + 0.731059) / 3, abs=1e-5),
    }
    # with the lower half gone c is taken for fake, which counts for the class that the model itself predicts
    assert (through["method"], through["n"], through["accuracy"]) == ("iba", 3, 1)
    # the upper half is forged: all of b's heat lies there, of c's columns, which explain real, half
    wrongly, rightly = sorted(
        (row for row in asked(lake, "localisation") if row["method"] == "gradcam"), key=lambda row: row["rightly"]
    )
    assert (wrongly["target"], wrongly["heat_inside"], wrongly["chance"]) == ("real", 0.5, 0.5)
    assert (rightly["target"], rightly["heat_inside"], rightly["rra"]) == ("fake", 1, 1)
    covered = {(row["target"], row["label"]): row["tcs"] for row in asked(lake, "table3") if row["method"] == "gradcam"}
    assert covered == {("real", "real"): 0.5, ("fake", "fake"): 0.5, ("real", "fake"): 0.75}
    assert {row["n_empty"] for row in asked(lake, "table3") if row["method"] == "iba"} == {1}


def test_what_noise_alone_is_judged_to_be_is_the_rows_of_closed_and_stays(files, tmp_path):
    """Noise as red as a half and not green: logits 2 and 0."""
    layout = Layout(tmp_path / "lake")
    config = Config((DETECTOR,))
    mean = torch.tensor([0.5, 0.0, 0.0]).view(3, 1, 1).expand(3, SIDE, SIDE).double()
    on = torch.full((3, SIDE, SIDE), 200)
    known = statistics.LayerStatistics(200, mean, torch.zeros_like(mean), on)
    path = statistics.path_in(layout.statistics(config.run_id), "known", "layer")
    statistics.save(known, path, {})
    keep_closed(config, layout)
    kept = pq.read_table(layout.table(config.run_id, "closed"), partitioning=None).to_pylist()
    p_real = 1 / (1 + math.exp(-2))
    assert kept == [
        {"run_id": config.run_id, "model": "known", "layer": "layer"} | row
        for row in (
            {"class": "real", "probability": pytest.approx(p_real, abs=2e-3), "rank": 1},
            {"class": "fake", "probability": pytest.approx(1 - p_real, abs=2e-3), "rank": 2},
        )
    ]
    path.unlink()
    keep_closed(config, layout)
    assert pq.read_table(layout.table(config.run_id, "closed"), partitioning=None).to_pylist() == kept
