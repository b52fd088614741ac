"""Every table: its columns with unit and meaning, its grain and its key.

A lake is a folder; a run writes `LAKE/run_id=ID/TABLE/*.parquet`. `run_id` is a column of every table as well, so
no reader needs the path. All `frame` numbers count decoded frames of the video from 0.
"""

from dataclasses import dataclass
from typing import Final

import pyarrow as pa

STATUS_OK: Final = "ok"
STATUS_NO_FACE: Final = "no_face"
STATUS_ERROR: Final = "error"
#: the classes of a forgery detector, in the order of its outputs; what `train` and `forge` call their videos
LABELS: Final = ("real", "fake")
REAL, FAKE = LABELS
CLASS_REAL: Final = 0
CLASS_FAKE: Final = 1
#: between the identities of one video
IDENTITY_SEPARATOR: Final = ";"
#: the regions of a face that people are asked about (VIBA, figure 2), in the order of the keys 1 to 6
FACE_REGIONS: Final = ("mouth", "edges", "brows", "nose", "outside", "chin")
#: the chains that `explain` and `judge` run
EXPLAIN: Final = "explain"
JUDGE: Final = "judge"


def _column(name: str, type_: pa.DataType, meaning: str, *, null: bool = False) -> pa.Field:
    return pa.field(name, type_, nullable=null, metadata={"meaning": meaning})


@dataclass(frozen=True)
class Table:
    """A table exists when its grain, its key and its columns are written down."""

    name: str
    grain: str
    key: tuple[str, ...]
    schema: pa.Schema
    #: tables in which every row has a row it belongs to, by what they share of the parent's key
    parents: "tuple[Table, ...]" = ()
    #: the chain of stages that writes and commits it; None: written as a whole, apart from any chain
    chain: str | None = None


def _table(
    name: str,
    grain: str,
    key: tuple[str, ...],
    columns: list[pa.Field],
    parents: tuple[Table, ...] = (),
    chain: str | None = None,
) -> Table:
    schema = pa.schema(columns, metadata={"table": name, "grain": grain, "key": ",".join(key)})
    return Table(name, grain, key, schema, parents, chain)


_TIME: Final = pa.timestamp("us", tz="UTC")
_RUN_ID = _column("run_id", pa.string(), "run that wrote the row; hash of its config")
_VIDEO_ID = _column(
    "video_id", pa.string(), "from the file's name and content; the same on every machine and mount point"
)
_FRAME = _column("frame", pa.int32(), "index of the decoded frame, from 0")
_MODEL = _column("model", pa.string(), "name of the detector")
_METHOD = _column("method", pa.string(), "attribution method, a key of operators.methods.METHODS")
_LAYER = _column("layer", pa.string(), "dotted name of the explained layer; empty for a method that needs none")
_TARGET = _column("target", pa.string(), "class that is explained, by name")
_VARIANT = _column(
    "variant",
    pa.string(),
    "empty for the map itself; mean_map: the method's mean map over the other videos; blur8, blur16: the map blurred "
    "with a Gaussian of so many input pixels",
)
_FIRST_FRAME = _column("first_frame", pa.int32(), "first frame of the sample; of a picture the frame itself")

MANIFEST: Final = _table(
    "manifest",
    "one row per input file",
    ("video_id",),
    [
        _VIDEO_ID,
        _column("uri", pa.string(), "path or URI of the file"),
        _column("dataset", pa.string(), "source dataset"),
        _column("label", pa.string(), "class the video belongs to, as real or fake; NULL where unknown", null=True),
        _column("split", pa.string(), "train, val or test; NULL where unknown", null=True),
        _column(
            "truth_uri",
            pa.string(),
            "lossless grey video of the forged region, frame by frame; NULL where unknown",
            null=True,
        ),
        _column("manipulation", pa.string(), "method of the forgery, of the sound too; NULL for untouched", null=True),
        _column(
            "identities",
            pa.string(),
            "persons and source videos in it as name:id, joined by ';': a split keeps them apart; NULL where unknown",
            null=True,
        ),
        _column("pair_id", pa.string(), "video_id of the genuine video it was made from; NULL where none", null=True),
    ],
)

