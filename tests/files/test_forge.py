"""From a genuine video to files: right masks, one encoder for all, and the same bytes whatever the order."""

import re
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pytest
from skimage.data import astronaut

from operators.forge import ForgeriesParams, forge_video, forge_videos, names
from operators.forging.blend import ForgeParams
from operators.forging.portrait import make_clips
from operators.video.encode import read_masks, write_video
from operators.video.identity import video_id
from operators.video.sandbox import Limits, Sandbox
from schemas.errors import SampleError
from schemas.tables import MANIFEST
from tests.files.in_child import peak_memory_mb

PARAMS = ForgeriesParams(forge=ForgeParams(strengths=(1.0,)))
N = 8


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    folder = tmp_path_factory.mktemp("genuine")
    make_clips(folder, n_real=1, n_fake=0, frames_per_clip=N)
    return str(folder / "real/000.mp4")


@pytest.fixture(scope="module")
def out(clip, tmp_path_factory):
    folder = tmp_path_factory.mktemp("forged")
    assert forge_video(clip, "v", folder, 2, PARAMS) == ["self-blended"] * 2
    return folder


def files_of(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def frames_of(path):
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]).astype(float)


def test_the_files_are_the_named_ones(out):
    files = names("v", 2, PARAMS)
    assert set(files_of(out)) == {files.real, *files.fakes, *files.masks}


def test_masks_tell_what_was_changed(out):
    files = names("v", 2, PARAMS)
    real = frames_of(out / files.real)
    assert real.shape == (N, 320, 320, 3)
    for fake_name, masks_name in zip(files.fakes, files.masks, strict=True):
        fake, masks = frames_of(out / fake_name), read_masks(out / masks_name)
        assert fake.shape == real.shape
        assert masks.shape == (N, 320, 320)
        assert masks.max() == 1
        difference = np.abs(real - fake).mean(-1)
        # outside only the encoder's noise is left, which the two share but for what spreads from the mask
        assert difference[masks == 0].mean() < 1.5
        assert difference[masks > 0.9].mean() > 4
        assert (masks.max((1, 2)) > 0.9).all()
        assert 0.001 < (masks > 0).mean() < 0.3
    assert (read_masks(out / files.masks[0]) != read_masks(out / files.masks[1])).any()


def test_real_and_forged_are_encoded_alike(out):
    files = names("v", 2, PARAMS)
    written = []
    for name in (files.real, *files.fakes):
        data = (out / name).read_bytes()
        settings = re.search(rb"x264 - core.*?\0", data)
        assert settings is not None
        with av.open(str(out / name)) as container:
            stream = container.streams.video[0]
            context = stream.codec_context
            shape = (context.width, context.height, context.pix_fmt, stream.average_rate, stream.frames)
        written.append((settings[0], shape))
    assert written[0] == written[1] == written[2]


def test_the_same_bytes_in_any_order_and_other_ones_for_another_video_or_seed(clip, out, tmp_path):
    rows = [{"video_id": name, "uri": clip, "dataset": "d"} for name in ("w", "v")]
    table = pa.Table.from_pylist(rows, MANIFEST.schema)
    found = forge_videos(table, out=tmp_path, per_video=1, params=PARAMS, limits=Limits()).to_pylist()
    assert [(row["video_id"], row["status"], row["error_code"]) for row in found] == [
        ("w", "ok", None),
        ("v", "ok", None),
    ]
    again, first = files_of(tmp_path), files_of(out)
    mine, others = names("v", 1, PARAMS), names("w", 1, PARAMS)
    for name in (mine.real, *mine.fakes, *mine.masks):
        assert again[name] == first[name]
    assert again[others.masks[0]] != again[mine.masks[0]]
    seeded = ForgeriesParams(seed=1, forge=PARAMS.forge)
    forge_video(clip, "v", tmp_path, 1, seeded)
    assert files_of(tmp_path)[names("v", 1, seeded).masks[0]] != first[mine.masks[0]]


def test_what_is_missing_is_made_again_and_the_rest_is_kept(clip, out, tmp_path):
    files, before = names("v", 3, PARAMS), files_of(out)
    for name in (files.real, files.fakes[0], files.masks[1]):  # half of what a killed run left
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(before[name])
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    forge_video(clip, "v", tmp_path, 3, PARAMS)
    after = files_of(tmp_path)
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in stamps.items())
    assert {name: after[name] for name in before} == before  # the third leaves the first two as they are
    assert set(after) - set(before) == {files.fakes[2], files.masks[2]}
    assert forge_video("/gone.mp4", "v", tmp_path, 3, PARAMS) == ["self-blended"] * 3  # nothing to do, nothing read


def test_only_the_first_frames(clip, tmp_path):
    params = ForgeriesParams(max_frames=5)
    forge_video(clip, "v", tmp_path, 1, params)
    files = names("v", 1, params)
    assert [len(frames_of(tmp_path / name)) for name in (files.real, *files.fakes)] == [5, 5]
    assert len(read_masks(tmp_path / files.masks[0])) == 5


def test_the_manipulation_names_the_fault_that_was_drawn(clip, tmp_path):
    params = ForgeriesParams(max_frames=2, forge=ForgeParams(faults=("jump", "frozen", "flicker")))
    found = forge_video(clip, "v", tmp_path, 8, params)
    assert {"self-blended-jump", "self-blended-frozen", "self-blended-flicker"} == set(found)


