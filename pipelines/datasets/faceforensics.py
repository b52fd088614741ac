"""FaceForensics++, and the two sets built on its folders or its videos: DFD and DeeperForensics-1.0."""

from collections.abc import Iterator
from pathlib import Path

from pipelines.datasets import names
from pipelines.datasets.listing import COMPRESSIONS, Listing, choose_compression, need, read_json, videos
from pipelines.errors import UserError

#: genuine and forged recordings of actors that Google gave to FaceForensics++; a dataset of its own: DFD
_ACTORS, _DFD = "actors", "DeepFakeDetection"


def faceforensics(root: Path, compression: str | None) -> Listing:
    """original_sequences/{youtube,actors} and manipulated_sequences/METHOD, each with COMPRESSION/videos/*.mp4.

    {train,val,test}.json hold pairs of videos; they lie in the root or in splits/. Rows of the actors and of
    DeepFakeDetection have the dataset DFD.
    """
    listing = Listing(root)
    lists = _pairs(root)
    split_of = {
        name: split for split, pairs in lists.items() for a, b in pairs for name in (a, b, f"{a}_{b}", f"{b}_{a}")
    }
    for source, label, folder in _sources(root, compression):
        is_dfd = source in (_ACTORS, _DFD)
        dataset, parse = ("DFD", names.dfd) if is_dfd else ("FaceForensics++", names.faceforensics)
        manipulation = None if label == "real" else source
        stems = set()
        for file in videos(folder):
            stems.add(file.stem)
            split = None if is_dfd else split_of.get(file.stem)
            listing.add_named(file, dataset, label, manipulation, parse, split)
        if is_dfd or not stems:  # a folder without videos was not downloaded
            continue
        for split, pairs in lists.items():
            for a, b in pairs:
                for stem in (a, b) if label == "real" else (f"{a}_{b}", f"{b}_{a}"):
                    if stem not in stems:
                        listing.report("missing", folder / f"{stem}.mp4", f"named by {split}.json")
    return listing


def dfd(root: Path, compression: str | None) -> Listing:
    """The actors of FaceForensics++'s folders, or any folders of files named as in them."""
    listing = Listing(root)
    if (root / "original_sequences").is_dir() or (root / "manipulated_sequences").is_dir():
        for source, label, folder in _sources(root, compression):
            for file in videos(folder) if source in (_ACTORS, _DFD) else ():
                listing.add_named(file, "DFD", label, None if label == "real" else _DFD, names.dfd)
        return listing
    files = [(file, names.dfd(file.stem)) for file in videos(root)]
    chosen = choose_compression({part for file, _ in files for part in file.parts if part in COMPRESSIONS}, compression)
    for file, name in files:
        if chosen is not None and chosen not in file.parts:
            continue
        if name is None:
            listing.report("unlisted", file, "not named like a video of DFD")
        else:
            genuine = name.original is None
            listing.add_named(file, "DFD", "real" if genuine else "fake", None if genuine else _DFD, names.dfd)
    return listing


def deeperforensics(root: Path) -> Listing:
    """manipulated_videos/VARIANT/*.mp4, source_videos/ACTOR/**/*.mp4 and lists/splits/{train,val,test}.txt.

    Its genuine counterpart is FaceForensics++'s youtube videos, which lie elsewhere; the actors' recordings are
    genuine too, though the authors do not mean them for training a detector.
    """
    manipulated = need(root / "manipulated_videos", "the root of DeeperForensics-1.0 has it beside source_videos")
    listing = Listing(root)
    split_of: dict[str, str] = {}
    for split in ("train", "val", "test"):
        path = root / "lists" / "splits" / f"{split}.txt"
        if path.is_file():
            lines = path.read_text(encoding="utf-8").split()
            split_of |= {Path(line).stem: split for line in lines}
        else:
            listing.report("missing", path, "so its videos are split anew")
    for folder in sorted(path for path in manipulated.iterdir() if path.is_dir()):
        stems = set()
        for file in videos(folder):
            stems.add(file.stem)
            parse, split = names.deeperforensics, split_of.get(file.stem)
            listing.add_named(file, "DeeperForensics-1.0", "fake", folder.name, parse, split)
        for stem in split_of.keys() - stems if stems else ():
            listing.report("missing", folder / f"{stem}.mp4", f"named by {split_of[stem]}.txt")
    for file in videos(root / "source_videos"):
        listing.add_named(file, "DeeperForensics-1.0", "real", None, names.deeperforensics)
    return listing


def _sources(root: Path, compression: str | None) -> Iterator[tuple[str, str, Path]]:
    """(name, label, folder of its videos) of every sequence that is there in the chosen compression."""
    sequences = [
        (path, label)
        for label, parent in (("real", root / "original_sequences"), ("fake", root / "manipulated_sequences"))
        if parent.is_dir()
        for path in sorted(parent.iterdir())
    ]
    found = {c for path, _ in sequences for c in COMPRESSIONS if (path / c / "videos").is_dir()}
    chosen = choose_compression(found, compression)
    if chosen is None:
        raise UserError(f"no videos in {root}: FaceForensics++ keeps them in SEQUENCE/{{raw,c23,c40}}/videos")
    aliases = ("raw", "c0") if chosen in ("raw", "c0") else (chosen,)
    for path, label in sequences:
        for alias in aliases:
            if (path / alias / "videos").is_dir():
                yield path.name, label, path / alias / "videos"


def _pairs(root: Path) -> dict[str, list[tuple[str, str]]]:
    """The official pairs of each split that is there."""
    lists = {}
    for split in ("train", "val", "test"):
        for folder in (root, root / "splits", root / "dataset" / "splits"):
            if (path := folder / f"{split}.json").is_file():
                lists[split] = [(str(a), str(b)) for a, b in read_json(path)]
                break
    return lists
