"""Answers into the lake: every kind of file, and nothing of a file with a bad row."""

import json
from datetime import UTC, datetime

import pytest
from rich.console import Console

from pipelines.annotate.answers import read
from pipelines.annotate.clips import Shown, choose, order, token
from pipelines.annotate.export import _videos
from pipelines.annotate.take import take
from pipelines.errors import UserError
from pipelines.lake.read import open_lake
from tests.queries.conftest import write_lake

VIDEOS = [("a-00", "/x/fake one.mp4"), ("b-00", "file:///x/b%20b.mp4"), ("c-00", "/x/c.mp4"), ("c-01", "/y/c.mp4")]
TABLES = {"runs": [{}], "videos": [{"video_id": name, "uri": uri} for name, uri in VIDEOS]}


@pytest.fixture
def lake(make_lake):
    return make_lake(TABLES)


@pytest.fixture(scope="module")
def answered(tmp_path_factory):
    """A lake with the answers of CSV, for files that are refused, and what is then in its table."""
    folder = tmp_path_factory.mktemp("answered")
    lake = write_lake(TABLES, lake=folder / "lake")
    import_into(lake, CSV, folder / "answers.csv")
    return lake, said(lake)


@pytest.fixture
def put(lake, tmp_path):
    """put(text or object, name) imports a file of it; what is then in the table comes back."""

    def imported(content, name="answers.csv"):
        import_into(lake, content, tmp_path / name)
        return said(lake)

    return imported


def import_into(lake, content, file):
    file.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    take([file], lake, Console(quiet=True))


def said(lake):
    with open_lake(lake) as connection:
        return connection.sql(
            "select annotator, video_id, showing, regions, confidence from annotations order by all"
        ).fetchall()


CSV = "annotator,video,regions,confidence\nann,a-00,mouth;edges,4\nann,b b.mp4,nothing,\nbob,/x/fake one.mp4,L|C,1\n"


def test_a_plain_csv(put):
    assert put(CSV) == [
        ("ann", "a-00", 1, ["edges", "mouth"], 4),
        ("ann", "b-00", 1, [], None),
        ("bob", "a-00", 1, ["chin", "mouth"], 1),
    ]


def test_a_later_file_replaces_what_it_says_again_and_leaves_the_rest(put):
    put(CSV)
    changed = 'annotator,video,showing,regions\nann,a-00,1,"Brows, eyes & forehead"\nann,a-00,2,mouth\n'
    assert put(changed, "later.csv") == [
        ("ann", "a-00", 1, ["brows"], None),
        ("ann", "a-00", 2, ["mouth"], None),
        ("ann", "b-00", 1, [], None),
        ("bob", "a-00", 1, ["chin", "mouth"], 1),
    ]


def test_what_a_page_gives(put, lake):
    answer = {"annotator": "ann", "video": token("c-01"), "showing": 2, "regions": ["nothing"], "confidence": 5}
    answers = [answer | {"answered_at": "2026-11-21T10:00:00.000Z"}]
    assert put({"viba": "annotations", "answers": answers}) == [("ann", "c-01", 2, [], 5)]
    with open_lake(lake) as connection:
        found = connection.sql("select epoch(answered_at), source from annotations").fetchall()
    assert found == [(datetime(2026, 11, 21, 10, tzinfo=UTC).timestamp(), "answers.csv")]


def annotation(by, *choices, rating=None, **values):
    result = [{"from_name": "regions", "to_name": "video", "type": "choices", "value": {"choices": list(choices)}}]
    if rating is not None:
        result.append({"from_name": "confidence", "to_name": "video", "type": "rating", "value": {"rating": rating}})
    return {"completed_by": by, "was_cancelled": False, "result": result} | values


def test_label_studios_json(put):
    upload = "/data/upload/1/1a2b3c4d-b%20b.mp4"
    tasks = [
        {
            "id": 11,
            "data": {"video": upload},
            "annotations": [
                annotation(7, "Lips & Mouth", "E", rating=3),
                annotation({"id": 8, "email": "bob@x"}, "Nothing visible"),
                annotation(9, "chin", was_cancelled=True),
            ],
        },
        {"id": 12, "data": {"video": upload}, "annotations": [annotation(7, "Deepfake Edges")]},
        {"id": 13, "data": {"video": "/data/local-files/?d=x/fake%20one.mp4"}, "annotations": [annotation(7, "nose")]},
    ]
    assert put(tasks) == [
        ("7", "a-00", 1, ["nose"], None),
        ("7", "b-00", 1, ["edges", "mouth"], 3),
        ("7", "b-00", 2, ["edges"], None),
        ("bob@x", "b-00", 1, [], None),
    ]


def test_label_studios_json_min(put):
    rows = [
        {
            "id": 1,
            "video": "a-00",
            "annotator": 7,
            "annotation_id": 1,
            "regions": "mouth",
            "confidence": [{"rating": 2}],
        },
        {"id": 1, "video": "a-00", "annotator": 8, "annotation_id": 2, "regions": {"choices": ["mouth", "nose"]}},
        {"id": 2, "video": "a-00", "annotator": 7, "annotation_id": 3, "regions": "Nothing visible", "confidence": 5},
    ]
    assert put(rows) == [
        ("7", "a-00", 1, ["mouth"], 2),
        ("7", "a-00", 2, [], 5),
        ("8", "a-00", 1, ["mouth", "nose"], None),
    ]


