"""The page of a run: what is in it, how it is asked, and that nothing in a lake can break it."""

import base64
import csv
import gzip
import html
import io
import json
import re
import shlex
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from rich.console import Console
from scipy.optimize import brentq

from operators.inputs.flow import FlowParams
from operators.inputs.view import View
from pipelines import league
from pipelines.__main__ import main
from pipelines.called import called
from pipelines.errors import UserError
from pipelines.lake.read import QUERIES, open_lake, queries
from pipelines.report import against, gallery
from pipelines.report.charts import CHARTS, svg
from pipelines.report.sections import FAILURES, RUN, TESTED
from pipelines.report.tables import csv_uri, header, show
from pipelines.report.write import report
from tests.queries import report_lake
from tests.queries.conftest import write_lake
from tests.queries.test_league import lake_of, made

QUIET = Console(quiet=True)
SECTIONS = (RUN, *TESTED, FAILURES)
HOSTILE = "</script><script>alert(1)</script>"


def asked(connection, name):
    return connection.sql(queries("report")[name]).to_arrow_table().to_pylist()


def scored(**scores):
    """Videos by name, real-... or fake-..., with their score at two frames whose mean it is."""
    names = [name.replace("_", "-") for name in scores]
    return {
        "videos": [{"video_id": name, "label": name[:4]} for name in names],
        "predictions": [
            {"video_id": name, "frame": frame, "prob_fake": score + shift}
            for name, score in zip(names, scores.values(), strict=True)
            for frame, shift in ((0, -0.0625), (1, 0.0625))
        ],
    }


def test_every_table_of_the_page_says_what_it_is():
    sections = (*SECTIONS, against.section(Path("lake"), "r2"))
    asks = [ask for section in sections for ask in section.asks]
    names = [ask.name for ask in asks]
    assert len(set(names)) == len(names)
    assert set(CHARTS) <= set(names)
    for ask in asks:
        said = header(queries(ask.folder)[ask.name]) if ask.folder else ask
        assert ask.chance
        assert said.title
        assert said.grain.startswith("one row per ")
    for section in sections:
        assert {missing.name for missing in section.missing} <= set(names)
    # every question of the folder is asked by a section, but the gallery's
    assert set(queries("report")) - set(names) == {"videos"}


def test_tables_that_no_query_makes_say_what_their_columns_are():
    columns = {name: list(rows[0]) for name, rows in made().items() if rows}
    columns |= {"league_pairs": league._PAIRS.names, "league_ranks": league._RANKS.names}
    columns |= {"league_agreement": league._AGREEMENT.names}
    columns |= {against.NAME: against._DIFFERENCES.names, against.CONFIGS: against._SETTINGS.names}
    sections = (*SECTIONS, against.section(Path("lake"), "r2"))
    asks = [ask for section in sections for ask in section.asks if not ask.folder]
    assert len(asks) == 7
    for ask in asks:
        said = f"{ask.grain} {ask.columns}"
        assert [name for name in columns[ask.name] if not re.search(rf"\b{name}\b", said)] == [], ask.name


def test_auc_is_the_share_of_pairs_that_are_told_apart(views):
    given = scored(real_a=0.125, real_b=0.25, real_c=0.625, fake_a=0.5, fake_b=0.75, fake_c=0.25)
    with views(**given, frames=[{}]) as lake:
        (row,) = asked(lake, "detectors")
    # a beats two of three, b all three, c one and a half
    assert (row["model"], row["n_real"], row["n_fake"]) == ("m", 3, 3)
    assert row["auc"] == pytest.approx(6.5 / 9)


@pytest.mark.parametrize("forged", [0.75, 0.25])
def test_the_interval_of_an_auc_is_where_newcombes_equation_holds(views, forged):
    given = scored(real_a=0.5, real_b=0.5, fake_a=forged, fake_b=forged, fake_c=forged)
    with views(**given) as lake:
        (row,) = asked(lake, "detectors")
    auc, m, n = float(forged > 0.5), 3, 2
    assert row["auc"] == auc

    def excess(theta):
        spread = (1 - theta) / (2 - theta) + theta / (1 + theta)
        return abs(theta - auc) - 1.96 * np.sqrt(theta * (1 - theta) / (m * n) * (1 + ((m + n) / 2 - 1) * spread))

    bound = brentq(excess, 0.01, 0.99)
    low, high = (bound, 1) if auc else (0, bound)
    assert (row["auc_low"], row["auc_high"]) == (pytest.approx(low, abs=0.002), pytest.approx(high, abs=0.002))


def test_a_detector_without_both_labels_has_no_auc(views):
    with views(**scored(fake_a=0.5)) as lake:
        assert asked(lake, "detectors") == [
            {"model": "m", "n_real": 0, "n_fake": 1, "auc": None, "auc_low": None, "auc_high": None}
        ]
        assert asked(lake, "thresholds") == []


def test_scores_by_tenth_and_threshold(views):
    with views(**scored(real_a=0.125, real_b=0.1875, real_c=0.625, fake_a=0.9375, fake_b=0.625)) as lake:
        scores = asked(lake, "scores")
        thresholds = {row["threshold"]: (row["recall"], row["false_alarms"]) for row in asked(lake, "thresholds")}
    assert [(row["label"], row["bin"], row["n_videos"]) for row in scores] == [
        ("fake", 0.6, 1),
        ("fake", 0.9, 1),
        ("real", 0.1, 2),
        ("real", 0.6, 1),
    ]
    assert len(thresholds) == 21
    assert thresholds[0.5] == (1.0, pytest.approx(1 / 3))
    assert thresholds[0.65] == (0.5, 0.0)
    assert thresholds[1.0] == (0.0, 0.0)


def test_certain_scores_lie_in_the_outer_tenths_and_a_threshold_is_no_score_above_it(views):
    given = {"real-a": 0.0, "real-b": 0.5, "fake-a": 1.0, "fake-b": 0.5}
    videos = [{"video_id": name, "label": name[:4]} for name in given]
    predictions = [{"video_id": name, "prob_fake": score} for name, score in given.items()]
    with views(videos=videos, predictions=predictions) as lake:
        scores = asked(lake, "scores")
        thresholds = {row["threshold"]: (row["recall"], row["false_alarms"]) for row in asked(lake, "thresholds")}
    assert [(row["label"], row["bin"]) for row in scores] == [
        ("fake", 0.5),
        ("fake", 0.9),
        ("real", 0.0),
        ("real", 0.5),
    ]
    assert [thresholds[at] for at in (0.0, 0.45, 0.5, 1.0)] == [(1, 0.5), (1, 0.5), (0.5, 0), (0, 0)]


def test_a_videos_heat_outside_of_the_face_is_the_mean_of_its_maps(views):
    heat = [("outside", 0, 0.5), ("outside", 4, 0.25), ("mouth", 0, 1.0)]
    regions = [{"video_id": "v", "region": region, "frame": frame, "heat": each} for region, frame, each in heat]
    masks = [{"video_id": "v", "frame": frame} for frame in (0, 4)]
    with views(videos=[{"video_id": "v"}], masks=masks, regions=regions) as lake:
        (row,) = asked(lake, "videos")
    assert row["outside"] == 0.375


def test_regions_curves_and_sanity_are_means_over_videos(views):
    with views(
        videos=[{"video_id": "a"}, {"video_id": "b"}],
        regions=[
            {"video_id": "a", "frame": 0, "heat": 0.5},
            {"video_id": "a", "frame": 1, "heat": 1.0},
            {"video_id": "a", "frame": 2, "heat": None},
            {"video_id": "b", "frame": 0, "heat": 0.25},
        ],
        faithfulness_curves=[
            {"video_id": "a", "frame": 0, "probability": [1.0, 0.5]},
            {"video_id": "a", "frame": 1, "probability": [1.0, 0.0]},
            {"video_id": "b", "frame": 0, "probability": [0.5, 0.75]},
            {"video_id": "b", "frame": 0, "variant": "blur8", "probability": [0.0, 0.0]},
        ],
        sanity=[{"video_id": "a", "similarity": -0.5}, {"video_id": "b", "similarity": 0.25}],
        judged=[{"video_id": "a"}, {"video_id": "b"}],
    ) as lake:
        (region,), curves, (sanity,) = asked(lake, "regions"), asked(lake, "curves"), asked(lake, "sanity")
    assert (region["n_videos"], region["heat"], region["area"]) == (2, 0.5, 0.25)
    assert [(row["removed"], row["n_videos"], row["probability"]) for row in curves] == [(0.0, 2, 0.75), (1.0, 2, 0.5)]
    assert sanity["similarity"] == 0.375


def tcav(layer, number, share, chance, accuracy=1.0, concept="ball dynamic", against="ball static"):
    """Rows of cavs and of tcav_scores: of a concept, and of random sets that are taken for one."""
    cavs, scores = [], []
    for name, other, values, right in ((concept, against, share, accuracy), ("", "", chance, 0.5)):
        for number_of_set, value in enumerate(values):
            ids = {"layer": layer, "concept": name, "against": other, "random_set": number_of_set}
            cavs.append(ids | {"accuracy": right + 0.01 * number_of_set})
            scores.append(ids | {"share": value, "magnitude": value / 2, "layer_number": number})
    return cavs, scores


def test_scores_of_concepts_come_with_those_of_random_sets_layer_by_layer(views):
    # `stem` runs before `block`, whatever the alphabet says
    first, second = (
        tcav("stem", 0, [0.5, 0.5, 0.75], [0.25, 0.5, 0.75], 0.5),
        tcav("block", 1, [1, 0.9, 0.8], [0, 1, 0.5]),
    )
    given = {"cavs": first[0] + second[0], "tcav_scores": first[1] + second[1]}
    with views(**given, predictions=[{}], frames=[{}], videos=[{}]) as lake:
        rows = asked(lake, "tcav")
    with views(**given, predictions=[{"model": "other"}], frames=[{}], videos=[{}]) as lake:
        assert asked(lake, "tcav") == []
    assert [(row["statistic"], row["layer"]) for row in rows] == [
        (statistic, layer) for statistic in ("magnitude", "share") for layer in ("stem", "block")
    ]
    shares = {row["layer"]: row for row in rows if row["statistic"] == "share"}
    # what a layer does not tell apart has no score; of the other one 95 % of the sets, and of chance
    assert [shares["stem"][name] for name in ("value", "value_low", "value_high", "p_adjusted")] == [None] * 4
    assert shares["block"]["value"] == pytest.approx(0.9)
    assert shares["block"]["value_low"] == pytest.approx(np.quantile([1, 0.9, 0.8], 0.025))
    assert shares["block"]["value_high"] == pytest.approx(np.quantile([1, 0.9, 0.8], 0.975))
    assert (shares["block"]["chance_low"], shares["block"]["chance_high"]) == pytest.approx((0.025, 0.975))
    halved = next(row for row in rows if row["statistic"] == "magnitude" and row["layer"] == "block")
    assert halved["value"] == pytest.approx(0.45)
    chart = CHARTS["tcav"]
    drawn = svg(*chart.draw(rows), "tcav")
    assert "dynamic over static" in drawn
    assert "m, fake: ball" in drawn
    assert chart.says(rows).startswith("m, fake: ball counts more moving than still for 90% of the clips at block, the")
    assert "No layer tells" in chart.says([row for row in rows if row["layer"] == "stem"])


def test_how_often_a_method_has_which_rank_is_drawn():
    at = {"model": "m", "layer": "l", "metric": "srg"}
    rows = [
        at | {"method": "iba", "mean_rank": 1.25, "first": 0.75, "ranks": [0.75, 0.25, 0.0]},
        at | {"method": "cam", "mean_rank": 1.75, "first": 0.25, "ranks": [0.25, 0.749, 0.001]},
        at | {"method": "centre", "mean_rank": 3.0, "first": 0.0, "ranks": [0.0, 0.001, 0.999]},
        at | {"metric": "road", "method": "iba", "mean_rank": 1.0, "first": 1.0, "ranks": [1.0]},
    ]
    chart = CHARTS["league_ranks"]
    (srg,) = chart.draw(rows)
    drawn = [(row["method"], row["rank"], row["share"]) for row in srg["data"]["values"]]
    iba, cam = [("iba", 1, 0.75), ("iba", 2, 0.25)], [("cam", 1, 0.25), ("cam", 2, 0.749)]
    assert drawn == [*iba, *cam, ("centre", 3, 0.999)]
    assert "<svg" in svg(srg, "league_ranks")
    assert chart.says(rows) == "m iba is first by SRG in 75% of the draws."


@pytest.mark.parametrize("chart", ["regions", "table3_thresholds", "curves", "sanity"])
@pytest.mark.parametrize("n", [8, 13])
def test_no_two_methods_of_a_chart_look_alike(chart, n):
    """The page has eight colours, and a league has thirteen methods."""
    row = {"model": "m", "layer": "l", "target": "fake", "region": "nose", "heat": 0.5, "area": 0.25, "threshold": 0.5}
    row |= {"iou": 0.5, "iou_adjusted": 0.25, "fill": "blur", "removal": "morf", "removed": 0.5, "probability": 0.5}
    row |= {"test": "weights", "similarity": 0.5, "depth": 1.0}
    (spec,) = CHARTS[chart].draw([row | {"method": f"m{number:02}"} for number in range(n)])
    layers = [layer for layer in spec["spec"]["layer"] if "color" in layer.get("encoding", {})]
    encodings = [layer["encoding"] for layer in layers]
    scales = {name: each[name]["scale"] for each in encodings for name in ("color", "shape") if name in each}
    names = {each["map"] for each in spec["data"]["values"]}
    assert all(scale["domain"] == sorted(names) for scale in scales.values())
    assert len(set(zip(*(scale["range"] for scale in scales.values()), strict=True))) == len(names) == n
    assert "<svg" in svg(spec, chart)
    # points lie on their lines: what is averaged is averaged over the same rows
    apart = [{each[name]["field"] for name in ("color", "strokeDash", "detail") if name in each} for each in encodings]
    assert all(each == apart[0] for each in apart)


def test_a_chart_of_the_league_stands_for_each_metric_and_says_what_controls_score():
    at = {"model": "m", "layer": "l"}
    rows = [
        at | {"method": "iba", "srg": 0.25, "srg_low": 1e-9, "srg_high": 1 / 3, "auroc": None},
        at | {"method": "centre", "layer": "", "srg": 0.5, "srg_low": 0.25, "srg_high": 0.75, "auroc": None},
        at | {"model": "n", "method": "centre", "srg": 0.75, "srg_low": 0.5, "srg_high": 1.0, "auroc": None},
    ]
    chart = CHARTS["league"]
    assert [spec["title"] for spec in chart.draw(rows)] == ["SRG (chance 0)"]
    assert "m iba l has the highest SRG, 0.25, of the controls beside it centre, 0.50;" in chart.says(rows)
    known = [row | {f"auroc{end}": 0.5 for end in ("", "_low", "_high")} for row in rows]
    srg, auroc = chart.draw(known)
    assert len(auroc["data"]["values"]) == 3
    drawn = [(row["place"], row["method"]) for row in srg["data"]["values"]]
    assert drawn == [("m l", "centre"), ("m l", "iba"), ("n l", "centre")]
    turned = [known[0] | {"srg": 0.6}, *known[1:]]
    drawn = [(row["place"], row["method"]) for row in chart.draw(turned)[0]["data"]["values"]]
    assert drawn == [("m l", "iba"), ("m l", "centre"), ("n l", "centre")]
    # whoever hears a chart hears no digits that say nothing
    heard = svg(srg, "league-0")
    assert "0.3333;" in heard
    assert "0.33333" not in heard
    assert "e-9" not in heard


def test_files_of_one_name_are_told_apart_by_their_folders():
    uris = ["/v/real/015.mp4", "/v/fake/015.mp4", "/v/fake/a%20b.mp4", "/w/fake/015.mp4", "s3://b/015.mp4"]
    expected = ["real/015.mp4", "v/fake/015.mp4", "a b.mp4", "w/fake/015.mp4", "b/015.mp4"]
    assert gallery.short_names(uris) == dict(zip(uris, expected, strict=True))
    assert gallery.short_names([]) == {}


def test_a_gallery_is_sorted_by_what_its_videos_say(views):
    with views(
        videos=[{"video_id": "a", "label": "real"}, {"video_id": "b", "label": None}, {"video_id": "c"}],
        predictions=[
            {"video_id": "a", "frame": 0, "prob_fake": 0.75},
            {"video_id": "a", "frame": 1, "prob_fake": 0.5},
            {"video_id": "b", "frame": 0, "prob_fake": 0.25},
        ],
        masks=[{"video_id": "a"}, {"video_id": "a", "frame": 1, "method": "cam"}, {"video_id": "b"}],
        localisation_frames=[{"video_id": "a", "auroc": 0.5}, {"video_id": "a", "frame": 1, "auroc": 1.0}],
    ) as lake:
        rows = asked(lake, "videos")
    names = ("video_id", "said", "sure", "score", "p_label", "is_right", "loss", "localisation", "outside")
    assert [tuple(row[name] for name in names) for row in rows] == [
        ("a", "fake", 0.625, 0.625, 0.375, False, pytest.approx(-np.log(0.375)), 0.75, None),
        ("b", "real", 0.75, 0.25, None, None, None, None, None),
    ]


@pytest.mark.parametrize(("targets", "score"), [(("cat", "cat"), 0.25), (("cat", "dog"), 0.75)])
def test_the_score_of_a_model_without_fakes_is_that_of_the_class_asked_about(views, targets, score):
    said = [{"class": "dog", "probability": 0.75}, {"class": "cat", "probability": 0.25, "rank": 2}]
    maps = [{"frame": frame, "target": target} for frame, target in enumerate(targets)]
    with views(videos=[{}], predictions=said, masks=maps) as lake:
        (row,) = asked(lake, "videos")
    assert (row["said"], row["score"]) == ("dog", score)


def test_the_choice_takes_one_of_each_kind_in_turn():
    def row(video_id, loss=None, sure=None, right=None, localisation=None, outside=None):
        own = {"loss": loss, "sure": sure, "is_right": right, "localisation": localisation, "outside": outside}
        return {"video_id": video_id, **own}

    rows = [
        row("wrong", 5.0, 0.99, False),
        row("little wrong", 1.0, 0.7, False),
        row("unsure", 0.69, 0.5, True),
        row("found", 0.1, 0.9, True, localisation=0.9),
        row("missed", 0.1, 0.9, True, localisation=0.1),
        row("outside", 0.1, 0.9, True, outside=0.9),
        row("plain"),
    ]
    order = gallery.order(rows, {"plain": 0.9, "found": 0.1})
    assert order[:7] == ["wrong", "unsure", "found", "missed", "outside", "plain", "little wrong"]
    assert sorted(order) == sorted(each["video_id"] for each in rows)
    assert gallery.order(rows[::-1], {"plain": 0.9, "found": 0.1}) == order


