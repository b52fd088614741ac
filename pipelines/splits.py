"""Train, val and test so that nobody who is in one of them is in another."""

import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Final

import numpy as np
import pyarrow as pa
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from schemas.tables import IDENTITY_SEPARATOR

SPLITS: Final = ("train", "val", "test")
FRACTIONS: Final = (0.70, 0.15, 0.15)


def split(table: pa.Table, fractions: Sequence[float] = FRACTIONS, seed: int = 0, *, resplit: bool = False) -> pa.Table:
    """`table` (schemas.tables.MANIFEST) with a split in every row and no group of rows on two sides.

    A group is what shared identities and pairs of a forgery with its original tie together, however indirectly. A
    split that is there already is kept unless `resplit`; the group's other rows follow the most frequent one, so only
    splits that were given can part a group (`leaks` says whether they do). The other groups go, from the largest, to
    the split that is furthest from its fraction of the rows and of each label, so with one label no split ends
    further from its fraction than 4/3 of the largest group. Ties fall by `seed`, whatever the order of the rows.
    Raises ValueError for fractions that are not three shares of 1.
    """
    if len(fractions) != len(SPLITS) or min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-9:
        raise ValueError(f"fractions of train, val and test add up to 1, these do not: {fractions}")
    given: list[str | None] = [None] * len(table) if resplit else table["split"].to_pylist()
    labels = table["label"].to_pylist()
    kinds = ["all", *dict.fromkeys(str(label) for label in labels)]
    totals = np.array([len(labels), *(sum(str(label) == kind for label in labels) for kind in kinds[1:])], float)
    targets = np.outer(fractions, totals)
    counts = np.zeros_like(targets)

    def amounts(rows: Sequence[int]) -> np.ndarray:
        """Of each kind, how many of `rows`."""
        of = Counter(str(labels[row]) for row in rows)
        return np.array([len(rows), *(of[kind] for kind in kinds[1:])], float)

    chosen = [""] * len(table)
    free = []
    for rows in groups(table):
        official = Counter(given[row] for row in rows if given[row] is not None)
        if not official:
            free.append(rows)
            continue
        usual = max(official, key=lambda name: (official[name], str(name)))
        for row in rows:
            chosen[row] = given[row] or str(usual)
            if chosen[row] in SPLITS:
                counts[SPLITS.index(chosen[row])] += amounts([row])
    random.Random(seed).shuffle(free)
    for rows in sorted(free, key=len, reverse=True):
        more = amounts(rows)
        # how much the squared distance to the targets, as shares of each kind, grows
        cost = ((more * (2 * (counts - targets) + more)) / totals**2).sum(axis=1)
        best = int(cost.argmin())
        counts[best] += more
        for row in rows:
            chosen[row] = SPLITS[best]
    index = table.schema.get_field_index("split")
    return table.set_column(index, table.schema.field(index), pa.array(chosen, pa.string()))


def groups(table: pa.Table) -> list[list[int]]:
    """The row numbers of each group, in order of the smallest `video_id` in it."""
    ids, keys = table["video_id"].to_pylist(), _keys(table)
    if not ids:
        return []
    number = {key: index for index, key in enumerate(dict.fromkeys(key for row in keys for key in row), len(ids))}
    ends = np.array([(row, number[key]) for row, own in enumerate(keys) for key in own])
    size = len(ids) + len(number)
    graph = coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(size, size))
    _, component = connected_components(graph, directed=False)
    members: dict[int, list[int]] = defaultdict(list)
    for row in sorted(range(len(ids)), key=lambda row: ids[row]):
        members[component[row]].append(row)
    return list(members.values())


def leaks(table: pa.Table) -> list[str]:
    """The identities, and pairs as video:ID, that are in more than one split."""
    sides: dict[str, set[str]] = defaultdict(set)
    for name, own in zip(table["split"].to_pylist(), _keys(table), strict=True):
        for key in own:
            sides[key].add(name)
    return sorted(key for key, names in sides.items() if len(names) > 1)


def _keys(table: pa.Table) -> list[list[str]]:
    """What each row must not share with a row of another split; at least the row itself."""
    rows = table.select(["video_id", "identities", "pair_id"]).to_pylist()
    return [
        [f"video:{row['video_id']}", f"video:{row['pair_id'] or row['video_id']}"]
        + [key for key in (row["identities"] or "").split(IDENTITY_SEPARATOR) if key]
        for row in rows
    ]
