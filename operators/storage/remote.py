"""Paths on stores that are no disk: `s3://`, `gs://` and whatever else pyarrow or fsspec can reach."""

import fnmatch
import io
import os
import posixpath
import re
import stat
from collections.abc import Generator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path, PosixPath
from typing import IO, Any, Final, cast
from urllib.parse import quote, urlsplit

import pyarrow as pa
from pyarrow import fs

from operators.storage.retried import Retried

#: how often a request is tried, with longer and longer pauses: one in ten may fail all day
_ATTEMPTS: Final = 10
_CONNECT_S: Final = 10.0
_REPLY_S: Final = 60.0
_READ_BYTES: Final = 1 << 18
#: stores without folders: making one is a request that helps nobody
_FLAT: Final = ("py::s3", "gcs")
_URI: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/]*)/?(.*)", re.DOTALL)
#: a user's password, or what signs a request
_SECRET: Final = re.compile(
    r"://[^/@]*:[^/@]*@|[?&](x-amz-(signature|credential|security-token)|x-goog-signature|sig|(access|secret)_key)=",
    re.IGNORECASE,
)


def is_remote(uri: str) -> bool:
    """Whether a path or URI is of no disk of this machine."""
    found = _URI.match(uri)
    return found is not None and found[1].lower() != "file"


def has_secret(uri: str) -> bool:
    """Whether a URI has credentials in it, which would end up in tables: they belong into the environment."""
    return is_remote(uri) and _SECRET.search(uri) is not None


def path_of(text: str) -> Path:
    """The path that a user types. Raises ValueError, which does not repeat them, for credentials in a URI."""
    if has_secret(text):
        raise ValueError("a URI with credentials in it: set them in the environment, as AWS_ACCESS_KEY_ID")
    return Remote(text) if is_remote(text) else Path(text)


def located(uri: str) -> tuple[fs.FileSystem, str]:
    """The file system of a remote URI, and the path in it. Names are as they are, not percent-encoded.

    Raises ValueError where neither pyarrow nor fsspec knows the scheme, ImportError where a package for it is missing.
    """
    found = _URI.match(uri)
    if found is None:
        raise ValueError(f"{uri} is no URI")
    scheme, authority, rest = found[1].lower(), found[2], found[3]
    system, base = _system(scheme, authority)
    return system, posixpath.join(base, rest).rstrip("/")


def opened(uri: str, *, stream: bool = False) -> pa.NativeFile:
    """A file to read from any place of it, or as a stream. Raises ValueError and ImportError as `located`, and OSError:
    what file systems of fsspec raise comes from many libraries."""
    system, path = located(uri)
    try:
        return system.open_input_stream(path) if stream else system.open_input_file(path)
    except OSError:
        raise
    except Exception as error:
        raise OSError(f"{type(error).__name__}: {error}") from error


def digest(uri: str) -> bytes | None:
    """Size and digest that the store has of a file's content: one request. None where it has no digest, or no file.

    Raises ValueError and ImportError as `located`.
    """
    system, path = located(uri)
    if not (isinstance(system, fs.PyFileSystem) and isinstance(system.handler, Retried)):
        return None
    try:
        with system.handler.system.open_input_file(path) as file:
            size, found = file.size(), file.metadata().get("ETag")
    except OSError:
        return None
    return str(size).encode() + b"\0" + found if size and found else None


@lru_cache(64)
def _system(scheme: str, authority: str) -> tuple[fs.FileSystem, str]:
    """The file system of a bucket or host, and the path of its root; credentials are those of the environment."""
    if scheme in ("s3", "s3a"):
        return _s3(authority), authority
    if not scheme.startswith("fsspec+"):
        with suppress(ValueError, pa.ArrowNotImplementedError):  # pyarrow knows no such scheme, or was built without
            return fs.FileSystem.from_uri(f"{scheme}://{quote(authority, safe='@:')}")
    import fsspec

    # what another process has written must be seen at once
    system: Any = fsspec.filesystem(scheme.removeprefix("fsspec+"), use_listings_cache=False)
    return fs.PyFileSystem(fs.FSSpecHandler(system)), system._strip_protocol(f"{scheme}://{authority}/")


def _s3(bucket: str) -> fs.FileSystem:
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    options: dict[str, Any] = {"region": region}
    if endpoint:
        parts = urlsplit(endpoint if "://" in endpoint else f"https://{endpoint}")
        options = {"region": region or "us-east-1", "endpoint_override": parts.netloc, "scheme": parts.scheme}
    elif region is None:
        with suppress(OSError):  # where it is not told, the SDK's default may do
            options["region"] = fs.resolve_s3_region(bucket)
    system = fs.S3FileSystem(
        # the SDK's standard one has tokens for a hundred errors in a process's life, and then tries nothing again
        retry_strategy=fs.AwsDefaultS3RetryStrategy(max_attempts=_ATTEMPTS),
        connect_timeout=_CONNECT_S,
        request_timeout=_REPLY_S,
        allow_delayed_open=True,  # a small file is one request, not three
        **options,
    )
    return fs.PyFileSystem(Retried(system, _ATTEMPTS))


