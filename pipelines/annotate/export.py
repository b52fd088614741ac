"""Writes the pages: `python -m pipelines annotate export`."""

import base64
import hashlib
import json
from pathlib import Path
from typing import Any, Final

import jinja2
from rich.console import Console

from pipelines.annotate.clips import choose, order, play, token
from pipelines.annotate.questions import CONFIDENCE, NAMES, NOTHING_NAME
from pipelines.errors import UserError
from pipelines.lake.read import open_lake, queries, runs
from pipelines.screen import say
from schemas.errors import SampleError
from schemas.tables import FACE_REGIONS, FAKE

_HERE: Final = Path(__file__).parent


def export(
    lake: Path, out: Path, annotators: int, videos: int, repeats: int, seed: int, console: Console
) -> list[Path]:
    """Write OUT/annotator-N.html for each annotator: the same clips of the latest run, each in an order of their own.

    A page holds everything, clips included, asks no server, and says nothing of labels, scores or heat. Returns the
    paths. Raises UserError for a lake without explained videos, more repeats than videos and a video that is gone.
    """
    chosen = choose(_videos(lake), videos)
    if not 0 <= repeats <= len(chosen):
        raise UserError(f"--repeats {repeats} of {len(chosen)} videos: from none to all of them are shown again")
    clips = {}
    for video in chosen:
        try:
            clip = play(video["uri"], video["fps"], video["first_face_s"])
        except SampleError as error:
            raise UserError(f"cannot read {video['uri']} again ({error}): put the file back") from error
        clips[token(video["video_id"])] = base64.b64encode(clip).decode()
    study = hashlib.sha256(json.dumps([sorted(clips), seed, repeats]).encode()).hexdigest()[:12]
    out.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(1, annotators + 1):
        annotator = f"annotator-{number}"
        shown = order([video["video_id"] for video in chosen], annotator, seed, repeats)
        path = out / f"{annotator}.html"
        path.write_text(page(study, annotator, [vars(each) for each in shown], clips), encoding="utf-8")
        paths.append(path)
    n_forged = sum(video["label"] == FAKE for video in chosen)
    say(console, f"{len(chosen)} videos ({n_forged} labelled fake), {repeats} of them twice, on each page")
    return paths


def page(study: str, annotator: str, shown: list[dict[str, Any]], clips: dict[str, str]) -> str:
    """One annotator's page: the order as (clip, showing), and the MP4 of each clip in base64."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    template = environment.from_string((_HERE / "page.html").read_text(encoding="utf-8"))
    return template.render(
        study={"study": study, "annotator": annotator, "order": shown, "clips": clips},
        regions=[{"value": region, "name": NAMES[region][0]} for region in FACE_REGIONS],
        nothing=NOTHING_NAME,
        confidence=list(CONFIDENCE),
        css=(_HERE / "page.css").read_text(encoding="utf-8"),
        script=(_HERE / "page.js").read_text(encoding="utf-8"),
    )


def _videos(lake: Path) -> list[dict[str, Any]]:
    with open_lake(lake, runs(lake)[-1]) as connection:
        found = connection.sql(queries("annotate")["videos"]).to_arrow_table().to_pylist()
    if not found:
        raise UserError(f"no video with an explained frame in the latest run of {lake}")
    return found
