"""The ids of files are found out once, and again where a file is another one."""

import itertools
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from operators.video.identity import read_blocks, video_id, video_id_of
from pipelines import identities
from pipelines.identities import Identities, identify
from pipelines.manifest import build


@pytest.fixture
def read(monkeypatch) -> list[str]:
    """The names of the files that were read, and no file was changed just now."""
    found: list[str] = []
    monkeypatch.setattr(identities, "read_blocks", lambda uri: found.append(Path(uri).name) or read_blocks(uri))
    monkeypatch.setattr(identities, "_SETTLED_NS", -(10**18))
    return found


def write(folder: Path, n: int) -> list[str]:
    folder.mkdir()
    for number in range(n):
        (folder / f"{number}.mp4").write_bytes(b"%d" % number)
    return [str(folder / f"{number}.mp4") for number in range(n)]


def quiet(kept: Path) -> Identities:
    return Identities(kept, Console(quiet=True))


def test_a_file_is_read_once_and_again_when_it_has_changed(tmp_path, read):
    uris, none = write(tmp_path / "videos", 5), [None] * 5
    first = quiet(tmp_path / "kept").identify(uris, none)
    assert first == [video_id(uri) for uri in uris]
    assert sorted(read) == [f"{number}.mp4" for number in range(5)]
    read.clear()
    assert quiet(tmp_path / "kept").identify(uris[::-1], none) == first[::-1]
    assert read == []

    status = os.stat(uris[3])
    Path(uris[3]).write_bytes(b"#")  # as long as before, and then with the same time of change as before
    os.utime(uris[3], ns=(status.st_atime_ns, status.st_mtime_ns))
    second = quiet(tmp_path / "kept").identify(uris, none)
    assert read == ["3.mp4"]
    assert [a == b for a, b in zip(first, second, strict=True)] == [True, True, True, False, True]
    assert second[3] == video_id(uris[3])
    read.clear()
    assert quiet(tmp_path / "kept").identify(uris, none) == second
    assert read == []
    assert len(list((tmp_path / "kept").iterdir())) == 1


def test_an_id_is_of_one_manipulation(tmp_path, read):
    (uri,) = write(tmp_path / "videos", 1)
    for manipulation in (None, "FaceSwap", None):
        assert quiet(tmp_path / "kept").identify([uri], [manipulation]) == [video_id(uri, manipulation)]


def test_what_cannot_be_read_is_not_kept(tmp_path, read):
    uri = str(tmp_path / "a.mp4")
    (before,) = quiet(tmp_path / "kept").identify([uri], [None])
    assert before == video_id(uri)
    Path(uri).write_bytes(b"x")
    (after,) = quiet(tmp_path / "kept").identify([uri], [None])
    assert after == video_id(uri) != before


def test_a_file_that_was_changed_just_now_is_not_kept(tmp_path, monkeypatch, read):
    uris = write(tmp_path / "videos", 1)
    monkeypatch.setattr(identities, "_SETTLED_NS", 10**18)
    for _ in range(2):
        quiet(tmp_path / "kept").identify(uris, [None])
    assert len(read) == 2


def test_an_interrupted_command_continues(tmp_path, monkeypatch, read):
    uris, none = write(tmp_path / "videos", 12), [None] * 12
    monkeypatch.setattr(identities, "_AT_ONCE", 2)
    monkeypatch.setattr(identities, "_THREADS", 1)
    monkeypatch.setattr(identities, "_EVERY_S", 0.0)
    look = identities.read_blocks

    def killed(uri: str) -> bytes | None:
        if uri.endswith("/7.mp4"):
            raise KeyboardInterrupt
        return look(uri)

    monkeypatch.setattr(identities, "read_blocks", killed)
    with pytest.raises(KeyboardInterrupt):
        quiet(tmp_path / "kept").identify(uris, none)
    monkeypatch.setattr(identities, "read_blocks", look)
    read.clear()
    assert quiet(tmp_path / "kept").identify(uris, none) == [video_id(uri) for uri in uris]
    assert sorted(read, key=lambda name: int(Path(name).stem)) == [f"{number}.mp4" for number in range(6, 12)]
    assert len(list((tmp_path / "kept").iterdir())) == 1


def test_a_damaged_file_and_a_folder_that_cannot_be_written_cost_no_more_than_reading(tmp_path, read):
    uris, none = write(tmp_path / "videos", 2), [None] * 2
    expected = quiet(tmp_path / "kept").identify(uris, none)
    (file,) = (tmp_path / "kept").iterdir()
    file.write_bytes(file.read_bytes()[:-9])
    assert quiet(tmp_path / "kept").identify(uris, none) == expected
    (tmp_path / "in the way").write_bytes(b"")
    assert quiet(tmp_path / "in the way" / "kept").identify(uris, none) == expected


def test_a_manifest_whose_files_are_known_reads_none_of_them(tmp_path, read):
    """Two thousand names of four files."""
    uris = write(tmp_path / "videos", 4)
    links = tmp_path / "links"
    links.mkdir()
    for number, uri in zip(range(2_000), itertools.cycle(uris), strict=False):
        os.link(uri, links / f"{number}.mp4")
    pq.write_table(pa.table({"uri": [f"links/{number}.mp4" for number in range(2_000)]}), tmp_path / "m.parquet")
    first = build([tmp_path / "m.parquet"], identities=quiet(tmp_path / "kept")).table
    assert len(read) == 2_000
    read.clear()
    assert build([tmp_path / "m.parquet"], identities=quiet(tmp_path / "kept")).table.equals(first)
    assert read == []
    assert dict(zip(first["uri"].to_pylist(), first["video_id"].to_pylist(), strict=True)) == {
        uri: video_id(uri) for uri in first["uri"].to_pylist()
    }
    assert identify(first["uri"].to_pylist(), [None] * 2_000) == first["video_id"].to_pylist()


def test_a_uri_of_a_file_and_its_path_are_one_video():
    assert video_id_of("file:///x/a%20b.mp4", None, b"content") == video_id_of("/y/a b.mp4", None, b"content")
    assert video_id_of("/y/a%20b.mp4", None, b"content") != video_id_of("/y/a b.mp4", None, b"content")
