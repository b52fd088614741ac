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
