"""Manifests of a folder of clips with an index.csv: `python -m bench.clips CLIPS OUT`.

OUT/genuine.parquet holds the genuine files that show a face in half of their frames, split by person: to be forged,
learned from and tested on. OUT/found.parquet holds the fakes that others made (split `test`) and the genuine files of
the split `test`: whether a detector that learned our forgeries knows theirs.
"""

import argparse
import csv
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipelines.manifest import write_table
from schemas.tables import MANIFEST

#: those that a fake in the folder was made from, and others
TEST = {
    *("ffpp_original_004", "ffpp_original_519", "fwa_demo", "ghost_dance", "ghost_orig", "ghost_random_gif"),
    *("sadtalker_WDA_BobMenendez_000", "retalk_4", "fr_kit_harington", "fr_rose_leslie", "dfdc_lynaeydofd_fr0"),
}
VAL = {
    *("lp_d13", "lp_s29", "fomm_04", "retalk_2", "dlib_2008_002506", "fr_obama_partial_face", "fr_obama_small"),
    *("lp_s12", "simswap_trump"),
}
#: the same person in several files
PERSON = {
    **dict.fromkeys(("fr_obama_partial_face", "fr_obama_small"), "obama"),
    **dict.fromkeys(("fr_short_hamilton_clip", "fr_alex_lacamoire", "fr_lin-manuel-miranda"), "hamilton"),
}


def manifests(clips: Path) -> tuple[pa.Table, pa.Table]:
    """(genuine, found) as MANIFEST."""
    with (clips / "index.csv").open(newline="") as file:
        rows = [_row(clips, each) for each in csv.DictReader(file) if float(each["face_rate"] or 0) >= 0.5]
    genuine = [row for row in rows if row["label"] == "real"]
    found = [row for row in rows if row["label"] == "fake" or (row["label"] == "real" and row["split"] == "test")]
    return tuple(pa.Table.from_pylist(each, schema=MANIFEST.schema) for each in (genuine, found))  # type: ignore[return-value]


def _row(clips: Path, entry: dict[str, str]) -> dict[str, Any]:
    name, fake = Path(entry["path"]).stem, entry["label"] == "fake"
    split = "test" if fake or name in TEST else "val" if name in VAL else "train"
    row = {"video_id": name, "uri": str((clips / entry["path"]).resolve()), "dataset": "clips", "split": split}
    return row | {"label": entry["label"], "identities": f"clips:{PERSON.get(name, name)}"}


def main() -> None:
    """Write both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for name, table in zip(("genuine", "found"), manifests(options.clips), strict=True):
        write_table(table, options.out / f"{name}.parquet")
        print(f"{options.out / name}.parquet: {len(table)} files")


if __name__ == "__main__":
    main()
