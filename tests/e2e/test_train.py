"""Training from the command line: what it leaves behind, that neither a kill nor a second worker changes it, and that
a lake's videos give the crops that were explained."""

import json
import shutil
import signal
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from operators.forging.portrait import make_clips
from operators.inputs.view import View
from operators.models.running import fast_bfloat16
from operators.models.training import predict
from operators.models.weights import load_model, spec_of
from operators.prepare import PrepareParams, prepare
from operators.video.decode import read_frames
from operators.video.encode import write_video
from operators.video.keyframes import KeyframeParams
from operators.video.sandbox import Limits
from pipelines import manifest as manifests
from pipelines.lake.read import open_lake
from schemas.records import SAMPLE

#: a network without batch norm, whose averages two workers take over their own halves
MODEL = "test_convnext"
EPOCHS = 8
SETTINGS = (
    *("--model", MODEL, "--input-size", "64", "--set", f"train.max_epochs={EPOCHS}", "--set", "train.batch_size=4"),
    *("--set", 'train.schedule="constant"', "--set", "train.learning_rate=0.0005"),
)
TRAIN = (*SETTINGS, "--frames", "3")


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Genuine clips and the same with a green patch on the face: two pairs to train on, one to validate."""
    folder = tmp_path_factory.mktemp("planted")
    make_clips(folder, n_real=3, n_fake=0, frames_per_clip=6)
    lines = ["uri,label,split,pair_id,video_id"]
    for number, file in enumerate(sorted((folder / "real").iterdir())):
        forged = [frame.image.copy() for frame in read_frames(str(file))]
        for picture in forged:
            picture[150:190, 140:180] = (0, 255, 0)
        write_video(folder / "fake" / file.name, forged, 25)
        split = "train" if number < 2 else "val"
        lines.append(f"{file},real,{split},,real{number}")
        lines.append(f"{folder / 'fake' / file.name},fake,{split},real{number},fake{number}")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    return folder / "manifest.csv"


@pytest.fixture(scope="module")
def whole(manifest, viba, tmp_path_factory) -> Path:
    """A training that nothing interrupted, with its learning curves in the lake beside it."""
    folder = tmp_path_factory.mktemp("whole")
    said = viba("train", *TRAIN, "--manifest", manifest, "--out", folder / "out", "--lake", folder / "lake", "--quiet")
    assert said.out == ""
    return folder / "out"


def curves(out: Path) -> dict[str, list]:
    return pq.read_table(out / "curves.parquet").to_pydict()


def test_what_a_training_leaves(whole):
    spec = spec_of(whole / "model.safetensors")
    assert spec is not None
    assert (spec.name, spec.view) == (MODEL, View(64))
    report = json.loads((whole / "report.json").read_text())
    assert (report["n_val"], report["start"]) == (6, "scratch: no pretrained weights")
    assert report["val_accuracy"] == 1  # the patch is learned
    assert (whole / "curves.png").stat().st_size > 0
    assert f"epoch {EPOCHS}/{EPOCHS}: train loss" in (whole / "train.log").read_text()
    assert curves(whole)["epoch"] == list(range(EPOCHS))
    assert 0 < max(curves(whole)["train_loss"]) < 1  # the mean over batches, near log 2 at first
    with open_lake(whole.parent / "lake") as connection:  # which has no run yet
        found = connection.sql("select * from curves order by epoch").to_arrow_table()
    assert found.to_pydict() == curves(whole)


@pytest.mark.faults
def test_two_workers_through_a_kill_learn_what_one_does(whole, manifest, killable, viba, tmp_path):
    killed = tmp_path / "killed"
    arguments = ("train", *TRAIN, "--workers", "2", "--manifest", manifest, "--out", killed)
    shutil.copytree(whole / "samples", killed / "samples")  # what is killed is the training, not the cutting
    assert killable(*arguments).kill_when((killed / "checkpoint.pt").is_file) == (-signal.SIGKILL, "")
    reached = torch.load(killed / "checkpoint.pt", weights_only=True)["state"]["epoch"]
    assert 0 < reached < EPOCHS
    assert not (killed / "report.json").is_file()

    viba(*arguments)
    found, expected = curves(killed), curves(whole)
    assert found["epoch"] == expected["epoch"]
    for column in ("train_loss", "val_loss"):
        np.testing.assert_allclose(found[column], expected[column], rtol=1e-2)
    first, second = (torch.load(out / "checkpoint.pt", weights_only=True)["model"] for out in (killed, whole))
    spec = spec_of(whole / "model.safetensors")
    assert spec is not None
    start = load_model(spec).state_dict()
    apart, moved = (
        torch.cat([(model[name] - other[name]).float().flatten() for name in start])
        for model, other in ((first, second), (second, start))
    )
    assert apart.norm() < 0.1 * moved.norm()  # .03 where bfloat16 rounds two halves of a batch otherwise than the whole
    if not fast_bfloat16(torch.device("cpu")):
        for name, value in first.items():
            torch.testing.assert_close(value, second[name], rtol=1e-2, atol=1e-3, msg=name)

    assert "holds another training" in viba(*arguments, "--set", "train.seed=1", code=1).err


def test_a_lake_gives_the_crops_that_were_explained(whole, manifest, viba, tmp_path):
    lake, out = tmp_path / "lake", tmp_path / "out"
    weights = whole / "model.safetensors"
    model = ("--model", MODEL, "--weights", f"{MODEL}={weights}")
    viba("explain", manifest, "--lake", lake, *model, "--method", "gradcam", "--max-keyframes", "2")
    start = ("--pretrained", weights, "--set", "train.max_epochs=1")
    viba("train", *SETTINGS, *start, "--lake", lake, "--out", out)

    samples = pq.read_table(out / "samples", schema=SAMPLE).to_pylist()
    found = {(row["video_id"], row["frame"]): row["pixels"] for row in samples}
    with open_lake(lake) as connection:
        config = json.loads(connection.sql("select config from runs").fetchall()[0][0])
        explained = connection.sql(
            "select video_id, frame, max(logit) filter (class = 'real'), max(logit) filter (class = 'fake') "
            "from predictions where method = '' group by all order by all"
        ).fetchall()
        assert connection.sql("select model, count(*) from curves group by all").fetchall() == [(MODEL, 1)]
        wrong = connection.sql(
            "select * from predictions join videos using (run_id, video_id) where class != label and rank = 1"
        )
        assert not wrong.fetchall()  # the patch is what was called fake
    assert config["prepare"]["keyframes"]["max_keyframes"] == 2

    # what explain cut, cut again as explain does: with detection
    params = PrepareParams(KeyframeParams(**config["prepare"]["keyframes"]))
    videos = prepare(manifests.build([manifest]).table, params=params, limits=Limits(), views=(View(64),)).to_pylist()
    assert found == {(row["video_id"], item["frame"]): item["pixels"] for row in videos for item in row["inputs"]}

    # what explain saw, by what the detector said of it
    spec = spec_of(weights)
    assert spec is not None
    pixels = np.stack([np.frombuffer(found[key[:2]], np.uint8).reshape(64, 64, 3) for key in explained])
    logits = predict(load_model(spec, weights), pixels, spec, torch.device("cpu"))
    np.testing.assert_allclose(logits, [row[2:] for row in explained], atol=0.02)
    # the second training started from the first one's weights
    started, given = load_file(out / "start.safetensors"), load_file(weights)
    assert all(torch.equal(value, given[key]) for key, value in started.items())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give the videos to train on: --manifest FILE, or --lake DIR"),
        (("--lake", "LAKE"), "no run in"),
        (("--lake", "LAKE", "--frames", "3"), "--frames belongs to --manifest"),
        (("--manifest", "REALS"), "no fake video in the split train"),
        (("--manifest", "MANIFEST", "--pretrained", "no/file"), "--pretrained: [Errno 2] No such file"),
        (("--manifest", "MANIFEST", "--pretrained", "MANIFEST"), "neither safetensors nor a plain state dict"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_1(arguments, message, videos, manifest, viba, tmp_path):
    reals = tmp_path / "reals.csv"
    reals.write_text(f"uri,label,split\n{min((videos / 'real').iterdir())},real,train\n")
    (tmp_path / "lake").mkdir()
    paths = {"LAKE": tmp_path / "lake", "REALS": reals, "MANIFEST": manifest}
    given = [paths.get(each, each) for each in arguments]
    said = viba("train", *SETTINGS, "--out", tmp_path / "out", *given, code=1)
    assert message in said.err
    assert len(said.err.strip().splitlines()) == 1, said.err


def test_more_workers_than_pairs_are_refused(whole, manifest, viba, tmp_path):
    shutil.copytree(whole / "samples", tmp_path / "samples")
    said = viba("train", *TRAIN, "--workers", "3", "--manifest", manifest, "--out", tmp_path, code=1)
    assert "--workers 3: a batch of 2 pairs takes 1 to 2" in said.err
