"""The league over hand-written judgements: means over persons, intervals, the gate, and who does not beat a control."""

import csv
import json

import pyarrow.parquet as pq
import pytest

from pipelines import league
from pipelines.evaluate import evaluate
from pipelines.lake.read import queries
from pipelines.reliability import reliability
from tests.queries.conftest import views_of

METHODS = ("iba", "gradcam", "centre")
#: person -> her videos
PERSONS = {"anna": ("a1", "a2"), "ben": ("b1",), "cleo": ("c1",), "dan": ("d1",)}
SRG = {
    "iba": {"a1": 0.5, "a2": 0.3, "b1": 0.6, "c1": 0.5, "d1": 0.7},
    "gradcam": {"a1": 0.3, "a2": 0.1, "b1": 0.1, "c1": 0.3, "d1": 0.2},
    "centre": {"a1": 0.2, "a2": 0.2, "b1": 0.2, "c1": 0.3, "d1": 0.2},
    "iba+mean_map": {"a1": 0.1, "a2": 0.1, "b1": 0.1, "c1": 0.2, "d1": 0.1},
}


def place(name):
    method, variant = (name.removesuffix("+mean_map"), "mean_map") if name.endswith("+mean_map") else (name, "")
    return {"method": method, "layer": "" if method == "centre" else "l", "variant": variant}


def lake_of(srg=SRG, sanity=(), auroc=0.75, **tables):
    videos = [
        {"video_id": video, "label": "fake", "identities": f"x:{person}", "pair_id": None}
        for person, own in PERSONS.items()
        for video in own
    ]
    ids = [{"video_id": video["video_id"]} for video in videos]
    faithful = [
        {"video_id": video, "value": value, **place(name)} for name, own in srg.items() for video, value in own.items()
    ]
    maps = [{"video_id": each["video_id"], "auroc": auroc, **place(name)} for name in srg for each in ids]
    return {
        "runs": [{}],
        "videos": videos,
        "frames": ids,
        "predictions": [each | {"prob_fake": 0.75} for each in ids],
        "masks": [
            each | {key: value for key, value in place(name).items() if key != "variant"} | {"seconds": 2.0}
            for name in METHODS
            for each in ids
        ],
        "judged": ids,
        "judged_maps": maps,
        "faithfulness": faithful,
        "sanity": list(sanity),
    } | tables


def made(**told):
    with views_of(lake_of(**told)) as connection:
        league.prepare(connection)
        means = connection.sql(queries("tables")["league"]).to_arrow_table()
        return {name: table.to_pylist() for name, table in league.league(connection, means).items()}


@pytest.fixture(scope="module")
def plain():
    """The league's tables of `lake_of()`."""
    return made()


def test_means_are_over_persons_and_not_over_videos(plain):
    rows = {row["method"]: row for row in plain["league"]}
    assert list(rows) == ["centre", "iba", "gradcam", "iba+mean_map"]
    # anna's two videos count once: .4, .6, .5, .7
    assert rows["iba"]["srg"] == pytest.approx(0.55)
    assert rows["iba"]["srg_low"] < 0.55 < rows["iba"]["srg_high"]
    assert (rows["iba"]["n_persons"], rows["iba"]["n_videos"], rows["iba"]["n_frames"]) == (4, 5, 5)
    assert (rows["iba"]["person_is"], rows["iba"]["resamples"], rows["iba"]["seed"]) == ("identities", 2000, 0)
    assert (rows["iba"]["auroc"], rows["iba"]["auroc_low"], rows["iba"]["auroc_high"]) == (0.75, 0.75, 0.75)
    assert (rows["iba"]["adv_drop"], rows["iba"]["adv_drop_low"]) == (None, None)
    assert (rows["iba"]["seconds"], rows["iba"]["empty"], rows["iba"]["gini"]) == (2, 0, 0.5)
    assert rows["iba+mean_map"]["seconds"] is None


def test_a_method_with_a_plus_in_its_name_is_no_variant():
    names = {"gradcam": "gradcam++", "iba+mean_map": "gradcam+++mean_map"}
    found = made(srg={names.get(name, name): own for name, own in SRG.items()})
    losers = {row["method"]: row["loses_to"] for row in found["league"]}
    assert losers["gradcam++"] == "does not beat centre (srg, auroc), gradcam+++mean_map (auroc)"
    assert losers["gradcam+++mean_map"] is None
    assert {row["method"] for row in found["league_ranks"]} == {"iba", "gradcam++", "centre"}


def test_an_attack_gains_what_it_brings_beyond_chance():
    """Frame by frame; by the true gradient, not the estimated one."""
    attacks = [
        {"video_id": "a1", "frame": frame, "metric": metric, "fill": fill, "value": value}
        for frame, fill, drop, chance in ((0, "pgd", 0.5, 0.125), (1, "pgd", 0.25, 0.5), (0, "nes", 0.75, 0.0))
        for metric, value in (("adv_drop", drop), ("adv_chance", chance))
    ]
    other = [
        {"video_id": "a1", "metric": "srg", "fill": fill, "value": value}
        for fill, value in (("mean", 0.5), ("zero", 1))
    ]
    row = {row["method"]: row for row in made(faithfulness=attacks + other)["league"]}["iba"]
    assert (row["adv_drop"], row["adv_gain"]) == (0.375, (0.375 - 0.25) / 2)
    assert (row["srg"], row["srg_mean"]) == (None, 0.5)


def test_maps_are_steady_where_they_have_the_same_area():
    """By the tenth of the pixels, whatever another rule calls hot."""
    rules = {"top0.1": 0.25, "max0.5": 0.75}
    metrics = [{"video_id": "a1", "mask_rule": rule, "iou_adjusted": value} for rule, value in rules.items()]
    row = {row["method"]: row for row in made(metrics=metrics)["league"]}["iba"]
    assert row["iou_adjusted"] == 0.25


def test_differences_to_iba(plain):
    rows = {(row["metric"], row["method"]): row for row in plain["league_pairs"]}
    found = rows["srg", "gradcam"]
    # -.2, -.5, -.2, -.5 by persons: 2 of 16 flips are as far from 0
    assert found["difference"] == pytest.approx(-0.35)
    assert (found["wins"], found["p"], found["n_persons"]) == (0, pytest.approx(2 / 16), 4)
    # three hypotheses of srg with this p, three of auroc that are all the same
    assert found["p_holm"] == pytest.approx(6 / 8)
    assert rows["auroc", "centre"]["p"] == 1
    assert ("srg", "iba") not in rows


def test_ranks_and_agreement(plain):
    ranks = {row["method"]: row for row in plain["league_ranks"] if row["metric"] == "srg"}
    assert set(ranks) == set(METHODS)  # variants are no competitors
    assert (ranks["iba"]["mean_rank"], ranks["iba"]["first"]) == (1, 1)
    assert ranks["gradcam"]["ranks"][0] == 0
    assert sum(ranks["gradcam"]["ranks"]) == pytest.approx(1)
    assert plain["league_agreement"][0]["metrics"] == ["srg", "auroc"]


def test_metrics_agree_on_means_and_not_on_how_many_persons_a_method_was_judged_of():
    srg = {"iba": SRG["iba"], "gradcam": {"a1": 0.9}, "centre": SRG["centre"]}
    maps = [
        {"video_id": "a1", "auroc": auroc} | place(name)
        for name, auroc in {"iba": 0.8, "gradcam": 0.9, "centre": 0.5}.items()
    ]
    (agreed,) = made(srg=srg, judged_maps=maps)["league_agreement"]
    assert agreed["kendall_w"] == pytest.approx(1)


def test_a_table_without_a_row_has_its_columns():
    """Of one method there is nothing to agree on."""
    lake = lake_of()
    faithfulness = [each for each in lake["faithfulness"] if each["method"] == "iba"]
    maps = [each for each in lake["judged_maps"] if each["method"] == "iba"]
    with views_of(lake_of(faithfulness=faithfulness, judged_maps=maps)) as connection:
        league.prepare(connection)
        found = league.league(connection, connection.sql(queries("tables")["league"]).to_arrow_table())
    assert found["league_agreement"].num_rows == 0
    assert found["league_agreement"].column_names == ["model", "layer", "kendall_w", "p", "n_methods", "metrics"]


def test_who_does_not_beat_a_control_is_named(plain):
    rows = {row["method"]: row["loses_to"] for row in plain["league"]}
    # IBA is as good as the centre on the true mask alone, and there as good as its own mean map
    assert rows["iba"] == "does not beat centre (auroc), iba+mean_map (auroc)"
    assert rows["gradcam"] == "does not beat centre (srg, auroc)"
    assert rows["centre"] is rows["iba+mean_map"] is None


def test_one_person_shows_no_advantage():
    videos = [each | {"identities": "x:anna"} for each in lake_of()["videos"]]
    rows = {row["method"]: row["loses_to"] for row in made(videos=videos)["league"]}
    assert rows["iba"] == "does not beat centre (srg, auroc), iba+mean_map (srg, auroc)"


def test_another_fill_is_no_metric_of_its_own_to_agree_with():
    rows = lake_of()["faithfulness"]
    found = made(faithfulness=rows + [each | {"fill": "mean"} for each in rows])
    assert {row["metric"] for row in found["league_ranks"]} == {"srg", "srg_mean", "auroc"}
    assert found["league_agreement"] == made()["league_agreement"]


@pytest.mark.parametrize(
    ("sanity", "said"),
    [
        ([], "not tested"),
        ([{"similarity": -0.4}], "passes"),
        ([{"similarity": -0.6}, {"similarity": 0.8, "seed": 1}], "fails: the map stays 0.70 the same with all weights"),
        ([{"similarity": 0.9, "depth": 0.5, "place": "top"}, {"similarity": 0.1}], "passes"),
        ([{"similarity": 0.1}, {"test": "class", "similarity": 0.95}], "fails: the maps of two classes are 0.95 the"),
        ([{"test": "labels", "similarity": 0.6}], "fails: with permuted labels learned it is 0.60 the same"),
    ],
)
def test_the_gate_gives_its_reason(sanity, said):
    rows = made(sanity=[{"video_id": "a1", **each} for each in sanity])["league"]
    assert next(row["sanity"] for row in rows if row["method"] == "iba").startswith(said)


def test_the_same_map_whatever_is_shown_fails():
    maps = [row | {"same_map": 0.95 if row["method"] == "centre" else 0.2} for row in lake_of()["judged_maps"]]
    rows = {row["method"]: row["sanity"] for row in made(judged_maps=maps)["league"]}
    assert rows["centre"] == "fails: maps of different videos are 0.95 the same"
    assert rows["iba"] == "not tested"


def test_persons_are_what_ties_videos_together(views):
    with views(
        videos=[
            {"video_id": "a", "identities": "x:1;x:2"},
            {"video_id": "b", "identities": "x:2"},
            {"video_id": "c", "pair_id": "d"},
            {"video_id": "d"},
            {"video_id": "e"},
        ]
    ) as connection:
        league.prepare(connection)
        rows = connection.sql(
            "select person, unit, list(video_id order by video_id) from persons group by all"
        ).fetchall()
    assert sorted((unit, videos) for _, unit, videos in rows) == [
        ("identities", ["a", "b"]),
        ("pair_id", ["c", "d"]),
        ("video_id", ["e"]),
    ]


def calibrated(views, person):
    """Of four videos, the third of them with two frames: what the detector says, and the tables."""
    said = {
        "a": ("real", [0.9]),
        "b": ("fake", [0.4]),
        "c": ("real", [0.0, 0.2]),
        "d": ("fake", [0.6]),
        "e": (None, [1]),
    }
    videos = [{"video_id": name, "label": label, "identities": person(name)} for name, (label, _) in said.items()]
    predictions = [
        {"video_id": name, "frame": frame, "prob_fake": p}
        for name, (_, own) in said.items()
        for frame, p in enumerate(own)
    ]
    with views(videos=videos, predictions=predictions) as connection:
        league.prepare(connection)
        found = {name: table.to_pylist() for name, table in reliability(connection).items()}
    return *found["calibration"], found["reliability"]


def test_how_far_probabilities_can_be_trusted(views):
    row, points = calibrated(views, lambda name: f"x:{name}")
    # in order .1 real, .4 fake, .6 fake, .9 real; one without a label says nothing. Of .4, .6 and .9 two are fake
    assert [(point["probability"], point["calibrated"]) for point in points] == [
        (pytest.approx(p), pytest.approx(y)) for p, y in ((0.1, 0), (0.4, 2 / 3), (0.6, 2 / 3), (0.9, 2 / 3))
    ]
    assert (row["model"], row["n_videos"], row["n_persons"], row["uncertainty"]) == ("m", 4, 4, 0.25)
    assert row["brier"] == pytest.approx((0.01 + 0.36 + 0.16 + 0.81) / 4)
    # .9 (of real) is right, .9 wrong, .6 wrong, .6 right
    assert row["ece"] == pytest.approx(0.4 / 2 + 0.1 / 2)
    assert row["discrimination"] == pytest.approx(0.25 - 2 / 3 / 4)
    assert row["ece_low"] < row["ece"] < row["ece_high"]
    assert all(
        point["low"] <= point["calibrated"] + 1e-9 and point["calibrated"] <= point["high"] + 1e-9 for point in points
    )
    assert max(point["high"] - point["low"] for point in points) > 0.5


def test_of_one_person_there_is_nothing_to_draw_anew(views):
    row, points = calibrated(views, lambda _name: "x:anna")
    assert (row["n_videos"], row["n_persons"], row["ece_low"], row["ece_high"]) == (4, 1, None, None)
    assert {(point["low"], point["high"]) for point in points} == {(None, None)}


def test_evaluate_writes_the_league_of_a_judged_run_and_of_no_other(make_lake, capsys):
    lake = make_lake(lake_of() | {"runs": [{"config": json.dumps({"detectors": []})}]})
    evaluate(lake)
    out = capsys.readouterr().out
    assert "\nleague: " in out
    assert "m l gradcam: does not beat centre (srg, auroc)" in out
    with (lake / "evaluation/league.csv").open() as file:
        header = next(csv.reader(file))
    assert header[:6] == ["model", "layer", "method", "srg", "srg_low", "srg_high"]
    assert {"auroc_low", "auroc_high", "adv_drop", "adv_drop_low", "adv_drop_high", "sanity", "n_persons"} <= set(
        header
    )
    assert len(pq.read_table(lake / "evaluation/league_pairs.parquet")) > 0
    other = lake_of(judged=[], judged_maps=[], faithfulness=[])
    make_lake(other, "r2", lake=lake)
    evaluate(lake, "r2")
    assert not list((lake / "evaluation").glob("league*"))
