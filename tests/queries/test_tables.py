"""The evaluation tables over hand-made rows; the answers are worked out in the comments."""

import json
from hashlib import md5
from math import sqrt

import numpy as np
import pytest

from operators.measures.consistency import video_metrics
from operators.measures.rules import MaskRule
from pipelines.lake.read import open_lake, queries
from schemas.tables import LABELS

TABLES = queries("tables")
NO_HEAT = dict.fromkeys(("heat_inside", "rra", "pointing", "ehr"))


def rows(lake, name):
    relation = lake.sql(TABLES[name])
    return [dict(zip(relation.columns, row, strict=True)) for row in relation.fetchall()]


def predicted(video_id, *probs, **values):
    return [{"video_id": video_id, "frame": frame, "prob_fake": p, **values} for frame, p in enumerate(probs)]


def fitted(method, layer, target):
    return {"method": method, "layer": layer, "target": target}


def said(video_id, *frames, **values):
    """Predictions of a model of many classes: of each frame what is kept, the most probable class first."""
    return [
        {"video_id": video_id, "frame": frame, "class": name, "probability": p, "rank": rank, **values}
        for frame, kept in enumerate(frames)
        for rank, (name, p) in enumerate(kept.items(), 1)
    ]


def run_of(**models):
    """The runs row of models with these classes."""
    detectors = [{"spec": {"name": name, "classes": list(classes)}} for name, classes in models.items()]
    return {"config": json.dumps({"detectors": detectors})}


def video(video_id, label):
    return {"video_id": video_id, "label": label}


def test_table1_counts_every_input_file(views):
    with views(
        videos=[
            {"video_id": "a", "dataset": "x", "label": "fake"},
            {"video_id": "b", "dataset": "x", "label": "fake", "status": "error", "error_code": "empty_file"},
            {"video_id": "c", "dataset": "x", "label": "real", "status": "no_face"},
            {"video_id": "d", "dataset": "y", "label": None},
        ]
    ) as lake:
        assert lake.sql(TABLES["table1"]).fetchall() == [("x", "fake", 2), ("x", "real", 1), ("y", None, 1)]


def test_table2_by_hand(views):
    with views(
        videos=[
            *map(video, "abcde", ["fake", "real", "fake", "real", "fake"]),
            video("?", None),
            video("unread", "fake"),
        ],
        predictions=[
            # mean 3/5: fake, right; confidence .6 is the upper edge of bin 9, (8/15, 9/15]
            *predicted("a", 0.5, 0.5, 0.5, 0.5, 1.0),
            *predicted("b", 0.55),  # fake, wrong; .55 in bin 9
            *predicted("c", 0.25),  # real, wrong; .75 in bin 12, (11/15, 12/15]
            *predicted("d", 0.5, 0.0),  # mean .25: real, right; .75 in bin 12
            *predicted("e", 0.8),  # fake, right; .8 is the upper edge of bin 12, and as a float32 a little above
            *predicted("?", 1.0),
        ],
    ) as lake:
        (row,) = rows(lake, "table2")
    # bin 9: 2 videos, accuracy 1/2, confidence 1.15/2: gap .15/2. bin 12: 3 videos, 2/3 against 2.3/3: gap .3/3
    assert row == {
        "model": "m",
        "method": "",
        "n": 5,
        "accuracy": pytest.approx(3 / 5),
        "precision": pytest.approx(2 / 3),  # of a, b, e
        "recall": pytest.approx(2 / 3),  # of a, c, e
        "ece": pytest.approx((2 * 0.15 / 2 + 3 * 0.3 / 3) / 5),
    }


@pytest.mark.parametrize("fake", [0.6, 0.4])
def test_ece_edges_hold_for_either_class(views, fake):
    # confidence .6 with either class: one bin with .55, accuracy 1/2 against 1.15/2; apart it would be .4/2 + .55/2
    with views(
        videos=[video("a", "fake" if fake > 0.5 else "real"), video("b", "real")],
        predictions=predicted("a", fake) + predicted("b", 0.55),
    ) as lake:
        assert rows(lake, "table2")[0]["ece"] == pytest.approx(0.15 / 2)


