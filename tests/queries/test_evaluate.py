"""`evaluate` checks, prints and writes; the exit code tells whether the checks held."""

import csv
import html
import io
import json
import re
import shutil
from contextlib import redirect_stdout
from datetime import UTC, datetime

import pyarrow.parquet as pq
import pytest
from rich.console import Console

from pipelines.called import called
from pipelines.errors import UserError
from pipelines.evaluate import evaluate
from pipelines.lake.checks import checks
from pipelines.lake.read import queries
from pipelines.report.findings import WORDS
from pipelines.report.write import report
from tests.queries import report_lake
from tests.queries.conftest import write_lake
from tests.queries.test_league import lake_of

#: what is written of a run that was not judged
WRITTEN = set(queries("tables")) - {"league"}
THROUGH = {"method": "iba", "layer": "l", "target": "fake"}


def run(day=1, **video):
    return {
        "runs": [{"started_at": datetime(2026, 1, day, tzinfo=UTC)}],
        "videos": [{"label": "fake", **video}],
        "frames": [{}],
        "predictions": [{"prob_fake": 0.75}, {"prob_fake": 0.25, **THROUGH}],
        "masks": [{}],
        "metrics": [{}],
    }


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """The lake of a good run that was evaluated, and what was printed."""
    lake = write_lake(run(), lake=tmp_path_factory.mktemp("good") / "lake")
    printed = io.StringIO()
    with redirect_stdout(printed):
        assert evaluate(lake) == 0
    return lake, printed.getvalue()


def test_a_good_run(good):
    lake, out = good
    assert out.startswith("run r1\n")
    assert f"checks that passed: {', '.join(checks())}\n" in out.replace(",\n", ", ")
    assert "\ntable1: the videos a run was given\n" in out
    assert out.splitlines()[-2:] == [
        f"  {called(f'report --lake {lake} --run r1')}",
        f'  {called(f"sql --lake {lake}")} "select * from metrics limit 10"',
    ]
    # nobody was asked: what would compare maps with people is written, and one line says that it has no rows
    assert "\ntable4" not in out
    assert "without a row, and not printed: agreement, duplicates, figure2, league, localisation, table4\n" in out
    names = {f"{table}.{kind}" for table in WRITTEN for kind in ("parquet", "csv")}
    assert {path.name for path in (lake / "evaluation").iterdir()} == names


def test_what_is_printed_can_be_read_and_what_is_asked_for_is_everything(make_lake, capsys):
    lake = make_lake(run() | {"metrics": [{"mask_rule": rule, "tcs": 1 / 3} for rule in ("a", "b")]})
    evaluate(lake)
    short = capsys.readouterr().out.partition("\ntable3")[2].splitlines()
    assert short[1] == "model m, method iba, layer l, target fake, label fake"
    assert short[2].split()[:2] == ["mask_rule", "tcs"]
    assert "0.333" in short[4].split()
    evaluate(lake, wide=True)
    wide = capsys.readouterr().out.partition("\ntable3")[2].splitlines()
    assert wide[1].split()[:5] == ["model", "method", "layer", "target", "mask_rule"]
    assert "0.333333" in wide[3].split()


def test_what_is_written_is_what_was_computed(good):
    lake, _ = good
    written = pq.read_table(lake / "evaluation/table2.parquet")
    assert written.to_pylist() == [
        {
            "model": "m",
            "method": "",
            "n": 1,
            "accuracy": 1,
            "precision": 1,
            "recall": 1,
            "ece": 0.25,
        },
        {
            "model": "m",
            "method": "iba",
            "n": 1,
            "accuracy": 0,
            "precision": None,
            "recall": 0,
            "ece": 0.75,
        },
    ]
    assert written.schema.metadata == {b"run_id": b"r1"}
    with (lake / "evaluation/table2.csv").open() as file:
        assert list(csv.reader(file)) == [
            ["model", "method", "n", "accuracy", "precision", "recall", "ece"],
            ["m", "", "1", "1.0", "1.0", "1.0", "0.25"],
            ["m", "iba", "1", "0.0", "", "0.0", "0.75"],
        ]


