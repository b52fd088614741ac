"""One row per file, with an id that depends on name, manipulation and content alone."""

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from operators.video.identity import video_id
from pipelines.errors import UserError
from pipelines.manifest import build, only
from schemas.tables import MANIFEST


def write(path: Path, content: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def rows(*paths: Path) -> list[dict]:
    table = build(list(paths)).table
    assert table.schema.equals(MANIFEST.schema)
    return sorted(table.to_pylist(), key=lambda row: row["uri"])


def test_folder(tmp_path):
    root = tmp_path / "mine"
    for name in ("Fake/a.mp4", "real/deep/er/b.bin", "c", "notes.txt", "fake/labels.CSV", ".hidden"):
        write(root / name, name.encode())
    manifest = build([root])
    found = {row["uri"]: row for row in manifest.table.to_pylist()}
    assert {Path(uri).name: row["label"] for uri, row in found.items()} == {"a.mp4": "fake", "b.bin": "real", "c": None}
    assert {row["dataset"] for row in found.values()} == {"mine"}
    for column in ("split", "truth_uri", "manipulation", "identities", "pair_id"):
        assert {row[column] for row in found.values()} == {None}
    assert manifest.passed_over == {".txt": 1, ".csv": 1, ".hidden": 1}
    assert manifest.table["video_id"].to_pylist() == sorted(manifest.table["video_id"].to_pylist())


def test_folders_named_like_a_class_give_the_label(tmp_path):
    root = tmp_path / "real" / "mine"
    for name in ("Golden Retriever/a.mp4", "cat/fake/b.mp4", "fake/c.mp4", "d.mp4"):
        write(root / name, name.encode())
    table = build([root], ("cat", "golden retriever", "CAT")).table
    found = {Path(row["uri"]).name: row["label"] for row in table.to_pylist()}
    assert found == {"a.mp4": "golden retriever", "b.mp4": "cat", "c.mp4": None, "d.mp4": None}


def test_labels_of_a_manifest_are_the_classes_whatever_their_case_and_may_be_others(tmp_path):
    (tmp_path / "m.csv").write_text("uri,label\na.mp4,FAKE\nb.mp4,Tabby\nc.mp4,\n")
    assert [row["label"] for row in rows(tmp_path / "m.csv")] == ["fake", "Tabby", None]
    table = build([tmp_path / "m.csv"], ("tabby",)).table.sort_by("uri")
    assert table["label"].to_pylist() == ["FAKE", "tabby", None]


def test_single_files_and_files_named_twice(tmp_path):
    one = write(tmp_path / "real" / "a.mp4")
    found = rows(one, tmp_path, one)
    assert [(row["uri"], row["label"]) for row in found] == [(str(one), "real")]


def test_a_loop_of_links_ends(tmp_path):
    write(tmp_path / "a.mp4")
    (tmp_path / "loop").symlink_to(tmp_path)
    assert len(rows(tmp_path)) == 1


def test_id_is_the_same_wherever_the_file_lies(tmp_path):
    one = write(tmp_path / "here" / "a.mp4", b"content")
    other = write(tmp_path / "there" / "a.mp4", b"content")
    assert video_id(str(one)) == video_id(str(other)) == video_id(other.as_uri())
    assert len(video_id(str(one))) == 16


@pytest.mark.parametrize("change", ["name", "content", "manipulation"])
def test_id_differs_by(tmp_path, change):
    one = write(tmp_path / "a.mp4", b"content")
    other = write(
        tmp_path / "there" / ("b.mp4" if change == "name" else "a.mp4"), b"other" if change == "content" else b"content"
    )
    manipulation = "FaceSwap" if change == "manipulation" else None
    assert video_id(str(one)) != video_id(str(other), manipulation)
    assert video_id(str(one), "Deepfakes") != video_id(str(other), "FaceSwap")


@pytest.mark.parametrize("place", [0, (3 << 20) - 1])
def test_id_of_a_large_file_sees_its_ends_and_its_size(tmp_path, place):
    content = bytearray(3 << 20)
    before = video_id(str(write(tmp_path / "a.mp4", content)))
    assert video_id(str(write(tmp_path / "a.mp4", bytes(content) + b"\0"))) != before
    content[place] = 1
    assert video_id(str(write(tmp_path / "a.mp4", content))) != before


def test_twins_are_numbered_in_order_of_their_path(tmp_path):
    for folder in ("a", "b", "c"):
        write(tmp_path / folder / "same.mp4")
    ids = [row["video_id"] for row in rows(tmp_path)]
    assert ids == [ids[0], f"{ids[0]}-2", f"{ids[0]}-3"]


def test_a_name_that_is_not_utf8_becomes_a_uri(tmp_path):
    path = os.fsencode(tmp_path) + b"/\xff.mp4"
    Path(os.fsdecode(path)).write_bytes(b"x")
    assert [row["uri"] for row in rows(tmp_path)] == [f"file://{tmp_path}/%FF.mp4"]


def full(tmp_path: Path) -> dict[str, str | None]:
    return {
        "video_id": "0012345678901234",  # digits only: no number
        "uri": str(write(tmp_path / "clips" / "a.mp4")),
        "dataset": "FaceForensics++",
        "label": "fake",
        "split": "val",
        "truth_uri": str(tmp_path / "clips" / "a-mask.mkv"),
        "manipulation": "Deepfakes",
        "identities": "ff:000;ff:003",
        "pair_id": "0000000000000007",
    }


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_every_column_of_a_manifest_is_kept(tmp_path, suffix):
    row = full(tmp_path)
    assert row.keys() == set(MANIFEST.schema.names)
    path = tmp_path / f"m{suffix}"
    if suffix == ".csv":
        path.write_text(",".join(row) + ",extra\n" + ",".join(map(str, row.values())) + ",1\n")
    else:
        pq.write_table(pa.Table.from_pylist([row | {"extra": 1}]), path)
    assert rows(path) == [row]


def test_paths_count_from_the_manifest(tmp_path, monkeypatch):
    write(tmp_path / "clips" / "a.mp4")
    (tmp_path / "m.csv").write_text("uri,truth_uri\nclips/a.mp4,clips/a.mkv\nhttp://127.0.0.1:9/b.mp4,\n")
    monkeypatch.chdir("/")
    first, second = rows(tmp_path / "m.csv")
    assert (first["uri"], first["truth_uri"]) == (str(tmp_path / "clips/a.mp4"), str(tmp_path / "clips/a.mkv"))
    assert (second["uri"], second["truth_uri"], second["dataset"]) == ("http://127.0.0.1:9/b.mp4", None, "m")


def test_missing_ids_are_made_with_the_manipulation(tmp_path):
    one, other = write(tmp_path / "x" / "a.mp4"), write(tmp_path / "y" / "a.mp4")
    (tmp_path / "m.csv").write_text(f"uri,manipulation\n{one},Deepfakes\n{other},FaceSwap\n")
    assert [row["video_id"] for row in rows(tmp_path / "m.csv")] == [
        video_id(str(one), "Deepfakes"),
        video_id(str(other), "FaceSwap"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path\na.mp4\n", "has no column uri; it has path"),
        ("uri,label\n,real\n", "has a row without a uri"),
        ("uri\n", "nothing to explain"),
    ],
)
def test_manifests_that_are_none(tmp_path, text, message):
    path = tmp_path / "m.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        build([path])


def test_paths_that_are_not_there(tmp_path):
    with pytest.raises(UserError, match="no file or folder at"):
        build([tmp_path / "nowhere"])
    with pytest.raises(UserError, match="nothing to explain"):
        build([tmp_path])
    (tmp_path / "m.parquet").write_bytes(b"no parquet")
    with pytest.raises(UserError, match="cannot read the manifest"):
        build([tmp_path / "m.parquet"])


def test_a_file_with_two_labels_is_refused_and_one_without_takes_the_others(tmp_path):
    (tmp_path / "clip.mp4").write_bytes(b"x")
    for name, label in (("one", "fake"), ("two", "real"), ("none", "")):
        (tmp_path / f"{name}.csv").write_text(f"uri,label\nclip.mp4,{label}\n")
    with pytest.raises(UserError, match=r"clip\.mp4 is labelled 'fake' and 'real': give it one label"):
        build([tmp_path / "one.csv", tmp_path / "two.csv"])
    for paths in (("one", "none"), ("none", "one")):
        assert build([tmp_path / f"{name}.csv" for name in paths]).table["label"].to_pylist() == ["fake"]


def test_a_numbered_id_is_none_that_was_given(tmp_path):
    rows = "".join(f"{name}.mp4,{identity}\n" for name, identity in (("a", "X"), ("b", "X"), ("c", "X-2"), ("d", "X")))
    (tmp_path / "m.csv").write_text("uri,video_id\n" + rows)
    found = build([tmp_path / "m.csv"]).table
    ids = {Path(row["uri"]).name: row["video_id"] for row in found.to_pylist()}
    assert ids == {"a.mp4": "X", "b.mp4": "X-3", "c.mp4": "X-2", "d.mp4": "X-4"}


def test_only_those_that_a_file_names_keep_what_the_manifest_says_of_them(tmp_path):
    (tmp_path / "m.csv").write_text("uri,manipulation\na.mp4,swap\nb.mp4,\nc.mp4,\n")
    manifest = build([tmp_path / "m.csv"])
    ids = {Path(row["uri"]).name: row["video_id"] for row in manifest.table.to_pylist()}
    # an id says more than the path it had elsewhere
    (tmp_path / "ids.csv").write_text(f"video_id,uri\n{ids['a.mp4']},/elsewhere/a.mp4\ngone,b.mp4\n")
    kept, n_unknown = only(manifest, tmp_path / "ids.csv")
    assert [(Path(row["uri"]).name, row["manipulation"]) for row in kept.table.to_pylist()] == [("a.mp4", "swap")]
    assert n_unknown == 1
    (tmp_path / "uris.csv").write_text("uri\nc.mp4\n")
    kept, n_unknown = only(manifest, tmp_path / "uris.csv")
    assert (kept.table["video_id"].to_pylist(), n_unknown) == ([ids["c.mp4"]], 0)


@pytest.mark.parametrize(
    ("text", "said"), [("video_id\nz\n", "none of the 1 files is one of the 1"), ("name\na\n", "no column video_id")]
)
def test_a_choice_of_nothing_is_refused(tmp_path, text, said):
    write(tmp_path / "a.mp4")
    (tmp_path / "ids.csv").write_text(text)
    with pytest.raises(UserError, match=said):
        only(build([tmp_path / "a.mp4"]), tmp_path / "ids.csv")
