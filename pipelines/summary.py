"""What a run did, in the terminal: what was explained, what was not and why, and the next command to type."""

import shlex
from pathlib import Path

from rich.console import Console

from pipelines.called import called
from pipelines.lake.read import open_lake, queries
from pipelines.screen import command, say
from pipelines.tables import print_table
from schemas.tables import STATUS_ERROR, STATUS_NO_FACE, STATUS_OK

_FAILED = "select uri, error_detail from videos where error_code is not null"


def show(lake: Path, run_id: str, console: Console) -> None:
    """Print the summary queries of one run and the commands that come next."""
    with open_lake(lake, run_id) as connection:
        asked = {name: connection.sql(query).to_arrow_table() for name, query in queries("summary").items()}
        example = connection.sql("select min(video_id) from masks").fetchall()[0][0]
        ((busy,),) = connection.sql("select busy from runs").fetchall()
    counts = {row["status"]: row["n_videos"] for row in asked["status"].to_pylist()}
    said = f"{counts.get(STATUS_OK, 0):,} of {sum(counts.values()):,} videos explained"
    for status, words in ((STATUS_NO_FACE, "without a face"), (STATUS_ERROR, "failed")):
        said += f", {counts[status]:,} {words}" if status in counts else ""
    console.print()
    say(console, f"run {run_id}: {said}", "bold")
    titles = {
        "errors": "why videos failed",
        "explained": "explained",
        "layers": "how maps were fitted",
        "seconds": "seconds of all workers together",
    }
    for name, title in titles.items():
        if len(asked[name]):
            console.print()
            say(console, title, "bold")
            print_table(asked[name], console, below=("example", "detail"))
    if busy is not None:
        say(console, f"actors explained {busy:.0%} of the time, and waited for videos the rest of it")
    where = shlex.quote(str(lake))
    console.print()
    say(console, "next: check the run and make its tables", "bold")
    command(console, called(f"evaluate --lake {where}"))
    if example is not None:
        say(console, "look at a video", "bold")
        command(console, called(f"render --lake {where} {example}"))
    if STATUS_ERROR in counts:
        say(console, "list what failed", "bold")
        command(console, called(f"sql --lake {where} {shlex.quote(_FAILED)}"))
