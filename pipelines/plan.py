"""What a run will take, from what a finished one took: `python -m pipelines plan`."""

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike
from pyarrow.parquet import FileMetaData

from operators.storage import parquet as pq
from pipelines.cluster import shared_out
from pipelines.config import of_run
from pipelines.errors import UserError
from pipelines.lake import blocks
from pipelines.lake.compact import LARGE, MANY
from pipelines.lake.layout import Layout
from pipelines.lake.read import open_lake, runs
from schemas.tables import EXPLAIN, LAKE_TABLES, VIDEOS

#: how far two runs of one job on one machine are taken to be apart, as a share of the wall time, beside what its
#: videos differ by: an assumption
_AGAIN: Final = 0.1
#: half the width of an interval of 95 %, in standard errors
_Z: Final = 1.96
#: files of a manifest that are looked at for their size
_SIZES: Final = 1000
_HOUR: Final = 3600.0


@dataclass(frozen=True)
class Machines:
    """What works at a time: processors, those beside the GPUs among them, and GPUs."""

    cores: float
    gpus: float = 0
    gpus_per_actor: float = 1

    def seconds(self, cores_s: float, gpus_s: float) -> tuple[float, float]:
        """How long the processors and the GPUs take for so much work, each for itself; an actor holds a processor."""
        free = self.cores - (self.gpus / self.gpus_per_actor if self.gpus else 0)
        if free <= 0:
            raise UserError(f"{self.cores:g} cores leave none to decode beside {self.gpus:g} GPUs: give more")
        return cores_s / free, gpus_s / self.gpus if self.gpus else 0.0


@dataclass(frozen=True)
class Mean:
    """Of one video, and its standard error; None where there were too few to tell."""

    value: float
    error: float | None
    n: int

    def total(self, n: int) -> "Total":
        """Of `n` other videos like these: their mean is as uncertain as that of those that were measured."""
        share = None if self.error is None or not self.value else self.error / self.value * math.sqrt(1 + self.n / n)
        return Total(n * self.value, share and _Z * share)


@dataclass(frozen=True)
class Total:
    """What is expected, and how far off it may be in 19 of 20 cases, as a share of it; None where that is not known."""

    value: float
    share: float | None

    def times(self, factor: float, share: float = 0.0) -> "Total":
        """A multiple of it, by a factor that is uncertain itself."""
        return Total(self.value * factor, None if self.share is None else math.hypot(self.share, share))


def mean_of(videos: ArrayLike, values: ArrayLike) -> Mean:
    """The mean of one video over groups of some `videos`, whose `values` are sums: those of a group were one batch."""
    n, x = np.asarray(videos, float), np.asarray(values, float)
    mean = x.sum() / n.sum()
    groups = len(n)
    off = ((x - mean * n) ** 2).sum() * groups / (groups - 1) if groups > 1 else math.nan
    return Mean(float(mean), None if groups < 2 else math.sqrt(off) / float(n.sum()), int(n.sum()))


@dataclass(frozen=True)
class Taken:
    """What a finished run took.

    cores_s, gpus_s, bytes  of one video: work of processors and of GPUs, and what the lake holds of it
    block_bytes             what the files of a block have besides: names, types and statistics of their columns
    per_block               videos of a block as the run writes it
    slack                   how long it took over how long its machines would take that are never idle; below 1 where
                            stages that share processors slowed each other down
    fixed_s                 from its start to its first video; 0 where it was not known
    gpus_per_actor          of a GPU, what an actor has
    """

    run_id: str
    n_videos: int
    gpus_per_actor: float
    cores_s: Mean
    gpus_s: Mean
    bytes: Mean
    slack: float
    fixed_s: float
    block_bytes: float
    per_block: int

    def written(self, n_videos: int) -> Total:
        """Bytes of the lake of so many videos, whose small blocks are written together where there are many."""
        n_blocks = math.ceil(n_videos / self.per_block)
        if n_blocks >= MANY:
            n_blocks = math.ceil(n_videos / LARGE)
        held = self.bytes.total(n_videos)
        whole = held.value + n_blocks * self.block_bytes
        return Total(whole, None if held.share is None else held.share * held.value / whole)


