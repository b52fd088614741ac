"""Every query binds against empty tables and keeps the house's form; the report counts what is there."""

import re

import pytest

from pipelines.lake.read import QUERIES, queries

FILES = sorted(path.relative_to(QUERIES).as_posix() for path in QUERIES.rglob("*.sql"))
COLUMNS = {
    "table1": "dataset label n_videos",
    "table2": "model bottleneck method n accuracy precision recall ece",
    "table3": "model method layer mask_rule label n_videos iou iou_adjusted tcs persistence rpi",
}


def test_there_are_queries():
    assert {file.split("/")[0] for file in FILES} == {"checks", "render", "samples", "summary", "tables"}


@pytest.mark.parametrize("file", FILES)
def test_query_runs_on_empty_tables(views, file):
    query = (QUERIES / file).read_text()
    names = set(re.findall(r"(?<=\$)\w+", query))
    with views() as lake:
        assert lake.sql(query, params=dict.fromkeys(names, "") if names else None).fetchall() == []


@pytest.mark.parametrize("file", FILES)
def test_query_has_the_form(file):
    lines = (QUERIES / file).read_text().splitlines()
    header = [line for line in lines if line.startswith("--")]
    assert header == lines[: len(header)]
    assert any(line.startswith("-- Grain: ") for line in header)
    assert lines[len(header)].startswith("with ")
    assert lines[-2:] == ["", "select * from final"]


@pytest.mark.parametrize("name", COLUMNS)
def test_table_has_the_columns(views, name):
    with views() as lake:
        assert lake.sql(queries("tables")[name]).columns == COLUMNS[name].split()


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
        masks=[{"video_id": "a", "frame": 0, "total_bits": 10.0}, {"video_id": "a", "frame": 1, "total_bits": 20.0}],
    ) as lake:
        report = {name: lake.sql(query).fetchall() for name, query in queries("summary").items()}
    assert report == {
        "status": [("error", 3), ("no_face", 1), ("ok", 1)],
        "errors": [("prepare", "empty_file", 2, "x", "first"), ("prepare", "not_found", 1, "z", "third")],
        "explained": [("m", "iba", "l", 1, 2, 15.0)],
        "sources": [("d", None, None, 0, 0, 0, 5)],
        "seconds": [
            ("prepare", 3, 3.5, pytest.approx(3.5 / 3), 2.0),
            ("explain", 1, 4.0, 4.0, 4.0),
            ("metrics", 1, 0.5, 0.5, 0.5),
        ],
    }
