"""The published layouts of Celeb-DF, DFDC, FakeAVCeleb, AV-Deepfake1M, KoDF, and of a plain folder."""

import csv
import re
import unicodedata
from pathlib import Path
from typing import Any

from pipelines.datasets import names
from pipelines.datasets.listing import Entry, Listing, find, need, read_json, videos
from pipelines.errors import UserError

_SPLIT_NAMES = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val"}
_SPLIT_NAMES |= {"test": "test", "testing": "test"}


def celeb_df(root: Path, dataset: str) -> Listing:
    """Celeb-real, YouTube-real, Celeb-synthesis and List_of_testing_videos.txt, whose label 1 means real.

    What the list does not name is the training split; without the list the split is made anew.
    """
    listing = Listing(root)
    folders = {path.name.lower(): path for path in root.iterdir() if path.is_dir()}
    kinds = {"celeb-real": None, "youtube-real": None, "celeb-synthesis": "Celeb-synthesis"}
    if not folders.keys() & kinds.keys():
        raise UserError(f"no Celeb-real, YouTube-real or Celeb-synthesis in {root}")
    test, path = {}, root / "List_of_testing_videos.txt"
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            label, _, listed = line.strip().partition(" ")
            if listed:
                kind, _, name = listed.strip().rpartition("/")
                test[kind.lower(), Path(name).stem] = listed.strip(), "real" if label == "1" else "fake"
    else:
        listing.report("missing", path, "so its videos are split anew")
    for kind, manipulation in kinds.items():
        for file in videos(folders[kind]) if kind in folders else ():
            label = "real" if manipulation is None else "fake"
            split = "train" if path.is_file() else None
            if (kind, file.stem) in test:
                split, (_, listed_label) = "test", test.pop((kind, file.stem))
                if listed_label != label:
                    listing.report("label_conflict", file, f"{listed_label} in {path.name}")
            listing.add_named(file, dataset, label, manipulation, names.celeb, split)
    for listed, _ in test.values():
        listing.report("missing", listed, f"named by {path.name}")
    return listing


def dfdc(root: Path) -> Listing:
    """A metadata.json or labels.csv in every folder of videos: label, split and original by file name.

    The metadata name no person: a video is kept with its original, which is all that can be known.
    """
    listing = Listing(root)
    lists = sorted([*root.rglob("metadata.json"), *root.rglob("labels.csv")])
    if not lists:
        raise UserError(f"no metadata.json or labels.csv in or below {root}: DFDC has one in every folder of videos")
    for path in lists:
        folder = path.parent
        words = [_SPLIT_NAMES[word] for word in re.split(r"[^a-z]+", folder.name.lower()) if word in _SPLIT_NAMES]
        present = {file.name: file for file in videos(folder)}
        for name, meta in _dfdc_items(path):
            original = meta.get("original") or None
            label = str(meta["label"]).lower() if "label" in meta else "fake" if meta.get("is_fake") else "real"
            label = {"1": "fake", "0": "real"}.get(label, label)
            if label not in ("real", "fake"):
                raise UserError(f"{path} gives {name} the label {label!r}; REAL, FAKE, 0 and 1 are known")
            if name not in present:
                listing.report("missing", folder / name, f"named by {path.name}")
                continue
            identities = (f"dfdc:{Path(original or name).stem}",)
            split = words[0] if words else _SPLIT_NAMES.get(str(meta.get("split")))
            manipulation = None if label == "real" else "DFDC"  # which method made it was never published
            listing.add(Entry(present[name], "DFDC", label, manipulation, identities, name, original, split))
    listing.report_unlisted(root)
    return listing


def _dfdc_items(path: Path) -> list[tuple[str, dict[str, Any]]]:
    if path.suffix == ".json":
        return list(read_json(path).items())
    return [(row["filename"], row) for row in _rows(path)]


