"""Every published layout, made small of real videos: labels, persons, pairs, splits, and what is wrong is reported."""

import csv
import io
import json
import shutil
import zlib
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from operators.video.encode import write_video
from operators.video.identity import read_blocks
from operators.video.sandbox import Limits, Sandbox
from pipelines import datasets, manifest
from pipelines.__main__ import main
from pipelines.datasets import command, dataset_manifest, names
from pipelines.datasets.listing import PROBLEMS, Entry
from pipelines.errors import UserError
from schemas.tables import MANIFEST


@pytest.fixture(autouse=True, scope="module")
def _kept_children():
    """What opens videos is real, and lives from test to test: to start it takes longer than the few it opens."""
    free: list[Sandbox] = []

    class Kept:
        def __init__(self, limits: Limits) -> None:
            try:
                self._box = free.pop()
            except IndexError:  # two threads ask
                self._box = Sandbox(limits)
            self.run = self._box.run

        def close(self) -> None:
            free.append(self._box)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets, "Sandbox", Kept)
        yield
    for box in free:
        box.close()


def clip(path: Path) -> Path:
    """Two frames of 16x16 that no other path has."""
    rng = np.random.default_rng(zlib.crc32(str(path).encode()))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, rng.integers(0, 256, (2, 16, 16, 3), np.uint8), 10)
    return path


def clips(root: Path, *paths: str) -> None:
    for path in paths:
        clip(root / path)


def rows(name: str, root: Path, **options) -> tuple[dict[str, dict], list[tuple[str, str]]]:
    """The rows by path below the root, and the problems as (problem, path)."""
    table, report = dataset_manifest(name, root, **options)
    assert table.schema.equals(MANIFEST.schema)
    assert len(set(table["video_id"].to_pylist())) == len(table)
    by_path = {Path(row["uri"]).relative_to(root.resolve()).as_posix(): row for row in table.to_pylist()}
    assert {problem.problem for problem in report.problems} <= PROBLEMS.keys()
    return by_path, [(problem.problem, problem.path) for problem in report.problems]


def facts(row: dict) -> tuple:
    return row["label"], row["manipulation"], row["identities"], row["split"]


@pytest.fixture
def faceforensics(tmp_path):
    root = tmp_path / "ffpp"
    for stem in ("000", "001", "002", "003"):
        clip(root / f"original_sequences/youtube/c23/videos/{stem}.mp4")
    for method in ("Deepfakes", "Face2Face"):
        for stem in ("000_003", "003_000", "001_002"):
            clip(root / f"manipulated_sequences/{method}/c23/videos/{stem}.mp4")
    clips(
        root,
        "original_sequences/actors/c23/videos/01__exit_phone_room.mp4",
        "original_sequences/actors/c23/videos/02__exit_phone_room.mp4",
        "manipulated_sequences/DeepFakeDetection/c23/videos/01_02__exit_phone_room__YVGY8LOK.mp4",
    )
    (root / "original_sequences/youtube/c23/images").mkdir()
    (root / "splits").mkdir()
    lists = {"train": [["000", "003"]], "val": [], "test": [["001", "002"]]}
    for split, pairs in lists.items():
        (root / "splits" / f"{split}.json").write_text(json.dumps(pairs))
    return root


def test_faceforensics(faceforensics):
    found, problems = rows("FaceForensics++", faceforensics)
    assert len(found) == 13
    real = found["original_sequences/youtube/c23/videos/000.mp4"]
    fake = found["manipulated_sequences/Deepfakes/c23/videos/000_003.mp4"]
    other = found["manipulated_sequences/Face2Face/c23/videos/000_003.mp4"]
    assert facts(real) == ("real", None, "ff:000", "train")
    assert facts(fake) == ("fake", "Deepfakes", "ff:000;ff:003", "train")
    assert facts(other) == ("fake", "Face2Face", "ff:000;ff:003", "train")
    assert facts(found["manipulated_sequences/Face2Face/c23/videos/001_002.mp4"])[3] == "test"
    assert fake["pair_id"] == other["pair_id"] == real["video_id"]
    assert real["pair_id"] is None
    assert {row["dataset"] for row in found.values()} == {"FaceForensics++", "DFD"}
    assert problems == [
        ("missing", "manipulated_sequences/Deepfakes/c23/videos/002_001.mp4"),
        ("missing", "manipulated_sequences/Face2Face/c23/videos/002_001.mp4"),
    ]


