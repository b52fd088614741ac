"""Whether heat falls on the frames of a fault in time: `python -m bench.temporal CLIPS OUT [STEP ...]`.

CLIPS is a folder of clips with an index.csv, as for `bench.clips`, which splits it by person. Of each genuine video a
square around the face is cut, so that two cores manage, and `forge` plants faults in it that come in runs of a few
frames with pauses between; nothing else is forged, so that no still picture tells. A clip model learns them on tracks
of faces, and methods and controls explain clips of people it has not seen, for `fake`. How much of their heat lies in
the pictures of a clip that are forged is then asked of the lake: `truth.areas` says which these are.

The clips of the genuine twins are explained, too, and asked about the pictures in which the forgery is: what is found
there is what a method says of such pictures without a fault.

Steps are sources, forge, train, estimate, explain and tables, all of them unless named; each goes on where it stopped.
`tables` prints what is in docs/clip_models.md and draws OUT/temporal.png, which shows nobody.
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import cv2
import duckdb
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bench.clips import manifests
from operators.inputs.faces import FaceParams, find_face
from operators.measures.comparison import RESAMPLES, interval
from operators.measures.localisation import auroc
from operators.models.spec import spec_for
from operators.video.decode import read_frames
from operators.video.encode import write_video
from pipelines.__main__ import main as viba
from pipelines.lake.read import open_lake
from pipelines.manifest import write_table

Row = dict[str, Any]

FAULTS: Final = ("flicker", "jump", "frozen")
METHODS: Final = ("iba", "gradcam", "ig", "extremal", "fep", "centre", "random", "random_smooth")
#: frames of a run of faults and of the pause before it; a clip of 15 frames has at least two pictures of a run
_RUN: Final = 5
_PAUSE: Final = 7
_FRAMES: Final = 64
_SIDE: Final = 256
_CRF: Final = 12
#: side of the square over that of the face: room for a face that moves
_ROOM: Final = 2.2
#: the same footage a second time, and one with cuts, which are faults in time themselves
_LEFT_OUT: Final = ("ghost_dance", "fr_short_hamilton_clip")
_STEP: Final = spec_for("small3d").view.step


def sources(clips: Path, out: Path) -> None:
    """OUT/sources/NAME.mp4, the square around the face in the first frames of every genuine video, and a manifest."""
    rows = []
    for row in manifests(clips)[0].to_pylist():
        path = out / "sources" / f"{row['video_id']}.mp4"
        if row["video_id"] in _LEFT_OUT or row["uri"].endswith((".jpg", ".jpeg", ".png")):
            continue
        if not path.is_file():
            reader = read_frames(row["uri"], "rgb24", only=range(_FRAMES))
            frames = [frame.image for frame in reader]
            write_video(path, _around_the_face(frames), float(np.clip(reader.probe.fps or 25, 10, 60)), _CRF)
        rows.append(row | {"uri": str(path.resolve())})
    write_table(pa.Table.from_pylist(rows, schema=manifests(clips)[0].schema), out / "genuine.parquet")


def _around_the_face(frames: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
    """One square for all, in the middle of where the face is found."""
    found = [find_face(frame, FaceParams(upsample=0, margin=1.0)) for frame in frames[::12]]
    boxes = [box for box in found if box is not None] or [
        box for frame in frames[::12] if (box := find_face(frame, FaceParams(margin=1.0))) is not None
    ]
    height, width = frames[0].shape[:2]
    middle = np.median([(box.y + box.height / 2, box.x + box.width / 2) for box in boxes], 0)
    side = int(min(height, width, _ROOM * np.median([box.width for box in boxes])))
    y, x = (int(np.clip(at - side / 2, 0, most - side)) for at, most in zip(middle, (height, width), strict=True))
    for frame in frames:
        yield cv2.resize(frame[y : y + side, x : x + side], (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)


def _run(*arguments: str | Path) -> None:
    started = time.perf_counter()
    code = viba([str(each) for each in arguments])
    if code:
        raise SystemExit(code)
    print(f"[{arguments[0]}: {time.perf_counter() - started:.0f} s]", flush=True)


def _set(*settings: str) -> list[str]:
    return [part for each in settings for part in ("--set", each)]


def forge(out: Path) -> None:
    """Nine forgeries of each video, each with one of three faults in the whole face."""
    faults = [part for fault in FAULTS for part in ("--fault", fault)]
    plain = ("--region", "face", "--strength", "1")
    when = ("--run-frames", str(_RUN), "--pause-frames", str(_PAUSE))
    what = ("--per-video", "9", "--seed", "1", "--motion-only", *faults, *plain, *when)
    _run("forge", out / "genuine.parquet", "--out", out / "forged", *what)
    _split(out, "test")


def _split(out: Path, split: str) -> None:
    """A manifest of one split of the forged, and the genuine they are of."""
    table = pq.read_table(out / "forged" / "manifest.parquet")
    rows = table.filter(pc.field("split") == split).to_pylist()
    for row in rows:
        for name in ("uri", "truth_uri"):
            row[name] = row[name] and str((out / "forged" / row[name]).resolve())
    write_table(pa.Table.from_pylist(rows, schema=table.schema), out / f"{split}.parquet")


def train(out: Path) -> None:
    """A small clip model on tracks of faces."""
    params = ('optimizer="adamw"', 'schedule="one_cycle"', "learning_rate=0.003", "batch_size=16", "max_epochs=12")
    where = ("--manifest", out / "forged" / "manifest.parquet", "--out", out / "weights", "--frames", "6")
    _run("train", "--model", "small3d", *where, *_set(*(f"train.{each}" for each in params)))


def _model(out: Path) -> list[str]:
    return ["--model", "small3d", "--weights", f"small3d={out / 'weights' / 'model.safetensors'}"]


_UNIFORM: Final = 'prepare.keyframes.selection="uniform"'


def estimate(out: Path) -> None:
    """The bottleneck's noise is like genuine footage."""
    what = _set(_UNIFORM, "prepare.keyframes.max_keyframes=6")
    _run(
        "estimate",
        out / "forged" / "manifest.parquet",
        "--out",
        out / "statistics",
        "--label",
        "real",
        *_model(out),
        *what,
    )


