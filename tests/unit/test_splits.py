"""A split parts nobody from themselves, reaches its fractions, and is the same for the same seed."""

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.splits import FRACTIONS, SPLITS, groups, leaks, split
from schemas.tables import IDENTITY_SEPARATOR, MANIFEST


def make(rows: list[dict]) -> pa.Table:
    plain = {"uri": "u", "dataset": "d", "label": "real"}
    return pa.Table.from_pylist(
        [{"video_id": f"v{i:03d}"} | plain | row for i, row in enumerate(rows)], MANIFEST.schema
    )


def splits(table: pa.Table) -> dict[str, str]:
    return dict(zip(table["video_id"].to_pylist(), table["split"].to_pylist(), strict=True))


@st.composite
def tables(draw, official: bool = False):
    n = draw(st.integers(1, 20))
    persons = st.lists(st.integers(0, draw(st.integers(1, 20))), max_size=3)
    rows = []
    for i in range(n):
        identities = IDENTITY_SEPARATOR.join(f"p:{person}" for person in draw(persons)) or None
        pair = draw(st.one_of(st.none(), st.integers(0, n + 2)))
        rows.append(
            {
                "identities": identities,
                "pair_id": None if pair is None else f"v{pair:03d}",
                "label": draw(st.sampled_from(["real", "fake", None])),
                "split": draw(st.sampled_from([None, *SPLITS])) if official else None,
                "uri": str(i),
            }
        )
    return make(rows)


def crossings(table: pa.Table) -> int:
    """By brute force: the pairs of rows in different splits that share a person, or a video with a forgery of it."""
    rows = [
        (
            row["split"],
            set((row["identities"] or "").split(IDENTITY_SEPARATOR)) - {""},
            {row["video_id"], row["pair_id"]} - {None},
        )
        for row in table.to_pylist()
    ]
    return sum(
        split != other and bool(persons & others or videos & these)
        for split, persons, videos in rows
        for other, others, these in rows
    )


@settings(max_examples=150)
@given(table=tables(), seed=st.integers(0, 3))
def test_nobody_is_in_two_splits(table, seed):
    done = split(table, seed=seed)
    assert done.schema.equals(table.schema)
    assert set(done["split"].to_pylist()) <= set(SPLITS)
    assert crossings(done) == 0
    assert leaks(done) == []
    assert done.drop_columns("split").equals(table.drop_columns("split"))


@settings(max_examples=60)
@given(table=tables(official=True), seed=st.integers(0, 3), data=st.data())
def test_the_order_of_the_rows_changes_nothing(table, seed, data):
    order = data.draw(st.permutations(range(len(table))))
    for resplit in (False, True):
        expected = splits(split(table, seed=seed, resplit=resplit))
        assert splits(split(table.take(order), seed=seed, resplit=resplit)) == expected


@settings(max_examples=100)
@given(table=tables(official=True))
def test_an_official_split_is_kept_and_the_rest_is_apart(table):
    done = split(table)
    for before, after in zip(table["split"].to_pylist(), done["split"].to_pylist(), strict=True):
        assert after == before if before is not None else after in SPLITS
    # only rows that had a split may part a group
    given_names = table["split"].to_pylist()
    for rows in groups(table):
        official = {given_names[row] for row in rows} - {None}
        if len(official) <= 1:
            assert len({done["split"][row].as_py() for row in rows}) == 1
    assert crossings(split(table, resplit=True)) == 0


@settings(max_examples=150)
@given(
    sizes=st.lists(st.integers(1, 12), min_size=1, max_size=30),
    fractions=st.sampled_from([FRACTIONS, (0.8, 0.1, 0.1), (1 / 3, 1 / 3, 1 / 3), (0.9, 0.1, 0.0), (1.0, 0.0, 0.0)]),
    seed=st.integers(0, 5),
)
def test_fractions_are_reached_within_the_largest_group(sizes, fractions, seed):
    table = make([{"identities": f"p:{group}"} for group, size in enumerate(sizes) for _ in range(size)])
    names = split(table, fractions, seed)["split"].to_pylist()
    for name, fraction in zip(SPLITS, fractions, strict=True):
        assert abs(names.count(name) - fraction * len(names)) <= 4 / 3 * max(sizes) + 1e-9
        if fraction == 0:
            assert names.count(name) == 0


@pytest.mark.parametrize("seed", range(5))
def test_single_videos_reach_the_fractions_of_every_label(seed):
    rows = [{"label": "fake" if i % 4 else "real"} for i in range(80)]  # 20 real, 60 fake
    done = split(make(rows), seed=seed).to_pylist()
    counted = {
        (name, label): sum(row["split"] == name and row["label"] == label for row in done)
        for name in SPLITS
        for label in ("real", "fake")
    }
    assert counted == {
        ("train", "real"): 14,
        ("val", "real"): 3,
        ("test", "real"): 3,
        ("train", "fake"): 42,
        ("val", "fake"): 9,
        ("test", "fake"): 9,
    }


@pytest.mark.parametrize("seed", range(5))
def test_single_videos_fill_up_what_a_large_group_leaves(seed):
    rows = [{"identities": "p"}] * 10 + [{}] * 10
    names = split(make(rows), seed=seed)["split"].to_pylist()
    assert [names.count(name) for name in SPLITS] == [14, 3, 3]
    assert set(names[:10]) == {"train"}


def test_seeds_differ_and_repeat():
    table = make([{} for _ in range(30)])
    assert splits(split(table, seed=1)) == splits(split(table, seed=1))
    assert splits(split(table, seed=1)) != splits(split(table, seed=2))


def test_ties_are_followed_all_the_way():
    rows = [
        {"identities": "ff:000"},
        {"identities": "ff:000;ff:003", "label": "fake"},
        {"identities": "ff:003;ff:007", "label": "fake"},
        {"pair_id": "v002", "label": "fake"},  # no identity, but made from the one before
        {"pair_id": "gone", "label": "fake"},
        {"pair_id": "gone", "label": "fake"},  # two forgeries of a video that is not in the table
        {},
    ]
    assert groups(make(rows)) == [[0, 1, 2, 3], [4, 5], [6]]


def test_unsplit_rows_follow_their_official_group_and_leaks_are_named():
    rows = [
        {"identities": "a", "split": "test"},
        {"identities": "a"},
        {"identities": "b", "split": "train"},
        {"identities": "b", "split": "val"},
        {"identities": "b", "split": "val"},
        {"identities": "b"},
    ]
    done = split(make(rows))
    assert done["split"].to_pylist() == ["test", "test", "train", "val", "val", "val"]
    assert leaks(done) == ["b"]
    assert leaks(split(make(rows), resplit=True)) == []


@pytest.mark.parametrize("fractions", [(0.5, 0.5), (0.7, 0.2, 0.2), (1.2, -0.1, -0.1)])
def test_fractions_that_are_none(fractions):
    with pytest.raises(ValueError, match="add up to 1"):
        split(make([{}]), fractions)


def test_an_empty_manifest_stays_empty():
    assert len(split(make([]))) == 0
