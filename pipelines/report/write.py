"""Writes the page of a run: `python -m pipelines report`."""

import json
import shlex
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import duckdb
import jinja2
import pyarrow as pa
from markupsafe import Markup
from rich.console import Console

from pipelines import league
from pipelines.called import called
from pipelines.errors import UserError
from pipelines.lake.layout import Layout
from pipelines.lake.read import QUERIES, open_lake, queries, runs
from pipelines.reliability import reliability
from pipelines.report import against as compared
from pipelines.report import gallery
from pipelines.report.charts import CHARTS, svg, width
from pipelines.report.facts import statistics
from pipelines.report.findings import WORDS, findings
from pipelines.report.gallery import Card
from pipelines.report.sections import FAILURES, RUN, TESTED, Ask, Section
from pipelines.report.tables import SHOWN_ROWS, Header, Shown, header, show
from pipelines.screen import command, say

_HERE: Final = Path(__file__).parent
#: what the league's query and its statistics make
_LEAGUE: Final = (league.NAME, *league.TITLES)


@dataclass(frozen=True)
class Picture:
    """A chart: its SVGs, side by side where there is room, with their widths in pixels; and the sentence they show."""

    parts: list[tuple[Markup, float]]
    says: str


@dataclass(frozen=True)
class Block:
    """A table of the page with all that belongs to it; `sql` is empty for one that Python makes."""

    ask: Ask
    header: Header
    shown: Shown
    sql: str
    shell: str
    picture: Picture | None