def taken(lake: Path, run_id: str | None = None, gpu_speedup: float | None = None) -> Taken:
    """What a run took, the latest unless told. `gpu_speedup`: how many times as fast as its actor a GPU is, for a run
    without GPUs.

    UserError: no such run, one that has not ended, or did not say on what it ran.
    """
    run_id = runs(lake)[-1] if run_id is None else run_id
    with open_lake(lake, run_id) as connection:
        (row,) = connection.sql("select * from runs").to_arrow_table().to_pylist()
    if row["ended_at"] is None or row["busy"] is None:
        raise UserError(f"run {run_id} has not ended: its own command continues it")
    start = row["starts"][-1]
    hardware = json.loads(start["hardware"])
    if "processors" not in hardware:
        raise UserError(f"run {run_id} does not say on what it ran, as those of before do not: plan from another one")
    resources = of_run(row["config"]).resources
    own = shared_out(resources, hardware["cluster"], hardware["processors"], grows=True)
    gpus, share = own.actors * own.gpus_per_actor, own.gpus_per_actor or 1.0
    if gpus and gpu_speedup is not None:
        raise UserError(f"run {run_id} had GPUs: --gpu-speedup is for one without")
    machines = Machines(sum(hardware["processors"]), gpus, share)

    group = max(resources.videos_per_block, own.videos_per_call)
    videos, decode_s, explain_s = _seconds(Layout(lake), run_id, group)
    # what the run itself had: without GPUs its actors' threads are processors, too
    own_cores = decode_s + (0 if gpus else own.threads_per_actor) * explain_s
    own_gpus = own.gpus_per_actor * explain_s
    span_s = float(explain_s.sum()) / (row["busy"] * own.actors)
    slack = span_s / max(machines.seconds(float(own_cores.sum()), float(own_gpus.sum())))
    whole_s = (row["ended_at"] - start["started_at"]).total_seconds()
    cores = decode_s if gpu_speedup else own_cores
    held, block_bytes = _bytes(Layout(lake), run_id)
    return Taken(
        run_id,
        int(videos.sum()),
        share,
        mean_of(videos, cores),
        mean_of(videos, explain_s / gpu_speedup if gpu_speedup else own_gpus),
        held,
        slack,
        max(whole_s - span_s, 0.0) if len(row["starts"]) == 1 else 0.0,
        block_bytes,
        resources.videos_per_block,
    )


