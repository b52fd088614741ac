"""From a folder of videos to the tables of a lake: the chain, readable from top to bottom."""

from collections import Counter
from difflib import get_close_matches
from pathlib import Path
from typing import Final

from rich.console import Console

from operators.explain import LABELLED, Explainer
from operators.kept import Kept
from operators.measure import measure
from operators.methods.method import STATISTICS
from operators.methods.ready import Files
from operators.stage import Stage
from pipelines import manifest as manifests
from pipelines import summary
from pipelines.closed import keep_closed
from pipelines.cluster import Cluster, connect
from pipelines.config import Config, check_row
from pipelines.errors import UserError, one_line
from pipelines.estimate import keep_statistics
from pipelines.fidelity import keep_choices
from pipelines.identities import Identities
from pipelines.lake import blocks, runs
from pipelines.lake.compact import compacting, take_back
from pipelines.lake.kept import keeps, kept_for
from pipelines.lake.layout import Layout
from pipelines.lake.lock import locked
from pipelines.lake.read import committed
from pipelines.lake.sink import LakeSink, checkpointed
from pipelines.prepare import all_views, prepare_stage
from pipelines.probe import cuts_there, probe
from pipelines.screen import logged, say
from pipelines.stream import streamed
from schemas.errors import TRANSIENT
from schemas.tables import EXPLAIN, INPUTS, SINK_TABLES, VIDEO_ROW

_STRANGE_SHOWN: Final = 5


def explain(
    config: Config,
    paths: list[Path],
    lake: Path,
    console: Console,
    only: Path | None = None,
    *,
    retry_errors: bool = False,
    keep: bool = False,
) -> None:
    """Explain every video of `paths` that the run has not finished, and write the tables.

    Of the videos of `paths` those alone that the file `only` names, where it is given. With `retry_errors` a video that
    ended with an error that may not come again (schemas.errors.TRANSIENT) is not finished, and in any case one whose
    file is another one now. What runs of the lake kept of a video is not cut again; with `keep` a run that begins keeps
    its own. Raises UserError for paths without a video, a lake that cannot be written or a run that
    another process writes, and a cluster that is too small.
    """
    layout = Layout(lake.resolve())
    manifest = manifests.build(paths, config.classes, Identities(layout.identities, console))
    if only is not None:
        manifest, n_unknown = manifests.only(manifest, only)
        if n_unknown:
            say(console, f"{n_unknown} videos that {only} names are not among those given", "yellow")
    _check_labels(config, manifest, console)
    with locked(layout, EXPLAIN, config.run_id), logged(layout.log(EXPLAIN, config.run_id)):
        _explain(config, manifest, layout, console, TRANSIENT if retry_errors else frozenset(), keep)


def _explain(
    config: Config,
    manifest: manifests.Manifest,
    layout: Layout,
    console: Console,
    retried: frozenset[str],
    keep: bool,
) -> None:
    run_id = config.run_id
    _write_manifest(manifest, layout, run_id)
    _announce(config, manifest, layout, console)
    _mend(layout, run_id, console)
    _take_back(manifest, layout, run_id, retried, console)
    finished = set(committed(layout, EXPLAIN, [run_id])["video_id"].to_pylist())
    kept = kept_for(layout, config)
    _announce_kept(kept, manifest, finished, console)
    keep = _keeps(layout, config, keep, bool(finished), console)
    todo = len(set(manifest.table["video_id"].to_pylist()) - finished)
    if not todo and runs.config_of(layout, run_id) is not None:
        runs.end(config, layout, None)
    else:
        _run(config, layout, kept, keep, todo, console)
    summary.show(layout.root, run_id, console)


def _run(config: Config, layout: Layout, kept: tuple[Kept, ...], keep: bool, todo: int, console: Console) -> None:
    """Start or join Ray, and do what is `todo`."""
    run_id = config.run_id
    here = probe(config)
    cluster = connect(config.resources, console)
    cuts = cuts_there(config, cluster, here)
    for (model, _), cut in cuts.items():
        if cut.slower is not None:
            say(console, f"{model} {cut.slower}", "yellow")
    runs.begin(config, layout, cuts)
    if any(STATISTICS in method.needs for method in config.made_methods):
        keep_statistics(config, layout.manifest(run_id), layout.statistics(run_id), kept, cluster, console)
        keep_closed(config, layout)
    choices = keep_choices(config, layout.manifest(run_id), layout.statistics(run_id), kept, cluster, console)
    runs.choose(config, layout, choices)

    chain = stages(config, layout.statistics(run_id), kept, keep, cluster)
    shares: dict[str, float] = {}
    if todo:
        per_block = config.resources.videos_per_block
        with (
            checkpointed(layout, EXPLAIN, run_id),
            compacting(layout, EXPLAIN, run_id, console),
            streamed(layout.manifest(run_id), chain, per_block, todo, console, shares) as videos,
        ):
            videos.write_datasink(LakeSink(layout, run_id, (*SINK_TABLES, INPUTS) if keep else SINK_TABLES))

    runs.end(config, layout, shares.get("explain"))


