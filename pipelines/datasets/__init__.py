"""A manifest of a published dataset, with a report of everything in it that is missing, twice or broken."""

import hashlib
import os
import threading
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

import pyarrow as pa

from operators.video.decode import decode_one_frame, open_uri
from operators.video.identity import read_blocks, video_id_of
from operators.video.sandbox import Limits, Sandbox
from pipelines.datasets import layouts
from pipelines.datasets.deepfakebench import deepfakebench
from pipelines.datasets.faceforensics import deeperforensics, dfd, faceforensics
from pipelines.datasets.listing import PROBLEMS, Entry, Listing, Problem
from pipelines.errors import UserError
from pipelines.manifest import table_of, uri_of
from schemas.errors import SampleError
from schemas.records import REPORT
from schemas.tables import IDENTITY_SEPARATOR

_WITH_COMPRESSION: Final[dict[str, Callable[[Path, str | None], Listing]]] = {
    "FaceForensics++": faceforensics,
    "DFD": dfd,
    "DeepfakeBench": deepfakebench,
}
_LAYOUTS: Final[dict[str, Callable[[Path], Listing]]] = {
    "Celeb-DF-v1": partial(layouts.celeb_df, dataset="Celeb-DF-v1"),
    "Celeb-DF-v2": partial(layouts.celeb_df, dataset="Celeb-DF-v2"),
    "DFDC": layouts.dfdc,
    "DFDC-preview": layouts.dfdc_preview,
    "DeeperForensics-1.0": deeperforensics,
    "FakeAVCeleb": layouts.fakeavceleb,
    "AV-Deepfake1M": layouts.av_deepfake1m,
    "KoDF": layouts.kodf,
    "folder": layouts.folder,
}
NAMES: Final = (*_WITH_COMPRESSION, *_LAYOUTS)  #: one frame of anything that is a video comes far sooner
_CHECK_LIMITS = Limits(timeout_s=120.0)


@dataclass(frozen=True)
class Report:
    """What is wrong with a dataset: one Problem per (problem, path), grouped by problem in the order of PROBLEMS."""

    problems: tuple[Problem, ...]

    def table(self) -> pa.Table:
        """The problems as a table with the schema REPORT."""
        return pa.Table.from_pylist([asdict(problem) for problem in self.problems], schema=REPORT)

    def counts(self) -> dict[str, int]:
        """Problem -> number, of those there are."""
        counted = {name: sum(problem.problem == name for problem in self.problems) for name in PROBLEMS}
        return {name: count for name, count in counted.items() if count}


def dataset_manifest(
    name: str, root: Path, compression: str | None = None, *, sample: int | None = None, seed: int = 0
) -> tuple[pa.Table, Report]:
    """The manifest (schemas.tables.MANIFEST) of the dataset `name`, one of NAMES, in `root`, and what is wrong with it.

    Every video that is on disk and whose label the dataset knows is a row, its official split kept, also when it
    cannot be decoded. `sample` videos of each source are taken, if given: as many of each manipulation and of the
    genuine ones as possible, the same for the same seed whatever the order of the files or the place of the root.
    Only what is taken is opened and checked for duplicates and unreadable files; what is missing is always reported.
    Raises UserError for an unknown name, a root without that layout, and a compression that is not there or not
    chosen.
    """
    root = root.resolve()
    if not root.exists():
        raise UserError(f"no folder at {root}")
    listing = _list(name, root, compression)
    if not listing.entries:
        raise UserError(f"no video of {name} in {root}; {len(listing.problems)} are listed but missing or unknown")
    taken = listing.entries if sample is None else take_sample(listing.entries, listing.root, sample, seed)
    table = _read(listing, taken)
    order = list(PROBLEMS)
    problems = sorted(listing.problems, key=lambda each: (order.index(each.problem), each.path, each.detail))
    return table, Report(tuple(problems))


def _list(name: str, root: Path, compression: str | None) -> Listing:
    known = {each.lower(): each for each in NAMES}
    if name.lower() not in known:
        raise UserError(f"unknown dataset {name}; known are {', '.join(NAMES)}")
    name = known[name.lower()]
    if name in _WITH_COMPRESSION:
        return _WITH_COMPRESSION[name](root, compression)
    if compression is not None:
        raise UserError(f"{name} has no compressions; --compression is for {', '.join(_WITH_COMPRESSION)}")
    return _LAYOUTS[name](root)


