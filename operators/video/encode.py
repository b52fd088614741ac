"""Videos written so that they play everywhere (H.264) or lose nothing (FFV1 for masks)."""

from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path
from typing import cast
from uuid import uuid4

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from av.video.stream import VideoStream

from schemas.errors import SampleError

#: x264's constant rate factor: 18 is visually lossless, 23 its default, higher is smaller
DEFAULT_CRF = 18


def write_video(path: Path, frames: Iterable[np.ndarray], fps: float, crf: int = DEFAULT_CRF) -> int:
    """Write frames (H, W, 3) uint8 RGB as an H.264 yuv420p MP4, index in front; return their number.

    Odd sides are made even by repeating the last row or column. BT.709, limited range. One encoder thread: the same
    frames give the same bytes, however many cores there are. The file appears under its name only when it is
    complete. Raises SampleError("no_frames") where there is nothing to write and ValueError where a frame differs in
    size.
    """

    def configure(stream: VideoStream) -> None:
        stream.pix_fmt = "yuv420p"
        # with x264's macroblock tree the same frames gave different bytes in different processes
        stream.options = {"crf": str(crf), "preset": "medium", "mbtree": "0"}
        context = stream.codec_context
        context.thread_count = 1
        context.colorspace = Colorspace.ITU709
        context.color_range = ColorRange.MPEG
        context.color_primaries = 1  # BT.709, as the matrix: a player need not guess from the height
        context.color_trc = 1

    convert = VideoReformatter().reformat  # one for all: to make one takes ten times as long as to convert a frame

    def encode(image: np.ndarray) -> av.VideoFrame:
        even = np.pad(image, ((0, image.shape[0] % 2), (0, image.shape[1] % 2), (0, 0)), mode="edge")
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")
        return convert(
            frame, format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG, threads=1
        )

    return _write(path, frames, fps, "mp4", "libx264", {"movflags": "+faststart"}, configure, encode)


def write_masks(path: Path, masks: Iterable[np.ndarray], fps: float) -> int:
    """Write masks (H, W) float in 0..1 as 8-bit grey FFV1 in Matroska, lossless at n/255; return their number.

    Read them back with `read_masks`. Raises what `write_video` raises.
    """

    def configure(stream: VideoStream) -> None:
        stream.pix_fmt = "gray"

    def encode(mask: np.ndarray) -> av.VideoFrame:
        return av.VideoFrame.from_ndarray(np.rint(mask * 255).astype(np.uint8), format="gray")

    return _write(path, masks, fps, "matroska", "ffv1", {"fflags": "+bitexact"}, configure, encode)


def read_masks(path: Path) -> np.ndarray:
    """All masks of a file of `write_masks`, (T, H, W) float32 in 0..1, n/255 exactly."""
    with av.open(str(path)) as container:
        grey = [frame.to_ndarray() for frame in container.decode(video=0)]
    return np.stack(grey).astype(np.float32) / 255


def _write(
    path: Path,
    images: Iterable[np.ndarray],
    fps: float,
    container_format: str,
    codec: str,
    container_options: dict[str, str],
    configure: Callable[[VideoStream], None],
    encode: Callable[[np.ndarray], av.VideoFrame],
) -> int:
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{uuid4().hex}.part")
    rate = Fraction(fps).limit_denominator(1001)
    count = 0
    try:
        with av.open(str(temporary), "w", format=container_format, container_options=container_options) as container:
            stream: VideoStream | None = None
            for image in images:
                frame = encode(image)
                if stream is None:
                    stream = cast(VideoStream, container.add_stream(codec, rate=rate))
                    stream.width, stream.height = frame.width, frame.height
                    stream.time_base = 1 / rate
                    configure(stream)
                elif (frame.width, frame.height) != (stream.width, stream.height):
                    size = f"{frame.width}x{frame.height} after {stream.width}x{stream.height}"
                    raise ValueError(f"frame {count} of {path.name} is {size}")
                frame.pts, frame.time_base = count, 1 / rate
                container.mux(stream.encode(frame))
                count += 1
            if stream is None:
                raise SampleError("no_frames", f"nothing to write to {path.name}")
            container.mux(stream.encode(None))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return count
