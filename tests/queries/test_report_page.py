"""The page of a run in a real browser: sorted, filtered, opened, played, switched, downloaded; nothing is fetched."""

import base64
import csv
import itertools
import json
import os
import re
from pathlib import Path

import pytest
from rich.console import Console

from pipelines.report.write import report
from tests.queries import report_lake
from tests.queries.conftest import until, write_lake

pytestmark = pytest.mark.browser
#: what `npm install --no-save axe-core@4.14.1` brings
AXE = Path(os.environ.get("VIBA_AXE", "node_modules/axe-core/axe.min.js"))
#: its slashes are those of folders, of which the page shows as many as tell two videos apart
NAME = "</script><script>alert(1)</script>/{}.mp4"


@pytest.fixture(scope="module")
def page(portraits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    rows = report_lake.rows(folder / "clips", portraits, NAME)
    lake = write_lake(rows | report_lake.judged(rows), lake=folder / "lake")
    return report(lake, out=folder / "page.html", console=Console(quiet=True))


@pytest.fixture
def opened(browser, page):
    """The page in the browser, with an empty log."""
    chrome, folder = browser
    chrome.get_log("browser")
    chrome.get_log("performance")
    chrome.get(page.as_uri())
    return chrome, folder


def find(chrome, selector):
    return chrome.find_element("css selector", selector)


def names(chrome):
    shown = [card for card in chrome.find_elements("css selector", ".card") if card.is_displayed()]
    return [int(card.get_attribute("id").removeprefix("card-")) for card in shown]


def choose(chrome, select, value):
    find(chrome, f"#{select} option[value='{value}']").click()


def pressed(chrome):
    return [button.text for button in chrome.find_elements("css selector", "dialog [aria-pressed=true]")]


def pixel(chrome, x, y):
    """Opacity of the heat's canvas at a share of its sides."""
    script = (
        "const c = document.getElementById('heat');"
        "return c.getContext('2d').getImageData(c.width * arguments[0], c.height * arguments[1], 1, 1).data[3]"
    )
    return chrome.execute_script(script, x, y)


def severe(chrome):
    return [entry for entry in chrome.get_log("browser") if entry["level"] == "SEVERE"]


def requests(chrome):
    sent = [json.loads(entry["message"])["message"] for entry in chrome.get_log("performance")]
    urls = [each["params"]["request"]["url"] for each in sent if each["method"] == "Network.requestWillBeSent"]
    assert any(url.startswith("file:") for url in urls), "the log says nothing"
    return [url for url in urls if url.split(":")[0] not in ("file", "data", "blob")]


def test_a_heading_sorts_numbers_by_value_and_what_is_missing_last(opened):
    chrome, _ = opened
    details = "document.querySelectorAll('details').forEach((each) => (each.open = true))"
    chrome.execute_script(details)
    head = next(each for each in chrome.find_elements("css selector", "#t-explained th") if each.text == "mean_bits")
    place = chrome.execute_script("return arguments[0].cellIndex", head)
    bits = (
        f"return [...document.querySelectorAll('#t-explained tbody tr')].map((row) => row.cells[{place}].textContent)"
    )
    head.find_element("tag name", "button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert chrome.execute_script(bits) == ["9", "100", "–", "–"]
    head.find_element("tag name", "button").click()
    assert head.get_attribute("aria-sort") == "descending"
    assert chrome.execute_script(bits) == ["100", "9", "–", "–"]
    assert "mean_bits, descending" in find(chrome, "#live").get_attribute("textContent")


def test_cards_are_sorted_filtered_and_downloaded(opened):
    chrome, folder = opened
    videos = chrome.execute_script("return JSON.parse(document.getElementById('data').textContent).videos")
    by_id = {video["id"]: number for number, video in enumerate(videos)}
    assert names(chrome) == [0, 1, 2, 3]
    choose(chrome, "sort", "-score")
    # p of fake, whatever is said: .75, .375, .25, .125
    assert names(chrome) == [by_id[each] for each in ("fake-001", "real-001", "fake-000", "real-000")]
    choose(chrome, "sort", "-loss")
    # p of the own label: .25, .625, .75, .875
    wanted = [by_id[each] for each in ("fake-000", "real-001", "fake-001", "real-000")]
    assert names(chrome) == wanted
    # where two are not known they come last, in the order of choice
    choose(chrome, "sort", "localisation")
    assert names(chrome)[:2] == [by_id["fake-000"], by_id["fake-001"]]
    choose(chrome, "verdict", "wrong")
    assert names(chrome) == [by_id["fake-000"]]
    assert find(chrome, "#count").text == "1 of 1 videos shown"
    choose(chrome, "verdict", "")
    find(chrome, "#find").send_keys("fake right")
    assert names(chrome) == [by_id["fake-001"]]
    find(chrome, "#pick").click()
    find(chrome, "#chosen").click()
    path = folder / "videos.csv"
    until(lambda: path.is_file() and path.stat().st_size, "downloaded")
    with path.open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["video_id"], row["uri"]) == ("fake-001", videos[by_id["fake-001"]]["uri"])
    assert (row["label"], row["dataset"]) == ("fake", "d")


def test_a_video_plays_and_its_methods_switch(opened):
    chrome, _ = opened
    videos = chrome.execute_script("return JSON.parse(document.getElementById('data').textContent).videos")
    number = next(i for i, video in enumerate(videos) if video["id"] == "fake-001")
    find(chrome, f"#card-{number} .opens").click()
    clip = find(chrome, "#clip")
    until(lambda: clip.get_property("readyState") >= 2, "decoded")
    assert (clip.get_property("videoWidth"), clip.get_property("error")) == (224, None)
    assert pressed(chrome)[:3] == ["zoo", "iba", "l"]
    find(chrome, "#outline").click()
    # the heat of keyframes lies on the slider, whose thumb goes from the middle of the first to that of the last
    bands = "const { backgroundImage } = getComputedStyle(document.getElementById('seek')); return backgroundImage"
    assert re.findall(r"(-?\d+)%", chrome.execute_script(bands)) == ["-50", "50", "50", "150"]
    # iba is hot in the upper left, Grad-CAM everywhere else
    assert pixel(chrome, 0.1, 0.1) > 150
    assert pixel(chrome, 0.9, 0.9) == 0
    find(chrome, "#by-method button:nth-child(2)").click()
    assert pressed(chrome)[:2] == ["zoo", "gradcam"]
    assert pixel(chrome, 0.1, 0.1) == 0
    assert pixel(chrome, 0.9, 0.9) > 150
    before = clip.get_property("src")
    find(chrome, "#by-model button:nth-child(2)").click()
    assert pressed(chrome)[:2] == ["flow", "gradcam"]
    assert clip.get_property("src") != before
    # the link in the address opens the same video, frame and method again
    find(chrome, "#seek").send_keys("\ue014")
    link = chrome.current_url
    chrome.get("about:blank")
    chrome.get(link)
    until(lambda: find(chrome, "#player").is_displayed(), "opened")
    assert pressed(chrome)[:2] == ["flow", "gradcam"]
    assert "Keyframe 2 of 2, frame 4" in find(chrome, "#where").text
    until(lambda: find(chrome, "#clip").get_property("readyState") >= 2, "decoded")
    find(chrome, "#play").click()
    until(lambda: find(chrome, "#clip").get_property("currentTime") < 0.5, "played")
    # another view has another clip, which does not play, and an arrow ends what plays
    assert (find(chrome, "#play").text, find(chrome, "#where").get_attribute("aria-live")) == ("Pause", "off")
    find(chrome, "#by-model button:nth-child(1)").click()
    until(lambda: find(chrome, "#play").text == "Play", "stopped")
    until(lambda: find(chrome, "#clip").get_property("readyState") >= 2, "decoded")
    find(chrome, "#play").click()
    until(lambda: find(chrome, "#play").text == "Pause", "plays")
    find(chrome, "#title").send_keys("\ue014")
    assert find(chrome, "#clip").get_property("paused")
    until(lambda: find(chrome, "#play").text == "Play", "stopped")
    chrome.switch_to.active_element.send_keys("\ue00c")
    until(lambda: not find(chrome, "#player").is_displayed(), "closed")
    until(lambda: chrome.switch_to.active_element.get_attribute("class") == "opens", "back at its card")
    assert not severe(chrome)
    assert not requests(chrome)


def test_a_link_to_a_video_that_is_not_there_says_so(opened):
    chrome, _ = opened
    chrome.get(chrome.current_url.partition("#")[0] + "#v=gone&f=4")
    until(lambda: "gone of this link is not among" in find(chrome, "#count").text, "said")
    ((_, top, _, bottom),) = boxes(chrome, "#count")
    assert 0 <= top < bottom <= chrome.execute_script("return innerHeight")
    # a card that is not among those shown has its place again after its video
    hidden = "const card = document.getElementById('card-1'); card.hidden = true; return card.id"
    number = chrome.execute_script(hidden).removeprefix("card-")
    video = chrome.execute_script("return JSON.parse(document.getElementById('data').textContent).videos[1].id")
    chrome.execute_script("location.hash = 'v=' + arguments[0]", video)
    until(lambda: find(chrome, "#player").is_displayed(), "opened")
    chrome.switch_to.active_element.send_keys("\ue00c")
    until(lambda: not find(chrome, "#player").is_displayed(), "closed")
    back = find(chrome, f"#card-{number} .opens")
    until(lambda: chrome.switch_to.active_element == back, "back at its card")


def test_a_page_for_which_every_video_is_too_large(opened, page, tmp_path):
    chrome, _ = opened
    bare = report(page.parent / "lake", out=tmp_path / "page.html", max_mb=0.001, console=Console(quiet=True))
    chrome.get(bare.as_uri() + "#v=fake-001&f=4")
    until(lambda: "fake-001 of this link is not among" in find(chrome, "#count").text, "said")
    assert not find(chrome, "#tools").is_displayed()


def test_a_page_of_no_video_is_printed(opened, tmp_path):
    chrome, _ = opened
    lake = write_lake({"runs": [{"config": json.dumps(report_lake.CONFIG)}]}, lake=tmp_path / "lake")
    chrome.get(report(lake, console=Console(quiet=True)).as_uri())
    chrome.execute_cdp_cmd("Page.printToPDF", {})
    assert not severe(chrome)


def test_an_empty_map_is_grey_and_says_so(opened):
    chrome, _ = opened
    chrome.get(chrome.current_url.partition("#")[0] + "#v=real-001&f=4&model=zoo&method=iba")
    until(lambda: "empty map: nothing was needed for real" in find(chrome, "#where").text, "said")
    assert "empty" in find(chrome, ".stage").get_attribute("class")
    assert pixel(chrome, 0.1, 0.1) == 0
    find(chrome, "#by-method button:nth-child(2)").click()
    assert "empty" not in find(chrome, ".stage").get_attribute("class").split()


def test_what_lies_beside_the_page_plays_and_draws(browser, page, tmp_path):
    chrome, _ = browser
    # a folder whose name an address must quote
    out = tmp_path / "my page #1.html"
    page = report(page.parent / "lake", out=out, console=Console(quiet=True), split=True)
    chrome.get_log("browser")
    chrome.get_log("performance")
    chrome.get(page.as_uri() + "#v=fake-001&f=1&model=zoo&method=iba")
    until(lambda: find(chrome, "#player").is_displayed(), "opened")
    until(lambda: find(chrome, "#clip").get_property("readyState") >= 2, "decoded")
    assert find(chrome, "#clip").get_property("videoWidth") == 224
    find(chrome, "#outline").click()
    assert pixel(chrome, 0.1, 0.1) > 150
    chrome.execute_script("document.querySelector('#card-0').scrollIntoView()")  # posters are read when they are seen
    until(lambda: find(chrome, "#card-0 img").get_property("naturalWidth") == 160, "its poster")
    assert not severe(chrome)
    assert not requests(chrome)
    # the page alone says what it misses
    for file in (tmp_path / "my page #1_media").glob("*.js"):
        file.unlink()
    chrome.refresh()
    until(lambda: alerted(chrome), "said")


def alerted(chrome):
    exceptions = pytest.importorskip("selenium.common.exceptions")
    try:
        alert = chrome.switch_to.alert
    except exceptions.NoAlertPresentException:
        return False
    assert "does not lie beside this page" in alert.text
    alert.accept()
    return True


def test_a_weak_map_is_seen_on_a_scale_of_its_own(opened):
    chrome, _ = opened
    chrome.get(chrome.current_url.partition("#")[0] + "#v=fake-001&f=4&model=zoo&method=iba")
    until(lambda: find(chrome, "#player").is_displayed(), "opened")
    # half as hot as the run's hottest: half of the opacity
    assert 80 < pixel(chrome, 0.1, 0.1) < 120
    assert "Brightest: 2 bits per pixel, one scale" in find(chrome, "#scale").text
    choose(chrome, "own", "map")
    assert pixel(chrome, 0.1, 0.1) > 190
    assert "Brightest: 1 bits per pixel, a scale of this map's own" in find(chrome, "#scale").text
    # an empty map has no scale
    chrome.get(chrome.current_url.partition("#")[0] + "#v=real-001&f=4&model=zoo&method=iba")
    until(lambda: "empty map" in find(chrome, "#where").text, "said")
    assert "Brightest: 2 bits per pixel" in find(chrome, "#scale").text


def boxes(chrome, selector):
    script = (
        "return [...document.querySelectorAll(arguments[0])].map((each) => each.getBoundingClientRect())"
        ".map((box) => [box.left, box.top, box.right, box.bottom])"
    )
    return chrome.execute_script(script, selector)


def charts(chrome):
    """Of every chart: its width, what there is to scroll to, and the smallest text in it, all in pixels."""
    script = """return [...document.querySelectorAll(".chart")].map((chart) => {
        const sizes = [...chart.querySelectorAll("svg")].map((svg) => {
            const scale = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
            const texts = [...svg.querySelectorAll("text")].map((text) => parseFloat(text.getAttribute("font-size")));
            return scale * Math.min(...texts);
        });
        return [chart.clientWidth, chart.scrollWidth, getComputedStyle(chart).overflowX, Math.min(...sizes)];
    })"""
    return chrome.execute_script(script)


@pytest.mark.parametrize("width", [360, 1280])
def test_every_chart_can_be_read_on_a_phone_and_on_a_screen(opened, width):
    chrome, _ = opened
    screen = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 400}
    chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    try:
        chrome.refresh()
        found = charts(chrome)
        assert len(found) > 5
        for own, all_of_it, overflow, text in found:
            assert text >= 9
            assert all_of_it <= own or (overflow == "auto" and width < 400)
        # the figures of the league are beside each other where there is room, else below
        label = "[aria-labelledby=h-league].chart > div"
        (_, top, right, bottom), (left, other_top, other_right, _) = boxes(chrome, label)
        assert (other_top >= bottom) == (width == 360)
        assert (left >= right and other_top == top and other_right <= width) == (width == 1280)
    finally:
        chrome.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_fits_and_every_control_has_a_name(opened, width):
    chrome, _ = opened
    screen = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 400}
    chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    try:
        chrome.refresh()
        assert chrome.execute_script("return document.documentElement.scrollWidth") <= width
        assert chrome.find_elements("css selector", "figure svg")
        controls = chrome.find_elements("css selector", "main button, main input, main select, main a")
        unnamed = [each for each in controls if each.is_displayed() and not each.accessible_name]
        assert len(controls) > 20
        assert [each.get_attribute("outerHTML") for each in unnamed] == []
        levels = [int(each.tag_name[1]) for each in chrome.find_elements("css selector", "h1, h2, h3")]
        assert levels.count(1) == 1
        assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
        assert not severe(chrome)
        assert not requests(chrome)
    finally:
        chrome.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_the_page_is_printed_with_everything_that_is_folded(opened):
    chrome, _ = opened
    assert chrome.find_elements("css selector", "details:not([open])")
    chrome.execute_script("document.getElementById('card-0').hidden = true")
    printed = base64.b64decode(chrome.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})["data"])
    assert printed.startswith(b"%PDF-")
    assert not chrome.find_elements("css selector", "details:not([open])")
    assert not chrome.find_elements("css selector", ".card[hidden]")
    assert len(re.findall(rb"/Type\s*/Page\b", printed)) > 5
    # on paper nothing scrolls
    chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    screen = {"width": 700, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
    chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    try:
        assert all(right <= 700 for _, _, right, _ in boxes(chrome, ".chart svg"))
    finally:
        chrome.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert not severe(chrome)


def test_a_name_that_ends_a_script_is_shown_as_it_is(opened):
    chrome, _ = opened
    name = find(chrome, "#card-0 h3").text
    assert name.partition("/")[2] in (NAME.format("000"), NAME.format("001"))
    find(chrome, "#card-0 .opens").click()
    until(lambda: find(chrome, "#title").text == name, "opened")
    assert not severe(chrome)


def test_without_javascript_everything_can_be_read(opened, page):
    chrome, _ = opened
    chrome.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        chrome.get(page.as_uri())
        assert not chrome.find_elements("css selector", "th button, .opens")  # no script has run
        for selector, n in ((".findings li", 3), (".card h3", 4), (".card img", 4), ("figure svg", 5), (".missing", 1)):
            found = chrome.find_elements("css selector", selector)
            assert len(found) >= n
            assert all(each.is_displayed() for each in found)
        # what is folded opens by itself
        for summary in chrome.find_elements("css selector", "details:not([open]).data > summary"):
            summary.click()
        tables = chrome.find_elements("css selector", ".scroll table")
        assert len(tables) > 10
        assert all(each.is_displayed() and each.find_elements("css selector", "td") for each in tables)
    finally:
        chrome.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 360)])
def test_nothing_stands_in_the_way_of_who_cannot_see_it(opened, scheme, width):
    if not AXE.is_file():
        pytest.skip("no axe-core here: npm install --no-save axe-core@4.14.1, or VIBA_AXE=axe.min.js")
    chrome, _ = opened
    wanted = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    screen = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 400}
    chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", wanted)
    chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    try:
        chrome.refresh()
        chrome.execute_script("document.querySelectorAll('details').forEach((each) => (each.open = true))")
        for action in ("", "document.querySelector('.opens').click()"):
            chrome.execute_script(action)
            chrome.execute_script(AXE.read_text(encoding="utf-8"))
            found = chrome.execute_async_script(
                "const done = arguments[0]; axe.run().then((all) => "
                "done(all.violations.map((each) => [each.id, each.nodes.map((node) => node.html.slice(0, 200))])))"
            )
            assert found == []
    finally:
        chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
        chrome.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
