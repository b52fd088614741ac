"""python -m pipelines manifest: a published dataset becomes a manifest, with what is wrong in it said aloud."""

from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from rich.console import Console
from rich.text import Text

from pipelines.datasets import Report, dataset_manifest
from pipelines.datasets.listing import PROBLEMS
from pipelines.errors import UserError
from pipelines.lake.read import queries
from pipelines.screen import plain, say
from pipelines.splits import SPLITS, groups, leaks, split
from pipelines.tables import print_table

_EXAMPLES = 3


def manifest(
    name: str,
    root: Path,
    out: Path,
    console: Console,
    *,
    compression: str | None = None,
    sample: int | None = None,
    seed: int = 0,
    resplit: bool = False,
) -> None:
    """Write the manifest `out` (.parquet, .csv) of a dataset, split, and beside it OUT-report.parquet; print both.

    Raises UserError as `pipelines.datasets.dataset_manifest` does, and for an `out` that is neither or cannot be
    written.
    """
    if out.suffix.lower() not in (".parquet", ".csv"):
        raise UserError(f"--out {out}: a manifest is a .parquet or .csv file")
    with console.status(Text(plain(f"reading {root}"))):
        table, report = dataset_manifest(name, root, compression, sample=sample, seed=seed)
    table = split(table, seed=seed, resplit=resplit)
    beside = out.with_name(f"{out.stem}-report.parquet")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(report.table(), beside)
        if out.suffix.lower() == ".csv":
            pyarrow.csv.write_csv(table, out)
        else:
            pq.write_table(table, out)
    except OSError as error:
        raise UserError(f"cannot write {out}: {error}") from error
    _show_report(report, beside, console)
    _show_counts(table, console)
    _show_split(table, resplit, console)
    say(console, f"{len(table)} videos in {out}")


def _show_report(report: Report, beside: Path, console: Console) -> None:
    counts = report.counts()
    if not counts:
        say(console, "nothing missing, twice or unreadable")
        return
    rows = []
    for problem, count in counts.items():
        first = [each for each in report.problems if each.problem == problem][:_EXAMPLES]
        examples = [f"{each.path} {each.detail}".strip() for each in first]
        rows.append({"problem": problem, "files": count, "meaning": PROBLEMS[problem], "examples": examples})
    say(console, f"report: {beside}", "bold")
    print_table(pa.Table.from_pylist(rows), console, below=("meaning", "examples"))


def _show_counts(table: pa.Table, console: Console) -> None:
    connection = duckdb.connect(":memory:")
    connection.register("videos", table)
    found = connection.sql(queries("summary")["sources"]).to_arrow_table()
    connection.close()
    say(console, "videos", "bold")
    print_table(found, console)


def _show_split(table: pa.Table, resplit: bool, console: Console) -> None:
    names = table["split"].to_pylist()
    shares = ", ".join(f"{name} {names.count(name) / len(names):.1%}" for name in SPLITS)
    largest = max(map(len, groups(table)))
    say(
        console,
        f"split: {shares}; the largest group that shared identities tie together has {largest} of {len(names)} videos",
    )
    if crossing := leaks(table):
        say(
            console,
            f"the official split has {len(crossing)} identities on more than one side, the first is {crossing[0]}: "
            "--resplit keeps them apart",
        )
    if not resplit and len(set(names)) == 1 and largest < len(names):
        say(console, f"every video is in {names[0]}: --resplit divides them")
