"""Tables for a person: what fits the terminal and can be read. CSV and JSON, which hold everything, are elsewhere."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, Final

import pyarrow as pa
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from pipelines.screen import plain, wrap

_LIST_ITEMS: Final = 3
_SMALL: Final = 0.0001
#: text wider than this goes below its row before a column is left out
_LONG: Final = 24
#: of a name, with the underscore or space that ends it
_WORD: Final = re.compile(r"[^_ ]*[_ ]+|[^_ ]+")


@dataclass(frozen=True, eq=False)
class Column:
    """A column as a person reads it: `cells` is what is written for `values`."""

    name: str
    values: list[Any]
    cells: list[str]
    is_number: bool
    is_same: bool

    def heading(self, stacked: bool) -> list[str]:
        """The name, or, stacked, its words in as many lines as make the column no wider than it must be."""
        if not stacked:
            return [self.name]
        words = _WORD.findall(self.name)
        width = max(map(cell_len, (*words, *self.cells)))
        lines = [""]
        for word in words:
            if cell_len(lines[-1] + word) <= width:
                lines[-1] += word
            else:
                lines.append(word)
        return lines

    def width(self, stacked: bool) -> int:
        return max(map(cell_len, (*self.heading(stacked), *self.cells)))


@dataclass(frozen=True)
class _Style:
    stacked: bool
    gap: int

    def width(self, columns: list[Column]) -> int:
        return sum(column.width(self.stacked) for column in columns) + self.gap * (len(columns) - 1)


#: from the one that reads best to the one that needs least
_STYLES: Final = (_Style(stacked=False, gap=2), _Style(stacked=True, gap=2), _Style(stacked=True, gap=1))


def print_table(
    table: pa.Table,
    console: Console,
    *,
    below: Sequence[str] = (),
    rest: str = "a wider window shows them",
    wide: bool = False,
) -> None:
    """Print `lay_out(table)`: in a terminal in its width, in a pipe as wide as it is."""
    width = console.width if console.is_terminal else None
    for line in lay_out(table, width, below=below, rest=rest, wide=wide):
        console.print(Text(line), soft_wrap=True)


def lay_out(table: pa.Table, width: int | None, *, below: Sequence[str], rest: str, wide: bool) -> list[str]:
    """The lines of a table in `width` cells (None: as wide as it is). No name and no number is ever broken.

    Counts are whole; figures have three decimals, or fewer where they are large. Columns of words that say the same in
    every row are named once above the table, those that have no value in any row once below it. Where that is too wide,
    names are broken between their words; then numbers that do not vary go above, too; then long texts on lines below
    their row, as the columns `below` always do, a line for each item of a list; then columns are left out from the
    right, and a line names them and says with `rest` how to see them. `wide`: every column in its place with six
    digits, in whatever width that takes.
    """
    if not len(table):
        return ["no rows"]
    columns = [readable(*each, wide) for each in zip(table.schema, table.columns, strict=True)]
    if wide:
        return _rows(columns, [], _STYLES[0])
    unknown = [column for column in columns if column.name not in below and column.values.count(None) == len(table)]
    unknown = unknown if len(unknown) < len(columns) else []
    known = [column for column in columns if column not in unknown]
    shown, same = _parted([column for column in known if column.name not in below], numbers=False)
    left_out: list[Column] = []
    while (style := _fitting(shown, width)) is None:
        longest = max(shown, key=lambda column: 0 if column.is_number else column.width(True))
        steady = _parted(shown, numbers=True)
        if steady[1]:
            shown, same = steady[0], same + steady[1]
        elif not longest.is_number and longest.width(True) > _LONG:
            shown.remove(longest)
        else:
            left_out.insert(0, shown.pop())
    under = [column for column in known if column not in (*shown, *same, *left_out)]
    lines = _above(same, width) + _rows(shown, under, style)
    if unknown:
        names = f"without a value: {', '.join(column.name for column in unknown)}"
        lines += [names] if width is None else wrap(names, width)
    if left_out:
        names = ", ".join(column.name for column in left_out)
        lines += wrap(f"left out, too wide for this window: {names}; {rest}", width or 0)
    return lines


def _parted(columns: list[Column], numbers: bool) -> tuple[list[Column], list[Column]]:
    """Those that vary, and those that do not, of which numbers count as such only where `numbers` says so."""
    same = [column for column in columns if column.is_same and (numbers or not column.is_number)]
    return ([column for column in columns if column not in same], same) if len(same) < len(columns) else (columns, [])


def _fitting(columns: list[Column], width: int | None) -> _Style | None:
    """The first style that fits; a column that is alone fits everywhere."""
    if width is None:
        return _STYLES[0]
    fitting = [style for style in _STYLES if style.width(columns) <= width]
    return fitting[0] if fitting else _STYLES[-1] if len(columns) == 1 else None


def _above(same: list[Column], width: int | None) -> list[str]:
    """`name value, name value` in lines between which no pair is broken."""
    lines: list[str] = []
    for column in same:
        pair = f"{column.name} {column.cells[0] or repr('')}"
        if lines and (width is None or cell_len(f"{lines[-1]}, {pair}") <= width):
            lines[-1] += f", {pair}"
        else:
            lines.append(pair)
    return lines


def _rows(shown: list[Column], under: list[Column], style: _Style) -> list[str]:
    headings = [column.heading(style.stacked) for column in shown]
    height = max(map(len, headings))
    lines = [
        _line(shown, [([""] * (height - len(heading)) + heading)[row] for heading in headings], style)
        for row in range(height)
    ]
    lines.append(_line(shown, ["-" * column.width(style.stacked) for column in shown], style))
    for row in range(len(shown[0].cells)):
        lines.append(_line(shown, [column.cells[row] for column in shown], style))
        for column in under:
            value = column.values[row]
            if isinstance(value, list):
                lines += [f"  {_cell(item)}" for item in value]
            elif value is not None:
                lines.append(f"  {column.name}: {column.cells[row]}")
    return lines


def _line(columns: list[Column], texts: list[str], style: _Style) -> str:
    padded = []
    for column, text in zip(columns, texts, strict=True):
        space = " " * (column.width(style.stacked) - cell_len(text))
        padded.append(space + text if column.is_number else text + space)
    return (" " * style.gap).join(padded).rstrip()


def readable(field: pa.Field, values: pa.ChunkedArray, wide: bool) -> Column:
    """What a person reads of one column of a table: three decimals or fewer, or six digits where `wide`."""
    items = values.to_pylist()
    is_figure = pa.types.is_floating(field.type)
    is_number = is_figure or pa.types.is_integer(field.type) or pa.types.is_decimal(field.type)
    whole = [_cell(item, grouped=not wide) for item in items]
    cells = _figures(items, field.name) if is_figure and not wide else whole
    is_same = len(items) > 1 and items.count(items[0]) == len(items)
    return Column(plain(field.name), items, cells, is_number, is_same)


def _figures(values: list[float | None], name: str) -> list[str]:
    """The decimals that the largest of a column asks for; what is not zero never reads as zero, but as less than
    `_SMALL` where it is: a reader of 3e-08 counts digits."""
    largest = max((abs(value) for value in values if value is not None and math.isfinite(value)), default=0.0)
    places = 3 if largest < 10 else 2 if largest < 100 else 1 if largest < 1000 else 0
    if name.endswith("_s"):  # seconds
        places = min(places, 2)
    elif name.endswith("bits") and largest >= 10:
        places = 0
    return [_figure(value, places) for value in values]


def _figure(value: float | None, places: int) -> str:
    if value is None or not math.isfinite(value) or abs(value) >= 1e15:
        return _cell(value)
    rounded = round(value, places)
    if rounded or not value:
        return f"{rounded + 0.0:,.{places}f}"
    if abs(value) >= _SMALL:
        return f"{value:.2g}"
    return f"<{_SMALL:g}" if value > 0 else f">-{_SMALL:g}"


def _cell(value: object, grouped: bool = False) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, int | Decimal):
        return f"{value:,}" if grouped else str(value)
    if isinstance(value, list):
        shown = [
            _figure(item, 3) if grouped and isinstance(item, float) else _cell(item) for item in value[:_LIST_ITEMS]
        ]
        more = [f"... {len(value)} in all"] if len(value) > _LIST_ITEMS else []
        return f"[{', '.join(shown + more)}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{plain(str(name))}: {_cell(item)}' for name, item in value.items())}}}"
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    return value.hex() if isinstance(value, bytes) else plain(str(value))