def explain(out: Path) -> None:
    """A clip of each video of people nothing was learned from."""
    few = [f"budget.{name}.{each}" for name in ("extremal", "fep") for each in ("areas=[0.05,0.1]", "steps=200")]
    methods = [part for name in METHODS for part in ("--method", name)]
    what = ("--target", "fake", "--statistics", out / "statistics", "--max-keyframes", "1", *methods)
    blocks = "resources.videos_per_block=4"
    _run("explain", out / "test.parquet", "--lake", out / "lake", *_model(out), *what, *_set(_UNIFORM, *few, blocks))


#: one row per (forged clip, its maps or those of its genuine twin, method, picture): its heat, which is that of its
#: cell of time, and whether it is forged
_PICTURES: Final = f"""
create temp table pictures as
with clips as (
    select run_id, video_id, truth.frame as first_frame, areas, pair_id,
        identities as person, replace(manipulation, 'self-blended-', '') as fault
    from truth inner join videos using (run_id, video_id)
    where areas is not null and manipulation is not null and split = 'test'
),
shown as (
    select *, video_id as explained, 'forged' as shown from clips
    union all
    select *, pair_id as explained, 'twin' as shown from clips
),
cells as (
    select shown.*, masks.method, masks.frame,
        unnest(range(masks.frame, masks.frame + masks.span_frames, {_STEP})) as picture,
        case when masks.empty then 0
        else list_sum(list_transform(saliency, lambda x: greatest(x::double, 0))) * scale end as heat
    from shown inner join masks
        on shown.run_id = masks.run_id and shown.explained = masks.video_id and shown.first_frame = masks.first_frame
    where masks.error_code is null
)
select person, fault, shown, method, video_id, first_frame, picture, heat, areas,
    areas[picture - first_frame + 1] > 0 as forged
from cells
"""
#: one row per (forged clip, its maps or its twin's, method)
_CLIPS: Final = """
with shares as (
    select person, fault, shown, method, video_id, first_frame,
        sum(heat) filter (where forged) / nullif(sum(heat), 0) as inside, avg(forged::int) as chance
    from pictures group by all
),
pairs as (
    select a.shown, a.method, a.video_id, a.first_frame,
        avg(case when a.heat > b.heat then 1 when a.heat = b.heat then 0.5 else 0 end) as auroc
    from pictures a inner join pictures b using (shown, method, video_id, first_frame)
    where a.forged and not b.forged
    group by all
)
select * from shares left join pairs using (shown, method, video_id, first_frame)
where chance > 0 and chance < 1 and inside is not null
"""
_PREDICTIONS: Final = """
select identities as person, coalesce(replace(manipulation, 'self-blended-', ''), 'genuine') as fault, probability
from predictions inner join videos using (run_id, video_id)
where method = '' and class = 'fake' and split = 'test'
"""