#: one number of draws that a run compared with the reference
TRIED: Final = pa.struct(
    [
        _column("draws", pa.int32(), "noise draws"),
        _column("samples", pa.int32(), "samples with evidence that were fitted by the reference, too"),
        _column("pearson", pa.float64(), "correlation with the mean of the reference's maps, mean over the samples"),
        _column("pearson_least", pa.float64(), "of the sample where it is least"),
        _column("own_pearson", pa.float64(), "correlation of one run of the reference with the others"),
        _column("own_pearson_least", pa.float64(), "of the sample where it is least"),
        _column("iou", pa.float64(), "overlap of the hottest tenth with that of a run of the reference"),
        _column("own_iou", pa.float64(), "the same of one run of the reference with the others"),
        _column("bits", pa.float64(), "total bits over the reference's, minus 1, mean over the samples"),
        _column("bits_error", pa.float64(), "standard error of that mean"),
    ]
)

RUNS: Final = _table(
    "runs",
    "one row per run",
    ("run_id",),
    [
        _RUN_ID,
        _column("config", pa.string(), "the whole config as JSON"),
        _column("started_at", _TIME, "first start of the run"),
        _column("ended_at", _TIME, "last time that everything it was given was finished; NULL before", null=True),
        _column(
            "busy",
            pa.float64(),
            "share of the time from the first call of each attribution actor to the end of its last that it explained; "
            "of the last start that explained a video, NULL before its end",
            null=True,
        ),
        _column(
            "starts",
            pa.list_(
                pa.struct(
                    [
                        _column("started_at", _TIME, "when the run was started or continued"),
                        _column("versions", pa.string(), "viba, its commit, Python and packages as JSON"),
                        _column("hardware", pa.string(), "processors, memory and accelerators of the cluster as JSON"),
                    ]
                )
            ),
            "every start of the run, the first one first",
        ),
        _column(
            "layers",
            pa.list_(
                pa.struct(
                    [
                        _MODEL,
                        _column("layer", pa.string(), "dotted name of the explained layer"),
                        _column(
                            "cut",
                            pa.string(),
                            "how the model is cut there: graph, or hooks where it cannot be traced, so that every pass "
                            "of a fit runs the whole model",
                        ),
                        _column(
                            "folded",
                            pa.bool_(),
                            "whether batch norm above it is part of the weights in a fit; NULL without a bottleneck",
                            null=True,
                        ),
                        _column("draws", pa.int32(), "noise draws of a fit; NULL without one", null=True),
                        _column(
                            "holds",
                            pa.bool_(),
                            "whether maps with so many draws held fidelity on the run's own samples; NULL where none "
                            "were compared",
                            null=True,
                        ),
                        _column("tried", pa.list_(TRIED), "what was compared, in the order of trying"),
                    ]
                )
            ),
            "every layer that is explained",
        ),
    ],
)

VIDEOS: Final = _table(
    "videos",
    "one row per input file",
    ("run_id", "video_id"),
    [
        _RUN_ID,
        *MANIFEST.schema,
        _column("status", pa.string(), "ok, no_face or error"),
        _column("error_stage", pa.string(), "stage that failed; NULL unless status is error", null=True),
        _column("error_code", pa.string(), "key of schemas.errors.ERROR_CODES; NULL unless status is error", null=True),
        _column("error_detail", pa.string(), "one line; NULL unless status is error", null=True),
        _column("container", pa.string(), "container format as FFmpeg names it", null=True),
        _column("codec", pa.string(), "video codec as FFmpeg names it", null=True),
        _column("width", pa.int32(), "pixels, after rotation and pixel aspect are applied", null=True),
        _column("height", pa.int32(), "pixels, after rotation and pixel aspect are applied", null=True),
        _column("fps", pa.float64(), "frames per second: decoded frames over their time span", null=True),
        _column("duration_s", pa.float64(), "seconds from the first to the end of the last decoded frame", null=True),
        _column("n_frames", pa.int32(), "frames that were decoded", null=True),
        _column("n_corrupt_packets", pa.int32(), "packets the decoder refused", null=True),
        _column("prepare_s", pa.float64(), "seconds for decoding, keyframes, faces and flow", null=True),
        _column(
            "explain_s",
            pa.float64(),
            "seconds for inference and attribution: the video's share of its batch",
            null=True,
        ),
        _column("metrics_s", pa.float64(), "seconds for the metrics", null=True),
    ],
    parents=(RUNS,),
    chain=EXPLAIN,
)