def portrait(height, width, n_frames):
    return [np.ascontiguousarray(astronaut()[:height, 96 - t % 8 : 96 - t % 8 + width]) for t in range(n_frames)]


def test_odd_sides_fit_their_mask(tmp_path):
    # lossless and RGB: the only way to a video of odd sides
    with av.open(str(tmp_path / "odd.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 255, 243, "bgr0"
        for image in portrait(243, 255, 3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24").reformat(format="bgr0")))
        container.mux(stream.encode(None))
    forge_video(str(tmp_path / "odd.mkv"), "v", tmp_path, 1, PARAMS)
    files = names("v", 1, PARAMS)
    assert frames_of(tmp_path / files.real).shape[1:3] == (242, 254)
    assert (
        frames_of(tmp_path / files.fakes[0]).shape[1:3] == read_masks(tmp_path / files.masks[0]).shape[1:] == (242, 254)
    )


def test_what_cannot_be_forged_is_a_row_with_a_code(tmp_path):
    write_video(tmp_path / "black.mp4", [np.zeros((64, 64, 3), np.uint8)] * 3, 25)
    parts = []
    for index, (height, width) in enumerate(((256, 256), (240, 240))):
        with av.open(str(tmp_path / f"{index}.h264"), "w") as container:
            stream = container.add_stream("libx264", rate=25)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            for image in portrait(height, width, 3):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
            container.mux(stream.encode(None))
        parts.append((tmp_path / f"{index}.h264").read_bytes())
    (tmp_path / "sizes.h264").write_bytes(b"".join(parts))
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    rows = [
        {"video_id": name, "uri": str(tmp_path / name), "dataset": "d"}
        for name in ("black.mp4", "sizes.h264", "broken.mp4", "gone.mp4")
    ]
    table = pa.Table.from_pylist(rows, MANIFEST.schema)
    found = forge_videos(table, out=tmp_path / "out", per_video=1, params=PARAMS, limits=Limits()).to_pylist()
    assert {row["video_id"]: row["error_code"] for row in found} == {
        "black.mp4": "no_face",
        "sizes.h264": "size_changes",
        "broken.mp4": "not_a_video",
        "gone.mp4": "not_found",
    }
    assert all(row["status"] == "error" and row["error_detail"] for row in found)
    assert not (tmp_path / "out").exists()


def test_a_face_that_is_seldom_there_is_none(tmp_path):
    black = np.zeros((256, 256, 3), np.uint8)
    write_video(tmp_path / "a.mp4", [*portrait(256, 256, 4), *[black] * 6], 25)
    params = ForgeriesParams(detect_every_frames=1, forge=PARAMS.forge)
    with pytest.raises(SampleError, match="a face in 4 of 10 frames"):
        forge_video(str(tmp_path / "a.mp4"), "v", tmp_path / "out", 1, params)


def test_the_manifest_ties_a_forgery_to_what_it_was_made_of(out):
    """Of the files of one video: who is the pair of whom, and that no split can part them."""
    from pipelines import forge  # here: with it comes torch

    video = {"video_id": "v", "dataset": "d", "split": "val", "identities": None}
    genuine, *fakes = forge._rows(video, ["self-blended", "self-blended-jump"], out, PARAMS)
    files = names("v", 2, PARAMS)
    assert (genuine["uri"], genuine["label"], genuine.get("pair_id")) == (files.real, "real", None)
    assert genuine["video_id"] == video_id(str(out / files.real))
    for number, fake in enumerate(fakes):
        assert (fake["uri"], fake["truth_uri"], fake["label"]) == (files.fakes[number], files.masks[number], "fake")
        assert fake["pair_id"] == genuine["video_id"] != fake["video_id"]
    assert [fake["manipulation"] for fake in fakes] == ["self-blended", "self-blended-jump"]
    assert {(row["identities"], row["split"], row["dataset"]) for row in (genuine, *fakes)} == {
        ("source:v", "val", "d")
    }
    (known, *_) = forge._rows(video | {"identities": "p:1;p:2"}, [], out, PARAMS)
    assert known["identities"] == "p:1;p:2"


def test_an_id_cannot_leave_the_folder():
    files = names("../../a b", 1, PARAMS)
    assert all(Path(name).parts[0] in ("real", "fake", "masks") and len(Path(name).parts) == 2 for name in files.masks)
    assert files.real.startswith("real/..%2F..%2Fa%20b-")


def test_memory_does_not_grow_with_length(tmp_path):
    """200 frames of 224 x 224 are 30 MB when kept, 80 are 12 MB; the encoder looks 60 frames ahead in both."""
    images, params = portrait(224, 224, 8), ForgeriesParams(detect_every_frames=50, forge=PARAMS.forge)
    sandbox, peaks = Sandbox(Limits()), []
    for n in (80, 200):
        write_video(tmp_path / f"{n}.mp4", (images[t // 8 % 8] for t in range(n)), 25)
        uri, out = str(tmp_path / f"{n}.mp4"), tmp_path / str(n)
        peaks.append(sandbox.run(peak_memory_mb, forge_video, uri, "v", out, 1, params))
    sandbox.close()
    print(peaks)
    assert peaks[1] < peaks[0] + 9