def test_table2_is_null_where_nothing_is_fake(views):
    with views(
        runs=[run_of(**dict.fromkeys(("nothing predicted fake", "nothing is fake", "no fake at all"), LABELS))],
        videos=[video("a", "fake"), video("b", "real")],
        predictions=[
            # a tie is not fake: a is missed with confidence .5 (bin 8), b is right with 1 (bin 15)
            *predicted("a", 0.5, model="nothing predicted fake"),
            *predicted("b", 0.0, model="nothing predicted fake"),
            *predicted("b", 1.0, model="nothing is fake"),
            *predicted("b", 0.25, model="no fake at all"),
        ],
    ) as lake:
        neither, is_fake, predicted_fake = rows(lake, "table2")
    assert (neither["precision"], neither["recall"], neither["accuracy"], neither["ece"]) == (None, None, 1, 0.25)
    assert (is_fake["precision"], is_fake["recall"], is_fake["accuracy"], is_fake["ece"]) == (0, None, 0, 1)
    assert (predicted_fake["precision"], predicted_fake["recall"]) == (None, 0)
    assert (predicted_fake["accuracy"], predicted_fake["ece"]) == (0.5, 0.25)


def test_table2_has_a_row_without_and_with_the_bottleneck(views):
    with views(
        videos=[video("a", "fake")],
        predictions=[
            *predicted("a", 1.0),
            # over both layers the mean is .3: real
            *predicted("a", 0.4, **fitted("iba", "l1", "fake")),
            *predicted("a", 0.2, **fitted("iba", "l2", "fake")),
            # another method is another bottleneck
            *predicted("a", 0.9, **fitted("readout", "l1", "fake")),
        ],
    ) as lake:
        found = [(row["method"], row["accuracy"], row["ece"]) for row in rows(lake, "table2")]
    assert found == [("", 1.0, 0.0), ("iba", 0.0, pytest.approx(0.7)), ("readout", 1.0, pytest.approx(0.1))]


def test_table2_counts_fits_for_the_predicted_class_alone(views):
    with views(
        videos=[video("a", "fake"), video("b", "real")],
        predictions=[
            # fake in the first frame, real in the second: of each frame the fit for that class, .8 and .4
            *predicted("a", 0.9, 0.3),
            *predicted("a", 0.8, 1.0, **fitted("iba", "l", "fake")),
            *predicted("a", 0.0, 0.4, **fitted("iba", "l", "real")),
            # real, and fitted for fake alone
            *predicted("b", 0.1),
            *predicted("b", 0.7, **fitted("iba", "l", "fake")),
        ],
    ) as lake:
        plain, through = rows(lake, "table2")
    assert (plain["method"], plain["n"], plain["accuracy"]) == ("", 2, 1)
    assert (through["method"], through["n"], through["accuracy"]) == ("iba", 1, 1)
    assert through["ece"] == pytest.approx(0.4)  # confidence (.8 + .4) / 2


