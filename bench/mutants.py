"""Careless changes, one at a time: which of them do the unit and query tests notice?

    python bench/mutants.py reach [TESTS ...]           which tests reach which line; both others need it once
    python bench/mutants.py named [WORD ...]            the changes of mutants.toml, those with a WORD in their name
    python bench/mutants.py sampled [FILE ...] [--per-file 6] [--seed 0]

`sampled` draws changes from all that a few rules make of every file: another comparison, sign, number or truth value,
an option, a statement or a column of a join left out. Each is made in a copy of the tree, and the tests that reach its
lines run on that, the file of the same name and then the quickest first. A change is noticed when one fails.
"""

import argparse
import ast
import importlib
import inspect
import json
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import threading
import time
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Final

import pytest

os.environ |= {"OMP_NUM_THREADS": "1", "GOMP_SPINCOUNT": "1000"}

ROOT: Final = Path(__file__).resolve().parents[1]
_TREE: Final = ("operators", "pipelines", "schemas", "queries", "bench", "tests", "docs")
_OPTIONS: Final = ("-q", "-p", "no:cacheprovider", "--hypothesis-seed=0", "-m", "not browser")
_FILES: Final = (
    "pyproject.toml",
    "requirements.lock",
    "README.md",
    "Makefile",
    "ray_cluster.yaml",
    "kuberay_rayjob.yaml",
)
#: what `sampled` draws from unless told: everything that computes, and of pipelines/ what decides
_SAMPLED: Final = (
    *("operators/**/*.py", "pipelines/lake/*.py", "pipelines/config.py", "pipelines/samples.py", "pipelines/train.py"),
    *("pipelines/manifest.py", "pipelines/splits.py", "pipelines/tables.py", "schemas/conform.py"),
    *("pipelines/league.py", "pipelines/datasets/*.py", "queries/**/*.sql"),
)
#: of the tests that reach a change, the quickest that take so long together
_TESTS_S: Final = 60
_OF_DEFAULTS: Final = ("tests/unit/test_config.py::test_every_field", "tests/unit/test_docs.py::")
#: a change without end: how many times as long as its tests it may compute, and wait on a busy machine
_CPU, _WAIT, _LEAST_S = 5, 15, 30
_COMPARISONS: Final = {
    ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">", ast.Eq: "!=", ast.NotEq: "==",
    ast.In: "not in", ast.NotIn: "in", ast.Is: "is not", ast.IsNot: "is",
}  # fmt: skip
_OPERATIONS: Final = {
    ast.Add: "-", ast.Sub: "+", ast.Mult: "/", ast.Div: "*", ast.FloorDiv: "*", ast.Mod: "*", ast.Pow: "*",
    ast.BitOr: "&", ast.BitAnd: "|",
}  # fmt: skip
_NAMES: Final = {
    "min": "max",
    "max": "min",
    "any": "all",
    "all": "any",
    "amax": "amin",
    "mean": "sum",
    "argmax": "argmin",
}
#: the rules for SQL: what is looked for, and what is written in its place
_SQL: Final = (
    (r"using \((\w+), (.+?)\)", r"using (\2)"),
    (r"using \((.+), (\w+?)\)", r"using (\1)"),
    (r"\n *and (\w+)\.(\w+) = (\w+)\.\2(?=\n)", ""),
    (r" and (?!\d)", " or "),
    (r" filter \(where [^()]+\)", ""),
    (r"\binner join\b", "left join"),
    (r"\bleft join\b", "inner join"),
    (r"\bsemi join\b", "anti join"),
    (r"\bavg\(", "sum("),
    (r"\bsum\(", "avg("),
    (r"\bmin\(", "max("),
    (r"\bmax\(", "min("),
    (r"\bdistinct ", ""),
    (r" desc\b", " asc"),
    (r" asc\b", " desc"),
    (r" (>|<)=? ", lambda found: f" {found[1]} " if "=" in found[0] else f" {found[1]}= "),
    (r" = (?!\w+\.)", " != "),
    (r" != ", " = "),
    (r" \+ ", " - "),
    (r" - ", " + "),
    (r"(?<![\w.'])\d+(?![\w.'])", lambda found: str(int(found[0]) + 1)),
    (r"(?<![\w.'])\d+\.\d+", lambda found: str(float(found[0]) * 2 or 0.5)),
)
#: what is only said, or what the tests cannot tell: nothing in them is changed
_SAID: Final = ("say", "SampleError", "UserError", "ValueError", "print", "warn", "Field")
#: options that change no result where all is well
_ASSURES: Final = ("strict", "parents", "exist_ok", "missing_ok")


