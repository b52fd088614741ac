"""What passes between processes or lies on disk beside the tables of a lake, one schema each."""

from typing import Final

import pyarrow as pa

#: one row per model input cut for training
SAMPLE: Final = pa.schema(
    [
        pa.field("video_id", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("label", pa.string(), nullable=False),
        pa.field("pair", pa.string(), nullable=False),
        pa.field("frame", pa.int32(), nullable=False),
        pa.field("view", pa.string(), nullable=False),
        pa.field("pixels", pa.binary(), nullable=False),
    ]
)

#: one row per genuine video
FORGED: Final = pa.schema(
    [
        pa.field("video_id", pa.string(), nullable=False),
        pa.field("status", pa.string(), nullable=False),
        pa.field("error_code", pa.string()),
        pa.field("error_detail", pa.string()),
        pa.field("manipulations", pa.list_(pa.string()), nullable=False),
        pa.field("forge_s", pa.float64(), nullable=False),
    ]
)

#: what a worker that collects statistics hands over: one row per layer of a batch of videos
PARTIAL: Final = pa.schema(
    [
        pa.field("model", pa.string(), nullable=False),
        pa.field("layer", pa.string(), nullable=False),
        pa.field("n", pa.int64(), nullable=False),
        pa.field("shape", pa.list_(pa.int32()), nullable=False),
        pa.field("mean", pa.binary(), nullable=False),
        pa.field("m2", pa.binary(), nullable=False),
        pa.field("nonzero", pa.binary(), nullable=False),
    ]
)

REPORT: Final = pa.schema(
    [
        pa.field("problem", pa.string(), nullable=False, metadata={"meaning": "key of PROBLEMS"}),
        pa.field("path", pa.string(), nullable=False, metadata={"meaning": "below the dataset's root, or as listed"}),
        pa.field("detail", pa.string(), nullable=False, metadata={"meaning": "one line; empty where none is needed"}),
    ]
)

#: one row per clip of a concept, or of none (concept and kind are `random`)
CONCEPT_CLIP: Final = pa.schema(
    [
        pa.field("clip_id", pa.string(), nullable=False),
        pa.field("video_id", pa.string(), nullable=False),
        pa.field("concept", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False, metadata={"meaning": "static, dynamic or random"}),
        pa.field("frame", pa.int32(), nullable=False),
        pa.field("x", pa.int32(), nullable=False),
        pa.field("y", pa.int32(), nullable=False),
        pa.field("width", pa.int32(), nullable=False),
        pa.field("height", pa.int32(), nullable=False),
        pa.field("pixels", pa.binary(), nullable=False),
    ]
)

#: what a layer gives of a clip; of the class's own clips, without a concept, the gradient of its logit there
ACTIVATION: Final = pa.schema(
    [
        pa.field("clip_id", pa.string(), nullable=False),
        pa.field("concept", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("layer", pa.string(), nullable=False),
        pa.field("scale", pa.float64(), nullable=False),
        pa.field("values", pa.binary(), nullable=False, metadata={"meaning": "float16, over scale"}),
    ]
)

#: a clip that goes through a model; without a concept it is one of the class
CLIP: Final = pa.schema(
    [ACTIVATION.field("clip_id"), ACTIVATION.field("concept"), ACTIVATION.field("kind"), CONCEPT_CLIP.field("pixels")]
)

#: insertion minus deletion of one input's map by F-EP under a pair of cut-offs
CUTOFF: Final = pa.schema(
    [
        pa.field("video_id", pa.string(), nullable=False),
        pa.field("frame", pa.int32(), nullable=False),
        pa.field("keep_time", pa.float64(), nullable=False),
        pa.field("keep_space", pa.float64(), nullable=False),
        pa.field("srg", pa.float64(), nullable=False),
    ]
)
