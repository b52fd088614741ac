"""Short clips of one moving head, genuine and forged, made from the portrait photograph that scikit-image carries."""

from pathlib import Path
from typing import Final

import cv2
import numpy as np
import pyarrow as pa
import skimage.data

from operators.forging.blend import SELF_BLENDED, ForgeParams, Rectangle, forge_clip
from operators.video.encode import write_masks, write_video
from operators.video.identity import video_id
from schemas.conform import conform
from schemas.tables import LABELS, MANIFEST

cv2.setNumThreads(1)

_SIDE_PX: Final = 320
_FPS: Final = 25
#: what dlib finds in the photograph: left, top, width, height
_FACE: Final[Rectangle] = (179, 83, 88, 88)
#: how much larger than in the photograph the face is shown
_ZOOM: Final = 1.5
#: every forgery shows in a single frame (colour, sharpness) and in motion (the patch trembles). Regions, not the whole
#: face: that fills three quarters of the crop, and there heat at random would already lie inside
_FORGERY: Final = ForgeParams(
    regions=("eyes", "nose", "mouth"),
    strengths=(1.0,),
    details=("downscale",),
    max_colour_shift_levels=40.0,
    max_gain=1.25,
    faults=("jump",),
    run_frames=1,
    jump_shift=0.025,
)


def make_clips(out: Path, n_real: int, n_fake: int, frames_per_clip: int = 50, seed: int = 0) -> None:
    """Write OUT/real/NNN.mp4, OUT/fake/NNN.mp4 and OUT/masks/NNN.mkv: 320x320 pixels, 25 frames per second, H.264.

    Clip NNN of fake is clip NNN of real, forged: its seed decides motion, light, colours, noise and whether the
    picture is mirrored. Both are encoded with the same settings, so that the encoder tells nothing. The mask of a
    forged clip is a lossless grey video (FFV1; operators.encode.read_masks), frame by frame what was blended.
    """
    for number in range(max(n_real, n_fake)):
        clip_seed = seed * 10_000 + number
        frames, boxes = _scene(clip_seed, frames_per_clip)
        name = f"{number:03d}"
        if number < n_real:
            write_video(out / "real" / f"{name}.mp4", frames, _FPS)
        if number < n_fake:
            forged, masks = zip(*forge_clip(frames, boxes, _FORGERY, clip_seed), strict=True)
            write_video(out / "fake" / f"{name}.mp4", forged, _FPS)
            write_masks(out / "masks" / f"{name}.mkv", masks, _FPS)


def manifest_rows(folder: Path, val_share: float = 0.15, test_share: float = 0.3) -> pa.Table:
    """The manifest of what `make_clips` wrote below `folder`, its paths relative to it: to be kept there.

    The clips with the highest numbers are `test`, those before them `val`, the rest `train`: a genuine clip and its
    forgery share a number, so they are on one side.
    """
    numbers = sorted({path.stem for kind in LABELS for path in (folder / kind).glob("*.mp4")})
    n_test, n_val = round(len(numbers) * test_share), round(len(numbers) * val_share)
    held_out = {number: "test" for number in numbers[len(numbers) - n_test :]}
    held_out |= {number: "val" for number in numbers[len(numbers) - n_test - n_val : len(numbers) - n_test]}
    rows = []
    for number in numbers:
        shared = {"dataset": "portrait", "split": held_out.get(number, "train"), "identities": f"take:{number}"}
        genuine, forged = (folder / kind / f"{number}.mp4" for kind in LABELS)
        genuine_id = video_id(str(genuine)) if genuine.is_file() else None
        if genuine_id is not None:
            uri = genuine.relative_to(folder).as_posix()
            rows.append(shared | {"video_id": genuine_id, "uri": uri, "label": "real"})
        if forged.is_file():
            uri, truth_uri = forged.relative_to(folder).as_posix(), f"masks/{number}.mkv"
            shared |= {"manipulation": SELF_BLENDED, "pair_id": genuine_id, "truth_uri": truth_uri}
            rows.append(shared | {"video_id": video_id(str(forged), SELF_BLENDED), "uri": uri, "label": "fake"})
    return conform(pa.Table.from_pylist(rows, schema=MANIFEST.schema), MANIFEST.schema)