def test_a_failed_check_is_shown_and_everything_is_still_written(make_lake, capsys):
    lake = make_lake(run(status="fine"))
    assert evaluate(lake) == 1
    out = capsys.readouterr().out
    assert "check statuses: 1 rows" in out
    assert "unknown status" in out
    assert "checks that failed: statuses" in out
    assert len(list((lake / "evaluation").iterdir())) == 2 * len(WRITTEN)


def test_the_latest_run_or_the_one_that_is_named(make_lake):
    make_lake(run(day=2, dataset="late"), "a")
    lake = make_lake(run(day=1, dataset="early"), "b")
    evaluate(lake)
    assert pq.read_table(lake / "evaluation/table1.parquet")["dataset"].to_pylist() == ["late"]
    evaluate(lake, "b")
    assert pq.read_table(lake / "evaluation/table1.parquet")["dataset"].to_pylist() == ["early"]


def findings_of(page):
    """What the page says, and what the terminal is to say."""
    items = re.findall(r'<li class="(\w+)"><span class="kind">.*?</span>\n(.*?) <a ', page, re.DOTALL)
    return [f"{WORDS[kind]}: {html.unescape(text)}" for kind, text in items]


def test_who_has_no_browser_reads_the_findings_of_the_page(make_lake, capsys, monkeypatch):
    (detector, _) = report_lake.CONFIG["detectors"]
    of_m = {"detectors": [detector | {"spec": detector["spec"] | {"name": "m"}}]}
    lake = make_lake(lake_of() | {"runs": [{"config": json.dumps(report_lake.CONFIG | of_m)}]})
    page = report(lake, media="none", console=Console(quiet=True)).read_text(encoding="utf-8")
    evaluate(lake)
    out = capsys.readouterr().out.splitlines()
    found = out[out.index("findings") + 1 :]
    found = found[: found.index("")]
    assert found == findings_of(page)
    assert 3 <= len(found) <= 8
    assert any("gradcam does not beat centre" in line for line in found)
    assert "checks that passed" in "".join(out)
    written = {path.name for path in (lake / "evaluation").iterdir()}
    assert "league.csv" in written
    shutil.rmtree(lake / "evaluation")
    # in short there are no tables, but what is written is the same; in a terminal no line is wider than it
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("FORCE_COLOR", "1")
    evaluate(lake, brief=True)
    lines = [re.sub(r"\x1b\[[\d;]*m", "", line) for line in capsys.readouterr().out.splitlines()]
    assert all(len(line) <= 80 for line in lines if str(lake) not in line)
    assert " ".join(" ".join(lines[lines.index("findings") + 1 :]).split()) == " ".join(" ".join(found).split())
    assert "checks that passed" not in "".join(lines)
    assert {path.name for path in (lake / "evaluation").iterdir()} == written


@pytest.mark.parametrize("run_id", [None, "r9"])
def test_without_the_run_nothing_is_written(make_lake, tmp_path, run_id):
    lake = tmp_path if run_id is None else make_lake(run())
    with pytest.raises(UserError, match="no run"):
        evaluate(lake, run_id)
    assert not (lake / "evaluation").exists()


def test_a_lake_that_cannot_be_written_is_one_line(make_lake):
    lake = make_lake(run())
    (lake / "evaluation").write_text("in the way")
    with pytest.raises(UserError, match="cannot write the evaluation tables"):
        evaluate(lake)


def test_videos_of_different_splits_that_look_alike_are_warned_of(make_lake, capsys):
    tables = run(split="train")
    tables["videos"].append({"video_id": "w", "label": "fake", "split": "test"})
    tables["frames"] = [{"video_id": video, "fingerprint": 12345} for video in ("v", "w")]
    lake = make_lake(tables)
    evaluate(lake)
    assert "1 pairs of videos of different splits look alike" in capsys.readouterr().out
    assert pq.read_table(lake / "evaluation/duplicates.parquet")["other_split"].to_pylist() == ["train"]
