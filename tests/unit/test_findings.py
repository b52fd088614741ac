"""What the page says a run found: every rule on rows made by hand."""

import pytest

from pipelines.report import findings as rules

EMPTY = {
    name: [] for name in ("detectors", "league", "gate", "explained", "statistics", "status", "agreement", "table4")
}


def tables(**rows):
    return EMPTY | rows


def scores(method, srg=None, auroc=None, loses_to=None, model="m", layer="l"):
    """A row of the league; a figure is (mean, low, high)."""
    row = {"model": model, "layer": layer, "method": method, "loses_to": loses_to}
    for name, figure in (("srg", srg), ("auroc", auroc)):
        mean, low, high = figure or (None, None, None)
        row |= {name: mean, f"{name}_low": low, f"{name}_high": high}
    return row


def auc(low, value=0.8, model="m"):
    return {"model": model, "n_real": 5, "n_fake": 6, "auc": value, "auc_low": low, "auc_high": 0.9}


def test_nothing_is_found_in_nothing():
    assert rules.findings(EMPTY) == []


@pytest.mark.parametrize(("low", "kind"), [(0.51, "good"), (0.5, "bad"), (0.3, "bad")])
def test_a_detector_is_better_than_chance_where_its_interval_is(low, kind):
    found = rules.detectors(tables(detectors=[auc(low)]))
    assert found.kind == kind
    assert f"AUC 0.80 [{low:.2f}, 0.90] on 5 genuine and 6 forged videos" in found.text
    assert ("no better than chance" in found.text) == (kind == "bad")


def test_one_detector_by_chance_makes_the_line_bad():
    found = rules.detectors(tables(detectors=[auc(0.7, model="a"), auc(0.4, model="b")]))
    assert found.kind == "bad"
    assert "a has AUC" in found.text
    assert "b does no better than chance: AUC" in found.text


def test_without_both_labels_nothing_is_said_of_a_detector():
    assert rules.detectors(tables(detectors=[auc(None, value=None)])) is None


CENTRE = scores("centre", (0.1, 0.0, 0.2), (0.6, 0.5, 0.7), layer="")


def test_the_best_method_is_told_with_its_interval_and_controls_are_none():
    league = [
        scores("centre", (0.9, 0.8, 1.0), layer=""),
        scores("iba+blur8", (0.8, 0.7, 0.9)),
        scores("gradcam", (0.3, 0.1, 0.5)),
        scores("iba", (0.4, 0.2, 0.6)),
    ]
    found = rules.best_by_removal(tables(league=league))
    assert (found.kind, found.section) == ("good", "league")
    assert found.text == "What it calls relevant is relevant to the detector: m l iba, SRG 0.40 [0.20, 0.60]."


def test_who_does_not_beat_a_control_is_not_praised_and_who_does_is():
    loser = scores("gradcam", (0.6, 0.5, 0.7), (0.9, 0.8, 1.0), "does not beat centre (srg), gradcam+mean_map (srg)")
    winner = scores("iba", (0.4, 0.2, 0.6), (0.8, 0.7, 0.9), "does not beat centre (auroc), iba+mean_map (auroc)")
    found = rules.best_by_removal(tables(league=[CENTRE, loser, winner]))
    assert found.text == (
        "What it calls relevant is relevant to the detector: m l iba, SRG 0.40 [0.20, 0.60] (higher, but does not beat "
        "centre, gradcam+mean_map: m l gradcam 0.60)."
    )
    # in the metric that is praised, not in another one
    assert "region: m l gradcam, AUROC" in rules.best_on_truth(tables(league=[CENTRE, loser, winner])).text
    alone = rules.best_by_removal(tables(league=[CENTRE, loser]))
    assert alone.kind == "warning"
    assert alone.text == (
        "By SRG no method is shown to be better than its controls, the highest is m l gradcam, SRG 0.60 [0.50, 0.70] "
        "(does not beat centre, gradcam+mean_map)."
    )
    plus = scores("gradcam++", auroc=(0.9, 0.8, 1.0), loses_to="does not beat gradcam+++mean_map (srg, auroc)")
    assert "(does not beat gradcam+++mean_map)" in rules.best_on_truth(tables(league=[CENTRE, plus])).text