FRAMES: Final = _table(
    "frames",
    "one row per (video, keyframe)",
    ("run_id", "video_id", "frame"),
    [
        _RUN_ID,
        _VIDEO_ID,
        _FRAME,
        _column("time_s", pa.float64(), "presentation time in seconds from the first frame"),
        _column("keyframe_score", pa.float64(), "share of the pixels that got brighter, over the clip's baseline"),
        _column("status", pa.string(), "ok, or no_face where nothing could be cut without one"),
        _column(
            "face_x", pa.int32(), "left edge of the face's box in pixels, enlarged and clipped; NULL without", null=True
        ),
        _column("face_y", pa.int32(), "top edge of the crop box in pixels", null=True),
        _column("face_width", pa.int32(), "width of the crop box in pixels", null=True),
        _column("face_height", pa.int32(), "height of the crop box in pixels", null=True),
        _column("face_score", pa.float64(), "dlib's detection score", null=True),
        _column("has_flow", pa.bool_(), "false for a frame without a face or without a next frame"),
        _column(
            "fingerprint",
            pa.uint64(),
            "perceptual hash of the whole frame, 64 bits; NULL for one that is nearly flat, and in lakes of before",
            null=True,
        ),
        _column(
            "track",
            pa.list_(pa.int32()),
            "x, y, width and height of the face's box in this frame and each one after it, smoothed over time, as far "
            "as a clip goes; NULL where no clip of a face is cut",
            null=True,
        ),
    ],
    parents=(VIDEOS,),
    chain=EXPLAIN,
)

INPUTS: Final = _table(
    "inputs",
    "one row per (video, frame, view) of the runs that keep what models see; no other run has rows",
    ("run_id", "video_id", "frame", "view"),
    [
        _RUN_ID,
        _VIDEO_ID,
        _FRAME,
        _column("span_frames", pa.int32(), "how many frames it was cut from"),
        _column("view", pa.string(), "what it shows and how, operators.inputs.view.View as text"),
        _column("box_x", pa.int32(), "left edge of the box of the frame that it was cut from, in pixels"),
        _column("box_y", pa.int32(), "top edge of the box"),
        _column("box_width", pa.int32(), "width of the box"),
        _column("box_height", pa.int32(), "height of the box"),
        _column(
            "boxes", pa.list_(pa.int32()), "x, y, width, height in each picture of a clip; NULL for others", null=True
        ),
        _column("pixels", pa.binary(), "size * size * 3 bytes, RGB, row by row; those of a clip one after the other"),
    ],
    parents=(FRAMES,),
    chain=EXPLAIN,
)

PREDICTIONS: Final = _table(
    "predictions",
    "one row per (video, frame, model, method, layer, target, class); method, layer and target are empty for the model "
    "itself. Of up to 20 classes every one has a row, of more the explained ones and the five most probable",
    ("run_id", "video_id", "frame", "model", "method", "layer", "target", "class"),
    [
        _RUN_ID,
        _VIDEO_ID,
        _column("frame", pa.int32(), "first frame of the sample"),
        _MODEL,
        _column("method", pa.string(), "attribution method whose bottleneck the sample went through; empty without"),
        _column("layer", pa.string(), "layer of the bottleneck; empty without one"),
        _column("target", pa.string(), "class that the bottleneck was fitted for; empty without one"),
        _column("class", pa.string(), "class the row is about, by name"),
        _column("logit", pa.float32(), "logit of the class; through a bottleneck the mean over the noise draws"),
        _column("probability", pa.float32(), "its probability; through a bottleneck the mean over the noise draws"),
        _column("rank", pa.int32(), "1 for the most probable class"),
    ],
    parents=(FRAMES,),
    chain=EXPLAIN,
)

