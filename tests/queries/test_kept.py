"""From which runs of a lake another one takes what it would have to cut."""

from dataclasses import replace

import pytest

from operators.inputs.view import View
from operators.kept import Kept
from operators.video.keyframes import KeyframeParams
from pipelines import config as configs
from pipelines.config import Config
from pipelines.lake.kept import kept_for
from pipelines.lake.layout import Layout


def config(*views: View, keyframes: int = 4) -> Config:
    """Of one detector for each view."""
    found = configs.build({}, ["resnet10t"], ["layer3"], {})
    (detector,) = found.detectors
    detectors = [
        replace(detector, spec=replace(detector.spec, name=f"m{place}", view=view)) for place, view in enumerate(views)
    ]
    prepare = replace(found.prepare, keyframes=KeyframeParams(max_keyframes=keyframes))
    return replace(found, detectors=tuple(detectors), prepare=prepare)


FACE, FLOW, FRAME = View(64), View(64, shows="flow"), View(64, part="frame")
OTHER = config(FACE, FLOW)


@pytest.fixture
def kept(make_lake):
    """kept(config, ...) -> by the names of runs what the lake has for a config."""

    def of(wanted: Config, text: str = OTHER.to_json(), keeps: bool = True) -> list[Kept]:
        videos = {"videos": [{"video_id": "v"}, {"video_id": "w"}]} | ({"inputs": []} if keeps else {})
        layout = Layout(make_lake({"runs": [{"config": text}]} | videos, "r7"))
        layout.table("r7", "runs").joinpath("a.parquet").rename(layout.table("r7", "runs") / "run.parquet")
        return list(kept_for(layout, wanted))

    return of


@pytest.mark.parametrize("wanted", [OTHER, config(FACE), config(FLOW, FACE), replace(OTHER, methods=("gradcam",))])
def test_of_a_run_that_was_cut_alike_and_has_every_view(kept, wanted):
    (found,) = kept(wanted)
    assert found.folder.name == "run_id=r7"
    assert set(found.blocks) == {"v", "w"}
    assert {str(FACE), str(FLOW)} <= found.views


@pytest.mark.parametrize("wanted", [config(FACE, View(96)), config(FACE, keyframes=5), config(FACE, FRAME)])
def test_not_of_one_that_was_cut_otherwise(kept, wanted):
    assert kept(wanted) == []


def test_not_of_one_that_keeps_nothing_or_whose_row_is_another_versions(kept):
    assert kept(OTHER, keeps=False) == []
    assert kept(OTHER, text="{}") == []
