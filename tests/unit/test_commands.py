"""The command line: every command is there, and a mistake is one line that says what to do."""

import subprocess
import sys

import pytest

from pipelines.__main__ import COMMANDS, main, parse
from pipelines.called import called
from pipelines.errors import UserError


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_what_it_takes(name, capsys):
    with pytest.raises(SystemExit) as ended:
        parse([name, "--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert said.startswith(f"usage: {called(name)} ")
    assert COMMANDS[name][1:] in " ".join(said.split())


def test_help_names_every_command(capsys):
    with pytest.raises(SystemExit):
        parse(["--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert all(f"{name} {summary}" in said for name, summary in COMMANDS.items())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "COMMAND"),
        (["explian", "videos"], "invalid choice: 'explian'"),
        (["explain", "videos"], "--lake"),
        (["explain", "videos", "--lake", "l", "--preset", "quick"], "invalid choice: 'quick'"),
        (["explain", "videos", "--lake", "l", "--weights", "file.pth"], "write MODEL=FILE"),
        (["explain", "videos", "--lake", "l", "--weights", "xception="], "--weights xception=: write MODEL=FILE"),
        (["explain", "videos", "--lake", "l", "--weights", "=file.pth"], "--weights =file.pth: write MODEL=FILE"),
        (["sql", "--lake", "l", "select 1", "--format", "xml"], "invalid choice: 'xml'"),
        (["forge", "videos", "--out", "o", "--per-video", "0"], "'0' is no whole number from 1 on"),
        (["train", "--model", "xception", "--out", "o", "--frames", "many"], "'many' is no whole number from 1 on"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_1(arguments, says, capsys):
    assert main(arguments) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("viba: ")
    assert captured.err.count("\n") == 1
    assert says in captured.err


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ("cat\ndog\n\nCat\n", "'cat' and 'Cat' are the same name"),
        ("cat\n", "a class in each line, two or more"),
        (None, "No such file or directory; name a file of classes, imagenet or kinetics"),
    ],
)
def test_classes_that_are_none(names, says, capsys, tmp_path):
    file = tmp_path / "names.txt"
    if names is not None:
        file.write_text(names)
    arguments = ["explain", str(tmp_path), "--lake", str(tmp_path / "lake"), "--model", "resnet10t"]
    assert main([*arguments, "--classes", str(file)]) == 1
    assert says in capsys.readouterr().err
    assert main([*arguments[:-2], "--classes", "imagenet"]) == 1
    assert "name the classifier" in capsys.readouterr().err


def test_errors_are_ours_to_raise():
    with pytest.raises(UserError) as raised:
        parse(["sql"])
    assert str(raised.value).endswith(f"see {called('sql --help')}")


def test_what_is_to_be_typed_next_is_typed_as_this_was(monkeypatch, tmp_path):
    own = tmp_path / "of mine/.venv/bin/python"
    monkeypatch.setattr(sys, "executable", str(own))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    for folder, said in (
        (tmp_path / "of mine", ".venv/bin/python"),
        (tmp_path, "'of mine/.venv/bin/python'"),
        (tmp_path / "elsewhere", f"'{own}'"),
    ):
        folder.mkdir(exist_ok=True)
        monkeypatch.chdir(folder)
        assert called("sql --lake l") == f"{said} -m pipelines sql --lake l"
    # one that its name alone finds is called by its name
    own.parent.mkdir(parents=True)
    own.touch(0o755)
    monkeypatch.setenv("PATH", str(own.parent))
    assert called("") == "python -m pipelines"


def test_who_only_reads_a_lake_waits_for_no_network_to_load():
    """And a question not even for OpenCV."""
    code = """
import sys
from pipelines.__main__ import main
assert main(["sql", "--lake", "/nowhere", "select 1"]) == 1
print("question:", *sorted({"torch", "ray", "cv2"} & set(sys.modules)))
"""
    code += "".join(f"import pipelines.commands.{name}\n" for name in ("evaluate", "export", "render", "report"))
    code += "print('reads:', *sorted({'ray', 'timm', 'torch'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["question:", "reads:"]
