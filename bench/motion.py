"""Clips in which only motion decides, or only appearance: `python -m bench.motion OUT [STEP ...]`.

In every clip of 15 frames of 64 x 64 a disc of two or three dark sectors drifts, shows them during nine frames and is
plain in the others; a square with stripes drifts, too, and decides nothing. In `motion` the disc turns, and which way
is the class: clips of one class are made like those of the other, and have their frames in reverse order, so that no
picture alone tells. In `appearance` its sectors are the class: it stands still in half of the clips and turns either
way, at any speed, in the others. A `small3d` learns each of them. Then Video-TCAV is asked about the disc, still and
moving, and methods and controls explain clips that nothing was learned from; `judge` removes what they name, and
their heat is compared with the disc that was planted, in space and in time.

Steps are videos, train, concepts, tcav, explain, judge and tables, all of them unless named; each goes on where it
stopped. `tables` prints what is in docs/clip_models.md and draws OUT/maps.png and OUT/concepts.png.
"""

import argparse
import csv
import io
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import cv2
import duckdb
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import vl_convert
from PIL import Image

from operators.collect import Collector, from_partial
from operators.explain import PREDICTED, Explainer
from operators.inputs.faces import Box
from operators.judge import Explanations, Judge
from operators.judging.params import JudgeParams
from operators.judging.totals import Series, Totals, totals
from operators.measure import measure
from operators.measures.comparison import interval
from operators.measures.localisation import auroc, heat_inside
from operators.measures.maps import heat
from operators.methods import METHODS as ALL_METHODS
from operators.methods import statistics
from operators.methods.budget import Budget
from operators.methods.iba import Iba
from operators.methods.ready import Files
from operators.models.weights import Detector
from operators.prepare import PrepareParams, prepare
from operators.video.encode import write_video
from operators.video.keyframes import KeyframeParams
from operators.video.sandbox import Limits
from pipelines import config as configs
from pipelines import manifest as manifests
from pipelines.__main__ import main as viba
from pipelines.lake.read import open_lake, queries
from pipelines.manifest import write_table
from pipelines.report import charts
from pipelines.report.charts import CHARTS, svg
from schemas.conform import conform
from schemas.tables import JUDGED_ROW, MANIFEST, VIDEO_ROW

SIDE: Final = 64
FRAMES: Final = 15
#: of them the disc shows its sectors in so many
TURNS: Final = 9
#: pixels on each side that `small3d`, which sees the middle 56, does not see
_EDGE: Final = 4
_STEP: Final = 2
KINDS: Final = ("motion", "appearance")
METHODS: Final = ("iba", "gradcam", "extremal", "fep", "centre", "random", "random_smooth")
_CRF: Final = 12
_SVG: Final = "http://www.w3.org/2000/svg"


@dataclass(frozen=True)
class Scene:
    """Frames (T, S, S, 3) uint8 RGB, where the disc turns (T, S, S), and the boxes around disc and square in the first
    frame, as large as both of them together."""

    frames: np.ndarray
    turning: np.ndarray
    disc: Box
    square: Box


