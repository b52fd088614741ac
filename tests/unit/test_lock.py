"""requirements.lock holds all that pyproject.toml asks for, each file by its hash, from the registry alone."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PYTHONS = ("3.11", "3.12", "3.13", "3.14")


@pytest.fixture(scope="module")
def entries():
    """Every pin with the hashes below it."""
    text = (ROOT / "requirements.lock").read_text().replace("\\\n", " ")
    return [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]


def _pins(entries, python):
    """Name -> version of what pip takes on a Linux PC with this Python."""
    machine = {"python_version": python, "python_full_version": f"{python}.0", "sys_platform": "linux"}
    machine |= {"platform_machine": "x86_64", "implementation_name": "cpython", "platform_system": "Linux"}
    pins = [Requirement(entry.split("--hash")[0]) for entry in entries]
    chosen = [pin for pin in pins if pin.marker is None or pin.marker.evaluate(machine)]
    names = [canonicalize_name(pin.name) for pin in chosen]
    assert len(set(names)) == len(names)
    return {name: str(pin.specifier).removeprefix("==") for name, pin in zip(names, chosen, strict=True)}


@pytest.mark.parametrize("python", PYTHONS)
def test_the_lock_holds_what_pyproject_asks_for(entries, python):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [Requirement(each) for each in project["dependencies"] + project["optional-dependencies"]["dev"]]
    pins = _pins(entries, python)
    assert {canonicalize_name(each.name) for each in wanted} <= pins.keys(), "renew the lock: make lock"
    for each in wanted:
        assert pins[canonicalize_name(each.name)] in each.specifier, "renew the lock: make lock"


def test_every_file_is_named_by_hash_and_comes_from_the_registry(entries):
    assert all(re.search(r"==\S+ .*--hash=sha256:[0-9a-f]{64}", entry) for entry in entries)
    assert not [entry for entry in entries if entry.startswith("-") or " @ " in entry]
    # torch's builds of another index (+cpu) are none that the registry's torchvision loads with
    assert not [entry for entry in entries if "+" in entry.split()[0]]
