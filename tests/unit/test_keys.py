"""What tells the rows of a table apart, written down a second time: a key that is too short lets rows be doubled."""

import pytest

from schemas.tables import LAKE_TABLES

PLACE = ("model", "method", "layer", "target")


@pytest.mark.parametrize(
    "table", [each for each in LAKE_TABLES if set(PLACE) <= set(each.schema.names)], ids=lambda each: each.name
)
def test_the_place_of_a_map_is_part_of_the_key(table):
    assert set(PLACE) <= set(table.key)