def test_forgeries_of_one_name_and_content_do_not_merge(faceforensics):
    one = faceforensics / "manipulated_sequences/Deepfakes/c23/videos/000_003.mp4"
    shutil.copy(one, faceforensics / "manipulated_sequences/Face2Face/c23/videos/000_003.mp4")
    found, problems = rows("faceforensics++", faceforensics)  # whatever the case of the name
    ids = [row["video_id"] for path, row in found.items() if path.endswith("/000_003.mp4")]
    assert len(set(ids)) == 2
    assert not any("-" in each for each in ids)  # told apart by their method, not by a number
    assert ("duplicate", "manipulated_sequences/Face2Face/c23/videos/000_003.mp4") in problems
    elsewhere = faceforensics.with_name("moved")
    faceforensics.rename(elsewhere)
    moved, _ = rows("FaceForensics++", elsewhere)
    assert {path: row["video_id"] for path, row in moved.items()} == {p: r["video_id"] for p, r in found.items()}


def test_a_compression_is_chosen(faceforensics):
    clip(faceforensics / "original_sequences/youtube/raw/videos/000.mp4")
    with pytest.raises(UserError, match="as c23, raw: choose one with --compression"):
        dataset_manifest("FaceForensics++", faceforensics)
    assert len(rows("FaceForensics++", faceforensics, compression="c23")[0]) == 13
    assert list(rows("FaceForensics++", faceforensics, compression="c0")[0]) == [
        "original_sequences/youtube/raw/videos/000.mp4"
    ]
    with pytest.raises(UserError, match="no videos of compression c40"):
        dataset_manifest("FaceForensics++", faceforensics, "c40")
    with pytest.raises(UserError, match="KoDF has no compressions"):
        dataset_manifest("KoDF", faceforensics, "c40")


@pytest.mark.parametrize("layout", ["FaceForensics++", "folders of its own"])
def test_dfd(tmp_path, faceforensics, layout):
    root = faceforensics
    if layout != "FaceForensics++":
        root = tmp_path / "dfd"
        clips(root, "DFD_original sequences/01__exit_phone_room.mp4", "DFD_original sequences/what.mp4")
        clips(root, "DFD_original sequences/02__exit_phone_room.mp4")
        clips(root, "DFD_manipulated_sequences/01_02__exit_phone_room__YVGY8LOK.mp4")
    found, problems = rows("DFD", root)
    named = {Path(path).name: row for path, row in found.items()}
    assert named.keys() == {
        "01__exit_phone_room.mp4",
        "02__exit_phone_room.mp4",
        "01_02__exit_phone_room__YVGY8LOK.mp4",
    }
    fake = named["01_02__exit_phone_room__YVGY8LOK.mp4"]
    assert facts(fake) == ("fake", "DeepFakeDetection", "dfd:01;dfd:02", None)
    assert fake["pair_id"] == named["01__exit_phone_room.mp4"]["video_id"]
    assert facts(named["02__exit_phone_room.mp4"]) == ("real", None, "dfd:02", None)
    assert problems == ([] if root == faceforensics else [("unlisted", "DFD_original sequences/what.mp4")])


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_celeb_df(tmp_path, version):
    clips(tmp_path, "Celeb-real/id0_0000.mp4", "Celeb-real/id1_0003.mp4", "YouTube-real/00170.mp4")
    clips(tmp_path, "Celeb-synthesis/id0_id1_0000.mp4", "Celeb-synthesis/odd.mp4")
    listed = "1 YouTube-real/00170.mp4\n0 Celeb-synthesis/id0_id1_0000.mp4\n0 Celeb-real/id1_0003.mp4\n"
    (tmp_path / "List_of_testing_videos.txt").write_text(listed + "1 Celeb-real/id9_0009.mp4\n")
    found, problems = rows(f"Celeb-DF-{version}", tmp_path)
    assert {path: facts(row) for path, row in found.items()} == {
        "Celeb-real/id0_0000.mp4": ("real", None, "celeb:id0", "train"),
        "Celeb-real/id1_0003.mp4": ("real", None, "celeb:id1", "test"),
        "YouTube-real/00170.mp4": ("real", None, "celeb:youtube-00170", "test"),
        "Celeb-synthesis/id0_id1_0000.mp4": ("fake", "Celeb-synthesis", "celeb:id0;celeb:id1", "test"),
        "Celeb-synthesis/odd.mp4": ("fake", "Celeb-synthesis", f"Celeb-DF-{version}:odd", "train"),
    }
    assert found["Celeb-synthesis/id0_id1_0000.mp4"]["pair_id"] == found["Celeb-real/id0_0000.mp4"]["video_id"]
    assert problems == [
        ("missing", "Celeb-real/id9_0009.mp4"),
        ("label_conflict", "Celeb-real/id1_0003.mp4"),
        ("odd_name", "Celeb-synthesis/odd.mp4"),
    ]


