"""`pyarrow.parquet` for paths wherever they lie, with the retries of their store; to be imported in its place."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from pyarrow import fs

from operators.storage.remote import Remote


def where(path: Path) -> tuple[str, fs.FileSystem]:
    """What pyarrow and Ray take for a path and as its file system."""
    if isinstance(path, Remote):
        system, key = path.located
        return key, system
    return str(path), fs.LocalFileSystem()


class ParquetFile(pq.ParquetFile):
    """As pyarrow's."""

    def __init__(self, path: Path) -> None:
        name, system = where(path)
        super().__init__(name, filesystem=system)


class ParquetWriter(pq.ParquetWriter):
    """As pyarrow's: on a store the file is there when it is closed."""

    def __init__(self, path: Path, schema: pa.Schema, **options: Any) -> None:
        name, system = where(path)
        super().__init__(name, schema, filesystem=system, **options)


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


def write_table(table: pa.Table, path: Path, **options: Any) -> None:
    """As pyarrow's."""
    name, system = where(path)
    pq.write_table(table, name, filesystem=system, **options)


def dataset(files: list[Path], schema: pa.Schema) -> ds.Dataset:
    """The rows of files that lie on one store; what the schema has as a dictionary is one from the file on."""
    system = where(files[0])[1] if files else None
    names = [field.name for field in schema if pa.types.is_dictionary(field.type)]
    form = ds.ParquetFileFormat(read_options=ds.ParquetReadOptions(dictionary_columns=names))
    return ds.dataset([where(file)[0] for file in files], schema=schema, format=form, filesystem=system)
