"""Decoding: right pixels, right size, right time, whatever the file; and a code where there is no picture."""

import csv
import io
import os
import struct
import zlib
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from av.filter import Graph
from av.stream import Disposition
from hypothesis import given
from hypothesis import strategies as st

from operators.storage.remote import path_of
from operators.video.decode import _Clock, _square_pixels, open_uri, read_frames
from schemas.errors import SampleError

FPS = 25


def quadrants(width=96, height=64):
    """Four different colours: every one of the eight orientations looks different."""
    image = np.zeros((height, width, 3), np.uint8)
    top, left = slice(0, height // 2), slice(0, width // 2)
    bottom, right = slice(height // 2, None), slice(width // 2, None)
    image[top, left], image[top, right] = (220, 30, 30), (30, 200, 30)
    image[bottom, left], image[bottom, right] = (40, 40, 220), (200, 200, 200)
    return image


def waves(time, width=128, height=96):
    """A smooth grey scene that moves; grey, so that chroma subsampling takes nothing from it."""
    y, x = np.mgrid[:height, :width]
    gray = 128 + 60 * np.sin((x + 4 * time) / 9) + 50 * np.sin((y - 3 * time) / 8)
    return np.repeat(gray.astype(np.uint8)[..., None], 3, axis=-1)


def encode(
    path, images, codec="libx264", pix_fmt="yuv420p", *, pts=None, field=None, setup=None, options=None, flags=0
):
    """Writes `images` with PyAV. `field` is tff or bff for interlaced coding, `setup(stream)` comes before encoding."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=FPS, options=options or {})
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = pix_fmt
        stream.codec_context.time_base = Fraction(1, FPS)
        stream.codec_context.flags |= flags
        if setup is not None:
            setup(stream)
        for index, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(image, "rgb24").reformat(format=pix_fmt)
            frame.pts, frame.time_base = index if pts is None else pts[index], Fraction(1, FPS)
            container.mux(stream.encode(frame if field is None else mark_field(frame, field)))
        container.mux(stream.encode(None))
    return str(path)


def mark_field(frame, field):
    graph = Graph()
    size = f"{frame.width}x{frame.height}"
    source = graph.add("buffer", video_size=size, pix_fmt=frame.format.name, time_base=f"1/{FPS}")
    graph.link_nodes(source, graph.add("setfield", mode=field), graph.add("buffersink"))
    graph.configure()
    graph.vpush(frame)
    return graph.vpull()


def images_of(uri, pixel_format="rgb24", **options):
    return [frame.image for frame in read_frames(uri, pixel_format, **options)]


def difference(image, other):
    assert image.shape == other.shape
    return np.abs(image.astype(int) - other.astype(int)).mean()


def code_of(uri):
    with pytest.raises(SampleError) as caught:
        list(read_frames(str(uri)))
    assert "\n" not in caught.value.detail
    return caught.value.code


# the right pixels


CODECS = {
    "av1.mp4": ("libsvtav1", "yuv420p", {"crf": "20", "preset": "10"}),
    "av1-10.mkv": ("libsvtav1", "yuv420p10le", {"crf": "20", "preset": "10"}),
    "h264.mp4": ("libx264", "yuv420p", {}),
    "h264-444.mp4": ("libx264", "yuv444p", {}),
    "h264-10.mp4": ("libx264", "yuv422p10le", {}),
    "h264-rgb.mkv": ("libx264rgb", "rgb24", {}),
    "hevc-10.mp4": ("libx265", "yuv420p10le", {"x265-params": "log-level=none"}),
    "vp9-alpha.webm": ("libvpx-vp9", "yuva420p", {"b": "2000000"}),
    "vp9-444.webm": ("libvpx-vp9", "yuv444p", {"b": "2000000"}),
    "mpeg2.ts": ("mpeg2video", "yuv420p", {"b": "4000000"}),
    "prores.mov": ("prores_ks", "yuv422p10le", {}),
    "ffv1.mkv": ("ffv1", "gray16le", {}),
    "raw.avi": ("rawvideo", "bgr24", {}),
}


@pytest.fixture
def _ordinary_priority():
    """SVT-AV1 gives a process of root's the highest real-time priority there is, and it keeps it: all else waits."""
    before = os.sched_getscheduler(0)
    yield
    os.sched_setscheduler(0, before, os.sched_param(os.sched_get_priority_min(before)))


@pytest.mark.usefixtures("_ordinary_priority")
@pytest.mark.parametrize("name", CODECS)
def test_codecs_and_pixel_formats(tmp_path, name):
    codec, pix_fmt, options = CODECS[name]
    scene = [waves(time) for time in range(8)]
    reader = read_frames(encode(tmp_path / name, scene, codec, pix_fmt, options=options))
    frames = list(reader)
    assert len(frames) == reader.probe.n_frames == 8
    assert max(difference(frame.image, image) for frame, image in zip(frames, scene, strict=True)) < 4
    assert all(frame.image.dtype == np.uint8 and frame.image.flags.c_contiguous for frame in frames)
    gray = images_of(str(tmp_path / name), "gray")
    assert max(difference(image, truth[..., 0]) for image, truth in zip(gray, scene, strict=True)) < 4


@pytest.mark.parametrize("matrix", ["ITU601", "ITU709"])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv444p"])
def test_colour_matrix_as_tagged(tmp_path, matrix, pix_fmt):
    """A saturated colour decoded with the other matrix is off by more than 10."""
    image = np.full((64, 64, 3), (200, 60, 30), np.uint8)

    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "1"})
        stream.width = stream.height = 64
        stream.pix_fmt = pix_fmt
        stream.codec_context.colorspace = {"ITU601": 6, "ITU709": 1}[matrix]
        frame = av.VideoFrame.from_ndarray(image, "rgb24").reformat(format=pix_fmt, dst_colorspace=matrix)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    (decoded,) = images_of(str(path))
    assert np.abs(decoded.astype(int) - image).max() <= 3


