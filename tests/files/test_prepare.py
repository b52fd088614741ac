"""From a file to keyframes, faces and model inputs, on clips of one portrait that moves as told."""

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pyarrow as pa
import pytest
from skimage.data import astronaut

from operators import prepare as prepare_module
from operators.inputs.faces import Box, crop
from operators.inputs.view import View
from operators.prepare import PrepareParams, prepare_video, recut_video
from operators.video import decode
from operators.video.decode import open_uri
from operators.video.keyframes import KeyframeParams
from operators.video.sandbox import Limits, Sandbox
from schemas.errors import SampleError
from schemas.tables import FRAMES, INPUT, MANIFEST, VIDEOS, item
from tests.files.in_child import killed_once, peak_memory_mb

INPUTS = (View(96), View(64), View(80, shows="flow"))
PARAMS = PrepareParams()


def portrait(x):
    """256 x 256 pixels of the photograph; the face moves to the right as x grows."""
    return astronaut()[:256, 96 - x : 352 - x]


def encode(path, images, codec="libx264", options=None):
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options or {"crf": "12"})
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = "rgb24" if codec == "png" else "yuv420p"
        for index, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), "rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return str(path)


@pytest.fixture(scope="module")
def jump(tmp_path_factory):
    """Still, a jump of 20 px at frame 12, 3 px more at frame 13, still again."""
    offsets = [0] * 12 + [20] + [23] * 12
    return encode(tmp_path_factory.mktemp("jump") / "a.mp4", [portrait(x) for x in offsets])


def pixels_of(result, view):
    (found,) = [row for row in result["inputs"] if row["view"] == str(view)]
    return np.frombuffer(found["pixels"], np.uint8).reshape(view.size, view.size, 3)


def test_the_jump_is_the_keyframe(jump):
    result = prepare_video(jump, PARAMS, INPUTS)
    (frame,) = result["frames"]
    assert (result["status"], result["n_frames"], result["width"], result["height"]) == ("ok", 25, 256, 256)
    assert (result["fps"], result["duration_s"]) == (pytest.approx(25), pytest.approx(1))
    assert (result["codec"], result["n_corrupt_packets"]) == ("h264", 0)
    assert (frame["frame"], frame["status"], frame["has_flow"]) == (12, "ok", True)
    assert frame["time_s"] == pytest.approx(12 / 25)
    assert 0.1 < frame["keyframe_score"] < 1
    assert frame["face_score"] > 0
    assert [(row["frame"], row["view"], row["span_frames"]) for row in result["inputs"]] == [
        (12, "face picture 96", 1),
        (12, "face picture 64", 1),
        (12, "face flow 80", 2),
    ]
    box = tuple(frame[f"face_{side}"] for side in ("x", "y", "width", "height"))
    assert all(tuple(row[f"box_{side}"] for side in ("x", "y", "width", "height")) == box for row in result["inputs"])


def test_crop_is_the_box_of_the_keyframe(jump):
    result = prepare_video(jump, PARAMS, INPUTS)
    (frame,) = result["frames"]
    box = Box(*(frame[f"face_{edge}"] for edge in ("x", "y", "width", "height")), 0.0)
    cut = pixels_of(result, View(96)).astype(int)
    assert np.abs(cut - crop(portrait(20), box, 96)).mean() < 4
    assert np.abs(cut - crop(portrait(0), box, 96)).mean() > 15


def test_flow_leads_to_the_next_frame_in_the_same_box(jump):
    """The face moves 3 px of the frame to the right: 3 * 80 / box width px of the crop, of 8 px full scale, in red."""
    result = prepare_video(jump, PARAMS, INPUTS)
    (frame,) = result["frames"]
    colours = np.median(pixels_of(result, View(80, shows="flow"))[15:-15, 15:-15].reshape(-1, 3), axis=0)
    assert colours[0] == pytest.approx(3 * 80 / frame["face_width"] / 8 * 255, rel=0.15)
    assert max(colours[1:]) < 0.25 * colours[0]


