"""What a run did, in the terminal: what was explained, what was not and why, and the next command to type."""

import shlex
from pathlib import Path

from rich.console import Console
from rich.table import Table

from pipelines.lake.read import open_lake, queries


def show(lake: Path, run_id: str, console: Console) -> None:
    """Print the report queries of one run and the commands that come next."""
    connection = open_lake(lake, run_id)
    titles = {"status": "videos", "explained": "explained", "errors": "not explained", "seconds": "seconds per stage"}
    report = queries("summary")
    for name, title in titles.items():
        found = connection.sql(report[name])
        rows = found.fetchall()
        if rows:
            table = Table(title=title, title_justify="left", title_style="bold")
            for column in found.columns:
                table.add_column(column, overflow="fold")
            for row in rows:
                table.add_row(*("" if value is None else _text(value) for value in row))
            console.print(table)
    example = connection.sql("select video_id from masks order by video_id limit 1").fetchall()
    connection.close()
    where = shlex.quote(str(lake))
    console.print("next:")
    console.print(f"  python -m pipelines evaluate --lake {where}", highlight=False, soft_wrap=True)
    if example:
        console.print(f"  python -m pipelines render --lake {where} {example[0][0]}", highlight=False, soft_wrap=True)


def _text(value: object) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)
