"""python -m pipelines plan."""

import argparse
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pyarrow as pa
from rich.console import Console

from operators.storage import parquet
from pipelines import manifest as manifests
from pipelines.commands.explained import add_explained, explained
from pipelines.commands.flags import at_least_one, disk_path, path
from pipelines.config import Config
from pipelines.errors import UserError
from pipelines.explain import explain
from pipelines.identities import Identities
from pipelines.lake.layout import Layout
from pipelines.plan import Machines, Plan, Prices, Taken, plan, rows, sample, sizes, taken
from pipelines.screen import say
from pipelines.tables import print_table


def flags(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument(
        "--manifest", type=path, required=True, metavar="PATH", help="the videos to explain: what explain takes as PATH"
    )
    parser.add_argument(
        "--lake", type=disk_path, metavar="DIR", help="with a finished run to plan from (default: a trial)"
    )
    parser.add_argument("--run", metavar="ID", dest="run_id", help="the run to plan from (default: the latest)")
    parser.add_argument(
        "--sample",
        type=at_least_one,
        default=64,
        metavar="N",
        help="videos of the trial, chosen at random (default: %(default)s)",
    )
    parser.add_argument(
        "--trial",
        type=disk_path,
        metavar="DIR",
        help="folder the trial writes its lake to, on a cluster one that all nodes see (default: one that is removed)",
    )
    parser.add_argument("--gpus", type=_from_zero, default=0, metavar="N", help="GPUs (default: none)")
    parser.add_argument(
        "--cores-per-gpu", type=_from_zero, default=8, metavar="N", help="processors beside each (default: %(default)s)"
    )
    parser.add_argument("--cpu-nodes", type=_from_zero, default=0, metavar="K", help="machines without a GPU")
    parser.add_argument(
        "--cores-per-node", type=at_least_one, default=16, metavar="N", help="processors of each (default: %(default)s)"
    )
    parser.add_argument(
        "--gpu-speedup",
        type=_positive,
        metavar="X",
        help="how many times as fast a GPU explains as the actor of a run that had none: an estimate of yours",
    )
    parser.add_argument(
        "--gpu-price", type=_positive, metavar="PRICE", help="of a GPU and the cores beside it, an hour"
    )
    parser.add_argument("--node-price", type=_positive, metavar="PRICE", help="of a machine without a GPU, an hour")
    parser.add_argument("--gb-price", type=_positive, metavar="PRICE", help="of 10^9 bytes of the lake, a month")
    add_explained(parser)


def run(options: argparse.Namespace) -> None:
    """Prints what the videos of a manifest would take."""
    console = Console()
    if not options.gpus and not options.cpu_nodes:
        raise UserError("say on what to plan: --gpus N, --cpu-nodes K or both")
    cores = options.cpu_nodes * options.cores_per_node + options.gpus * options.cores_per_gpu
    if options.lake is not None:
        was = taken(options.lake, options.run_id, options.gpu_speedup)
        say(console, f"from run {was.run_id} in {options.lake}: {was.n_videos:,} videos")
        identities = Identities(Layout(options.lake).identities, console)
        manifest = manifests.build([options.manifest], identities=identities).table
    else:
        config = explained(options, console)
        manifest = manifests.build([options.manifest], config.classes).table
        was = _trial(options, config, manifest, console)
    machines = Machines(cores, options.gpus, was.gpus_per_actor)
    prices = Prices(options.gpu_price, options.node_price, options.gb_price)
    found = plan(was, len(manifest), sizes(manifest), machines, options.cpu_nodes, prices)
    console.print()
    say(console, f"{len(manifest):,} videos on {cores:,} cores and {options.gpus:,} GPUs", "bold")
    print_table(rows(found), console)
    say(console, _waits(found, machines))


def _trial(options: argparse.Namespace, config: Config, manifest: pa.Table, console: Console) -> Taken:
    """What some of the videos took."""
    with ExitStack() as ended:
        folder = options.trial or Path(tempfile.mkdtemp(prefix="viba-plan-"))
        if options.trial is None:
            ended.callback(shutil.rmtree, folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        chosen = sample(manifest, options.sample)
        parquet.write_table(chosen, folder / "sample.parquet")
        say(console, f"a trial of {len(chosen):,} videos")
        explain(config, [folder / "sample.parquet"], folder / "lake", console)
        return taken(folder / "lake", config.run_id, options.gpu_speedup)


def _waits(found: Plan, machines: Machines) -> str:
    if not machines.gpus:
        return "with --set resources.actors=K, one attribution actor for each of the K nodes"
    if found.busy_gpus < 1:
        return (
            f"the GPUs wait for decoding {1 - found.busy_gpus:.0%} of the time: "
            f"{found.cores_for_gpus:,.0f} cores would keep them busy"
        )
    return f"the GPUs decide: {found.cores_for_gpus:,.0f} cores would do"


def _from_zero(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number")
    return int(text)


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return value