@dataclass(frozen=True)
class Mutant:
    """One change of one file, and the ranges of lines around it, the narrowest first."""

    name: str
    file: str
    start: int
    end: int
    text: str
    around: tuple[tuple[int, int], ...]
    tests: tuple[str, ...] = ()


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("reach", "named", "sampled"))
    parser.add_argument("words", nargs="*", metavar="TESTS, WORD or FILE")
    parser.add_argument("--reach", type=Path, default=ROOT / "bench/reach.json", help="what `reach` found")
    parser.add_argument("--per-file", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no other change after so many")
    parser.add_argument("--out", help="append each result to this file; what it has is not done again")
    options = parser.parse_intermixed_args()
    sys.path[0] = str(ROOT)  # not bench/: pandas takes a module named bottleneck for the one that it knows
    if options.kind == "reach":
        raise SystemExit(note_reach(options.reach, options.words or ["tests/unit", "tests/files", "tests/queries"]))
    _preload()
    if options.kind == "named":
        mutants = [each for each in named() if not options.words or any(word in each.name for word in options.words)]
    else:
        files = options.words or sorted({str(p.relative_to(ROOT)) for glob in _SAMPLED for p in ROOT.glob(glob)})
        mutants = [each for file in files for each in sampled(file, options.per_file, options.seed)]
    end, out = time.monotonic() + 60 * options.minutes, Path(options.out or os.devnull)
    done = out.read_text() if out.exists() else ""
    reach = json.loads(options.reach.read_text())
    counted: dict[str, Counter[bool]] = {}
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        tree = Path(folder) / "tree"
        _copy(tree)
        for mutant in mutants:
            if f"s  {mutant.name}\n" in done or time.monotonic() > end:
                continue
            started = time.monotonic()
            noticed = _with(tree, mutant, *tests_of(mutant, reach))
            counted.setdefault(mutant.file, Counter())[noticed] += 1
            line = f"{'noticed  ' if noticed else 'UNNOTICED'} {time.monotonic() - started:4.0f} s  {mutant.name}"
            print(line, flush=True)
            with out.open("a") as file:
                file.write(f"{line}\n")
    for file, count in sorted(counted.items()):
        print(f"{count[True]:3d} of {count.total():3d}  {file}")
    whole = sum(counted.values(), Counter[bool]())
    print(f"{whole[True]} of {whole.total()} noticed")


def named() -> list[Mutant]:
    """Those of mutants.toml. SystemExit where the code that one changes is gone."""
    found = []
    for change in tomllib.loads(Path(__file__).with_suffix(".toml").read_text())["change"]:
        source = (ROOT / change["file"]).read_text()
        if source.count(change["before"]) != 1:
            raise SystemExit(f"{change['name']}: what it changes is {source.count(change['before'])} times in its file")
        start = source.index(change["before"])
        end = start + len(change["before"])
        rows = source.count("\n", 0, start) + 1, source.count("\n", 0, end - 1) + 1
        around = _around(ast.parse(source), *rows) if change["file"].endswith(".py") else ()
        name, tests = f"{change['area']}: {change['name']}", tuple(change.get("tests", ()))
        found.append(Mutant(name, change["file"], start, end, change["after"], around, tests))
    return found


def sampled(file: str, count: int, seed: int) -> list[Mutant]:
    """`count` of all changes that the rules make of a file, or all where there are fewer."""
    source = (ROOT / file).read_text()
    found = _of_sql(file, source) if file.endswith(".sql") else _of_python(file, source)
    chosen = random.Random(f"{seed} {file}").sample(found, min(count, len(found)))
    return sorted(chosen, key=lambda each: each.start)


def _of_sql(file: str, source: str) -> list[Mutant]:
    code = re.sub(r"--[^\n]*", lambda comment: " " * len(comment[0]), source)
    found = []
    for pattern, instead in _SQL:
        for match in re.finditer(pattern, code):
            text = match.expand(instead) if isinstance(instead, str) else instead(match)
            what = f"{' '.join(match[0].split())} -> {' '.join(text.split())}"
            name = f"{file}:{code.count(chr(10), 0, match.end()) + 1}: {what} at {match.start()}"
            found.append(Mutant(name, file, *match.span(), text, ((1, 1 << 30),)))
    return found


def _of_python(file: str, source: str) -> list[Mutant]:
    lines = [0]
    for line in source.splitlines(keepends=True):
        lines.append(lines[-1] + len(line.encode()))
    encoded, tree = source.encode(), ast.parse(source)
    found = []

    def segment(node: Any) -> str:
        start, end = (lines[row - 1] + column for row, column in _ends(node))
        return encoded[start:end].decode()

    for node, text in changes(tree, segment):
        start, end = (lines[row - 1] + column for row, column in _ends(node))
        before = " ".join(encoded[start:end].decode().split())
        name = f"{file}:{node.lineno}: {before[:60]} -> {' '.join(text.split())[:60]}"
        around = _around(tree, node.lineno, node.end_lineno)
        places = len(encoded[:start].decode()), len(encoded[:end].decode())
        found.append(Mutant(name, file, *places, text, around))
    return found


def _around(tree: ast.Module, first: int, last: int) -> tuple[tuple[int, int], ...]:
    """The statements that hold all of some lines, from the innermost to the whole file."""
    ranges = [(node.lineno, node.end_lineno or 0) for node in ast.walk(tree) if isinstance(node, ast.stmt)]
    holding = {each for each in ranges if each[0] <= first and last <= each[1]}
    return (*sorted(holding, key=lambda each: each[1] - each[0]), (1, 1 << 30))


def changes(tree: ast.Module, segment: Callable[[Any], str]) -> Iterator[tuple[Any, str]]:
    """(node, what to write in its place) of every change there is; `segment` gives the text of a node."""
    for node in _computing(tree):
        of = {id(each): segment(each) for each in ast.iter_child_nodes(node) if hasattr(each, "end_lineno")}
        match node:
            case ast.Compare(left=left, ops=[operator], comparators=[right]):
                yield node, f"{of[id(left)]} {_COMPARISONS[type(operator)]} {of[id(right)]}"
            case ast.BinOp(left=left, op=operator, right=right) if type(operator) in _OPERATIONS:
                yield node, f"({of[id(left)]}) {_OPERATIONS[type(operator)]} ({of[id(right)]})"
            case ast.BoolOp(op=operator, values=values):
                word = " or " if isinstance(operator, ast.And) else " and "
                yield node, word.join(f"({of[id(each)]})" for each in values)
            case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
                yield node, of[id(operand)]
            case ast.If(test=test) | ast.IfExp(test=test):
                yield test, f"not ({of[id(test)]})"
            case ast.Constant(value=bool(value)):
                yield node, str(not value)
            case ast.Constant(value=int(value)):
                yield node, str(value + 1)
            case ast.Constant(value=float(value)):
                yield node, repr(value * 2 or 0.5)
            case ast.Name(id=name) if name in _NAMES:
                yield node, _NAMES[name]
            case ast.Attribute(value=value, attr=name) if name in _NAMES:
                yield node, f"{of[id(value)]}.{_NAMES[name]}"
            case ast.Expr(value=ast.Call()) | ast.AugAssign():
                yield node, "pass"
            case ast.Call(keywords=keywords):
                for keyword in keywords:
                    if keyword.arg is not None and keyword.arg not in _ASSURES:
                        others = [each for each in (*node.args, *keywords) if each is not keyword]
                        given = ", ".join(of[id(each)] for each in others)
                        yield node, f"{of[id(node.func)]}({given})"


def _computing(node: ast.AST) -> Iterator[ast.AST]:
    """Every node that computes: no annotation, no assertion, nothing that is only said."""
    yield node
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "type_params"):
            continue
        for child in value if isinstance(value, list) else [value]:
            is_said = isinstance(child, ast.Call) and ast.unparse(child.func).split(".")[-1] in _SAID
            if isinstance(child, ast.keyword) and child.arg in _ASSURES:
                continue
            if isinstance(child, ast.AST) and not is_said:
                if isinstance(child, ast.Raise | ast.Assert | ast.JoinedStr | ast.Import | ast.ImportFrom):
                    continue
                yield from _computing(child)