def dfdc_preview(root: Path) -> Listing:
    """dataset.json names every video: original_videos/..., method_A/..., method_B/... with label, set and actors."""
    listing = Listing(root)
    listed = read_json(need(root / "dataset.json", "the root of the DFDC preview has it beside original_videos"))
    for name, meta in listed.items():
        file = root / name
        if not file.is_file():
            listing.report("missing", name, "named by dataset.json")
            continue
        label = str(meta["label"]).lower()
        persons = [meta.get(key) for key in ("target_id", "swapped_id")]
        identities = tuple(dict.fromkeys(f"dfdcp:{person}" for person in persons if person not in (None, "")))
        manipulation = None if label == "real" else name.split("/")[0]
        split = _SPLIT_NAMES.get(str(meta.get("set")))
        listing.add(Entry(file, "DFDC-preview", label, manipulation, identities or (f"dfdcp:{name}",), split=split))
    listing.report_unlisted(root)
    return listing


def fakeavceleb(root: Path) -> Listing:
    """meta_data.csv: source, target1, target2, method, category, type, race, gender, file name, folder.

    The header has one name less than the rows have values. Of RealVideo-FakeAudio only the sound is forged.
    """
    listing = Listing(root)
    path = need(root / "meta_data.csv", "the root of FakeAVCeleb has it beside RealVideo-RealAudio")
    with path.open(encoding="utf-8-sig", newline="") as lines:
        rows = [row for row in csv.reader(lines) if len(row) > 8][1:]
    for source, target1, target2, method, _, kind, race, gender, name, *rest in rows:
        folder = rest[0] if rest and rest[0] else f"{kind}/{race}/{gender}/{source}"
        file = find(root, f"{folder}/{name}")
        if file is None:
            listing.report("missing", f"{folder}/{name}", f"named by {path.name}")
            continue
        genuine = kind == "RealVideo-RealAudio"
        label = "real" if kind.startswith("RealVideo") else "fake"
        if label == "real" and not genuine:
            listing.report("sound_only", file, method)
        persons = names.voxceleb(" ".join((source, target1, target2, name)))
        clip = f"{source}/{Path(name).stem.split('_')[0]}"  # 00109_10_id00476_wavtolip is made from 00109
        identities = persons or (f"vox:{source}",)
        manipulation, original = (None, None) if genuine else (method, clip)
        listing.add(Entry(file, "FakeAVCeleb", label, manipulation, identities, clip, original))
    listing.report_unlisted(root)
    return listing


def av_deepfake1m(root: Path) -> Listing:
    """{train,val}_metadata.json: file, original and modify_type; test_files.txt names the test videos, unlabelled.

    A file lies in the folder of its split. Of audio_modified only the sound is forged.
    """
    listing = Listing(root)
    lists = [path for split in ("train", "val") if (path := root / f"{split}_metadata.json").is_file()]
    if not lists:
        raise UserError(f"no train_metadata.json or val_metadata.json in {root}: AV-Deepfake1M has them in its root")
    for path in lists:
        split = path.name.split("_")[0]
        for meta in read_json(path):
            name, kind = str(meta["file"]), str(meta["modify_type"]).replace("-", "_")
            file = find(root, f"{split}/{name}")
            if file is None:
                listing.report("missing", f"{split}/{name}", f"named by {path.name}")
                continue
            if kind == "audio_modified":
                listing.report("sound_only", file)
            original = meta.get("original")
            identities = names.voxceleb(f"{name} {original or ''}") or (f"av1m:{Path(name).parent.as_posix()}",)
            label = "real" if kind in ("real", "audio_modified") else "fake"
            manipulation = None if kind == "real" else kind
            listing.add(Entry(file, "AV-Deepfake1M", label, manipulation, identities, name, original, split))
        listing.report_unlisted(root / split)
    test = root / "test_files.txt"
    for name in test.read_text(encoding="utf-8").splitlines() if test.is_file() else ():
        if not name.strip():
            continue
        file = find(root, f"test/{name.strip()}")
        if file is None:
            listing.report("missing", f"test/{name.strip()}", f"named by {test.name}")
        else:
            listing.add(Entry(file, "AV-Deepfake1M", None, None, (f"av1m:test/{name.strip()}",), split="test"))
    return listing


