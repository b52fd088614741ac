"""Written videos play in a browser and keep their colours; masks come back exactly."""

from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from operators.video.encode import read_masks, write_masks, write_video
from schemas.errors import SampleError


def _decoded(path):
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def _smooth_noise(rng, height, width):
    grey = rng.integers(0, 256, (5, 6), dtype=np.uint8)  # grey: what 4:2:0 does to colour edges is no matter here
    return cv2.cvtColor(cv2.resize(grey, (width, height), interpolation=cv2.INTER_CUBIC), cv2.COLOR_GRAY2RGB)


def test_video_is_h264_yuv420p_with_the_index_in_front(tmp_path):
    frames = [np.full((48, 64, 3), 20 * i, np.uint8) for i in range(10)]
    assert write_video(tmp_path / "a.mp4", frames, fps=30000 / 1001) == 10
    with av.open(str(tmp_path / "a.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert stream.average_rate == Fraction(30000, 1001)
        assert [round(float(f.time), 4) for f in container.decode(video=0)] == [
            round(i * 1001 / 30000, 4) for i in range(10)
        ]
    data = (tmp_path / "a.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")  # faststart
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


def test_colours_come_back(tmp_path):
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [200, 150, 120], [255, 255, 255], [0, 0, 0]], np.uint8)
    frames = [np.broadcast_to(colour, (32, 32, 3)) for colour in colours]
    write_video(tmp_path / "a.mp4", frames, fps=25, crf=1)
    got = np.array([frame.mean((0, 1)) for frame in _decoded(tmp_path / "a.mp4")])
    assert np.abs(got - colours).max() <= 4  # BT.601 read as BT.709 would be off by 25 and more


def test_odd_sides_grow_by_a_repeated_edge(tmp_path):
    image = _smooth_noise(np.random.default_rng(0), 33, 47)
    write_video(tmp_path / "a.mp4", [image], fps=25, crf=1)
    (got,) = _decoded(tmp_path / "a.mp4")
    assert got.shape == (34, 48, 3)
    assert np.abs(got[:33, :47].astype(int) - image).mean() < 4
    assert np.abs(got[33].astype(int) - got[32]).mean() < 4


def test_masks_are_lossless(tmp_path):
    rng = np.random.default_rng(0)
    every_value = np.resize(np.arange(256), (1, 31, 45))
    masks = np.concatenate([rng.integers(0, 256, (4, 31, 45)), every_value]).astype(np.float32) / 255
    assert write_masks(tmp_path / "m.mkv", masks, fps=25) == 5
    np.testing.assert_array_equal(read_masks(tmp_path / "m.mkv"), masks)


def test_the_same_frames_give_the_same_bytes(tmp_path):
    rng = np.random.default_rng(0)
    noise = [np.clip(_smooth_noise(rng, 128, 128) + rng.normal(0, 4, (128, 128, 3)), 0, 255) for _ in range(20)]
    frames = [frame.astype(np.uint8) for frame in noise]

    def written():
        write_video(tmp_path / "a.mp4", frames, fps=25)
        write_masks(tmp_path / "a.mkv", [frame[..., 0] / 255 for frame in frames], fps=25)
        return (tmp_path / "a.mp4").read_bytes(), (tmp_path / "a.mkv").read_bytes()

    first = written()
    dirt = []
    for size in (1_000, 40_000, 300_000):  # other memory, the same bytes
        dirt.append(rng.bytes(size))
        assert written() == first


def test_no_frames_and_changing_sizes_leave_nothing_behind(tmp_path):
    with pytest.raises(SampleError, match="no_frames"):
        write_video(tmp_path / "a.mp4", [], fps=25)
    with pytest.raises(ValueError, match=r"frame 1 of a.mp4 is 32x32 after 64x64"):
        write_video(tmp_path / "a.mp4", [np.zeros((s, s, 3), np.uint8) for s in (64, 32)], fps=25)
    assert list(tmp_path.iterdir()) == []


def test_an_old_file_stays_until_the_new_one_is_complete(tmp_path):
    write_video(tmp_path / "a.mp4", [np.zeros((32, 32, 3), np.uint8)], fps=25)
    before = (tmp_path / "a.mp4").read_bytes()

    def failing():
        yield np.zeros((32, 32, 3), np.uint8)
        raise RuntimeError("decoder died")

    with pytest.raises(RuntimeError, match="decoder died"):
        write_video(tmp_path / "a.mp4", failing(), fps=25)
    assert (tmp_path / "a.mp4").read_bytes() == before
