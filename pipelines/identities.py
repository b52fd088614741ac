"""Who the videos are, found out once: ids are kept beside what tells that a file has not changed since."""

import os
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console

from operators.storage import parquet
from operators.storage.files import replacing
from operators.storage.remote import Remote, is_remote
from operators.video.decode import local_path
from operators.video.identity import read_blocks, video_id_of
from pipelines.screen import say

T = TypeVar("T")
#: size in bytes, and when the file last changed, in nanoseconds
Stamp = tuple[int, int]

#: a file, and what was known of it before it was read
_KNOWN: Final = pa.schema(
    [
        pa.field("uri", pa.string()),
        pa.field("manipulation", pa.string()),
        pa.field("size", pa.int64()),
        pa.field("changed_ns", pa.int64()),
        pa.field("video_id", pa.string()),
    ]
)
#: they wait for storage, not for a processor
_THREADS: Final = 64
_AT_ONCE: Final = 64
#: objects of one folder that are asked for one by one
_LISTED: Final = 16
#: how much a kill can cost, and how often is said how far it is
_EVERY_S: Final = 15.0
#: a file that was changed so shortly before may change again and keep its time
_SETTLED_NS: Final = 2_000_000_000


def identify(uris: Sequence[str], manipulations: Sequence[str | None]) -> list[str]:
    """The `video_id` of each file; that of twins is the same."""
    ids = [""] * len(uris)
    with _pool() as pool:
        for rows, found in _read(pool, uris, manipulations, range(len(uris))):
            for row, (video_id, _) in zip(rows, found, strict=True):
                ids[row] = video_id
    return ids


class Identities:
    """The ids of files, kept in a folder, so that no file is read twice.

    A file is read again where its size or the time of its last change (of its content, name or owner) is another one.
    What is read is kept every few seconds, so an interrupted command continues. What could not be read, or was changed
    just now, is not kept, and nothing is where the folder cannot be written.
    """

    def __init__(self, folder: Path, console: Console) -> None:
        self._folder, self._console = folder, console

    def identify(self, uris: Sequence[str], manipulations: Sequence[str | None]) -> list[str]:
        """As the function `identify`."""
        known, files = self._load()
        now_ns = time.time_ns()
        with _pool() as pool:
            stamps = [stamp for part in pool.map(_stamps, _parts(uris, 16 * _AT_ONCE)) for stamp in part]
            for row, stamp in _on_stores(pool, uris):
                stamps[row] = stamp
            ids = _unchanged(uris, manipulations, stamps, known)
            todo = [row for row, found in enumerate(ids) if found is None]
            fresh: list[tuple[Any, ...]] = []
            began = saved = time.monotonic()
            done = 0
            try:
                for rows, found in _read(pool, uris, manipulations, todo):
                    for row, (video_id, was_read) in zip(rows, found, strict=True):
                        ids[row], stamp = video_id, stamps[row]
                        if was_read and stamp is not None and stamp[1] < now_ns - _SETTLED_NS:
                            fresh.append((uris[row], manipulations[row], *stamp, video_id))
                    done += len(rows)
                    if time.monotonic() - saved >= _EVERY_S:
                        files += self._save(_table(fresh))
                        known, fresh = pa.concat_tables([_table(fresh), known]), []
                        saved = time.monotonic()
                        rate = 60 * done / (saved - began)
                        say(self._console, f"{done:,} of {len(todo):,} files are known, {rate:,.0f}/min")
            finally:
                if fresh:
                    files += self._save(_table(fresh))
        if len(files) > 1:
            self._join(pa.concat_tables([_table(fresh), known]), files)
        return [str(found) for found in ids]

    def _load(self) -> tuple[pa.Table, list[Path]]:
        """What is known, the newest first, and the files that say it; one that is damaged says nothing."""
        tables, files = [_KNOWN.empty_table()], sorted(self._folder.glob("*.parquet"), reverse=True)
        for path in files:
            with suppress(pa.ArrowException, OSError):
                tables.append(parquet.read_table(path, schema=_KNOWN))
        return pa.concat_tables(tables), files

    def _save(self, rows: pa.Table) -> list[Path]:
        # names in the order of time; another command may write at the same time
        path = self._folder / f"{time.time_ns():020d}-{uuid.uuid4().hex}.parquet"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with replacing(path) as file:
                pq.write_table(rows, file)
        except OSError:
            return []
        return [path]

    def _join(self, rows: pa.Table, files: list[Path]) -> None:
        """One file in place of several, which go when it is there; of a file the newest of `rows` counts."""
        newest: dict[str, int] = {}
        for row, uri in enumerate(rows["uri"].to_pylist()):
            newest.setdefault(uri, row)
        if self._save(rows.take(list(newest.values()))):
            for path in files:
                with suppress(OSError):
                    path.unlink()


