"""What a person sees of a table: hand-made ones at 80 and 200 columns, and any table at any width."""

import re

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.tables import lay_out

REST = "--wide shows them"
FIGURES = ("iou", "iou_adjusted", "tcs", "persistence", "rpi")


def lines(table, width, below=(), wide=False):
    return lay_out(pa.Table.from_pylist(table), width, below=below, rest=REST, wide=wide)


def steadiness(**more):
    """Rows as Table 3 has them."""
    rows = []
    for model, layer in (("vgg11-flow", "features.9"), ("xception", "block4")):
        for label, figure in (("fake", 0.679065), ("real", -0.0237348)):
            keys = {"model": model, "method": "iba", "layer": layer, "mask_rule": "max0.5", "label": label}
            rows.append(keys | {"n_videos": 12500} | dict.fromkeys(FIGURES, figure) | more)
    return rows


def test_what_fits_200_columns():
    assert lines(steadiness(), 200) == [
        "method iba, mask_rule max0.5",
        "model       layer       label  n_videos     iou  iou_adjusted     tcs  persistence     rpi",
        "----------  ----------  -----  --------  ------  ------------  ------  -----------  ------",
        "vgg11-flow  features.9  fake     12,500   0.679         0.679   0.679        0.679   0.679",
        "vgg11-flow  features.9  real     12,500  -0.024        -0.024  -0.024       -0.024  -0.024",
        "xception    block4      fake     12,500   0.679         0.679   0.679        0.679   0.679",
        "xception    block4      real     12,500  -0.024        -0.024  -0.024       -0.024  -0.024",
    ]


def test_at_80_columns_names_are_broken_between_words_alone():
    assert lines(steadiness(), 80) == [
        "method iba, mask_rule max0.5",
        "                                n_            iou_",
        "model      layer      label videos    iou adjusted    tcs persistence    rpi",
        "---------- ---------- ----- ------ ------ -------- ------ ----------- ------",
        "vgg11-flow features.9 fake  12,500  0.679    0.679  0.679       0.679  0.679",
        "vgg11-flow features.9 real  12,500 -0.024   -0.024 -0.024      -0.024 -0.024",
        "xception   block4     fake  12,500  0.679    0.679  0.679       0.679  0.679",
        "xception   block4     real  12,500 -0.024   -0.024 -0.024      -0.024 -0.024",
    ]


def test_then_numbers_that_do_not_vary_go_above_and_the_rightmost_columns_are_left_out_by_name():
    assert lines(steadiness(pointing_game=0.5, heat_inside=0.25, n_frames=3), 50) == [
        "method iba, mask_rule max0.5, n_videos 12,500",
        "pointing_game 0.500, heat_inside 0.250, n_frames 3",
        "                                       iou_",
        "model      layer      label    iou adjusted    tcs",
        "---------- ---------- ----- ------ -------- ------",
        "vgg11-flow features.9 fake   0.679    0.679  0.679",
        "vgg11-flow features.9 real  -0.024   -0.024 -0.024",
        "xception   block4     fake   0.679    0.679  0.679",
        "xception   block4     real  -0.024   -0.024 -0.024",
        "left out, too wide for this window: persistence,",
        "rpi; --wide shows them",
    ]


def test_columns_without_a_value_in_any_row_are_named_below():
    rows = [
        {"model": "a", "road": None, "srg": 0.5, "auroc": None},
        {"model": "b", "road": None, "srg": None, "auroc": None},
    ]
    expected = ["model    srg", "-----  -----", "a      0.500", "b       NULL"]
    assert lines(rows, 80) == [*expected, "without a value: road, auroc"]
    assert lines(rows, 22) == [*expected, "without a value: road,", "auroc"]
    assert lines(rows, None)[-1] == "without a value: road, auroc"
    assert "road" in lines(rows, 80, wide=True)[0]
    assert lines([{"road": None, "auroc": None}], 80)[0] == "road  auroc"


