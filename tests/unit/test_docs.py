"""Whoever reads README and docs has been told of every command, flag, table and question."""

import argparse
import re
from importlib import import_module
from pathlib import Path

import pytest

from pipelines.__main__ import COMMANDS
from pipelines.lake.read import queries
from pipelines.league import WITH_INTERVAL
from schemas.tables import ANNOTATIONS, CURVES, LAKE_TABLES, LOCALISATION_FRAMES, METRICS

ROOT = Path(__file__).resolve().parents[2]
FILES = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")))}
EVERYTHING = "\n".join(FILES.values())


def flags(parser):
    """Every long flag, those of commands within the command too."""
    found = set()
    for action in parser._actions:
        found |= {flag for flag in action.option_strings if flag.startswith("--")}
        if isinstance(action, argparse._SubParsersAction):
            found |= set().union(*(flags(each) for each in action.choices.values()))
    return found - {"--help"}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_flag_is_told(name):
    assert f"python -m pipelines {name}" in EVERYTHING
    parser = argparse.ArgumentParser()
    import_module(f"pipelines.commands.{name.replace('-', '_')}").flags(parser)
    missing = [flag for flag in sorted(flags(parser)) if not re.search(rf"{flag}(?![a-z-])", EVERYTHING)]
    assert missing == []


def test_every_table_and_view_is_in_the_readme():
    names = {table.name for table in (*LAKE_TABLES, CURVES, ANNOTATIONS)} | set(queries("views"))
    assert [name for name in sorted(names) if f"`{name}`" not in FILES["README.md"]] == []


def test_every_evaluation_table_is_told():
    names = set(queries("tables"))
    titles = {name: re.sub(r"(table|figure)(\d)", r"\1 \2", name).replace("_", " ") for name in names}
    known = EVERYTHING.lower()
    assert [name for name in sorted(names) if f"`{name}`" not in known and titles[name] not in known] == []


def headwords():
    """What the glossary explains: the bold words with which a line begins."""
    return re.findall(r"^\*\*([^*]+)\*\*", FILES["glossary.md"], re.MULTILINE)


def test_every_word_that_the_glossary_uses_in_bold_has_a_line_of_its_own():
    known = {word.lower() for word in headwords()}
    assert len(known) == len(headwords())
    used = {word.lower() for word in re.findall(r"\*\*([^*]+)\*\*", FILES["glossary.md"])}
    assert [word for word in sorted(used) if not {word, word.removesuffix("s")} & known] == ["bold"]


def test_every_figure_has_a_word_in_the_glossary():
    """Those of the tables of steadiness and localisation, and of the league."""
    keys = {"run_id", "video_id", "frame", "first_frame", *(name for table in LAKE_TABLES for name in table.key)}
    figures = [
        field.name
        for table in (METRICS, LOCALISATION_FRAMES)
        for field in table.schema
        if field.name not in keys and not field.name.startswith("n_") and "chance" not in field.name
    ]
    by_hand = ("auc", "ece", "alpha", "kendall_w")
    names = {*figures, *WITH_INTERVAL, *by_hand}
    assert {"tcs", "rpi", "ehr", "srg", "adv_gain"} < names
    assert [name for name in sorted(names) if f"`{name}`" not in FILES["glossary.md"]] == []
    # and what the page and its documents say without saying what it is
    assert {"Holm", "BCa", "Kendall's W", "p", "Interval", "Control", "Preset", "Readout"} <= set(headwords())


def test_every_link_leads_somewhere():
    for name, text in FILES.items():
        folder = ROOT if name == "README.md" else ROOT / "docs"
        for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
            assert "://" in link or (folder / link).exists(), f"{name}: {link}"