def _ends(node: Any) -> tuple[tuple[int, int], tuple[int, int]]:
    return (node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset)


def tests_of(mutant: Mutant, reach: dict[str, Any]) -> tuple[list[str], float]:
    """Those that mutants.toml names; else the tests that reach the change, or what is around it; and their seconds."""
    seconds, lines = reach["seconds"], reach["lines"].get(mutant.file, {})
    name = f"/test_{Path(mutant.file).stem}.py::"
    if mutant.tests:
        chosen = {each for each in seconds if each.startswith(mutant.tests)}
    elif mutant.file.endswith(".sql"):
        asks = f'queries("{mutant.file.split("/")[1]}")'  # or as a test file is imported
        files = tuple(f"{each.relative_to(ROOT)}::" for each in ROOT.glob("tests/*/*.py") if asks in each.read_text())
        chosen = {*lines.get("1", ()), *(each for each in seconds if each.startswith(files))}
    else:
        reached = {int(line): tests for line, tests in lines.items()}
        around = [
            {test for line, tests in reached.items() if first <= line <= last for test in tests}
            for first, last in mutant.around
        ]
        chosen = next(filter(None, around), {each for each in seconds if name in each})
        if not around[0]:  # runs as it is imported: a default may be, which the docs are compared with
            chosen |= {each for each in seconds if each.startswith(_OF_DEFAULTS)}
    # first those of the file's own name; file by file, or what tests share would be made again and again
    of_file = Counter[str]()
    for test in chosen:
        of_file[test.split("::")[0]] += seconds[test]
    found, total = [], 0.0

    def order(test: str) -> tuple[bool, float, str, float]:
        file = test.split("::")[0]
        return name not in test, of_file[file], file, seconds[test]

    for test in sorted(chosen, key=order):
        if found and total + seconds[test] > _TESTS_S:
            continue
        found.append(test)
        total += seconds[test]
    return found, total