def tables(out: Path) -> None:
    """What was found, as Markdown, and OUT/temporal.png."""
    with open_lake(out / "lake") as connection:
        connection.execute(_PICTURES)
        _print_detector(_rows(connection, _PREDICTIONS))
        clips = _rows(connection, _CLIPS)
        pictures = _rows(connection, "select * from pictures")
    for fault in ("all", *FAULTS):
        _print_heat(fault, [row for row in clips if fault in ("all", row["fault"])])
    draw(pictures, out / "temporal.png")


def _rows(connection: duckdb.DuckDBPyConnection, query: str) -> list[Row]:
    return connection.sql(query).to_arrow_table().to_pylist()


def _print_detector(rows: list[Row]) -> None:
    print("\nAUC of the detector over clips of people it has not seen, 95 % over persons\n")
    print("| fault | forged clips | genuine | persons | AUC | called forged |\n|---|---|---|---|---|---|")
    for fault in (*FAULTS, "all"):
        own = [row for row in rows if row["fault"] == "genuine" or fault in ("all", row["fault"])]
        wrong = [row["probability"] for row in own if row["fault"] != "genuine"]
        value, low, high = _auc(own)
        persons, genuine = len({row["person"] for row in own}), len(own) - len(wrong)
        called = float(np.mean(np.array(wrong) > 0.5))
        print(
            f"| {fault} | {len(wrong)} | {genuine} | {persons} | {value:.2f} ({low:.2f} to {high:.2f}) | {called:.2f} |"
        )


def _auc(rows: list[Row]) -> tuple[float, float, float]:
    """Pooled over clips, and 95 % of draws of persons."""
    by_person: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_person[row["person"]].append(row)
    persons, rng = sorted(by_person), np.random.default_rng(0)

    def value(chosen: Sequence[str]) -> float | None:
        drawn = [row for person in chosen for row in by_person[person]]
        scores, forged = zip(*((row["probability"], row["fault"] != "genuine") for row in drawn), strict=True)
        return auroc(np.array(scores), np.array(forged))

    draws = [value(rng.choice(persons, len(persons)).tolist()) for _ in range(RESAMPLES)]
    low, high = np.quantile([each for each in draws if each is not None], [0.025, 0.975])
    return value(persons) or 0.0, float(low), float(high)


def _print_heat(fault: str, rows: list[Row]) -> None:
    print(f"\n{fault}: mean over persons and its 95 %\n")
    columns = (
        "heat in forged pictures",
        "their share",
        "over chance",
        "AUROC in time",
        "genuine twin: over chance",
        "AUROC",
    )
    print(f"| method | {' | '.join(columns)} | clips |\n|---|{'---|' * (len(columns) + 1)}")
    for method in METHODS:
        own = {shown: [r for r in rows if (r["method"], r["shown"]) == (method, shown)] for shown in ("forged", "twin")}
        if not own["forged"]:
            continue
        said = [f"{np.mean(_persons(own['forged'], name)):.2f}" for name in ("inside", "chance")]
        for shown in ("forged", "twin"):
            said += [_said(_persons(own[shown], name)) for name in ("over", "auroc")]
        print(f"| {method} | {' | '.join(said)} | {len(own['forged'])} |")


