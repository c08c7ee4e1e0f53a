"""Loss and accuracy of trainings, drawn."""

from __future__ import annotations

import json
import os
from pathlib import Path

from matplotlib.figure import Figure

__all__ = ["curves_figure"]


def curves_figure(logs: dict[str, str | os.PathLike[str]]) -> Figure:
    """Return loss and training accuracy by epoch, from logs by what the legend calls them."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    loss, accuracy = figure.subplots(1, 2)
    for name, path in logs.items():
        lines = [json.loads(line) for line in Path(path).read_text().splitlines()]
        epochs = [line["epoch"] for line in lines]
        loss.plot(epochs, [line["loss"] for line in lines], label=name)
        accuracy.plot(epochs, [100 * line["training_accuracy"] for line in lines], label=name)
    loss.set_ylabel("loss, with dropout and augmentation")
    accuracy.set_ylabel("accuracy on the training images (%)")
    accuracy.legend(frameon=False, loc="lower right")
    for axes in (loss, accuracy):
        axes.set_xlabel("epoch")
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    return figure
