"""How well a trained network does."""

from __future__ import annotations

from bsnn.datasets import Dataset
from bsnn.graph import Graph

__all__ = ["accuracy"]


def accuracy(graph: Graph, dataset: Dataset, batch: int = 500) -> float:
    """Return the fraction of the images that a network classifies correctly."""
    parts = [dataset.first(batch, first) for first in range(0, len(dataset), batch)]
    correct = [(graph.forward(p.images).argmax(axis=1) == p.labels).sum() for p in parts]
    return int(sum(correct)) / len(dataset)
