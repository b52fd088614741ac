"""Every check is silent on a good run and fires on a planted defect, for that alone."""

import json
from collections import defaultdict

import numpy as np
import pytest

from pipelines.lake.checks import checks
from schemas.tables import FACE_REGIONS
from tests.queries.conftest import views_of

CHECKS = checks()
FAILED = {"status": "error", "error_stage": "prepare", "error_code": "empty_file", "error_detail": "0 bytes"}
NO_BOX = {"face_x": None, "face_y": None, "face_width": None, "face_height": None, "has_flow": False}
NO_STEPS = dict.fromkeys(("total_bits", "floor_bits", "loss_first", "loss_last"))
NO_MAP = {"error_code": "explain_failed", **dict.fromkeys(("saliency", "scale", "empty")), **NO_STEPS}
EMPTY = {"empty": True, "total_bits": 2.0}
OTHER_LAYER = {"method": "iba", "layer": "other", "target": "fake"}
OTHER_TARGET = {"method": "iba", "layer": "l", "target": "other"}
CAM = {"method": "cam", "layer": "", "unit": "logits per cell"}

#: rows of good() that defects change
PLAIN_REAL, PLAIN, THROUGH_REAL, THROUGH = range(4)  # of predictions, of frame 0
OF_REAL = slice(8, 10)  # of predictions, of frame 8
EMPTY_MAP, CAM_MAP, FAILED_MAP = 2, 3, 4  # of masks
OTSU, OF_EMPTY = 1, 2  # of metrics
NO_FACE, FACELESS = 2, 3  # of frames


def both(fake, **values):
    """The two rows of a sample, that of real before that of fake."""
    return [
        {"class": name, "probability": p, "rank": 1 if p > 0.5 else 2, **values}
        for name, p in (("real", 1 - fake), ("fake", fake))
    ]


def good():
    """One video explained over two of three keyframes, one without a face, one that could not be read.

    For real the first frame's maps failed and the second's is empty; a method without a bottleneck explains the first
    frame for fake and nothing else.
    """
    through = {"method": "iba", "layer": "l"}
    return {
        "runs": [{}],
        "closed": [
            {"class": "real", "probability": 0.75, "rank": 1},
            {"class": "fake", "probability": 0.25, "rank": 2},
        ],
        "videos": [
            {"label": "fake", "truth_uri": "m.mkv"},
            {"video_id": "faceless", "status": "no_face"},
            {"video_id": "broken", **FAILED, "n_frames": None},
        ],
        "frames": [
            {"frame": 0, "track": [8, 8, 48, 48] * 2},
            {"frame": 8, "has_flow": False},
            {"frame": 4, "status": "no_face", **NO_BOX},
            {"video_id": "faceless", "status": "no_face", **NO_BOX},
        ],
        "predictions": [
            *both(0.75, frame=0),
            *both(1.0, frame=0, **through, target="fake"),
            *both(0.75, frame=8),
            *both(1.0, frame=8, **through, target="fake"),
            *both(0.0, frame=8, **through, target="real"),
        ],
        "masks": [
            {"frame": 0},
            {"frame": 8},
            {"frame": 8, "target": "real", **EMPTY},
            # signed
            {"frame": 0, **CAM, "saliency": [-1.0, 0.5], **NO_STEPS},
            {"frame": 8, **CAM, **NO_MAP},
            {"frame": 0, **CAM, "target": "real", **NO_MAP},
            {"frame": 0, "target": "real", **NO_MAP},
        ],
        "metrics": [
            {"n_frames": 2, "iou": 1.0, "iou_adjusted": -0.5, "rpi": 0.0},
            # nothing highlighted
            {"n_frames": 2, "mask_rule": "otsu", "tcs": 0.0, "persistence": None},
            {"n_frames": 1, "n_empty": 1, "target": "real", "tcs": 0.0, "persistence": None},
            {"n_frames": 1, **CAM},
        ],
        # the region leaves the crop in frame 8
        "truth": [{"frame": 0, "areas": [0.5, 0.0]}, {"frame": 8, "mask": [0, 0], "area": 0.0}],
        "localisation_frames": [{"frame": 0, "auroc": 0.5}, {"frame": 0, **CAM}],
        "judged": [{}],
        "judged_maps": [
            {"frame": 0, "auroc": 0.5, "same_map": 0.25},
            {"frame": 8, "variant": "blur8"},
            {"frame": 8},
            {"frame": 8, "target": "real", **dict.fromkeys(("gini", "entropy", "half"))},
            {"frame": 0, **CAM},
        ],
        "faithfulness": [{"frame": 0}, {"frame": 8, "variant": "blur8"}],
        "faithfulness_curves": [{"frame": 0}, {"frame": 8, "variant": "blur8"}],
        "sanity": [{"frame": 0}],
        "regions": [
            *({"frame": 0, "region": name, "heat": 1 / 6, "area": 1 / 6} for name in FACE_REGIONS),
            *({"frame": 8, "target": "real", "region": name, "heat": None, "area": 1 / 6} for name in FACE_REGIONS),
        ],
    }


