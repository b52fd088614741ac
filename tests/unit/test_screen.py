"""Notices are read in a terminal and searched in a log; neither may be broken inside a word or obeyed."""

import io

import pytest
from rich.console import Console

from pipelines.screen import command, say, wrap

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
