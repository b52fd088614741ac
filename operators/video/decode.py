"""Decodes any video or picture, one frame at a time, into upright frames of square pixels without interlacing."""

import os
import re
import stat
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from io import BufferedReader
from typing import Any, BinaryIO, Literal, cast
from urllib.parse import unquote_to_bytes

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.filter import Graph
from av.sidedata.sidedata import Type as SideDataType
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from av.video.stream import VideoStream

from schemas.errors import SampleError

PixelFormat = Literal["rgb24", "gray"]

#: the flags keep 4:2:0 from coming out a level too dark; for grey they change nothing and take twice the time
_CONVERSION: dict[PixelFormat, Interpolation] = {
    "rgb24": Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT,
    "gray": Interpolation.BILINEAR,
}
#: pixels further from square than this are a broken tag, not a format anyone shoots in
_MAX_PIXEL_ASPECT = 4
#: timestamps that go back further than this begin a new timeline; less is a badly ordered frame
_MAX_STEP_BACK_S = 1.0
_FALLBACK_FPS = 25
#: demuxers that make pictures of text
_TEXT_FORMATS = frozenset({"tty"})
#: a playlist must not make us read other files or the network
_OPTIONS = {"protocol_whitelist": "none"}
#: the last PyAV that Python 3.11 has; 19 needs Python 3.12
_PYAV_18 = av.__version__.startswith("18.")
#: PyAV 18 refuses a file over a tag that is not UTF-8 unless told otherwise; 19 takes every tag, but no such argument
_TAGS: dict[str, Any] = {"metadata_errors": "replace"} if _PYAV_18 else {}
_READ_BYTES = 1 << 18
#: PyAV (up to 19) frees the name of a PNG's colour profile twice once side data is looked at: a crash
_PNG = frozenset({"png", "apng"})
#: colour matrices (ITU-T H.273) that swscale knows; it refuses frames tagged with others
_UNSPECIFIED, _BT2020, _BT2020_CONSTANT = 2, 9, 10
_COLORSPACES = frozenset({0, 1, _UNSPECIFIED, 4, 5, 6, 7, _BT2020})


@dataclass(frozen=True)
class Frame:
    """One decoded frame. `image` is uint8, (H,W,3) RGB or (H,W) grey; `time_s` counts from the first frame."""

    index: int
    time_s: float
    image: np.ndarray


@dataclass
class Probe:
    """What was found, under the column names of the table `videos`; complete after the last frame.

    Counted while decoding, never read from a header. Below two frames `fps` and `duration_s` are None.
    """

    container: str
    codec: str
    width: int | None = None
    height: int | None = None
    fps: float | None = None
    duration_s: float | None = None
    n_frames: int = 0
    n_corrupt_packets: int = 0

    def count(self, time_s: float, size: tuple[int, int]) -> None:
        """Takes note of one more frame of `size` (width, height)."""
        self.n_frames += 1
        if self.n_frames == 1:
            self.width, self.height = size
        elif time_s > 0:
            self.fps = (self.n_frames - 1) / time_s
            self.duration_s = self.n_frames / self.fps


def open_uri(uri: str) -> BinaryIO:
    """The file at a local path, a file:// URI (percent-encoded), or any other URI that pyarrow or fsspec can read.

    Of those every read is a request: `operators.storage.files.on_disk` fetches a video first. Raises SampleError
    not_found, empty_file.
    """
    try:
        file = _open(uri)
        empty = not file.read(1)
        file.seek(0)
    except (OSError, ValueError, ImportError) as error:  # ValueError: nobody knows such a scheme; a NUL in the name
        raise SampleError("not_found", " ".join(str(error).split())) from error
    if empty:
        file.close()
        raise SampleError("empty_file", f"{uri} has no bytes")
    return file


def local_path(uri: str) -> str | None:
    """The path on this machine that a path or a file:// URI (percent-encoded) names; None of any other URI."""
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", uri)
    if scheme is None:
        return uri
    if scheme[1].lower() != "file":
        return None
    return os.fsdecode(unquote_to_bytes(re.sub(r"^//[^/]*", "", uri[len("file:") :])))


