"""A second pass over a run: what its maps are worth. Reads maps and frames from the lake and explains nothing again."""

import hashlib
import json
import shlex
from collections import Counter
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import duckdb
import pyarrow as pa
from rich.console import Console

from operators.inputs.landmarks import VIEW as LANDMARK_VIEW
from operators.inputs.landmarks import finder
from operators.inputs.view import View
from operators.judge import Explanations, Judge
from operators.judging.params import BLUR, JudgeParams
from operators.judging.totals import Series, Totals, totals
from operators.kept import Kept
from operators.methods.ready import Files
from operators.models.weights import Detector, digest, load_model
from operators.prepare import recut
from operators.stage import Stage
from operators.storage import parquet as pq
from operators.storage.files import remove_tree
from operators.storage.remote import path_of
from pipelines.called import called
from pipelines.cluster import Cluster, connect
from pipelines.config import Config, Resources, of_run
from pipelines.errors import UserError
from pipelines.lake import blocks
from pipelines.lake.compact import compacting
from pipelines.lake.kept import keeps, kept_by
from pipelines.lake.layout import Layout
from pipelines.lake.lock import locked
from pipelines.lake.read import committed, open_lake, queries, runs
from pipelines.lake.sink import LakeSink, checkpointed
from pipelines.prepare import all_views
from pipelines.screen import command, logged, say
from pipelines.stream import streamed
from schemas.tables import FRAMES, JUDGE, JUDGE_TABLES, JUDGED_ROW, MASKS, NESTED, TRUTH, VIDEO_ROW, VIDEOS, Table

#: videos whose maps are read from the lake at once
_VIDEOS_AT_ONCE: Final = 32

Row = dict[str, Any]
#: video and first frame of a sample
Frame = tuple[str, int]


@dataclass(frozen=True)
class _Plan:
    """What is judged: every map of `videos`, and `chosen` frames by asking models so many `passes`, by name."""

    videos: list[str]
    chosen: list[Frame]
    n_explained: int
    n_maps: int
    passes: Counter[str]
    #: what all maps of the frames that sanity looks at took
    evaluations: int


def judge(
    lake: Path,
    run_id: str | None,
    params: JudgeParams,
    weights: dict[str, Path],
    permuted: dict[str, Path],
    landmarks: Path | None,
    again: bool,
    resources: Resources,
    console: Console,
) -> None:
    """Judge the maps of one run, the latest unless told, and write the tables JUDGE_TABLES.

    `resources` are those of the machines that judge, which need not be those that explained. The same command continues
    a pass that was interrupted. UserError: no lake, no such run, a run without a map, one that was judged otherwise
    (unless `again`, which drops what there is), weights that are gone or are others, a landmark file that is none, and
    fills without blur.
    """
    if BLUR not in params.fills:
        raise UserError(f"judge.fills has no {BLUR!r}, by which the league's srg is: put it beside the others")
    try:
        finder(landmarks)
    except ValueError as error:
        raise UserError(str(error)) from error
    layout = Layout(lake.resolve())
    run_id = runs(lake)[-1] if run_id is None else run_id
    with open_lake(lake, run_id) as connection:
        (text,) = connection.sql("select config from runs").fetchall()[0]
        config = replace(_found(of_run(text), weights), resources=resources)
        _check_permuted(config, permuted)
        of_clips = {each.spec.name for each in config.detectors if each.spec.view.shows == "clip"}
        plan = _plan(connection, params, of_clips)
        if not plan.videos:
            raise UserError(f"run {run_id} has no map to judge: explain videos with --lake {lake}")
        with locked(layout, JUDGE, run_id), logged(layout.log(JUDGE, run_id)):
            _begin(layout, run_id, params, plan, landmarks, permuted, again)
            blocks.clear(layout, JUDGE, run_id, blocks.damage(layout, JUDGE, run_id))
            todo = len(set(plan.videos) - set(committed(layout, JUDGE, [run_id])["video_id"].to_pylist()))
            _announce(console, run_id, plan, params, permuted, todo)
            if todo:
                whole = _write_maps(connection, plan, layout.maps_to_judge(run_id))
                frames, kept = frozenset(plan.chosen[: params.sanity_frames]), layout.statistics(run_id)
                explanations = Explanations(frames, config.made_methods, Files(kept, config.readouts.paths), permuted)
                cluster = connect(config.resources, console)
                kept = kept_by(layout, run_id, config) if keeps(layout, run_id) else None
                chain = stages(config, params, plan, whole, landmarks, explanations, kept, cluster)
                per_block = config.resources.videos_per_block
                with (
                    checkpointed(layout, JUDGE, run_id),
                    compacting(layout, JUDGE, run_id, console),
                    streamed(layout.maps_to_judge(run_id), chain, per_block, todo, console) as videos,
                ):
                    videos.write_datasink(LakeSink(layout, run_id, JUDGE_TABLES))
                layout.maps_to_judge(run_id).unlink()
            _show(lake, run_id, console)