def take_sample(entries: list[Entry], root: Path, n: int, seed: int) -> list[Entry]:
    """`n` entries of each dataset, the same number of each (label, manipulation) as far as there are so many.

    Within one, those whose hash of seed and path below `root` is smallest.
    """
    if n < 1:
        raise UserError("--sample is at least 1")

    def rank(entry: Entry) -> bytes:
        path = entry.file.relative_to(root) if entry.file.is_relative_to(root) else entry.file
        return hashlib.sha256(f"{seed}:{entry.dataset}:".encode() + os.fsencode(path.as_posix())).digest()

    kinds: dict[str, dict[tuple[str, str], list[Entry]]] = defaultdict(lambda: defaultdict(list))
    for entry in entries:
        kinds[entry.dataset][entry.label or "", entry.manipulation or ""].append(entry)
    taken: list[Entry] = []
    for dataset in sorted(kinds):
        left = n
        # the smallest first: what they lack goes to the others
        order = sorted(kinds[dataset].items(), key=lambda item: (len(item[1]), item[0]))
        for index, (_, members) in enumerate(order):
            share = sorted(members, key=rank)[: left // (len(order) - index)]
            taken += share
            left -= len(share)
    return taken


def _read(listing: Listing, entries: list[Entry]) -> pa.Table:
    """The rows of `entries`, each file opened; duplicates and unreadable files are added to the problems."""
    uris = [uri_of(entry.file) for entry in entries]
    genuine = {(entry.dataset, entry.name): entry for entry in listing.entries if entry.manipulation is None}
    originals = [None if e.original is None else genuine.get((e.dataset, e.original)) for e in entries]
    outside = sorted({uri_of(each.file) for each in originals if each is not None} - set(uris))
    with ThreadPoolExecutor(16) as pool:
        ids, digests = zip(*pool.map(_fingerprint, uris, [e.manipulation for e in entries]), strict=True)
        id_of = {uri: identity for uri, (identity, _) in zip(outside, pool.map(_fingerprint, outside), strict=True)}
    entries = _with_duplicates(listing, entries, uris, list(digests))
    _report_unreadable(listing, entries, uris)
    rows: list[dict[str, str | None]] = [
        {
            "video_id": identity,
            "uri": uri,
            "dataset": entry.dataset,
            "label": entry.label,
            "split": entry.split,
            "manipulation": entry.manipulation,
            "identities": IDENTITY_SEPARATOR.join(each.replace(IDENTITY_SEPARATOR, ",") for each in entry.identities),
        }
        for entry, uri, identity in zip(entries, uris, ids, strict=True)
    ]
    table_of(rows)  # numbers equal ids, which the references need
    id_of |= {str(row["uri"]): str(row["video_id"]) for row in rows}
    for row, original in zip(rows, originals, strict=True):
        row["pair_id"] = None if original is None else id_of[uri_of(original.file)]
    return table_of(rows)


def _fingerprint(uri: str, manipulation: str | None = None) -> tuple[str, bytes | None]:
    """The video_id, and a hash of what was read of the content; None where nothing could be."""
    blocks = read_blocks(uri)
    return video_id_of(uri, manipulation, blocks), None if blocks is None else hashlib.sha256(blocks).digest()


def _with_duplicates(
    listing: Listing, entries: list[Entry], uris: list[str], digests: list[bytes | None]
) -> list[Entry]:
    """`entries`, those of equal bytes with one identity in common."""
    alike: dict[bytes, list[int]] = defaultdict(list)
    for index, digest in enumerate(digests):
        if digest is not None:
            alike[digest].append(index)
    entries = list(entries)
    for group in alike.values():
        same: dict[str, list[int]] = defaultdict(list)
        for index in group if len(group) > 1 else ():  # of large files only a part was read so far
            same[_whole_digest(uris[index])].append(index)
        for digest, twins in same.items():
            twins.sort(key=lambda index: uris[index])
            first = entries[twins[0]]
            for index in twins if len(twins) > 1 else ():
                entry = entries[index]
                entries[index] = replace(entry, identities=(*entry.identities, f"content:{digest[:16]}"))
                if index != twins[0]:
                    differ = "" if entry.label == first.label else f", which is labelled {first.label}"
                    listing.report("duplicate", entry.file, f"of {listing.below(first.file)}{differ}")
    return entries


def _whole_digest(uri: str) -> str:
    with open_uri(uri) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]


def _report_unreadable(listing: Listing, entries: list[Entry], uris: list[str]) -> None:
    own = threading.local()
    boxes: list[Sandbox] = []

    def check(uri: str) -> SampleError | None:
        if not hasattr(own, "box"):
            own.box = Sandbox(_CHECK_LIMITS)
            boxes.append(own.box)
        try:
            own.box.run(decode_one_frame, uri)
        except SampleError as error:
            return error
        return None

    try:
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            for entry, error in zip(entries, pool.map(check, uris), strict=True):
                if error is not None:
                    listing.report("unreadable", entry.file, str(error))
    finally:
        for box in boxes:
            box.close()
