"""The manifest: one row per input file, with an identity that is the same on every machine."""

import os
import posixpath
import urllib.parse
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from operators.storage import parquet
from operators.storage.files import replacing
from operators.storage.remote import Remote, has_secret, path_of
from pipelines.errors import UserError
from pipelines.identities import Identities, identify
from schemas.conform import conform
from schemas.tables import LABELS, MANIFEST

#: what lies beside videos in datasets and is certainly none
PASSED_OVER = frozenset(
    {".csv", ".json", ".jsonl", ".tsv", ".parquet", ".npy", ".npz", ".pkl", ".txt", ".md", ".html", ".htm", ".xml"}
    | {".yaml", ".yml", ".toml", ".ini", ".pdf", ".log", ".py", ".sh", ".srt", ".vtt", ".sha256", ".md5"}
)
_MANIFEST_SUFFIXES = frozenset({".csv", ".parquet"})


@dataclass(frozen=True)
class Manifest:
    """The rows, and how many files of a folder were passed over, by suffix."""

    table: pa.Table
    passed_over: Counter[str]


def build(paths: list[Path], labels: tuple[str, ...] = LABELS, identities: Identities | None = None) -> Manifest:
    """The manifest of folders (read recursively), single files and manifests (Parquet or CSV with at least `uri`).

    A file's label is the one of `labels` that its nearest parent folder of such a name has, whatever the case; the
    given folder is the last that is looked at. A manifest may have other labels, too. Files without a given `video_id`
    are read, or looked up in `identities`. Raises UserError for a path that is not there, nothing to explain, a
    manifest without `uri`, and a file with two labels.
    """
    known: dict[str, str] = {}
    for label in labels:
        known.setdefault(label.lower(), label)
    parts: list[pa.Table] = []
    passed_over: Counter[str] = Counter()
    for path in paths:
        if path.is_dir():
            parts.append(_of_folder(path.resolve(), known, passed_over))
        elif path.suffix.lower() in _MANIFEST_SUFFIXES and path.is_file():
            parts.append(_read(path, known))
        elif path.is_file():
            file = path.resolve()
            parts.append(_rows([uri_of(file)], file.parent.name, [_label(file.parent, None, known)]))
        else:
            raise UserError(f"no file or folder at {path}")
    rows = pa.concat_tables(parts)
    for name in ("uri", "truth_uri"):
        for uri in rows[name].to_pylist():
            if uri is not None and has_secret(uri):  # it would stand in every table
                raise UserError(f"a {name} of the manifest has credentials in it: set them in the environment instead")
    if not len(rows):
        raise UserError(f"nothing to explain in {', '.join(map(str, paths))}: no file that could be a video")
    return Manifest(_identified(_unique(rows), identities), passed_over)


def _of_folder(root: Path, known: Mapping[str, str], passed_over: Counter[str]) -> pa.Table:
    uris: list[str] = []
    labels: list[str | None] = []
    for folder, names in _walk(root):
        label = _label(path_of(folder), root, known)
        for name in names:
            suffix = os.path.splitext(name)[1].lower()
            if suffix in PASSED_OVER or name.startswith("."):
                passed_over[suffix or name] += 1
            else:
                uris.append(uri_of(f"{folder.rstrip('/')}/{name}"))
                labels.append(label)
    return _rows(uris, root.name, labels)


def _rows(uris: list[str], dataset: str, labels: list[str | None]) -> pa.Table:
    """Rows of files of which no more is known, without an id."""
    return _of_columns({"uri": uris, "dataset": [dataset] * len(uris), "label": labels}, len(uris))


def _of_columns(columns: Mapping[str, list[str | None] | list[str]], n: int) -> pa.Table:
    """MANIFEST with NULL where it may not be yet."""
    arrays = [pa.array(columns.get(name, [None] * n), pa.string()) for name in MANIFEST.schema.names]
    return pa.Table.from_arrays(arrays, names=MANIFEST.schema.names)


