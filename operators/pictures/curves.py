"""The learning curves of a training as a picture."""

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.ticker import MaxNLocator


def draw_curves(curves: list[dict[str, Any]], title: str, path: Path) -> None:
    """Loss of both splits and validation accuracy over epochs, as PNG."""
    epochs = [point["epoch"] + 1 for point in curves]
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    left.plot(epochs, [point["train_loss"] for point in curves], label="train")
    left.plot(epochs, [point["val_loss"] for point in curves], label="val")
    left.set(xlabel="epoch", ylabel="cross-entropy in nats", title=title)
    left.legend(frameon=False)
    right.plot(epochs, [point["val_accuracy"] for point in curves], color="C1")
    right.axhline(0.5, color="0.7", linewidth=1)
    right.set(xlabel="epoch", ylabel="accuracy on val", ylim=(0, 1))
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.savefig(path, dpi=120)
    plt.close(figure)
