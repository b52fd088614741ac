"""How every command reads its videos and cuts model inputs from them."""

from pathlib import Path

import ray
from ray.data import Dataset

from operators.prepare import prepare
from operators.stage import Stage
from pipelines.config import Config
from schemas.tables import VIDEO_ROW


def read_videos(manifest_file: Path, config: Config) -> Dataset:
    """The rows of a manifest (Parquet) in blocks of `resources.videos_per_block`."""
    # a manifest read without repartition is one block, and saves no progress before its end
    return ray.data.read_parquet(str(manifest_file)).repartition(
        target_num_rows_per_block=config.resources.videos_per_block
    )


def prepare_stage(config: Config) -> Stage:
    """MANIFEST to VIDEO_ROW: keyframes, faces and the inputs the config's detectors want."""
    kwargs = {"params": config.prepare, "limits": config.limits, "inputs": config.inputs}
    return Stage("prepare", prepare, VIDEO_ROW, batch_size=1, kwargs=kwargs)