def _unique(rows: pa.Table) -> pa.Table:
    """A file that is named twice is one row: the last that has a label, or else the first."""
    labels = rows["label"].to_pylist()
    chosen: dict[str, int] = {}
    for row, uri in enumerate(rows["uri"].to_pylist()):
        before = chosen.get(uri, row)
        one, other = labels[before], labels[row]
        if one and other and one != other:
            raise UserError(f"{uri} is labelled {one!r} and {other!r}: give it one label")
        chosen[uri] = before if other is None else row
    return rows if len(chosen) == len(rows) else rows.take(list(chosen.values()))


def files_below(root: Path) -> Iterator[Path]:
    """Every file below `root` in a fixed order, links followed once."""
    for folder, names in _walk(root):
        yield from (path_of(folder) / name for name in names)


def _walk(root: Path) -> Iterator[tuple[str, list[str]]]:
    """Each folder below `root` with the names of its files."""
    if isinstance(root, Remote):
        yield from _walk_store(root)
        return
    seen: set[str] = set()
    for folder, folders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        yield folder, sorted(names)


def _walk_store(root: Remote) -> Iterator[tuple[str, list[str]]]:
    """As `_walk`: a store lists all of it at once, a thousand names a request."""
    folders: dict[str, list[str]] = {}
    for path, info in root.listed(recursive=True):
        if info.is_file:
            folders.setdefault(str(path.parent), []).append(path.name)
    yield from sorted(folders.items())


def uri_of(file: Path | str) -> str:
    """The path itself, or a percent-encoded file URI for a name that is not UTF-8, which no table could hold."""
    text = str(file)
    try:
        text.encode()
    except UnicodeEncodeError:
        return "file://" + urllib.parse.quote(os.fsencode(text))
    return text


def _label(folder: Path, root: Path | None, known: Mapping[str, str]) -> str | None:
    """The label, by its lower case in `known`, of the folder or its nearest parent named like one, up to `root`."""
    for each in (folder, *folder.parents):
        if each.name.lower() in known:
            return known[each.name.lower()]
        if each == root:
            break
    return None


def only(manifest: Manifest, path: Path) -> tuple[Manifest, int]:
    """The rows that a CSV or Parquet file names by `video_id`, or by `uri` where it has no ids; how many of the names
    are none of the manifest's.

    Raises UserError for a file that cannot be read or has neither column, and where nothing is left.
    """
    table = _table(path)
    column = next((name for name in ("video_id", "uri") if name in table.column_names), None)
    if column is None:
        raise UserError(f"{path} has no column video_id or uri; it has {', '.join(table.column_names)}")
    named = {str(value) for value in table[column].to_pylist() if value is not None}
    if column == "uri":
        named = {_beside(path, uri) for uri in named}
    kept = manifest.table.filter(pc.field(column).isin(sorted(named)))
    if not len(kept):
        raise UserError(f"none of the {len(manifest.table)} files is one of the {len(named)} that {path} names")
    return Manifest(kept, manifest.passed_over), len(named) - len(set(kept[column].to_pylist()))


def _table(path: Path) -> pa.Table:
    try:
        if path.suffix.lower() != ".csv":
            return parquet.read_table(path)
        options = pyarrow.csv.ConvertOptions(
            strings_can_be_null=True,
            null_values=["", "NULL"],
            column_types={field.name: field.type for field in MANIFEST.schema},  # an id of digits is no number
        )
        with path.open("rb") as file:
            return pyarrow.csv.read_csv(file, convert_options=options)
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"cannot read the manifest {path}: {str(error).splitlines()[0]}") from error


