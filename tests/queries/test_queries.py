"""Every query binds against empty tables and keeps the house's form; the report counts what is there."""

import re
from datetime import UTC, datetime

import pytest

from pipelines import league
from pipelines.lake.read import QUERIES, queries
from tests.queries.conftest import views_of

FAILED_MAP = {"error_code": "explain_failed", **dict.fromkeys(("saliency", "scale", "empty", "total_bits"))}
FILES = sorted(path.relative_to(QUERIES).as_posix() for path in QUERIES.rglob("*.sql"))
COLUMNS = {
    "table1": "dataset label n_videos",
    "table2": "model method n accuracy precision recall ece",
    "table3": "model method layer target mask_rule label iou iou_adjusted tcs persistence rpi n_videos n_maps n_empty",
    "table4": "model method layer target measure n_videos n_people n_map value chance p",
    "figure2": "model method layer target region n_videos people map match chance p",
    "agreement": "who item n_videos n_values same alpha low high",
    "localisation": "model method layer target rightly n_maps n_empty heat_inside rra chance ehr auroc "
    "heat_inside_adjusted rra_adjusted pointing pointing_chance pointing_adjusted",
    "table3_thresholds": "model method layer target label threshold n_videos n_maps iou iou_adjusted tcs",
    "league": "model layer method srg auroc adv_drop adv_drop_nes adv_gain srg_mean road sensitivity_n iou_adjusted "
    "gini empty failed seconds sanity n_persons n_videos n_frames",
    "duplicates": "video_id split label other_id other_split other_label n_alike distance uri other_uri n_frames",
    "emptiness": "model method layer target label n_maps n_empty n_noise n_enough n_neither p_noise most_empty "
    "least_other median_other",
}


def test_there_are_queries():
    folders = {"against", "annotate", "checks", "export", "judge", "league", "render", "report", "samples", "summary"}
    folders |= {"tables", "views"}
    assert {file.split("/")[0] for file in FILES} == folders


@pytest.fixture(scope="module")
def empty():
    """Tables without a row."""
    with views_of({}) as lake:
        league.prepare(lake)
        yield lake


@pytest.mark.parametrize("file", FILES)
def test_query_runs_on_empty_tables(empty, file):
    query = (QUERIES / file).read_text()
    names = set(re.findall(r"(?<=\$)\w+", query))
    params = {name: [] if name == "video_ids" else "" for name in names} if names else None
    assert empty.sql(query, params=params).fetchall() == []


@pytest.mark.parametrize("file", FILES)
def test_query_has_the_form(file):
    lines = (QUERIES / file).read_text().splitlines()
    header = [line for line in lines if line.startswith("--")]
    assert header == lines[: len(header)]
    assert any(line.startswith("-- Grain: ") for line in header)
    assert lines[len(header)].startswith("with ")
    assert lines[-2:] == ["", "select * from final"]


@pytest.mark.parametrize("name", COLUMNS)
def test_table_has_the_columns(empty, name):
    assert empty.sql(queries("tables")[name]).columns == COLUMNS[name].split()


def test_full_heat_is_what_three_of_four_maps_stay_below(views):
    maps = [{"frame": frame, "saliency": [frame / 16, 0.0], "scale": 4.0} for frame in range(1, 11)]
    with views(
        masks=[
            *maps,
            *({**row, "frame": 20 + row["frame"], "empty": True, "scale": 64.0} for row in maps),
            {"frame": 1, "layer": "all empty", "empty": True},
            {"frame": 1, "method": "cam", "saliency": [-1.0, 0.5]},
            {"frame": 2, "method": "cam", **FAILED_MAP},
        ]
    ) as lake:
        found = lake.sql(queries("render")["scales"], params={"run_id": "r1"}).fetchall()
    assert sorted(found) == [("m", "cam", "l", 1.0), ("m", "iba", "l", 8 / 4)]


