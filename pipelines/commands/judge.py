"""python -m pipelines judge."""

import argparse
import json

from rich.console import Console

from operators.inputs.landmarks import MESH_FILE
from operators.judging.params import JudgeParams
from pipelines import config as configs
from pipelines.commands.flags import add_config, add_lake, add_quiet, add_weights, at_least_one, disk_path, weights
from pipelines.config import Resources
from pipelines.judge import judge


def flags(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    add_lake(parser)
    parser.add_argument("--run", metavar="ID", dest="run_id", help="run to judge (default: the latest)")
    parser.add_argument(
        "--max-frames",
        type=at_least_one,
        metavar="N",
        help="frames that models are asked about, chosen by a hash of video and frame (default: "
        f"{JudgeParams.max_frames})",
    )
    add_weights(parser, "where the weights of a run's model lie now")
    parser.add_argument(
        "--landmarks",
        type=disk_path,
        metavar="FILE",
        help="what finds the parts of a face: MediaPipe's face_landmark.tflite or a dlib file of 68 points (default: "
        "what make landmarks fetched, else the proportions of the face's box)",
    )
    parser.add_argument(
        "--permuted-weights",
        action="append",
        default=[],
        metavar="MODEL=FILE",
        help="weights of a detector that was trained on permuted labels: a sanity test; may be repeated",
    )
    parser.add_argument("--again", action="store_true", help="drop what the run was judged with other settings")
    add_quiet(parser, "LAKE/_logs/RUN-judge.log")
    add_config(parser)


def run(options: argparse.Namespace) -> None:
    """The tables judge and resources of config and settings, and what is judged."""
    said = [] if options.max_frames is None else [f"judge.max_frames={json.dumps(options.max_frames)}"]
    tables = configs.load(options.config, [*options.set, *said])
    params = configs.fill(JudgeParams(), tables.get("judge", {}), "judge")
    landmarks = options.landmarks or (MESH_FILE if MESH_FILE.is_file() else None)
    judge(
        options.lake,
        options.run_id,
        params,
        weights(options),
        weights(options, "permuted_weights"),
        landmarks,
        options.again,
        configs.fill(Resources(), tables.get("resources", {}), "resources"),
        Console(quiet=options.quiet),
    )