def test_table2_of_seventeen_classes(views):
    with views(
        runs=[run_of(many="abcdefghijklmnopq", detector=LABELS)],
        videos=[
            *map(video, "12345", "abqba"),
            video("other", "fake"),
            video("?", None),
        ],
        predictions=[
            # mean of a .4, of b .55: b, wrong
            *said("1", {"a": 0.6, "b": 0.4}, {"b": 0.7, "a": 0.2}, model="many"),
            # c is not kept of the second frame: .8 / 2, and b (.2 + .7) / 2 is more; right
            *said("2", {"c": 0.8, "b": 0.2}, {"b": 0.7, "d": 0.3}, model="many"),
            # of equal ones the model's first: d, wrong
            *said("3", {"q": 0.5, "d": 0.5}, model="many"),
            *said("4", {"b": 0.9, "a": 0.1}, model="many"),
            *said("5", {"a": 1.0}, model="many"),
            # its label is a class of the other model alone
            *said("other", {"a": 1.0}, model="many"),
            *said("?", {"a": 1.0}, model="many"),
            *predicted("other", 0.75, model="detector"),
            *predicted("1", 0.75, model="detector"),
        ],
    ) as lake:
        detector, many = rows(lake, "table2")
    assert detector == {"model": "detector", "method": "", "n": 1, "accuracy": 1, "precision": 1, "recall": 1} | {
        "ece": 0.25
    }
    # a, b, q, b, a were taken for b, b, d, b, a. Four classes occur: precision of a 1/1, b 2/3, d 0/1, q never
    # predicted; recall of a 1/2, b 2/2, q 0/1, d never there. Each confidence has a bin of its own
    assert many == {
        "model": "many",
        "method": "",
        "n": 5,
        "accuracy": pytest.approx(3 / 5),
        "precision": pytest.approx((1 + 2 / 3) / 4),
        "recall": pytest.approx((1 / 2 + 1) / 4),
        "ece": pytest.approx((0.55 + (1 - 0.45) + 0.5 + (1 - 0.9) + 0) / 5),
    }


def test_table2_of_two_classes_is_about_the_second_one(views):
    with views(
        runs=[run_of(m=["dog", "cat"])],
        videos=[video("a", "dog"), video("b", "dog"), video("c", "cat")],
        predictions=[
            row
            for name, said_of in (("a", "dog"), ("b", "cat"), ("c", "cat"))
            for row in said(name, {said_of: 0.75, {"dog": "cat", "cat": "dog"}[said_of]: 0.25})
        ],
    ) as lake:
        (row,) = rows(lake, "table2")
    assert (row["precision"], row["recall"]) == (1 / 2, 1)


def test_table2_of_runs_whose_model_has_other_classes_is_over_all_of_them(make_lake):
    one = {"runs": [run_of(m=LABELS)], "videos": [video("a", "fake")], "predictions": predicted("a", 0.75)}
    make_lake(one, "r1")
    other = {"runs": [run_of(m="xyz")], "videos": [video("a", "x")], "predictions": said("a", {"y": 0.75, "x": 0.25})}
    with open_lake(make_lake(other, "r2")) as lake:
        (row,) = rows(lake, "table2")
    # fake is right; x was taken for y
    assert (row["n"], row["accuracy"]) == (2, 1 / 2)
    assert (row["precision"], row["recall"]) == (pytest.approx(1 / 3), pytest.approx(1 / 3))


def test_table2_keeps_runs_apart(make_lake):
    one = {"videos": [video("a", "fake")], "predictions": predicted("a", 0.9), "runs": [{}]}
    make_lake(one, "r1")
    with open_lake(make_lake(one | {"predictions": predicted("a", 0.3)}, "r2")) as lake:
        # two predictions, .9 and .3, not one of .6
        assert [(row["n"], row["accuracy"]) for row in rows(lake, "table2")] == [(2, 0.5)]


def measured(video_id, *maps, **values):
    """Metrics rows of 4 x 4 maps that are drawn as rows of digits."""
    frames = [np.array([[float(pixel) for pixel in row] for row in drawn.split()], np.float32) for drawn in maps]
    ids = {"video_id": video_id, "n_empty": sum(not frame.any() for frame in frames), **values}
    return [ids | row for row in video_metrics(frames, [MaskRule("max", 0.5)])]


