"""Every check is silent on a good run and fires on a planted defect."""

from copy import deepcopy

import numpy as np
import pytest

from pipelines.lake.checks import checks

CHECKS = checks()
FAILED = {"status": "error", "error_stage": "prepare", "error_code": "empty_file", "error_detail": "0 bytes"}
NO_BOX = {"face_x": None, "face_y": None, "face_width": None, "face_height": None, "has_flow": False}


def good():
    """One video explained over two of three keyframes, one without a face, one that could not be read."""
    return {
        "runs": [{}],
        "videos": [
            {"label": "fake", "truth_uri": "m.mkv"},
            {"video_id": "faceless", "status": "no_face"},
            {"video_id": "broken", **FAILED, "n_frames": None},
        ],
        "frames": [
            {"frame": 0},
            {"frame": 8, "has_flow": False},
            {"frame": 4, "status": "no_face", **NO_BOX},
            {"video_id": "faceless", "status": "no_face", **NO_BOX},
        ],
        "predictions": [
            {"frame": frame, "bottleneck": bottleneck, "method": method, "layer": layer}
            for frame in (0, 8)
            for bottleneck, method, layer in ((False, "", ""), (True, "iba", "l"))
        ],
        "masks": [{"frame": 0}, {"frame": 8}],
        "metrics": [
            {"n_frames": 2, "iou": 1.0, "iou_adjusted": -0.5, "rpi": 0.0},
            # nothing highlighted
            {"n_frames": 2, "mask_rule": "otsu", "tcs": 0.0, "persistence": None},
        ],
        # the region leaves the crop in frame 8
        "truth": [{"frame": 0}, {"frame": 8, "mask": [0, 0], "area": 0.0}],
        "localisation_frames": [{"frame": 0}],
    }


def changed(table, index=0, **values):
    return lambda tables: tables[table][index].update(values)


def dropped(table, index=None):
    return lambda tables: tables[table].clear() if index is None else tables[table].pop(index)


def added(table, **values):
    return lambda tables: tables[table].append(values)


def repeated(table):
    return lambda tables: tables[table].append(tables[table][0])


