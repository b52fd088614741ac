"""What a layout gives: the videos of a dataset that are there, and what is wrong with the rest."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from pipelines.datasets.names import Name
from pipelines.errors import UserError
from pipelines.manifest import PASSED_OVER, files_below

COMPRESSIONS = ("raw", "c0", "c23", "c40")

#: kind of problem -> what it means and what was done
PROBLEMS = {
    "missing": "listed by the dataset, not on disk; no row",
    "unlisted": "on disk, not listed by the dataset, so its label is unknown; no row",
    "listed_twice": "listed more than once; one row, after the first",
    "in_several_splits": "the official lists name it in several splits; one row",
    "label_conflict": "two places of the dataset disagree on the label; the folder is believed",
    "odd_name": "the name does not say who is in it; a row that shares no identity with others",
    "sound_only": "only the sound is forged; a row with the label real, as its pictures are",
    "duplicate": "the same bytes as another file; a row, kept in the same split",
    "unreadable": "not one frame can be decoded; a row, which a run turns into an error row",
}


@dataclass(frozen=True)
class Problem:
    """One line of the report: a key of PROBLEMS, the path below the root, one line of detail."""

    problem: str
    path: str
    detail: str = ""


@dataclass(frozen=True)
class Entry:
    """One video that is on disk. `name` is what forgeries in `dataset` call it, `original` what it was made from."""

    file: Path
    dataset: str
    label: str | None
    manipulation: str | None
    identities: tuple[str, ...]
    name: str = ""
    original: str | None = None
    split: str | None = None


@dataclass
class Listing:
    """The entries of one root, one per file."""

    root: Path
    entries: list[Entry] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    _files: set[Path] = field(default_factory=set)

    def add(self, entry: Entry) -> None:
        """Take `entry` unless its file was taken before, which is reported."""
        if entry.file in self._files:
            self.report("listed_twice", entry.file, f"again as {entry.manipulation or entry.label}")
            return
        self._files.add(entry.file)
        self.entries.append(entry)

    def add_named(
        self,
        file: Path,
        dataset: str,
        label: str,
        manipulation: str | None,
        parse: Callable[[str], Name | None],
        split: str | None = None,
    ) -> None:
        """Take a file whose name says who is in it; a name that does not is reported."""
        name = parse(file.stem)
        if name is None:
            self.report("odd_name", file)
            name = Name((f"{dataset}:{file.stem}",))
        self.add(Entry(file, dataset, label, manipulation, name.identities, file.stem, name.original, split))

    def report(self, problem: str, path: Path | str, detail: str = "") -> None:
        text = path if isinstance(path, str) else self.below(path)
        self.problems.append(Problem(problem, text.encode(errors="replace").decode(), detail))

    def below(self, file: Path) -> str:
        """The path below the root, with slashes; the whole path of a file elsewhere."""
        return (file.relative_to(self.root) if file.is_relative_to(self.root) else file).as_posix()

    def report_unlisted(self, folder: Path) -> None:
        """Report every video below `folder` that was not taken."""
        for file in videos(folder):
            if file not in self._files:
                self.report("unlisted", file)


def videos(folder: Path) -> Iterator[Path]:
    """Every file below `folder` that could be a video, in a fixed order; nothing where there is no such folder."""
    for file in files_below(folder):
        if file.suffix.lower() not in PASSED_OVER and not file.name.startswith("."):
            yield file


def find(root: Path, listed: str) -> Path | None:
    """The file that a list names, as given or below `root` without some of its leading folders.

    Lists carry the paths of the machine that wrote them, or begin with the name of the dataset's own folder.
    """
    if Path(listed).is_absolute() and Path(listed).is_file():
        return Path(listed)
    parts = [part for part in PurePosixPath(listed.replace("\\", "/")).parts if part not in ("/", "..")]
    for start in range(len(parts)):
        if (file := root.joinpath(*parts[start:])).is_file():
            return file
    return None


def choose_compression(found: set[str], wanted: str | None) -> str | None:
    """The one compression to read: `wanted` (c0 and raw are the same), or the only one. UserError otherwise."""
    if wanted is None:
        if len(found) > 1:
            raise UserError(f"the dataset is there as {', '.join(sorted(found))}: choose one with --compression")
        return next(iter(found), None)
    names = {"raw", "c0"} if wanted in ("raw", "c0") else {wanted}
    if not names & found:
        raise UserError(f"no videos of compression {wanted}; there are {', '.join(sorted(found)) or 'none at all'}")
    return next(iter(names & found))


def read_json(path: Path) -> Any:
    """UserError for a file that is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path}: {error}") from error


def need(path: Path, what: str) -> Path:
    """`path` where it is; UserError that says what kind of root is expected otherwise."""
    if not path.exists():
        raise UserError(f"no {path.name} in {path.parent}: {what}")
    return path