def test_table3_by_hand(views):
    left, middle, empty = "9500 9500 9500 9500", "0950 0950 0950 0950", "0000 0000 0000 0000"
    top, full = "9999 0000 0000 0000", "9999 9999 9999 9999"
    with views(
        videos=[
            *(video(name, "fake") for name in ("moving", "dark", "still")),
            video("full", "real"),
            video("?", None),
        ],
        metrics=[
            # areas 1/2, 1/2, 0, 1/2. IoU 4/12 (chance 1/3, adjusted 0), 0 and 0 (chance 0): mean 1/9, adjusted 0.
            # Highlighted 24 of 64; ever highlighted 12 pixels, 24 / (4 * 12) = 1/2.
            # Centroids x = .5, 1.5, none, 1.5: steps 1 and 0, over the diagonal: .5 / sqrt(32)
            *measured("moving", left, middle, empty, middle),
            # both masks empty: nothing but the coverage 0 is defined
            *measured("dark", empty, empty),
            # IoU 1, chance 1/7, adjusted 1; coverage 1/4; persistence 1; no movement
            *measured("still", top, top),
            # IoU 1 is chance itself, so there is no adjusted value
            *measured("full", full, full),
            *measured("?", full),
            *measured("still", empty, target="real"),
        ],
    ) as lake:
        found = rows(lake, "table3")
    same = {"model": "m", "method": "iba", "layer": "l", "target": "fake", "mask_rule": "max0.5"}
    assert found == [
        same
        | {"label": "fake", "n_videos": 3, "n_maps": 8, "n_empty": 3}
        | {"iou": pytest.approx((1 / 9 + 1) / 2), "iou_adjusted": pytest.approx(1 / 2)}
        | {"tcs": pytest.approx((24 / 64 + 0 + 1 / 4) / 3), "persistence": pytest.approx(3 / 4)}
        | {"rpi": pytest.approx(0.5 / sqrt(32) / 2)},
        same
        | {"label": "real", "n_videos": 1, "n_maps": 2, "n_empty": 0}
        | {"iou": 1, "iou_adjusted": None, "tcs": 1, "persistence": 1, "rpi": 0},
        same
        | {"label": None, "n_videos": 1, "n_maps": 1, "n_empty": 0}
        | {"iou": None, "iou_adjusted": None, "tcs": 1, "persistence": 1, "rpi": None},
        same
        | {"target": "real", "label": "fake", "n_videos": 1, "n_maps": 1, "n_empty": 1}
        | {"iou": None, "iou_adjusted": None, "tcs": 0, "persistence": None, "rpi": None},
    ]


def test_table3_keeps_runs_apart(make_lake):
    """The same video, labelled otherwise in another run."""
    full = "9999 9999 9999 9999"
    for run_id, label in (("r1", "fake"), ("r2", "real")):
        lake = make_lake({"runs": [{}], "videos": [video("a", label)], "metrics": measured("a", full, full)}, run_id)
    with open_lake(lake) as connection:
        assert [(row["label"], row["n_videos"], row["n_maps"]) for row in rows(connection, "table3")] == [
            ("fake", 1, 2),
            ("real", 1, 2),
        ]


