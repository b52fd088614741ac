"""What people say against what maps show; the answers are worked out by hand, published, or enumerated."""

from itertools import combinations, permutations
from math import comb

import pytest
from scipy.stats import hypergeom

from pipelines.lake.read import queries
from schemas.tables import FACE_REGIONS

TABLES = queries("tables")


def rows(lake, name):
    relation = lake.sql(TABLES[name])
    return [dict(zip(relation.columns, row, strict=True)) for row in relation.fetchall()]


def answers(video_id, *named, showing=1, **values):
    """What each of the annotators a, b, c ... says, as letters of figure 2; None for one who was not asked."""
    letters = dict(zip("LEBNOC", FACE_REGIONS, strict=True))
    return [
        {"annotator": "abcdefgh"[index], "video_id": video_id, "showing": showing}
        | {"regions": [letters[letter] for letter in each]}
        | values
        for index, each in enumerate(named)
        if each is not None
    ]


def heat(video_id, hot, **values):
    """The six rows of a map whose heat is all in the `hot` regions, each of a sixth of the picture."""
    letters = dict(zip("LEBNOC", FACE_REGIONS, strict=True))
    return [
        {"video_id": video_id, "region": region, "area": 1 / 6, "heat": (letter in hot) / len(hot) if hot else None}
        | values
        for letter, region in letters.items()
    ]


def videos(*names, label="fake"):
    return [{"video_id": name, "label": label} for name in names]


#: u1 .. u15 of three coders: the example of the published articles on alpha, whose nominal alpha is .691
PUBLISHED = ("*****34121133*3", "1*213343*******", "**21344*2113 3*4".replace(" ", ""))


def test_alpha_is_that_of_the_published_example(views):
    told = {"1": "L", "2": "E", "3": "B", "4": "N", "*": None}
    given = [
        row
        for unit, each in enumerate(zip(*PUBLISHED, strict=True))
        for row in answers(f"u{unit:02}", *map(told.get, each))
    ]
    with views(annotations=given) as lake:
        found = {row["item"]: row for row in rows(lake, "agreement") if row["who"] == "people"}
    assert round(found["answer"]["alpha"], 3) == 0.691
    assert (found["answer"]["n_videos"], found["answer"]["n_values"]) == (12, 26)  # units that two or three coders saw
    assert found["answer"]["low"] < 0.691 < found["answer"]["high"]
    assert set(found) == {*FACE_REGIONS, "nothing", "answer"}
    assert found["chin"]["alpha"] is None  # nobody names it


def test_alpha_by_hand(views):
    # mouth: yes yes, yes no, no no: n = 6, n_yes = 3, n_no = 3, one unit of two values disagrees: D_o = 2 of 6,
    # alpha = 1 - 5 * 2 / (36 - 18) = 4 / 9
    given = [*answers("u", "L", "L"), *answers("v", "L", ""), *answers("w", "", ""), *answers("alone", "L")]
    with views(annotations=given) as lake:
        found = {(row["who"], row["item"]): row for row in rows(lake, "agreement")}
    assert found["people", "mouth"]["alpha"] == pytest.approx(4 / 9)
    assert found["people", "mouth"]["same"] == pytest.approx(2 / 3)
    assert found["people", "nothing"]["alpha"] == pytest.approx(4 / 9)
    assert {who for who, _ in found} == {"people"}  # nobody saw a video twice


def test_self_agreement_is_of_the_repeats_alone(views):
    # a says the same of v again and another thing of w; b, who differs from a in everything, repeats himself
    first = [*answers("v", "L", "E"), *answers("w", "L", "E"), *answers("x", "L", "E")]
    again = [*answers("v", "L", "E", showing=2), *answers("w", "C", showing=2)]
    with views(annotations=first + again) as lake:
        found = {(row["who"], row["item"]): row for row in rows(lake, "agreement")}
    assert found["self", "answer"]["same"] == pytest.approx(2 / 3)
    assert (found["self", "answer"]["n_videos"], found["self", "answer"]["n_values"]) == (2, 6)
    # values L L, L C, E E: 3 L, 1 C, 2 E; D_o = 2; n^2 - sum n_c^2 = 36 - 14
    assert found["self", "answer"]["alpha"] == pytest.approx(1 - 5 * 2 / 22)
    assert found["people", "answer"]["same"] == 0
    assert found["people", "answer"]["n_values"] == 6