def stages(
    config: Config,
    params: JudgeParams,
    plan: _Plan,
    whole: dict[Series, Totals],
    landmarks: Path | None,
    again: Explanations,
    kept: Kept | None,
    cluster: Cluster,
) -> list[Stage]:
    """Maps and frames of a video -> with its inputs, kept or cut again -> judged; one row per video all the way."""
    flows = dict.fromkeys(plan.videos, config.prepare.flow)
    cut = {"flows": flows, "limits": config.limits, "views": _views(config, params), "kept": kept}
    return [
        Stage("recut", recut, VIDEO_ROW, batch_size=1, kwargs=cut),
        Stage(
            "judge",
            Judge,
            JUDGED_ROW,
            batch_size=config.resources.videos_per_block,
            num_cpus=cluster.cpus_per_actor,
            num_gpus=cluster.gpus_per_actor,
            actors=cluster.actors,
            kwargs={
                "detectors": config.detectors,
                "params": params,
                "whole": whole,
                "chosen": frozenset(plan.chosen),
                "landmarks": landmarks,
                "nes": frozenset(plan.chosen[: params.nes_frames]),
                "again": again,
                "batch_samples": cluster.batch_samples,
                "threads": cluster.threads_per_actor,
            },
        ),
    ]


def _views(config: Config, params: JudgeParams) -> tuple[View, ...]:
    """Of all views those that are needed: pictures of flow maps only where segments are attacked."""
    attacks = params.pgd_steps or params.nes_frames
    return tuple(view for view in all_views(config) if attacks or view in (*config.views, LANDMARK_VIEW))


def _found(config: Config, weights: dict[str, Path]) -> Config:
    """With the weights where they lie now. UserError for some that are gone, or are not those of the run."""
    names = [each.spec.name for each in config.detectors]
    stray = [name for name in weights if name not in names]
    if stray:
        raise UserError(f"--weights names {stray[0]!r}, which is not among the run's models {', '.join(names)}")
    return replace(config, detectors=tuple(_placed(each, weights.get(each.spec.name)) for each in config.detectors))


def _check_permuted(config: Config, permuted: dict[str, Path]) -> None:
    """UserError for weights of a model that the run does not have, or that do not fit it."""
    specs = {each.spec.name: each.spec for each in config.detectors}
    for name, path in permuted.items():
        if name not in specs:
            raise UserError(
                f"--permuted-weights names {name!r}, which is not among the run's models {', '.join(specs)}"
            )
        try:
            load_model(specs[name], path)
        except ValueError as error:
            raise UserError(str(error)) from error


def _placed(detector: Detector, given: Path | None) -> Detector:
    if detector.weights is None:
        return detector
    path, name = given or path_of(detector.weights), detector.spec.name
    if not path.is_file():
        raise UserError(f"no weights file at {path}: say where it lies now with --weights {name}=FILE")
    if digest(path) != detector.weights_sha256:
        raise UserError(
            f"{path} are not the weights that the run was explained with: give those with --weights {name}=FILE"
        )
    return replace(detector, weights=str(path.resolve()))


def _plan(connection: duckdb.DuckDBPyConnection, params: JudgeParams, of_clips: set[str]) -> _Plan:
    samples = connection.sql(queries("judge")["samples"]).fetchall()
    frames = list(dict.fromkeys((video, frame) for video, frame, *_ in samples))
    chosen = frames[: params.max_frames]
    asked, passes = set(chosen), Counter[str]()
    attacked = set(chosen[: params.nes_frames])
    for video, frame, model, _, n_maps, _ in samples:
        if (video, frame) in asked:
            n_judged, still = n_maps * (1 + len(params.variants)), model not in of_clips
            passes[model] += params.passes(n_judged, nes=(video, frame) in attacked, still=still)
    videos = sorted({video for video, _ in frames})
    sane = set(chosen[: params.sanity_frames])
    evaluations = sum(each[5] for each in samples if each[:2] in sane)
    return _Plan(videos, chosen, len(frames), sum(each[4] for each in samples), passes, evaluations)


def settings(params: JudgeParams, landmarks: Path | None, permuted: dict[str, Path]) -> dict[str, Any]:
    """By what a run is judged, for JSON: the same only where the files are the same, too."""
    files = {
        "landmarks": None if landmarks is None else f"{landmarks.name} {digest(landmarks)}",
        "permuted": [f"{name} {digest(path)}" for name, path in sorted(permuted.items())],
    }
    return json.loads(json.dumps(asdict(params) | files))


