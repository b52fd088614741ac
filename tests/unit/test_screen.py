"""Notices are read in a terminal and searched in a log; neither may be broken inside a word or obeyed."""

import io
from collections import Counter

import pyarrow as pa
import pytest
from rich.console import Console

from pipelines.config import build
from pipelines.explain import _check_labels
from pipelines.manifest import Manifest
from pipelines.screen import command, say, wrap
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
