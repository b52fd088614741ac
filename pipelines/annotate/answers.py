"""Files of answers, read: our pages' CSV and JSON, any CSV, and what Label Studio exports."""

import csv
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from pipelines.annotate.questions import CONFIDENCE, region
from pipelines.errors import UserError

_COLUMNS: Final = ("annotator", "video", "regions")
_BETWEEN_REGIONS: Final = re.compile(r"[;|]")


@dataclass(frozen=True)
class Answer:
    """What one annotator says of one showing of a video; `where` tells the place in the file to a person."""

    where: str
    annotator: str
    video: str
    showing: int
    regions: tuple[str, ...]
    confidence: int | None
    answered_at: datetime | None


def read(file: Path) -> tuple[list[Answer], list[str]]:
    """The answers of a file and its problems, a line for each. Raises UserError for a file that is none of these."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {file}: {error}") from error
    if not text.lstrip().startswith(("[", "{")):
        return _checked(_of_csv(file, text))
    try:
        found = json.loads(text)
    except ValueError as error:
        raise UserError(f"{file} is no JSON: {error}") from error
    if isinstance(found, dict) and found.get("viba") == "annotations" and isinstance(found.get("answers"), list):
        return _checked(_of_ours(found["answers"]))
    if isinstance(found, list) and all(isinstance(task, dict) for task in found):
        full = any("annotations" in task for task in found)
        return _checked(_of_label_studio(found) if full else _of_label_studio_min(found))
    raise UserError(f"{file} holds no answers: it is neither of viba's pages nor an export of Label Studio")


Raw = tuple[str, Callable[[], dict[str, Any]]]


def _checked(rows: Iterator[Raw]) -> tuple[list[Answer], list[str]]:
    answers, problems = [], []
    for where, row in rows:
        try:
            answers.append(_answer(where, **row()))
        except ValueError as error:
            problems.append(f"{where}: {error}")
        except (KeyError, TypeError, AttributeError):
            problems.append(f"{where}: not as it is written there")
    return answers, problems


def _answer(
    where: str,
    annotator: Any,
    video: Any,
    regions: Any,
    showing: Any = 1,
    confidence: Any = None,
    answered_at: Any = None,
) -> Answer:
    if not str(annotator or "").strip():
        raise ValueError("no annotator")
    if not str(video or "").strip():
        raise ValueError("no video")
    if isinstance(regions, str):
        regions = _BETWEEN_REGIONS.split(regions)
    named = [region(str(each)) for each in regions if str(each).strip()]
    if not named:
        raise ValueError("no region: write nothing where nothing is visible")
    if None in named and len(set(named)) > 1:
        raise ValueError("nothing visible, and a region all the same")
    return Answer(
        where,
        str(annotator).strip(),
        str(video).strip(),
        _whole(showing or 1, "showing", range(1, 100)),
        tuple(sorted({each for each in named if each is not None})),
        None if confidence in (None, "") else _whole(confidence, "confidence", CONFIDENCE),
        None if answered_at in (None, "") else _time(str(answered_at)),
    )


def _whole(value: Any, name: str, allowed: range) -> int:
    if str(value).strip() not in map(str, allowed):
        raise ValueError(f"{name} {value!r} is no whole number from {allowed[0]} to {allowed[-1]}")
    return int(str(value))


def _time(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"answered_at {text!r} is no time as ISO 8601 writes it") from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _of_csv(file: Path, text: str) -> Iterator[Raw]:
    reader = csv.DictReader(text.splitlines(keepends=True), strict=True)
    names = {"video" if name == "video_id" else name: name for name in reader.fieldnames or ()}
    missing = [name for name in _COLUMNS if name not in names]
    if missing:
        raise UserError(f"{file} has no column {', '.join(missing)}: answers have {', '.join(_COLUMNS)}")
    wanted = [name for name in (*_COLUMNS, "showing", "confidence", "answered_at") if name in names]
    try:
        for row in reader:
            if None in row or None in row.values():
                yield f"line {reader.line_num}", partial(_refuse, f"other than {len(names)} values")
            else:
                yield f"line {reader.line_num}", partial(dict, {name: row[names[name]] for name in wanted})
    except csv.Error as error:
        raise UserError(f"{file} is no CSV: line {reader.line_num}: {error}") from error


def _refuse(problem: str) -> dict[str, Any]:
    raise ValueError(problem)


def _of_ours(found: list[Any]) -> Iterator[Raw]:
    for number, row in enumerate(found, 1):
        yield f"answer {number}", partial(dict, row)


def _of_label_studio(tasks: list[dict[str, Any]]) -> Iterator[Raw]:
    """Every annotation that was not cancelled; of tasks with the same video the second one shows it again."""
    showings = _showings(task.get("data") for task in tasks)
    for number, (task, showing) in enumerate(zip(tasks, showings, strict=True), 1):
        for annotation in task.get("annotations") or ():
            if not (isinstance(annotation, dict) and annotation.get("was_cancelled")):
                yield f"task {task.get('id', number)}", partial(_label_studio, task, annotation, showing)


def _label_studio(task: dict[str, Any], annotation: dict[str, Any], showing: int) -> dict[str, Any]:
    by = annotation["completed_by"]
    values = {each["from_name"]: each["value"] for each in annotation["result"]}
    return {
        "annotator": by.get("email") or by["id"] if isinstance(by, dict) else by,
        "video": task["data"]["video"],
        "showing": showing,
        "regions": values.get("regions", {}).get("choices", ()),
        "confidence": values.get("confidence", {}).get("rating"),
        "answered_at": annotation.get("created_at"),
    }


def _of_label_studio_min(rows: list[dict[str, Any]]) -> Iterator[Raw]:
    """One row per annotation, with the task's id; a second task of the same video shows it again."""
    tasks: dict[str, list[Any]] = {}
    for number, row in enumerate(rows, 1):
        same_video = tasks.setdefault(str(row.get("video")), [])
        if row.get("id") not in same_video:
            same_video.append(row.get("id"))
        yield f"row {number}", partial(_label_studio_min, row, same_video.index(row.get("id")) + 1)


def _label_studio_min(row: dict[str, Any], showing: int) -> dict[str, Any]:
    """A choice is a text, several are in an object; a rating is a number, or an object in a list."""
    chosen, rating = row.get("regions", ()), row.get("confidence")
    if isinstance(chosen, dict):
        chosen = chosen["choices"]
    rating = rating[0] if isinstance(rating, list) else rating
    return {
        "annotator": row["annotator"],
        "video": row["video"],
        "showing": showing,
        "regions": [chosen] if isinstance(chosen, str) else chosen,
        "confidence": rating["rating"] if isinstance(rating, dict) else rating,
        "answered_at": row.get("created_at"),
    }


def _showings(data: Iterator[Any]) -> list[int]:
    """How often each task's video was in a task so far."""
    seen: list[str] = []
    for each in data:
        seen.append(str(each.get("video")) if isinstance(each, dict) else "")
    return [seen[: index + 1].count(video) for index, video in enumerate(seen)]
