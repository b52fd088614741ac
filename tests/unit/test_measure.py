"""Figures of a video's maps are those of the order in time, however the rows come."""

import numpy as np

from operators.measure import _PLACE, _metrics
from operators.measures.rules import MaskRule


def test_maps_are_compared_in_the_order_of_their_frames():
    # three steps to the right: neighbours overlap by a half, the first and the last not at all
    maps = []
    for frame in (2, 10, 30):
        heat = np.zeros((8, 8), np.float32)
        left = {2: 0, 10: 2, 30: 4}[frame]
        heat[:, left : left + 4] = 1
        row = dict.fromkeys(_PLACE, "a") | {"frame": frame, "first_frame": frame, "empty": False}
        maps.append((row, heat))
    rules = [MaskRule.parse("max0.5")]
    (expected,) = _metrics(maps, rules)
    assert expected["iou"] == 1 / 3
    for order in ((2, 1, 0), (0, 2, 1), (1, 2, 0)):
        assert _metrics([maps[index] for index in order], rules) == [expected]


def shown(frame, left, first_frame=None, empty=False, **place):
    """A row of half of eight columns that are hot from `left` on, and its heat."""
    heat = np.zeros((8, 8), np.float32)
    heat[:, left : left + 4] = 0 if empty else 1
    first_frame = frame if first_frame is None else first_frame
    return dict.fromkeys(_PLACE, "a") | place | {"frame": frame, "first_frame": first_frame, "empty": empty}, heat


def test_every_model_method_layer_and_target_has_its_own_figures():
    """Maps of two places that come in turn: in each those of one place alone are compared."""
    rules = [MaskRule.parse("max0.5"), MaskRule.parse("top0.25")]
    for name in _PLACE:
        maps = [shown(frame, left, **{name: at}) for frame in (0, 1) for at, left in (("a", 0), ("b", 4))]
        maps.append(shown(2, 0, empty=True, **{name: "b"}))
        found = {(row[name], row["mask_rule"]): row for row in _metrics(maps, rules)}
        assert list(found) == [("a", "max0.5"), ("a", "top0.25"), ("b", "max0.5"), ("b", "top0.25")]
        assert [found[at, "max0.5"]["n_frames"] for at in "ab"] == [2, 3]
        assert [found[at, "max0.5"]["n_empty"] for at in "ab"] == [0, 1]
        assert [found[at, "max0.5"]["iou"] for at in "ab"] == [1, 1 / 2]  # with nothing it has nothing in common
        assert found["a", "top0.25"]["tcs"] == 1 / 4


def test_cells_of_time_are_consecutive_within_their_clip_alone():
    """Two clips of two cells: within each nothing moves, from one to the other all of it."""
    clips = [shown(0, 0, 0), shown(4, 0, 0), shown(8, 4, 8), shown(12, 4, 8)]
    rules = [MaskRule.parse("max0.5")]
    assert _metrics(clips, rules)[0]["iou"] == 1
    pictures = [shown(row["frame"], 4 * (row["frame"] >= 8)) for row, _ in clips]
    assert _metrics(pictures, rules)[0]["iou"] == 2 / 3
