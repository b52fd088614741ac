"""Reads every file of a lake: `python -m pipelines verify`."""

from contextlib import nullcontext
from pathlib import Path

from rich.console import Console

from operators.methods import statistics
from pipelines.errors import UserError
from pipelines.lake import blocks
from pipelines.lake.layout import Layout, parquet
from pipelines.lake.lock import locked
from pipelines.lake.read import existing
from pipelines.screen import say
from schemas.tables import CLOSED, LAKE_TABLES, RUNS


def verify(lake: Path, repair: bool) -> int:
    """Names every file that is damaged, lost or of no finished video; 1 where there is one that was not `repair`ed.

    Raises UserError where there is no lake and, to repair it, where a run is being written.
    """
    layout, console = existing(lake), Console()
    run_ids = layout.run_ids()
    if not run_ids:
        raise UserError(f"no run in {lake}")
    wrong = 0
    for run_id in run_ids:
        for chain in dict.fromkeys(table.chain for table in LAKE_TABLES if table.chain is not None):
            with locked(layout, chain, run_id) if repair else nullcontext():
                found = blocks.damage(layout, chain, run_id, thorough=True)
                for path in (path for paths in found.lost.values() for path in paths):
                    say(console, f"{path}: {'damaged' if path.is_file() else 'gone'}")
                for path in found.stray:
                    say(console, f"{path}: of no finished video")
                if repair:
                    blocks.clear(layout, chain, run_id, found)
            wrong += len(found.lost) + len(found.stray)
        for path in _damaged(layout, run_id):
            say(console, f"{path}: damaged")
            if repair:
                path.unlink()
            wrong += 1
    if not wrong:
        say(console, f"{len(run_ids)} {'run' if len(run_ids) == 1 else 'runs'}: every file is whole")
    elif repair:
        say(console, "all of it is removed: the runs' own commands do these videos again")
    else:
        say(console, "--repair removes all of it; the runs' own commands then do these videos again")
    return 1 if wrong and not repair else 0


def _damaged(layout: Layout, run_id: str) -> list[Path]:
    """Files of a run that no block of videos has: its row, manifest, statistics, and what is said of noise alone."""
    whole = [path for table in (RUNS, CLOSED) for path in parquet(layout.table(run_id, table.name))]
    tables = [*whole, layout.manifest(run_id)]
    found = [path for path in tables if path.is_file() and not blocks.readable(path)]
    for path in sorted(layout.statistics(run_id).rglob("*.safetensors")):
        try:
            statistics.load(path)
        except ValueError:
            found.append(path)
    return found