def _seconds(layout: Layout, run_id: str, group: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Videos, seconds before and after explaining, and seconds of explaining, of groups that went together."""
    found = []
    for checkpoint in blocks.committed(layout, EXPLAIN, run_id)[0]:
        path = layout.table(run_id, VIDEOS.name) / checkpoint.name
        rows = pq.read_table(path, columns=["prepare_s", "explain_s", "metrics_s"]).to_pylist()
        for first in range(0, len(rows), group):
            own = rows[first : first + group]
            beside = sum((row["prepare_s"] or 0) + (row["metrics_s"] or 0) for row in own)
            found.append((len(own), beside, sum(row["explain_s"] or 0 for row in own)))
    if not found:
        raise UserError(f"run {run_id} has no video")
    videos, beside, explain = np.array(found, float).T
    return videos, beside, explain


def _bytes(layout: Layout, run_id: str) -> tuple[Mean, float]:
    """Of the values of one video, and of the rest of a block's files."""
    names = [table.name for table in LAKE_TABLES if table.chain == EXPLAIN]
    videos, held, rest = [], [], []
    for checkpoint in blocks.committed(layout, EXPLAIN, run_id)[0]:
        files = [checkpoint, *(layout.table(run_id, name) / checkpoint.name for name in names)]
        files = [file for file in files if file.is_file()]
        footers = [pq.read_metadata(file) for file in files]
        videos.append(footers[0].num_rows)
        held.append(sum(map(_values, footers)))
        rest.append(sum(file.stat().st_size for file in files) - held[-1])
    return mean_of(videos, held), float(np.mean(rest))


def _values(file: FileMetaData) -> int:
    groups = [file.row_group(number) for number in range(file.num_row_groups)]
    return sum(each.column(column).total_compressed_size for each in groups for column in range(each.num_columns))


@dataclass(frozen=True)
class Prices:
    """Of an hour of a GPU, of an hour of a node without, and of a month of a GB (10^9 bytes); None where not given."""

    gpu: float | None = None
    node: float | None = None
    gb: float | None = None


@dataclass(frozen=True)
class Plan:
    """What is expected, by name with its unit, and what the run waits for."""

    figures: dict[tuple[str, str], Total]
    busy_cores: float
    busy_gpus: float
    cores_for_gpus: float


def plan(was: Taken, n_videos: int, read: Mean | None, machines: Machines, nodes: int, prices: Prices) -> Plan:
    """What `n_videos` like those of a run take on other machines, `nodes` of which have no GPU.

    The slower of processors and GPUs decides, and both are slower than they might be by the run's own slack. UserError
    for GPUs where the run had none, and the other way round.
    """
    if bool(machines.gpus) != bool(was.gpus_s.value):
        have, want = ("GPUs", "processors") if was.gpus_s.value else ("processors", "GPUs")
        more = "" if was.gpus_s.value else ", or say with --gpu-speedup X how many times as fast a GPU explains"
        raise UserError(f"run {was.run_id} explained on {have}: for {want} plan from a run on such{more}")
    cores, gpus = was.cores_s.total(n_videos), was.gpus_s.total(n_videos)
    on_cores, on_gpus = machines.seconds(cores.value, gpus.value)
    slowest = cores.times(on_cores / cores.value) if on_cores >= on_gpus else gpus.times(on_gpus / gpus.value)
    working = slowest.times(was.slack, share=_AGAIN)
    wall = Total(working.value + was.fixed_s, working.share)
    written = was.written(n_videos)

    found = {("wall time", "h"): wall.times(1 / _HOUR)}
    if machines.gpus:
        found["GPUs that explain", "GPU h"] = gpus.times(1 / _HOUR)
        found["GPUs that are there", "GPU h"] = wall.times(machines.gpus / _HOUR)
    found["cores that work", "core h"] = cores.times(1 / _HOUR)
    found["cores that are there", "core h"] = wall.times(machines.cores / _HOUR)
    if read is not None:
        found["videos read", "GB"] = read.total(n_videos).times(1e-9)
    found["lake written", "GB"] = written.times(1e-9)
    if prices.gpu is not None and machines.gpus:
        found["price of GPUs", ""] = wall.times(machines.gpus * prices.gpu / _HOUR)
    if prices.node is not None:
        found["price of CPU nodes", ""] = wall.times(nodes * prices.node / _HOUR)
    if prices.gb is not None:
        found["price of the lake", "a month"] = written.times(1e-9 * prices.gb)
    longest = max(on_cores, on_gpus)
    needed = cores.value / on_gpus + machines.gpus / machines.gpus_per_actor if on_gpus else 0.0
    return Plan(found, on_cores / longest, on_gpus / longest, needed)


def sizes(manifest: pa.Table) -> Mean | None:
    """Bytes of a file of a manifest, from some of them; None where none lies where this machine sees it."""
    uris = manifest["uri"].to_pylist()
    chosen = np.random.default_rng(0).permutation(len(uris))[:_SIZES]
    found = [os.path.getsize(uris[number]) for number in chosen if os.path.isfile(uris[number])]
    return mean_of(np.ones(len(found)).tolist(), found) if found else None


def sample(manifest: pa.Table, n: int) -> pa.Table:
    """`n` rows of a manifest at random, always the same; all where there are no more."""
    chosen = np.random.default_rng(0).permutation(len(manifest))[:n]
    return manifest.take(np.sort(chosen))


def rows(found: Plan) -> pa.Table:
    """The figures as a person reads them: one row each, with the interval that has it in 19 of 20 cases."""
    said: list[dict[str, Any]] = []
    for (what, unit), total in found.figures.items():
        off = None if total.share is None else total.share * total.value
        low, high = (None, None) if off is None else (max(total.value - off, 0.0), total.value + off)
        ends = {"low": low, "high": high}
        said.append({"what": what, "estimate": total.value} | ends | {"unit": unit})
    return pa.Table.from_pylist(said)
