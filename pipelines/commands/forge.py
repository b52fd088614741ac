"""python -m pipelines forge."""

import argparse
from typing import get_args

from rich.console import Console

from operators.forge import ForgeriesParams
from operators.forging.blend import MOTION_ONLY, Detail, Fault, ForgeParams, Region
from pipelines import config as configs
from pipelines.commands.flags import at_least_one, disk_path, path
from pipelines.errors import UserError
from pipelines.forge import forge


def flags(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument(
        "paths", nargs="+", type=path, metavar="PATH", help="as for explain; those labelled fake are left"
    )
    parser.add_argument("--out", type=disk_path, required=True, metavar="DIR", help="for videos, masks and manifest")
    parser.add_argument(
        "--per-video", type=at_least_one, default=1, metavar="N", help="forgeries of each video (default: 1)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="decides everything random (default: 0)")
    parser.add_argument(
        "--region",
        action="append",
        choices=get_args(Region),
        help="what is forged, drawn for each forgery; may be repeated (default: all four)",
    )
    parser.add_argument(
        "--fault",
        action="append",
        choices=get_args(Fault),
        help="what goes wrong in time, drawn for each forgery; may be repeated (default: none)",
    )
    parser.add_argument(
        "--strength",
        action="append",
        type=float,
        metavar="S",
        help="how much of the forged picture is blended in, 0 to 1, drawn for each forgery; may be repeated "
        "(default: 0.25, 0.5, 0.75, 1)",
    )
    parser.add_argument(
        "--detail",
        action="append",
        choices=get_args(Detail),
        help="what happens to the forged picture's fine detail, drawn for each forgery; may be repeated "
        "(default: sharpen, downscale)",
    )
    parser.add_argument(
        "--motion-only", action="store_true", help="nothing but the fault in time shows, no still frame"
    )
    parser.add_argument(
        "--run-frames", type=at_least_one, metavar="K", help="frames between two jumps or freezes (default: 8)"
    )
    parser.add_argument(
        "--pause-frames",
        type=at_least_one,
        metavar="P",
        help="frames before every run of K in which nothing is forged (default: none, a run follows on another)",
    )
    parser.add_argument("--max-frames", type=at_least_one, metavar="M", help="only the first M frames of each video")


def run(options: argparse.Namespace) -> None:
    """What is drawn for each forgery, and the forgeries."""
    if options.motion_only and "none" in (options.fault or ()):
        raise UserError("--motion-only leaves nothing but the fault in time: take another --fault than none")
    params = MOTION_ONLY if options.motion_only else ForgeParams()
    drawn = {
        "strengths": options.strength,
        "regions": options.region,
        "faults": options.fault,
        "details": options.detail,
        "run_frames": options.run_frames,
        "pause_frames": options.pause_frames,
    }
    params = configs.fill(params, {name: values for name, values in drawn.items() if values}, "forge")
    forgeries = configs.fill(
        ForgeriesParams(forge=params), {"seed": options.seed, "max_frames": options.max_frames}, "forge"
    )
    forge(options.paths, options.out, options.per_video, forgeries, Console())
