"""How far maps are from their floor: `python -m bench.emptiness --out PNG NAME=LAKE ...`.

Draws the bits over the floor of every map of the lakes' runs, by detector and label, and prints for each lake the table
`emptiness`, and Table 3 beside what it would be if empty maps had masks.
"""

import argparse
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from rich.console import Console

from operators.measures.consistency import video_metrics
from operators.measures.maps import heat
from operators.measures.rules import MaskRule
from operators.methods.bottleneck import AT_ITS_FLOOR
from pipelines.lake.read import open_lake, queries
from pipelines.tables import print_table

_RULE = "max0.5"
_RATIOS = """
select masks.model, videos.label, masks.total_bits / masks.floor_bits as ratio
from masks
inner join videos using (run_id, video_id)
inner join predictions as plain
    on
        masks.run_id = plain.run_id
        and masks.video_id = plain.video_id
        and masks.first_frame = plain.frame
        and masks.model = plain.model
        and masks.target = plain.class
        and plain.method = ''
where total_bits is not null and plain.rank = 1
"""
_MAPS = """
select masks.*, videos.label
from masks
inner join videos using (run_id, video_id)
where masks.error_code is null
order by model, layer, target, video_id, frame
"""


def draw(lakes: dict[str, Path], out: Path) -> None:
    """One row of points for each (lake, detector, label), the maps of the predicted class, and the bound."""
    groups: dict[tuple[str, str, str], list[float]] = {}
    for name, lake in lakes.items():
        with open_lake(lake) as connection:
            for model, label, ratio in connection.sql(_RATIOS).fetchall():
                groups.setdefault((model, name, label), []).append(ratio)
    names = sorted(groups, reverse=True)
    figure, axes = plt.subplots(figsize=(9, 0.9 + 0.27 * len(names)), layout="constrained")
    rng = np.random.default_rng(0)
    for y, key in enumerate(names):
        values = np.array(groups[key])
        colour = {"real": "C0", "fake": "C3"}.get(key[2], "0.5")
        axes.scatter(values, y + rng.uniform(-0.25, 0.25, len(values)), s=9, color=colour, alpha=0.6, linewidths=0)
    axes.axvline(AT_ITS_FLOOR, color="0.3", linewidth=1)
    axes.set_yticks(range(len(names)), [f"{model}, {name}: {label}" for model, name, label in names])
    axes.set(xscale="log", xlabel=f"bits over floor (line: {AT_ITS_FLOOR:g})")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(out, dpi=110)
    plt.close(figure)


def unmasked(lake: Path) -> list[dict[str, Any]]:
    """Table 3 of one mask rule as if no map were empty: mean over videos, by (model, target, label)."""
    with open_lake(lake) as connection:
        rows = connection.sql(_MAPS).to_arrow_table().to_pylist()
    videos: dict[tuple[str, ...], list[np.ndarray]] = {}
    for row in rows:
        key = tuple(row[name] for name in ("model", "target", "label", "video_id"))
        videos.setdefault(key, []).append(heat(row | {"empty": False}))
    found: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for key, maps in videos.items():
        (figures,) = video_metrics(maps, [MaskRule.parse(_RULE)])
        found.setdefault(key[:3], []).append(figures)
    means = []
    for (model, target, label), figures in sorted(found.items()):
        row: dict[str, Any] = {"model": model, "target": target, "label": label, "n_videos": len(figures)}
        for name in ("iou", "iou_adjusted", "tcs", "persistence"):
            known = [each[name] for each in figures if each[name] is not None]
            row[name] = float(np.mean(known)) if known else None
        means.append(row)
    return means


def main() -> None:
    """Draw and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("lakes", nargs="+", metavar="NAME=LAKE")
    options = parser.parse_args()
    lakes = {name: Path(lake) for name, _, lake in (each.partition("=") for each in options.lakes)}
    draw(lakes, options.out)
    console = Console(width=200)
    for name, lake in lakes.items():
        console.print(f"\n{name}", style="bold")
        with open_lake(lake) as connection:
            for table in ("emptiness", "table2", "localisation", "table3"):
                query = queries("tables")[table]
                print_table(connection.sql(query).to_arrow_table(), console, wide=True)
        for row in unmasked(lake):
            console.print(row)


if __name__ == "__main__":
    main()