@pytest.mark.parametrize("tag", [3, 8, 10, 14])
def test_colour_matrix_that_swscale_does_not_know_still_decodes(tmp_path, tag):
    scene = [waves(0)]
    path = encode(tmp_path / "a.mkv", scene, setup=lambda stream: setattr(stream.codec_context, "colorspace", tag))
    (image,) = images_of(path)
    assert difference(image, scene[0]) < 4


# rotation, pixel aspect, interlacing


def upright(image, matrix):
    """The pixel (p, q) goes to (a p + c q, b p + d q): by hand, pixel by pixel, then shifted to the origin."""
    a, b, c, d = matrix
    height, width = image.shape[:2]
    q, p = np.mgrid[:height, :width]
    x, y = a * p + c * q, b * p + d * q
    x, y = x - x.min(), y - y.min()
    out = np.zeros((y.max() + 1, x.max() + 1, 3), np.uint8)
    out[y, x] = image
    return out


#: a, b, c, d of the eight orientations
ORIENTATIONS = [
    *[(1, 0, 0, 1), (-1, 0, 0, 1), (1, 0, 0, -1), (-1, 0, 0, -1)],
    *[(0, 1, 1, 0), (0, 1, -1, 0), (0, -1, 1, 0), (0, -1, -1, 0)],
]


@pytest.mark.parametrize("matrix", ORIENTATIONS)
def test_display_matrix(tmp_path, matrix):
    a, b, c, d = (value << 16 for value in matrix)
    image = quadrants()
    path = tmp_path / "a.mp4"
    encode(path, [image], setup=lambda stream: stream.set_display_matrix((a, b, 0, c, d, 0, 0, 0, 1 << 30)))
    reader = read_frames(str(path))
    (frame,) = reader
    assert difference(frame.image, upright(image, matrix)) < 5
    assert (reader.probe.height, reader.probe.width) == frame.image.shape[:2]
    assert difference(images_of(str(path), "gray")[0], cv2.cvtColor(upright(image, matrix), cv2.COLOR_RGB2GRAY)) < 5


#: EXIF orientation -> the matrix that makes the picture upright (EXIF 2.3, 4.6.4)
EXIF = dict(zip(range(1, 9), [ORIENTATIONS[i] for i in (0, 1, 3, 2, 4, 5, 7, 6)], strict=True))


def exif(orientation):
    return b"II*\0" + struct.pack("<IHHHIII", 8, 1, 0x112, 3, 1, orientation, 0)


