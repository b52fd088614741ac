"""Every path of a lake."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

_RUN: Final = "run_id="
#: what the names of checkpoints end with whose block is not committed, and of those begin with that replace others
PENDING: Final = ".pending.parquet"
REWRITTEN: Final = "rewritten-"


@dataclass(frozen=True)
class Layout:
    """Where a lake below `root` keeps what."""

    root: Path

    def run(self, run_id: str) -> Path:
        """The tables of a run, a folder each."""
        return self.root / f"{_RUN}{run_id}"

    def table(self, run_id: str, table: str) -> Path:
        """The files of one table of a run."""
        return self.run(run_id) / table

    def run_ids(self) -> list[str]:
        """The runs whose folder is there, in order of their ids."""
        return sorted(path.name.removeprefix(_RUN) for path in self.root.glob(f"{_RUN}*") if path.is_dir())

    def checkpoints(self, chain: str, run_id: str) -> Path:
        """Which videos a chain of stages has finished for a run: Ray's files, pending and committed."""
        return self.root / "_checkpoints" / chain / f"{_RUN}{run_id}"

    def committed(self, chain: str, run_id: str) -> list[Path]:
        """The checkpoint files of blocks whose rows are all written, those that were replaced among them."""
        return [path for path in parquet(self.checkpoints(chain, run_id)) if not path.name.endswith(PENDING)]

    def pending(self, chain: str, run_id: str) -> tuple[str, ...]:
        """What the names of table files begin with whose blocks are not committed."""
        files = parquet(self.checkpoints(chain, run_id))
        return tuple(path.name.removesuffix(PENDING) for path in files if path.name.endswith(PENDING))

    def lock(self, chain: str, run_id: str) -> Path:
        """Held by the process that runs the chain for a run."""
        return self.root / "_checkpoints" / chain / f"{_RUN}{run_id}.lock"

    def manifest(self, run_id: str) -> Path:
        """The input files of a run."""
        return self.root / "_manifests" / f"{run_id}.parquet"

    @property
    def identities(self) -> Path:
        """The ids of files that were read: they belong to no run."""
        return self.root / "_identities"

    def log(self, chain: str, run_id: str) -> Path:
        """What was said while the chain ran for a run, start after start."""
        return self.root / "_logs" / f"{run_id}-{chain}.log"

    def statistics(self, run_id: str) -> Path:
        """Mean and deviation of the layers a run explains."""
        return self.root / "_statistics" / f"{_RUN}{run_id}"

    def judging(self, run_id: str) -> Path:
        """What a run is judged by, and on which videos."""
        return self.root / "_judging" / f"{run_id}.json"

    def maps_to_judge(self, run_id: str) -> Path:
        """The videos to judge with their maps; there while they are judged."""
        return self.root / "_judging" / f"{run_id}.parquet"

    @property
    def trainings(self) -> Path:
        """Learning curves, a file for each training: they belong to no run."""
        return self.root / "_trainings"

    def tcav(self, table: str) -> Path:
        """One table of Video-TCAV, a file for each analysis: they belong to no run."""
        return self.root / "_tcav" / table

    @property
    def annotations(self) -> Path:
        """What people say of the videos, one file: it belongs to no run."""
        return self.root / "_annotations" / "annotations.parquet"

    @property
    def evaluation(self) -> Path:
        """The evaluation tables."""
        return self.root / "evaluation"

    @property
    def report(self) -> Path:
        """The page."""
        return self.root / "report.html"

    @property
    def renders(self) -> Path:
        """Pictures and clips."""
        return self.root / "renders"


def parquet(folder: Path) -> list[Path]:
    """The Parquet files in a folder, in order; none where there is no folder."""
    return sorted(folder.glob("*.parquet"))