def test_celeb_df_without_the_list_has_no_split(tmp_path):
    clips(tmp_path, "Celeb-real/id0_0000.mp4")
    found, problems = rows("Celeb-DF-v2", tmp_path)
    assert found["Celeb-real/id0_0000.mp4"]["split"] is None
    assert problems == [("missing", "List_of_testing_videos.txt")]


def test_dfdc(tmp_path):
    part, test = tmp_path / "dfdc_train_part_0", tmp_path / "test"
    clips(tmp_path, *(f"dfdc_train_part_0/{name}.mp4" for name in ("aaa", "bbb", "stray")), "test/ccc.mp4")
    meta = {
        "bbb.mp4": {"label": "FAKE", "split": "train", "original": "aaa.mp4"},
        "aaa.mp4": {"label": "REAL", "split": "train", "original": None},
        "gone.mp4": {"label": "FAKE", "split": "train", "original": "aaa.mp4"},
    }
    (part / "metadata.json").write_text(json.dumps(meta))
    (test / "labels.csv").write_text("filename,label\nccc.mp4,1\n")
    final = tmp_path / "final"  # which says it otherwise
    clips(tmp_path, "final/ddd.mp4", "final/eee.mp4")
    (final / "metadata.json").write_text(json.dumps({"ddd.mp4": {"is_fake": 1}, "eee.mp4": {"is_fake": 0}}))
    found, problems = rows("DFDC", tmp_path)
    assert found.pop("final/ddd.mp4")["label"] == "fake"
    assert found.pop("final/eee.mp4")["label"] == "real"
    assert {path: facts(row) for path, row in found.items()} == {
        "dfdc_train_part_0/aaa.mp4": ("real", None, "dfdc:aaa", "train"),
        "dfdc_train_part_0/bbb.mp4": ("fake", "DFDC", "dfdc:aaa", "train"),
        "test/ccc.mp4": ("fake", "DFDC", "dfdc:ccc", "test"),
    }
    assert found["dfdc_train_part_0/bbb.mp4"]["pair_id"] == found["dfdc_train_part_0/aaa.mp4"]["video_id"]
    assert problems == [("missing", "dfdc_train_part_0/gone.mp4"), ("unlisted", "dfdc_train_part_0/stray.mp4")]


def test_dfdc_preview(tmp_path):
    real, fake = "original_videos/1152039/1152039_A_001.mp4", "method_A/1224068/1224068_A_001_1152039.mp4"
    clips(tmp_path, real, fake)
    listed = {
        real: {"label": "real", "set": "train", "target_id": 1152039, "swapped_id": None, "augmentations": []},
        fake: {"label": "fake", "set": "test", "target_id": 1224068, "swapped_id": 1152039, "augmentations": []},
        "method_B/1/gone.mp4": {"label": "fake", "set": "test", "target_id": 1, "swapped_id": 2},
    }
    (tmp_path / "dataset.json").write_text(json.dumps(listed))
    found, problems = rows("DFDC-preview", tmp_path)
    assert facts(found[real]) == ("real", None, "dfdcp:1152039", "train")
    assert facts(found[fake]) == ("fake", "method_A", "dfdcp:1224068;dfdcp:1152039", "test")
    assert problems == [("missing", "method_B/1/gone.mp4")]