def _read(path: Path, known: Mapping[str, str]) -> pa.Table:
    table = _table(path)
    if "uri" not in table.column_names:
        apart = "; commas separate the columns of a CSV" if path.suffix.lower() == ".csv" else ""
        raise UserError(f"the manifest {path} has no column uri; it has {', '.join(table.column_names)}{apart}")
    if twice := [name for name, n in Counter(table.column_names).items() if n > 1]:
        raise UserError(f"the manifest {path} has the column {twice[0]} more than once")
    if table["uri"].null_count:
        raise UserError(f"the manifest {path} has a row without a uri")
    columns = {
        name: [None if value is None else str(value) for value in table[name].to_pylist()]
        for name in MANIFEST.schema.names
        if name in table.column_names
    }
    nothing: list[str | None] = [None] * len(table)
    columns["label"] = [label and known.get(label.lower(), label) for label in columns.get("label", nothing)]
    columns["dataset"] = [dataset or path.stem for dataset in columns.get("dataset", nothing)]
    for name in {"uri", "truth_uri"} & columns.keys():
        columns[name] = [None if uri is None else _beside(path, uri) for uri in columns[name]]
    return _of_columns(columns, len(table))


def _beside(manifest: Path, uri: str) -> str:
    """A relative path counts from the manifest, not from where the command is typed."""
    if "://" in uri:
        return uri
    if os.path.isabs(uri):
        # a million paths take seconds to parse, and most are plain
        return str(Path(uri)) if "//" in uri or "/./" in uri or uri.endswith(("/", "/.")) else uri
    if isinstance(manifest, Remote):
        scheme, _, folder = str(manifest.parent).partition("://")
        return f"{scheme}://{posixpath.normpath(posixpath.join(folder, uri))}"
    folder, name = os.path.split(os.path.join(os.path.abspath(manifest.parent), uri))
    try:
        file = os.path.join(_real(folder), name)
        return os.path.realpath(file) if name in ("", ".", "..") or os.path.islink(file) else file
    except ValueError:  # a name that no file has, with a zero byte in it: its row says so
        return os.path.join(folder, name)


@lru_cache(1024)
def _real(folder: str) -> str:
    """The folder without links in its path: a million files lie in few of them."""
    return os.path.realpath(folder)


def _identified(rows: pa.Table, identities: Identities | None) -> pa.Table:
    uris, ids = rows["uri"].to_pylist(), rows["video_id"].to_pylist()
    manipulations = rows["manipulation"].to_pylist()
    new = [row for row, given in enumerate(ids) if not given]
    of = identify if identities is None else identities.identify
    found = of([uris[row] for row in new], [manipulations[row] for row in new]) if new else []
    for row, video_id in zip(new, found, strict=True):
        ids[row] = video_id
    numbered = pa.array(_numbered(ids, uris), pa.string())
    index = rows.schema.get_field_index("video_id")
    return conform(rows.set_column(index, "video_id", numbered).sort_by("video_id"), MANIFEST.schema)


def _numbered(ids: list[str], uris: list[str]) -> list[str]:
    """`ids` with those that are there before numbered, in order of their uris."""
    given, count, numbered = set(ids), Counter[str](), list(ids)
    if len(given) == len(ids):
        return ids
    # Twins of one name and content differ by nothing but their order.
    for row in sorted(range(len(ids)), key=uris.__getitem__):
        identity = ids[row]
        count[identity] += 1
        while count[identity] > 1 and f"{identity}-{count[identity]}" in given:
            count[identity] += 1
        if count[identity] > 1:
            numbered[row] = f"{identity}-{count[identity]}"
    return numbered


def table_of(rows: list[dict[str, str | None]]) -> pa.Table:
    """The manifest of rows that have their `video_id`, in order of it; of one id, later ones are numbered, in place."""
    ids = _numbered([str(row["video_id"]) for row in rows], [str(row["uri"]) for row in rows])
    for row, video_id in zip(rows, ids, strict=True):
        row["video_id"] = video_id
    rows = sorted(rows, key=lambda row: str(row["video_id"]))
    return conform(pa.Table.from_pylist(rows, schema=MANIFEST.schema), MANIFEST.schema)


def write_table(table: pa.Table, path: Path) -> None:
    """Write Parquet in one step: a reader finds the old file or the new one, never half of one."""
    with replacing(path) as file:
        pq.write_table(table, file)