HEAD = "annotator,video,regions,confidence,showing\n"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (HEAD + "ann,a-00,mouth,4,1\nann,a-00,ear,4,2\n", "line 3: no region 'ear'"),
        (HEAD + "ann,gone.mp4,mouth,4,1\n", "line 2: no video gone.mp4"),
        (HEAD + "ann,c.mp4,mouth,4,1\n", "line 2: c.mp4 is the name of 2 videos: write one of c-00, c-01"),
        (HEAD + "ann,a-00,mouth,6,1\n", "line 2: confidence '6'"),
        (HEAD + "ann,a-00,mouth,4,0\n", "line 2: showing '0'"),
        (HEAD + "ann,a-00,nothing;mouth,4,1\n", "line 2: nothing visible, and a region"),
        (HEAD + "ann,a-00,,4,1\n", "line 2: no region"),
        (HEAD + ",a-00,mouth,4,1\n", "line 2: no annotator"),
        (HEAD + "ann,a-00,mouth,4,1\nann,a-00,nose,4,1\n", "line 3: ann says of a-00 twice"),
        (HEAD + "ann,a-00,mouth\n", "line 2: other than 5 values"),
        (HEAD + '"ann,a-00\n\n",a-00,mouth,4,1\nann,a-00,ear,4,1\n', "line 5: no region 'ear'"),
        ([{"id": 3, "data": {"video": "a-00"}, "annotations": [annotation(1)]}], "task 3: no region"),
        ([{"id": 3, "data": {}, "annotations": [annotation(1, "nose")]}], "task 3: not as"),
        ([{"id": 3, "data": {"video": "a-00"}, "annotations": ["x"]}], "task 3: not as"),
        ([{"video": "a-00", "regions": "nose"}], "row 1: not as"),
        ({"viba": "annotations", "answers": [{"annotator": "a", "what": 1}]}, "answer 1: not as"),
        ({"viba": "annotations", "answers": []}, "no answer in"),
        ({"tasks": []}, "holds no answers"),
        ("{not json", "is no JSON"),
        ("annotator,clip\nann,a-00\n", "no column video, regions"),
        ("", "no column annotator, video, regions"),
    ],
)
def test_of_a_bad_file_nothing_is_imported_and_the_row_is_named(answered, tmp_path, content, says):
    lake, before = answered
    with pytest.raises(UserError) as refused:
        import_into(lake, content, tmp_path / "bad.csv")
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)
    assert said(lake) == before


def test_one_bad_file_keeps_the_good_one_out(lake, tmp_path):
    (tmp_path / "good.csv").write_text(CSV)
    (tmp_path / "bad.csv").write_text(HEAD + "ann,a-00,ear,4,2\n" * 9)
    with pytest.raises(UserError, match=r"bad.csv line 2: .*; and 4 more"):
        take([tmp_path / "good.csv", tmp_path / "bad.csv"], lake, Console(quiet=True))
    assert said(lake) == []


def test_a_file_that_is_no_text_is_named(tmp_path):
    (tmp_path / "x.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"cannot read .*x\.csv"):
        read(tmp_path / "x.csv")


def test_people_are_asked_about_videos_with_an_explained_frame_which_is_shown_first(make_lake):
    frames = [
        *({"video_id": "v", "frame": each, "time_s": each / 25, "status": "ok"} for each in (9, 4, 7)),
        {"video_id": "v", "frame": 1, "time_s": 1 / 25, "status": "no_face"},
        {"video_id": "w", "frame": 2, "time_s": 2 / 25, "status": "ok"},
        {"video_id": "x", "frame": 3, "time_s": 3 / 25, "status": "no_face"},
    ]
    videos = [{"video_id": each, "uri": each, "label": "fake"} for each in "vwx"]
    videos[1]["status"] = "error"
    (found,) = _videos(make_lake({"runs": [{}], "videos": videos, "frames": frames}))
    assert (found["video_id"], found["first_face_s"]) == ("v", 4 / 25)


IDS = [f"v{number}" for number in range(20)]


def test_every_annotator_sees_every_clip_in_an_order_of_their_own():
    orders = [order(IDS, f"annotator-{number}", 0, 4) for number in range(8)]
    for shown in orders:
        assert sorted(each.clip for each in shown if each.showing == 1) == sorted(map(token, IDS))
        again = [each.clip for each in shown if each.showing == 2]
        assert len(again) == len(set(again)) == 4
        for clip in again:
            assert shown.index(Shown(clip, 2)) - shown.index(Shown(clip, 1)) > 5
    assert len({tuple(each.clip for each in shown) for shown in orders}) == 8
    assert len({frozenset(each.clip for each in shown if each.showing == 2) for shown in orders}) > 4
    assert order(IDS, "annotator-3", 0, 4) == orders[3]
    assert order(IDS, "annotator-3", 1, 4) != orders[3]


@pytest.mark.parametrize(("n", "forged"), [(10, 5), (5, 3), (18, 9), (24, 15), (99, 15)])
def test_half_of_what_is_shown_is_forged_where_it_can_be(n, forged):
    videos = [{"video_id": f"v{number}", "label": "fake" if number < 15 else "real"} for number in range(24)]
    chosen = choose(videos, n)
    assert len(chosen) == len({each["video_id"] for each in chosen}) == min(n, 24)
    assert sum(each["label"] == "fake" for each in chosen) == forged


def test_a_video_says_nothing_by_its_token():
    assert len({token(each) for each in IDS}) == len(IDS)
    assert not [each for each in ("fake_001-00ff", "real_001-00ff") if each.split("_")[0] in token(each)]
