"""What Ray says while it starts is heard where it does not."""

import os
import re
from pathlib import Path

import pytest

from pipelines.errors import UserError
from pipelines.watch import watched


def test_a_ray_that_does_not_start_is_one_line_that_names_the_rest(capfd):
    said = r"Ray does not start: no port; what it said is in (.*)"

    def start():
        with watched():
            os.write(2, b"pages of it\n")
            raise RuntimeError("no\nport")

    with pytest.raises(UserError, match=said) as raised:
        start()
    os.write(2, b"heard again")
    assert capfd.readouterr().err == "heard again"
    (name,) = re.findall(said, str(raised.value))
    assert Path(name).read_text() == "pages of it\n"
    Path(name).unlink()


def test_one_that_does_leaves_nothing(capfd, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with watched():
        os.write(2, b"a warning")
    assert capfd.readouterr().err == ""
    assert list(tmp_path.iterdir()) == []