def test_a_method_beside_which_no_control_was_judged_is_not_praised():
    league = [scores("iba", (0.4, 0.2, 0.6)), scores("centre", (0.1, 0.0, 0.2), layer="", model="other")]
    found = rules.best_by_removal(tables(league=league))
    assert found.kind == "warning"
    assert "(no control was judged beside it)" in found.text
    own = scores("iba+mean_map", (0.1, 0.0, 0.2))
    assert rules.best_by_removal(tables(league=[*league, own])).kind == "good"
    assert rules.best_by_removal(tables(league=[*league, own | {"layer": "another"}])).kind == "warning"


def test_what_cannot_be_told_from_chance_is_not_praised():
    for figure in ((0.3, -0.1, 0.6), (0.3, None, None), (4e-7, 3e-7, 5e-7)):
        found = rules.best_by_removal(tables(league=[CENTRE, scores("iba", figure)]))
        assert found.kind == "warning"
        assert "no method is told from chance (0)" in found.text
    found = rules.best_on_truth(tables(league=[CENTRE, scores("iba", auroc=(0.8, 0.5, 0.9))]))
    assert found.kind == "warning"
    assert "-0.00" not in rules.best_by_removal(tables(league=[scores("iba", (1e-9, -1e-9, 2e-9))])).text


def test_of_three_models_one_may_be_told_from_chance_and_from_its_controls():
    league = [
        CENTRE,
        scores("iba", auroc=(0.8, 0.7, 0.9)),
        scores("iba", auroc=(0.6, 0.4, 0.8), model="n"),
        CENTRE | {"model": "o"},
        scores("iba", auroc=(0.9, 0.7, 1.0), model="o", loses_to="does not beat centre (auroc)"),
    ]
    found = rules.best_on_truth(tables(league=league))
    assert found.kind == "good"
    assert found.text == (
        "Best at finding the forged region: m l iba, AUROC on the true mask 0.80 [0.70, 0.90]; otherwise no method is "
        "shown to be better than its controls, the highest is o l iba, AUROC on the true mask 0.90 [0.70, 1.00] (does "
        "not beat centre); otherwise no method is told from chance (0.5), the highest is n l iba, AUROC on the true "
        "mask 0.60 [0.40, 0.80]."
    )


def test_who_does_not_beat_a_control_is_named():
    league = [scores("iba"), scores("rise", loses_to="does not beat centre (srg)", layer="")]
    found = rules.below_controls(tables(league=league))
    assert found.kind == "bad"
    assert found.text.endswith(": m rise does not beat centre (srg).")
    assert rules.below_controls(tables(league=league[:1])) is None


def test_controls_are_not_told_that_they_do_not_beat_one_and_many_methods_are_named_alone():
    said = "does not beat centre (srg)"
    league = [scores("random", loses_to=said, layer=""), scores("iba", loses_to=said)]
    assert rules.below_controls(tables(league=league)).text == (
        "Not shown to be better than a control: m l iba does not beat centre (srg)."
    )
    many = [scores(name, loses_to=said) for name in ("iba", "gradcam", "rise", "lime")]
    other = [scores("ig", loses_to=said, layer=""), scores("occlusion", layer="")]
    assert rules.below_controls(tables(league=[*many, *other, league[0]])).text == (
        "5 of 6 are not shown to be better than a control in SRG or AUROC (loses_to says which): m l iba, gradcam, "
        "rise, lime; m ig."
    )


def test_who_fails_the_gate_is_named():
    gate = [
        {"model": "m", "layer": "l", "method": "rise", "sanity": "fails: the map stays 1.00 the same"},
        {"model": "m", "layer": "l", "method": "edges", "sanity": "fails: the map stays 1.00 the same"},
        {"model": "m", "layer": "l", "method": "iba", "sanity": "passes"},
        {"model": "m", "layer": "l", "method": "lime", "sanity": "not tested"},
    ]
    assert rules.insane(tables(gate=gate)).text == "m l rise fails: the map stays 1.00 the same."
    assert rules.insane(tables(gate=gate[1:])) is None
    many = [gate[0] | {"layer": str(number)} for number in range(5)]
    assert rules.insane(tables(gate=[*many, gate[2]])).text == (
        "5 of 6 fail a sanity test (the table says which): m 0 rise; m 1 rise; m 2 rise; m 3 rise; m 4 rise."
    )