def _open(uri: str) -> BinaryIO:
    path = local_path(uri)
    if path is not None:
        return _regular(path)
    from operators.storage.remote import opened  # here, because local files do without

    return BufferedReader(cast(BinaryIO, opened(uri)), _READ_BYTES)  # type: ignore[arg-type]


def _regular(path: str) -> BinaryIO:
    """A file, also behind links; opening a FIFO would wait for who writes into it, reading a device need never end."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"{path} is no regular file")
    return os.fdopen(descriptor, "rb")


def read_frames(
    uri: str,
    pixel_format: PixelFormat = "rgb24",
    *,
    only: Collection[int] | None = None,
    threads: int = 1,
    on_packet: Callable[[], None] | None = None,
    keep_bytes: int = 0,
) -> "FrameReader":
    """Frames of the video or picture at `uri`, in order, decoded while they are iterated over.

    A rotation tag, the pixel aspect (only ever enlarging) and the colour matrix as tagged (BT.601 where untagged) are
    applied, and interlaced frames deinterlaced, one frame out per frame in. Packets that the decoder refuses are left
    out and counted in `.probe`; a file that breaks off gives the frames it has. `only` names the indices that are
    wanted: the others are decoded but not converted, and decoding ends with the last of them. `on_packet` is called
    for every packet, frames or not. A video of up to `keep_bytes` as it is decoded is kept for `FrameReader.again`.

    Iterating raises SampleError not_found, empty_file, read_failed, not_a_video, no_video_stream, no_frames.
    """
    return FrameReader(uri, pixel_format, only, threads, on_packet, keep_bytes)


def decode_one_frame(uri: str) -> None:
    """SampleError where not one frame can be decoded. Here, for a child that has to import no more than this."""
    for _ in read_frames(uri, "gray", only={0}):
        return


class FrameReader:
    """Iterable over the frames of one video; made by `read_frames`."""

    #: what was found so far; set when iteration begins
    probe: Probe

    def __init__(
        self,
        uri: str,
        pixel_format: PixelFormat,
        only: Collection[int] | None,
        threads: int,
        on_packet: Callable[[], None] | None,
        keep_bytes: int,
    ) -> None:
        self._uri = uri
        self._pixel_format: PixelFormat = pixel_format
        self._only = only
        self._threads = threads
        self._on_packet = on_packet
        self._keep_bytes = keep_bytes
        self._kept: list[_Decoded] | None = None

    def again(self, pixel_format: PixelFormat, only: Collection[int]) -> Iterable[Frame]:
        """The frames `only` in another format, as a reader of their own would give them; after the last one was read.

        Out of memory where the whole video was kept, else by decoding again.
        """
        if self._kept is None:
            return read_frames(self._uri, pixel_format, only=only, threads=self._threads, on_packet=self._on_packet)
        reformatter, kept = VideoReformatter(), self._kept
        return (each.frame(reformatter, pixel_format) for each in kept if each.index in only)

    def __iter__(self) -> Iterator[Frame]:
        streams: list[int] | None = None
        while streams is None or streams:  # a stream that gives nothing is passed over for the next
            with open_uri(self._uri) as file, _open_container(file) as container:
                streams = _streams(container) if streams is None else streams
                stream = cast(VideoStream, container.streams[streams.pop(0)])
                self.probe = Probe(container.format.name, stream.codec_context.name)
                yield from self._frames(container, stream)
            if self.probe.n_frames:
                return
        detail = f"{self.probe.codec} in {self.probe.container}, {self.probe.n_corrupt_packets} corrupt packets"
        raise SampleError("no_frames", detail)

    def _frames(self, container: InputContainer, stream: VideoStream) -> Iterator[Frame]:
        stream.codec_context.thread_count = self._threads
        last = None if self._only is None else max(self._only, default=-1)
        clock = _Clock(float(1 / (stream.guessed_rate or _FALLBACK_FPS)))
        reformatter = VideoReformatter()
        room = self._keep_bytes
        self._kept = [] if room else None
        orientations: dict[int, _Orientation] = {}
        for index, raw in enumerate(_deinterlace(self._decode(container, stream))):
            time_s = clock.tick(raw.time)
            aspect = stream.sample_aspect_ratio  # a Fraction or None in PyAV 18, in 19 a number of its own kind
            aspect = Fraction(aspect.numerator, aspect.denominator) if aspect else None
            square = _square_pixels(raw.width, raw.height, aspect)
            if raw.rotation not in orientations:  # not per frame: a frame asked for its side data lives until gc runs
                orientations[raw.rotation] = _orientation(raw, self.probe.codec)
            orientation = orientations[raw.rotation]
            self.probe.count(time_s, (square[1], square[0]) if orientation.transpose else square)
            decoded = _Decoded(index, time_s, raw, square, orientation)
            if self._kept is not None:
                self._kept.append(decoded)
                room -= sum(plane.buffer_size for plane in raw.planes)
                if room < 0:
                    self._kept = None
            if self._only is None or index in self._only:
                yield decoded.frame(reformatter, self._pixel_format)
            if index == last:
                return

    def _decode(self, container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
        packets = container.demux(stream)  # ends with an empty packet, which makes the decoder give what it holds
        broken = False
        while not broken:
            if self._on_packet is not None:
                self._on_packet()
            try:
                packet = next(packets)
            except StopIteration:
                return
            except (FFmpegError, OSError) as error:
                _not_memory(error)
                if not isinstance(error, FFmpegError):
                    raise SampleError("read_failed", str(error)) from error
                packet, broken = None, True  # nothing can be read beyond; None makes the decoder give what it holds
                self.probe.n_corrupt_packets += 1
            try:
                raws = stream.decode(packet)
            except FFmpegError as error:
                _not_memory(error)
                self.probe.n_corrupt_packets += 1
                continue
            for raw in raws:
                raw.time_base = stream.time_base or Fraction(1, 90000)  # frames of the final flush carry none
                if raw.colorspace not in _COLORSPACES:
                    raw.colorspace = _BT2020 if raw.colorspace == _BT2020_CONSTANT else _UNSPECIFIED
                yield raw


def _open_container(file: BinaryIO) -> InputContainer:
    try:
        container = av.open(file, "r", options=_OPTIONS, buffer_size=_READ_BYTES, **_TAGS)
    except (FFmpegError, OSError) as error:
        _not_memory(error)
        if not isinstance(error, FFmpegError):
            raise SampleError("read_failed", str(error)) from error
        raise SampleError("not_a_video", str(error.strerror)) from error
    if container.format.name in _TEXT_FORMATS:
        container.close()
        raise SampleError("not_a_video", f"text ({container.format.name})")
    return container


def _not_memory(error: Exception) -> None:
    """FFmpeg's ENOMEM is no property of the packet it struck."""
    if isinstance(error, MemoryError):
        raise error