def test_deeperforensics(tmp_path):
    source = "source_videos/M004/light_up/happy/camera_front/M004_light_up_happy_camera_front.mp4"
    variants = ("end_to_end", "end_to_end_level_1")
    clips(tmp_path, source, *(f"manipulated_videos/{variant}/000_M004.mp4" for variant in variants))
    clips(tmp_path, "manipulated_videos/end_to_end/001_W101.mp4")
    lists = tmp_path / "lists" / "splits"
    lists.mkdir(parents=True)
    for split, text in (("train", "000_M004.mp4\n"), ("val", ""), ("test", "001_W101.mp4\n")):
        (lists / f"{split}.txt").write_text(text)
    found, problems = rows("DeeperForensics-1.0", tmp_path)
    assert {path: facts(row) for path, row in found.items()} == {
        source: ("real", None, "deeper:M004", None),
        "manipulated_videos/end_to_end/000_M004.mp4": ("fake", "end_to_end", "ff:000;deeper:M004", "train"),
        "manipulated_videos/end_to_end/001_W101.mp4": ("fake", "end_to_end", "ff:001;deeper:W101", "test"),
        "manipulated_videos/end_to_end_level_1/000_M004.mp4": (
            *("fake", "end_to_end_level_1", "ff:000;deeper:M004", "train"),
        ),
    }
    assert problems == [("missing", "manipulated_videos/end_to_end_level_1/001_W101.mp4")]


def test_fakeavceleb(tmp_path):
    real = "RealVideo-RealAudio/African/men/id00076/00109.mp4"
    fake = "FakeVideo-FakeAudio/African/men/id00076/00109_10_id00476_wavtolip.mp4"
    sound = "RealVideo-FakeAudio/African/men/id00076/00109_fake.mp4"
    clips(tmp_path, real, fake, sound)
    header = "source,target1,target2,method,category,type,race,gender,path,\n"
    lines = [
        "id00076,-,-,real,A,RealVideo-RealAudio,African,men,00109.mp4,FakeAVCeleb/" + real.rsplit("/", 1)[0],
        "id00076,id00476,10,wav2lip,D,FakeVideo-FakeAudio,African,men," + fake.rsplit("/", 1)[1] + ",",
        "id00076,-,-,rtvc,B,RealVideo-FakeAudio,African,men,00109_fake.mp4,FakeAVCeleb/" + sound.rsplit("/", 1)[0],
        "id00076,id00476,10,faceswap-wav2lip,D,FakeVideo-FakeAudio,African,men," + fake.rsplit("/", 1)[1] + ",",
        "id00077,-,-,real,A,RealVideo-RealAudio,African,men,00001.mp4,FakeAVCeleb/RealVideo-RealAudio/x",
    ]
    (tmp_path / "meta_data.csv").write_text(header + "\n".join(lines) + "\n")
    found, problems = rows("FakeAVCeleb", tmp_path)
    assert {path: facts(row) for path, row in found.items()} == {
        real: ("real", None, "vox:id00076", None),
        fake: ("fake", "wav2lip", "vox:id00076;vox:id00476", None),
        sound: ("real", "rtvc", "vox:id00076", None),
    }
    assert found[fake]["pair_id"] == found[sound]["pair_id"] == found[real]["video_id"]
    assert problems == [
        ("missing", "FakeAVCeleb/RealVideo-RealAudio/x/00001.mp4"),
        ("listed_twice", fake),
        ("sound_only", sound),
    ]


def test_av_deepfake1m(tmp_path):
    base = "id00012/21Uxsk56VDQ/00001"
    kinds = {
        "real": "real",
        "fake_video_fake_audio": "both_modified",
        "fake_video_real_audio": "visual_modified",
        "real_video_fake_audio": "audio_modified",
    }
    clips(tmp_path, *(f"train/{base}/{name}.mp4" for name in kinds), "test/000001.mp4", "val/extra.mp4")
    original = {"real": "vox_celeb_2/id00012/21Uxsk56VDQ/00001.mp4"}
    metas = [
        {"file": f"{base}/{name}.mp4", "modify_type": kind, "original": original.get(name, f"{base}/real.mp4")}
        for name, kind in kinds.items()
    ]
    (tmp_path / "train_metadata.json").write_text(json.dumps(metas))
    gone = {"file": "id00013/x/00001/real.mp4", "modify_type": "real", "original": None}
    (tmp_path / "val_metadata.json").write_text(json.dumps([gone]))
    (tmp_path / "test_files.txt").write_text("000001.mp4\n000002.mp4\n")
    found, problems = rows("AV-Deepfake1M", tmp_path)
    labels = {Path(path).stem: (row["label"], row["manipulation"], row["split"]) for path, row in found.items()}
    assert labels == {
        "real": ("real", None, "train"),
        "fake_video_fake_audio": ("fake", "both_modified", "train"),
        "fake_video_real_audio": ("fake", "visual_modified", "train"),
        "real_video_fake_audio": ("real", "audio_modified", "train"),
        "000001": (None, None, "test"),
    }
    real = found[f"train/{base}/real.mp4"]
    assert real["identities"] == "vox:id00012"
    assert found[f"train/{base}/fake_video_fake_audio.mp4"]["pair_id"] == real["video_id"]
    assert problems == [
        ("missing", "test/000002.mp4"),
        ("missing", "val/id00013/x/00001/real.mp4"),
        ("unlisted", "val/extra.mp4"),
        ("sound_only", f"train/{base}/real_video_fake_audio.mp4"),
    ]


