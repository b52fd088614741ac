"""Broken and odd real files end as the index of the clips says they must."""

import csv
from pathlib import Path

import pytest

from pipelines.lake.read import open_lake

REJECTED = {"broken_zero_bytes.mp4": "empty_file", "broken_moov_without_mdat.mp4": "no_frames"}


@pytest.mark.faults
@pytest.mark.clips
def test_broken_and_odd_files_end_as_rows(clips, explain, known, tmp_path):
    """Every file of bad/ is one row; what must be rejected is an error with a code, what must decode is not."""
    lake = tmp_path / "lake"
    less = ("--max-keyframes", "1", "--set", "bottleneck.steps=1", "--set", "resources.videos_per_block=8")
    said = explain(clips / "bad", lake, *less, "--statistics", known)
    connection = open_lake(lake)
    rows = connection.sql("select uri, status, error_code from videos").fetchall()
    explained = connection.sql("select count(distinct video_id), bool_and(total_bits > 0) from masks").fetchall()[0]
    connection.close()
    found = {Path(uri).name: (status, code) for uri, status, code in rows}
    with (clips / "index.csv").open(encoding="utf-8") as file:
        index = [row for row in csv.DictReader(file) if row["path"].startswith("bad/")]
    assert len(rows) == len(found) == len(index)
    wrong = []
    for row in index:
        status, code = found[Path(row["path"]).name]
        rejected = row["note"].startswith("[REJECT CLEANLY]")
        # a crash or a hang in the sandbox is an error, too, and no clean one
        expected = REJECTED.get(Path(row["path"]).name, "not_a_video") if rejected else None
        if rejected != (status == "error") or code != expected:
            wrong.append((row["path"], status, code))
        if not rejected and float(row["face_rate"]) == 1 and status != "ok":  # a face in every frame
            wrong.append((row["path"], status, code))
    assert wrong == []
    assert (
        sum(status == "ok" for status, _ in found.values())
        >= sum(float(row["face_rate"] or 0) > 0 for row in index) - 2
    )
    assert explained == (sum(status == "ok" for status, _ in found.values()), True)
    assert "not_a_video" in said.out