def _unchanged(
    uris: Sequence[str], manipulations: Sequence[str | None], stamps: Sequence[Stamp | None], known: pa.Table
) -> list[str | None]:
    """The known id of each file that is as it was when it was read."""
    columns = [known[name].to_pylist()[::-1] for name in known.schema.names]  # the newest last: it counts
    of = dict(zip(columns[0], zip(*columns[1:], strict=True), strict=True))
    found: list[str | None] = []
    for uri, manipulation, stamp in zip(uris, manipulations, stamps, strict=True):
        before = of.get(uri)
        if stamp is not None and before is not None and before[:-1] == (manipulation, *stamp):
            found.append(before[-1])
        else:
            found.append(None)
    return found


def _stamps(uris: Sequence[str]) -> list[Stamp | None]:
    """What tells whether a file on disk has changed; None where nothing does, as it is not there or not on disk."""
    found: list[Stamp | None] = []
    for uri in uris:
        path = local_path(uri)
        try:
            status = None if path is None else os.stat(path)
        except (OSError, ValueError):  # ValueError: a NUL in the name
            status = None
        found.append(None if status is None else (status.st_size, status.st_ctime_ns))
    return found


def _on_stores(pool: ThreadPoolExecutor, uris: Sequence[str]) -> Iterator[tuple[int, Stamp | None]]:
    """The stamp of each object, with a listing of each folder: a thousand a request."""
    folders: dict[str, list[int]] = {}
    for row, uri in enumerate(uris):
        if is_remote(uri):
            folders.setdefault(uri.rpartition("/")[0], []).append(row)

    def found(folder: str) -> list[Stamp | None]:
        named = [Remote(uris[row]) for row in folders[folder]]
        try:
            # a folder of which few are named may have millions
            many = len(named) > _LISTED
            infos = Remote(folder).listed() if many else [(path, path.info()) for path in named]
            there = {str(path): (info.size, info.mtime_ns) for path, info in infos if info.is_file}
        except (OSError, ValueError, ImportError):
            there = {}
        return [there.get(uris[row]) for row in folders[folder]]

    for folder, stamps in zip(folders, pool.map(found, folders), strict=True):
        yield from zip(folders[folder], stamps, strict=True)


def _read(
    pool: ThreadPoolExecutor, uris: Sequence[str], manipulations: Sequence[str | None], rows: Sequence[int]
) -> Iterator[tuple[Sequence[int], list[tuple[str, bool]]]]:
    """Some of the rows at a time with the id of each, and whether its file could be read."""

    def found(some: Sequence[int]) -> list[tuple[str, bool]]:
        each = []
        for row in some:
            blocks = read_blocks(uris[row])
            each.append((video_id_of(uris[row], manipulations[row], blocks), blocks is not None))
        return each

    parts = _parts(rows, _AT_ONCE)
    yield from zip(parts, pool.map(found, parts), strict=True)


def _parts(items: Sequence[T], at_once: int) -> list[Sequence[T]]:
    return [items[start : start + at_once] for start in range(0, len(items), at_once)]


def _table(rows: list[tuple[Any, ...]]) -> pa.Table:
    columns = zip(*rows, strict=True) if rows else [()] * len(_KNOWN)
    return pa.Table.from_arrays(
        [pa.array(each, field.type) for each, field in zip(columns, _KNOWN, strict=True)], schema=_KNOWN
    )


@contextmanager
def _pool() -> Iterator[ThreadPoolExecutor]:
    """Threads that are told to stop when the block ends, however it ends."""
    pool = ThreadPoolExecutor(_THREADS)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