@pytest.mark.parametrize("orientation", EXIF)
def test_exif_orientation_of_a_jpeg(tmp_path, orientation):
    image = quadrants()
    jpeg = cv2.imencode(".jpg", image[..., ::-1])[1].tobytes()
    block = b"Exif\0\0" + exif(orientation)
    (tmp_path / "a.jpg").write_bytes(jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + jpeg[2:])
    (decoded,) = images_of(str(tmp_path / "a.jpg"))
    assert difference(decoded, upright(image, EXIF[orientation])) < 5


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_turned_png_with_a_named_colour_profile(tmp_path, orientation):
    image = quadrants()
    png = cv2.imencode(".png", image[..., ::-1])[1].tobytes()
    chunks = b""
    for body in (b"iCCPname\0\0" + zlib.compress(bytes(200)), b"eXIf" + exif(orientation)):
        chunks += struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    (tmp_path / "a.png").write_bytes(png[:33] + chunks + png[33:])  # 33 bytes: signature and header
    for _ in range(3):
        (decoded,) = images_of(str(tmp_path / "a.png"))
    assert np.array_equal(decoded, upright(image, EXIF[orientation]))


@pytest.mark.parametrize(
    ("aspect", "size"),
    [
        (None, (100, 60)),
        (Fraction(1), (100, 60)),
        (Fraction(2), (200, 60)),
        (Fraction(15, 16), (100, 64)),
        (Fraction(1, 4), (100, 240)),
        (Fraction(64, 45), (142, 60)),
        (Fraction(5), (100, 60)),
        (Fraction(1, 5), (100, 60)),
        (Fraction(0), (100, 60)),
        (Fraction(10**6), (100, 60)),
    ],
)
def test_square_pixels_only_enlarges_and_ignores_nonsense(aspect, size):
    assert _square_pixels(100, 60, aspect) == size


def test_pixel_aspect_comes_before_rotation(tmp_path):
    image = quadrants()

    def setup(stream):
        stream.codec_context.sample_aspect_ratio = Fraction(2)
        stream.set_display_rotation(90)

    reader = read_frames(encode(tmp_path / "a.mp4", [image], setup=setup))
    (frame,) = reader
    wide = cv2.resize(image, (192, 64), interpolation=cv2.INTER_LINEAR)
    assert difference(frame.image, np.rot90(wide)) < 5
    assert (reader.probe.width, reader.probe.height) == (64, 192)


INTERLACED = (1 << 18) | (1 << 29)  # FFmpeg's flags ildct and ilme
INTERLACED_FILES = [
    ("tff.mp4", "libx264", "yuv420p", "tff"),
    ("bff.mp4", "libx264", "yuv422p", "bff"),
    ("tff.ts", "mpeg2video", "yuv420p", "tff"),
    ("tff.mov", "prores_ks", "yuv422p10le", "tff"),
]


@pytest.mark.parametrize(("name", "codec", "pix_fmt", "field"), INTERLACED_FILES)
@pytest.mark.parametrize("n", [1, 2, 12])
def test_interlaced(tmp_path, name, codec, pix_fmt, field, n):
    """Two fields 1/50 s apart are woven into each frame; out comes the scene at the time of the first field."""
    woven, truth = [], []
    for time in range(n):
        first, second = waves(2 * time), waves(2 * time + 1)
        frame, row = second.copy(), 0 if field == "tff" else 1
        frame[row::2] = first[row::2]
        woven.append(frame)
        truth.append(first)
    path = encode(tmp_path / name, woven, codec, pix_fmt, field=field, flags=INTERLACED, options={"b": "8000000"})
    reader = read_frames(path)
    frames = list(reader)
    assert reader.probe.n_frames == n
    assert reader.probe.n_corrupt_packets == 0
    assert np.allclose([frame.time_s for frame in frames], np.arange(n) / FPS, atol=1e-4)
    errors = [difference(frame.image, image) for frame, image in zip(frames, truth, strict=True)]
    combed = np.mean([difference(image, other) for image, other in zip(woven, truth, strict=True)])
    if n > 1:  # a single frame has no neighbours to tell motion from detail
        assert max(errors) < 5 < combed


def test_frames_that_were_kept_are_those_of_another_reading(tmp_path):
    """Deinterlaced, made square and turned, in time as they were."""

    def setup(stream):
        stream.codec_context.sample_aspect_ratio = Fraction(2)
        stream.set_display_rotation(90)

    images = [waves(time) for time in range(8)]
    path = encode(tmp_path / "a.mp4", images, field="tff", flags=INTERLACED, setup=setup)
    reader = read_frames(path, "gray", keep_bytes=8 * 128 * 96 * 2)
    assert len(list(reader)) == 8
    os.unlink(path)
    found = list(reader.again("rgb24", {1, 2, 6}))
    path = encode(tmp_path / "a.mp4", images, field="tff", flags=INTERLACED, setup=setup)
    for one, other in zip(found, read_frames(path, only={1, 2, 6}), strict=True):
        assert (one.index, one.time_s) == (other.index, other.time_s)
        assert one.image.shape == (256, 96, 3)
        assert np.array_equal(one.image, other.image)