MASKS: Final = _table(
    "masks",
    "one row per (video, frame, model, method, layer, target); of a clip one row per cell of time",
    ("run_id", "video_id", "first_frame", "frame", "model", "method", "layer", "target"),
    [
        _RUN_ID,
        _VIDEO_ID,
        _FIRST_FRAME,
        _column("frame", pa.int32(), "first frame that the map is about"),
        _column(
            "span_frames",
            pa.int32(),
            "how many frames it is about: 1 for a picture, 2 for a flow map, of a clip's cell of time those until the "
            "next cell",
        ),
        _MODEL,
        _METHOD,
        _LAYER,
        _TARGET,
        _column("box_x", pa.int32(), "left edge, in pixels of `frame`, of the box the map lies over"),
        _column("box_y", pa.int32(), "top edge of the box"),
        _column("box_width", pa.int32(), "width of the box"),
        _column("box_height", pa.int32(), "height of the box"),
        _column("input_size", pa.int32(), "side of the model's square input in pixels; the box is scaled to it"),
        _column("height", pa.int32(), "rows of saliency"),
        _column("width", pa.int32(), "columns of saliency"),
        _column(
            "saliency",
            pa.list_(pa.float16()),
            "the map at the size the method gives, row by row, divided by scale; NULL where error_code says why",
            null=True,
        ),
        _column("scale", pa.float32(), "power of two to multiply saliency by; NULL without a map", null=True),
        _column("unit", pa.string(), "of saliency * scale"),
        _column("empty", pa.bool_(), "true where the map says that nothing was needed; NULL without a map", null=True),
        _column(
            "seconds",
            pa.float64(),
            "the sample's share of the time its batch took, over its cells of time if it is a clip",
        ),
        _column(
            "evaluations",
            pa.int32(),
            "passes of the network made for the map, of a clip for all its cells of time, one with a gradient like one "
            "without; those of a bottleneck go through the network above it; NULL in lakes from before they were "
            "counted",
            null=True,
        ),
        _column("error_code", pa.string(), "key of schemas.errors.ERROR_CODES; NULL where there is a map", null=True),
        _column(
            "total_bits", pa.float64(), "bits that pass the bottleneck, over all elements and cells of time", null=True
        ),
        _column(
            "floor_bits",
            pa.float64(),
            "bits that would pass if no class pulled: what the same fit leaves without the network; of a readout what "
            "passes at alpha's lower bound. A map of less than 1.05 times as many is empty",
            null=True,
        ),
        _column(
            "loss_first",
            pa.float64(),
            "cross-entropy + beta * mean KL (nats) in the first pass that asks the network; NULL without steps",
            null=True,
        ),
        _column("loss_last", pa.float64(), "the same in the pass the map belongs to; NULL without", null=True),
    ],
    parents=(VIDEOS,),  # its first_frame is that of a prediction: queries/checks/pairs.sql
    chain=EXPLAIN,
)

CLOSED: Final = _table(
    "closed",
    "one row per (model, layer, class) of the layers that there are statistics of; none where other paths lead round "
    "the layer",
    ("run_id", "model", "layer", "class"),
    [
        _RUN_ID,
        _MODEL,
        _LAYER,
        _column("class", pa.string(), "class the row is about, by name"),
        _column(
            "probability",
            pa.float64(),
            "its probability with the bottleneck closed (lambda 0): of noise alone, mean over 64 draws",
        ),
        _column("rank", pa.int32(), "1 for the most probable class"),
    ],
    parents=(RUNS,),
)

METRICS: Final = _table(
    "metrics",
    "one row per (video, model, method, layer, target, mask rule)",
    ("run_id", "video_id", "model", "method", "layer", "target", "mask_rule"),
    [
        _RUN_ID,
        _VIDEO_ID,
        _MODEL,
        _METHOD,
        _LAYER,
        _TARGET,
        _column("mask_rule", pa.string(), "how saliency becomes a mask: max0.5, top0.1, otsu"),
        _column("n_frames", pa.int32(), "maps; those with an error_code are left out"),
        _column("n_empty", pa.int32(), "those of them that are empty: their mask is"),
        _column(
            "iou", pa.float64(), "mean IoU of consecutive masks; NULL where no pair has a highlighted pixel", null=True
        ),
        _column("iou_adjusted", pa.float64(), "mean (IoU - chance) / (1 - chance); NULL where undefined", null=True),
        _column("tcs", pa.float64(), "mean highlighted share of the frame (VIBA eq. 3)"),
        _column("persistence", pa.float64(), "mean share of frames in which an ever highlighted pixel is", null=True),
        _column(
            "rpi",
            pa.float64(),
            "mean centroid step over the diagonal (VIBA eq. 4); NULL below two centroids",
            null=True,
        ),
    ],
    parents=(MASKS,),
    chain=EXPLAIN,
)

