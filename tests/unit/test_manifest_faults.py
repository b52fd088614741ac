"""Manifests that others made badly: a row each, or one line; nothing in them is obeyed."""

import pytest

from pipelines import manifest
from pipelines.errors import UserError

HOSTILE = (
    "'; drop table videos; --",
    "$(touch PWNED)",
    "`touch PWNED`",
    "=cmd|' /C calc'!A0",
    "-rf",
    "a\u202eb.mp4",
    "a\x1b[31mb.mp4",
    "a\x00b.mp4",
    "a" * 5000,
    "https://[::1/x",
    "file://%00",
    "s3:/x",
    "con\nsecond line",
)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "good.mp4").write_bytes(b"x")
    (tmp_path / "loop.mp4").symlink_to("loop.mp4")
    return tmp_path


def read(folder, text, encoding="utf-8"):
    (folder / "m.csv").write_bytes(text.encode(encoding))
    return manifest.build([folder / "m.csv"]).table.to_pylist()


def test_whatever_a_row_names_it_is_a_row(folder, monkeypatch):
    monkeypatch.chdir(folder)
    uris = [*(f"nowhere/{number}.mp4" for number in range(10_000)), *HOSTILE, "loop.mp4", "good.mp4"]
    quoted = ['"' + uri.replace('"', '""') + '",fake' for uri in uris]
    rows = read(folder, "\n".join(["uri,label", *quoted]))
    assert len({row["uri"] for row in rows}) == len({row["video_id"] for row in rows}) == len(rows) == len(uris)
    names = {uri if "://" in uri else str(folder / uri) for uri in uris}
    assert {row["uri"] for row in rows} == names
    assert {row["label"] for row in rows} == {"fake"}
    assert {path.name for path in folder.iterdir()} == {"good.mp4", "loop.mp4", "m.csv"}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_what_editors_and_spreadsheets_write(folder, encoding, end):
    (row,) = read(folder, f"uri,label{end}good.mp4,fake{end}", encoding)
    assert (row["uri"], row["label"]) == (str(folder / "good.mp4"), "fake")


@pytest.mark.parametrize(
    ("text", "encoding", "says"),
    [
        (
            "uri;label\ngood.mp4;fake\n",
            "utf-8",
            "no column uri; it has uri;label; commas separate the columns of a CSV",
        ),
        ("uri\tlabel\ngood.mp4\tfake\n", "utf-8", "commas separate"),
        ("uri,label,uri\ngood.mp4,fake,x\n", "utf-8", "has the column uri more than once"),
        ("uri,label\ngood.mp4\n", "utf-8", "Expected 2 columns, got 1"),
        ('uri,label\n"good.mp4,fake\n', "utf-8", "cannot read the manifest"),
        ("uri,label\nd\xe9.mp4,fake\n", "latin-1", "invalid UTF8"),
        ("uri,label\ngood.mp4,fake\n", "utf-16", "cannot read the manifest"),
        ("", "utf-8", "Empty CSV file"),
    ],
)
def test_what_is_no_csv_is_one_line(folder, text, encoding, says):
    with pytest.raises(UserError, match=says) as raised:
        read(folder, text, encoding)
    assert "\n" not in str(raised.value)