def test_kodf(tmp_path):
    real, fake = "originals/aa/aa_001.mp4", "dfl/aa/aa_bb_1_0001.mp4"
    clips(tmp_path, real, fake)
    meta = tmp_path / "meta"
    meta.mkdir()
    (meta / "원본영상_training_메타데이터.csv").write_text("영상ID,UUID,인물성별\naa_001.mp4,aa,여\n", "utf-8-sig")
    forged = (
        "영상ID,타겟영상,타겟UUID,소스UUID,변조모델\naa_bb_1_0001.mp4,aa_001.mp4,aa,bb,dfl\ngone.mp4,x.mp4,cc,dd,fo\n"
    )
    (meta / "변조영상_training_메타데이터.csv").write_text(forged, "utf-8")
    found, problems = rows("KoDF", tmp_path)
    assert facts(found[real]) == ("real", None, "kodf:aa", "train")
    assert facts(found[fake]) == ("fake", "dfl", "kodf:aa;kodf:bb", "train")
    assert found[fake]["pair_id"] == found[real]["video_id"]
    assert problems == [("missing", "gone.mp4")]


def test_plain_folder(tmp_path):
    root = tmp_path / "mine"
    clips(root, "train/real/Anna 1.mp4", "train/fake/Deepfakes/swap-anna_1-bob.mp4", "test/fake/x.mp4", "other/y.mp4")
    clips(root, "test/real/bob.mp4")
    found, problems = rows("folder", root)
    assert {path: facts(row) for path, row in found.items()} == {
        "train/real/Anna 1.mp4": ("real", None, "mine:anna_1", "train"),
        "test/real/bob.mp4": ("real", None, "mine:bob", "test"),
        "train/fake/Deepfakes/swap-anna_1-bob.mp4": ("fake", "Deepfakes", "mine:anna_1;mine:bob", "train"),
        "test/fake/x.mp4": ("fake", "fake", "mine:x", "test"),
    }
    fake = found["train/fake/Deepfakes/swap-anna_1-bob.mp4"]
    assert fake["pair_id"] == found["train/real/Anna 1.mp4"]["video_id"]
    assert problems == [("unlisted", "other/y.mp4")]


def frames(folder: str, n: int = 2) -> list[str]:
    return [f"{folder}/{index:03d}.png" for index in range(n)]