@pytest.mark.parametrize(("n_empty", "n_failed", "kind"), [(5, 0, "note"), (6, 0, "warning"), (0, 1, "warning")])
def test_empty_maps_are_counted_by_method_and_not_of_controls(n_empty, n_failed, kind):
    explained = [
        {"method": "iba", "n_maps": 8, "n_empty": n_empty, "n_failed": n_failed},
        {"method": "iba", "n_maps": 2, "n_empty": 0, "n_failed": 0},
        {"method": "rise", "n_maps": 10, "n_empty": n_empty and 1, "n_failed": 0},
        {"method": "ig", "n_maps": 10, "n_empty": 0, "n_failed": 0},
        {"method": "edges", "n_maps": 10, "n_empty": 10, "n_failed": 0},
    ]
    found = rules.empty_maps(tables(explained=explained))
    assert found.kind == kind
    of = f"{n_empty} of 10 of iba ({n_empty}0%), 1 of 10 of rise (10%)" if n_empty else "none of 30"
    assert found.text.startswith(f"Empty maps, where nothing was needed for the class: {of}")
    assert ("1 could not be made" in found.text) == bool(n_failed)
    assert rules.empty_maps(tables(explained=explained[4:])) is None


def test_few_samples_are_called_out_below_a_thousand():
    statistics = [{"model": "m", "layer": layer, "n": n} for layer, n in (("a", 999), ("b", 1000))]
    found = rules.few_samples(tables(statistics=statistics))
    assert found.kind == "warning"
    assert "m a from 999" in found.text
    assert "m b" not in found.text
    assert rules.few_samples(tables(statistics=statistics[1:])) is None


def test_failures_are_counted():
    status = [{"status": "ok", "n_videos": 5}, {"status": "error", "n_videos": 2}, {"status": "no_face", "n_videos": 1}]
    assert rules.failures(tables(status=status)).text == "2 of 8 videos failed and 1 show no face."
    assert rules.failures(tables(status=status)).kind == "warning"
    assert rules.failures(tables(status=[status[0], status[2]])).kind == "note"
    assert rules.failures(tables(status=status[:1])) is None


def test_people_who_agree_by_chance_are_called_out():
    def answers(low):
        return [{"who": "people", "item": "answer", "alpha": 0.2, "low": low, "high": 0.4}]

    def f1(p, method="iba"):
        own = {"measure": "f1", "value": 0.6, "chance": 0.5, "p": p}
        return {"model": "m", "layer": "l", "method": method, **own}

    assert rules.people(tables(agreement=answers(0.0))).kind == "warning"
    assert rules.people(tables(agreement=answers(0.1))).text == (
        "People agree with each other more than by chance (alpha 0.20 [0.10, 0.40])."
    )
    both = rules.people(tables(table4=[f1(0.01), f1(0.06, "rise")]))
    assert both.kind == "warning"
    assert "no more agreement with people than by chance: m l rise" in both.text.casefold()
    assert rules.people(tables(table4=[f1(0.05)])).kind == "good"


def test_the_worst_come_first_and_no_more_than_eight():
    told = tables(
        detectors=[auc(0.7)],
        league=[CENTRE, scores("iba", (0.4, 0.2, 0.6), (0.8, 0.7, 0.9), "does not beat centre (srg)")],
        gate=[{"model": "m", "layer": "l", "method": "iba", "sanity": "fails: x"}],
        explained=[{"method": "iba", "n_maps": 4, "n_empty": 1, "n_failed": 0}],
        statistics=[{"model": "m", "layer": "l", "n": 1}],
        status=[{"status": "error", "n_videos": 1}],
        agreement=[{"who": "people", "item": "answer", "alpha": 0.2, "low": 0.0, "high": 0.4}],
    )
    found = rules.findings(told)
    assert len(found) == rules.MOST == 8
    kinds = [rules.ORDER.index(finding.kind) for finding in found]
    assert kinds == sorted(kinds)
    # the share of empty maps has always to be known; that a video failed its section says
    assert [finding.section for finding in found] == [
        *("league", "sanity", "league", "method", "regions", "detector", "league", "run")
    ]