def test_only_converts_what_is_wanted_and_stops(tmp_path):
    path = encode(tmp_path / "a.mp4", [waves(time) for time in range(20)])
    everything = list(read_frames(path))
    packets = []
    reader = read_frames(path, only={3, 4, 9}, on_packet=lambda: packets.append(1))
    some = list(reader)
    assert [frame.index for frame in some] == [3, 4, 9]
    assert all(np.array_equal(frame.image, everything[frame.index].image) for frame in some)
    assert [frame.time_s for frame in some] == [everything[frame.index].time_s for frame in some]
    assert reader.probe.n_frames == 10
    assert packets
    assert list(read_frames(path, only={40})) == []


# time


def test_time_counts_from_the_first_frame(tmp_path):
    path = encode(tmp_path / "a.mkv", [waves(time) for time in range(4)], pts=[100, 101, 102, 152])
    reader = read_frames(path)
    assert [round(frame.time_s, 2) for frame in reader] == [0, 0.04, 0.08, 2.08]
    assert reader.probe.fps == pytest.approx(3 / 2.08, rel=1e-3)
    assert reader.probe.duration_s == pytest.approx(4 * 2.08 / 3, rel=1e-3)


def test_time_without_timestamps_steps_by_the_rate(tmp_path):
    path = encode(tmp_path / "a.h264", [waves(time) for time in range(5)])
    assert [round(frame.time_s, 3) for frame in read_frames(path)] == [0, 0.04, 0.08, 0.12, 0.16]


def test_one_frame_has_no_rate(tmp_path):
    reader = read_frames(encode(tmp_path / "a.png", [quadrants()], "png", "rgb24"))
    assert [frame.time_s for frame in reader] == [0]
    assert (reader.probe.fps, reader.probe.duration_s, reader.probe.n_frames) == (None, None, 1)


@pytest.mark.parametrize(
    ("stamps", "times"),
    [
        ([7, 8, 9], [0, 1, 2]),
        ([7, 8, 7.5, 9], [0, 1, 1, 2]),  # badly ordered
        ([7, 8, 0, 1], [0, 1, 2, 3]),  # a new timeline
        ([None, None, 30, 31], [0, 1, 2, 3]),
        ([5, None, 7], [0, 1, 2]),
    ],
)
def test_clock(stamps, times):
    clock = _Clock(step_s=1)
    assert [clock.tick(stamp) for stamp in stamps] == times


@given(st.lists(st.none() | st.floats(-1e9, 1e9), min_size=1))
def test_clock_never_goes_back(stamps):
    clock = _Clock(step_s=0.04)
    times = [clock.tick(stamp) for stamp in stamps]
    assert times[0] == 0
    assert times == sorted(times)


# which stream, which file


def add_picture(container, images, codec="libx264", **attributes):
    stream = container.add_stream(codec, rate=FPS)
    stream.height, stream.width = images[0].shape[:2]
    stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    for name, value in attributes.items():
        setattr(stream, name, value)
    packets = [p for image in images for p in stream.encode(av.VideoFrame.from_ndarray(image, "rgb24"))]
    return packets + stream.encode(None)


def boxes(content):
    """The boxes of an MP4 file or of the inside of one of them."""
    start = 0
    while start < len(content):
        size = struct.unpack_from(">I", content, start)[0]
        yield content[start + 4 : start + 8], content[start : start + size]
        start += size


def test_cover_art_is_used_last(tmp_path):
    """The metadata with the cover is moved before the track, which is not enabled: the cover is the first stream."""
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        art = add_picture(container, [quadrants(64, 64)], "mjpeg", disposition=Disposition.attached_pic)
        for packet in art + add_picture(container, [waves(0), waves(1)]):
            container.mux(packet)
    content = b""
    for kind, box in boxes(path.read_bytes()):
        if kind == b"moov":
            disabled = box[8:].replace(b"tkhd\0\0\0\3", b"tkhd\0\0\0\0")
            inner = sorted(boxes(disabled), key=lambda item: item[0] != b"udta")
            box = box[:8] + b"".join(part for _, part in inner)
        content += box
    path.write_bytes(content)
    with av.open(str(path)) as container:
        assert container.streams.video[0].disposition & Disposition.attached_pic
        assert not container.streams.video[1].disposition & Disposition.default
    assert [image.shape for image in images_of(str(path))] == [(96, 128, 3)] * 2