class _Reach:
    """Which lines of ours each test that passes runs, with those of the fixtures that it shares with others."""

    def __init__(self, found: dict[str, Any]) -> None:
        self.found, self.lines = found, set[tuple[str, int]]()
        self.of_fixture: dict[str, set[tuple[str, int]]] = {}
        self.seconds = Counter[str]()
        self.ours = tuple(f"{ROOT}/{name}/" for name in ("operators", "pipelines", "schemas"))

    def _called(self, frame: FrameType, _event: str, _argument: Any) -> Any:
        # what a module or a class does when it is imported is of no test
        if not frame.f_code.co_filename.startswith(self.ours) or not frame.f_code.co_flags & inspect.CO_OPTIMIZED:
            return None
        self.lines.add((frame.f_code.co_filename, frame.f_lineno))
        if frame.f_code.co_name == "queries":
            self.lines |= {(str(path), 1) for path in ROOT.glob(f"queries/{frame.f_locals['folder']}/*.sql")}
        return self._line

    def _line(self, frame: FrameType, _event: str, _argument: Any) -> Any:
        self.lines.add((frame.f_code.co_filename, frame.f_lineno))
        return self._line

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> Iterator[None]:
        before, self.lines = self.lines, set()
        try:
            return (yield)
        finally:
            if fixturedef.scope != "function":
                self.of_fixture[fixturedef.baseid + fixturedef.argname] = self.lines
            self.lines = before | self.lines

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: Any) -> Iterator[None]:
        self.lines, self.failed = set(), False
        threading.settrace(self._called)
        sys.settrace(self._called)
        try:
            return (yield)
        finally:
            sys.settrace(None)
            threading.settrace(None)  # type: ignore[arg-type]
            if not self.failed:
                self.found["seconds"][item.nodeid] = round(self.seconds[item.nodeid], 2)
                for names in item._fixtureinfo.name2fixturedefs.values():
                    self.lines |= self.of_fixture.get(names[-1].baseid + names[-1].argname, set())
                for file, line in self.lines:
                    lines = self.found["lines"].setdefault(str(Path(file).relative_to(ROOT)), {})
                    lines.setdefault(str(line), []).append(item.nodeid)

    def pytest_runtest_logreport(self, report: Any) -> None:
        self.seconds[report.nodeid] += report.duration
        self.failed |= not report.passed