def test_wide_is_every_column_in_its_place_with_six_digits():
    heading, _, first, *_ = lines(steadiness(), 40, wide=True)
    assert heading.split() == ["model", "method", "layer", "mask_rule", "label", "n_videos", *FIGURES]
    assert first.split() == ["vgg11-flow", "iba", "features.9", "max0.5", "fake", "12500", *["0.679065"] * 5]


def test_long_texts_go_below_their_row_in_one_piece():
    path = "/data/" + "deep/" * 20 + "clip.mp4"
    rows = [{"uri": path, "label": "fake", "n_frames": 3}, {"uri": "b.mp4", "label": None, "n_frames": 2000}]
    assert lines(rows, 80) == [
        "label  n_frames",
        "-----  --------",
        "fake          3",
        f"  uri: {path}",
        "NULL      2,000",
        "  uri: b.mp4",
    ]
    assert lines(rows, 200)[0].split() == ["uri", "label", "n_frames"]
    assert lines(rows, None)[2].split() == [path, "fake", "3"]


def test_what_is_asked_to_stand_below_does_an_item_of_a_list_per_line():
    rows = [{"problem": "missing", "files": 12, "examples": ["a b.mp4", "c.mp4"], "meaning": None}]
    assert lines(rows, 200, below=("examples", "meaning")) == [
        "problem  files",
        "-------  -----",
        "missing     12",
        "  a b.mp4",
        "  c.mp4",
    ]


@pytest.mark.parametrize(
    ("name", "values", "cells"),
    [
        ("share", [1.0, 0.25, 0.0, -0.0], ["1.000", "0.250", "0.000", "0.000"]),
        ("share", [0.99951, 0.0004, -0.0004], ["1.000", "0.0004", "-0.0004"]),
        ("share", [0.99951, 0.00004, -1e-12], ["1.000", "<0.0001", ">-0.0001"]),
        ("ranks", [[1e-12, 0.25, 0.5, 0.25]], ["[<0.0001, 0.250, 0.500, ... 4 in all]"]),
        ("fps", [29.97, 25.0], ["29.97", "25.00"]),
        ("mean_bits", [89166.53, 312.4, 0.2], ["89,167", "312", "0.2"]),
        ("bits", [3.25, 0.5], ["3.250", "0.500"]),
        ("bits", [10.0, 0.5], ["10", "0.5"]),
        ("bits", [9.9, 0.5], ["9.900", "0.500"]),
        ("total_s", [1.2345, 0.5], ["1.23", "0.50"]),
        ("loss", [1234.5, 2.25], ["1,234", "2"]),
        ("loss", [10.5, 2.25], ["10.50", "2.25"]),
        ("loss", [100.5, 2.25], ["100.5", "2.2"]),
        ("n", [1234567, 8], ["1,234,567", "8"]),
        ("odd", [float("nan"), float("inf"), None, 0.5, 1e300], ["nan", "inf", "NULL", "0.5", "1e+300"]),
    ],
)
def test_digits_that_can_be_read_and_nothing_that_is_not_zero_reads_as_zero(name, values, cells):
    assert [line.strip() for line in lines([{name: value} for value in values], 80)[2:]] == cells


def test_a_result_that_is_equal_in_every_row_stays_in_the_table():
    rows = [{"model": model, "method": "iba", "n": 5, "accuracy": 1.0} for model in "ab"]
    assert lines(rows, 80) == [
        "method iba",
        "model  n  accuracy",
        "-----  -  --------",
        "a      5     1.000",
        "b      5     1.000",
    ]


def test_where_nothing_varies_and_where_there_is_one_row_all_stays_in_the_table():
    assert lines([{"a": "x", "b": ""}] * 2, 80) == ["a  b", "-  -", "x", "x"]
    assert lines([{"a": "x", "b": "y"}], 80) == ["a  b", "-  -", "x  y"]


def test_no_rows_are_said():
    assert lay_out(pa.table({"a": pa.array([], pa.int64())}), 80, below=(), rest=REST, wide=False) == ["no rows"]


