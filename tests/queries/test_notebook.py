"""docs/notebook.md does what it says: its code runs as it stands, over a lake of clips that exist."""

import re
from pathlib import Path

import cv2

from tests.queries import report_lake

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_code_of_the_notebook_runs(make_lake, portraits, tmp_path, monkeypatch, capsys):
    make_lake(report_lake.rows(tmp_path / "clips", portraits), lake=tmp_path / "demo" / "lake")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```$", (DOCS / "notebook.md").read_text(), re.DOTALL | re.MULTILINE)
    assert len(blocks) == 3
    names = {}
    for block in blocks:
        exec(compile(block, "docs/notebook.md", "exec"), names)
    assert names["frame"]["n_maps"].sum() == 32
    picture = cv2.imread(str(tmp_path / "map.png"))
    assert picture.shape == (299, 299, 3)
    # the first map is hot in the upper left alone: a light yellow, while the rest is the photograph
    assert picture[20:60, 20:60].astype(int).mean() > picture[200:280, 200:280].mean() + 20
    assert names["found"].bits.shape == (2, 299, 299)
    names["lake"].close()