def scene(seed: list[int], forward: bool, sectors: int, always: bool = False, any_speed: bool = False) -> Scene:
    """A clip from its seed; the same one that is not `forward` has its frames in reverse order. With `always` the disc
    shows its sectors in all of them, at `any_speed` it turns more slowly or not at all."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:SIDE, :SIDE].astype(np.float64)
    coarse = rng.uniform(0.25, 0.75, (6, 6, 3)).astype(np.float32)
    background = cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    where = rng.uniform(0, 2 * np.pi)
    apart = rng.uniform(13, 17) * np.array([np.sin(where), np.cos(where)])
    drift = rng.uniform(-4, 4, (2, 2))
    radius, tint = rng.uniform(9, 11), rng.uniform(0.8, 1.0, 3)
    phase, speed = rng.uniform(0, 2 * np.pi), np.deg2rad(rng.uniform(13, 17))
    stripes, scroll = rng.uniform(0, 2 * np.pi), rng.uniform(0.5, 0.9) * rng.choice([-1, 1])
    start = int(rng.integers(0, FRAMES - TURNS + 1))
    if any_speed:
        speed *= rng.choice([0.0, rng.random()])
    frames, turning, places = [], [], []
    for t in range(FRAMES):
        disc, square = (SIDE - 1) / 2 + np.array([apart, -apart]) + drift * (t / (FRAMES - 1) - 0.5)
        turns = always or start <= t < start + TURNS
        waves = 0.5 + 0.35 * np.sin((rows - square[0]) * np.pi / 3 + stripes + scroll * t)
        inside = np.clip(7.5 - np.maximum(abs(rows - square[0]), abs(columns - square[1])), 0, 1)[..., None]
        picture = inside * waves[..., None] + (1 - inside) * background
        far = np.hypot(rows - disc[0], columns - disc[1])
        angle = np.arctan2(rows - disc[0], columns - disc[1]) - phase - speed * t
        face = 0.5 + turns * 0.4 * np.tanh(np.sin(sectors * angle) * np.minimum(far, 6) / 1.5)
        inside = np.clip(radius + 0.5 - far, 0, 1)[..., None]
        picture = inside * face[..., None] * tint + (1 - inside) * picture + rng.normal(0, 0.02, picture.shape)
        frames.append(np.clip(np.rint(picture * 255), 0, 255).astype(np.uint8))
        turning.append((far <= radius) & turns)
        places.append((disc, square))
    order = slice(None) if forward else slice(None, None, -1)
    disc, square = places[order][0]
    return Scene(np.stack(frames)[order], np.stack(turning)[order], _box(disc), _box(square))


def _box(middle: np.ndarray) -> Box:
    """34 pixels to a side, so that what is in it is about as large in a concept's clip as in the clips of a class."""
    y, x = (int(np.clip(round(value) - 17, 0, SIDE - 34)) for value in middle)
    return Box(x, y, 34, 34, 1.0)


#: split -> number of clips, seed
_SPLITS: Final = {"train": (128, 0), "val": (24, 1), "test": (16, 2), "asked": (24, 4)}
_N_CONCEPTS: Final = 40


def clip(kind: str, split: str, number: int) -> Scene:
    """One of a kind."""
    return scene([_SPLITS[split][1], number], *factors(number), any_speed=kind == "appearance")


def factors(number: int) -> tuple[bool, int]:
    """Of the clip `number`: whether it is forward, and the sectors of its disc; all four in turn."""
    return number % 2 == 1, 2 + number // 2 % 2