def test_text_cannot_move_the_cursor_or_turn_the_line():
    table = pa.table({"a\x1b[2J": ["x\r\n\x9b31m\u202egpj.4pm", "b"], "c": ["\x07", "\x07"], "d": [["\x1b"], ["y"]]})
    out = "\n".join(lay_out(table, 80, below=("d",), rest=REST, wide=False))
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", out)
    assert "gpj.4pm" in out


def test_wide_characters_count_twice():
    rows = [{"name": "顔顔", "n": 1}, {"name": "x", "n": 2}]
    assert lines(rows, 80) == ["name  n", "----  -", "顔顔  1", "x     2"]


_NAMES = st.lists(st.text("abcdefgh", min_size=1, max_size=14), min_size=1, max_size=4).map("_".join)
_VALUES = (
    st.integers(-(10**15), 10**15),
    st.floats(-1, 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text("xyz.-/", max_size=60),
)


@st.composite
def any_table(draw):
    """Counts, figures of all sizes and texts, under names of one word or more."""
    n_rows = draw(st.integers(1, 3))
    names = [f"{name}{place}" for place, name in enumerate(draw(st.lists(_NAMES, min_size=1, max_size=9)))]
    kinds = [draw(st.sampled_from(_VALUES)) for _ in names]
    return pa.table({name: [draw(kind) for _ in range(n_rows)] for name, kind in zip(names, kinds, strict=True)})


@given(any_table(), st.integers(10, 200))
def test_no_name_and_no_number_is_ever_cut_or_broken(table, width):
    """Whatever is laid out can be read back where the rule says that columns stand: whole names and whole cells."""
    laid_out = lay_out(table, width, below=(), rest=REST, wide=False)
    rule = next(index for index, line in enumerate(laid_out) if re.fullmatch(r"-+( +-+)*", line))
    spans = [match.span() for match in re.finditer("-+", laid_out[rule])]

    def cells(line):
        gaps = zip([0, *(end for _, end in spans)], [*(start for start, _ in spans), None], strict=True)
        assert not "".join(line[start:end] for start, end in gaps).strip()
        return [line[start:end].strip() for start, end in spans]

    height, shown = next(  # of the heading: as many lines as make names of the table, which end in a digit
        (height, names)
        for height in range(1, rule + 1)
        if set(names := ["".join(words) for words in zip(*map(cells, laid_out[rule - height : rule]), strict=True)])
        <= set(table.column_names)
    )
    above = [pair.split(" ", 1) for line in laid_out[: rule - height] for pair in line.split(", ")]
    for words in zip(*map(cells, laid_out[rule - height : rule]), strict=True):
        assert all(word.endswith("_") for word in words[:-1] if word)
    rest = laid_out[rule + 1 :]
    read, under = [], set()
    for _ in range(len(table)):
        read.append(cells(rest[0]))
        body = rest.pop(0)
        assert len(body) <= width or len(spans) == 1
        while rest and (text := re.fullmatch(r"  (\w+): (.*)", rest[0])):
            assert text[2] == table[text[1]][len(read) - 1].as_py()
            under.add(text[1])
            rest.pop(0)
    left_out = re.findall(
        r"[a-h_]+[0-9]", " ".join(rest).removeprefix("left out, too wide for this window:").split(";")[0]
    )

    assert sorted([*shown, *(name for name, _ in above), *under, *left_out]) == sorted(table.column_names)
    whole = {name: [line.strip() for line in _alone(table, name)] for name in table.column_names}
    assert [list(row) for row in zip(*(whole[name] for name in shown), strict=True)] == read
    assert all(value in (whole[name][0], "''") for name, value in above)
    assert all(len(line) <= width or ", " not in line for line in laid_out[: rule - height])
    assert all(len(line) <= width or " " not in line for line in rest)
    for line in laid_out[rule - height : rule + 1]:
        assert len(line) <= width or len(spans) == 1


def _alone(table, name):
    """The cells of one column."""
    return lay_out(table.select([name]), None, below=(), rest=REST, wide=False)[2:]
