"""Whoever reads README and docs has been told of every command, flag, table and question."""

import argparse
import re
from importlib import import_module
from pathlib import Path

import pytest

from pipelines.__main__ import COMMANDS
from pipelines.lake.read import queries
from schemas.tables import ANNOTATIONS, CURVES, LAKE_TABLES

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


def test_every_link_leads_somewhere():
    for name, text in FILES.items():
        folder = ROOT if name == "README.md" else ROOT / "docs"
        for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
            assert "://" in link or (folder / link).exists(), f"{name}: {link}"
