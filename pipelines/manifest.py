"""The manifest: one row per input file, with an identity that is the same on every machine."""

import os
import urllib.parse
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from operators.video.identity import video_id
from pipelines.errors import UserError
from schemas.conform import conform
from schemas.tables import LABELS, MANIFEST

#: what lies beside videos in datasets and is certainly none
PASSED_OVER = frozenset(
    {".csv", ".json", ".jsonl", ".tsv", ".parquet", ".npy", ".npz", ".pkl", ".txt", ".md", ".html", ".htm", ".xml"}
    | {".yaml", ".yml", ".toml", ".ini", ".pdf", ".log", ".py", ".sh", ".srt", ".vtt", ".sha256", ".md5"}
)
_MANIFEST_SUFFIXES = frozenset({".csv", ".parquet"})
_BLOCK_BYTES = 64 * 1024
_BLOCKS = 16


@dataclass(frozen=True)
class Manifest:
    """The rows, and how many files of a folder were passed over, by suffix."""

    table: pa.Table
    passed_over: Counter[str]


def build(paths: list[Path], labels: tuple[str, ...] = LABELS) -> Manifest:
    """The manifest of folders (read recursively), single files and manifests (Parquet or CSV with at least `uri`).

    A file's label is the one of `labels` that its nearest parent folder of such a name has, whatever the case; the
    given folder is the last that is looked at. A manifest may have other labels, too. Raises UserError for a path that
    is not there, nothing to explain, a manifest without `uri`, and a file with two labels.
    """
    known: dict[str, str] = {}
    for label in labels:
        known.setdefault(label.lower(), label)
    rows: list[dict[str, str | None]] = []
    passed_over: Counter[str] = Counter()
    for path in paths:
        if path.is_dir():
            root = path.resolve()
            for file in files_below(root):
                suffix = file.suffix.lower()
                if suffix in PASSED_OVER or file.name.startswith("."):
                    passed_over[suffix or file.name] += 1
                else:
                    rows.append({"uri": uri_of(file), "dataset": root.name, "label": _label(file, root, known)})
        elif path.suffix.lower() in _MANIFEST_SUFFIXES and path.is_file():
            rows += _read(path, known)
        elif path.is_file():
            file = path.resolve()
            rows.append({"uri": uri_of(file), "dataset": file.parent.name, "label": _label(file, None, known)})
        else:
            raise UserError(f"no file or folder at {path}")
    if not rows:
        raise UserError(f"nothing to explain in {', '.join(map(str, paths))}: no file that could be a video")
    unique: dict[str | None, dict[str, str | None]] = {}  # a file named twice is one row
    for row in rows:
        known_row = unique.get(row["uri"], row)
        one, other = known_row.get("label"), row.get("label")
        if one and other and one != other:
            raise UserError(f"{row['uri']} is labelled {one!r} and {other!r}: give it one label")
        unique[row["uri"]] = known_row if other is None else row
    return Manifest(_identified(list(unique.values())), passed_over)


def files_below(root: Path) -> Iterator[Path]:
    """Every file below `root` in a fixed order, links followed once."""
    seen: set[str] = set()
    for folder, folders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        yield from (Path(folder, name) for name in sorted(names))


def uri_of(file: Path) -> str:
    """The path itself, or a percent-encoded file URI for a name that is not UTF-8, which no table could hold."""
    text = str(file)
    try:
        text.encode()
    except UnicodeEncodeError:
        return "file://" + urllib.parse.quote(os.fsencode(text))
    return text


def _label(file: Path, root: Path | None, known: Mapping[str, str]) -> str | None:
    """The label, by its lower case in `known`, of the nearest parent folder named like one, up to `root`."""
    for parent in file.parents:
        if parent.name.lower() in known:
            return known[parent.name.lower()]
        if parent == root:
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
            return pq.read_table(path)
        options = pyarrow.csv.ConvertOptions(
            strings_can_be_null=True,
            null_values=["", "NULL"],
            column_types={field.name: field.type for field in MANIFEST.schema},  # an id of digits is no number
        )
        return pyarrow.csv.read_csv(path, convert_options=options)
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"cannot read the manifest {path}: {str(error).splitlines()[0]}") from error


def _read(path: Path, known: Mapping[str, str]) -> list[dict[str, str | None]]:
    table = _table(path)
    if "uri" not in table.column_names:
        apart = "; commas separate the columns of a CSV" if path.suffix.lower() == ".csv" else ""
        raise UserError(f"the manifest {path} has no column uri; it has {', '.join(table.column_names)}{apart}")
    if twice := [name for name, n in Counter(table.column_names).items() if n > 1]:
        raise UserError(f"the manifest {path} has the column {twice[0]} more than once")
    if table["uri"].null_count:
        raise UserError(f"the manifest {path} has a row without a uri")
    columns = [name for name in MANIFEST.schema.names if name in table.column_names]
    rows = []
    for values in table.select(columns).to_pylist():
        row = {name: None if value is None else str(value) for name, value in values.items()}
        label = row.get("label")
        row["label"] = label and known.get(label.lower(), label)
        row["uri"] = _beside(path, str(row["uri"]))
        row["dataset"] = row.get("dataset") or path.stem
        if row.get("truth_uri") is not None:
            row["truth_uri"] = _beside(path, str(row["truth_uri"]))
        rows.append(row)
    return rows


def _beside(manifest: Path, uri: str) -> str:
    """A relative path counts from the manifest, not from where the command is typed."""
    if "://" in uri:
        return uri
    if os.path.isabs(uri):
        return str(Path(uri))
    try:
        return os.path.realpath(manifest.parent / uri)  # a loop of links is left as it is
    except ValueError:  # a name that no file has, with a zero byte in it: its row says so
        return os.path.join(manifest.parent, uri)


def _identified(rows: list[dict[str, str | None]]) -> pa.Table:
    with ThreadPoolExecutor(16) as pool:
        ids = list(pool.map(_given_or_new_id, rows))
    for row, identity in zip(rows, ids, strict=True):
        row["video_id"] = identity
    return table_of(rows)


def _given_or_new_id(row: dict[str, str | None]) -> str:
    return row.get("video_id") or video_id(str(row["uri"]), row.get("manipulation"))


def table_of(rows: list[dict[str, str | None]]) -> pa.Table:
    """The manifest of rows that have their `video_id`, in order of it; of one id, later ones are numbered, in place."""
    # Twins of one name and content differ by nothing but their order.
    given, count = {str(row["video_id"]) for row in rows}, Counter[str]()
    for row in sorted(rows, key=lambda row: str(row["uri"])):
        identity = str(row["video_id"])
        count[identity] += 1
        while count[identity] > 1 and f"{identity}-{count[identity]}" in given:
            count[identity] += 1
        row["video_id"] = identity if count[identity] == 1 else f"{identity}-{count[identity]}"
    rows = sorted(rows, key=lambda row: str(row["video_id"]))
    return conform(pa.Table.from_pylist(rows, schema=MANIFEST.schema), MANIFEST.schema)


def write_table(table: pa.Table, path: Path) -> None:
    """Write Parquet in one step: a reader finds the old file or the new one, never half of one."""
    temporary = path.with_name(path.name + ".tmp")
    pq.write_table(table, temporary)
    temporary.replace(path)
