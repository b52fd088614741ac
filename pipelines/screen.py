"""Lines for a person: notices and commands, whatever text is in them."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TextIO

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from operators.storage.files import appending
from pipelines.errors import UserError

#: what moves the cursor, colours the terminal, or turns the direction of writing: C0 and C1 controls, line separators
#: and the marks of bidirectional text
_UNSAFE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def plain(text: str) -> str:
    """`text` with every character that a terminal would obey replaced: a file name must not move the cursor."""
    return _UNSAFE.sub("\N{REPLACEMENT CHARACTER}", text)


#: files that are open for what is said, the last first
_LOGS: Final[list[TextIO]] = []


@contextmanager
def logged(path: Path) -> Iterator[None]:
    """Inside, every notice is also a line of the file, with its time in UTC; what the file has stays. On a store the
    file has them when the block ends. UserError where its folder cannot be made."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write {path.parent}: {error.strerror}") from error
    with appending(path) as there, there.open("a", encoding="utf-8") as file:
        _LOGS.append(file)
        try:
            yield
        finally:
            _LOGS.remove(file)


def log(notice: str) -> None:
    """Keep a notice in the files of `logged` alone."""
    for file in _LOGS:
        file.write(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} {plain(notice)}\n")
        file.flush()


def say(console: Console, notice: str, style: str = "") -> None:
    """Print a notice: in a terminal broken between words where it must be, in a pipe on one line. No markup in it."""
    log(notice)
    for line in wrap(plain(notice), console.width) if console.is_terminal else [plain(notice)]:
        console.print(Text(line, style), soft_wrap=True)


def command(console: Console, line: str) -> None:
    """Print a command to type next, indented and in one piece, so that it can be copied."""
    console.print(Text(f"  {plain(line)}"), soft_wrap=True)


def wrap(text: str, width: int) -> list[str]:
    """Lines of at most `width` cells, broken at spaces alone: what is longer than a line stays in one piece."""
    first, *others = text.split(" ")
    lines = [first]
    for word in others:
        if not lines[-1].strip() or cell_len(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines
