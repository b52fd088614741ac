"""Careless changes, one at a time: which of them do the unit and query tests notice?

    python bench/mutants.py named [WORD ...]            the changes of mutants.toml, those with a WORD in their name
    python bench/mutants.py sampled [FILE ...] [--per-file 6] [--seed 0]

`sampled` draws changes from all that a few rules make of every file: another comparison, sign, number or truth value,
an option or a statement left out. Each is made in a copy of the tree, and the tests of its file run on that: those that
mutants.toml names, else tests/**/test_NAME.py and every test file that imports it. A change is noticed when one fails.
"""

import argparse
import ast
import importlib
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

os.environ |= {"OMP_NUM_THREADS": "1", "GOMP_SPINCOUNT": "1000"}

ROOT: Final = Path(__file__).resolve().parents[1]
_TREE: Final = ("operators", "pipelines", "schemas", "queries", "bench", "tests", "docs")
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
)
#: a change without end: of computing, whatever else the machine does, and of waiting
_CPU_S: Final = 180
_WAIT_S: Final = 1200
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
#: what is only said, or what the tests cannot tell: nothing in them is changed
_SAID: Final = ("say", "SampleError", "UserError", "ValueError", "print", "warn", "Field")


@dataclass(frozen=True)
class Mutant:
    """One change of one file."""

    name: str
    file: str
    start: int
    end: int
    text: str
    tests: tuple[str, ...]


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("named", "sampled"))
    parser.add_argument("words", nargs="*", metavar="WORD or FILE")
    parser.add_argument("--per-file", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sure", action="store_true", help="do not first run the tests of every file as it is")
    parser.add_argument("--out", type=Path, help="append each result to this file")
    options = parser.parse_args()
    if options.kind == "named":
        mutants = [each for each in named() if not options.words or any(word in each.name for word in options.words)]
    else:
        files = options.words or sorted({str(p.relative_to(ROOT)) for glob in _SAMPLED for p in ROOT.glob(glob)})
        mutants = [each for file in files for each in sampled(file, options.per_file, options.seed)]
    _preload()
    counted: dict[str, Counter[bool]] = {}
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        tree = Path(folder) / "tree"
        _copy(tree)
        sound: dict[tuple[str, ...], bool] = {}
        for mutant in mutants:
            if mutant.tests not in sound:
                sound[mutant.tests] = bool(mutant.tests) and (options.sure or run(tree, mutant.tests) == 0)
            if not sound[mutant.tests]:
                print(
                    f"?? {mutant.file} {mutant.name}: its tests {', '.join(mutant.tests)} fail without it", flush=True
                )
                continue
            started = time.monotonic()
            noticed = _with(tree, mutant)
            counted.setdefault(mutant.file, Counter())[noticed] += 1
            line = f"{'noticed  ' if noticed else 'UNNOTICED'} {time.monotonic() - started:4.0f} s  {mutant.name}"
            print(line, flush=True)
            if options.out is not None:
                with options.out.open("a") as file:
                    file.write(f"{line}\n")
    for file, count in sorted(counted.items()):
        print(f"{count[True]:3d} of {count.total():3d}  {file}")
    whole = sum(counted.values(), Counter[bool]())
    print(f"{whole[True]} of {whole.total()} noticed")


def named() -> list[Mutant]:
    """Those of mutants.toml. SystemExit where the code that one changes is gone."""
    found = []
    for change in _told()["change"]:
        source = (ROOT / change["file"]).read_text()
        if source.count(change["before"]) != 1:
            raise SystemExit(f"{change['name']}: what it changes is {source.count(change['before'])} times in its file")
        start = source.index(change["before"])
        tests = tuple(change.get("tests", tests_of(change["file"])))
        end = start + len(change["before"])
        found.append(Mutant(f"{change['area']}: {change['name']}", change["file"], start, end, change["after"], tests))
    return found


def sampled(file: str, count: int, seed: int) -> list[Mutant]:
    """`count` of all changes that the rules make of a file, or all where there are fewer."""
    source = (ROOT / file).read_text()
    lines = [0]
    for line in source.splitlines(keepends=True):
        lines.append(lines[-1] + len(line.encode()))
    encoded = source.encode()
    found = []

    def segment(node: Any) -> str:
        start, end = (lines[row - 1] + column for row, column in _ends(node))
        return encoded[start:end].decode()

    for node, text in changes(ast.parse(source), segment):
        start, end = (lines[row - 1] + column for row, column in _ends(node))
        before = " ".join(encoded[start:end].decode().split())
        name = f"{file}:{node.lineno}: {before[:60]} -> {text[:60]}"
        found.append(
            Mutant(name, file, len(encoded[:start].decode()), len(encoded[:end].decode()), text, tests_of(file))
        )
    chosen = random.Random(f"{seed} {file}").sample(found, min(count, len(found)))
    return sorted(chosen, key=lambda each: each.start)


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
                    if keyword.arg is not None:
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
            if isinstance(child, ast.AST) and not is_said:
                if isinstance(child, ast.Raise | ast.Assert | ast.JoinedStr | ast.Import | ast.ImportFrom):
                    continue
                yield from _computing(child)


def _ends(node: Any) -> tuple[tuple[int, int], tuple[int, int]]:
    return (node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset)


def _told() -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_suffix(".toml").read_text())