def test_emptiness_by_hand(views):
    """Noise alone is judged real at layer l; of layer `round` nothing is known; Grad-CAM has no bottleneck."""

    def fitted_map(frame, ratio, left, target="fake", **values):
        place = fitted("iba", "l", target) | values
        mask = {"frame": frame, "total_bits": 2 * ratio, "floor_bits": 2.0, "empty": ratio < 1.05, **place}
        through = {"frame": frame, "class": target, "probability": left, "rank": 1 if left > 0.5 else 2, **place}
        return mask, through

    made = [
        fitted_map(0, 1.01, 0.9),  # noise is not judged fake, what is left is
        fitted_map(1, 1.04, 0.2),  # not even that
        fitted_map(2, 6.0, 0.9),
        fitted_map(3, 12.0, 0.9),
        fitted_map(4, 9.0, 0.9),
        fitted_map(0, 1.02, 0.9, "real"),  # noise alone is judged so
        fitted_map(0, 1.0, 0.9, layer="round"),
    ]
    no_bits = {"total_bits": None, "floor_bits": None, "method": "cam"}
    with views(
        videos=[video("v", "fake")],
        closed=[{"class": "real", "probability": 0.75, "rank": 1}, {"class": "fake", "probability": 0.25, "rank": 2}],
        masks=[
            *(mask for mask, _ in made),
            {"empty": True, **no_bits},
            {"frame": 1, **no_bits},
            {"frame": 7, "empty": None, "error_code": "explain_failed", "saliency": None, "scale": None},
        ],
        predictions=[through for _, through in made],
    ) as lake:
        found = rows(lake, "emptiness")
        why = lake.sql("select frame, target, why, p_noise, p_left from empty_maps where method = 'iba' order by all")
        assert why.fetchall() == [
            (0, "fake", "enough", 0.25, pytest.approx(0.9)),
            (0, "fake", None, None, pytest.approx(0.9)),
            (0, "real", "noise", 0.75, pytest.approx(0.9)),
            (1, "fake", "neither", 0.25, pytest.approx(0.2)),
        ]
    none = dict.fromkeys(("n_noise", "n_enough", "n_neither"), 0)
    unknown = dict.fromkeys(("p_noise", "most_empty", "least_other", "median_other"))
    same = {"model": "m", "label": "fake"}
    assert found == [
        {**same, **fitted("cam", "l", "fake"), "n_maps": 2, "n_empty": 1, **none, **unknown},
        {**same, **fitted("iba", "l", "fake"), "n_maps": 5, "n_empty": 2, **none, "n_enough": 1, "n_neither": 1}
        | {"p_noise": 0.25, "most_empty": 1.04, "least_other": 6.0, "median_other": 9.0},
        {**same, **fitted("iba", "l", "real"), "n_maps": 1, "n_empty": 1, **none, "n_noise": 1}
        | {"p_noise": 0.75, "most_empty": 1.02, "least_other": None, "median_other": None},
        {**same, **fitted("iba", "round", "fake"), "n_maps": 1, "n_empty": 1, **none, **unknown, "most_empty": 1.0},
    ]


def test_localisation_by_hand(views):
    with views(
        videos=[
            *({"video_id": name, "label": "fake", "split": "test"} for name in "ab"),
            *({"video_id": str(split), "label": "fake", "split": split} for split in ("train", "val", None)),
        ],
        localisation_frames=[
            {"video_id": "a", "frame": 0, "heat_inside": 0.75, "rra": 0.5, "chance": 0.25, "ehr": 0.75}
            | {"auroc": 0.7, "pointing_chance": 0.5},
            {"video_id": "a", "frame": 7, "heat_inside": 0.25, "rra": 0.25, "chance": 0.25}
            | {"auroc": 0.6, "pointing": False, "pointing_chance": 0.5},
            {"video_id": "b", "frame": 0, "heat_inside": 0.5, "rra": 1.0, "chance": 0.125}
            | {"auroc": 0.8, "pointing_chance": 0.25},
            # an empty map is counted; nothing of it is defined, and its chance must not count either
            {"video_id": "b", "frame": 3, "chance": 1.0} | NO_HEAT,
            {"video_id": "b", "frame": 0, "chance": 0.5, "target": "real"} | NO_HEAT,
            {"video_id": "b", "frame": 0, "model": "n", "heat_inside": 0.125, "rra": 0.0, "chance": 0.25},
            *({"video_id": str(split), "heat_inside": 1.0, "rra": 1.0} for split in ("train", "val", None)),
        ],
        predictions=[{"video_id": "a", "frame": frame, "prob_fake": 0.75} for frame in (0, 7)]
        + [{"video_id": "b", "frame": frame, "prob_fake": 0.75} for frame in (0, 3)]
        + [{"video_id": "b", "frame": 0, "model": "n", "prob_fake": 0.25}],
    ) as lake:
        found = rows(lake, "localisation")
    same = {"method": "iba", "layer": "l"}
    further = ("auroc", "heat_inside_adjusted", "rra_adjusted", "pointing", "pointing_chance", "pointing_adjusted")
    extended = [{name: row.pop(name) for name in further} for row in found]
    # (2/3 + 0 + 3/7) / 3, and of pointing (1/2 + 0 + 1) / 3 with the chances .5, .5 and .25
    assert extended[0] == {
        "auroc": pytest.approx(0.7),
        "heat_inside_adjusted": pytest.approx((2 / 3 + 3 / 7) / 3),
        "rra_adjusted": pytest.approx((1 / 3 + 0 + 1) / 3),
        "pointing": pytest.approx(2 / 3),
        "pointing_chance": pytest.approx(1.25 / 3),
        "pointing_adjusted": pytest.approx((1 - 1 + 1) / 3),
    }
    assert set(extended[1].values()) == {None}
    assert [row.pop("rightly") for row in found] == [True, True, False]
    assert found == [
        # a frame is a frame, whichever video it is of: (.75 + .25 + .5) / 3, (.5 + .25 + 1) / 3, (.25 + .25 + .125) / 3
        {"model": "m", **same, "target": "fake", "n_maps": 4, "n_empty": 1}
        | {"heat_inside": 0.5, "rra": pytest.approx(1.75 / 3), "chance": pytest.approx(0.625 / 3)}
        | {"ehr": pytest.approx(1.75 / 3)},  # (.75 + .5 + .5) / 3
        {"model": "m", **same, "target": "real", "n_maps": 1, "n_empty": 1}
        | {"heat_inside": None, "rra": None, "chance": None, "ehr": None},
        {"model": "n", **same, "target": "fake", "n_maps": 1, "n_empty": 0}
        | {"heat_inside": 0.125, "rra": 0.0, "chance": 0.25, "ehr": 0.5},
    ]