def test_stream_without_a_frame_is_passed_over(tmp_path):
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        container.add_stream("libx264", rate=FPS).pix_fmt = "yuv420p"
        container.streams[0].width = container.streams[0].height = 64
        for packet in add_picture(container, [waves(0), waves(1)]):
            container.mux(packet)
    with av.open(str(path)) as container:
        assert len(container.streams.video) == 2
    assert [image.shape for image in images_of(str(path))] == [(96, 128, 3)] * 2


def test_damaged_packets_are_left_out_and_counted(tmp_path):
    path = tmp_path / "a.mov"
    encode(path, [waves(time) for time in range(10)], "png", "rgb24")
    content = bytearray(path.read_bytes())
    starts = [i for i in range(len(content)) if content[i : i + 4] == b"\x89PNG"]
    assert len(starts) == 10
    for start in (starts[3], starts[7]):
        content[start : start + 8] = bytes(8)
    path.write_bytes(content)
    reader = read_frames(str(path))
    times = [frame.time_s for frame in reader]
    assert (reader.probe.n_frames, reader.probe.n_corrupt_packets) == (8, 2)
    assert times == sorted(times)


def test_truncated_file_gives_the_frames_it_has(tmp_path):
    path = tmp_path / "a.ts"
    encode(path, [waves(time) for time in range(50)], "mpeg2video")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert 15 <= len(images_of(str(path))) <= 35


def test_file_that_cannot_be_read_to_its_end_gives_the_frames_before(tmp_path):
    frames = [b"FRAME\n" + bytes([128]) * 384 for _ in range(5)]
    frames[3] = b"frame" + frames[3][5:]
    (tmp_path / "a.y4m").write_bytes(b"YUV4MPEG2 W16 H16 F25:1 C420jpeg\n" + b"".join(frames))
    reader = read_frames(str(tmp_path / "a.y4m"))
    assert [frame.image[0, 0].tolist() for frame in reader] == [[130] * 3] * 3  # (128 - 16) * 255 / 219
    assert reader.probe.n_corrupt_packets == 1


def test_picture_size_may_change_midway(tmp_path):
    path = tmp_path / "a.ts"
    parts = []
    for width in (128, 64):
        part = tmp_path / f"{width}.ts"
        encode(part, [waves(time, width) for time in range(5)], "mpeg2video", field="tff", flags=INTERLACED)
        parts.append(part.read_bytes())
    path.write_bytes(b"".join(parts))
    reader = read_frames(str(path))
    frames = list(reader)
    assert {frame.image.shape for frame in frames} == {(96, 128, 3), (96, 64, 3)}
    assert reader.probe.width == 128
    times = [frame.time_s for frame in frames]
    assert times == sorted(times)


NAMES = [
    "two words.mp4",
    "-dash.mp4",
    "🎬 видео.mp4",
    "no_extension",
    "100%25.mp4",
    "a#b?c.mp4",
    "x" * 234 + ".mp4",
    "a.JPG",
]


@pytest.mark.parametrize("name", NAMES)
def test_names(tmp_path, monkeypatch, name):
    encode(tmp_path / "a.mp4", [quadrants()])
    (tmp_path / "a.mp4").rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    for uri in (
        name,
        str(tmp_path / name),
        (tmp_path / name).as_uri(),
        f"file://localhost{(tmp_path / name).as_uri()[7:]}",
    ):
        assert len(images_of(uri)) == 1


def test_name_that_is_not_unicode(tmp_path):
    encode(tmp_path / "a.mp4", [quadrants()])
    path = bytes(tmp_path) + b"/\xff\xfe.mp4"
    (tmp_path / "a.mp4").rename(path.decode(errors="surrogateescape"))
    assert len(images_of(f"file://{tmp_path}/%FF%FE.mp4")) == 1


def test_other_file_systems(tmp_path):
    """fsspec's memory stands for the ones in the cloud, which take the same way; tests/files/test_remote.py has S3."""
    encode(tmp_path / "a.mp4", [quadrants()])
    path_of("memory://decode/a.mp4").write_bytes((tmp_path / "a.mp4").read_bytes())
    assert len(images_of("memory://decode/a.mp4")) == 1
    assert code_of("memory://decode/b.mp4") == "not_found"


def test_not_found(tmp_path):
    assert code_of(tmp_path / "nothing.mp4") == "not_found"
    assert code_of(tmp_path) == "not_found"
    assert code_of("nosuchscheme://host/a.mp4") == "not_found"
    assert code_of("a\0b") == "not_found"
    assert code_of("x" * 300) == "not_found"