def _persons(rows: list[Row], name: str) -> list[float]:
    """The mean of each person."""
    values: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        values[row["person"]].append(row["inside"] - row["chance"] if name == "over" else row[name])
    return [float(np.mean(own)) for _, own in sorted(values.items())]


def _said(values: list[float]) -> str:
    bounds = interval(values, 0)
    return "" if bounds is None else f"{np.mean(values):.2f} ({bounds[0]:.2f} to {bounds[1]:.2f})"


def by_phase(pictures: list[Row], method: str, fault: str, shown: str) -> np.ndarray:
    """Heat over the mean of its clip by frames since the last run began, up to the end of the next pause: mean over
    persons; NaN where no picture is."""
    found: dict[str, list[np.ndarray]] = defaultdict(list)
    clips: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in pictures:
        if (row["method"], row["fault"], row["shown"]) == (method, fault, shown):
            clips[row["person"], row["video_id"], row["first_frame"]].append(row)
    for (person, _, first), own in clips.items():
        heat = np.array([row["heat"] for row in own])
        begin = _begin(own[0]["areas"])
        if begin is None or not heat.any():
            continue
        values = np.full(_RUN + _PAUSE, np.nan)
        for row, value in zip(own, heat / heat.mean(), strict=True):
            values[(row["picture"] - first - begin) % len(values)] = value
        found[person].append(values)
    persons = [_mean(np.stack(own)) for own in found.values()]
    return _mean(np.stack(persons)) if persons else np.full(_RUN + _PAUSE, np.nan)


def _mean(rows: np.ndarray) -> np.ndarray:
    """Of the columns, of what is there."""
    known = ~np.isnan(rows)
    return np.where(known, rows, 0).sum(0) / np.where(known.any(0), known.sum(0), np.nan)


def _begin(areas: Sequence[float]) -> int | None:
    """The frame of a clip in which a run begins; before it, where it goes on from before."""
    forged = [area > 0 for area in areas]
    for index in range(1, len(forged)):
        if forged[index] and not forged[index - 1]:
            return index
        if forged[index - 1] and not forged[index]:
            return index - _RUN
    return None


def draw(pictures: list[Row], path: Path) -> None:
    """Heat in the course of a run and a pause, for each fault: of the forged clips, and of their genuine twins."""
    figure, axes = plt.subplots(2, len(FAULTS), figsize=(9, 5), sharex=True, sharey=True, layout="constrained")
    shift = _PAUSE // 2
    since = np.arange(_RUN + _PAUSE) - shift
    for (row, shown), (column, fault) in ((r, c) for r in enumerate(("forged", "twin")) for c in enumerate(FAULTS)):
        axis = axes[row, column]
        axis.axvspan(-0.5, _RUN - 0.5, color="#dddddd", lw=0)
        axis.axhline(1, color="#888888", lw=1, ls="--")
        for method in METHODS[:5]:
            axis.plot(since, np.roll(by_phase(pictures, method, fault, shown), shift), label=method, lw=1.8)
        axis.set_title(fault if shown == "forged" else f"{fault}: the genuine twin", fontsize=9)
        axis.set_ylim(0)
    for axis in axes[-1]:
        axis.set_xlabel("frames since the fault began; grey: it lasts", fontsize=8)
    for axis in axes[:, 0]:
        axis.set_ylabel("heat over the clip's mean", fontsize=8)
    axes[0, -1].legend(fontsize=7)
    figure.savefig(path, dpi=100)
    plt.close(figure)


STEPS: Final[dict[str, Callable[[Path], None]]] = {
    "forge": forge,
    "train": train,
    "estimate": estimate,
    "explain": explain,
    "tables": tables,
}


def main() -> None:
    """The steps named, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("steps", nargs="*", choices=["sources", *STEPS, []], metavar="STEP")
    options = parser.parse_args()
    for name in options.steps or ["sources", *STEPS]:
        if name == "sources":
            sources(options.clips, options.out)
        else:
            STEPS[name](options.out)


if __name__ == "__main__":
    main()