def test_deepfakebench_with_videos(tmp_path):
    base = "FaceForensics++/{}/c23/{}/{}"
    fake, real = "manipulated_sequences/Deepfakes", "original_sequences/youtube"
    clips(tmp_path, base.format(real, "videos", "000.mp4"), base.format(fake, "videos", "000_003.mp4"))
    away = "/home/somebody/data/"  # the lists hold the paths of the machine that wrote them
    listed = {
        "FaceForensics++": {
            "FF-real": {
                "train": {
                    "c23": {"000": {"label": "FF-real", "frames": frames(away + base.format(real, "frames", "000"))}},
                    "c40": {"000": {"label": "FF-real", "frames": frames(away + "x/c40/frames/000")}},
                },
                "test": {},
                "val": {},
            },
            "FF-DF": {
                "train": {},
                "test": {
                    "c23": {
                        "000_003": {
                            "label": "FF-DF",
                            "frames": frames((away + base.format(fake, "frames", "000_003")).replace("/", "\\")),
                        },
                        "001_002": {"label": "FF-DF", "frames": frames(base.format(fake, "frames", "001_002"))},
                    }
                },
                "val": {},
            },
        }
    }
    (tmp_path / "dataset_json").mkdir()
    (tmp_path / "dataset_json" / "FaceForensics++.json").write_text(json.dumps(listed))
    with pytest.raises(UserError, match="c23, c40"):
        dataset_manifest("DeepfakeBench", tmp_path)
    found, problems = rows("DeepfakeBench", tmp_path, compression="c23")
    one, other = (found[base.format(*each)] for each in ((real, "videos", "000.mp4"), (fake, "videos", "000_003.mp4")))
    assert facts(one) == ("real", None, "ff:000", "train")
    assert facts(other) == ("fake", "Deepfakes", "ff:000;ff:003", "test")
    assert other["pair_id"] == one["video_id"]
    assert {row["dataset"] for row in found.values()} == {"FaceForensics++"}
    assert len(found) == 2
    assert problems == [("missing", base.format(fake, "frames", "001_002"))]


def test_deepfakebench_with_frames_only(tmp_path):
    pictures = frames("Celeb-DF-v2/Celeb-synthesis/frames/id0_id1_0000")
    real = frames("Celeb-DF-v2/Celeb-real/frames/id0_0000")
    clips(tmp_path, *pictures, real[0])  # the decoder goes by content, not by suffix
    video = {"id0_id1_0000": {"label": "CelebDFv2_fake", "frames": pictures}}
    own = {"id0_0000": {"label": "CelebDFv2_real", "frames": real}}
    listed = {
        "Celeb-DF-v2": {
            "CelebDFv2_fake": {"train": {**video, "z": {"label": "", "frames": []}}, "val": video, "test": video},
            "CelebDFv2_real": {"train": own, "val": {}, "test": {}},
        }
    }
    path = tmp_path / "Celeb-DF-v2.json"
    path.write_text(json.dumps(listed))
    table, report = dataset_manifest("DeepfakeBench", path)
    found = {Path(row["uri"]).relative_to(tmp_path).as_posix(): row for row in table.to_pylist()}
    assert found.keys() == {*pictures, real[0]}
    fake = found[pictures[0]]
    assert fake["identities"] == "celeb:id0;celeb:id1;Celeb-DF-v2:Celeb-synthesis/id0_id1_0000"
    assert fake["pair_id"] == found[real[0]]["video_id"]
    assert found[pictures[1]]["pair_id"] is None
    # everything of this label is in every split: it has none
    assert (fake["split"], found[real[0]]["split"]) == (None, "train")
    assert [(each.problem, each.path) for each in report.problems] == [("missing", real[1])]


def test_deepfakebench_test_comes_before_train_and_val(tmp_path):
    def video(name: str) -> dict:
        clip(tmp_path / "Celeb-real" / "videos" / f"{name}.mp4")
        return {name: {"label": "CelebDFv1_real", "frames": frames(f"Celeb-real/frames/{name}")}}

    a, b = video("id0_0000"), video("id1_0000")
    lists = {"Celeb-DF-v1": {"CelebDFv1_real": {"train": {**a, **b}, "val": a, "test": a}}}
    (tmp_path / "Celeb-DF-v1.json").write_text(json.dumps(lists))
    found, problems = rows("DeepfakeBench", tmp_path)
    assert {Path(path).stem: row["split"] for path, row in found.items()} == {"id0_0000": "test", "id1_0000": "train"}
    assert problems == [("in_several_splits", "Celeb-real/frames/id0_0000")]