def test_read_failure_is_no_property_of_the_video(tmp_path, monkeypatch):
    import operators.video.decode as video

    class Failing(io.FileIO):
        def read(self, n=-1):
            if self.tell() > 0:
                raise OSError("the disk is gone")
            return super().read(n)

    path = encode(tmp_path / "a.ts", [waves(time) for time in range(100)], "mpeg2video")
    monkeypatch.setattr(video, "_open", Failing)
    assert code_of(path) == "read_failed"


def test_empty_file(tmp_path):
    (tmp_path / "a.mp4").touch()
    assert code_of(tmp_path / "a.mp4") == "empty_file"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.mp4", b"<html><body>404</body></html>"),
        ("a.txt", b"Just a text, in several lines.\n" * 40),
        ("a.nfo", b"\x1b[31mtext\n" * 100),
        ("a.mp4", bytes(range(256)) * 50),
        ("a.mp4", b"\0"),
        ("a.zip", b"PK\x05\x06" + bytes(18)),
    ],
)
def test_not_a_video(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    assert code_of(tmp_path / name) == "not_a_video"


@pytest.mark.parametrize(
    "text",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{other}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile {other}\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n",
    ],
)
def test_a_playlist_does_not_open_other_files(tmp_path, text):
    encode(tmp_path / "other.ts", [waves(0)], "mpeg2video")
    for name in ("list.m3u8", "list.mp4", "list.ffconcat"):
        (tmp_path / name).write_text(text.format(other="other.ts"))
        assert code_of(tmp_path / name) in ("not_a_video", "no_frames", "no_video_stream")


def test_sound_alone(tmp_path):
    path = tmp_path / "a.m4a"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), "fltp", "mono")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert code_of(path) == "no_video_stream"


def test_open_uri_gives_the_bytes_from_the_first(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    with open_uri(str(tmp_path / "a")) as file:
        assert file.read() == b"abc"


# real files

#: the index gives this size without the pixel aspect that the file states
SIZES = {"bad/odd_sar_2_1.mp4": (640, 360)}
#: what is larger is of a codec, pixel format or shape that a smaller file here or in bad/ has, too
LARGEST_PX = 30_000_000
#: why the others are rejected, which no crash and no hang would say
REJECTED = {"bad/broken_zero_bytes.mp4": "empty_file", "bad/broken_moov_without_mdat.mp4": "no_frames"}


def pixels_in(row):
    return int(row["width"]) * int(row["height"]) * int(row["frames"])


@pytest.mark.clips
def test_every_clip_does_what_the_index_says(clips):
    for row in csv.DictReader((clips / "index.csv").open()):
        if not row["path"].startswith("bad/") and pixels_in(row) > LARGEST_PX:
            continue
        reader = read_frames(str(clips / row["path"]), "gray")
        if row["note"].startswith("[REJECT CLEANLY]"):
            assert code_of(clips / row["path"]) == REJECTED.get(row["path"], "not_a_video")
            continue
        shapes, last = set(), -1.0
        for frame in reader:
            shapes.add(frame.image.shape)
            assert frame.time_s > last, row["path"]
            last = frame.time_s
        size = SIZES.get(row["path"], (int(row["width"]), int(row["height"])))
        assert shapes == {size[::-1]}, row["path"]
        assert (reader.probe.width, reader.probe.height) == size
        # of a damaged frame at the end of a truncated file decoders make different things
        assert abs(reader.probe.n_frames - int(row["frames"])) <= (2 if "truncated" in row["path"] else 0), row["path"]


@pytest.mark.clips
def test_rotated_clip_is_upright(clips):
    """The file's pixels lie on their side; the same scene, squeezed, is stored upright in another file."""
    turned = images_of(str(clips / "bad/odd_rotated90_upright_when_applied.mp4"), only={0})[0]
    squeezed = images_of(str(clips / "bad/odd_sar_2_1.mp4"), only={0})[0]
    assert turned.shape == squeezed.shape == (360, 640, 3)
    assert difference(turned, squeezed) < 8


def test_what_is_no_regular_file_is_not_waited_for(tmp_path):
    """A FIFO without a writer, one behind a link, a device that never ends, a folder."""
    os.mkfifo(tmp_path / "fifo.mp4")
    (tmp_path / "link.mp4").symlink_to(tmp_path / "fifo.mp4")
    for path in (tmp_path / "fifo.mp4", tmp_path / "link.mp4", "/dev/zero", tmp_path):
        assert code_of(str(path)) == "not_found"
