"""What a query says of one model, method, layer, target or run stays the same whatever else there is.

A join by too few columns, or a group by too few, mixes rows that have nothing to do with each other: it shows where
rows of another place, with other values, are added."""

import json
import re

import numpy as np
import pytest

from pipelines import league
from pipelines.lake.read import queries
from schemas.tables import LABELS
from tests.queries.conftest import views_of

VIDEOS = {"a": ("fake", "test"), "b": ("fake", "test"), "c": ("real", "test"), "d": ("real", "train")}
FRAMES = (0, 4)
RULES = ("max0.5", "top0.1", "max0.3")
REGIONS = ("mouth", "edges", "outside")
PLACE = {"model": "m", "method": "iba", "layer": "l", "target": "fake"}
OTHER = {"model": "n", "method": "cam", "layer": "k", "target": "real"}
#: what is asked; a connection has the views of the league, too
ASKED = {
    **{
        f"{folder}/{name}": sql
        for folder in ("tables", "report", "league", "against")
        for name, sql in queries(folder).items()
    },
    **{f"views/{name}": f"from {name}" for name in queries("views") if name != "significance"},
    **{f"render/{name}": queries("render")[name] for name in ("maps", "scales")},
    "judge/samples": queries("judge")["samples"],
    "summary/explained": queries("summary")["explained"],
}
#: rows of videos, of which a second run has more
OF_VIDEOS = {"tables/table1", "tables/duplicates", "report/failed", "views/classes"}


def place_rows(place, rng, run="r1"):
    """Everything that is said of one place in all frames: table -> rows, with values drawn anew."""
    found = {}

    def add(table, **row):
        found.setdefault(table, []).append({"run_id": run} | row)

    def share():
        return round(float(rng.uniform(0.05, 0.95)), 3)

    for name, p in zip(("real", "fake"), (share(), share()), strict=True):
        add(
            "closed",
            **{"model": place["model"], "layer": place["layer"], "class": name},
            probability=p,
            rank=1 + (p < 0.5),
        )
    for video in VIDEOS:
        for rule in RULES:
            figures = {name: share() for name in ("iou", "iou_adjusted", "tcs", "persistence", "rpi")}
            add("metrics", video_id=video, mask_rule=rule, n_frames=int(rng.integers(1, 9)), **place, **figures)
        for frame in FRAMES:
            at = {"video_id": video, "frame": frame}
            through = {name: place[name] for name in ("method", "layer", "target", "model")}
            add("predictions", **at, **through, prob_fake=share())
            empty = frame == 0 if video in "ac" else bool(rng.random() < 0.3)
            bits = {"total_bits": 1 + share(), "floor_bits": share(), "seconds": share(), "scale": 2.0, "empty": empty}
            add("masks", **at, **place, **bits, saliency=[share(), share()])
            add("judged_maps", **at, **place, gini=share(), auroc=share(), same_map=share())
            for metric, fill in (
                ("srg", "blur"),
                ("srg", "mean"),
                ("road", "road"),
                ("adv_drop", "pgd"),
                ("adv_chance", "pgd"),
            ):
                add("faithfulness", **at, **place, metric=metric, fill=fill, value=share())
            add(
                "faithfulness_curves",
                **at,
                **place,
                removal="morf",
                fill="blur",
                removed=[0.0, 1.0],
                probability=[share(), share()],
            )
            add("sanity", **at, **place, test="weights", similarity=share())
            for region in REGIONS:
                add("regions", **at, **place, region=region, heat=share(), area=share())
            if VIDEOS[video][0] == "fake":
                figures = {
                    name: share() for name in ("heat_inside", "rra", "chance", "pointing_chance", "ehr", "auroc")
                }
                add("localisation_frames", **at, **place, **figures, pointing=bool(rng.random() < 0.5))
    return found