def test_result_fits_the_tables(jump, tmp_path):
    faceless = encode(tmp_path / "a.mp4", [np.zeros((64, 64, 3), np.uint8)] * 3)
    for uri in (jump, faceless):
        result = prepare_video(uri, PARAMS, INPUTS)
        frames, inputs = result.pop("frames"), result.pop("inputs")
        assert result.pop("truth") == []
        assert set(result) < set(VIDEOS.schema.names)
        pa.Table.from_pylist([result], pa.schema([VIDEOS.schema.field(name) for name in result])).validate(full=True)
        for rows, struct in ((frames, item(FRAMES)), (inputs, INPUT)):
            assert all(list(row) == [field.name for field in struct] for row in rows)
            pa.Table.from_pylist(rows, pa.schema(list(struct))).validate(full=True)


def test_no_face(tmp_path):
    result = prepare_video(encode(tmp_path / "a.mp4", [np.zeros((64, 64, 3), np.uint8)] * 5), PARAMS, INPUTS)
    assert (result["status"], result["inputs"]) == ("no_face", [])
    (frame,) = result["frames"]
    assert (frame["frame"], frame["status"], frame["face_x"], frame["has_flow"]) == (0, "no_face", None, False)


def test_the_middle_of_a_frame_needs_no_face(tmp_path):
    wide = np.zeros((64, 128, 3), np.uint8)
    wide[:, 32:96] = (0, 200, 0)
    uri = encode(tmp_path / "a.png", [wide], "png", {"pred": "none"})
    result = prepare_video(uri, PARAMS, (View(32, "frame"), View(32, "frame", share=0.5), View(32)))
    (frame,) = result["frames"]
    assert (result["status"], frame["status"], frame["face_x"]) == ("ok", "ok", None)
    boxes = {
        row["view"]: tuple(row[f"box_{side}"] for side in ("x", "y", "width", "height")) for row in result["inputs"]
    }
    assert boxes == {"frame picture 32": (32, 0, 64, 64), "frame 0.5 picture 32": (48, 16, 32, 32)}
    assert (pixels_of(result, View(32, "frame")) == (0, 200, 0)).all()


def test_nothing_looks_for_faces_that_nobody_wants(jump, monkeypatch):
    monkeypatch.setattr("operators.prepare.find_face", None)  # to be called would be an error
    assert prepare_video(jump, PARAMS, (View(32, "frame"),))["status"] == "ok"


def test_last_frame_has_no_flow(tmp_path):
    result = prepare_video(encode(tmp_path / "a.png", [portrait(0)], "png", {"pred": "none"}), PARAMS, INPUTS)
    assert [(frame["frame"], frame["has_flow"]) for frame in result["frames"]] == [(0, False)]
    assert [row["view"] for row in result["inputs"]] == ["face picture 96", "face picture 64"]


def test_no_flow_into_a_picture_of_another_size(tmp_path):
    parts = [portrait(0), cv2.resize(portrait(0), (128, 128))]
    files = [encode(tmp_path / f"{n}.h264", [part]) for n, part in enumerate(parts)]
    (tmp_path / "a.h264").write_bytes(b"".join(Path(file).read_bytes() for file in files))
    result = prepare_video(str(tmp_path / "a.h264"), PARAMS, INPUTS)
    assert (result["n_frames"], result["status"]) == (2, "ok")
    assert [(frame["frame"], frame["has_flow"]) for frame in result["frames"]] == [(0, False)]


def test_flow_of_two_keyframes_in_a_row(tmp_path):
    """A keyframe that is also the next frame of the one before serves both."""
    offsets = [0, 0, 0, 20, 20, 40, 40, 40]
    path = encode(tmp_path / "a.mp4", [portrait(x) for x in offsets])
    params = PrepareParams(keyframes=KeyframeParams(min_distance_frames=1, threshold=0.0))
    frames = prepare_video(path, params, INPUTS)["frames"]
    assert {3, 5} <= {frame["frame"] for frame in frames}
    assert all(frame["has_flow"] for frame in frames if frame["frame"] < 7)


def test_inputs_are_optional(jump):
    assert prepare_video(jump, PARAMS, ())["inputs"] == []


