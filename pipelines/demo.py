"""The demo: clips of one portrait with forgeries of known mask, two detectors trained on them, what they look at."""

import shlex
import sys
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Final

import pyarrow.compute as pc
import pyarrow.parquet as pq
from rich.console import Console

from operators.forging.portrait import make_clips, manifest_rows
from operators.inputs.view import View
from operators.judging.params import JudgeParams
from operators.models.spec import VGG11_FLOW, XCEPTION, ModelSpec
from operators.models.training import XCEPTION_PARAMS, TrainParams
from pipelines import config as configs
from pipelines.called import called
from pipelines.estimate import estimate
from pipelines.evaluate import evaluate
from pipelines.explain import explain
from pipelines.judge import judge
from pipelines.lake.read import open_lake
from pipelines.render import render
from pipelines.report.write import report
from pipelines.samples import cut_samples, from_manifest
from pipelines.screen import command, log, logged, say
from pipelines.train import train

#: measured; what is set up or downloaded comes before
_MINUTES: Final = "about five"
#: Small enough for them on two cores: half-size inputs and few, short clips. The detectors are the real ones.
_CLIPS = 20
_FRAMES = 24
_FRAMES_PER_CLIP = 6
_DETECTORS: tuple[tuple[ModelSpec, TrainParams], ...] = (
    (replace(XCEPTION, view=View(149)), replace(XCEPTION_PARAMS, max_epochs=6, batch_size=8)),
    (replace(VGG11_FLOW, view=View(128, shows="flow")), TrainParams(learning_rate=1e-4, max_epochs=1)),
)
#: three methods that differ in what they ask, and the control that every one of them has to beat
_METHODS = ("iba", "gradcam", "gradcam++", "centre")
#: half a minute of it: removal alone, in five frames, which says more of the league's form than of its members
_JUDGED = JudgeParams(
    max_frames=5,
    steps=6,
    fills=("blur",),
    variants=("mean_map",),
    road=False,
    sensitivity_sets=0,
    pgd_steps=0,
    sanity_frames=0,
)


def demo(out: Path, console: Console) -> int:
    """Clips, training, explanation, judgement, evaluation, pictures and the report below `out`.

    A line for each step, what failed, the findings, and what to type next; the rest of what commands say is in
    OUT/demo.log. Returns the exit code of the evaluation. What is there already is kept: the same command again
    continues.
    """
    with logged(out / "demo.log"):
        say(console, f"this takes {_MINUTES} minutes on two cores that do nothing else; {out / 'demo.log'} says more")
        return _steps(out, console, Console(quiet=True))


def _steps(out: Path, console: Console, quiet: Console) -> int:
    clips, lake = out / "clips", out / "lake"
    numbers = count(1)

    def begin(step: str) -> None:
        say(console, f"{next(numbers)}/{6 + len(_DETECTORS)} {step}")

    begin(f"making {2 * _CLIPS} clips of the portrait photograph, genuine and forged")
    if not (clips / "manifest.parquet").is_file():
        make_clips(clips, n_real=_CLIPS, n_fake=_CLIPS, frames_per_clip=_FRAMES)
        pq.write_table(manifest_rows(clips, test_share=0.25), clips / "manifest.parquet")
    begin("cutting faces and flow maps to train on")
    views = tuple(spec.view for spec, _ in _DETECTORS)
    source, samples = from_manifest(clips / "manifest.parquet", views, _FRAMES_PER_CLIP), out / "training" / "samples"
    cut_samples(source, samples, quiet)
    weights = {}
    for spec, params in _DETECTORS:
        begin(f"training {spec.name} on {spec.view.size}x{spec.view.size} inputs, one or two minutes")
        folder = out / "training" / spec.name
        train(spec, params, source, folder, 1, quiet, samples=samples, lake=lake)
        weights[spec.name] = folder / "model.safetensors"
    settings = {"prepare": {"keyframes": {"max_keyframes": 2}}, "methods": _METHODS}
    begin("estimating what genuine clips look like to both detectors")
    statistics = out / "training" / "statistics"
    genuine = configs.build(settings, list(weights), [], weights)
    estimate(genuine, [clips / "manifest.parquet"], statistics, quiet, label="real")
    config = configs.build(settings, list(weights), [], weights, statistics)
    held_out = clips / "held_out.parquet"
    rows = pq.read_table(clips / "manifest.parquet")
    pq.write_table(rows.filter(pc.field("split") == "test"), held_out)
    begin(f"explaining the clips that they have not seen by {', '.join(_METHODS)}, one minute")
    explain(config, [held_out], lake, quiet)
    begin("judging the maps, half a minute")
    judge(lake, None, _JUDGED, {}, {}, None, False, configs.Resources(), quiet)
    begin("drawing two videos, the page and the tables")
    for video_id in _examples(lake):
        for path in render(lake, video_id, methods=_METHODS[:1]):
            log(f"picture: {path}")
    page = report(lake, console=quiet)
    _tell_failed(lake, console)
    console.print()
    code = evaluate(lake, brief=True)
    console.print()
    say(console, "look at all of it in a browser", "bold")
    command(console, f"{'open' if sys.platform == 'darwin' else 'xdg-open'} {shlex.quote(str(page))}")
    say(console, "explain videos of your own with these detectors, VIDEOS being a folder of them", "bold")
    own = " ".join(f"--weights {name}={shlex.quote(str(path))}" for name, path in weights.items())
    command(console, called(f"explain VIDEOS --lake lake {own}"))
    return code


def _tell_failed(lake: Path, console: Console) -> None:
    """What no step ended for, and nobody saw: videos that could not be explained or judged."""
    with open_lake(lake) as connection:
        for table, done in (("videos", "explained"), ("judged", "judged")):
            ((n,),) = connection.sql(f"select count(*) from {table} where status = 'error'").fetchall()
            if n:
                say(console, f"{n} videos could not be {done}:", "red")
                what = f"select video_id, error_detail from {table} where status = 'error'"
                command(console, called(f"sql --lake {shlex.quote(str(lake))} {shlex.quote(what)}"))


def _examples(lake: Path) -> list[str]:
    """A genuine and a forged video that were explained."""
    connection = open_lake(lake)
    rows = connection.sql(
        "select min(video_id) from videos where status = 'ok' group by label order by label"
    ).fetchall()
    connection.close()
    return [row[0] for row in rows]
