"""Parquet as `pyarrow.parquet` has it, for paths wherever they lie, with the retries of their store."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from operators.storage.remote import Remote


def where(path: Path) -> tuple[str, fs.FileSystem]:
    """What pyarrow takes for a path and as its file system."""
    if isinstance(path, Remote):
        system, key = path.located
        return key, system
    return str(path), fs.LocalFileSystem()


def read_table(path: Path, **options: Any) -> pa.Table:
    """As pyarrow's."""
    name, system = where(path)
    return pq.read_table(name, filesystem=system, **options)


def read_schema(path: Path) -> pa.Schema:
    """As pyarrow's."""
    name, system = where(path)
    return pq.read_schema(name, filesystem=system)


def read_metadata(path: Path) -> pq.FileMetaData:
    """As pyarrow's."""
    name, system = where(path)
    return pq.read_metadata(name, filesystem=system)


def parquet_file(path: Path) -> pq.ParquetFile:
    """As pyarrow's ParquetFile."""
    name, system = where(path)
    return pq.ParquetFile(name, filesystem=system)


def write_table(table: pa.Table, path: Path, **options: Any) -> None:
    """As pyarrow's: on disk not in one step, on a store in one."""
    name, system = where(path)
    pq.write_table(table, name, filesystem=system, **options)


def parquet_writer(path: Path, schema: pa.Schema, **options: Any) -> pq.ParquetWriter:
    """As pyarrow's ParquetWriter."""
    name, system = where(path)
    return pq.ParquetWriter(name, schema, filesystem=system, **options)
