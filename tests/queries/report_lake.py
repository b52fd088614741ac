"""A lake of clips that exist, with maps of two methods over them, for the tests of the page."""

import json
from dataclasses import asdict

from operators.inputs.flow import FlowParams
from operators.inputs.view import View
from schemas.tables import LABELS

FRAMES = (1, 4)
CONFIG = {
    "detectors": [
        {"layers": ["l"], "spec": {"name": name, "classes": LABELS, "view": asdict(view)}}
        for name, view in (("zoo", View(64)), ("flow", View(32, shows="flow")))
    ],
    "methods": ["iba", "gradcam"],
    "targets": ["predicted"],
    "bottleneck": {"steps": 10},
    "prepare": {"flow": asdict(FlowParams())},
}
#: video -> probability of fake by zoo: fake-000 is the one it gets wrong
SCORES = {"fake-000": 0.25, "fake-001": 0.75, "real-000": 0.125, "real-001": 0.375}
#: of iba: hot in the upper left quarter; gradcam is hot everywhere else
BITS = {"zoo": 9.0, "flow": 100.0}
HOT = [1.0, 0.0, 0.0, 0.0]


def rows(folder, clips, name="{}.mp4"):
    """Tables of a run that explained the clips of the fixture `portraits`, in `folder` and named as `name` says."""
    uris = {}
    for (label, number), content in clips.items():
        file = folder / label / name.format(number)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        uris[f"{label}-{number}"] = str(file)
    ids = [{"video_id": video, "frame": frame, "first_frame": frame} for video in uris for frame in FRAMES]
    face = {"face_x": 60, "face_y": 20, "face_width": 160, "face_height": 160}
    box = {"box_x": 60, "box_y": 20, "box_width": 160, "box_height": 160, "input_size": 64, "height": 2, "width": 2}
    maps = []
    for model in ("flow", "zoo"):
        for each in ids:
            target = "fake" if SCORES[each["video_id"]] > 0.5 else "real"
            empty = each["video_id"] == "real-001" and each["frame"] == 4
            own = each | box | {"model": model, "target": target}
            maps.append(own | {"method": "iba", "saliency": HOT, "empty": empty, "total_bits": BITS[model]})
            cam = {"method": "gradcam", "saliency": [0.0, 1.0, 1.0, 1.0], "unit": "logits per cell", "total_bits": None}
            maps.append(own | cam)
    return {
        "runs": [{"config": json.dumps(CONFIG)}],
        "videos": [{"video_id": video, "uri": uri, "label": video[:4]} for video, uri in uris.items()],
        "frames": [each | {"time_s": each["frame"] / 25} | face for each in ids],
        "predictions": [
            each | {"model": model, "prob_fake": SCORES[each["video_id"]] if model == "zoo" else 0.5}
            for each in ids
            for model in ("zoo", "flow")
        ],
        "masks": maps,
        "truth": [
            each | {"height": 2, "width": 2, "mask": [255, 0, 0, 0]} for each in ids if each["video_id"][:4] == "fake"
        ],
        "localisation_frames": [
            {"video_id": video, "frame": 1, "model": "zoo", "target": "real", "auroc": auroc}
            for video, auroc in (("fake-000", 0.25), ("fake-001", 0.75))
        ],
    }


def judged(rows):
    """What `judge` says of these maps: the bottleneck's are worth something, Grad-CAM's nothing, and the centre is a
    control. One map of the bottleneck is half as hot as the others."""
    for row in rows["masks"]:
        if (row["video_id"], row["frame"], row["method"]) == ("fake-001", FRAMES[1], "iba"):
            row["saliency"] = [each / 2 for each in HOT]
    figures = {"iba": (0.5, 0.9), "random_smooth+mean_map": (0.0, 0.5), "gradcam": (0.0, 0.5), "centre": (0.1, 0.6)}
    own = [(row["video_id"], number / 100) for number, row in enumerate(rows["videos"])]
    at = [
        {"video_id": video, "frame": 1, "model": model, "target": "fake" if SCORES[video] > 0.5 else "real"}
        | {"method": name.partition("+")[0], "variant": name.partition("+")[2]}
        | {"layer": "" if name == "centre" else "l", "srg": srg + shift, "auroc": auroc + shift}
        for model in ("zoo", "flow")
        for name, (srg, auroc) in figures.items()
        for video, shift in own
    ]
    keys = ("video_id", "frame", "model", "method", "layer", "target", "variant")
    ids = [{key: row[key] for key in keys} for row in at]
    return {
        "judged": [{"video_id": video} for video, _ in own],
        "judged_maps": [each | {"auroc": row["auroc"]} for each, row in zip(ids, at, strict=True)],
        "faithfulness": [each | {"value": row["srg"]} for each, row in zip(ids, at, strict=True)],
    }