def test_localisation_has_no_row_without_a_held_out_clip(views):
    with views(
        videos=[{"video_id": "a", "label": "fake", "split": None}], localisation_frames=[{"video_id": "a"}]
    ) as lake:
        assert rows(lake, "localisation") == []


def test_table3_by_threshold_takes_a_thousand_videos_always_the_same(views):
    names = [f"v{number}" for number in range(1003)]
    own = [{"video_id": name, "label": "fake"} for name in names]
    maps = [{"video_id": name, "saliency": [1.0, number / 2048], "height": 1} for number, name in enumerate(names)]
    for order in (1, -1):
        with views(videos=own[::order], masks=maps[::order]) as lake:
            (row,) = [row for row in rows(lake, "table3_thresholds") if row["threshold"] == 0.3]
        left_out = sorted(range(1003), key=lambda number: md5(names[number].encode()).hexdigest())[1000:]
        above = sum(number / 2048 >= 0.3 for number in range(1003) if number not in left_out)
        assert (row["n_videos"], row["tcs"]) == (1000, pytest.approx((1000 + above) / 2000))


def test_table3_by_threshold(views):
    maps = [[1.0, 0.5, 0.25, 0.0], [0.5, 0.5, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]]
    shape = {"height": 1, "width": 4, "scale": 8.0}
    with views(
        videos=[{"label": "fake"}, {"video_id": "w", "label": "fake"}],
        masks=[{"frame": 4 * t, "saliency": cells, **shape} for t, cells in enumerate(maps)]
        + [{"video_id": "w", "saliency": [1.0, 1.0, 0.0, 0.0], **shape}]
        + [{"video_id": "w", "frame": 4, "saliency": [1.0, 0.0, 0.0, 0.0], **shape, "empty": True}],
    ) as lake:
        found = {row["threshold"]: row for row in rows(lake, "table3_thresholds")}
    assert sorted(found) == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])
    same = {"model": "m", "method": "iba", "layer": "l", "target": "fake", "label": "fake", "n_videos": 2, "n_maps": 5}
    # v: masks 3, 2 and 4 of 4 cells, IoU 2/3 and 2/4, of chance 6/14 and 8/16; w: 2 and, being empty, none of 4, IoU 0
    assert found[0.2] == same | {
        "threshold": 0.2,
        "iou": pytest.approx(((2 / 3 + 2 / 4) / 2 + 0) / 2),
        "iou_adjusted": pytest.approx(((2 / 3 - 6 / 14) / (1 - 6 / 14) + 0) / 2 / 2),
        "tcs": pytest.approx((9 / 12 + 2 / 8) / 2),
    }
    # v: 1, 2 and 4 cells, IoU 1/2 and 2/4
    assert found[0.6]["iou"] == pytest.approx(0.25)
    assert found[0.6]["tcs"] == pytest.approx((7 / 12 + 2 / 8) / 2)