DEFECTS = [
    *[("keys", repeated(table), "more than once") for table in good()],
    ("parents", changed("runs", run_id="another"), "videos row without its runs"),
    ("parents", added("frames", video_id="lost"), "frames row without its videos"),
    ("parents", added("predictions", frame=5), "predictions row without its frames"),
    ("parents", added("predictions", video_id="lost"), "predictions row without its frames"),
    ("parents", added("masks", frame=5), "masks row without its frames"),
    ("parents", added("metrics", layer="other"), "metrics row without its masks"),
    ("parents", added("metrics", video_id="lost"), "metrics row without its masks"),
    ("pairs", dropped("predictions", 0), "no prediction without the bottleneck"),
    ("pairs", dropped("predictions", 1), "no prediction with the bottleneck"),
    ("pairs", dropped("predictions", 1), "masks row without the prediction from its bottleneck"),
    ("pairs", changed("predictions", 0, layer="l"), "layer does not fit"),
    ("pairs", changed("predictions", 1, layer=""), "layer does not fit"),
    ("pairs", changed("predictions", 0, method="iba"), "method or layer does not fit"),
    ("pairs", changed("predictions", 1, method=""), "method or layer does not fit"),
    ("pairs", changed("predictions", 1, method="readout"), "masks row without the prediction from its bottleneck"),
    ("pairs", changed("predictions", 1, target=0), "different targets"),
    ("pairs", dropped("metrics"), "masks without metrics"),
    ("pairs", dropped("masks", 1), "another number of frames"),
    ("parents", added("truth", frame=5), "truth row without its frames"),
    ("parents", added("localisation_frames", layer="other"), "localisation_frames row without its masks"),
    ("parents", dropped("truth", 0), "localisation_frames row without its truth"),
    ("pairs", dropped("truth", 1), "without truth"),
    ("pairs", dropped("localisation_frames"), "without localisation"),
    ("statuses", changed("videos", status="fine"), "unknown status"),
    ("statuses", lambda tables: [tables["frames"].pop(0), tables["frames"].pop(0)], "ok, but no frame is ok"),
    ("statuses", dropped("masks"), "ok, but nothing was explained"),
    ("statuses", dropped("frames", 3), "no_face, but no frame was looked at"),
    ("statuses", changed("frames", 3, status="ok"), "no_face, but a frame is ok"),
    ("statuses", changed("videos", 2, error_code=None), "error without"),
    ("statuses", changed("videos", 2, error_stage=None), "error without"),
    ("statuses", changed("videos", 2, error_detail=None), "error without"),
    ("statuses", added("frames", video_id="broken"), "error, but it has frames"),
    ("statuses", changed("videos", error_code="empty_file"), "but no error"),
    ("statuses", changed("videos", 1, error_detail="?"), "but no error"),
    ("statuses", added("predictions", video_id="faceless"), "not ok, but it has"),
    ("statuses", added("masks", video_id="broken"), "not ok, but it has"),
    ("statuses", added("metrics", video_id="broken"), "not ok, but it has"),
    ("ranges_frames", changed("frames", status="maybe"), "unknown status"),
    ("ranges_frames", changed("frames", frame=9), "frame outside"),
    ("ranges_frames", changed("frames", frame=-1), "frame outside"),
    ("ranges_frames", changed("frames", time_s=-0.1), "time_s"),
    ("ranges_frames", changed("frames", time_s=np.nan), "time_s"),
    ("ranges_frames", changed("frames", keyframe_score=np.inf), "keyframe_score"),
    ("ranges_frames", changed("frames", face_width=None), "ok without a face box"),
    ("ranges_frames", changed("frames", 2, face_x=0), "face box, but not ok"),
    ("ranges_frames", changed("frames", 2, has_flow=True), "flow without a face"),
    ("ranges_frames", changed("frames", face_height=0), "empty face box"),
    ("ranges_frames", changed("frames", face_y=-1), "face box outside"),
    ("ranges_frames", changed("frames", face_x=1), "face box outside"),
    ("ranges_frames", changed("frames", face_height=49), "face box outside"),
    ("ranges_predictions", changed("predictions", logit_fake=np.nan), "logit"),
    ("ranges_predictions", changed("predictions", logit_real=-np.inf), "logit"),
    ("ranges_predictions", changed("predictions", prob_fake=1.01), "prob_fake"),
    ("ranges_predictions", changed("predictions", prob_fake=-0.01), "prob_fake"),
    ("ranges_predictions", changed("predictions", prob_fake=np.nan), "prob_fake"),
    ("ranges_predictions", changed("predictions", target=2), "target"),
    ("ranges_masks", changed("masks", height=0), "empty map"),
    ("ranges_masks", changed("masks", input_size=0), "empty map"),
    ("ranges_masks", changed("masks", saliency=[1.0]), "height * width"),
    ("ranges_masks", changed("masks", saliency=[1.0, np.nan]), "not finite"),
    ("ranges_masks", changed("masks", saliency=[np.inf, 1.0]), "not finite"),
    ("ranges_masks", changed("masks", saliency=[1.0, -0.5]), "negative"),
    ("ranges_masks", changed("masks", total_bits=0.0), "total_bits"),
    ("ranges_masks", changed("masks", total_bits=np.nan), "total_bits"),
    ("ranges_masks", changed("masks", loss_before=None, loss_after=np.inf), "loss"),
    ("ranges_metrics", changed("metrics", n_frames=0), "no frames"),
    ("ranges_metrics", changed("metrics", iou=1.1), "iou outside"),
    ("ranges_metrics", changed("metrics", iou_adjusted=-0.51), "iou_adjusted outside"),
    ("ranges_metrics", changed("metrics", tcs=np.nan), "tcs"),
    ("ranges_metrics", changed("metrics", persistence=-0.1), "persistence outside"),
    ("ranges_metrics", changed("metrics", rpi=2.0), "rpi"),
    ("ranges_metrics", changed("metrics", iou=None), "iou_adjusted without iou"),
    ("ranges_metrics", changed("metrics", persistence=None), "persistence defined"),
    ("ranges_metrics", changed("metrics", 1, persistence=1.0), "persistence defined"),
    ("ranges_metrics", changed("metrics", n_frames=1), "of a single frame"),
    ("ranges_truth", changed("truth", height=0), "empty grid"),
    ("ranges_truth", changed("truth", mask=[255]), "height * width"),
    ("ranges_truth", changed("truth", mask=[255, None]), "NULLs"),
    ("ranges_truth", changed("truth", area=1.1), "area outside"),
    ("ranges_truth", changed("truth", area=np.nan), "area outside"),
    ("ranges_truth", changed("truth", area=0.0), "without area"),
    ("ranges_truth", added("truth", frame=4), "frame without a face"),
    ("ranges_truth", changed("videos", truth_uri=None), "without a truth_uri"),
    ("ranges_truth", changed("videos", label="real"), "labelled real"),
    ("ranges_localisation", changed("localisation_frames", heat_inside=1.1), "heat_inside"),
    ("ranges_localisation", changed("localisation_frames", rra=np.nan), "rra"),
    ("ranges_localisation", changed("localisation_frames", ehr=-0.1), "ehr"),
    ("ranges_localisation", changed("localisation_frames", ehr=None), "some figures"),
    ("ranges_localisation", changed("localisation_frames", chance=0.0), "chance"),
    ("ranges_localisation", changed("localisation_frames", chance=np.nan), "chance"),
    ("ranges_localisation", changed("localisation_frames", rra=None), "some figures"),
    ("ranges_localisation", changed("localisation_frames", pointing=None), "some figures"),
    ("ranges_localisation", changed("localisation_frames", chance=1.0), "fills the input"),
]


@pytest.mark.parametrize("name", CHECKS)
def test_check_is_silent_on_a_good_run(views, name):
    with views(**good()) as lake:
        assert lake.sql(CHECKS[name]).fetchall() == []


@pytest.mark.parametrize(("name", "defect", "problem"), DEFECTS, ids=[f"{name}: {said}" for name, _, said in DEFECTS])
def test_check_fires(views, name, defect, problem):
    tables = deepcopy(good())
    defect(tables)
    with views(**tables) as lake:
        found = lake.sql(CHECKS[name]).fetchall()
    assert any(problem in row[0] for row in found), found


@pytest.mark.parametrize("name", CHECKS)
def test_check_is_silent_on_two_methods(views, name):
    tables = good()
    for table in ("predictions", "masks", "metrics", "localisation_frames"):
        tables[table] += [row | {"method": "readout"} for row in tables[table] if row.get("bottleneck", True)]
    with views(**tables) as lake:
        assert lake.sql(CHECKS[name]).fetchall() == []


def test_every_check_is_shown_to_fire():
    assert {name for name, _, _ in DEFECTS} == set(CHECKS)
