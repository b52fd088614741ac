"""The annotation page in a real browser: filled in by mouse and keys, closed and opened again, downloaded, imported."""

import json

import pytest
from rich.console import Console

from pipelines.annotate.clips import order, token
from pipelines.annotate.export import export
from pipelines.annotate.take import take
from pipelines.lake.read import open_lake
from tests.queries.conftest import until

webdriver = pytest.importorskip("selenium.webdriver", reason="no selenium here: it is in the extra dev")
pytestmark = pytest.mark.browser
QUIET = Console(quiet=True)
#: an answer for each place of the order: regions by key, and confidence
GIVEN = [("14", 3), ("0", 5), ("2", 1), ("356", 2), ("6", 4)]
REGIONS = dict(zip("123456", ["mouth", "edges", "brows", "nose", "outside", "chin"], strict=True))


@pytest.fixture
def study(make_lake, portraits, tmp_path):
    """A lake of two forged and two genuine clips, and the page of its one annotator."""
    videos = []
    for (label, number), content in portraits.items():
        file = tmp_path / f"{label}-{number}.mp4"
        file.write_bytes(content)
        videos.append({"video_id": file.stem, "uri": str(file), "label": label})
    frames = [{"video_id": video["video_id"], "frame": 3, "time_s": 0.12} for video in videos]
    lake = make_lake({"runs": [{}], "videos": videos, "frames": frames})
    (page,) = export(lake, tmp_path / "pages", annotators=1, videos=4, repeats=1, seed=0, console=QUIET)
    return lake, page, [video["video_id"] for video in videos]


def fill(chrome, keys, confidence):
    body = chrome.find_element("tag name", "body")
    for key in keys:
        body.send_keys(key)
    chrome.find_element("css selector", f'[name=confidence][value="{confidence}"]').click()


def next_clip(chrome):
    chrome.find_element("id", "next").click()


def ticked(chrome):
    boxes = chrome.find_elements("css selector", "[name=region]:checked")
    return [box.get_attribute("value") for box in boxes]


def progress(chrome):
    return chrome.find_element("id", "progress").text


def message(chrome):
    return chrome.find_element("id", "message").text


def downloaded(chrome, folder, kind):
    for old in folder.glob("*"):
        old.unlink()
    chrome.find_element("id", kind).click()
    path = folder / f"annotator-1.{kind}"
    until(lambda: path.is_file() and path.stat().st_size, "downloaded")
    return path


def test_a_page_is_filled_in_kept_and_imported(browser, study):
    chrome, folder = browser
    lake, page, video_ids = study
    chrome.get(page.as_uri())
    assert progress(chrome) == "Clip 1 of 5, 0 answered"

    # the clip plays: a video of the size it was made, and time passes
    video = chrome.find_element("id", "clip")
    until(lambda: video.get_property("readyState") == 4, "decoded")
    assert video.get_property("videoWidth") == 320
    assert video.get_property("error") is None

    # nothing goes on without an answer, and the page says what is missing
    next_clip(chrome)
    assert "Tick a region" in message(chrome)
    assert progress(chrome).startswith("Clip 1")
    chrome.find_element("tag name", "body").send_keys("1")
    next_clip(chrome)
    assert "how sure" in message(chrome)
    chrome.find_element("tag name", "body").send_keys("1")
    assert ticked(chrome) == []

    # nothing and a region exclude each other, whichever comes last; the drawing ticks as the keys do
    chrome.find_element("tag name", "body").send_keys("20")
    assert ticked(chrome) == []
    assert chrome.find_element("id", "nothing").is_selected()
    chrome.find_element("css selector", "ellipse[data-region=mouth]").click()
    assert ticked(chrome) == ["mouth"]
    assert not chrome.find_element("id", "nothing").is_selected()
    chrome.find_element("css selector", "ellipse[data-region=mouth]").click()

    for keys, confidence in GIVEN[:3]:
        fill(chrome, keys, confidence)
        next_clip(chrome)
    assert progress(chrome) == "Clip 4 of 5, 3 answered"

    # closed and opened again, it goes on where it was; back shows what was said
    chrome.get("about:blank")
    chrome.get(page.as_uri())
    assert progress(chrome) == "Clip 4 of 5, 3 answered"
    chrome.find_element("tag name", "body").send_keys("p")
    assert ticked(chrome) == ["edges"]
    next_clip(chrome)
    for keys, confidence in GIVEN[3:]:
        fill(chrome, keys, confidence)
        next_clip(chrome)
    assert "last clip" in message(chrome)
    assert progress(chrome) == "Clip 5 of 5, 5 answered"

    expected = []
    of_token = {token(video_id): video_id for video_id in video_ids}
    for shown, (keys, confidence) in zip(order(video_ids, "annotator-1", 0, 1), GIVEN, strict=True):
        regions = sorted(REGIONS[key] for key in keys if key != "0")
        expected.append(("annotator-1", of_token[shown.clip], shown.showing, regions, confidence))
    for kind in ("csv", "json"):
        take([downloaded(chrome, folder, kind)], lake, QUIET)
        with open_lake(lake) as connection:
            found = connection.sql(
                "select annotator, video_id, showing, regions, confidence from annotations "
                "where answered_at is not null"
            ).fetchall()
        assert sorted(found) == sorted(expected)
        (lake / "_annotations" / "annotations.parquet").unlink()
    severe = [entry for entry in chrome.get_log("browser") if entry["level"] == "SEVERE"]
    assert not severe


def test_a_page_says_nothing_of_what_a_clip_is(study):
    _, page, video_ids = study
    text = page.read_text()
    told = json.loads(text.partition('id="study">')[2].partition("</script>")[0])
    assert set(told["clips"]) == {token(video_id) for video_id in video_ids}
    clips = told.pop("clips")
    rest = (text.replace(json.dumps(clips), "") if json.dumps(clips) in text else text).casefold()
    for clip in clips.values():
        rest = rest.replace(clip.casefold(), "")
    for word in (
        "real-00",
        "fake-00",
        ".mp4",
        str(page.parent.parent).casefold(),
        "http://",
        "https://",
        "score",
        "heat",
    ):
        assert word not in rest
    assert json.dumps(told).count('"showing": 2') == 1


def test_every_control_has_a_name_and_is_reached_by_the_keyboard(browser, study):
    chrome, _ = browser
    _, page, _ = study
    chrome.get(page.as_uri())
    controls = chrome.find_elements("css selector", "input, button, video")
    assert len(controls) == 7 + 5 + 4 + 1
    assert all(control.accessible_name for control in controls)
    reached = set()
    for _ in range(40):
        webdriver.ActionChains(chrome).send_keys("\ue004").perform()
        reached.add(chrome.switch_to.active_element.id)
    # the keyboard reaches one of the five grades of confidence, and the arrows the others; at first back is off
    unreached = [control for control in controls if control.id not in reached]
    assert {control.get_attribute("name") or control.get_attribute("id") for control in unreached} <= {
        "confidence",
        "back",
    }