def of_the_whole_frame():
    """A model of 25 classes that looks at the middle of every frame, of a forged video whose face is known in one."""
    twenty_five = [f"c{number}" for number in range(25)]
    box = {"box_x": 8, "box_y": 0, "box_width": 48, "box_height": 48}
    kept = {"c3": (0.5, 1), "c0": (0.125, 2), "c7": (0.0625, 3), "c9": (0.03125, 4), "c1": (0.03125, 5)}
    return {
        "runs": [{"config": json.dumps({"detectors": [{"spec": {"name": "m", "classes": twenty_five}}]})}],
        "videos": [{"label": "fake", "truth_uri": "m.mkv"}],
        "frames": [{"frame": 0}, {"frame": 4, **NO_BOX, "has_flow": True}],
        "predictions": [
            {"frame": frame, "class": name, "probability": p, "rank": rank, **through}
            for frame in (0, 4)
            for through in ({}, {"method": "iba", "layer": "l", "target": "c20"})
            for name, (p, rank) in (kept | {"c20": (0.0078125, 12)}).items()
        ],
        "masks": [{"frame": frame, "target": "c20", **box} for frame in (0, 4)],
        "metrics": [{"n_frames": 2, "target": "c20"}],
        "truth": [{"frame": 0}],
    }


def two_methods():
    tables = good()
    for table in ("predictions", "masks", "metrics", "localisation_frames", "judged_maps"):
        unless_told = "" if table == "predictions" else "iba"
        own = [row for row in tables[table] if row.get("method", unless_told) == "iba"]
        tables[table] += [row | {"method": "readout"} for row in own]
    return tables


def changed(table, index=0, **values):
    return lambda tables: tables[table][index].update(values)


def dropped(table, index=None):
    """Without all the rows of a table, one of them or a slice."""

    def drop(tables):
        del tables[table][slice(None) if index is None else index]

    return drop


def added(table, **values):
    return lambda tables: tables[table].append(values)


def exchanged(table, one, other, column):
    def exchange(tables):
        a, b = tables[table][one], tables[table][other]
        a[column], b[column] = b[column], a[column]

    return exchange


def below_zero(tables):
    """Which add up to 1 all the same."""
    tables["closed"][0]["probability"], tables["closed"][1]["probability"] = 1.25, -0.25


def repeated(table):
    return lambda tables: tables[table].append(tables[table][0])


def of_another_run(tables):
    tables["runs"][0]["run_id"] = "another"
    tables["closed"].clear()