def test_table4_by_hand(views):
    given = [
        # L three votes, E two, B two, N one: the top three are L, E, B
        *answers("u", "LEB", "LEB", "LN"),
        *answers("v", "C", "C", ""),
        # a repeat and a genuine video are not counted
        *answers("v", "O", "O", "O", showing=2),
        *answers("g", "O", "O"),
        *answers("without a map", "L"),
    ]
    maps = [
        *heat("u", "LN"),
        *heat("v", "LEC"),
        *heat("g", "O"),
        *heat("nobody", "L"),
        *heat("empty", ""),
    ]
    of_fakes = videos("u", "v", "without a map", "nobody", "empty")
    with views(videos=[*of_fakes, *videos("g", label="real")], regions=maps, annotations=given) as lake:
        found = {row["measure"]: row for row in rows(lake, "table4")}
    values = {name: row["value"] for name, row in found.items()}
    # u: people LEB, map LN: precision 1/2, recall 1/3, overlap 1/2, top1; v: people C, map LEC: 1/3, 1, 1, top1
    assert values == pytest.approx(
        {
            "precision": 5 / 12,
            "recall": 2 / 3,
            "f1": 2 * 5 / 12 * 2 / 3 / (5 / 12 + 2 / 3),
            "overlap": 3 / 4,
            "top1": 1,
        }
    )
    # crossed: people LEB with the map LEC: 2/3, 2/3, 2/3, top1; people C with the map LN: nothing
    assert found["precision"]["chance"] == pytest.approx((1 / 2 + 1 / 3 + 2 / 3 + 0) / 4)
    assert found["overlap"]["chance"] == pytest.approx((1 / 2 + 1 + 2 / 3 + 0) / 4)
    assert found["top1"]["chance"] == pytest.approx(3 / 4)
    assert {row["n_videos"] for row in found.values()} == {2}
    assert (found["f1"]["n_people"], found["f1"]["n_map"]) == (2, 2.5)
    # of the two permutations one is what was observed
    assert found["recall"]["p"] == pytest.approx(0.5, abs=0.06)


def test_table4_means_over_the_maps_of_a_video_and_keeps_methods_apart(views):
    # mouth: heat 1 and 0, area 1/6 each: mean above; edges: 0 and .1 against 1/6: below
    rest = {"frame": 8, "first_frame": 8}
    second = [row | rest | {"heat": {"edges": 0.1, "chin": 0.9}.get(row["region"], 0)} for row in heat("u", "L")]
    maps = [*heat("u", "L"), *second, *heat("u", "O", method="cam")]
    with views(videos=videos("u"), regions=maps, annotations=answers("u", "LEC")) as lake:
        found = {(row["method"], row["measure"]): row["value"] for row in rows(lake, "table4")}
    assert found["iba", "precision"] == 1
    assert found["iba", "recall"] == pytest.approx(2 / 3)
    assert found["cam", "overlap"] == 0


def test_chance_and_p_of_table4_are_those_of_all_permutations(views):
    people = ["LEB", "LEB", "LCN", "C", "EO", "BNO"]
    maps = ["LE", "LEB", "C", "CE", "EOB", "L"]
    names = [f"v{index}" for index in range(6)]
    given = [row for name, each in zip(names, people, strict=True) for row in answers(name, each)]
    shown = [row for name, each in zip(names, maps, strict=True) for row in heat(name, each)]
    with views(videos=videos(*names), regions=shown, annotations=given) as lake:
        found = {row["measure"]: row for row in rows(lake, "table4")}

    def overlap(order):
        each = [len({*people[a]} & {*maps[b]}) / min(len(people[a]), len(maps[b])) for b, a in enumerate(order)]
        return sum(each) / len(each)

    scores = [overlap(order) for order in permutations(range(6))]
    assert found["overlap"]["value"] == pytest.approx(scores[0])
    assert found["overlap"]["chance"] == pytest.approx(sum(scores) / len(scores))
    exact = sum(score >= scores[0] - 1e-9 for score in scores) / len(scores)
    assert 0.001 < exact < 0.2
    assert found["overlap"]["p"] == pytest.approx(exact, abs=0.02)


