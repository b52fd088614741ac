"""The demo's clips: dlib sees the face, forgeries are real clips but for their mask, seeds decide everything."""

import itertools
from pathlib import Path

import av
import cv2
import dlib
import numpy as np
import pyarrow.parquet as pq
import pytest

from operators.forging import portrait
from operators.video.encode import read_masks
from operators.video.identity import video_id
from pipelines.manifest import build

N = 16


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("portrait")
    portrait.make_clips(out, n_real=3, n_fake=2, frames_per_clip=N, seed=1)
    return out


def _frames(path):
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def test_files_are_named_so_that_pairs_meet(folder):
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    assert names == [
        *("fake/000.mp4", "fake/001.mp4", "masks/000.mkv", "masks/001.mkv"),
        *("real/000.mp4", "real/001.mp4", "real/002.mp4"),
    ]
    assert _frames(folder / "real/000.mp4").shape == (N, 320, 320, 3)


@pytest.fixture(scope="module")
def detector():
    return dlib.get_frontal_face_detector()


@pytest.mark.parametrize("name", ["real/000", "real/001", "real/002", "fake/000", "fake/001"])
def test_dlib_finds_the_one_face(folder, detector, name):
    frames = _frames(folder / f"{name}.mp4")[::3]
    found = [len(detector(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), 0)) for frame in frames]
    assert found.count(1) >= len(frames) - 1


def test_the_box_given_to_the_forger_is_where_dlib_sees_the_face(detector):
    frames, boxes = portrait._scene(3, 10)
    for frame, (left, top, width, height) in zip(frames[::4], boxes[::4], strict=True):
        (face,) = detector(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), 0)
        centre = np.array([face.left() + face.width() / 2, face.top() + face.height() / 2])
        assert np.abs(centre - [left + width / 2, top + height / 2]).max() < 0.15 * width
        assert face.width() == pytest.approx(width, rel=0.25)


@pytest.mark.parametrize("name", ["000", "001"])
def test_a_forged_clip_differs_from_its_real_one_inside_its_mask(folder, name):
    real, fake = (_frames(folder / kind / f"{name}.mp4").astype(float) for kind in ("real", "fake"))
    masks = read_masks(folder / "masks" / f"{name}.mkv")
    difference = np.abs(real - fake).mean(-1)
    assert difference[masks > 0.7].mean() > 3 * difference[masks == 0].mean()
    assert difference[masks == 0].mean() < 2.5  # the encoder's, nothing else
    share = (masks > 0).mean((1, 2))
    assert (share > 0.005).all()
    assert (share < 0.4).all()


def test_genuine_clips_move_and_are_not_alike(folder):
    clips = [_frames(folder / "real" / f"{n:03d}.mp4").astype(float) for n in range(3)]
    for clip in clips:
        assert np.abs(np.diff(clip, axis=0)).mean() > 0.5
        assert np.abs(clip[-1] - clip[0]).mean() > 4
    assert min(np.abs(a[0] - b[0]).mean() for a, b in itertools.pairwise(clips)) > 8


def test_a_seed_gives_the_same_bytes(folder, tmp_path):
    portrait.make_clips(tmp_path, n_real=1, n_fake=1, frames_per_clip=N, seed=1)
    for name in ("real/000.mp4", "fake/000.mp4", "masks/000.mkv"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()
    portrait.make_clips(tmp_path / "other", n_real=1, n_fake=0, frames_per_clip=5, seed=2)
    assert (_frames(tmp_path / "other/real/000.mp4")[0] != _frames(folder / "real/000.mp4")[0]).any()


def test_the_manifest_keeps_a_clip_and_its_forgery_on_one_side(folder):
    rows = portrait.manifest_rows(folder, val_share=1 / 3, test_share=1 / 3).to_pylist()
    assert [(row["uri"], row["label"], row["split"], row["truth_uri"]) for row in rows] == [
        ("real/000.mp4", "real", "train", None),
        ("fake/000.mp4", "fake", "train", "masks/000.mkv"),
        ("real/001.mp4", "real", "val", None),
        ("fake/001.mp4", "fake", "val", "masks/001.mkv"),
        ("real/002.mp4", "real", "test", None),
    ]
    ids = {row["uri"]: row["video_id"] for row in rows}
    assert [row["pair_id"] for row in rows] == [None, ids["real/000.mp4"], None, ids["real/001.mp4"], None]
    assert len(set(ids.values())) == 5


def test_the_manifest_is_one_for_the_command_line(folder):
    path = folder / "manifest.parquet"
    pq.write_table(portrait.manifest_rows(folder), path)
    rows = build([path]).table.to_pylist()
    path.unlink()
    assert len(rows) == 5
    for row in rows:
        assert row["video_id"] == video_id(row["uri"], row["manipulation"])  # as if the folder itself had been given
        assert all(Path(uri).is_file() for uri in (row["uri"], row["truth_uri"]) if uri)