TRUTH: Final = _table(
    "truth",
    "one row per (video, keyframe with a face) of the videos with a truth_uri",
    ("run_id", "video_id", "frame"),
    [
        _RUN_ID,
        _VIDEO_ID,
        _FRAME,
        _column("height", pa.int32(), "rows of mask"),
        _column("width", pa.int32(), "columns of mask"),
        _column("mask", pa.list_(pa.uint8()), "255 times the mean of the blending mask m in each cell of the crop box"),
        _column("area", pa.float64(), "share of the crop box's pixels with m > 0"),
        _column(
            "areas",
            pa.list_(pa.float64()),
            "the same share in this frame and each one after it, over the boxes of the column track of frames: which "
            "frames of a clip are forged; NULL where no clip of a face is cut, and in lakes of before",
            null=True,
        ),
    ],
    parents=(FRAMES,),
    chain=EXPLAIN,
)

LOCALISATION_FRAMES: Final = _table(
    "localisation_frames",
    "one row per (video, frame, model, method, layer, target) of a map over the face whose box holds forged pixels by "
    "the table truth",
    ("run_id", "video_id", "first_frame", "frame", "model", "method", "layer", "target"),
    [
        _RUN_ID,
        _VIDEO_ID,
        _FIRST_FRAME,
        _FRAME,
        _MODEL,
        _METHOD,
        _LAYER,
        _TARGET,
        _column("heat_inside", pa.float64(), "share of the saliency in the forged region; NULL without any", null=True),
        _column("rra", pa.float64(), "relevance rank accuracy; NULL without any saliency", null=True),
        _column("chance", pa.float64(), "share of the input in the forged region: what uniform saliency scores"),
        _column(
            "pointing",
            pa.bool_(),
            "the maximum is in the forged region or within 15 input pixels; NULL without any saliency",
            null=True,
        ),
        _column(
            "pointing_chance",
            pa.float64(),
            "share of the input in the forged region or within 15 pixels of it; NULL in lakes of before",
            null=True,
        ),
        _column("ehr", pa.float64(), "effective heat ratio (InputIBA); NULL without any saliency", null=True),
        _column(
            "auroc",
            pa.float64(),
            "probability that a forged pixel is hotter than another one, ties count half; chance is .5. NULL without "
            "any saliency and where the region fills the input",
            null=True,
        ),
    ],
    parents=(MASKS, TRUTH),
    chain=EXPLAIN,
)

#: what tells a map from every other one of its video
_MAP: Final = (_FIRST_FRAME, _FRAME, _MODEL, _METHOD, _LAYER, _TARGET)
_MAP_KEY: Final = MASKS.key

JUDGED: Final = _table(
    "judged",
    "one row per video that was judged",
    ("run_id", "video_id"),
    [
        _RUN_ID,
        _VIDEO_ID,
        _column("status", pa.string(), "ok or error"),
        _column("error_stage", pa.string(), "stage that failed; NULL unless status is error", null=True),
        _column("error_code", pa.string(), "key of schemas.errors.ERROR_CODES; NULL unless status is error", null=True),
        _column("error_detail", pa.string(), "one line; NULL unless status is error", null=True),
        _column("n_frames", pa.int32(), "frames of it that models were asked about", null=True),
        _column("passes", pa.int64(), "inputs that went through a model for them, forth or forth and back", null=True),
        _column("judge_s", pa.float64(), "seconds for all of it", null=True),
    ],
    parents=(VIDEOS,),
    chain=JUDGE,
)

JUDGED_MAPS: Final = _table(
    "judged_maps",
    "one row per (video, frame, model, method, layer, target, variant): every map of a judged video, without a model",
    (*_MAP_KEY, "variant"),
    [
        _RUN_ID,
        _VIDEO_ID,
        *_MAP,
        _VARIANT,
        _column("gini", pa.float64(), "Gini of its positive part on the common grid; NULL without any", null=True),
        _column("entropy", pa.float64(), "its entropy over that of a uniform map; NULL without any", null=True),
        _column("half", pa.float64(), "least share of the cells that holds half of it; NULL without any", null=True),
        _column(
            "auroc",
            pa.float64(),
            "probability that a forged pixel is hotter than another one, ties count half; chance is .5. NULL where the "
            "map does not lie over a face that is known to be forged in part",
            null=True,
        ),
        _column(
            "same_map",
            pa.float64(),
            "mean correlation with the maps of other videos for the same target, on the common grid; NULL where it or "
            "all of these are constant, and of a variant",
            null=True,
        ),
    ],
    parents=(MASKS, JUDGED),
    chain=JUDGE,
)