DEFECTS = [
    *[("keys", repeated(table), f"{table} key occurs more than once", 1) for table in good()],
    ("parents", of_another_run, "videos row without its runs", 3),
    ("parents", changed("closed", run_id="another"), "closed row without its runs", 1),
    ("parents", added("frames", video_id="lost"), "frames row without its videos", 1),
    ("parents", added("predictions", frame=5), "predictions row without its frames", 1),
    ("parents", added("predictions", video_id="lost"), "predictions row without its frames", 1),
    ("parents", added("masks", video_id="lost"), "masks row without its videos", 1),
    ("parents", added("metrics", layer="other"), "metrics row without its masks", 1),
    ("parents", added("metrics", target="other"), "metrics row without its masks", 1),
    ("parents", added("metrics", video_id="lost"), "metrics row without its masks", 1),
    ("parents", added("truth", frame=5), "truth row without its frames", 1),
    ("parents", added("localisation_frames", layer="other"), "localisation_frames row without its masks", 1),
    ("parents", added("localisation_frames", target="other"), "localisation_frames row without its masks", 1),
    ("parents", changed("localisation_frames", first_frame=8), "localisation_frames row without its masks", 1),
    ("parents", dropped("truth", 0), "localisation_frames row without its truth", 2),
    ("parents", added("judged", video_id="lost"), "judged row without its videos", 1),
    ("parents", added("judged_maps", layer="other"), "judged_maps row without its masks", 1),
    ("parents", added("faithfulness", variant="blur8"), "faithfulness row without its judged_maps", 1),
    ("parents", added("faithfulness_curves", variant="blur8"), "faithfulness_curves row without its judged_maps", 1),
    ("parents", added("sanity", frame=5), "sanity row without its masks", 1),
    ("pairs", dropped("predictions", PLAIN), "masks row without a prediction of the model itself", 2),
    (
        "pairs",
        dropped("predictions", slice(THROUGH_REAL, THROUGH + 1)),
        "without the prediction through its bottleneck",
        1,
    ),
    ("pairs", dropped("predictions", OF_REAL), "without the prediction through its bottleneck", 1),
    ("pairs", added("predictions", **OTHER_LAYER), "prediction through a bottleneck without its mask", 1),
    ("pairs", added("predictions", **OTHER_TARGET), "prediction through a bottleneck without its mask", 1),
    ("pairs", dropped("metrics", OF_EMPTY), "masks without metrics", 1),
    ("pairs", dropped("metrics"), "masks without metrics", 3),
    ("pairs", changed("metrics", n_frames=1), "another number of maps or empty ones", 1),
    ("pairs", changed("metrics", n_empty=1), "another number of maps or empty ones", 1),
    ("pairs", changed("metrics", OF_EMPTY, n_empty=0), "another number of maps or empty ones", 1),
    ("pairs", changed("masks", CAM_MAP, **NO_MAP), "another number of maps or empty ones", 1),
    ("pairs", dropped("truth", 1), "without truth", 1),
    ("pairs", dropped("localisation_frames", 0), "without localisation", 1),
    ("pairs", changed("localisation_frames", target="real"), "without localisation", 1),
    ("pairs", changed("localisation_frames", first_frame=8), "without localisation", 1),
    ("pairs", dropped("localisation_frames"), "without localisation", 2),
    ("statuses", changed("videos", status="fine"), "unknown status", 1),
    ("statuses", dropped("frames", slice(2)), "ok, but no frame is ok", 1),
    ("statuses", dropped("masks"), "ok, but nothing was explained", 1),
    ("statuses", dropped("frames", FACELESS), "no_face, but no frame was looked at", 1),
    ("statuses", changed("frames", FACELESS, status="ok"), "no_face, but a frame is ok", 1),
    ("statuses", changed("videos", 2, error_code=None), "error without", 1),
    ("statuses", changed("videos", 2, error_stage=None), "error without", 1),
    ("statuses", changed("videos", 2, error_detail=None), "error without", 1),
    ("statuses", added("frames", video_id="broken"), "error, but it has frames", 1),
    ("statuses", changed("videos", error_code="empty_file"), "but no error", 1),
    ("statuses", changed("videos", 1, error_detail="?"), "but no error", 1),
    ("statuses", added("predictions", video_id="faceless"), "not ok, but it has", 1),
    ("statuses", added("masks", video_id="broken"), "not ok, but it has", 1),
    ("statuses", added("metrics", video_id="broken"), "not ok, but it has", 1),
    ("ranges_frames", changed("frames", status="maybe"), "unknown status", 1),
    ("ranges_frames", changed("frames", frame=9), "frame outside", 1),
    ("ranges_frames", changed("frames", frame=-1), "frame outside", 1),
    ("ranges_frames", changed("frames", time_s=-0.1), "time_s", 1),
    ("ranges_frames", changed("frames", time_s=np.nan), "time_s", 1),
    ("ranges_frames", changed("frames", keyframe_score=np.inf), "keyframe_score", 1),
    ("ranges_frames", changed("frames", face_width=None), "part of a face box", 1),
    ("ranges_frames", changed("frames", NO_FACE, face_x=0), "part of a face box", 1),
    ("ranges_frames", changed("frames", status="no_face", has_flow=False), "face box, but not ok", 1),
    ("ranges_frames", changed("frames", NO_FACE, has_flow=True), "flow without a face", 1),
    ("ranges_frames", changed("frames", face_height=0), "empty face box", 1),
    ("ranges_frames", changed("frames", face_y=-1), "face box outside", 1),
    ("ranges_frames", changed("frames", face_x=1), "face box outside", 1),
    ("ranges_frames", changed("frames", face_height=49), "face box outside", 1),
    ("ranges_predictions", changed("predictions", PLAIN, logit=np.nan), "logit", 1),
    ("ranges_predictions", changed("predictions", PLAIN_REAL, logit=-np.inf), "logit", 1),
    ("ranges_predictions", changed("predictions", PLAIN, probability=1.01), "probability outside", 1),
    ("ranges_predictions", changed("predictions", PLAIN_REAL, probability=-0.01), "probability outside", 1),
    ("ranges_predictions", changed("predictions", PLAIN, probability=np.nan), "probability outside", 1),
    ("ranges_predictions", changed("predictions", PLAIN_REAL, rank=0), "rank below 1", 1),
    ("ranges_predictions", changed("predictions", PLAIN, layer="l"), "all of a bottleneck, or none", 1),
    ("ranges_predictions", changed("predictions", PLAIN, method="iba"), "all of a bottleneck, or none", 1),
    ("ranges_predictions", changed("predictions", PLAIN, target="fake"), "all of a bottleneck, or none", 1),
    ("ranges_predictions", changed("predictions", THROUGH, layer=""), "all of a bottleneck, or none", 1),
    ("ranges_predictions", changed("predictions", THROUGH, method=""), "all of a bottleneck, or none", 1),
    ("ranges_predictions", changed("predictions", THROUGH, target=""), "all of a bottleneck, or none", 1),
    ("classes", changed("predictions", PLAIN, **{"class": "forged"}), "class that the model does not have", 1),
    ("classes", changed("runs", config="{}"), "class that the model does not have", 5),
    ("classes", dropped("predictions", PLAIN_REAL), "class of the model without a prediction", 1),
    ("classes", dropped("predictions", THROUGH), "class of the model without a prediction", 1),
    ("classes", changed("predictions", PLAIN_REAL, probability=0.251), "do not add up to 1", 1),
    ("classes", changed("predictions", PLAIN_REAL, probability=0.249), "do not add up to 1", 1),
    ("classes", changed("predictions", PLAIN, rank=2), "no class of rank 1, or several", 1),
    ("classes", changed("predictions", PLAIN_REAL, rank=1), "no class of rank 1, or several", 1),
    ("classes", exchanged("predictions", PLAIN_REAL, PLAIN, "rank"), "not the most probable", 1),
    ("ranges_masks", changed("masks", height=0), "empty grid", 1),
    ("ranges_masks", changed("masks", input_size=0), "empty grid", 1),
    ("ranges_masks", changed("masks", span_frames=0), "empty grid", 1),
    ("ranges_masks", changed("masks", error_code="explain_failed"), "a map and an error, or neither", 1),
    ("ranges_masks", changed("masks", FAILED_MAP, error_code=None), "a map and an error, or neither", 1),
    ("ranges_masks", changed("masks", scale=None), "without scale or emptiness", 1),
    ("ranges_masks", changed("masks", empty=None), "without scale or emptiness", 1),
    ("ranges_masks", changed("masks", FAILED_MAP, scale=1.0), "without scale or emptiness", 1),
    ("ranges_masks", changed("masks", FAILED_MAP, empty=True), "without scale or emptiness", 1),
    ("ranges_masks", changed("masks", saliency=[1.0]), "height * width", 1),
    ("ranges_masks", changed("masks", saliency=[1.0, np.nan]), "beyond its scale", 1),
    ("ranges_masks", changed("masks", saliency=[np.inf, 1.0]), "beyond its scale", 1),
    ("ranges_masks", changed("masks", saliency=[1.001, 1.0]), "beyond its scale", 1),
    ("ranges_masks", changed("masks", CAM_MAP, saliency=[-1.001, 1.0]), "beyond its scale", 1),
    ("ranges_masks", changed("masks", scale=0.0), "scale not positive", 1),
    ("ranges_masks", changed("masks", scale=np.inf), "scale not positive", 1),
    ("ranges_masks", changed("masks", scale=np.nan), "scale not positive", 1),
    ("ranges_masks", changed("masks", saliency=[1.0, -0.5]), "negative bits", 1),
    ("ranges_masks", changed("masks", CAM_MAP, empty=True), "empty, but something is highlighted", 1),
    ("ranges_masks", changed("masks", total_bits=None), "bits without their total", 1),
    ("ranges_masks", changed("masks", total_bits=np.nan), "total_bits negative or not finite", 1),
    ("ranges_masks", changed("masks", total_bits=np.inf), "total_bits negative or not finite", 1),
    ("ranges_masks", changed("masks", total_bits=-1.0), "total_bits negative or not finite", 1),
    ("ranges_masks", changed("masks", floor_bits=-1.0), "floor_bits negative or not finite", 1),
    ("ranges_masks", changed("masks", EMPTY_MAP, floor_bits=0.0), "against what its bits say", 1),
    ("ranges_masks", changed("masks", floor_bits=None), "total_bits or floor_bits without the other", 1),
    ("ranges_masks", changed("masks", total_bits=2.09), "against what its bits say", 1),
    ("ranges_masks", changed("masks", EMPTY_MAP, total_bits=2.11), "against what its bits say", 1),
    ("ranges_masks", changed("masks", loss_first=None, loss_last=np.inf), "loss", 1),
    ("ranges_masks", changed("masks", loss_first=np.nan), "loss", 1),
    ("ranges_masks", changed("masks", first_frame=1), "before the first of its sample", 1),
    ("ranges_masks", changed("masks", box_x=-1), "box outside", 1),
    ("ranges_masks", changed("masks", box_x=1), "box outside", 1),
    ("ranges_masks", changed("masks", box_width=0), "box outside", 1),
    ("ranges_masks", changed("masks", box_height=49), "box outside", 1),
    ("ranges_closed", changed("closed", **{"class": "cat"}), "other classes than the model has", 1),
    ("ranges_closed", dropped("closed", 1), "other classes than the model has", 1),
    ("ranges_closed", changed("closed", probability=0.5), "do not add up to 1", 1),
    ("ranges_closed", changed("closed", probability=np.nan), "do not add up to 1", 1),
    ("ranges_closed", exchanged("closed", 0, 1, "probability"), "not the most probable", 1),
    ("ranges_closed", below_zero, "do not add up to 1", 1),
    ("ranges_metrics", changed("metrics", n_frames=0), "no frames", 1),
    ("ranges_metrics", changed("metrics", n_empty=3), "n_empty outside", 1),
    ("ranges_metrics", changed("metrics", n_empty=-1), "n_empty outside", 1),
    ("ranges_metrics", changed("metrics", OF_EMPTY, tcs=0.5, persistence=1.0), "highlighted pixels in empty maps", 1),
    ("ranges_metrics", changed("metrics", iou=1.1), "iou outside", 1),
    ("ranges_metrics", changed("metrics", iou_adjusted=-0.51), "iou_adjusted outside", 1),
    ("ranges_metrics", changed("metrics", tcs=np.nan), "tcs", 1),
    ("ranges_metrics", changed("metrics", persistence=-0.1), "persistence outside", 1),
    ("ranges_metrics", changed("metrics", rpi=2.0), "rpi", 1),
    ("ranges_metrics", changed("metrics", iou=None), "iou_adjusted without iou", 1),
    ("ranges_metrics", changed("metrics", persistence=None), "persistence defined", 1),
    ("ranges_metrics", changed("metrics", OTSU, persistence=1.0), "persistence defined", 1),
    ("ranges_metrics", changed("metrics", n_frames=1), "of a single frame", 1),
    ("ranges_truth", changed("truth", height=0), "empty grid", 1),
    ("ranges_truth", changed("truth", mask=[255]), "height * width", 1),
    ("ranges_truth", changed("truth", mask=[255, None]), "NULLs", 1),
    ("ranges_truth", changed("truth", area=1.1), "area outside", 1),
    ("ranges_truth", changed("truth", area=np.nan), "area outside", 1),
    ("ranges_truth", changed("truth", areas=[0.5, None]), "areas have NULLs", 1),
    ("ranges_truth", changed("truth", areas=[0.5, 1.5]), "areas outside", 1),
    ("ranges_truth", changed("truth", areas=[0.5]), "as many as the boxes", 1),
    ("ranges_truth", changed("truth", area=0.0), "without area", 1),
    ("ranges_truth", added("truth", frame=4), "frame without a face", 1),
    ("ranges_truth", changed("videos", truth_uri=None), "without a truth_uri", 2),
    ("ranges_truth", changed("videos", label="real"), "labelled real", 1),
    ("ranges_localisation", changed("localisation_frames", heat_inside=1.1), "heat_inside", 1),
    ("ranges_localisation", changed("localisation_frames", rra=np.nan), "rra", 1),
    ("ranges_localisation", changed("localisation_frames", ehr=-0.1), "ehr", 1),
    ("ranges_localisation", changed("localisation_frames", ehr=None), "some figures", 1),
    ("ranges_localisation", changed("localisation_frames", auroc=1.1), "auroc", 1),
    ("ranges_localisation", changed("localisation_frames", pointing_chance=0.4), "pointing_chance", 1),
    ("ranges_localisation", changed("localisation_frames", chance=0.0), "chance", 1),
    ("ranges_localisation", changed("localisation_frames", chance=np.nan), "chance", 1),
    ("ranges_localisation", changed("localisation_frames", rra=None), "some figures", 1),
    ("ranges_localisation", changed("localisation_frames", pointing=None), "some figures", 1),
    ("ranges_localisation", changed("localisation_frames", chance=1.0), "fills the input", 1),
    ("parents", changed("regions", first_frame=8), "regions row without its masks", 1),
    ("ranges_regions", dropped("regions", 0), "not six regions", 1),
    ("ranges_regions", changed("regions", heat=None), "heat of some regions", 1),
    ("ranges_regions", changed("regions", heat=-1 / 6), "below 0", 1),
    ("ranges_regions", changed("regions", area=1 / 3), "areas do not", 1),
    ("ranges_regions", changed("regions", area=np.nan), "areas do not", 1),
    ("ranges_regions", changed("regions", heat=1 / 3), "heat does not", 1),
    ("ranges_regions", changed("regions", heat=np.nan), "heat does not", 1),
]