def _scene(seed: int, n_frames: int) -> tuple[list[np.ndarray], list[Rectangle]]:
    """Frames (320, 320, 3) uint8 RGB of one take, and the face's box in each."""
    rng = np.random.default_rng(seed)
    photograph, face = _dressed(rng)
    centre = np.array([face[0] + face[2] / 2, face[1] + face[3] / 2])
    rows, columns = np.indices((_SIDE_PX, _SIDE_PX), np.float32) - (_SIDE_PX - 1) / 2

    zoom = _ZOOM * (1 + 0.05 * _motion(rng, n_frames))
    angle = np.deg2rad(5 * _motion(rng, n_frames))
    shift = np.stack([16 * _motion(rng, n_frames), 9 * _motion(rng, n_frames)], axis=1)
    turn = np.stack([5 * _motion(rng, n_frames), 3 * _motion(rng, n_frames)], axis=1)
    jaw = 2.0 * np.clip(_motion(rng, n_frames, fastest_hz=3.0), 0, 1)
    brightness, across, down = (a * _motion(rng, n_frames) for a in (0.08, 0.12, 0.08))

    frames, boxes = [], []
    for t in range(n_frames):
        # from the frame back to the photograph: a camera move, then what is near moves more than the background
        x, y = (columns - shift[t, 0]) / zoom[t], (rows - shift[t, 1]) / zoom[t]
        cos, sin = np.cos(angle[t]), np.sin(angle[t])
        map_x = (cos * x + sin * y + centre[0]).astype(np.float32)
        map_y = (-sin * x + cos * y + centre[1]).astype(np.float32)
        near = _bump(map_x, map_y, centre, 0.9 * face[2], 1.1 * face[3])
        chin = _bump(map_x, map_y, centre + np.array([0, 0.42 * face[3]]), 0.25 * face[2], 0.16 * face[3])
        picture = cv2.remap(
            photograph,
            map_x - turn[t, 0].astype(np.float32) * near,
            map_y - turn[t, 1].astype(np.float32) * near - np.float32(jaw[t]) * chin,
            cv2.INTER_CUBIC,
            borderMode=cv2.BORDER_REFLECT_101,
        ).astype(np.float32)
        light = 1 + brightness[t] + (across[t] * columns + down[t] * rows) / (_SIDE_PX / 2)
        noisy = picture * light[..., None].astype(np.float32) + rng.normal(0, 2.0, picture.shape)
        frames.append(np.clip(np.rint(noisy), 0, 255).astype(np.uint8))
        side = zoom[t] * np.array([face[2], face[3]])
        middle = shift[t] + (_SIDE_PX - 1) / 2 + zoom[t] * turn[t]
        left, top = np.rint(middle - side / 2).astype(int)
        boxes.append((int(left), int(top), round(side[0]), round(side[1])))
    return frames, boxes


def _dressed(rng: np.random.Generator) -> tuple[np.ndarray, Rectangle]:
    """The photograph mirrored or not, in other colours, its background in yet others; with the face's box in it."""
    photograph = skimage.data.astronaut()
    x, y, width, height = _FACE
    if rng.random() < 0.5:
        photograph = np.ascontiguousarray(photograph[:, ::-1])
        x = photograph.shape[1] - x - width
    rows, columns = np.mgrid[: photograph.shape[0], : photograph.shape[1]]
    person = _bump(columns, rows, np.array([x + width / 2, y + height / 2]), width, 1.2 * height)[..., None]
    linear = (photograph / 255.0) ** rng.uniform(0.8, 1.25) * rng.uniform(0.92, 1.06, 3)
    background = linear * rng.uniform(0.55, 1.0, 3)
    dressed = np.clip(person * linear + (1 - person) * background, 0, 1) * 255
    return dressed.astype(np.uint8), (x, y, width, height)


def _bump(x: np.ndarray, y: np.ndarray, centre: np.ndarray, half_width: float, half_height: float) -> np.ndarray:
    """1 around `centre`, falling to 0 about (half_width, half_height) away, smooth; float32."""
    distance = ((x - centre[0]) / half_width) ** 2 + ((y - centre[1]) / half_height) ** 2
    return np.exp(-(distance**2)).astype(np.float32)


def _motion(rng: np.random.Generator, n_frames: int, fastest_hz: float = 1.2) -> np.ndarray:
    """A smooth curve (T,) within -1..1: three slow waves."""
    time_s = np.arange(n_frames) / _FPS
    hertz, phase = rng.uniform(0.2, fastest_hz, 3), rng.uniform(0, 2 * np.pi, 3)
    return np.sin(2 * np.pi * hertz * time_s[:, None] + phase).mean(axis=1)
