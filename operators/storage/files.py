"""What wants a file on this machine's disk, for files that lie elsewhere."""

import hashlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pyarrow as pa

from operators.storage.remote import Remote, is_remote, opened
from schemas.errors import SampleError

_CHUNK_BYTES: Final = 1 << 22


def local(path: Path) -> Path:
    """A file on disk with the content of `path`: itself, or a copy that is kept for the next one who asks.

    The copy is of the object as it is now: one that was written anew is fetched again. Raises FileNotFoundError.
    """
    if not isinstance(path, Remote):
        return path
    system, key = path.located
    info = system.get_file_info(key)
    if info.type.name != "File":
        raise FileNotFoundError(2, "No such file", str(path))
    version = f"{path}\0{info.size}\0{info.mtime_ns}".encode()
    folder = Path(tempfile.gettempdir()) / f"viba-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise PermissionError(1, "Not ours", str(folder))
    copy = folder / f"{hashlib.sha256(version).hexdigest()[:32]}{path.suffix}"
    if not copy.is_file():
        unfinished = folder / f"{uuid.uuid4().hex}.part"
        try:
            with system.open_input_stream(key) as source, unfinished.open("wb") as out:
                shutil.copyfileobj(source, out, _CHUNK_BYTES)
            unfinished.replace(copy)
        finally:
            unfinished.unlink(missing_ok=True)
    return copy


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path on disk to write to; afterwards its content is at `path`, in one step, and after an error nothing is."""
    if not isinstance(path, Remote):
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            yield temporary
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        return
    with tempfile.TemporaryDirectory(prefix="viba-") as folder:
        temporary = Path(folder) / path.name
        yield temporary
        copy(temporary, path)


@contextmanager
def appending(path: Path) -> Iterator[Path]:
    """A path on disk of a file to append to; on a store what was appended is there afterwards, whatever was raised."""
    if not isinstance(path, Remote):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="viba-") as folder:
        temporary = Path(folder) / path.name
        if path.is_file():
            copy(path, temporary)
        try:
            yield temporary
        finally:
            copy(temporary, path)


def copy(source: Path, target: Path) -> None:
    """The content of one file in another, wherever they lie."""
    # a stream to a store ends what it has as the whole, even after an error: so nothing is read that may fail
    with local(source).open("rb") as content:
        if not isinstance(target, Remote):
            with target.open("wb") as out:
                shutil.copyfileobj(content, out, _CHUNK_BYTES)
            return
        system, key = target.located
        with system.open_output_stream(key) as out:
            shutil.copyfileobj(content, out, _CHUNK_BYTES)


def remove_tree(folder: Path) -> None:
    """A folder and all that is in it, where it is there."""
    if not isinstance(folder, Remote):
        shutil.rmtree(folder, ignore_errors=True)
        return
    system, key = folder.located
    if folder.is_dir():
        system.delete_dir(key)


@contextmanager
def on_disk(uri: str, limit_mb: int) -> Iterator[str]:
    """A path on disk of the file at `uri`: itself, or a copy that is there while the block runs.

    Raises SampleError not_found, empty_file, read_failed, too_large; a full disk is an OSError, as it is no property of
    the file. What is said of the copy inside is said of `uri`.
    """
    if not is_remote(uri):
        yield uri
        return
    with tempfile.NamedTemporaryFile(prefix="viba-", suffix=".video") as copy:
        _fetch(uri, copy, limit_mb)
        try:
            yield copy.name
        except SampleError as error:
            raise SampleError(error.code, error.detail.replace(copy.name, uri)) from error


def _fetch(uri: str, out: "tempfile._TemporaryFileWrapper[bytes]", limit_mb: int) -> None:
    try:
        source = opened(uri, stream=True)
    except (OSError, ValueError, ImportError) as error:
        gone = isinstance(error, FileNotFoundError | PermissionError | ValueError | ImportError)
        gone |= "ACCESS_DENIED" in str(error)
        raise SampleError("not_found" if gone else "read_failed", " ".join(str(error).split())) from error
    n_bytes = 0
    with source:
        while chunk := _chunk(source):
            n_bytes += len(chunk)
            if n_bytes > limit_mb << 20:
                raise SampleError("too_large", f"more than limits.fetch_mb = {limit_mb} MB")
            out.write(chunk)
    if not n_bytes:
        raise SampleError("empty_file", f"{uri} has no bytes")
    out.flush()


def _chunk(source: pa.NativeFile) -> bytes:
    try:
        return source.read(_CHUNK_BYTES)
    except Exception as error:  # what file systems of fsspec raise comes from many libraries
        raise SampleError("read_failed", " ".join(str(error).split())) from error
