"""The first stage of every chain that reads videos: what a config wants cut from them."""

from operators.prepare import prepare
from operators.stage import Stage
from pipelines.config import Config
from schemas.tables import VIDEO_ROW


def prepare_stage(config: Config) -> Stage:
    """MANIFEST to VIDEO_ROW: keyframes, faces and the inputs the config's detectors want."""
    kwargs = {"params": config.prepare, "limits": config.limits, "views": config.views}
    return Stage("prepare", prepare, VIDEO_ROW, batch_size=1, kwargs=kwargs)