def kodf(root: Path) -> Listing:
    """The two kinds of metadata CSV, anywhere below the root, name videos that lie anywhere below it.

    Genuine (원본영상_*): 영상ID, UUID. Forged (변조영상_*): 영상ID, 타겟영상, 타겟UUID, 소스UUID, 변조모델. The name
    of a CSV holds its split. Columns and names are compared in Unicode's composed form.
    """
    listing = Listing(root)
    present = {_composed(file.name): file for file in videos(root)}
    stems = {Path(name).stem: file for name, file in present.items()}
    lists = [(path, rows) for path in sorted(root.rglob("*.csv")) if (rows := _rows(path)) and "영상ID" in rows[0]]
    if not lists:
        raise UserError(f"no CSV with a column 영상ID in or below {root}: KoDF names its videos in them")
    for path, rows in lists:
        words = re.split(r"[^a-z]+", path.stem.lower())
        split = next((_SPLIT_NAMES[word] for word in words if word in _SPLIT_NAMES), None)
        for row in rows:
            name = _composed(row["영상ID"])
            file = present.get(name) or stems.get(Path(name).stem)
            if file is None:
                listing.report("missing", name, f"named by {path.name}")
                continue
            model = row.get("변조모델")
            persons = (row.get("UUID"),) if model is None else (row.get("타겟UUID"), row.get("소스UUID"))
            identities = tuple(dict.fromkeys(f"kodf:{person}" for person in persons if person))
            label, original = ("real", None) if model is None else ("fake", Path(row.get("타겟영상") or "").stem)
            stem = Path(name).stem
            listing.add(Entry(file, "KoDF", label, model, identities or (f"kodf:{stem}",), stem, original, split))
    listing.report_unlisted(root)
    return listing


def folder(root: Path) -> Listing:
    """Videos below real/ and fake/ at any depth; the folder below fake/ names the manipulation.

    A folder train, val or test above or below gives the split. A genuine video is its own identity; a forged one has
    every genuine video's whose whole name is found in its own, between characters that are no letters or digits.
    """
    listing = Listing(root)
    found: list[tuple[Path, str, str | None, str | None]] = []
    for file in videos(root):
        parents = file.relative_to(root).parts[:-1]
        labels = [index for index, part in enumerate(parents) if part.lower() in ("real", "fake")]
        if not labels:
            listing.report("unlisted", file, "in no folder real or fake")
            continue
        label = parents[labels[-1]].lower()
        methods = [part for part in parents[labels[-1] + 1 :] if part.lower() not in _SPLIT_NAMES]
        manipulation = None if label == "real" else methods[0] if methods else "fake"
        split = next((_SPLIT_NAMES[part.lower()] for part in parents if part.lower() in _SPLIT_NAMES), None)
        found.append((file, label, manipulation, split))
    genuine = {_words(file.stem): file.stem for file, label, *_ in found if label == "real"}
    for file, label, manipulation, split in found:
        words = _words(file.stem)
        spans = (words[start:end] for start in range(len(words)) for end in range(len(words), start, -1))
        sources = [] if label == "real" else list(dict.fromkeys(span for span in spans if span in genuine))
        identities = tuple(f"{root.name}:{'_'.join(source)}" for source in sources or [words])
        original = genuine[sources[0]] if sources else None
        listing.add(Entry(file, root.name, label, manipulation, identities, file.stem, original, split))
    if not listing.entries:
        raise UserError(f"no videos in folders real and fake below {root}")
    return listing


def _words(stem: str) -> tuple[str, ...]:
    return tuple(re.findall(r"[^\W_]+", stem.lower())) or (stem,)


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text.strip())


def _rows(path: Path) -> list[dict[str, str]]:
    """UserError for a CSV that is not UTF-8."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            rows = list(csv.DictReader(lines))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path} as UTF-8: {error}") from error
    return [{_composed(key): value or "" for key, value in row.items() if isinstance(key, str)} for row in rows]
