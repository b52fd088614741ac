"""Controls made of other maps, worked out by hand."""

import numpy as np
import pyarrow as pa
import pytest

from operators.measures.derived import MeanMaps, blurred
from operators.measures.maps import cells, stored
from schemas.tables import MASKS, item


def row(values, frame: int = 0, **told) -> dict:
    values = np.array(values, np.float64)
    full = {"first_frame": frame, "frame": frame, "span_frames": 1, "model": "m", "method": "iba", "layer": "l"}
    full |= {
        "target": "fake",
        "box_x": 0,
        "box_y": 0,
        "box_width": 9,
        "box_height": 9,
        "input_size": 32,
        "unit": "bits",
    }
    full |= {"empty": False, "seconds": 2.0, "error_code": None, "evaluations": 9}
    full |= {"total_bits": 3.0, "floor_bits": 1.0, "loss_first": 1.0, "loss_last": 0.5}
    return full | stored(values) | told


LEFT, RIGHT, BELOW = [[4, 0], [0, 0]], [[0, 2], [0, 0]], [[0, 0], [1, 1]]


def summed(*videos: list[dict]) -> MeanMaps:
    """As if two workers had summed them."""
    found, other = MeanMaps(), MeanMaps()
    found.add(videos[0])
    for rows in videos[1:]:
        other.add(rows)
    found.merge(other)
    return found


def test_the_mean_map_is_that_of_the_other_videos():
    """Each by its form, each video once however many frames it has."""
    a, b, c = [row(LEFT), row(LEFT, 5)], [row(RIGHT)], [row(BELOW), row([[0, 8], [0, 0]], 3)]
    means = summed(a, b, c)
    found = means.of_others(a)
    assert [(each["frame"], each["method"]) for each in found] == [(0, "iba:mean_map"), (5, "iba:mean_map")]
    for each in found:
        np.testing.assert_allclose(cells(each), [[0, 0.75], [0.125, 0.125]])
    np.testing.assert_allclose(cells(means.of_others(b)[0]), [[0.5, 0.25], [0.125, 0.125]])
    assert found[0]["total_bits"] is found[0]["evaluations"] is None


def test_classes_and_layers_have_mean_maps_of_their_own():
    a = [row(LEFT), row(BELOW, target="real"), row(LEFT, layer="k")]
    b = [row(RIGHT), row(RIGHT, target="real")]
    found = summed(a, b).of_others(a)
    assert [(each["target"], each["layer"]) for each in found] == [("fake", "l"), ("real", "l")]
    for each in found:
        np.testing.assert_allclose(cells(each), [[0, 1], [0, 0]])


def test_empty_and_failed_maps_do_not_count():
    lost = row(LEFT, 1) | {"error_code": "explain_failed", "saliency": None, "scale": None, "empty": None}
    a, b = [row(LEFT), lost], [row(RIGHT), row(BELOW, 4, empty=True)]
    only_empty = [row(BELOW, empty=True)]
    means = summed(a, b, only_empty)
    (found,) = means.of_others(a)
    np.testing.assert_allclose(cells(found), [[0, 1], [0, 0]])
    # an empty map has the others' mean all the same: that is what it is compared with
    np.testing.assert_allclose(cells(means.of_others(only_empty)[0]), [[0.5, 0.5], [0, 0]])
    assert summed(a, only_empty).of_others(a) == []


def test_signed_maps_keep_their_signs():
    a, b = [row(LEFT)], [row([[3, -1], [0, 0]])]
    np.testing.assert_allclose(cells(summed(a, b).of_others(a)[0]), [[0.75, -0.25], [0, 0]])


@pytest.mark.parametrize("sigma_px", [8, 16])
def test_a_point_blurred_is_a_gaussian_of_so_many_pixels(sigma_px):
    """32 x 32 cells of 8 pixels: sigma is 1 and 2 cells."""
    point = np.zeros((32, 32))
    point[16, 16] = 5
    found = blurred(row(point, input_size=256), sigma_px)
    assert found["method"] == f"iba:blur{sigma_px}"
    values, sigma = cells(found), sigma_px / 8
    assert values.sum() == pytest.approx(5, rel=2e-3)
    along = np.exp(-((np.arange(32) - 16) ** 2) / (2 * sigma**2))
    np.testing.assert_allclose(values, 5 * np.outer(along, along) / along.sum() ** 2, atol=2e-3 * values.max())
    assert found["empty"] is False
    assert blurred(row(point, empty=True), 8)["empty"] is True


def test_derived_rows_are_rows_of_the_table():
    a, b = [row(LEFT)], [row(RIGHT)]
    rows = [blurred(a[0], 8), *summed(a, b).of_others(a)]
    assert pa.array(rows, item(MASKS)).to_pylist()[1]["method"] == "iba:mean_map"
    assert {name for each in rows for name in each} == {field.name for field in item(MASKS)}