def test_figure2_by_hand(views):
    people, maps = ["L", "LE", "E", "LC"], ["L", "LE", "L", "LC"]
    names = [f"v{index}" for index in range(4)]
    given = [row for name, each in zip(names, people, strict=True) for row in answers(name, each)]
    shown = [row for name, each in zip(names, maps, strict=True) for row in heat(name, each)]
    with views(videos=videos(*names), regions=shown, annotations=given) as lake:
        found = {row["region"]: row for row in rows(lake, "figure2")}
    assert set(found) == set(FACE_REGIONS)
    shares = {name: tuple(found[name][key] for key in ("people", "map", "match", "chance")) for name in found}
    assert shares["mouth"] == (3 / 4, 1, 3 / 4, 3 / 4)
    assert shares["edges"] == (1 / 2, 1 / 4, 1 / 4, 1 / 8)
    assert shares["chin"] == (1 / 4, 1 / 4, 1 / 4, 1 / 16)
    assert shares["nose"] == (0, 0, 0, 0)
    assert found["mouth"]["p"] == pytest.approx(1)
    assert found["edges"]["p"] == pytest.approx(1 / 2)  # the map's one video is one of people's two
    assert found["chin"]["p"] == pytest.approx(1 / 4)
    assert found["nose"]["p"] == pytest.approx(1)


def test_chance_in_figure2_is_so_many_or_more(views):
    """Of four videos people name a region in two and maps in two, one of them the same: all but one choice of six have
    at least that."""
    names = [f"v{index}" for index in range(4)]
    given = [row for name, each in zip(names, ["E", "E", "L", "L"], strict=True) for row in answers(name, each)]
    shown = [row for name, each in zip(names, ["L", "E", "E", "L"], strict=True) for row in heat(name, each)]
    with views(videos=videos(*names), regions=shown, annotations=given) as lake:
        found = {row["region"]: row for row in rows(lake, "figure2")}
    assert found["edges"]["match"] == 1 / 4
    assert found["edges"]["p"] == pytest.approx(5 / 6)


def test_chance_in_figure2_is_scipys_hypergeometric(views):
    """Of nine videos people name a region in five and maps in four: two of them the same; and the other way round."""
    people, maps = ["E"] * 5 + ["L"] * 4, ["E", "E", "L", "L", "L", "E", "E", "L", "L"]
    names = [f"v{index}" for index in range(9)]
    given = [row for name, each in zip(names, people, strict=True) for row in answers(name, each)]
    shown = [row for name, each in zip(names, maps, strict=True) for row in heat(name, each)]
    with views(videos=videos(*names), regions=shown, annotations=given) as lake:
        found = {row["region"]: row["p"] for row in rows(lake, "figure2")}
    assert found["edges"] == pytest.approx(hypergeom.sf(1, 9, 5, 4))
    assert found["mouth"] == pytest.approx(hypergeom.sf(1, 9, 4, 5))


def test_the_papers_table_4_is_what_regions_drawn_at_random_score():
    """docs/people.md: people name three of six regions; m of six are drawn, every choice as likely."""

    def mean(m, score):
        scores = [score(set(drawn)) for drawn in combinations(range(6), m)]
        assert len(scores) == comb(6, m)
        return sum(scores) / len(scores)

    people = {0, 1, 2}
    for m in (1, 2, 3):
        assert mean(m, lambda drawn: len(drawn & people) / min(len(drawn), 3)) == pytest.approx(0.5)
    for m in range(1, 7):
        assert mean(m, lambda drawn: len(drawn & people) / len(drawn)) == pytest.approx(0.5)
        assert mean(m, lambda drawn: len(drawn & people) / 3) == pytest.approx(m / 6)
        assert mean(m, lambda drawn: len(drawn & people) / min(len(drawn), 3)) == pytest.approx(max(1 / 2, m / 6))
    # as many regions as published recall over precision implies, drawn at random, against what is published
    published = {"xception": (0.4076, 0.5128, 0.5192), "vgg": (0.5, 0.5576, 0.5769)}
    for (precision, recall, overlap), (n, chance) in zip(
        published.values(), [(3.77, 0.629), (3.35, 0.558)], strict=True
    ):
        assert 3 * recall / precision == pytest.approx(n, abs=0.01)
        assert 3 * recall / precision / 6 == pytest.approx(chance, abs=0.001)
        assert precision <= 0.5
        assert recall <= chance
        assert overlap < chance + 0.02
    # f1 is the harmonic mean of the two, and top1 counts 27 videos where the others count 26
    assert round(2 * 0.4076 * 0.5128 / (0.4076 + 0.5128), 4) == 0.4542
    assert round(2 * 0.5 * 0.5576 / (0.5 + 0.5576), 4) == 0.5272
    assert [round(share, 4) for share in (17 / 27, 11 / 27, 13.5 / 26, 15 / 26)] == [0.6296, 0.4074, 0.5192, 0.5769]