def test_report_counts(views):
    failed = {"status": "error", "error_stage": "prepare"}
    with views(
        videos=[
            {"video_id": "a", "prepare_s": 1.0, "explain_s": 4.0, "metrics_s": 0.5},
            {"video_id": "b", "prepare_s": 2.0, "status": "no_face"},
            {"video_id": "c", "uri": "y", "error_code": "empty_file", "error_detail": "second", **failed},
            {"video_id": "d", "uri": "x", "error_code": "empty_file", "error_detail": "first", **failed},
            {
                "video_id": "e",
                "uri": "z",
                "error_code": "not_found",
                "error_detail": "third",
                **failed,
                "prepare_s": 0.5,
            },
        ],
        masks=[
            {"video_id": "a", "frame": 0, "total_bits": 10.0, "seconds": 1.0},
            {"video_id": "a", "frame": 1, "total_bits": 20.0, "seconds": 2.0},
            # explained for the other class too: one map is empty, one could not be made
            {"video_id": "a", "frame": 0, "target": "real", "empty": True, "total_bits": 0.0, "seconds": 6.0},
            {"video_id": "a", "frame": 1, "target": "real", **FAILED_MAP, "seconds": 7.0},
            {"video_id": "b", "method": "cam", "layer": "", "total_bits": None, "seconds": 0.5},
        ],
    ) as lake:
        report = {name: lake.sql(query).fetchall() for name, query in queries("summary").items()}
    assert report == {
        "status": [("error", 3), ("no_face", 1), ("ok", 1)],
        "errors": [("prepare", "empty_file", 2, "x", "first"), ("prepare", "not_found", 1, "z", "third")],
        # of three maps with bits the mean is 10; a map that failed took its time all the same
        "explained": [("m", "cam", "", 1, 1, 0, 0, None, 0.5), ("m", "iba", "l", 1, 4, 1, 1, 10.0, 4.0)],
        "layers": [],
        "sources": [("d", None, None, 0, 0, 0, 5)],
        "seconds": [
            ("prepare", 3, 3.5, pytest.approx(3.5 / 3), 2.0),
            ("explain", 1, 4.0, 4.0, 4.0),
            ("metrics", 1, 0.5, 0.5, 0.5),
        ],
    }


def test_sources_count_each_split(views):
    splits = ["train"] * 4 + ["val"] * 2 + ["test", None]
    with views(videos=[{"video_id": str(n), "split": split} for n, split in enumerate(splits)]) as lake:
        assert lake.sql(queries("summary")["sources"]).fetchall() == [("d", None, None, 4, 2, 1, 8)]


def test_what_models_say_is_said_without_the_bottleneck_of_the_run_and_its_videos(views):
    through = {"method": "iba", "layer": "l", "target": "fake"}
    with views(
        predictions=[
            {"video_id": "v", "prob_fake": 0.75},
            {"video_id": "v", "prob_fake": 1.0, **through},
            {"video_id": "w", "prob_fake": 0.25},
            {"video_id": "x", "prob_fake": 0.5},
            {"run_id": "r2", "video_id": "v", "prob_fake": 0.875},
        ]
    ) as lake:
        found = lake.sql(queries("export")["said"], params={"run_id": "r1", "video_ids": ["v", "w"]}).fetchall()
    assert sorted(found) == [("v", 0, "m", "fake", 0.75), ("w", 0, "m", "real", 0.75)]


def test_of_ids_that_begin_alike_the_exact_one_comes_first_and_of_its_runs_the_latest(views):
    runs = [{"run_id": f"r{day}", "started_at": datetime(2026, 1, day, tzinfo=UTC)} for day in (1, 3, 2)]
    videos = [{"run_id": f"r{day}", "video_id": name} for day in (1, 2, 3) for name in ("ab", "abc")]
    with views(runs=runs, videos=[*videos, {"run_id": "r1", "video_id": "b"}]) as lake:
        found = lake.sql(queries("render")["video"], params={"video_id": "ab"}).fetchall()
    assert [row[:2] for row in found] == [
        *(("r3", "ab"), ("r2", "ab"), ("r1", "ab")),
        *(("r3", "abc"), ("r2", "abc"), ("r1", "abc")),
    ]


def test_a_detector_is_trained_on_what_the_latest_run_found(views):
    runs = [{"run_id": f"r{day}", "started_at": datetime(2026, 1, day, tzinfo=UTC)} for day in (1, 2)]
    videos = [{"run_id": run, "video_id": name} for run in ("r1", "r2") for name in ("v", "w", "x")]
    videos[4] |= {"status": "error", "error_stage": "prepare", "error_code": "empty_file"}  # r2's w
    videos[2] |= {"status": "no_face"}
    videos[5] |= {"status": "no_face"}
    with views(runs=runs, videos=videos) as lake:
        found = lake.sql(queries("samples")["explained"]).fetchall()
    assert [row[:2] for row in found] == [("r2", "v"), ("r1", "w")]


