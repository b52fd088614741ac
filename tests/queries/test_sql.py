"""`sql` prints what one SELECT gives and does nothing else."""

import csv
import io
import json

import pytest

from pipelines.errors import UserError
from pipelines.sql import TABLE_ROWS, sql
from tests.queries.conftest import write_lake

ODD = {"video_id": "a", "uri": 'Müller, "x"\n\x1b[31m.mp4', "label": None, "fps": 25.0, "n_frames": 3}


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    rows = {"runs": [{}], "videos": [ODD, {"video_id": "b", "fps": float("nan")}], "masks": [{"saliency": [0.5] * 9}]}
    return write_lake(rows, lake=tmp_path_factory.mktemp("sql") / "lake")


def printed(capsys, lake, statement, format):
    sql(lake, statement, format)
    return capsys.readouterr().out


def test_json_is_one_array_of_objects(capsys, lake):
    rows = json.loads(
        printed(capsys, lake, "select video_id, uri, label, fps, n_frames from videos order by 1", "json")
    )
    assert rows == [ODD, {"video_id": "b", "uri": "", "label": None, "fps": None, "n_frames": 9}]


def test_json_of_nothing_is_an_empty_array(capsys, lake):
    assert json.loads(printed(capsys, lake, "select * from videos where false", "json")) == []


def test_json_knows_no_types_of_sql(capsys, lake):
    statement = """select started_at, started_at::date as day, sum(7) as total, 1.25::decimal(5, 2) as share,
        [1, null] as list, {'x': 1} as struct, 'ab'::blob as bytes, true as flag from runs group by started_at"""
    assert json.loads(printed(capsys, lake, statement, "json")) == [
        {"started_at": "2026-01-01T00:00:00+00:00", "day": "2026-01-01", "total": 7, "share": 1.25}
        | {"list": [1, None], "struct": {"x": 1}, "bytes": "6162", "flag": True}
    ]


def test_json_refuses_to_lose_a_column(lake):
    with pytest.raises(UserError, match="same name"):
        sql(lake, "select 1 as a, 2 as a", "json")


def test_csv_keeps_every_character_and_leaves_null_empty(capsys, lake):
    statement = "select uri, label, fps, [1, 2] as list, true as flag from videos where video_id = 'a'"
    rows = list(csv.reader(io.StringIO(printed(capsys, lake, statement, "csv"), newline="")))
    assert rows == [["uri", "label", "fps", "list", "flag"], [ODD["uri"], "", "25.0", "[1, 2]", "true"]]


def test_csv_gives_every_row(capsys, lake):
    assert printed(capsys, lake, "select range as n from range(5000)", "csv").split() == ["n", *map(str, range(5000))]


def test_no_progress_bar_is_drawn_into_the_rows(capfd, lake):
    # a query of several seconds draws one from within DuckDB
    sql(lake, "select current_setting('enable_progress_bar') as bar", "csv")
    assert capfd.readouterr().out == "bar\nfalse\n"


def test_table_says_what_has_no_value_and_shortens_lists(capsys, lake):
    out = printed(capsys, lake, "select saliency, loss_first, null as nothing from masks", "table")
    assert "[0.500, 0.500, 0.500, ... 9 in all]" in out
    assert out.endswith("without a value: nothing\n")


def test_table_shows_a_file_name_without_obeying_it(capsys, lake):
    out = printed(capsys, lake, "select uri from videos where video_id = 'a'", "table")
    assert 'Müller, "x"��[31m.mp4' in out
    assert "\x1b" not in out


def test_table_takes_brackets_for_brackets(capsys, lake):
    assert "[bold]x[/]" in printed(capsys, lake, "select '[bold]x[/]' as x", "table")


def test_table_in_a_pipe_cuts_nothing(capsys, lake):
    assert "x" * 500 in printed(capsys, lake, f"select '{'x' * 500}' as x", "table")


def test_table_stops_and_says_so(capsys, lake):
    out = printed(capsys, lake, f"select range as n from range({TABLE_ROWS + 1})", "table")
    assert f"the first {TABLE_ROWS} rows" in out
    assert f" {TABLE_ROWS} " not in out.replace(f"first {TABLE_ROWS} rows", "")
    assert "the first" not in printed(capsys, lake, f"select range as n from range({TABLE_ROWS})", "table")


@pytest.mark.parametrize(
    "statement",
    ["show tables", "describe videos", "summarize masks", "from videos", "values (1)", "with a as (select 1) from a;"],
)
@pytest.mark.parametrize("format", ["table", "csv", "json"])
def test_whatever_only_reads_is_welcome(capsys, lake, statement, format):
    assert printed(capsys, lake, statement, format)


@pytest.mark.parametrize(
    "statement",
    [
        "",
        "-- nothing",
        "select 1; select 2",
        "copy videos to '{folder}/x.csv'",
        "copy videos to '{folder}/lake/x.csv'",
        "with x as (copy videos to '{folder}/x.csv') select 1",
        "with x as (copy videos to '{folder}/lake/x.csv') select 1",
        "with x as (delete from videos returning *) from x",
        "explain analyze copy videos to '{folder}/x.csv'",
        "attach '{folder}/x.db'",
        "export database '{folder}/x'",
        "create table x as select 1",
        "insert into videos values (1)",
        "drop view videos",
        "set lock_configuration = false",
        "set enable_external_access = true",
        "install httpfs",
        "load httpfs",
        "pragma version",
        "call pragma_version()",
        "select * from '/etc/passwd'",
        "select * from read_csv('/etc/passwd')",
        "select * from read_text('{folder}/lake/run_id=r1/runs/a.parquet')",
        "select * from glob('/etc/*')",
        "select * from read_text('https://example.com')",
        "select * from query('copy videos to ''{folder}/x.csv''')",
        "selec 1",
        "select * from no_such_table",
        "select no_such_column from videos",
        "select video_id::int from videos",
    ],
)
def test_anything_else_is_refused_in_one_line(lake, statement):
    before = sorted(lake.parent.rglob("*"))
    with pytest.raises(UserError) as refused:
        sql(lake, statement.format(folder=lake.parent), "csv")
    assert str(refused.value)
    assert "\n" not in str(refused.value)
    assert sorted(lake.parent.rglob("*")) == before


@pytest.mark.parametrize("format", ["table", "json"])
def test_what_fails_as_its_rows_are_read_is_refused_in_one_line(lake, format):
    with pytest.raises(UserError, match=r"^Conversion Error: [^\n]*$"):
        sql(lake, "select video_id::int from videos", format)


@pytest.mark.parametrize("statement", ["", "select 1; select 2", "create table x as select 1", "explain select 1"])
def test_the_refusal_says_what_is_welcome(lake, statement):
    with pytest.raises(UserError, match="read-only: give one SELECT"):
        sql(lake, statement)


def test_the_message_is_duckdbs_own(lake):
    with pytest.raises(UserError, match=r"^Binder Error: .*no_such_column"):
        sql(lake, "select no_such_column\nfrom videos")


def test_an_unknown_table_says_how_to_list_them(lake):
    with pytest.raises(UserError, match=r'attributions does not exist![^\n]*\("show tables" lists them\)$'):
        sql(lake, "select * from attributions")


def test_an_unknown_format_is_refused(lake):
    with pytest.raises(UserError, match="table, csv, json"):
        sql(lake, "select 1", "xml")