def tests_of(file: str) -> tuple[str, ...]:
    """The test files that mutants.toml names for a file; else those named like it, and those that import it."""
    told = _told()["tests"].get(file)
    if told is not None:
        return tuple(told)
    module = file.removesuffix(".py").replace("/", ".")
    parent, _, name = module.rpartition(".")
    found = []
    for path in sorted(ROOT.glob("tests/unit/test_*.py")) + sorted(ROOT.glob("tests/queries/test_*.py")):
        text = path.read_text()
        imports = f"from {module} import" in text or f"from {parent} import {name}\n" in text
        if imports or path.stem == f"test_{name}":
            found.append(path.relative_to(ROOT).as_posix())
    return tuple(found)


def _copy(tree: Path) -> None:
    for name in _TREE:
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in _FILES:
        shutil.copy(ROOT / name, tree / name)


def _with(tree: Path, mutant: Mutant) -> bool:
    """Whether a test fails with the change, which is taken back."""
    path = tree / mutant.file
    source = path.read_text()
    path.write_text(source[: mutant.start] + mutant.text + source[mutant.end :])
    try:
        return run(tree, mutant.tests) != 0
    finally:
        path.write_text(source)


def _preload() -> None:
    """What the tests import is imported once; of ours nothing, that is the tree's."""
    for name in ("captum.attr", "cv2", "duckdb", "hypothesis", "pyarrow.dataset", "pydantic", "pytest", "ray.data"):
        importlib.import_module(name)
    for name in ("safetensors.torch", "scipy.signal", "scipy.stats", "skimage.data", "timm", "torchvision"):
        importlib.import_module(name)


def run(tree: Path, tests: tuple[str, ...]) -> int:
    """pytest's exit code, in a child of this process; below 0 where it did not end."""
    pid = os.fork()
    if pid == 0:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_CPU, (_CPU_S, _CPU_S))
        os.chdir(tree)
        sys.path[0] = str(tree)
        sys.dont_write_bytecode = True
        silence = os.open(os.devnull, os.O_WRONLY)
        for descriptor in (1, 2):
            os.dup2(silence, descriptor)
        import pytest

        options = (
            "-x",
            "-q",
            "-p",
            "no:cacheprovider",
            "--hypothesis-seed=0",
            "--deselect",
            "tests/unit/test_mutants.py",
        )
        os._exit(int(pytest.main([*options, *tests])))
    end = time.monotonic() + _WAIT_S
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
