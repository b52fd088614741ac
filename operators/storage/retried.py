"""Amazon's SDK tries a request again that fails, but not a small one: so that is done here."""

import io
import time
from typing import Any, Final

import pyarrow as pa
from pyarrow import fs

#: what Arrow says where a store's apology is longer than what was asked for, and its buffer has no room for it
_NO_ROOM: Final = "Failed to flush response stream"
_PAUSE_S: Final = 0.05


class Retried(fs.FileSystemHandler):
    """The same file system; reading from its files is tried `attempts` times. For `pyarrow.fs.PyFileSystem`."""

    def __init__(self, system: fs.FileSystem, attempts: int) -> None:
        self.system: Final = system
        self._attempts: Final = attempts

    def open_input_file(self, path: str) -> pa.NativeFile:
        return pa.PythonFile(_File(self.system.open_input_file(path), self._attempts), mode="r")

    def open_input_stream(self, path: str) -> pa.NativeFile:
        return pa.PythonFile(_File(self.system.open_input_stream(path, compression=None), self._attempts), mode="r")

    def open_output_stream(self, path: str, metadata: dict[str, str] | None) -> pa.NativeFile:
        return self.system.open_output_stream(path, compression=None, metadata=metadata)

    def open_append_stream(self, path: str, metadata: dict[str, str] | None) -> pa.NativeFile:
        return self.system.open_append_stream(path, compression=None, metadata=metadata)

    def get_type_name(self) -> str:
        return self.system.type_name

    def normalize_path(self, path: str) -> str:
        return self.system.normalize_path(path)

    def get_file_info(self, paths: list[str]) -> Any:
        return self.system.get_file_info(paths)

    def get_file_info_selector(self, selector: fs.FileSelector) -> Any:
        return self.system.get_file_info(selector)

    def create_dir(self, path: str, recursive: bool) -> None:
        self.system.create_dir(path, recursive=recursive)

    def delete_dir(self, path: str) -> None:
        self.system.delete_dir(path)

    def delete_dir_contents(self, path: str, missing_dir_ok: bool = False) -> None:
        self.system.delete_dir_contents(path, missing_dir_ok=missing_dir_ok)

    def delete_root_dir_contents(self) -> None:
        raise NotImplementedError("all buckets of an account")

    def delete_file(self, path: str) -> None:
        self.system.delete_file(path)

    def move(self, src: str, dest: str) -> None:
        self.system.move(src, dest)

    def copy_file(self, src: str, dest: str) -> None:
        self.system.copy_file(src, dest)


class _File(io.RawIOBase):
    """A file or stream of Arrow's."""

    def __init__(self, file: pa.NativeFile, attempts: int) -> None:
        self._file: Final = file
        self._attempts: Final = attempts

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._file.seekable()

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def read(self, size: int = -1) -> bytes:
        attempt = 1
        while True:
            try:
                return self._file.read(None if size < 0 else size)
            except OSError as error:  # where it stands has not moved
                if _NO_ROOM not in str(error) or attempt == self._attempts:
                    raise
            time.sleep(_PAUSE_S * 2**attempt)
            attempt += 1

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()
