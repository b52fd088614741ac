"""The first stage of every chain that reads videos: what a config wants cut from them."""

from operators.inputs.landmarks import VIEW as LANDMARK_VIEW
from operators.inputs.view import View
from operators.kept import Kept
from operators.prepare import prepare
from operators.stage import Stage
from pipelines.config import Config
from schemas.tables import VIDEO_ROW


def prepare_stage(config: Config, kept: tuple[Kept, ...] = (), views: tuple[View, ...] | None = None) -> Stage:
    """MANIFEST to VIDEO_ROW: keyframes, faces and the inputs the config's detectors want, or other `views`.

    What is in `kept` is not cut again.
    """
    kwargs = {"params": config.prepare, "limits": config.limits, "views": views or config.views, "kept": kept}
    return Stage("prepare", prepare, VIDEO_ROW, batch_size=1, kwargs=kwargs)


def all_views(config: Config) -> tuple[View, ...]:
    """What may ever be asked of the run's frames: what models see, the pictures it was made from, and for faces what
    landmarks are found in."""
    views = {*config.views, *(view.picture for view in config.views)}
    if any(view.part == LANDMARK_VIEW.part for view in views):
        views.add(LANDMARK_VIEW)
    return tuple(sorted(views, key=str))