DEFECTS += [
    ("ranges_judged", changed("judged_maps", gini=1.1), "gini outside", 1),
    ("ranges_judged", changed("judged_maps", half=0.0), "half outside", 1),
    ("ranges_judged", changed("judged_maps", entropy=-0.1), "entropy outside", 1),
    ("ranges_judged", changed("judged_maps", gini=None), "some figures of complexity", 1),
    ("ranges_judged", changed("judged_maps", auroc=np.nan), "auroc outside", 1),
    ("ranges_judged", changed("judged_maps", same_map=-1.1), "same_map outside", 1),
    ("ranges_judged", changed("judged_maps", 1, same_map=0.5), "same_map of a variant", 1),
    ("ranges_judged", changed("localisation_frames", auroc=0.25), "auroc is not that of localisation_frames", 1),
    ("ranges_faithfulness", changed("faithfulness", value=1.1), "srg outside", 1),
    ("ranges_faithfulness", changed("faithfulness", value=np.nan), "srg outside", 1),
    ("ranges_faithfulness", changed("faithfulness", metric="deletion", value=-0.1), "deletion outside", 1),
    ("ranges_faithfulness", changed("faithfulness", metric="adv_flip", value=0.5), "adv_flip is neither 0 nor 1", 1),
    ("ranges_faithfulness", changed("faithfulness_curves", probability=[0.5]), "of another length", 1),
    ("ranges_faithfulness", changed("faithfulness_curves", probability=[0.5, 1.5]), "probability outside", 1),
    ("ranges_faithfulness", changed("faithfulness_curves", removed=[0.0, 0.5]), "does not end with everything", 1),
    ("ranges_faithfulness", changed("sanity", similarity=1.5), "similarity outside", 1),
    ("ranges_faithfulness", changed("sanity", depth=0.0), "depth outside", 1),
    ("judged", changed("judged", status="fine"), "unknown status", 1),
    ("judged", changed("judged", status="error"), "error without", 1),
    ("judged", changed("judged", error_code="changed"), "but no error", 1),
    ("judged", dropped("judged_maps", 0), "map of a judged video that was not judged", 1),
]