def _begin(
    layout: Layout,
    run_id: str,
    params: JudgeParams,
    plan: _Plan,
    landmarks: Path | None,
    permuted: dict[str, Path],
    again: bool,
) -> None:
    """Note by what a run is judged. UserError where it is otherwise than the tables that are there."""
    path = layout.judging(run_id)
    videos = hashlib.sha256(json.dumps([plan.videos, plan.n_maps]).encode()).hexdigest()
    now = {"params": settings(params, landmarks, permuted), "videos": videos}
    if path.is_file():
        before = json.loads(path.read_text())
        if before == now:  # `again`, too: it may be the same command after a kill
            return
        if not again:
            changed = [key for key, value in now["params"].items() if before["params"].get(key) != value]
            what = f"with other {', '.join(changed)}" if changed else "before it had all of its videos"
            raise UserError(f"run {run_id} was judged {what}: --again drops that and judges it anew")
    for table in JUDGE_TABLES:
        remove_tree(layout.table(run_id, table.name))
    remove_tree(layout.checkpoints(JUDGE, run_id))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(now))
    except OSError as error:
        raise UserError(f"cannot write the lake {layout.root}: {error.strerror}") from error


def _write_maps(connection: duckdb.DuckDBPyConnection, plan: _Plan, path: Path) -> dict[Series, Totals]:
    """VIDEO_ROW of every video with its maps, its truth and its frames; what the maps add up to."""
    empty: Row = dict.fromkeys(VIDEO_ROW.names) | {"inputs": []} | {table.name: [] for table in NESTED}
    whole: dict[Series, Totals] = {}
    unfinished = path.with_suffix(".part")
    with pq.ParquetWriter(unfinished, VIDEO_ROW) as out:
        for first in range(0, len(plan.videos), _VIDEOS_AT_ONCE):
            videos = plan.videos[first : first + _VIDEOS_AT_ONCE]
            own = {row["video_id"]: row for row in _rows(connection, VIDEOS, videos)}
            rows = [empty | own[video] | {MASKS.name: [], TRUTH.name: [], FRAMES.name: []} for video in videos]
            by_id = dict(zip(videos, rows, strict=True))
            for row in _rows(connection, MASKS, videos):
                by_id[row["video_id"]][MASKS.name].append(row)
            for row in _rows(connection, TRUTH, videos):
                by_id[row["video_id"]][TRUTH.name].append(row)
            for row in _rows(connection, FRAMES, videos):
                by_id[row["video_id"]][FRAMES.name].append(row)
            for row in rows:
                whole = totals(row[MASKS.name], whole)
            out.write_table(pa.Table.from_pylist(rows, schema=VIDEO_ROW))
    unfinished.replace(path)
    return whole


def _rows(connection: duckdb.DuckDBPyConnection, table: Table, videos: list[str]) -> list[Row]:
    """The rows of some videos, in the order of the table's key."""
    rows = connection.sql(
        f"select * exclude (run_id) from {table.name} where video_id between $first and $last "
        f"and list_contains($videos, video_id) order by {', '.join(name for name in table.key if name != 'run_id')}",
        params={"first": videos[0], "last": videos[-1], "videos": videos},
    )
    return rows.to_arrow_table().to_pylist()


def _announce(
    console: Console, run_id: str, plan: _Plan, params: JudgeParams, permuted: dict[str, Path], todo: int
) -> None:
    variants = f", each as {1 + len(params.variants)} variants" if params.variants else ""
    say(console, f"run {run_id}: {plan.n_maps:,} maps of {len(plan.videos):,} videos{variants}; {todo:,} videos to do")
    of_models = ", ".join(f"{name} {passes:,}" for name, passes in sorted(plan.passes.items()))
    say(
        console,
        f"models are asked about {len(plan.chosen):,} of {plan.n_explained:,} explained frames: at most "
        f"{sum(plan.passes.values()):,} passes ({of_models}); fewer frames with --max-frames",
    )
    if params.sanity_frames:
        times = 1 + params.sanity_depths * params.sanity_seeds + bool(permuted)
        frames = min(params.sanity_frames, len(plan.chosen))
        say(
            console,
            f"sanity: {frames:,} of them are explained again {times:,} times by every method, some "
            f"{times * plan.evaluations:,} passes more",
        )


def _show(lake: Path, run_id: str, console: Console) -> None:
    with open_lake(lake, run_id) as connection:
        ((n_videos, passes, seconds, failed),) = connection.sql(
            "select count(*), coalesce(sum(passes), 0), coalesce(sum(judge_s), 0), count(error_code) from judged"
        ).fetchall()
    say(console, f"{n_videos:,} videos judged, {failed:,} failed: {passes:,} passes in {seconds:,.0f} s of all workers")
    say(console, "next: the league of the methods", "bold")
    command(console, called(f"evaluate --lake {shlex.quote(str(lake))} --run {run_id}"))