FAITHFULNESS: Final = _table(
    "faithfulness",
    "one row per (video, frame, model, method, layer, target, variant, metric, fill)",
    (*_MAP_KEY, "variant", "metric", "fill"),
    [
        _RUN_ID,
        _VIDEO_ID,
        *_MAP,
        _VARIANT,
        _column("metric", pa.string(), "what was measured, operators.measures.faithfulness.METRICS"),
        _column("fill", pa.string(), "what stood for removed cells: blur, mean, zero, road; of an attack its kind"),
        _column("value", pa.float64(), "NULL where the metric is not defined", null=True),
    ],
    parents=(JUDGED_MAPS,),
    chain=JUDGE,
)

FAITHFULNESS_CURVES: Final = _table(
    "faithfulness_curves",
    "one row per (video, frame, model, method, layer, target, variant, order of removal, fill)",
    (*_MAP_KEY, "variant", "removal", "fill"),
    [
        _RUN_ID,
        _VIDEO_ID,
        *_MAP,
        _VARIANT,
        _column("removal", pa.string(), "morf: the most relevant cells first; lerf: the least relevant"),
        _column("fill", pa.string(), "what stood for removed cells"),
        _column("removed", pa.list_(pa.float64()), "shares of the cells that were removed"),
        _column("probability", pa.list_(pa.float64()), "the target's probability at each of them"),
    ],
    parents=(JUDGED_MAPS,),
    chain=JUDGE,
)

SANITY: Final = _table(
    "sanity",
    "one row per (video, frame, model, method, layer, target, test, place, seed)",
    (*_MAP_KEY, "test", "place", "seed"),
    [
        _RUN_ID,
        _VIDEO_ID,
        *_MAP,
        _column("test", pa.string(), "what was changed to explain again: weights, class or labels"),
        _column("place", pa.string(), "of weights the lowest changed layer; of class the other class; else empty"),
        _column("seed", pa.int32(), "of the permutation; 0 where nothing is drawn"),
        _column("depth", pa.float64(), "of weights the share of the layers that were changed; else 1"),
        _column(
            "similarity",
            pa.float64(),
            "Spearman correlation of the two maps on the common grid, 0 where only the new one is constant; NULL where "
            "the stored one is",
            null=True,
        ),
    ],
    parents=(MASKS, JUDGED),
    chain=JUDGE,
)

REGIONS: Final = _table(
    "regions",
    "one row per (video, frame, model, method, layer, target, region) of a map over the face, six regions to a map",
    (*_MAP_KEY, "region"),
    [
        _RUN_ID,
        _VIDEO_ID,
        *_MAP,
        _column("region", pa.string(), "one of FACE_REGIONS; together they are the whole input"),
        _column("heat", pa.float64(), "share of the saliency in the region; NULL without any", null=True),
        _column("area", pa.float64(), "share of the input in the region: what uniform saliency scores"),
        _column("source", pa.string(), "of the landmarks: mesh, the name of a dlib file, or box for its proportions"),
    ],
    parents=(MASKS, JUDGED),
    chain=JUDGE,
)

ANNOTATIONS: Final = _table(
    "annotations",
    "one row per (annotator, video, showing)",
    ("annotator", "video_id", "showing"),
    [
        _column("annotator", pa.string(), "who was asked"),
        _VIDEO_ID,
        _column("showing", pa.int32(), "1 for the first time the annotator saw the video, 2 for a repeat"),
        _column(
            "regions", pa.list_(pa.string()), "those of FACE_REGIONS that look manipulated; none where nothing does"
        ),
        _column("confidence", pa.int32(), "1 (a guess) to 5 (certain); NULL where it was not asked", null=True),
        _column("answered_at", _TIME, "when the answer was given; NULL where it was not kept", null=True),
        _column("source", pa.string(), "name of the file the answer came in"),
    ],
)

CURVES: Final = _table(
    "curves",
    "one row per (training, epoch)",
    ("training_id", "epoch"),
    [
        _column("training_id", pa.string(), "hash of what was trained, how, from which weights and on which videos"),
        _MODEL,
        _column("epoch", pa.int32(), "from 0"),
        _column("train_loss", pa.float64(), "mean cross-entropy over the epoch's batches, in nats"),
        _column("val_loss", pa.float64(), "cross-entropy on the split val, classes balanced, after the epoch, in nats"),
        _column("val_accuracy", pa.float64(), "share of the split val, classes balanced, above 0.5 for their class"),
    ],
)