def _streams(container: InputContainer) -> list[int]:
    """Indices of the streams with pictures, best first: what plays by default before the rest, cover art last."""
    stills = Disposition.attached_pic | Disposition.timed_thumbnails
    streams = [stream for stream in container.streams.video if stream.codec_context is not None]
    if not streams:
        kinds = ", ".join(stream.type for stream in container.streams) or "nothing"
        raise SampleError("no_video_stream", f"{container.format.name} with {kinds} that can be decoded")
    streams.sort(key=lambda s: (bool(s.disposition & stills), not s.disposition & Disposition.default, s.index))
    return [stream.index for stream in streams]


class _Clock:
    """Seconds from the first frame, never going back, whatever the timestamps do."""

    def __init__(self, step_s: float) -> None:
        self._step_s = step_s
        self._zero_s: float | None = None
        self._now_s: float | None = None

    def tick(self, stamp_s: float | None) -> float:
        """Time of the next frame; one step after the one before where the file does not say (`stamp_s` None)."""
        before = self._now_s
        now = 0.0 if before is None else before + self._step_s
        if stamp_s is not None:
            if self._zero_s is None or stamp_s - self._zero_s < (before or 0.0) - _MAX_STEP_BACK_S:
                self._zero_s = stamp_s - now
            now = max(stamp_s - self._zero_s, before or 0.0)
        self._now_s = now
        return now


@dataclass(frozen=True)
class _Orientation:
    """How stored pixels become upright: transposed first, then mirrored. All eight orientations are of this form."""

    transpose: bool = False
    mirror_x: bool = False
    mirror_y: bool = False

    def apply(self, image: np.ndarray) -> np.ndarray:
        if self.transpose:
            image = image.swapaxes(0, 1)
        return np.ascontiguousarray(image[:: -1 if self.mirror_y else 1, :: -1 if self.mirror_x else 1])


