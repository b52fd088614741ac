"""How many noise draws the fits of one layer take where the run found out itself: a file beside the statistics."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from operators.storage.files import replacing


@dataclass(frozen=True)
class Choice:
    """`draws` are taken.

    holds  whether they hold fidelity (`operators.measures.fidelity`); None where too little was compared to tell
    why    what is to be said of it where that is so, in words
    tried  of each number of draws in the order of trying: `draws`, `samples` and the figures of a Fidelity
    """

    draws: int
    holds: bool | None = None
    why: str | None = None
    tried: tuple[Mapping[str, float], ...] = ()


def path_in(folder: Path, model: str, layer: str) -> Path:
    """Where a folder of statistics keeps the choice for one layer of a detector."""
    return folder / model / f"{layer}.json"


def save(choice: Choice, path: Path) -> None:
    """Write as JSON, replaced in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        file.write_text(json.dumps(asdict(choice)))


def load(path: Path) -> Choice:
    """What `save` wrote."""
    known = json.loads(path.read_text())
    return Choice(**known | {"tried": tuple(known["tried"])})
