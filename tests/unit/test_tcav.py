"""Concept vectors find a planted concept where it lives, find none in noise, and score as captum scores them."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from captum.attr import LayerGradientXActivation
from captum.concept import TCAV, Concept
from captum.concept._utils.classifier import Classifier
from scipy.stats import ttest_ind
from torch import Tensor, nn

from operators.concepts import Activations
from operators.inputs.view import View
from operators.models.spec import spec_for
from operators.models.weights import Detector
from operators.tcav.cav import CavParams, _half, direction, learn, random_set, score, try_all
from pipelines.lake.layout import Layout
from pipelines.lake.read import open_lake
from pipelines.manifest import write_table
from pipelines.tcav import _try_layer, _write
from schemas.records import ACTIVATION
from schemas.tables import CAVS, TCAV_SCORES

FEW = CavParams(sets=10)
SPEC = replace(spec_for("small3d", "frame"), view=View(24, "frame", "clip", frames=4, step=3))


def clips(n: int, d: int, seed: int, towards: np.ndarray | None = None, by: float = 0.0) -> np.ndarray:
    found = np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)
    return found if towards is None else found + np.float32(by) * towards.astype(np.float32)


def unit(d: int, seed: int) -> np.ndarray:
    vector = np.random.default_rng(seed).normal(size=d)
    return vector / np.linalg.norm(vector)


@pytest.mark.parametrize("classifier", ["ridge", "means"])
def test_a_planted_direction_is_found_and_held_out_clips_are_told_apart(classifier):
    planted = unit(200, 0)
    params = CavParams(classifier=classifier)
    cav = learn(clips(60, 200, 1, planted, 8), clips(60, 200, 2), params, np.random.default_rng(0))
    assert np.linalg.norm(cav.vector) == pytest.approx(1, abs=1e-5)
    assert float(cav.vector @ planted) > 0.8
    assert cav.accuracy > 0.9
    assert (cav.n_train, cav.n_test) == (80, 40)
    noise = [learn(clips(30, 200, s), clips(30, 200, s + 99), params, np.random.default_rng(s)) for s in range(10)]
    assert abs(float(np.mean([each.accuracy for each in noise])) - 0.5) < 0.1


def test_ridge_in_the_dual_is_the_plain_ridge_regression():
    concept, other = clips(12, 5, 0, unit(5, 3), 2), clips(20, 5, 1)
    vector, threshold = direction(concept.astype(float), other.astype(float), CavParams(ridge=0.5))
    x = np.concatenate([concept, other]).astype(float)
    y = np.r_[np.full(12, 1 / 12), np.full(20, -1 / 20)] * 16
    centred = x - x.mean(0)
    penalty = 0.5 * (centred**2).sum() / len(x)
    plain = np.linalg.solve(centred.T @ centred + penalty * np.eye(5), centred.T @ (y - y.mean()))
    np.testing.assert_allclose(vector, plain / np.linalg.norm(plain), atol=1e-8)
    assert threshold == pytest.approx(float((concept.mean(0) + other.mean(0)) / 2 @ vector), abs=1e-6)


@pytest.mark.parametrize("classifier", ["ridge", "means"])
def test_two_sets_that_are_the_same_have_no_direction(classifier):
    alike = np.arange(12.0).reshape(4, 3)
    vector, threshold = direction(alike, alike, CavParams(classifier=classifier))
    assert (*vector, threshold) == pytest.approx((0, 0, 0, 0), abs=1e-9)


def test_scores_by_hand():
    gradients = np.array([[3.0, 4.0], [-3.0, 4.0], [0.0, -5.0], [0.0, 0.0]], np.float32)
    share, magnitude = score(np.array([1.0, 0.0], np.float32), gradients)
    assert share == (1 + 0 + 0.5 + 0.5) / 4
    assert magnitude == pytest.approx(0.0)
    assert score(np.array([0.0, 1.0], np.float32), gradients[:2]) == (1.0, pytest.approx(0.8))


def test_random_sets_are_the_same_for_every_concept():
    pool = clips(40, 3, 0)
    assert np.array_equal(random_set(pool, 10, FEW, 3), random_set(pool, 10, FEW, 3))
    assert not np.array_equal(random_set(pool, 10, FEW, 3), random_set(pool, 10, FEW, 4))


# ---------------------------------------------------------------- significance


def lake_of(folder, by_layer: dict[str, list]) -> None:
    ids = {"tcav_id": "t", "model": "m"}
    for table, own in ((CAVS, ("accuracy", "n_train", "n_test")), (TCAV_SCORES, ("share", "magnitude"))):
        rows = []
        for number, (layer, tried) in enumerate(by_layer.items()):
            for each in tried:
                row = ids | {"layer": layer, "concept": each.concept, "against": each.against}
                row |= {"random_set": each.random_set} | {name: getattr(each, name) for name in own}
                scored = {"class": "fake", "n_clips": 20, "layer_number": number}
                rows.append(row | ({"seed": 0} if table is CAVS else scored))
        path = Layout(folder).tcav(table.name) / "t.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_table(pa.Table.from_pylist(rows, schema=table.schema), path)


def significance(folder) -> dict[tuple[str, str, str, str], dict]:
    with open_lake(folder) as connection:
        rows = connection.sql("select * from significance").to_arrow_table().to_pylist()
    return {(row["layer"], row["concept"], row["against"], row["statistic"]): row for row in rows}


def test_a_planted_concept_is_significant_at_its_layer_alone_by_scipys_test(tmp_path):
    lives = unit(60, 0)
    params = CavParams(sets=12)
    pool = clips(120, 60, 6)
    pairs = [("ball dynamic", "ball static")]
    concepts = {"ball dynamic": clips(40, 60, 7, lives, 5), "ball static": clips(40, 60, 8, unit(60, 9), 5)}
    concepts["noise static"] = clips(40, 60, 10)
    there = try_all(concepts, pool, clips(30, 60, 5, lives, 6), pairs, params)
    elsewhere = {name: clips(40, 60, 20 + i) for i, name in enumerate(concepts)}
    nowhere = try_all(elsewhere, pool, clips(30, 60, 30), pairs, params)
    lake_of(tmp_path, {"late": there, "early": nowhere})
    found = significance(tmp_path)
    for statistic in ("share", "magnitude"):
        row = found["late", "ball dynamic", "", statistic]
        assert row["separable"]
        chance = [getattr(each, statistic) for each in there if not each.concept]
        own = [getattr(each, statistic) for each in there if each.concept == "ball dynamic" and not each.against]
        assert len(own) == len(chance) == row["n_sets"] == 12
        assert row["value"] == pytest.approx(np.mean(own))
        # one value against twelve: the pooled variance is that of the twelve
        expected = ttest_ind([np.mean(own)], chance, equal_var=True)
        assert row["t"] == pytest.approx(expected.statistic)
        assert row["df"] == expected.df == 11
        assert row["p"] == pytest.approx(expected.pvalue, rel=1e-4, abs=1e-9)
        assert row["p_adjusted"] == pytest.approx(min(1, row["p"] * row["m"]))
    assert found["late", "ball dynamic", "", "share"]["value"] > 0.95
    assert row["p_adjusted"] < 0.01
    assert found["late", "ball dynamic", "ball static", "magnitude"]["p_adjusted"] < 0.05
    assert row["m"] == sum(each["separable"] for each in found.values())
    for (layer, *_), each in found.items():
        # what its vectors do not tell from random clips has no score and is no test
        assert each["separable"] or each["value"] is each["p"] is None
        assert layer == "late" or each["p"] is None or each["p_adjusted"] > 0.05


def test_random_concepts_are_significant_no_more_often_than_is_said(tmp_path):
    """A hundred concepts of noise: at most as many false ones as 5 % give in 99.9 % of cases (12)."""
    by_layer = {}
    for repetition in range(100):
        pool, gradients = clips(80, 8, 1000 + repetition), clips(12, 8, 2000 + repetition, unit(8, repetition), 1)
        by_layer[f"{repetition}"] = try_all({"noise": clips(12, 8, repetition)}, pool, gradients, [], FEW)
    lake_of(tmp_path, by_layer)
    rows = significance(tmp_path).values()
    for statistic in ("share", "magnitude"):
        own = [row for row in rows if row["statistic"] == statistic]
        assert len(own) == 100
        assert len([row for row in own if row["separable"] and row["p"] < 0.05]) <= 12


# ---------------------------------------------------------------- captum


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.fc = nn.Conv3d(3, 4, 3, padding=1), nn.Linear(4 * 2 * 4 * 4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.conv(x).tanh().flatten(1))


class Ours(Classifier):
    """Our vectors where captum would train its own."""

    def __init__(self) -> None:
        self.vector = torch.zeros(0)

    def train_and_eval(self, dataloader, **_options):
        batches = list(dataloader)
        x, y = torch.cat([each for each, _ in batches]), torch.cat([label for _, label in batches])
        sides = [x[y == label].double().numpy() for label in (0, 1)]
        vector, _ = direction(*sides, CavParams())
        self.vector = torch.tensor(vector, dtype=torch.float32)
        return {"accs": torch.tensor(1.0)}

    def weights(self) -> Tensor:
        return torch.stack([self.vector, -self.vector])

    def classes(self) -> list[int]:
        return [0, 1]


def test_scores_are_captums(tmp_path):
    model = Net().eval()
    generator = torch.Generator().manual_seed(1)
    sets = [torch.randn(12, 3, 2, 4, 4, generator=generator) + shift for shift in (0.5, 0.0)]
    inputs = torch.randn(20, 3, 2, 4, 4, generator=generator)
    named = [Concept(i, name, iter_of(own)) for i, (name, own) in enumerate(zip(("ball", "random"), sets, strict=True))]
    captum = TCAV(
        model,
        ["conv"],
        classifier=Ours(),
        layer_attr_method=LayerGradientXActivation(model, model.conv, multiply_by_inputs=False),
        save_path=str(tmp_path),
    )
    theirs = captum.interpret(inputs, [named], target=1)["0-1"]["conv"]
    with torch.no_grad():
        activations = [model.conv(own).flatten(1).double().numpy() for own in sets]
    layer = model.conv(inputs)
    (gradients,) = torch.autograd.grad(model.fc(layer.tanh().flatten(1))[:, 1].sum(), layer)
    vector, _ = direction(*activations, CavParams())
    share, _ = score(vector.astype(np.float32), gradients.flatten(1).numpy())
    assert share == pytest.approx(float(theirs["sign_count"][0]))
    assert 0 < share < 1


def iter_of(clips_: Tensor):
    return torch.utils.data.DataLoader(clips_, batch_size=4)


# ---------------------------------------------------------------- activations


def test_of_clips_of_the_class_the_gradient_of_its_logit_is_kept_and_of_others_the_activation():
    detector = Detector(SPEC, ("layer1", "layer3"))
    rng = np.random.default_rng(0)
    rows = [
        {
            "clip_id": name,
            "concept": concept,
            "kind": "",
            "pixels": rng.integers(0, 256, SPEC.view.shape, np.uint8).tobytes(),
        }
        for name, concept in (("a", "ball"), ("b", ""), ("c", "random"))
    ]
    found = Activations(detector, "fake", 2, 1)(pa.Table.from_pylist(rows)).to_pylist()
    assert [(row["clip_id"], row["layer"]) for row in found] == [
        (name, layer) for part in ("ac", "b") for layer in detector.layers for name in part
    ]
    # the same clips, all as those of a concept: what was one stays, what was of the class is its activation now
    again = Activations(detector, "fake", 2, 1)(pa.Table.from_pylist([row | {"concept": "x"} for row in rows]))
    values = {(row["clip_id"], row["layer"]): row["values"] for row in again.to_pylist()}
    same = {row["clip_id"]: values[row["clip_id"], row["layer"]] == row["values"] for row in found}
    assert same == {"a": True, "b": False, "c": True}


def activations(folder, layers, rows):
    """WORK/NAME/values as the stage writes them: of each clip its concept, kind and vector, the same at each layer."""
    folder.mkdir(parents=True)
    found = []
    for layer in layers:
        for name, concept, kind, vector in rows:
            values = (vector / 4).astype(np.float16).tobytes()
            ids = {"clip_id": name, "concept": concept, "kind": kind, "layer": layer}
            found.append(ids | {"scale": 4.0 * (1 + layers.index(layer)), "values": values})
    pq.write_table(pa.Table.from_pylist(found[::-1], schema=ACTIVATION), folder / "a.parquet")


def test_what_is_tried_is_told_of_each_layer_in_the_tables(tmp_path):
    """From the clips' vectors, whatever their order: a moving concept over its still one, and none of two clips."""
    params, axis = CavParams(sets=10), unit(6, 0)
    kinds = {("ball", "dynamic"): 8, ("ball", "static"): 8, ("dog", "dynamic"): 2, ("random", "random"): 30}
    of = {
        key: clips(n, 6, seed, axis, 9 if key == ("ball", "dynamic") else 0)
        for seed, (key, n) in enumerate(kinds.items())
    }
    rows = [(f"{c}{k}{i:02d}", c, k, each) for (c, k), own in of.items() for i, each in enumerate(own)]
    gradients = clips(5, 6, 9, axis, 4)
    activations(tmp_path / "w" / "concepts" / "values", ["early", "late"], rows)
    asked = [(f"v{i}", "", "", each) for i, each in enumerate(gradients)]
    activations(tmp_path / "w" / "class" / "values", ["early", "late"], asked)
    tried = dict(_try_layer(tmp_path / "w", layer, params) for layer in ("early", "late"))
    halves = {
        key: np.stack([each.astype(np.float16) for each in own / 4]).astype(np.float32) for key, own in of.items()
    }
    for layer, scale in (("early", 4), ("late", 8)):
        named = {f"ball {kind}": scale * halves["ball", kind] for kind in ("dynamic", "static")}
        asked = scale * (gradients / 4).astype(np.float16).astype(np.float32)
        pairs = [("ball dynamic", "ball static")]
        expected = try_all(named, scale * halves["random", "random"], asked, pairs, params)
        assert tried[layer] == expected
    videos = pa.array([f"video{i % 3}" for i in range(len(rows))])
    told = pa.table({"concept": [row[1] for row in rows], "kind": [row[2] for row in rows], "video_id": videos})
    _write(Layout(tmp_path), "t", Detector(SPEC, ("early", "late")), "fake", told, tmp_path / "w", tried, params)
    with open_lake(tmp_path) as lake:
        made = lake.sql("select concept, n_clips, n_videos from concepts order by concept").fetchall()
        scored = lake.sql("select distinct class, n_clips, model from tcav_scores").fetchall()
        shares = lake.sql("from tcav_scores where concept = 'ball dynamic' and against = '' order by layer, random_set")
        shares = shares.select("layer, random_set, share, magnitude").fetchall()
    assert made == [("ball dynamic", 8, 3), ("ball static", 8, 3), ("dog dynamic", 2, 2), ("random", 30, 3)]
    assert scored == [("fake", 5, SPEC.name)]
    assert shares == [
        (layer, each.random_set, pytest.approx(each.share), pytest.approx(each.magnitude))
        for layer in ("early", "late")
        for each in tried[layer]
        if each.concept == "ball dynamic" and not each.against
    ]


def test_a_half_has_no_clip_twice():
    clips = np.arange(9.0)[:, None]
    for seed in range(5):
        half = _half(clips, np.random.default_rng(seed)).ravel().tolist()
        assert len(half) == len(set(half)) == 5
        assert half == sorted(half)
    assert len(_half(clips[:4], np.random.default_rng(0))) == 3