@pytest.fixture(scope="module", params=[good, two_methods, of_the_whole_frame])
def sound(request):
    with views_of(request.param()) as lake:
        yield lake


@pytest.mark.parametrize("name", CHECKS)
def test_check_is_silent_on_a_good_run(sound, name):
    assert sound.sql(CHECKS[name]).fetchall() == []


@pytest.fixture(scope="module")
def found():
    """(check, number of a defect) -> the problems, in one lake where every defect is a run of its own."""
    together, problems = defaultdict(list), defaultdict(list)
    for number, (_, defect, _, _) in enumerate(DEFECTS):
        tables = good()
        defect(tables)
        for table, rows in tables.items():
            together[table] += [row | {"run_id": f"{number} {row.get('run_id', '')}"} for row in rows]
    with views_of(together) as lake:
        for name, query in checks().items():
            for problem, run_id, *_ in lake.sql(query).fetchall():
                problems[name, int(run_id.split()[0])].append(problem)
    return problems


@pytest.mark.parametrize(
    ("number", "name", "problem", "n_rows"),
    [(number, name, problem, n_rows) for number, (name, _, problem, n_rows) in enumerate(DEFECTS)],
    ids=[f"{name}: {said}" for name, _, said, _ in DEFECTS],
)
def test_check_fires(found, number, name, problem, n_rows):
    assert len(found[name, number]) == n_rows, found[name, number]
    assert all(problem in each for each in found[name, number]), found[name, number]