def test_known_keyframes_and_boxes_give_the_same_inputs(jump, tmp_path):
    several = encode(tmp_path / "a.mp4", [portrait(x) for x in (0, 0, 0, 20, 20, 40, 40, 40)])
    params = PrepareParams(keyframes=KeyframeParams(selection="uniform", max_keyframes=8))
    for path, how in ((jump, PARAMS), (several, params)):
        result = prepare_video(path, how, INPUTS)
        assert recut_video(path, result["frames"], how.flow, INPUTS) == result["inputs"] != []


@pytest.mark.parametrize(("keep_bytes", "times"), [(0, 2), (25 * 256 * 256, 2), (25 * 256 * 256 * 2, 1)])
def test_a_video_that_fits_the_memory_is_decoded_once(jump, monkeypatch, keep_bytes, times):
    """25 frames of 256 x 256 as 4:2:0 are 1.5 bytes a pixel, and a little for the edges."""
    expected = prepare_video(jump, PARAMS, INPUTS)
    opened = []
    monkeypatch.setattr(decode, "open_uri", lambda uri: opened.append(uri) or open_uri(uri))
    assert prepare_video(jump, PARAMS, INPUTS, keep_bytes=keep_bytes) == expected
    assert len(opened) == times


def test_a_file_that_has_changed_is_said(jump, tmp_path):
    frames = prepare_video(jump, PARAMS, INPUTS)["frames"]
    short = encode(tmp_path / "short.mp4", [portrait(0)] * 3)
    with pytest.raises(SampleError, match="changed: no frame 12"):
        recut_video(short, frames, PARAMS.flow, INPUTS)
    small = encode(tmp_path / "small.mp4", [cv2.resize(portrait(0), (64, 64))] * 25)
    with pytest.raises(SampleError, match="changed: frame 12 is too small"):
        recut_video(small, frames, PARAMS.flow, INPUTS)


def test_memory_does_not_grow_with_length_but_by_what_may_be_kept(tmp_path):
    """160 frames of 640 x 480 are 74 MB when kept as they are decoded; 24 are 11 MB, 20 MB at most are kept."""
    images = [cv2.resize(portrait(x), (640, 480)) for x in (0, 8, 16, 24)]
    params = PrepareParams(keyframes=KeyframeParams(max_keyframes=2))
    sandbox, peaks = Sandbox(Limits()), []
    for n in (24, 160):
        path = encode(tmp_path / f"{n}.mp4", [images[i // 6 % 4] for i in range(n)], options={"preset": "ultrafast"})
        peaks.append(sandbox.run(peak_memory_mb, prepare_video, path, params, INPUTS, None, 20 << 20))
    sandbox.close()
    print(peaks)
    assert peaks[1] < peaks[0] + 40


# in the sandbox, on real files


@pytest.fixture(scope="module")
def sandbox():
    sandbox = Sandbox(Limits(timeout_s=120))
    yield sandbox
    sandbox.close()


def test_sandbox_changes_nothing(jump, sandbox):
    assert sandbox.run(prepare_video, jump, PARAMS, INPUTS) == prepare_video(jump, PARAMS, INPUTS)


@pytest.mark.clips
def test_a_real_clip_in_the_sandbox(clips, sandbox):
    params = PrepareParams(keyframes=KeyframeParams(max_keyframes=3))
    result = sandbox.run(prepare_video, str(clips / "real/ffpp_original_519.mp4"), params, INPUTS)
    assert (result["status"], result["n_frames"], result["width"], result["height"]) == ("ok", 252, 640, 480)
    assert 1 <= len(result["frames"]) <= 3
    assert all(row["has_flow"] and row["status"] == "ok" for row in result["frames"])
    assert len(result["inputs"]) == len(INPUTS) * len(result["frames"])


def test_what_dies_once_is_tried_again_and_what_dies_twice_is_a_row(monkeypatch, tmp_path):
    monkeypatch.setattr(prepare_module, "prepare_video", killed_once)
    rows = [
        {"video_id": name, "uri": str(tmp_path / name), "truth_uri": truth} for name, truth in (("a", None), ("b", "t"))
    ]
    table = pa.Table.from_pylist(rows, schema=MANIFEST.schema)
    found = prepare_module.prepare(table, params=None, limits=Limits(), views=()).to_pylist()
    assert [(row["status"], row["n_frames"], row["error_code"]) for row in found] == [
        ("no_face", 7, None),
        ("error", None, "decode_crash"),
    ]