THROUGH = {"method": "iba", "layer": "l", "target": "fake"}
SCORED = {
    "videos": [
        *(
            {"video_id": name, "label": label}
            for name, label in (("v", "fake"), ("w", "real"), ("x", None), ("y", "cat"))
        ),
    ],
    "predictions": [
        *({"video_id": "v", "frame": frame, "prob_fake": p} for frame, p in ((0, 0.75), (4, 0.25))),
        {"video_id": "v", "prob_fake": 1.0, **THROUGH},
        *({"video_id": name, "prob_fake": 0.125} for name in "wxy"),
        {"video_id": "w", "model": "zoo", "class": "cat", "probability": 0.875},
    ],
}


def test_a_score_is_the_mean_of_what_the_model_alone_says_of_a_labelled_video(views):
    with views(**SCORED) as lake:
        found = lake.sql("select video_id, model, label, score from scores order by all").fetchall()
        league.prepare(lake)
        persons = lake.sql(queries("league")["predictions"]).fetchall()
    assert found == [("v", "m", "fake", 0.5), ("w", "m", "real", 0.125)]
    assert [(row[0], row[1], row[3], row[4]) for row in persons] == [("m", "v", 1.0, 0.5), ("m", "w", 0.0, 0.125)]


def test_only_videos_with_a_map_are_exported(views):
    videos = [{"video_id": each} for each in "vwx"] + [{"run_id": "r2", "video_id": "y"}]
    masks = [
        {"video_id": "v"},
        {"video_id": "v", "frame": 4, **FAILED_MAP},
        {"video_id": "w", **FAILED_MAP},
        {"run_id": "r2", "video_id": "x"},
        {"run_id": "r2", "video_id": "y"},
    ]
    with views(videos=videos, masks=masks) as lake:
        found = lake.sql(queries("export")["videos"], params={"run_id": "r1"}).fetchall()
    assert [row[0] for row in found] == ["v"]


def test_sanity_counts_videos_once(views):
    tests = [
        {"video_id": video, "frame": frame, "similarity": value}
        for video, frame, value in (("v", 0, 0.5), ("v", 4, -0.25), ("w", 0, 0.75))
    ]
    with views(sanity=tests) as lake:
        found = lake.sql(queries("report")["sanity"]).fetchall()
    assert found == [("m", "iba", "l", "weights", 1.0, "fc", 2, 0.5)]


def test_maps_to_draw_come_with_what_the_model_says_of_their_class(views):
    through = {"method": "iba", "layer": "l"}
    clip = {"span_frames": 4, "box_x": 8, "scale": 0.25}
    with views(
        frames=[{"frame": 0, "time_s": 0.0}, {"frame": 4, "time_s": 0.5}, {"video_id": "w"}],
        predictions=[
            {"frame": 0, "prob_fake": 0.75},
            {"frame": 0, "prob_fake": 0.625, **through, "target": "fake"},
            {"frame": 0, "prob_fake": 0.125, **through, "target": "real"},
            {"frame": 4, "prob_fake": 0.0},
            {"frame": 4, "prob_fake": 0.0, **through, "target": "fake"},
            {"video_id": "w", "prob_fake": 0.5},
        ],
        masks=[
            # one clip of two cells of time, explained for both classes, once without a bottleneck
            *({"first_frame": 0, "frame": frame, **clip, "target": "fake"} for frame in (0, 4)),
            *({"first_frame": 0, "frame": frame, **clip, "target": "real"} for frame in (0, 4)),
            {"frame": 0, "method": "cam", "layer": "", "target": "real", "total_bits": None},
            {"frame": 4, **FAILED_MAP},
            {"video_id": "w"},
        ],
    ) as lake:
        found = lake.sql(
            "select frame, time_s, method, target, span_frames, box_x, scale, probability, probability_bottleneck "
            f"from ({(QUERIES / 'render/maps.sql').read_text()}) order by all",
            params={"run_id": "r1", "video_ids": ["v"]},
        ).fetchall()
    assert found == [
        (0, 0.0, "cam", "real", 1, 0, 2.0, 0.25, None),
        (0, 0.0, "iba", "fake", 4, 8, 0.25, 0.75, 0.625),
        (0, 0.0, "iba", "real", 4, 8, 0.25, 0.25, 0.875),
        (4, 0.0, "iba", "fake", 4, 8, 0.25, 0.75, 0.625),  # the time is that of the clip's first frame
        (4, 0.0, "iba", "real", 4, 8, 0.25, 0.25, 0.875),
    ]