def note_reach(path: Path, tests: list[str]) -> int:
    """Run tests and add to a file which lines those that pass reach; pytest's exit code."""
    found = json.loads(path.read_text()) if path.exists() else {"seconds": {}, "lines": {}}
    os.chdir(ROOT)
    code = pytest.main([*_OPTIONS, *tests], plugins=[_Reach(found)])
    path.write_text(json.dumps(found))
    return int(code)


class _Chosen:
    """Of the tests of some files those chosen, in that order."""

    def __init__(self, tests: list[str]) -> None:
        self.tests = {test: place for place, test in enumerate(tests)}

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        items[:] = sorted((each for each in items if each.nodeid in self.tests), key=lambda e: self.tests[e.nodeid])


def _copy(tree: Path) -> None:
    for name in _TREE:
        shutil.copytree(ROOT / name, tree / name)  # with what was compiled before
    for name in _FILES:
        shutil.copy(ROOT / name, tree / name)


def _with(tree: Path, mutant: Mutant, tests: list[str], seconds: float) -> bool:
    """Whether a test fails with the change, which is taken back."""
    path = tree / mutant.file
    source = path.read_text()
    path.write_text(source[: mutant.start] + mutant.text + source[mutant.end :])
    try:
        return bool(tests) and run(tree, tests, seconds) != 0
    finally:
        path.write_text(source)


def _preload() -> None:
    """What the tests import is imported once; of ours nothing, that is the tree's."""
    for name in ("captum.attr", "cv2", "duckdb", "hypothesis", "pyarrow.dataset", "pydantic", "pytest", "ray.data"):
        importlib.import_module(name)
    for name in ("safetensors.torch", "scipy.signal", "scipy.stats", "skimage.data", "timm", "torchvision"):
        importlib.import_module(name)


def run(tree: Path, tests: list[str], seconds: float) -> int:
    """pytest's exit code, in a child of this process; below 0 where it did not end."""
    pid = os.fork()
    if pid == 0:
        os.setsid()
        cpu_s = int(_LEAST_S + _CPU * seconds)
        resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s))
        os.chdir(tree)
        sys.path[0] = str(tree)
        sys.dont_write_bytecode = True
        silence = os.open(os.devnull, os.O_WRONLY)
        for descriptor in (1, 2):
            os.dup2(silence, descriptor)
        files = dict.fromkeys(test.split("::")[0] for test in tests)
        os._exit(int(pytest.main([*_OPTIONS, "-x", *files], plugins=[_Chosen(tests)])))
    end = time.monotonic() + _LEAST_S + _WAIT * seconds
    while time.monotonic() < end:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.05)
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return -1


if __name__ == "__main__":
    main()