def test_duplicates_and_unreadable_files_are_rows_and_reported(tmp_path):
    clips(tmp_path, "real/a.mp4", "real/b.mp4")
    shutil.copy(tmp_path / "real/a.mp4", tmp_path / "real/z.mp4")
    (tmp_path / "fake").mkdir()
    shutil.copy(tmp_path / "real/a.mp4", tmp_path / "fake/other.mp4")
    (tmp_path / "fake/empty.mp4").touch()
    (tmp_path / "fake/noise.mp4").write_bytes(b"no video" * 100)
    table, report = dataset_manifest("folder", tmp_path)
    assert len(table) == 6
    found = {each.path: (each.problem, each.detail) for each in report.problems}
    assert found.keys() == {"real/a.mp4", "real/z.mp4", "fake/empty.mp4", "fake/noise.mp4"}
    assert found["real/a.mp4"] == ("duplicate", "of fake/other.mp4, which is labelled fake")
    assert found["real/z.mp4"] == ("duplicate", "of fake/other.mp4, which is labelled fake")
    assert found["fake/empty.mp4"][1].startswith("empty_file: ")
    assert found["fake/noise.mp4"][1].startswith("not_a_video: ")
    shared = [row["identities"].split(";")[-1] for row in table.to_pylist() if "content:" in row["identities"]]
    assert len(shared) == 3
    assert len(set(shared)) == 1
    assert report.counts() == {"duplicate": 2, "unreadable": 2}


def test_large_files_that_differ_between_the_hashed_blocks_are_no_duplicates(tmp_path):
    content = bytearray(clip(tmp_path / "real/a.mp4").read_bytes() + bytes(3 << 20))
    (tmp_path / "real/a.mp4").write_bytes(content)
    content[(1 << 20) + (100 << 10)] = 1  # between two of the 16 blocks
    (tmp_path / "real/b.mp4").write_bytes(content)
    assert read_blocks(str(tmp_path / "real/a.mp4")) == read_blocks(str(tmp_path / "real/b.mp4"))
    assert rows("folder", tmp_path)[1] == []


def entries(root: Path) -> list[Entry]:
    counts = {None: 100, "Deepfakes": 40, "Face2Face": 3}
    return [
        Entry(root / f"{method}/{i}.mp4", "A", "fake" if method else "real", method, ())
        for method, count in counts.items()
        for i in range(count)
    ] + [Entry(root / f"b/{i}.mp4", "B", "real", None, ()) for i in range(5)]


def test_sample_is_balanced_and_stable(tmp_path):
    every = entries(tmp_path)
    taken = datasets.take_sample(every, tmp_path, 20, 1)
    of_a = [entry.manipulation for entry in taken if entry.dataset == "A"]
    # 3 are all there are; 17 are left for two
    assert (of_a.count("Face2Face"), of_a.count("Deepfakes"), of_a.count(None)) == (3, 8, 9)
    assert sum(entry.dataset == "B" for entry in taken) == 5
    assert taken == datasets.take_sample(every[::-1], tmp_path, 20, 1)
    moved = datasets.take_sample(entries(tmp_path / "moved"), tmp_path / "moved", 20, 1)
    assert [each.file.relative_to(tmp_path / "moved") for each in moved] == [
        each.file.relative_to(tmp_path) for each in taken
    ]
    other = datasets.take_sample(every, tmp_path, 20, 2)
    assert {each.file for each in other} != {each.file for each in taken}
    assert len(datasets.take_sample(every, tmp_path, 2, 1)) == 4


def test_sampled_forgeries_know_an_original_outside_the_sample(faceforensics):
    everything, _ = rows("FaceForensics++", faceforensics)
    found, problems = rows("FaceForensics++", faceforensics, sample=3, seed=5)
    assert len([row for row in found.values() if row["dataset"] == "FaceForensics++"]) == 3
    assert {row["manipulation"] for row in found.values() if row["dataset"] == "FaceForensics++"} == {
        None,
        "Deepfakes",
        "Face2Face",
    }
    assert {path: row["pair_id"] for path, row in found.items()} == {p: everything[p]["pair_id"] for p in found}
    assert len(problems) == 2  # what is missing is reported all the same


@pytest.mark.parametrize("name", datasets.NAMES)
def test_a_root_of_another_layout_is_one_line(tmp_path, name):
    with pytest.raises(UserError) as error:
        dataset_manifest(name, tmp_path)
    assert "\n" not in str(error.value)
    assert str(tmp_path) in str(error.value)


