"""From genuine clips to forgeries, and from these to how much of an explanation lies where they were forged."""

import csv
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest

from operators.forge import ForgeriesParams, forge_video
from operators.forging.blend import ForgeParams
from operators.forging.portrait import make_clips
from operators.video.decode import read_frames
from operators.video.encode import read_masks
from pipelines.lake.read import open_lake
from pipelines.manifest import build

FORGE = (
    *("--per-video", "2", "--seed", "3", "--region", "face", "--region", "mouth", "--max-frames", "8"),
    *("--fault", "none", "--fault", "jump", "--run-frames", "2", "--strength", "0.5", "--strength", "1"),
    *("--detail", "downscale"),
)
PARAMS = ForgeriesParams(
    seed=3,
    max_frames=8,
    forge=ForgeParams(
        regions=("face", "mouth"), faults=("none", "jump"), run_frames=2, strengths=(0.5, 1.0), details=("downscale",)
    ),
)


@pytest.fixture(scope="module")
def genuine(tmp_path_factory):
    """Two clips with splits, a forged one, one without a face, one that is broken."""
    folder = tmp_path_factory.mktemp("genuine")
    make_clips(folder, n_real=2, n_fake=1, frames_per_clip=10)
    shutil.copyfile(folder / "masks/000.mkv", folder / "faceless.mkv")
    (folder / "broken.mp4").write_bytes(b"not a video at all")
    with (folder / "list.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["uri", "dataset", "label", "split"])
        rows.writerow(["real/000.mp4", "portrait", "real", "train"])
        rows.writerow(["real/001.mp4", "portrait", "", "test"])
        rows.writerow(["fake/000.mp4", "portrait", "fake", "test"])
        rows.writerow(["broken.mp4", "portrait", "real", "test"])
        rows.writerow(["faceless.mkv", "portrait", "real", "test"])
    return folder / "list.csv"


@pytest.fixture(scope="module")
def half(genuine, tmp_path_factory):
    """What a killed command could have left: one of the clips, and of its two forgeries the first."""
    out = tmp_path_factory.mktemp("forged") / "out"
    sources = build([genuine]).table.to_pylist()
    source = next(row for row in sources if row["uri"].endswith("real/001.mp4"))
    forge_video(source["uri"], source["video_id"], out, 1, PARAMS)
    return out, {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files_of(out).values()}


@pytest.fixture(scope="module")
def forged(genuine, half, viba):
    out, _ = half
    said = viba("forge", genuine, "--out", out, *FORGE)
    return out, said.out


def manifest(out):
    return pq.read_table(out / "manifest.parquet").to_pylist()


def files_of(out):
    found = [path for folder in ("real", "fake", "masks") for path in (out / folder).iterdir()]
    return {path.relative_to(out).as_posix(): path for path in found}


def test_every_file_is_in_the_manifest(forged):
    out, _ = forged
    rows = manifest(out)
    named = [row[name] for row in rows for name in ("uri", "truth_uri") if row[name] is not None]
    assert sorted(named) == sorted(files_of(out))
    assert [row["label"] for row in rows] == ["real", "fake", "fake"] * 2
    assert len({row["video_id"] for row in rows}) == 6
    for genuine, *fakes in (rows[:3], rows[3:]):
        assert (genuine["manipulation"], genuine["pair_id"], genuine["truth_uri"]) == (None, None, None)
        for fake in fakes:
            assert fake["manipulation"] in ("self-blended", "self-blended-jump")
            assert fake["pair_id"] == genuine["video_id"]
            assert (fake["split"], fake["identities"]) == (genuine["split"], genuine["identities"])
    assert {row["manipulation"] for row in rows} == {None, "self-blended", "self-blended-jump"}
    assert {row["split"] for row in rows} == {"train", "test"}
    assert rows[0]["identities"] != rows[3]["identities"]


def test_what_could_not_be_forged_is_said(forged):
    _, said = forged
    assert "passed over as fake already: 1" in said
    assert "not forged: 1 not_a_video" in said
    assert "not forged: 1 no_face" in said
    assert "2 genuine and 4 forged videos" in said


def test_the_masks_are_the_truth(forged):
    out, _ = forged
    rows = manifest(out)
    pictures = {
        row["video_id"]: np.stack([frame.image for frame in read_frames(str(out / row["uri"]))]).astype(float)
        for row in rows
    }
    for row in rows:
        if row["label"] == "fake":
            masks = read_masks(out / row["truth_uri"])
            difference = np.abs(pictures[row["video_id"]] - pictures[row["pair_id"]]).mean(-1)
            assert masks.shape == difference.shape == (8, 320, 320)
            assert difference[masks == 0].mean() < 1.5  # the encoder's noise
            assert difference[masks > 0.9 * masks.max()].mean() > 3 * difference[masks == 0].mean()


def test_the_command_makes_only_what_is_missing(forged, half):
    assert len(half[1]) == 3
    for path, before in half[1].items():
        assert (path.stat().st_mtime_ns, path.read_bytes()) == before
    assert len(files_of(forged[0])) == 10


def test_the_command_does_what_the_operator_does_alone(forged, tmp_path):
    """Another process, another order, Ray or not: the same bytes."""
    out, _ = forged
    sources = pq.read_table(out / "_sources.parquet").to_pylist()
    source = next(row for row in sources if row["uri"].endswith("real/000.mp4"))
    forge_video(source["uri"], source["video_id"], tmp_path, 2, PARAMS)
    alone = files_of(tmp_path)
    assert len(alone) == 5
    for name, path in alone.items():
        assert (out / name).read_bytes() == path.read_bytes()


def test_from_forgeries_to_localisation(forged, explain, known, viba, tmp_path):
    out, lake = forged[0], tmp_path / "lake"
    # an untrained network's bottleneck is empty after so few steps; Grad-CAM's maps are not
    explain(out / "manifest.parquet", lake, "--statistics", known, "--method", "iba", "--method", "gradcam")
    rows = {row["video_id"]: row for row in manifest(out)}
    fakes = {video_id for video_id, row in rows.items() if row["label"] == "fake"}
    connection = open_lake(lake)
    truth = connection.sql(
        "select truth.*, face_x as x, face_y as y, face_width as w, face_height as h, status "
        "from truth inner join frames using (run_id, video_id, frame)"
    ).to_arrow_table()
    n_faces = connection.sql(
        "select count(*) from frames inner join videos using (run_id, video_id) "
        "where label = 'fake' and frames.status = 'ok'"
    ).fetchall()
    found = connection.sql(
        "select localisation_frames.*, class = label as rightly from localisation_frames "
        "inner join videos using (run_id, video_id) inner join predictions using (run_id, video_id, frame, model) "
        "where predictions.method = '' and rank = 1"
    )
    found = found.to_arrow_table().to_pylist()
    n_masks = dict(connection.sql("select video_id, count(*) from masks group by video_id").fetchall())
    connection.close()
    assert {row["video_id"] for row in truth.to_pylist()} == fakes
    assert [(len(truth),)] == n_faces
    for row in truth.to_pylist():
        mask = read_masks(out / rows[row["video_id"]]["truth_uri"])[row["frame"]]
        inside = mask[row["y"] : row["y"] + row["h"], row["x"] : row["x"] + row["w"]] > 0
        assert row["area"] == inside.mean() > 0
        assert (np.array(row["mask"]) > 0).mean() == pytest.approx(row["area"], abs=0.06)
    assert len(found) == sum(n_masks[video_id] for video_id in fakes)
    assert all(0 < row["chance"] < 1 for row in found)

    assert "localisation" in viba("evaluate", "--lake", lake).out
    held_out = [row for row in found if rows[row["video_id"]]["split"] == "test"]
    assert 0 < len(held_out) < len(found)
    table = pq.read_table(lake / "evaluation/localisation.parquet").to_pylist()
    assert {(row["model"], row["method"], row["layer"]) for row in table} == {
        ("test_resnet", "iba", "layer3"),
        ("test_resnet", "gradcam", "layer3"),
    }
    assert sum(row["n_maps"] for row in table) == len(held_out)
    for row in table:
        key = ("method", "target", "rightly")
        own = [each for each in held_out if all(each[name] == row[name] for name in key)]
        scored = [each for each in own if each["heat_inside"] is not None]
        assert (row["n_maps"], row["n_empty"]) == (len(own), len(own) - len(scored))
        for name in ("heat_inside", "rra", "chance"):
            assert row[name] == (pytest.approx(np.mean([each[name] for each in scored])) if scored else None)
    assert any(row["n_empty"] < row["n_maps"] for row in table if row["method"] == "gradcam")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no/such/folder"], "no file or folder at no/such/folder"),
        (["VIDEOS", "--motion-only", "--fault", "none"], "take another --fault than none"),
        (["VIDEOS/fake"], "every video is labelled fake"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_1(arguments, message, genuine, viba, tmp_path):
    arguments = [each.replace("VIDEOS", str(genuine.parent)) for each in arguments]
    said = viba("forge", *arguments, "--out", tmp_path / "out", code=1)
    assert message in said.err
    assert len(said.err.strip().splitlines()) == 1, said.err
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_is_one_line(genuine, viba):
    assert "cannot write" in viba("forge", genuine, "--out", genuine / "out", code=1).err
