"""What each model says with the bottleneck closed at each layer: tells which of two things an empty map means."""

import pyarrow as pa
import torch

from operators.methods import statistics
from operators.methods.closed import noise_alone
from operators.models.cut import split
from operators.models.running import example, placed
from operators.models.weights import Detector
from operators.storage import parquet as pq
from pipelines.config import Config
from pipelines.lake.layout import Layout
from pipelines.manifest import write_table
from schemas.tables import CLOSED


def keep_closed(config: Config, layout: Layout) -> None:
    """Have the rows of table CLOSED for every layer of the run that there are statistics of; those there are kept."""
    path = layout.table(config.run_id, CLOSED.name) / "closed.parquet"
    rows = pq.read_table(path, schema=CLOSED.schema).to_pylist() if path.is_file() else []
    known = {(row["model"], row["layer"]) for row in rows}
    for detector in config.detectors:
        missing = [layer for layer in detector.layers if (detector.spec.name, layer) not in known]
        rows += [{"run_id": config.run_id} | row for row in _closed(detector, missing, config, layout)]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_table(pa.Table.from_pylist(rows, schema=CLOSED.schema), path)


def _closed(detector: Detector, layers: list[str], config: Config, layout: Layout) -> list[dict]:
    spec, folder = detector.spec, layout.statistics(config.run_id)
    files = {layer: statistics.path_in(folder, spec.name, layer) for layer in layers}
    files = {layer: file for layer, file in files.items() if file.is_file()}
    if not files:
        return []
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = placed(detector.load(), spec, device).requires_grad_(False)
    examples = example(spec, 2).to(device)
    rows = []
    for layer, file in files.items():
        noise = statistics.load(file)
        tensors = (noise.mean.float().to(device), noise.std().to(device), noise.active().to(device))
        cut = split(model, layer, examples[:1], spec.layout)
        found = noise_alone(cut, examples, *tensors, config.bottleneck.seed)
        if found is not None:
            values = found.tolist()
            ranks = {index: rank for rank, index in enumerate(sorted(range(len(values)), key=lambda i: -values[i]), 1)}
            rows += [
                {"model": spec.name, "layer": layer, "class": name, "probability": values[index], "rank": ranks[index]}
                for index, name in enumerate(spec.classes)
            ]
    return rows