def plain(model, rng, run="r1"):
    rows = [
        {
            "run_id": run,
            "video_id": video,
            "frame": frame,
            "model": model,
            "prob_fake": round(float(rng.uniform(0.05, 0.95)), 3),
        }
        for video in VIDEOS
        for frame in FRAMES
    ]
    return {"predictions": rows}


def of_videos(run="r1", other=False):
    """Rows that no place has: of another run those of the same videos, which are labelled another way, and split."""
    config = {"detectors": [{"spec": {"name": name, "classes": LABELS}} for name in "mn"]}
    videos = [
        {
            "run_id": run,
            "video_id": name,
            "label": label,
            "split": split,
            "identities": f"x:{name}",
            "fps": 20.0 + other,
        }
        for name, (label, split) in VIDEOS.items()
    ]
    if other:
        for row in videos:
            row["label"] = {"fake": "real", "real": "fake"}[row["label"]]
            row["split"] = {"b": "train", "d": "test"}.get(row["video_id"], row["split"])
    frames = [
        {
            "run_id": run,
            "video_id": name,
            "frame": frame,
            "time_s": frame / (2 if other else 25),
            "track": [int(other), 1, 2, 3],
        }
        for name in VIDEOS
        for frame in FRAMES
    ]
    ids = [{"run_id": run, "video_id": name, "status": "error" if other else "ok"} for name in VIDEOS]
    return {"runs": [{"run_id": run, "config": json.dumps(config)}], "videos": videos, "frames": frames, "judged": ids}


def told(annotations=True):
    rows = [
        {"annotator": who, "video_id": video, "regions": own}
        for who, own in (("x", ["mouth"]), ("y", ["mouth", "edges"]))
        for video in "abc"
    ]
    return {"annotations": rows} if annotations else {}


def together(*parts):
    return {name: [row for part in parts for row in part.get(name, [])] for part in parts for name in part}


def answers(tables):
    """Query -> its rows as dicts."""
    found = {}
    with views_of(tables) as lake:
        league.prepare(lake)
        for name, sql in ASKED.items():
            asked = set(re.findall(r"(?<=\$)\w+", sql))
            params = {"run_id": "r1", "video_ids": ["a"]}
            relation = lake.sql(sql, params={key: params[key] for key in asked} or None)
            found[name] = [dict(zip(relation.columns, row, strict=True)) for row in relation.fetchall()]
    return found


def comparable(rows):
    """In an order, and to nine digits: sums over threads differ in the last ones."""
    plain = [
        {name: float(f"{value:.9g}") if isinstance(value, float) else value for name, value in row.items()}
        for row in rows
    ]
    return sorted(plain, key=lambda row: json.dumps(row, default=str, sort_keys=True))


@pytest.fixture(scope="module")
def base():
    """The rows of one place, and what every query says of them."""
    rows = together(
        of_videos(), plain("m", np.random.default_rng(0)), place_rows(PLACE, np.random.default_rng(1)), told()
    )
    return rows, answers(rows)


@pytest.mark.parametrize("name", PLACE)
def test_another_place_changes_nothing_here(base, name):
    (rows, before), rng = base, np.random.default_rng(2)
    added = [place_rows(PLACE | {name: OTHER[name]}, rng)]
    if name == "model":
        added.append(plain("n", rng))
    if name in ("method", "target"):  # noise alone has neither
        added[0].pop("closed")
    after = answers(together(rows, *added))

    def here(rows):
        return comparable([row for row in rows if row[name] != OTHER[name]])

    compared = 0
    for query, rows in before.items():
        if rows and name in rows[0]:
            assert here(after[query]) == here(rows), query
            compared += 1
    assert compared > 10


def test_another_run_of_the_same_videos_changes_nothing(base):
    """It was stopped before it had explained any."""
    rows, before = base
    after = answers(together(rows, of_videos("r2", other=True)))
    for query, rows in before.items():
        if query not in OF_VIDEOS:
            assert comparable(after[query]) == comparable(rows), query
    assert sum(map(bool, before.values())) > 20