def test_duplicates_are_videos_of_different_splits_with_half_of_their_keyframes_alike(views):
    other = 2**64 - 1 - 0xF0F0_F0F0_F0F0_F0F0
    #: four bits, one in each of four words of 13: the fifth word is the same
    near = 0xF0F0_F0F0_F0F0_F0F0 ^ (1 | 1 << 13 | 1 << 26 | 1 << 39)
    prints = {
        "a": ("train", [0xF0F0_F0F0_F0F0_F0F0, other, None]),  # a picture of nothing is like no other
        "b": ("test", [near, 7]),  # one of two
        "c": ("test", [near ^ 1 << 63, 7, 8]),  # five bits
        "d": ("test", [near, 7, 8]),  # one of two, for a has two
        "e": ("train", [near, other]),  # of the same split
        "f": ("test", [None]),
        "g": (None, [other]),
        "h": ("val", [other] * 3),  # one fingerprint thrice
        "i": ("other", [0x0FF0_3CC3_5AA5_6996, 2**64 - 1]),
        "j": ("more", [0x0FF0_3CC3_5AA5_6996, 2**64 - 1 - (3 << 20)]),  # one the same, one two bits away
    }
    with views(
        videos=[{"video_id": video, "split": split} for video, (split, _) in prints.items()],
        frames=[
            {"video_id": video, "frame": frame, "fingerprint": each}
            for video, (_, own) in prints.items()
            for frame, each in enumerate(own)
        ],
    ) as lake:
        rows = lake.sql(queries("tables")["duplicates"]).to_arrow_table().to_pylist()
    found = {frozenset((row["video_id"], row["other_id"])): row for row in rows}
    # c is five bits from a, and one from e, which has near itself
    assert set(found) == {frozenset(pair) for pair in ("ab", "ad", "ah", "eb", "ec", "ed", "eh", "ij")}
    row = found[frozenset("ab")]
    assert (row["video_id"], row["split"], row["other_id"], row["other_split"]) == ("b", "test", "a", "train")
    assert (row["n_alike"], row["n_frames"], row["distance"]) == (1, 2, 4)
    assert (found[frozenset("ah")]["n_alike"], found[frozenset("ah")]["n_frames"]) == (1, 1)
    assert (found[frozenset("ij")]["n_alike"], found[frozenset("ij")]["distance"]) == (2, 1)  # their mean


def test_what_maps_say_of_a_region_is_the_mean_over_those_of_forged_videos_with_heat(views):
    def of(video, frame, heat, region="nose"):
        return {"video_id": video, "first_frame": frame, "frame": frame, "region": region, "heat": heat, "area": 0.125}

    regions = [of("f", 0, 0.5), of("f", 5, 0.25), of("f", 9, None), of("f", 0, 0.0, "eyes"), of("r", 0, 1.0)]
    videos = [{"video_id": "f", "label": "fake"}, {"video_id": "r", "label": "real"}]
    with views(videos=videos, regions=regions) as lake:
        found = lake.sql("select video_id, region, excess from map_regions order by all").fetchall()
    assert found == [("f", "eyes", -0.125), ("f", "nose", 0.25)]
