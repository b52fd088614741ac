"""Inputs on a store are as inputs on disk, and its failures are nobody's business."""

import hashlib
import pickle
import tempfile
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from operators.forging.portrait import make_clips, manifest_rows
from operators.inputs.view import View
from operators.methods import statistics
from operators.methods.statistics import of_batch
from operators.models.spec import spec_for
from operators.models.weights import digest, load_model, save_model, spec_of
from operators.prepare import PrepareParams, prepare
from operators.storage import parquet
from operators.storage.files import local, on_disk, remove_tree, replacing
from operators.storage.remote import Remote, has_secret, path_of
from operators.video.identity import video_id
from operators.video.sandbox import Limits
from pipelines.commands.flags import disk_path, path
from pipelines.errors import UserError
from pipelines.identities import Identities
from pipelines.manifest import build, only, write_table
from schemas.errors import SampleError
from schemas.tables import MANIFEST


def put(folder: Path, name: str, content: bytes = b"x") -> str:
    (folder / name).write_bytes(content)
    return str(folder / name)


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    make_clips(folder, n_real=1, n_fake=1, frames_per_clip=6)
    return folder


def upload(folder: Path, target: Path) -> None:
    for file in sorted(each for each in folder.rglob("*") if each.is_file()):
        (target / file.relative_to(folder).as_posix()).write_bytes(file.read_bytes())


def test_names_are_those_of_paths(monkeypatch):
    monkeypatch.setenv("AWS_REGION", "us-east-1")  # else Amazon is asked for the bucket's
    there = path_of("s3://bucket/a/b c%20.tar.gz")
    assert isinstance(there, Remote)
    assert (str(there), there.name, there.suffix) == ("s3://bucket/a/b c%20.tar.gz", "b c%20.tar.gz", ".gz")
    assert str(there.parent / "x") == "s3://bucket/a/x"
    assert [str(each) for each in there.parents][:2] == ["s3://bucket/a", "s3://bucket"]
    assert str(there.with_suffix(".part")) == "s3://bucket/a/b c%20.tar.part"
    assert pickle.loads(pickle.dumps(there)) == there
    assert str(pickle.loads(pickle.dumps(there))) == str(there)
    assert there.resolve() == there.absolute() == there
    assert there.is_absolute()
    assert there.located[1] == "bucket/a/b c%20.tar.gz"
    assert not isinstance(path_of("/a/b"), Remote)
    assert not isinstance(path_of("file:///a"), Remote)


@pytest.mark.parametrize(
    "uri",
    ["s3://AKIA:hush@bucket/a.mp4", "https://host/a.mp4?X-Amz-Signature=hush", "abfs://:hush@account/a?sig=hush"],
)
def test_credentials_in_a_uri_are_refused_and_not_repeated(uri, tmp_path):
    assert has_secret(uri)
    (tmp_path / "m.csv").write_text(f"uri\n{uri}\n")
    for refuse in (lambda: path(uri), lambda: disk_path(uri), lambda: build([tmp_path / "m.csv"])):
        with pytest.raises(UserError, match="environment") as raised:
            refuse()
        assert "hush" not in str(raised.value)


def test_a_uri_is_no_folder_of_the_disk():
    assert not has_secret("s3://bucket/a@b:c@d.mp4")
    assert not has_secret("abfs://container@account/a.mp4")
    with pytest.raises(UserError, match="s3://bucket/out: this has to lie on a disk"):
        disk_path("s3://bucket/out")