def test_methods_that_draw_the_same_do_not_differ():
    def drawn(method, saliency, **more):
        own = {"model": "m", "method": method, "frame": 0, "target": "fake", "empty": False, "scale": 2.0}
        return own | {"height": 2, "width": 2, "saliency": saliency} | more

    hot = drawn("a", [1.0, 0.0, 0.0, 0.0])
    assert gallery.differ([hot, drawn("b", [0.5, 0.0, 0.0, 0.0])], "m") == pytest.approx(0, abs=1e-3)
    assert gallery.differ([hot, drawn("b", [0.0, 1.0, 1.0, 1.0])], "m") == pytest.approx(2, abs=1e-3)
    # another frame, another model, an empty map and one that is the same everywhere are compared with nothing
    for other in ({"frame": 1}, {"model": "n"}, {"empty": True}, {"saliency": [1.0] * 4}, {"target": "real"}):
        assert gallery.differ([hot, drawn("b", [0.0, 1.0, 0.0, 0.0]) | other], "m") is None


def test_a_figure_and_its_interval_are_one_cell_and_what_is_missing_says_so():
    table = pa.table(
        {
            "model": ["m", "m"],
            "srg": [0.5, None],
            "srg_low": [0.25, None],
            "srg_high": [0.75, None],
            "n": [1, 2],
        }
    )
    shown = show(table)
    assert shown.same == [("model", "m")]
    assert shown.heads == [("srg", True), ("n", True)]
    assert [[cell.text for cell in row] for row in shown.rows] == [["0.500 [0.250, 0.750]", "1"], ["–", "2"]]
    assert [row[0].value for row in shown.rows] == [0.5, None]
    assert read_csv(shown.csv)[0] == table.column_names


def read_csv(uri):
    text = base64.b64decode(uri.partition("base64,")[2]).decode()
    return list(csv.reader(io.StringIO(text)))


def test_a_cell_that_a_spreadsheet_would_run_is_quoted():
    table = pa.table({"detail": ["=cmd()", "-1", "@x", "a=b", None], "value": [-1.0, 1.0, 2.0, 3.0, None]})
    assert read_csv(csv_uri(table)) == [
        ["detail", "value"],
        ["'=cmd()", "-1.0"],
        ["'-1", "1.0"],
        ["'@x", "2.0"],
        ["a=b", "3.0"],
        ["", ""],
    ]


@pytest.fixture
def page(make_lake, tmp_path):
    """page(tables, ...) -> the text of the page."""

    def make(tables, **options):
        out = report(make_lake(tables), out=tmp_path / "page.html", console=QUIET, **options)
        return out.read_text(encoding="utf-8")

    return make


@pytest.fixture(scope="module")
def whole(portraits, tmp_path_factory):
    """The lake of a run, and its page with everything in it."""
    folder = tmp_path_factory.mktemp("whole")
    lake = write_lake(report_lake.rows(folder / "clips", portraits), lake=folder / "lake")
    return lake, report(lake, out=folder / "page.html", console=QUIET).read_text(encoding="utf-8")


def told(text):
    return json.loads(text.partition('id="data">')[2].partition("</script>")[0])["videos"]


def packed(text):
    return [gzip.decompress(base64.b64decode(each)) for each in re.findall(r'class="maps">([^<]*)<', text)]