@dataclass(frozen=True)
class _Decoded:
    """A frame as the decoder gives it, and what becomes of it: its size in square pixels, width first, and turning."""

    index: int
    time_s: float
    raw: VideoFrame
    square: tuple[int, int]
    orientation: _Orientation

    def frame(self, reformatter: VideoReformatter, pixel_format: PixelFormat) -> Frame:
        how = _CONVERSION[pixel_format]
        pixels = reformatter.reformat(self.raw, *self.square, pixel_format, interpolation=how, threads=1)
        return Frame(self.index, self.time_s, self.orientation.apply(pixels.to_ndarray()))


def _unknown_side_data(cls: type[SideDataType], value: int) -> SideDataType:
    """PyAV 18 gives no side data at all of a frame that has a kind it cannot name (EXIF of a JPEG)."""
    member = object.__new__(cls)
    member._name_, member._value_ = f"UNKNOWN_{value}", value
    return member


if _PYAV_18:
    SideDataType._missing_ = classmethod(_unknown_side_data)  # pyright: ignore[reportAttributeAccessIssue]


def _orientation(raw: VideoFrame, codec: str) -> _Orientation:
    """From the display matrix, which maps the pixel (p, q) to (a p + c q, b p + d q), stored a b u c d v x y w."""
    if codec in _PNG:
        quarters = round(raw.rotation / 90) % 4  # counter-clockwise
        return _Orientation(quarters % 2 == 1, quarters in (2, 3), quarters in (1, 2))
    if "DISPLAYMATRIX" not in raw.side_data:
        return _Orientation()
    a, b, _, c, d = np.frombuffer(raw.side_data["DISPLAYMATRIX"], np.int32)[:5].tolist()
    if abs(a) + abs(d) >= abs(b) + abs(c):  # also snaps slanted angles to the nearest right one
        return _Orientation(False, a < 0, d < 0)
    return _Orientation(True, c < 0, b < 0)


def _square_pixels(width: int, height: int, pixel_aspect: Fraction | None) -> tuple[int, int]:
    """Size in square pixels, enlarging the side whose pixels are long."""
    if not pixel_aspect or not 1 / _MAX_PIXEL_ASPECT <= pixel_aspect <= _MAX_PIXEL_ASPECT:
        return width, height
    return round(width * max(pixel_aspect, 1)), round(height * max(1 / pixel_aspect, 1))


def _deinterlace(raws: Iterator[VideoFrame]) -> Iterator[VideoFrame]:
    """One progressive frame per frame. From the first interlaced frame on all go through the filter, in order."""
    graph: Graph | None = None
    shape: tuple[int, int, str] | None = None
    for raw in raws:
        if graph is not None and shape != (raw.width, raw.height, raw.format.name):
            yield from _filtered(graph, None)
            graph = None
        if graph is None and raw.interlaced_frame and raw.width >= 3 and raw.height >= 4:  # the filter's minimum
            graph, shape = _bwdif(raw), (raw.width, raw.height, raw.format.name)
        if graph is None:
            yield raw
        else:
            yield from _filtered(graph, raw)
    if graph is not None:
        yield from _filtered(graph, None)


def _bwdif(raw: VideoFrame) -> Graph:
    graph = Graph()
    graph.threads = 1
    source = graph.add(
        "buffer",
        video_size=f"{raw.width}x{raw.height}",
        pix_fmt=raw.format.name,
        time_base=str(raw.time_base),
        colorspace=str(raw.colorspace),
        range=str(raw.color_range),
    )
    graph.link_nodes(source, graph.add("bwdif", mode="send_frame", deint="interlaced"), graph.add("buffersink"))
    graph.configure()
    return graph


def _filtered(graph: Graph, raw: VideoFrame | None) -> Iterator[VideoFrame]:
    """What the filter gives for one frame more, or, for None, for the end of the stream."""
    graph.vpush(raw)
    while True:
        try:
            yield graph.vpull()
        except (BlockingIOError, EOFError):
            return