class Remote(PosixPath):
    """A file or folder on a store, for whoever takes a Path: `Remote("s3://bucket/folder") / "name"`.

    What asks the store is below; what is about names alone is as for every path. A rename is a copy and a removal, so
    both may be there for a moment, and nothing can be appended to a file. For a path of the disk use `files.local`.
    """

    def __str__(self) -> str:
        return super().__str__().replace(":/", "://", 1)

    def __fspath__(self) -> str:
        return str(self)

    @property
    def located(self) -> tuple[fs.FileSystem, str]:
        """The file system, and the path in it."""
        return located(str(self))

    def info(self) -> fs.FileInfo:
        """What the store says of it: type, size, and when it was written."""
        system, path = self.located
        return cast(fs.FileInfo, system.get_file_info(path))

    def is_file(self, **_: Any) -> bool:
        return self.info().type == fs.FileType.File

    def is_dir(self, **_: Any) -> bool:
        return self.info().type == fs.FileType.Directory

    def exists(self, **_: Any) -> bool:
        return self.info().type != fs.FileType.NotFound

    def is_symlink(self) -> bool:
        return False

    def is_absolute(self) -> bool:
        return True

    def absolute(self) -> "Remote":
        return self

    def resolve(self, strict: bool = False) -> "Remote":
        return self

    def stat(self, **_: Any) -> os.stat_result:
        info = self.info()
        if info.type == fs.FileType.NotFound:
            raise FileNotFoundError(2, "No such file", str(self))
        is_file = info.type == fs.FileType.File
        mode = (stat.S_IFREG | 0o644) if is_file else (stat.S_IFDIR | 0o755)
        when = info.mtime_ns / 1e9 if info.mtime_ns else 0.0
        return os.stat_result((mode, 0, 0, 1, 0, 0, info.size or 0, when, when, when))

    def listed(self, recursive: bool = False) -> list[tuple["Remote", fs.FileInfo]]:
        """What lies in a folder, in order; nothing where there is none."""
        system, path = self.located
        infos = system.get_file_info(fs.FileSelector(path, allow_not_found=True, recursive=recursive))
        found = []
        for info in sorted(cast(list[fs.FileInfo], infos), key=lambda info: info.path):
            below = posixpath.relpath(info.path, path)
            if below != ".":
                found.append((self / below, info))
        return found

    def iterdir(self) -> Generator["Remote", None, None]:
        yield from (path for path, _ in self.listed())

    def glob(self, pattern: str, **_: Any) -> Generator["Remote", None, None]:
        if "/" in pattern or "**" in pattern:
            raise NotImplementedError(f"glob {pattern} on a store")
        yield from (path for path in self.iterdir() if fnmatch.fnmatchcase(path.name, pattern))

    def rglob(self, pattern: str, **_: Any) -> Generator["Remote", None, None]:
        yield from (path for path, _ in self.listed(recursive=True) if fnmatch.fnmatchcase(path.name, pattern))

    def mkdir(self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        system, path = self.located
        if system.type_name not in _FLAT:
            system.create_dir(path, recursive=True)

    def unlink(self, missing_ok: bool = False) -> None:
        system, path = self.located
        try:
            system.delete_file(path)
        except FileNotFoundError:
            if not missing_ok:
                raise

    def replace(self, target: Any) -> "Remote":  # type: ignore[override]
        system, path = self.located
        system.move(path, located(str(target))[1])
        return Remote(str(target))

    def touch(self, mode: int = 0o666, exist_ok: bool = True) -> None:
        self.write_bytes(b"")

    def open(  # type: ignore[override]
        self,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> IO[Any]:
        """For "r", "rb", "w" and "wb". What is written is there as a whole, when it is closed."""
        if mode.strip("bt") not in ("r", "w"):
            raise io.UnsupportedOperation(f"{self}: a store has no mode {mode}")
        system, path = self.located
        raw: Any
        if "w" in mode:
            raw = _Upload(system, path)
        else:
            raw = io.BufferedReader(cast(Any, system.open_input_file(path)), _READ_BYTES)
        if "b" in mode:
            return raw
        return io.TextIOWrapper(raw, encoding or "utf-8", errors, newline)


class _Upload(io.BytesIO):
    """Bytes that go to a store when they are all there."""

    def __init__(self, system: fs.FileSystem, path: str) -> None:
        super().__init__()
        self._system, self._path = system, path

    def close(self) -> None:
        if not self.closed:
            content = self.getvalue()
            super().close()
            with self._system.open_output_stream(self._path) as out:
                out.write(content)