def test_what_paths_can_do(s3):
    root = path_of(s3.bucket) / "folder"
    assert not root.exists()
    assert list(root.glob("*")) == []
    assert not root.is_dir()
    put(root, "a.txt", "ä".encode())
    (root / "below" / "b.csv").write_text("1\n2\n")
    assert (root / "a.txt").read_text() == "ä"
    assert (root / "a.txt").stat().st_size == 2
    assert root.is_dir()
    assert not root.is_file()
    assert (root / "a.txt").is_file()
    assert [str(each) for each in root.iterdir()] == [f"{root}/a.txt", f"{root}/below"]
    assert [each.name for each in root.glob("*.txt")] == ["a.txt"]
    assert [str(each) for each in root.rglob("*.csv")] == [f"{root}/below/b.csv"]
    with (root / "below" / "b.csv").open() as file:
        assert file.read().split() == ["1", "2"]
    (root / "a.txt").replace(root / "c.txt")
    assert not (root / "a.txt").exists()
    assert (root / "c.txt").read_bytes() == "ä".encode()
    (root / "a.txt").unlink(missing_ok=True)
    with pytest.raises(FileNotFoundError):
        (root / "a.txt").unlink()
    with pytest.raises(FileNotFoundError):
        (root / "a.txt").stat()
    remove_tree(root)
    assert not (root / "below" / "b.csv").exists()


def test_what_is_replaced_is_whole_or_as_it_was(s3):
    there = path_of(s3.bucket) / "a.txt"
    put(there.parent, "a.txt", b"before")

    def half() -> None:
        with replacing(there) as file:
            file.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        half()
    assert there.read_bytes() == b"before"
    with replacing(there) as file:
        file.write_text("after")
    assert there.read_bytes() == b"after"