def make_videos(out: Path) -> None:
    """OUT/KIND/videos, a manifest of them for each kind and use, OUT/concepts/videos, and what they show in boxes."""
    for kind in KINDS:
        rows: list[dict[str, Any]] = []
        for split, (n, _) in _SPLITS.items():
            for number in range(n):
                path = out / kind / "videos" / f"{split}_{number:03d}.mp4"
                if not path.is_file():
                    write_video(path, clip(kind, split, number).frames, 25, _CRF)
                forward, sectors = factors(number)
                label = "fake" if (forward if kind == "motion" else sectors == 3) else "real"
                rows.append({"uri": str(path.resolve()), "split": split, "dataset": kind, "label": label})
        for splits in (("train", "val"), ("test",), ("asked",)):
            part = [row for row in rows if row["split"] in splits]
            write_table(pa.Table.from_pylist(part), out / f"{kind}_{'_'.join(splits)}.parquet")
    boxes: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS}
    for number in range(_N_CONCEPTS):
        forward, sectors = factors(number)
        path = out / "concepts" / "videos" / f"{number:03d}.mp4"
        shown = scene([3, number], forward, sectors, always=True)
        if not path.is_file():
            write_video(path, shown.frames, 25, _CRF)
        # a class's own disc is the concept; the square, which decides nothing, is another
        for kind, own in (("motion", forward), ("appearance", sectors == 3)):
            for name, box in (("disc", shown.disc), ("square", shown.square)):
                if own:
                    place = {"x": box.x, "y": box.y, "width": box.width, "height": box.height}
                    boxes[kind].append({"uri": str(path.resolve()), "frame": 0, "concept": name} | place)
    for kind, found in boxes.items():
        with (out / "concepts" / f"{kind}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(found[0]))
            writer.writeheader()
            writer.writerows(found)


def _run(*arguments: str | Path) -> None:
    started = time.perf_counter()
    code = viba([str(each) for each in arguments])
    if code:
        raise SystemExit(code)
    print(f"[{arguments[0]}: {time.perf_counter() - started:.0f} s]", flush=True)


def _set(*settings: str) -> list[str]:
    return [part for each in settings for part in ("--set", each)]


def _weights(out: Path, kind: str) -> list[str]:
    return ["--model", "small3d", "--weights", f"small3d={out / kind / 'weights' / 'model.safetensors'}"]


def train(out: Path) -> None:
    """A model for each kind. Pictures are not mirrored: a turn would become the other one."""
    params = ('optimizer="adamw"', 'schedule="one_cycle"', "learning_rate=0.003", "batch_size=8", "max_epochs=5")
    params = (*params, "patience_epochs=5", "augment=false")
    for kind in KINDS:
        where = ("--manifest", out / f"{kind}_train_val.parquet", "--out", out / kind / "weights", "--frames", "1")
        _run("train", "--model", "small3d", "--view", "clip", *where, *_set(*(f"train.{each}" for each in params)))


def concepts(out: Path) -> None:
    """The disc and the square, still and moving, and random clips."""
    for kind in KINDS:
        where = ("--boxes", out / "concepts" / f"{kind}.csv", "--out", out / kind / "concepts")
        _run("concepts", "make", out / "concepts" / "videos", *where, "--per-video", "1", "--random-per-video", "2")


def tcav(out: Path) -> None:
    """At all stages, about the class `fake` of each kind."""
    for kind in KINDS:
        where = ("--concepts", out / kind / "concepts", "--lake", out / kind / "lake")
        what = (*where, "--class", "fake", "--layer", "stages", "--sets", "12")
        _run("tcav", out / f"{kind}_asked.parquet", *what, *_weights(out, kind))


def _detector(out: Path, kind: str) -> Detector:
    return configs.build({}, ["small3d"], [], {"small3d": out / kind / "weights" / "model.safetensors"}).detectors[0]


def _rows(path: Path, detector: Detector) -> Iterator[tuple[str, pa.Table]]:
    """Each video of a manifest with its name, as a row with its input."""
    for video in manifests.build([path]).table.to_pylist():
        one = pa.Table.from_pylist([video], schema=MANIFEST.schema)
        keyframe = PrepareParams(KeyframeParams(selection="uniform", max_keyframes=1))
        yield Path(video["uri"]).stem, prepare(one, params=keyframe, limits=Limits(), views=(detector.spec.view,))


def explain(out: Path) -> None:
    """All methods at the layer that is explained unless told, with the noise of the training clips: the stages of
    `estimate` and `explain` in this process. OUT/KIND/explained has a file for each video."""
    for kind in KINDS:
        detector, known = _detector(out, kind), out / kind / "statistics"
        (path,) = (statistics.path_in(known, detector.spec.name, layer) for layer in detector.layers)
        if not path.is_file():
            rows = [row for _, row in _rows(out / f"{kind}_train_val.parquet", detector)]
            (found,) = Collector((detector,), 16, 0)(pa.concat_tables(rows)).to_pylist()
            statistics.save(from_partial(found), path, {})
        own = {name: replace(getattr(Budget(), name), areas=(0.05, 0.1), steps=200) for name in ("extremal", "fep")}
        made = {method.name: method for method in (Iba(), *replace(Budget(), **own))}
        methods = tuple(made.get(name) or ALL_METHODS[name]() for name in METHODS)
        explainer = Explainer((detector,), methods, (PREDICTED,), Files(known, {}), 4, 0, keep=True)
        for name, row in _rows(out / f"{kind}_test.parquet", detector):
            target = out / kind / "explained" / f"{name}.parquet"
            if not target.is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                write_table(measure(explainer(row), rules=("top0.1",)), target)


def judge(out: Path) -> None:
    """What the model says when parts of a clip turn to its mean colour, in the order of each map: the stage of `judge`
    in this process. A blur, which is in proportion of the input, leaves a disc of 20 pixels what it is. OUT/KIND/judged
    has a file for each video."""
    params = JudgeParams(
        steps=10, fills=("mean",), variants=("mean_map",), road=False, sensitivity_sets=0, pgd_steps=0, sanity_frames=0
    )
    for kind in KINDS:
        files = sorted((out / kind / "explained").glob("*.parquet"))
        tables_ = [pq.read_table(file, schema=VIDEO_ROW) for file in files]
        whole: dict[Series, Totals] = {}
        for table in tables_:
            whole = totals(table["masks"].to_pylist()[0], whole)
        chosen = frozenset((video, 0) for table in tables_ for video in table["video_id"].to_pylist())
        judging = Judge((_detector(out, kind),), params, whole, chosen, frozenset(), None, Explanations(), 4, 0)
        for file, table in zip(files, tables_, strict=True):
            target = out / kind / "judged" / file.name
            if not target.is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                write_table(conform(judging(table), JUDGED_ROW), target)


_TCAV: Final = """
select layer, concept, against, statistic, value, spread, chance, effect, p_adjusted, accuracy
from significance where statistic = $statistic order by concept, against, layer
"""
_COLUMNS: Final = ("insertion", "deletion", "srg", "inside", "auroc", "when", "iou over chance")


@dataclass(frozen=True)
class Planted:
    """A video's maps by one method, as heat (T, S, S) over the pictures of its clip, and where the disc turned."""

    method: str
    video_id: str
    heat: np.ndarray
    turning: np.ndarray

    def figures(self) -> Iterator[tuple[str, float]]:
        """Heat inside the planted disc, AUROC, and the share of the heat in pictures in which it turns."""
        if self.heat.any():
            found = auroc(self.heat, self.turning)
            yield "inside", heat_inside(self.heat, self.turning)
            yield "when", float(self.heat[self.turning.any((1, 2))].sum() / self.heat.sum())
            if found is not None:
                yield "auroc", found


def planted(out: Path, kind: str) -> Iterator[Planted]:
    """Of every video and method. A cell of time is shown in all of its pictures."""
    for file in sorted((out / kind / "explained").glob("*.parquet")):
        split, number = file.stem.split("_")
        turning = clip(kind, split, int(number)).turning[::_STEP, _EDGE:-_EDGE, _EDGE:-_EDGE]
        cells: dict[str, dict[int, np.ndarray]] = {}
        (video,) = pq.read_table(file, schema=VIDEO_ROW).to_pylist()
        for row in video["masks"]:
            if row["error_code"] is None:
                cells.setdefault(row["method"], {})[row["frame"]] = heat(row)
        for method, own in cells.items():
            shown = [own[max(each for each in own if each <= frame)] for frame in range(0, FRAMES, _STEP)]
            yield Planted(method, file.stem, np.stack(shown), turning)


def figures(out: Path, kind: str) -> dict[tuple[str, str], list[float]]:
    """(method or variant, figure) -> its value in each clip."""
    values: dict[tuple[str, str], list[float]] = {}
    for each in planted(out, kind):
        for name, value in each.figures():
            values.setdefault((each.method, name), []).append(value)
    for file in sorted((out / kind / "judged").glob("*.parquet")):
        (video,) = pq.read_table(file.parents[1] / "explained" / file.name, schema=VIDEO_ROW).to_pylist()
        for row in video["metrics"]:
            if row["iou_adjusted"] is not None:
                values.setdefault((row["method"], "iou over chance"), []).append(row["iou_adjusted"])
        (video,) = pq.read_table(file, schema=JUDGED_ROW).to_pylist()
        for row in video["faithfulness"]:
            name = "+".join(filter(None, (row["method"], row["variant"])))
            values.setdefault((name, row["metric"]), []).append(row["value"])
    return values


def tables(out: Path) -> None:
    """What was found, as Markdown, OUT/maps.png and OUT/concepts.png."""
    scores: list[dict[str, Any]] = []
    for kind in KINDS:
        with open_lake(out / kind / "lake") as connection:
            _print_tcav(connection, kind)
            scores += [row | {"model": kind} for row in _scores(connection)]
        _print_league(figures(out, kind), list(planted(out, kind)), kind)
    draw({kind: list(planted(out, kind)) for kind in KINDS}, out / "maps.png")
    draw_concepts(scores, out / "concepts.png")


def _print_tcav(connection: duckdb.DuckDBPyConnection, kind: str) -> None:
    for statistic in ("share", "magnitude"):
        print(f"\n{kind}, {statistic} of the class `fake`\n")
        print("| concept | against | layer | value | random sets | effect | p, Bonferroni | accuracy of the vectors |")
        print("|---|---|---|---|---|---|---|---|")
        rows = connection.sql(_TCAV, params={"statistic": statistic}).fetchall()
        order = ("stem", "layer1", "layer2", "layer3")
        for layer, concept, against, _, value, _, chance, effect, p, accuracy in sorted(
            rows, key=lambda row: (row[1], row[2], order.index(row[0]))
        ):
            said = ["none" if each is None else f"{each:.3g}" for each in (value, chance, effect, p, accuracy)]
            print(f"| {concept} | {against or 'random'} | {layer} | {' | '.join(said)} |")


def _scores(connection: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    """What the page of `report` draws, which asks for the models of a run; here is none."""
    connection.execute("create temp view predictions as select distinct model from tcav_scores")
    return connection.sql(queries("report")["tcav"]).to_arrow_table().to_pylist()


def draw_concepts(scores: list[dict[str, Any]], path: Path) -> None:
    """The page's charts of TCAV, in its light colours, one above the other."""
    style = (Path(charts.__file__).parent / "page.css").read_text(encoding="utf-8")
    colours = re.findall(r"(--[\w-]+): ([^;]+);", style[: style.index("}")])
    pictures = []
    for number, spec in enumerate(CHARTS["tcav"].draw(scores)):
        drawn = svg(spec, f"tcav-{number}")
        for name, colour in colours:
            drawn = drawn.replace(f"var({name})", colour)
        drawn = vl_convert.svg_to_png(drawn.replace("<svg ", f'<svg xmlns="{_SVG}" ', 1), scale=1.3)
        pictures.append(Image.open(io.BytesIO(drawn)))
    size = (max(each.width for each in pictures), sum(each.height for each in pictures))
    page, top = Image.new("RGBA", size, "white"), 0
    for each in pictures:
        page.alpha_composite(each.convert("RGBA"), (0, top))
        top += each.height
    page.quantize(64).save(path, optimize=True)


def _print_league(values: dict[tuple[str, str], list[float]], maps: list[Planted], kind: str) -> None:
    chance = float(np.mean([each.turning.mean() for each in maps]))
    when = float(np.mean([each.turning.any((1, 2)).mean() for each in maps]))
    print(f"\n{kind}: mean over clips and its 95 %; by chance inside {chance:.3f}, when {when:.2f}, auroc .5\n")
    print(f"| method | {' | '.join(_COLUMNS)} | clips |\n|---|{'---|' * (len(_COLUMNS) + 1)}")
    names = dict.fromkeys(method for method, _ in values)
    for method in sorted(names, key=lambda name: -float(np.mean(values[name, "srg"]))):
        said = []
        for metric in _COLUMNS:
            own = values.get((method, metric), [])
            bounds = interval(own, 0)
            said.append("" if bounds is None else f"{np.mean(own):.2f} ({bounds[0]:.2f} to {bounds[1]:.2f})")
        print(f"| {method} | {' | '.join(said)} | {len(values[method, 'srg'])} |")


def draw(shown: dict[str, list[Planted]], path: Path) -> None:
    """One clip of each kind: its pictures, where the disc turned, and the heat of every method in each picture."""
    names = ("iba", "gradcam", "extremal", "fep")
    figure, axes = plt.subplots(len(KINDS) * (len(names) + 1), 8, figsize=(8, 10.4), layout="constrained")
    for block, (kind, maps) in enumerate(shown.items()):
        number = sorted({each.video_id for each in maps})[0]
        own = {each.method: each for each in maps if each.video_id == number}
        top = block * (len(names) + 1)
        for column in range(8):
            axes[top, column].imshow(own["iba"].turning[column], cmap="gray", vmin=0, vmax=1)
            for row, name in enumerate(names, 1):
                axes[top + row, column].imshow(own[name].heat[column], cmap="magma", vmin=0, vmax=own[name].heat.max())
        for row, name in enumerate((f"{kind}: the disc", *names)):
            axes[top + row, 0].set_ylabel(name, fontsize=7)
    for each in axes.flat:
        each.set(xticks=[], yticks=[])
    figure.savefig(path, dpi=100)
    plt.close(figure)


STEPS: Final[dict[str, Callable[[Path], None]]] = {
    "videos": make_videos,
    "train": train,
    "concepts": concepts,
    "tcav": tcav,
    "explain": explain,
    "judge": judge,
    "tables": tables,
}


def main() -> None:
    """The steps named, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("steps", nargs="*", choices=[*STEPS, []], metavar="STEP")
    options = parser.parse_args()
    for name in options.steps or STEPS:
        STEPS[name](options.out)


if __name__ == "__main__":
    main()
