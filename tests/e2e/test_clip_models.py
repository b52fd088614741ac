"""A model of clips all the way: cells of time in the tables, the checks, the pictures and the page."""

from collections import defaultdict

import av
import numpy as np
import pytest

from operators.forging.portrait import make_clips
from operators.models.spec import spec_for
from pipelines import config as configs
from pipelines.lake.read import open_lake
from pipelines.tune_fep import SHARES

N_FRAMES = 18


@pytest.fixture(scope="module")
def lake(viba, tmp_path_factory):
    """Of two clips with a face and one that is too short, by a bottleneck, a gradient and a control."""
    folder = tmp_path_factory.mktemp("clips")
    make_clips(folder / "videos", n_real=1, n_fake=1, frames_per_clip=N_FRAMES)
    make_clips(folder / "short", n_real=1, n_fake=0, frames_per_clip=6)
    videos = [
        *(folder / "videos/real").iterdir(),
        *(folder / "videos/fake").iterdir(),
        *(folder / "short/real").iterdir(),
    ]
    methods = [part for name in ("iba", "gradcam", "centre") for part in ("--method", name)]
    model = ("--model", "small3d", "--max-keyframes", "1", "--set", "bottleneck.draws=1")
    said = viba("explain", *videos, "--lake", folder / "lake", *model, *methods).out
    assert "the noise is like all of these videos, 1 forged ones among them" in said
    return folder / "lake"


def test_a_row_for_each_cell_of_time(lake):
    view = spec_for("small3d").view
    with open_lake(lake) as connection:
        status = connection.sql("select status, error_code, count(*) from videos group by all order by all").fetchall()
        cells = connection.sql(
            "select video_id, method, first_frame, frame, span_frames, saliency, total_bits from masks order by all"
        ).fetchall()
    assert status == [("error", "too_short", 1), ("ok", None, 2)]
    found = defaultdict(list)
    for video_id, method, first, frame, span, saliency, bits in cells:
        assert np.isfinite(saliency).all()
        assert (bits is not None) == (method == "iba")
        found[video_id, method].append((frame - first, span))
    assert len(found) == 2 * 3
    length = (view.frames - 1) * view.step + 1  # from the first picture to the last
    for (_, method), times in found.items():
        n = 1 if method == "centre" else 4  # cells of layer2
        begins = [round(cell * view.frames / n) * view.step for cell in range(n)]
        ends = [*begins[1:], length]
        assert times == [(begin, end - begin) for begin, end in zip(begins, ends, strict=True)]


def test_checks_pictures_and_page(lake, viba):
    assert "checks that passed: keys" in viba("evaluate", "--lake", lake).out
    with open_lake(lake) as connection:
        ((video_id,),) = connection.sql("select video_id from videos where label = 'fake'").fetchall()
    viba("render", "--lake", lake, video_id)
    with av.open(str(lake / f"renders/{video_id}.mp4")) as video:
        assert sum(1 for _ in video.decode(video=0)) == N_FRAMES
    viba("report", "--lake", lake)
    page = (lake / "report.html").read_text()
    assert "small3d" in page
    assert video_id in page


def test_cut_offs_are_found_and_taken(viba, tmp_path):
    make_clips(tmp_path / "videos", n_real=0, n_fake=1, frames_per_clip=N_FRAMES)
    few = [part for each in ("steps=2", "areas=[0.1]") for part in ("--set", f"budget.fep.{each}")]
    model = ("--model", "small3d", "--view", "clip")
    out = tmp_path / "fep.toml"
    said = viba("tune-fep", tmp_path / "videos/fake", "--out", out, *model, *few).out
    assert "are best on 1 videos" in said
    config = configs.build(configs.load(out, []), ["small3d"], [], {})
    assert {config.budget.fep.keep_time, config.budget.fep.keep_space} <= set(SHARES)
    assert f"keep_time {config.budget.fep.keep_time:g}, keep_space {config.budget.fep.keep_space:g} are best" in said


def test_judged_clip_by_clip(lake, viba):
    few = ("judge.steps=3", "judge.sensitivity_sets=2", "judge.sanity_frames=1", "judge.sanity_depths=1")
    settings = [part for each in (*few, 'judge.variants=["mean_map"]') for part in ("--set", each)]
    said = viba("judge", "--lake", lake, *settings).out
    assert "models are asked about 2 of 2 explained frames" in said
    with open_lake(lake) as connection:
        scores = connection.sql(
            "select method, variant, metric, count(*), count(distinct video_id) from faithfulness where fill = 'blur' "
            "group by all order by all"
        ).fetchall()
        ((n_maps, n_judged),) = connection.sql(
            "select (select count(*) from masks), (select count(*) from judged_maps where variant = '')"
        ).fetchall()
        ((most,),) = connection.sql("select max(passes) from judged").fetchall()
        tested = connection.sql("select distinct method, test from sanity order by all").fetchall()
    metrics = ("deletion", "insertion", "sensitivity_n", "srg", "srg_norm")
    names = [(method, variant) for method in ("centre", "gradcam", "iba") for variant in ("", "mean_map")]
    # one for each clip, however many cells of time its maps have; a picture's other tests are not for clips
    assert scores == [(*name, metric, 2, 2) for name in names for metric in metrics]
    assert n_maps == n_judged == 2 * (1 + 4 + 4)
    assert most <= 1 + 2 * 2 + 8 * 2 + 6 * 2 * 2 * 2
    assert tested == [(method, test) for method in ("centre", "gradcam", "iba") for test in ("class", "weights")]
    assert "checks that passed: keys" in viba("evaluate", "--lake", lake).out
