"""Notices are read in a terminal and searched in a log; neither may be broken inside a word or obeyed."""

import io
from collections import Counter

import pyarrow as pa
import pytest
from rich.console import Console
from rich.progress import Progress

from pipelines.config import build
from pipelines.errors import UserError
from pipelines.explain import _check_labels
from pipelines.manifest import Manifest
from pipelines.progress import Pace, _columns, paces
from pipelines.screen import command, log, logged, say, wrap
from schemas.tables import MANIFEST

NOTICE = "xception bn3: n = 8; below 1000 samples the bits depend on which videos they were"


def printed(terminal, show, *arguments):
    out = io.StringIO()
    show(Console(file=out, width=80, force_terminal=terminal, color_system=None), *arguments)
    return out.getvalue()


def test_a_notice_is_one_line_in_a_pipe_and_breaks_between_words_in_a_terminal():
    assert printed(False, say, NOTICE) == f"{NOTICE}\n"
    assert printed(True, say, NOTICE) == f"{NOTICE.removesuffix(' were')}\nwere\n"


@pytest.mark.parametrize("terminal", [True, False])
def test_a_path_and_a_command_stay_in_one_piece(terminal):
    path = "/data/" + "x" * 100
    assert path in printed(terminal, say, f"picture: {path}").split()
    line = f"python -m pipelines render --lake {path} 4f0c2a"
    assert printed(terminal, command, line) == f"  {line}\n"


@pytest.mark.parametrize("show", [say, command])
def test_a_file_name_is_neither_markup_nor_obeyed(show):
    assert printed(True, show, "[/bold] [red]x[/] \x1b[2J\r\n\u202ey :smile:").strip() == (
        "[/bold] [red]x[/] \N{REPLACEMENT CHARACTER}[2J" + "\N{REPLACEMENT CHARACTER}" * 3 + "y :smile:"
    )


def test_lines_are_filled_and_spaces_kept():
    assert wrap("   15 s: aa bb", 10) == ["   15 s:", "aa bb"]
    assert wrap("顔顔 顔", 5) == ["顔顔", "顔"]
    assert wrap("", 80) == [""]


def test_a_misspelt_label_is_named_with_what_it_may_be():
    labels = ("real", "fale", "fale", "cat")
    rows = [{"video_id": str(i), "uri": str(i), "label": label} for i, label in enumerate(labels)]
    manifest = Manifest(pa.Table.from_pylist(rows, schema=MANIFEST.schema), Counter())
    config = build({}, ["xception"], [], {})
    said = printed(False, lambda console: _check_labels(config, manifest, console))
    assert said == (
        "3 of 4 videos have a label that is no class of a model, Table 2 leaves them out: 'fale', perhaps fake (2), "
        "'cat' (1)\n"
    )


def test_what_is_said_is_kept_with_its_time_whether_or_not_it_is_printed(tmp_path):
    file = tmp_path / "_logs" / "r1.log"
    quiet = Console(quiet=True)
    say(quiet, "before")
    for start in ("first", "second"):
        with logged(file):
            say(quiet, f"{start} start of a\nb")
            log("7 s")
    say(quiet, "after")
    lines = file.read_text().splitlines()
    assert [line[20:] for line in lines] == [
        "first start of a\N{REPLACEMENT CHARACTER}b",
        "7 s",
        "second start of a\N{REPLACEMENT CHARACTER}b",
        "7 s",
    ]
    assert all(line[:2] == "20" and line[13] == line[16] == ":" for line in lines)
    with pytest.raises(UserError, match="cannot write "), logged(file / "a" / "b.log"):
        pass


@pytest.mark.parametrize("width", [80, 110, 200])
def test_no_figure_of_a_million_videos_is_cut(width):
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    bars = Progress(*_columns(width), console=console)
    pace = Pace(123456, 1234.5, 23456, 0.875)
    bars.add_task("explain", total=1_000_000, completed=123456, pace=str(pace))
    console.print(bars.get_renderable())
    said = console.file.getvalue()
    assert "123456/1000000" in said
    assert "1234.5/min, 23456 wait, busy 88%" in said
    assert said.count("\n") == 1


def test_the_stage_that_holds_up_the_others_is_the_one_that_most_wait_for():
    found = paces({"prepare": 30, "explain": 6}, {"explain": 0.875}, ["prepare", "explain", "metrics"], 40, 90)
    assert {stage: (pace.done, pace.per_minute, pace.waiting) for stage, pace in found.items()} == {
        "prepare": (30, 20.0, 0),
        "explain": (6, 4.0, 24),
        "metrics": (0, 0.0, 6),
    }
    assert str(found["explain"]) == "4.0/min, 24 wait, busy 88%"
    assert str(paces({}, {}, ["prepare"], 40, 0)["prepare"]) == "0.0/min"