_TCAV_ID = _column(
    "tcav_id", pa.string(), "hash of the model, its weights, the class, the clips and how vectors were learned"
)
_CONCEPT = _column(
    "concept", pa.string(), "what the vector points to, as `face dynamic`; empty for a random set against another"
)
_AGAINST = _column("against", pa.string(), "the concept it points away from; empty for random clips")
_RANDOM_SET = _column("random_set", pa.int32(), "number of the random set, or of the draw of halves; from 0")

CONCEPTS: Final = _table(
    "concepts",
    "one row per (analysis, concept)",
    ("tcav_id", "concept"),
    [
        _TCAV_ID,
        _column("concept", pa.string(), "its name and kind, as `face dynamic`; `random` for clips of nothing"),
        _column("n_clips", pa.int32(), "clips of it that were used"),
        _column("n_videos", pa.int32(), "videos they are from"),
    ],
)

CAVS: Final = _table(
    "cavs",
    "one row per (analysis, layer, concept, what against, random set)",
    ("tcav_id", "layer", "concept", "against", "random_set"),
    [
        _TCAV_ID,
        _MODEL,
        _column("layer", pa.string(), "dotted name of the layer"),
        _CONCEPT,
        _AGAINST,
        _RANDOM_SET,
        _column("accuracy", pa.float64(), "share of held-out clips that it tells apart, both sides balanced"),
        _column("n_train", pa.int32(), "clips it was learned from"),
        _column("n_test", pa.int32(), "clips that were held out"),
        _column("seed", pa.int64(), "seed of the sets and of what is held out"),
    ],
)

TCAV_SCORES: Final = _table(
    "tcav_scores",
    "one row per (analysis, layer, concept, what against, random set)",
    ("tcav_id", "layer", "concept", "against", "random_set"),
    [
        _TCAV_ID,
        _MODEL,
        _column("layer", pa.string(), "dotted name of the layer"),
        _column("class", pa.string(), "class whose logit is asked, by name"),
        _CONCEPT,
        _AGAINST,
        _RANDOM_SET,
        _column("share", pa.float64(), "share of the class's clips whose logit grows along the vector"),
        _column(
            "magnitude", pa.float64(), "mean derivative along the vector over the mean length of the gradients: -1 to 1"
        ),
        _column("n_clips", pa.int32(), "clips of the class"),
        _column("layer_number", pa.int32(), "place of the layer among those asked, as the model runs them; from 0"),
    ],
)

#: tables of Video-TCAV: they belong to no run
TCAV_TABLES: Final = (CONCEPTS, CAVS, TCAV_SCORES)
#: tables a video row carries, nested, to the sink
NESTED: Final = (FRAMES, TRUTH, PREDICTIONS, MASKS, METRICS, LOCALISATION_FRAMES)
#: tables the sink writes, one file each per block of videos
SINK_TABLES: Final = (VIDEOS, *NESTED)
#: tables a row of a judged video carries, and all that judging writes
JUDGE_NESTED: Final = (JUDGED_MAPS, FAITHFULNESS, FAITHFULNESS_CURVES, SANITY, REGIONS)
JUDGE_TABLES: Final = (JUDGED, *JUDGE_NESTED)
#: tables of a run in a lake; CURVES and ANNOTATIONS belong to no run
LAKE_TABLES: Final = (RUNS, CLOSED, *SINK_TABLES, INPUTS, *JUDGE_TABLES)


def item(table: Table) -> pa.StructType:
    """The struct of one nested row of `table`: its columns without the ids that the video row carries."""
    return pa.struct([field for field in table.schema if field.name not in ("run_id", "video_id")])


#: one model input cut from one keyframe, a clip from those after it, too
INPUT: Final = item(INPUTS)

#: what travels between the stages: one row per video, results nested in it; the sink adds the run id
VIDEO_ROW: Final = pa.schema(
    [
        *[field for field in VIDEOS.schema if field.name != "run_id"],
        pa.field(INPUTS.name, pa.list_(INPUT), nullable=False),
        *[pa.field(table.name, pa.list_(item(table)), nullable=False) for table in NESTED],
    ]
)

#: what judging a video gives: one row, results nested in it
JUDGED_ROW: Final = pa.schema(
    [
        *[field for field in JUDGED.schema if field.name != "run_id"],
        *[pa.field(table.name, pa.list_(item(table)), nullable=False) for table in JUDGE_NESTED],
    ]
)
