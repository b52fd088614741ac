"""What tells the rows of a table apart, written down a second time: a key that is too short lets rows be doubled."""

import pytest

from schemas.tables import LAKE_TABLES

#: columns that say what a row is about, wherever they are
ABOUT = {
    *("run_id", "video_id", "frame", "first_frame", "model", "method", "layer", "target", "class", "variant"),
    *("view", "region", "mask_rule", "metric", "removal", "fill", "test", "place", "seed"),
}


@pytest.mark.parametrize("table", LAKE_TABLES, ids=lambda each: each.name)
def test_what_a_row_is_about_is_part_of_the_key(table):
    assert ABOUT & set(table.schema.names) <= set(table.key)
    assert table.key[0] == "run_id"