def test_user_mistakes(tmp_path, faceforensics):
    with pytest.raises(UserError, match="unknown dataset FF; known are FaceForensics"):
        dataset_manifest("FF", tmp_path)
    with pytest.raises(UserError, match="no folder at"):
        dataset_manifest("folder", tmp_path / "nowhere")
    with pytest.raises(UserError, match="at least 1"):
        dataset_manifest("FaceForensics++", faceforensics, sample=0)
    (faceforensics / "splits" / "train.json").write_text("{")
    with pytest.raises(UserError, match=r"cannot read .*train\.json"):
        dataset_manifest("FaceForensics++", faceforensics)


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_the_command_writes_what_explain_takes(tmp_path, faceforensics, suffix, capsys):
    out = tmp_path / "made" / f"ffpp{suffix}"
    arguments = ["manifest", "--dataset", "FaceForensics++", "--root", str(faceforensics), "--out", str(out)]
    assert main([*arguments, "--compression", "c23", "--seed", "3"]) == 0
    table = manifest.build([out]).table
    expected, _ = dataset_manifest("FaceForensics++", faceforensics)
    columns = [name for name in MANIFEST.schema.names if name != "split"]
    assert table.select(columns).equals(expected.select(columns))
    assert None not in table["split"].to_pylist()
    report = pq.read_table(out.with_name("ffpp-report.parquet"))
    assert report.schema.equals(datasets.REPORT)
    assert report["problem"].to_pylist() == ["missing", "missing"]
    assert "13 videos in" in capsys.readouterr().out


def test_the_command_counts_by_source_and_says_when_the_official_split_leaks(tmp_path):
    clips(tmp_path, "Celeb-real/id0_0000.mp4", "Celeb-real/id0_0001.mp4", "Celeb-synthesis/id0_id1_0000.mp4")
    (tmp_path / "List_of_testing_videos.txt").write_text("1 Celeb-real/id0_0001.mp4\n")
    console = Console(file=io.StringIO(), width=200)
    command.manifest("Celeb-DF-v2", tmp_path, tmp_path / "m.csv", console)
    said = console.file.getvalue()
    assert "the official split has 1 identities on more than one side, the first is celeb:id0" in said
    assert "largest group that shared identities tie together has 3 of 3 videos" in said
    with (tmp_path / "m.csv").open() as lines:
        assert sorted(row["split"] for row in csv.DictReader(lines)) == ["test", "train", "train"]
    command.manifest("Celeb-DF-v2", tmp_path, tmp_path / "m.csv", console, resplit=True)
    with (tmp_path / "m.csv").open() as lines:
        assert [row["split"] for row in csv.DictReader(lines)] == ["train"] * 3
    assert "every video is in" not in console.file.getvalue()  # one group: it cannot be divided
    with pytest.raises(UserError, match=r"is a \.parquet or \.csv"):
        command.manifest("Celeb-DF-v2", tmp_path, tmp_path / "m.json", console)


def test_the_command_says_when_the_official_split_has_one_side(tmp_path):
    clips(tmp_path, "train/real/a.mp4", "train/real/b.mp4", "train/real/c.mp4", "train/fake/d.mp4")
    console = Console(file=io.StringIO(), width=200)
    command.manifest("folder", tmp_path, tmp_path / "m.parquet", console)
    assert "every video is in train: --resplit divides them" in console.file.getvalue()
    command.manifest("folder", tmp_path, tmp_path / "m.parquet", console, resplit=True)
    assert set(pq.read_table(tmp_path / "m.parquet")["split"].to_pylist()) > {"train"}


def test_the_command_divides_by_its_seed(tmp_path):
    clips(tmp_path, *(f"real/{name}.mp4" for name in "abcdefgh"))

    def divided(seed: int) -> list[str]:
        command.manifest("folder", tmp_path, tmp_path / "m.parquet", Console(quiet=True), seed=seed)
        return pq.read_table(tmp_path / "m.parquet")["split"].to_pylist()

    assert divided(1) == divided(1)
    assert len({tuple(divided(seed)) for seed in range(5)}) > 1


def test_every_dataset_is_documented():
    text = (Path(__file__).resolve().parents[2] / "docs" / "datasets.md").read_text()
    assert [name for name in datasets.NAMES if f"`{name}`" not in text] == []


def test_names():
    assert names.faceforensics("0000") is None
    assert names.dfd("1__scene") is None
    assert names.celeb("id16_id2_0011") == names.Name(("celeb:id16", "celeb:id2"), "id16_0011")
    assert names.deeperforensics("100_W120") == names.Name(("ff:100", "deeper:W120"), "100")
    assert names.voxceleb("x/id00012/y id00012_id00476.mp4 aid00099 id000123") == ("vox:id00012", "vox:id00476")