def test_a_copy_on_disk_is_kept_until_the_object_is_another_one(s3, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    there = path_of(s3.bucket) / "w.safetensors"
    put(there.parent, there.name, b"one")
    first = local(there)
    s3.calm()
    assert local(there) == first
    assert first.read_bytes() == b"one"
    assert first.suffix == ".safetensors"
    assert all(request.startswith("HEAD") for request in s3.requests)
    put(there.parent, there.name, b"another")
    assert local(there).read_bytes() == b"another"
    with pytest.raises(FileNotFoundError):
        local(there.parent / "nowhere")


def test_a_folder_is_listed_with_its_labels(s3, tmp_path):
    root = path_of(s3.bucket) / "mine"
    for name in ("Fake/a.mp4", "real/deep/b.bin", "c", "notes.txt", ".hidden", "what? no%20.mp4"):
        put(root, name, name.encode())
    manifest = build([root])
    found = {row["uri"].removeprefix(f"{root}/"): row["label"] for row in manifest.table.to_pylist()}
    assert found == {"Fake/a.mp4": "fake", "real/deep/b.bin": "real", "c": None, "what? no%20.mp4": None}
    assert set(manifest.table["dataset"].to_pylist()) == {"mine"}
    assert manifest.passed_over == {".txt": 1, ".hidden": 1}
    assert build([root / "Fake" / "a.mp4"]).table["label"].to_pylist() == ["fake"]
    with pytest.raises(UserError, match="no file or folder at s3://"):
        build([root / "nowhere"])


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_paths_count_from_a_manifest_on_a_store(s3, tmp_path, suffix):
    root = path_of(s3.bucket) / "lists"
    here = tmp_path / "here.mp4"
    here.write_bytes(b"x")
    rows = [("../clips/a.mp4", "m/a.mkv"), (str(here), ""), ("s3://other/b.mp4", "")]
    text = "".join(f"{uri},{truth}\n" for uri, truth in rows)
    (tmp_path / "m.csv").write_text("uri,truth_uri\n" + text)
    put(root.parent / "clips", "a.mp4")
    if suffix == ".csv":
        put(root, "m.csv", (tmp_path / "m.csv").read_bytes())
    else:
        import pyarrow.csv

        parquet.write_table(pyarrow.csv.read_csv(tmp_path / "m.csv"), root / "m.parquet")
    manifest = build([root / f"m{suffix}"])
    assert set(manifest.table["uri"].to_pylist()) == {f"{root.parent}/clips/a.mp4", str(here), "s3://other/b.mp4"}
    assert f"{root}/m/a.mkv" in manifest.table["truth_uri"].to_pylist()
    put(root, "ids.csv", b"uri\n../clips/a.mp4\n")
    kept, unknown = only(manifest, root / "ids.csv")
    assert (kept.table["uri"].to_pylist(), unknown) == ([f"{root.parent}/clips/a.mp4"], 0)


def test_an_object_is_known_by_its_digest_without_reading_it(s3):
    root = path_of(s3.bucket)
    one = put(root / "a", "x.mp4", b"content")
    other = put(root / "b", "x.mp4", b"content")
    s3.calm()
    ids = [video_id(one), video_id(one, "FaceSwap"), video_id(other)]
    assert {request.split()[0] for request in s3.requests} == {"HEAD"}
    assert len(s3.requests) == 3
    assert ids[0] == ids[2] != ids[1]
    put(root / "a", "x.mp4", b"Content")
    assert video_id(one) != ids[0]
    assert video_id(put(root, "y.mp4", b"content")) != ids[0]
    gone = video_id(f"{root}/c/x.mp4")
    assert gone == video_id("/nowhere/x.mp4") == video_id(put(root / "c", "x.mp4", b""))


def test_known_objects_cost_a_listing(s3, tmp_path, monkeypatch):
    monkeypatch.setattr("pipelines.identities._SETTLED_NS", -(10**18))
    root = path_of(s3.bucket) / "videos"
    for number in range(20):
        put(root, f"{number}.mp4", b"%d" % number)
    first = build([root], identities=Identities(tmp_path, Console(quiet=True))).table
    s3.calm()
    assert build([root], identities=Identities(tmp_path, Console(quiet=True))).table.equals(first)
    assert len(s3.requests) <= 6, Counter(s3.requests)
    assert first["video_id"].to_pylist() == sorted(video_id(uri) for uri in first["uri"].to_pylist())


def test_a_video_on_a_store_gives_what_it_gives_on_disk(s3, clip_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    pq.write_table(manifest_rows(clip_folder), clip_folder / "manifest.parquet")
    table = build([clip_folder / "manifest.parquet"]).table
    rows = [row for row in table.to_pylist() if row["truth_uri"]]
    table = table.from_pylist(rows, schema=MANIFEST.schema)
    upload(clip_folder, path_of(s3.bucket) / "clips")

    def moved(column: str) -> list[str]:
        return [f"{s3.bucket}/clips/{Path(row[column]).resolve().relative_to(clip_folder)}" for row in rows]

    there = table
    for column in ("uri", "truth_uri"):
        index = there.schema.get_field_index(column)
        there = there.set_column(index, there.schema.field(index), [moved(column)])
    s3.fail_every = 3
    args = {"params": PrepareParams(), "limits": Limits(), "views": (View(64),)}
    expected, found = (prepare(each, **args).to_pylist() for each in (table, there))
    assert s3.failed
    for one, other in zip(expected, found, strict=True):
        assert one["status"] == "ok"
        assert one["truth"]
        assert {k: v for k, v in one.items() if k not in ("uri", "truth_uri", "prepare_s")} == {
            k: v for k, v in other.items() if k not in ("uri", "truth_uri", "prepare_s")
        }
    assert list(tmp_path.iterdir()) == []  # nothing is left on disk

    broken = put(path_of(s3.bucket), "broken.mp4", b"no video at all")
    large = put(path_of(s3.bucket), "large.mp4", b"0" * (1 << 20) + b"1")
    rows = [rows[0] | {"uri": uri, "truth_uri": None} for uri in (broken, large, f"{s3.bucket}/gone.mp4")]
    rows.append(table.to_pylist()[0] | {"truth_uri": f"{s3.bucket}/gone.mkv"})
    args["limits"] = Limits(fetch_mb=1)
    found = prepare(table.from_pylist(rows, schema=MANIFEST.schema), **args).to_pylist()
    assert [row["error_code"] for row in found] == ["not_a_video", "too_large", "not_found", "truth_unreadable"]
    assert all(str(tmp_path) not in row["error_detail"] for row in found)
    assert f"{s3.bucket}/gone.mkv" in found[3]["error_detail"]


def test_a_store_that_stays_away_is_a_transient_error(s3):
    uri = put(path_of(s3.bucket), "a.mp4", b"x" * 100)
    s3.fail_every = 1
    with pytest.MonkeyPatch.context() as patch:
        from operators.storage import remote

        patch.setattr(remote, "_ATTEMPTS", 2)
        remote._system.cache_clear()
        with pytest.raises(SampleError, match="read_failed"), on_disk(uri, 1):
            pass
    remote._system.cache_clear()


def test_hundreds_of_failed_requests_do_not_make_the_next_one_final(s3):
    there = path_of(s3.bucket)
    (there / "a" / "b.txt").write_bytes(b"x")
    s3.calm()
    s3.fail_every = 3
    for _ in range(250):
        assert [path.name for path, _ in (there / "a").listed()] == ["b.txt"]
    assert s3.failed > 100  # so many were enough for the SDK to give up retrying


def test_the_store_s_apology_may_be_longer_than_what_was_asked_for(s3):
    """One in two fails: the SDK alone gives up at the first of them."""
    there = path_of(s3.bucket)
    (there / "a.txt").write_bytes(b"short")
    parquet.write_table(pa.table({"a": ["x"], "b": [1]}), there / "b.parquet", use_dictionary=False)
    s3.fail_every = 2
    for _ in range(20):
        assert (there / "a.txt").read_bytes() == b"short"
        with on_disk(f"{there}/a.txt", 1) as file:
            assert Path(file).read_bytes() == b"short"
        rows = parquet.dataset([there / "b.parquet"], pa.schema({"a": pa.string(), "b": pa.int64()}))
        assert rows.to_table(columns=["b"]).to_pylist() == [{"b": 1}]
    assert s3.failed > 20


def test_a_slow_store_is_waited_for(s3):
    uri = put(path_of(s3.bucket), "a.mp4", b"slowly")
    s3.delay_s = 4.0  # longer than what the client waits for unless told
    with on_disk(uri, 1) as file:
        assert Path(file).read_bytes() == b"slowly"


def test_weights_and_statistics(s3, tmp_path):
    import torch

    s3.fail_every = 10
    root, spec = path_of(s3.bucket) / "models", spec_for("test_resnet")
    model = load_model(spec)
    save_model(model, spec, tmp_path / "w.safetensors")
    save_model(model, spec, root / "w.safetensors")
    assert digest(root / "w.safetensors") == digest(tmp_path / "w.safetensors")
    assert digest(root / "w.safetensors") == hashlib.sha256((tmp_path / "w.safetensors").read_bytes()).hexdigest()
    assert spec_of(root / "w.safetensors") == spec
    for key, value in load_model(spec, root / "w.safetensors").state_dict().items():
        assert value.equal(model.state_dict()[key])
    with pytest.raises(ValueError, match="no weights file at s3://"):
        load_model(spec, root / "none.safetensors")
    known = of_batch(torch.rand(4, 2, 3, 3))
    statistics.save(known, root / "m" / "l.safetensors", {"model": "m", "layer": "l", "label": None})
    found = statistics.load(root / "m" / "l.safetensors")
    assert found.n == 4
    assert found.mean.equal(known.mean)
    assert statistics.shape(root / "m" / "l.safetensors") == (2, 3, 3)


def test_any_file_system_of_fsspec(tmp_path):
    """Its memory stands for the rest of them."""
    root = path_of("memory://somewhere/deep")
    put(root, "a.mp4", b"content")
    assert [str(each) for each in root.iterdir()] == ["memory://somewhere/deep/a.mp4"]
    with on_disk(f"{root}/a.mp4", 1) as file:
        assert Path(file).read_bytes() == b"content"
    # no digest: read as a file is, so its id is that of the file
    (tmp_path / "a.mp4").write_bytes(b"content")
    assert video_id(f"{root}/a.mp4") == video_id(str(tmp_path / "a.mp4"))
    write_table(build([root]).table, root / "m.parquet")
    assert parquet.read_table(root / "m.parquet")["uri"].to_pylist() == [f"{root}/a.mp4"]
    (root / "a.mp4").replace(root / "b.mp4")
    assert [each.name for each in root.glob("*.mp4")] == ["b.mp4"]
    with pytest.raises(SampleError, match="not_found"), on_disk("nosuch://x/y.mp4", 1):
        pass