def report(
    lake: Path,
    run_id: str | None = None,
    out: Path | None = None,
    max_mb: float = 15,
    media: str = "clips",
    console: Console | None = None,
    against: str | None = None,
    blur_faces: bool = False,
    split: bool = False,
) -> Path:
    """Write the page of one run, the latest unless told, to `out` (LAKE/report.html) and return its path.

    One file of at most about `max_mb` megabytes (10^6 bytes) that needs no network: tables, charts and findings, and of
    as many videos as fit posters, clips (`media`) and maps. `against` names a run of the lake or another lake: what
    differs between the two is a section. `blur_faces` leaves of pictures what tells nobody; with `split` media lie in a
    folder OUT_media beside the page. UserError: no lake, no run, no such run, no place to write.
    """
    console = Console() if console is None else console
    run_id = runs(lake)[-1] if run_id is None else run_id
    out = Layout(lake).report if out is None else out
    other = None if against is None else compared.find(lake, run_id, against)
    with open_lake(lake, run_id) as connection:
        league.prepare(connection)
        found = _tables(connection) | ({} if other is None else compared.against(connection, *other))
        tested = TESTED if other is None else (compared.section(*other), *TESTED)
        row = connection.sql("from runs").to_arrow_table().to_pylist()[0]
        config = json.loads(row["config"])
        rows = {name: table.to_pylist() for name, table in found.items()}
        rows["statistics"] = statistics(lake, run_id, config)
        run = _run(row, config, rows, lake, against)

        def filled(section: Section) -> tuple[Section, list[Block], list[tuple[str, str]]]:
            return section, _blocks(section, found, run), _missing(section, found, lake, run_id)

        told = {
            "run": run,
            "findings": findings(rows),
            "sections": [filled(section) for section in tested],
            "ran": filled(RUN),
            "failures": filled(FAILURES),
            "statistics": rows["statistics"],
        }
        told |= {"media": media, "blur_faces": blur_faces, "beside": f"{out.stem}_media" if split else ""}
        bare = _page(told, [], 0)
        room = round(max_mb * 1e6) - len(bare.encode())
        cards, n_videos = gallery.fill(connection, lake, run_id, rows["videos"], config, media, blur_faces, room)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        n_beside = gallery.write_beside(cards, out.with_name(told["beside"])) if split else 0
        page = _page(told, cards, n_videos)
        out.write_text(page, encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write {out}: {error}") from error
    size = (len(page.encode()) + n_beside) / 1e6
    say(console, f"report of run {run_id}: {len(cards)} of {n_videos} videos, {size:.1f} MB")
    if split:
        say(console, f"what it plays lies in {out.with_name(told['beside'])}: send both")
    if size > max_mb:
        say(console, f"that is more than --max-mb {max_mb:g}: the tables alone need it", "yellow")
    say(console, "open it in a browser:")
    command(console, str(out))
    return out


def _tables(connection: duckdb.DuckDBPyConnection) -> dict[str, pa.Table]:
    """Every table that a section or a finding asks for, by name."""
    asked: dict[str, str] = {"gate": queries("league")["gate"]}
    for folder in ("tables", "summary", "report"):
        asked |= queries(folder)
    found = {name: connection.sql(query).to_arrow_table() for name, query in asked.items()}
    found |= league.league(connection, found[league.NAME]) if len(found[league.NAME]) else _unjudged(found[league.NAME])
    return found | reliability(connection)


def _unjudged(means: pa.Table) -> dict[str, pa.Table]:
    """No league, no statistics."""
    columns = [
        *means.column_names,
        "loses_to",
        *(f"{name}_{end}" for name in league.WITH_INTERVAL for end in ("low", "high")),
    ]
    empty = pa.table({name: pa.array([], pa.string()) for name in columns})
    return dict.fromkeys(_LEAGUE, empty)


def _run(
    row: dict[str, Any], config: dict[str, Any], rows: dict[str, list[dict[str, Any]]], lake: Path, against: str | None
) -> dict[str, Any]:
    """What the head of the page says of the run."""
    counts = Counter({each["status"]: each["n_videos"] for each in rows["status"]})
    first = row["starts"][-1] if row["starts"] else None
    here = f"--lake {shlex.quote(str(lake))} --run {row['run_id']}"
    return {
        "id": row["run_id"],
        "started": f"{row['started_at']:%Y-%m-%d %H:%M} UTC",
        "ended": f"{row['ended_at']:%Y-%m-%d %H:%M} UTC" if row["ended_at"] else "not finished",
        "datasets": sorted({each["dataset"] for each in rows["table1"]}),
        "detectors": [each["spec"]["name"] for each in config["detectors"]],
        "methods": config.get("methods", []),
        "targets": config.get("targets", []),
        "counts": counts,
        "n_videos": sum(counts.values()),
        "hours": sum(each["total_s"] or 0.0 for each in rows["seconds"]) / 3600,
        "config": json.dumps(config, indent=1),
        "versions": json.loads(first["versions"]) if first else {},
        "hardware": json.loads(first["hardware"]) if first else {},
        "again": called(f"report {here}" + (f" --against {shlex.quote(against)}" if against else "")),
        "judged": bool(rows[league.NAME]),
        "evaluate": called(f"evaluate {here} --wide"),
        "sql": called(f"sql {here}"),
        "render": called(f"render {here}"),
    }


def _blocks(section: Section, found: dict[str, pa.Table], run: dict[str, Any]) -> list[Block]:
    """The tables of a section that have rows."""
    return [_block(ask, found[ask.name], run) for ask in section.asks if ask.name in found and len(found[ask.name])]


def _block(ask: Ask, table: pa.Table, run: dict[str, Any]) -> Block:
    sql = queries(ask.folder)[ask.name].strip() if ask.folder else ""
    if ask.name in _LEAGUE and run["judged"]:
        shell = run["evaluate"]
    elif not sql:
        shell = run["again"]
    else:
        file = (QUERIES / ask.folder / f"{ask.name}.sql").relative_to(QUERIES.parent)
        shell = f'{run["sql"]} "$(cat {file})"'
    said = header(sql) if sql else Header(ask.title, ask.grain, ask.columns)
    picture = None
    if ask.name in CHARTS:
        chart, rows = CHARTS[ask.name], table.to_pylist()
        specs = [spec for spec in chart.draw(rows) if spec["data"]["values"]]
        drawn = [svg(spec, f"{ask.name}-{number}") for number, spec in enumerate(specs)]
        if drawn:
            picture = Picture([(Markup(each), width(each)) for each in drawn], chart.says(rows))
    return Block(ask, said, show(table), sql, shell, picture)


def _missing(section: Section, found: dict[str, pa.Table], lake: Path, run_id: str) -> list[tuple[str, str]]:
    """What is said, and the command, of each table that is needed and has no row."""
    where = shlex.quote(str(lake))
    return [
        (each.text, each.command and called(each.command.replace("RUN", run_id).replace("LAKE", where)))
        for each in section.missing
        if not len(found[each.name])
    ]


def _page(told: dict[str, Any], cards: list[Card], n_videos: int) -> str:
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        loader=jinja2.FileSystemLoader(_HERE),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {}  # detectors stay in the order of the run
    return environment.get_template("page.html").render(
        **told,
        cards=cards,
        n_videos=n_videos,
        rule=gallery.RULE,
        shown_rows=SHOWN_ROWS,
        css=Markup((_HERE / "page.css").read_text(encoding="utf-8")),
        script=Markup((_HERE / "page.js").read_text(encoding="utf-8")),
        words=WORDS,
        signs={"bad": "✕", "warning": "!", "good": "✓", "note": "•"},
    )
