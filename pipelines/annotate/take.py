"""Takes answers into the lake: `python -m pipelines annotate import`."""

import posixpath
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console

from pipelines.annotate.answers import Answer, read
from pipelines.annotate.clips import token
from pipelines.errors import UserError
from pipelines.lake.layout import Layout
from pipelines.lake.read import open_lake, queries
from pipelines.manifest import write_table
from pipelines.screen import say
from schemas.conform import conform
from schemas.tables import ANNOTATIONS

_SHOWN_PROBLEMS: Final = 5
#: what Label Studio puts before the name of an uploaded file
_UPLOAD: Final = re.compile(r"^[0-9a-f]{8}-")


def take(files: list[Path], lake: Path, console: Console) -> None:
    """Add the answers of all files to the table `annotations`, in one step; one that is there is replaced.

    Raises UserError, and changes nothing, where a row of any file cannot be used: each is named by its place.
    """
    names = _names(lake)
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    problems: list[str] = []
    for file in files:
        answers, broken = read(file)
        if not answers and not broken:
            raise UserError(f"no answer in {file}")
        problems += [f"{file.name} {problem}" for problem in broken]
        for answer in answers:
            try:
                video_id = _video(answer.video, names)
                key = (answer.annotator, video_id, answer.showing)
                if key in rows:
                    raise ValueError(f"{answer.annotator} says of {answer.video} twice: a repeat has showing 2")
                rows[key] = _row(answer, video_id, file.name)
            except ValueError as error:
                problems.append(f"{file.name} {answer.where}: {error}")
    if problems:
        more = f"; and {len(problems) - _SHOWN_PROBLEMS} more" if len(problems) > _SHOWN_PROBLEMS else ""
        raise UserError(f"nothing imported: {'; '.join(problems[:_SHOWN_PROBLEMS])}{more}")
    n_replaced = _add(Layout(lake).annotations, rows)
    people = Counter(annotator for annotator, _, _ in rows)
    say(console, f"{len(rows)} answers of {len(people)} annotators, {n_replaced} in place of earlier ones")


def _row(answer: Answer, video_id: str, source: str) -> dict[str, Any]:
    return {
        "annotator": answer.annotator,
        "video_id": video_id,
        "showing": answer.showing,
        "regions": list(answer.regions),
        "confidence": answer.confidence,
        "answered_at": answer.answered_at,
        "source": source,
    }


def _add(path: Path, rows: dict[tuple[Any, ...], dict[str, Any]]) -> int:
    """Write the old rows and the new ones; how many old ones are replaced."""
    old = pq.read_table(path).to_pylist() if path.is_file() else []
    kept = {tuple(row[name] for name in ANNOTATIONS.key): row for row in old}
    table = pa.Table.from_pylist(list((kept | rows).values()), schema=ANNOTATIONS.schema)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_table(conform(table, ANNOTATIONS.schema), path)
    return len(kept.keys() & rows.keys())


def _names(lake: Path) -> dict[str, set[str]]:
    """What an answer may call a video -> the videos that are called so."""
    with open_lake(lake) as connection:
        videos: Iterable[tuple[str, str]] = connection.sql(queries("annotate")["names"]).fetchall()
    names: dict[str, set[str]] = {}
    for video_id, uri in videos:
        file = posixpath.basename(unquote(uri))
        for name in (video_id, token(video_id), uri, file, posixpath.splitext(file)[0]):
            names.setdefault(name, set()).add(video_id)
    if not names:
        raise UserError(f"no video in {lake} that answers could be about")
    return names


def _video(text: str, names: dict[str, set[str]]) -> str:
    """The video that is meant. Raises ValueError where there is none, or several."""
    file = posixpath.basename(unquote(text).partition("?d=")[2] or unquote(text))
    found = next((names[name] for name in (text, file, _UPLOAD.sub("", file)) if name in names), set())
    if not found:
        raise ValueError(f"no video {text} in the lake")
    if len(found) > 1:
        raise ValueError(f"{text} is the name of {len(found)} videos: write one of {', '.join(sorted(found)[:5])}")
    return next(iter(found))