@pytest.mark.parametrize(
    ("defect", "said"),
    [
        (repeated("frames"), ("frames key occurs more than once", "r1", "v", "0", 2)),
        (added("metrics", layer="other"), ("metrics row without its masks", "r1", "v", "m iba other fake max0.5")),
        (of_another_run, ("videos row without its runs", "r1", "v", None)),
        (
            added("masks", method="readout", layer="l", target="fake"),  # beside one of iba, which has its prediction
            ("masks row without the prediction through its bottleneck", "r1", "v", "0 m readout l fake"),
        ),
    ],
)
def test_a_problem_names_its_row(defect, said):
    tables = good()
    defect(tables)
    with views_of(tables) as lake:
        assert said in [row for query in checks().values() for row in lake.sql(query).fetchall()]


def test_a_video_that_could_not_be_judged_has_no_judged_maps():
    tables = good()
    tables["judged"][0] |= {"status": "error", "error_stage": "judge", "error_code": "changed", "error_detail": "?"}
    for table in ("judged_maps", "faithfulness", "faithfulness_curves", "sanity"):
        tables[table].clear()
    with views_of(tables) as lake:
        assert lake.sql(CHECKS["judged"]).fetchall() == []


def test_every_check_is_shown_to_fire():
    assert {name for name, *_ in DEFECTS} == set(CHECKS)