def stages(config: Config, kept_statistics: Path, kept: tuple[Kept, ...], keep: bool, cluster: Cluster) -> list[Stage]:
    """Manifest row -> prepared video -> predictions and maps -> metrics; one row per video all the way."""
    return [
        prepare_stage(config, kept, all_views(config) if keep else None),
        Stage(
            "explain",
            Explainer,
            VIDEO_ROW,
            batch_size=cluster.videos_per_call,
            num_cpus=cluster.cpus_per_actor,
            num_gpus=cluster.gpus_per_actor,
            actors=cluster.actors,
            calls=cluster.calls,
            kwargs={
                "detectors": config.detectors,
                "methods": config.made_methods,
                "targets": config.targets,
                "files": Files(kept_statistics, config.readouts.paths),
                "batch_samples": cluster.batch_samples,
                "threads": cluster.threads_per_actor,
                "keep": keep,
            },
        ),
        Stage("metrics", measure, VIDEO_ROW, batch_size=1, kwargs={"rules": config.mask_rules}),
    ]


def _mend(layout: Layout, run_id: str, console: Console) -> None:
    """Clear away what no finished video belongs to, and say so."""
    found = blocks.damage(layout, EXPLAIN, run_id)
    blocks.clear(layout, EXPLAIN, run_id, found)
    if found.lost:
        files = [path for paths in found.lost.values() for path in paths]
        say(console, f"{len(files)} files of finished videos are gone, the first is {files[0]}: these are done again")
    if found.stray:
        say(console, f"{len(found.stray)} files that belong to no finished video are removed")


def _take_back(
    manifest: manifests.Manifest, layout: Layout, run_id: str, retried: frozenset[str], console: Console
) -> None:
    """Videos whose files have changed, and those with errors that are `retried`, are unfinished again."""
    uris, video_ids = (manifest.table[name].to_pylist() for name in ("uri", "video_id"))
    found = blocks.stale(layout, run_id, dict(zip(uris, video_ids, strict=True)), retried)
    take_back(layout, run_id, found)
    if found:
        again = [video_id for videos in found.values() for video_id in videos]
        say(console, f"{len(again)} videos are done again, the first is {again[0]}")


def _keeps(layout: Layout, config: Config, wanted: bool, begun: bool, console: Console) -> bool:
    """Whether the run keeps its inputs: of all of its videos, or of none. UserError for more than a row holds."""
    keep = keeps(layout, config.run_id) or (wanted and not begun)
    if keep:
        check_row(config.prepare.keyframes.max_keyframes, all_views(config))
    elif wanted:
        say(console, f"run {config.run_id} was begun without --keep-crops, so it keeps none", "yellow")
    return keep


def _announce_kept(kept: tuple[Kept, ...], manifest: manifests.Manifest, finished: set[str], console: Console) -> None:
    todo = set(manifest.table["video_id"].to_pylist()) - finished
    known = todo & {video for each in kept for video in each.blocks}
    if known:
        say(
            console, f"{len(known):,} of {len(todo):,} videos are in a run that kept what it cut: this is not cut again"
        )


def _check_labels(config: Config, manifest: manifests.Manifest, console: Console) -> None:
    """UserError where videos are to be explained for their label and have none that a model knows; says which labels
    no model knows."""
    labels = manifest.table["label"].to_pylist()
    without = [label not in config.classes for label in labels]
    if LABELLED in config.targets and any(without):
        first = manifest.table["uri"][without.index(True)].as_py()
        raise UserError(
            f"--target {LABELLED}: {sum(without)} of {len(without)} videos have no label that a model knows, the "
            f"first is {first}"
        )
    strange = Counter(label for label in labels if label is not None and label not in config.classes)
    if strange:
        of_each = [f"{_perhaps(label, config.classes)} ({n})" for label, n in strange.most_common(_STRANGE_SHOWN)]
        more = ", ..." if len(strange) > _STRANGE_SHOWN else ""
        what = f"{strange.total()} of {len(labels)} videos have a label that is no class of a model"
        say(console, f"{what}, Table 2 leaves them out: {', '.join(of_each)}{more}", "yellow")


def _perhaps(label: str, classes: tuple[str, ...]) -> str:
    """The label, and which class it is a misspelling of, perhaps."""
    near = get_close_matches(label, classes, n=1)
    return f"{label!r}, perhaps {near[0]}" if near else repr(label)


def _write_manifest(manifest: manifests.Manifest, layout: Layout, run_id: str) -> None:
    path = layout.manifest(run_id)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        manifests.write_table(manifest.table, path)
    except OSError as error:
        raise UserError(f"cannot write the lake {layout.root}: {error.strerror or one_line(error)}") from error


def _announce(config: Config, manifest: manifests.Manifest, layout: Layout, console: Console) -> None:
    say(console, f"run {config.run_id} in {layout.root}: {len(manifest.table)} files")
    if manifest.passed_over:
        kinds = ", ".join(f"{count} {suffix}" for suffix, count in sorted(manifest.passed_over.items()))
        say(console, f"passed over as no videos: {kinds}")
    for detector in config.detectors:
        if detector.weights is None:
            how = f"give weights with --weights {detector.spec.name}=FILE"
            say(console, f"{detector.spec.name} is untrained, its explanations explain nothing: {how}", "yellow")