def test_the_page_of_a_run(whole):
    lake, text = whole
    ids = [section.id for section in (RUN, *TESTED)] + ["findings", "gallery", "failures", "method"]
    for each in ids:
        assert text.count(f'<section id="{each}">') == 1
        assert f'href="#{each}"' in text
    assert "zoo has AUC 0.75" in text or "zoo does no better than chance: AUC 0.75" in text
    assert "All 4 videos with a map." in text
    # its own sections say what is not there, and how to have it
    assert "This run was not judged." in text
    assert called(f"judge --lake {lake} --run r1") in text
    # nothing is fetched: the only addresses are names of XML
    assert set(re.findall(r"https?://[^\"'\s<]+", text)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
    # the SQL that is shown is what the lake's own command runs
    assert (QUERIES / "tables/table2.sql").read_text().splitlines()[0] in text
    assert "$(cat queries/tables/table2.sql)" in text
    # what evaluate makes of judged runs alone, this page has made itself
    assert f"evaluate --lake {lake}" not in text
    assert text.count(f"report --lake {lake} --run") == 3
    assert len(set(re.findall(r'\bid="([^"]+)"', text))) == len(re.findall(r'\bid="([^"]+)"', text))


def test_maps_travel_as_numbers_on_one_scale(whole, tmp_path):
    text = report(whole[0], out=tmp_path / "page.html", media="none", console=QUIET).read_text(encoding="utf-8")
    video, numbers = next(
        (video, numbers) for video, numbers in zip(told(text), packed(text), strict=True) if video["id"] == "real-001"
    )
    assert list(video["models"]) == ["zoo", "flow"]
    names = [(series["model"], series["method"]) for series in video["series"]]
    assert names == [("zoo", "iba"), ("zoo", "gradcam"), ("flow", "iba"), ("flow", "gradcam")]
    # the face comes first, which is the card's picture, whatever the rows begin with
    assert [series["view"] for series in video["series"]] == [0, 0, 1, 1]
    assert all(series["outlined"] for series in video["series"])
    first, second = video["series"][0]["maps"]
    assert list(numbers[first["at"] : first["at"] + 4]) == [255, 0, 0, 0]
    assert second["empty"]
    assert "at" not in second
    assert video["series"][0]["top"] == pytest.approx(2.0, rel=0.02)
    assert told(text)[0]["truth"] == [] or told(text)[0]["label"] == "fake"
    # no picture of anybody
    assert 'class="clip"' not in text
    assert "data:image" not in text


def test_over_its_budget_the_page_holds_fewer_videos_and_says_which(whole, tmp_path):
    lake, all_of_it = whole
    budget = (len(all_of_it.encode()) - 1000) / 1e6
    text = report(lake, out=tmp_path / "page.html", max_mb=budget, console=QUIET).read_text(encoding="utf-8")
    assert len(text.encode()) <= budget * 1e6
    assert 0 < len(told(text)) < 4
    assert f"<b>{len(told(text))} of 4 videos</b>" in text
    assert gallery.RULE in text
    # the one that the detector gets wrong comes first
    assert told(text)[0]["id"] == "fake-000"


def test_a_video_whose_file_is_gone_has_maps_and_no_clip(page, portraits, tmp_path):
    tables = report_lake.rows(tmp_path / "clips", portraits)
    for video in tables["videos"][1:]:
        video["uri"] += ".gone"
    text = page(tables)
    assert text.count("the file cannot be read any more (not_found)") == 3
    assert text.count('class="clip"') == 2  # what the picture's detector sees, and the other one's flow
    assert len(packed(text)) == 4


def test_no_name_breaks_out_of_the_page(page, portraits, tmp_path):
    tables = report_lake.rows(tmp_path / "clips", portraits)
    for video in tables["videos"]:
        video |= {
            "uri": f"/nowhere/{HOSTILE}.mp4",
            "dataset": '"><img src=x onerror=alert(1)>',
            "manipulation": HOSTILE,
        }
    tables["videos"].append(
        {"video_id": "e", "status": "error", "uri": f"=cmd|{HOSTILE}", "error_code": "not_found"}
        | {"error_stage": HOSTILE, "error_detail": "{{ 7 * 7 }} <b>"}
    )
    tables["runs"][0]["starts"] = [
        {"started_at": datetime(2026, 1, 1, tzinfo=UTC), "versions": json.dumps({HOSTILE: None}), "hardware": "{}"}
    ]
    text = page(tables)
    assert "<script>alert" not in text
    assert "<img src=x" not in text
    assert "{{ 7 * 7 }} &lt;b&gt;" in text
    assert text.count("<script") == text.count("</script>") == 4 + 2
    assert told(text)[0]["name"].startswith("script>.mp4")


def test_a_run_of_failures_alone(page):
    text = page(
        {
            "runs": [{"config": json.dumps(report_lake.CONFIG)}],
            "videos": [
                {"video_id": "a", "status": "error", "error_stage": "prepare", "error_code": "empty_file", "uri": "x"},
                {"video_id": "b", "status": "no_face", "uri": "y"},
            ],
        }
    )
    assert "1 of 2 videos failed and 1 show no face." in text
    assert "No map was made." in text
    assert "No video has a map." in text
    assert "empty_file" in text
    assert told(text) == []


def test_a_run_without_a_video(page):
    text = page({"runs": [{"config": json.dumps(report_lake.CONFIG)}]})
    assert "Nothing was found, for nothing was explained." in text
    assert "Every file was read and explained." in text


def test_no_lake_and_no_such_run(make_lake, tmp_path):
    with pytest.raises(UserError, match="no lake at"):
        report(tmp_path / "nowhere", console=QUIET)
    lake = make_lake({"runs": [{}]})
    with pytest.raises(UserError, match="no run r9"):
        report(lake, "r9", console=QUIET)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write"):
        report(
            make_lake({"runs": [{"config": json.dumps(report_lake.CONFIG)}]}), out=tmp_path / "file/x", console=QUIET
        )


def of_scores(scores, day, **config):
    """Forged videos with such probabilities of fake, b and c of one person."""
    persons = {"a": "n:1", "b": "n:2", "c": "n:2", "d": "n:3", "e": "n:4"}
    videos = [{"video_id": each, "label": "fake", "identities": persons[each]} for each in scores]
    spec = {"name": "m", "classes": ["real", "fake"], "view": asdict(View(64))}
    detector = {"layers": ["l"], "spec": spec} | config
    return {
        "runs": [
            {
                "started_at": datetime(2026, 1, day, tzinfo=UTC),
                "config": json.dumps(report_lake.CONFIG | {"detectors": [detector]}),
            }
        ],
        "videos": videos,
        "predictions": [{"video_id": each, "prob_fake": score} for each, score in scores.items()],
        "masks": [{"video_id": each, "empty": each == "a"} for each in scores],
        "localisation_frames": [
            {"video_id": each, "auroc": score, "heat_inside": score, "chance": 0.125} for each, score in scores.items()
        ],
    }


def both(make_lake, tmp_path):
    """Two runs: r1 says of a, b, c and d .25 more than r2, and its maps are as empty; b and c are one person."""
    make_lake(of_scores({"a": 0.5, "b": 0.75, "c": 0.25, "e": 0.875}, 2), "r1", name="a")
    return make_lake(of_scores({"a": 0.25, "b": 0.5, "c": 0.125, "d": 0.5}, 1, layers=["k"]), "r2", name="b")


def test_which_of_two_runs_is_right_more_often(make_lake, tmp_path):
    make_lake(of_scores({"a": 0.75, "d": 0.625, "e": 0.25}, 2), "r1", name="a")
    lake = make_lake(of_scores({"a": 0.75, "d": 0.25, "e": 0.25}, 1), "r2", name="b")
    with open_lake(lake, "r1") as connection:
        league.prepare(connection)
        found = against.against(connection, *against.find(lake, "r1", "r2"))
    (right,) = (row for row in found["against"].to_pylist() if row["metric"] == "right")
    assert (right["here"], right["there"]) == pytest.approx((2 / 3, 1 / 3))


def test_two_runs_are_compared_by_person_on_the_videos_that_both_have(make_lake, tmp_path):
    lake = both(make_lake, tmp_path)
    with open_lake(lake, "r1") as connection:
        league.prepare(connection)
        found = against.against(connection, *against.find(lake, "r1", "r2"))
    rows = {(row["method"], row["metric"]): row for row in found["against"].to_pylist()}
    told = rows["", "p_label"]
    # a: .5 and .25; b and c are one person: .5 and .3125
    assert (told["here"], told["there"], told["difference"]) == (0.5, 0.28125, 0.21875)
    assert (told["n_videos"], told["n_persons"], told["wins"]) == (3, 2, 1.0)
    assert 0.1875 <= told["difference_low"] <= 0.21875 <= told["difference_high"] <= 0.25
    # r1 explains layer l by the same name that r2's rows have
    assert rows["iba", "empty"]["difference"] == 0
    gain = rows["iba", "heat_gain"]  # heat in the true mask less its area
    assert (gain["here"], gain["there"], rows["iba", "auroc"]["here"]) == (0.5 - 0.125, 0.28125 - 0.125, 0.5)
    assert rows["iba", "empty"]["p_holm"] == 1
    settings = {row["what"]: (row["here"], row["there"]) for row in found["against_configs"].to_pylist()}
    assert settings["run"] == ("r1", "r2")
    assert settings["config.detectors.m.layers"] == ('["l"]', '["k"]')
    assert "config.detectors.m.spec.classes" not in settings


def test_the_other_run_is_one_of_the_lake_or_another_lakes_latest(make_lake, tmp_path):
    lake = both(make_lake, tmp_path)
    other = make_lake({"runs": [{}], "videos": [{}]}, "r9", lake=tmp_path / "other")
    assert against.find(lake, "r1", "r2") == (lake, "r2")
    assert against.find(lake, "r1", str(other)) == (other, "r9")
    for wrong, said in (("r1", "that is the run that is reported"), ("r7", "which has r2, r1, and no lake at r7")):
        with pytest.raises(UserError, match=said):
            against.find(lake, "r1", wrong)


def test_the_page_of_two_runs(make_lake, tmp_path):
    lake = both(make_lake, tmp_path)
    text = report(lake, out=tmp_path / "page.html", media="none", console=QUIET, against="r2").read_text()
    assert '<section id="against">' in text
    # its own, that of both tables of the comparison, and of two that evaluate makes of judged runs alone
    assert text.count(f"--lake {lake} --run r1 --against r2") == 5
    assert "figures differs from the other run" in text
    # nothing is paired with a lake of other videos
    other = make_lake({"runs": [{}], "videos": [{"video_id": "z"}]}, "r9", lake=tmp_path / "other")
    text = report(lake, out=tmp_path / "page.html", media="none", console=QUIET, against=str(other)).read_text()
    assert "nothing is paired" in text
    assert "nothing in common that could be compared" in text


def rounded(rows):
    """Cells, of figures nine digits: the order in which DuckDB adds is nobody's."""
    return [[re.sub(r"\d+\.\d{6,}", lambda found: f"{float(found[0]):.9g}", cell) for cell in row] for row in rows]


def test_the_line_below_a_table_gives_that_table(make_lake, tmp_path, capsys):
    """Of an older run, too: the lake's latest one says something else of the same videos."""
    (zoo, _) = report_lake.CONFIG["detectors"]
    config = json.dumps(report_lake.CONFIG | {"detectors": [zoo | {"spec": zoo["spec"] | {"name": "m"}}]})
    later = {"started_at": datetime(2026, 1, 2, tzinfo=UTC), "config": config}
    lake = make_lake(lake_of() | {"runs": [{"config": config}]})
    make_lake(lake_of({"iba": {"a1": 0.0}}, auroc=0.25) | {"runs": [later]}, "r2", name="b")
    text = report(lake, "r1", out=tmp_path / "page.html", media="none", console=QUIET).read_text(encoding="utf-8")
    assert json.loads(text.partition('id="data">')[2].partition("</script>")[0])["render"].endswith("--run r1")
    tried, evaluated = set(), set()
    for block in text.split('<h3 id="h-')[1:]:
        name, uri = block.partition('"')[0], re.findall(r'"(data:text/csv[^"]+)"', block)[0]
        line = html.unescape(re.findall(r'class="shell"><code>(.*?)</code>', block)[0])
        words = shlex.split(line.replace(f"{called('')} ", ""))
        if words[0] == "sql":
            (file,) = re.findall(r"^\$\(cat (.*)\)$", words.pop())
            assert main([*words, (QUERIES.parent / file).read_text(encoding="utf-8"), "--format", "csv"]) == 0
            given = capsys.readouterr().out
        else:
            if tuple(words) not in evaluated:
                main(words)  # a check fails: the lake is made by hand
                evaluated.add(tuple(words))
                printed = capsys.readouterr().out
            assert f"\n{name}: " in printed
            given = (lake / f"evaluation/{name}.csv").read_text(encoding="utf-8")
        assert rounded(csv.reader(io.StringIO(given))) == rounded(read_csv(uri)), name
        tried.add(name)
    assert "<li><b>Columns</b> difference: the method less iba" in text
    assert {"league", "league_pairs", "calibration", "gate", "table1", "explained"} <= tried


@pytest.mark.parametrize(
    ("view", "outlined"), [(View(64), True), (View(64, part="frame"), False), (View(64, shows="clip", frames=8), False)]
)
def test_true_masks_are_drawn_where_they_lie(view, outlined):
    """They are of the face and its keyframe, which the middle of a frame and a clip are not."""
    row = {"model": "m", "method": "iba", "layer": "l", "target": "fake", "frame": 0, "probability": 1.0, "cell": ""}
    row |= {"height": 1, "width": 1, "saliency": [1.0], "scale": 1.0, "unit": "u", "total_bits": None, "empty": False}
    (found,) = gallery._series([row], {0: 0}, {"m": view}, [view], gallery._Packed(), {}, {})
    assert found["outlined"] is outlined


def test_what_lies_beside_the_page_is_what_was_in_it(whole, tmp_path):
    lake, all_of_it = whole
    media = tmp_path / "page_media"
    media.mkdir()
    (media / "00099-0.mp4").write_text("left by a page of more videos")
    (media / "mine.mp4").write_text("not the page's")
    text = report(lake, out=tmp_path / "page.html", console=QUIET, split=True).read_text()
    own = {f"{n:05}{end}" for n in range(4) for end in (".js", ".webp", "-0.mp4", "-1.mp4")}
    assert {path.name for path in media.iterdir()} == own | {"mine.mp4"}
    assert re.findall(r'data-src="page_media/([^"]+)"', text)[:3] == ["00000.js", "00000-0.mp4", "00000-1.mp4"]
    inside = re.findall(r'class="maps">([^<]*)<', all_of_it)
    assert [(media / f"{n:05}.js").read_text() for n in range(4)] == [
        f'viba({n}, "{maps}")\n' for n, maps in enumerate(inside)
    ]
    assert re.findall(r'class="(?:maps|clip)"[^>]*>([^<]+)<', text) == []
    assert len(text) < len(all_of_it) - sum(map(len, inside))


def test_of_a_blurred_face_six_times_six_colours_are_left(portraits, tmp_path):
    tables = report_lake.rows(tmp_path / "clips", portraits)
    maps = [row for row in tables["masks"] if row["video_id"] == "real-000" and row["method"] == "iba"]
    views = {"zoo": View(64), "flow": View(32, shows="flow")}
    uri = next(video["uri"] for video in tables["videos"] if video["video_id"] == "real-000")
    seen, blurred = (gallery._pictures(uri, maps, views, FlowParams(), blur) for blur in (False, True))
    sharp, soft = (each[views["zoo"]][0].mean(2) for each in (seen, blurred))
    assert abs(soft.mean() - sharp.mean()) < 5
    # what is finer than a sixth of the side is gone
    fine = [np.abs(np.fft.rfft2(each))[12:112, 12:].mean() for each in (soft, sharp)]
    assert fine[0] < 0.1 * fine[1]
    assert np.array_equal(seen[views["flow"]][0], blurred[views["flow"]][0])
