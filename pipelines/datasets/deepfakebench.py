"""DeepfakeBench's lists of extracted frames: {DATASET: {LABEL: {SPLIT: [{COMPRESSION:] {VIDEO: label, frames}}}}}."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from pipelines.datasets import names
from pipelines.datasets.listing import COMPRESSIONS, Entry, Listing, choose_compression, find, read_json
from pipelines.datasets.names import Name
from pipelines.errors import UserError

#: beginning of a label -> dataset, and what its file names say
_SOURCES: dict[str, tuple[str, Callable[[str], Name | None]]] = {
    "FF-": ("FaceForensics++", names.faceforensics),
    "DFD_": ("DFD", names.dfd),
    "CelebDFv1_": ("Celeb-DF-v1", names.celeb),
    "CelebDFv2_": ("Celeb-DF-v2", names.celeb),
    "DF_": ("DeeperForensics-1.0", names.deeperforensics),
}
_MANIPULATIONS = {
    "FF-DF": "Deepfakes",
    "FF-F2F": "Face2Face",
    "FF-FS": "FaceSwap",
    "FF-NT": "NeuralTextures",
    "FF-FH": "FaceShifter",
    "DFD_fake": "DeepFakeDetection",
    "CelebDFv1_fake": "Celeb-synthesis",
    "CelebDFv2_fake": "Celeb-synthesis",
}
_SPLITS = ("test", "train", "val")  # in this order where a video is in several: val repeats one of the others
_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm")


@dataclass
class _Video:
    """One video of the lists: the dataset and label they give it, its folder of frames, and its splits."""

    dataset: str
    label: str
    folder: PurePosixPath
    compression: str | None
    frames: dict[str, None] = field(default_factory=dict)
    splits: set[str] = field(default_factory=set)


def deepfakebench(root: Path, compression: str | None) -> Listing:
    """`root` is one list, or a folder with *.json, dataset_json/*.json or preprocessing/dataset_json/*.json.

    A row is a video: the file beside the folder of its frames (frames/NAME -> videos/NAME.mp4 or NAME.mp4). Where
    only the frames are there, every frame is a row of its own, a picture; all of a video share its identities.
    """
    folder = root.parent if root.is_file() else root
    listing = Listing(folder)
    found = list(_merged(root))
    if not found:
        raise UserError(f"no list of frames by DeepfakeBench in {root}")
    chosen = choose_compression({video.compression for video in found if video.compression}, compression)
    without = _labels_without_split(found)
    for video in found:
        if video.compression not in (None, chosen):
            continue
        split = None
        if (video.dataset, video.label) not in without:
            split = next((split for split in _SPLITS if split in video.splits), None)
            if len(video.splits) > 1:
                detail = f"{', '.join(sorted(video.splits))}: taken as {split}"
                listing.report("in_several_splits", str(video.folder), detail)
        _add(listing, folder, video, split)
    return listing


def _add(listing: Listing, root: Path, video: _Video, split: str | None) -> None:
    stem = video.folder.name
    known = [source for beginning, source in _SOURCES.items() if video.label.startswith(beginning)]
    dataset, parse = known[0] if known else (video.dataset, lambda stem: None)
    label = "real" if "real" in video.label.lower() else "fake"
    manipulation = None if label == "real" else _MANIPULATIONS.get(video.label, video.label)
    name = parse(stem) or Name((f"{dataset}:{stem.removesuffix('_fake')}",))
    if known and parse(stem) is None:
        listing.report("odd_name", str(video.folder))
    parent = video.folder.parent.parent if video.folder.parent.name == "frames" else video.folder.parent
    for candidate in (parent / where / f"{stem}{suffix}" for where in ("videos", "") for suffix in _SUFFIXES):
        if file := find(root, str(candidate)):
            listing.add(Entry(file, dataset, label, manipulation, name.identities, stem, name.original, split))
            return
    pictures = {frame: find(root, frame) for frame in video.frames}
    if not any(pictures.values()):
        listing.report("missing", str(video.folder), f"neither the video nor one of its {len(pictures)} frames")
        return
    identities = tuple(dict.fromkeys((*name.identities, f"{dataset}:{manipulation or 'real'}/{stem}")))
    for frame, file in pictures.items():
        if file is None:
            listing.report("missing", frame, "a frame")
            continue
        original = None if name.original is None else f"{name.original}/{file.name}"
        listing.add(Entry(file, dataset, label, manipulation, identities, f"{stem}/{file.name}", original, split))


def _merged(root: Path) -> Iterator[_Video]:
    """Every video of every list once, with all splits it is named in."""
    if root.is_file():
        paths = [root]
    else:
        folders = (root, root / "dataset_json", root / "preprocessing" / "dataset_json")
        paths = [path for folder in folders for path in sorted(folder.glob("*.json"))]
    merged: dict[tuple[str, str], _Video] = {}
    for path in paths:
        for keys, frames in _leaves(read_json(path), ()):
            if len(keys) < 3 or not frames:
                continue
            folder = PurePosixPath(frames[0].replace("\\", "/")).parent
            compression = next((key for key in keys[2:-1] if key in COMPRESSIONS), None)
            video = merged.setdefault((keys[1], str(folder)), _Video(keys[0], keys[1], folder, compression))
            video.frames |= dict.fromkeys(frames)
            video.splits |= {key for key in keys[2:] if key in _SPLITS}
    yield from merged.values()


def _leaves(node: Any, keys: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    if not isinstance(node, dict):
        return
    if isinstance(node.get("frames"), list):
        yield keys, node["frames"]
        return
    for key, child in node.items():
        yield from _leaves(child, (*keys, key))


def _labels_without_split(found: list[_Video]) -> set[tuple[str, str]]:
    """The labels of which every video is in train and in test: listed everywhere, as they have no split."""
    labels: dict[tuple[str, str], list[bool]] = {}
    for video in found:
        labels.setdefault((video.dataset, video.label), []).append({"train", "test"} <= video.splits)
    return {label for label, everywhere in labels.items() if all(everywhere)}
