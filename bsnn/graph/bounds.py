"""The lowest and the highest value that each value of a network can take."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from bsnn.graph.graph import Graph
from bsnn.graph.layers import Add, Conv2d, Input, Linear, ReLU

__all__ = ["Dead", "Interval", "bounds", "dead_parts"]

#: Lowest and highest values, as a batch of one image.
Interval = tuple[np.ndarray, np.ndarray]


def bounds(graph: Graph, known: Mapping[str, Interval], name: str) -> Interval:
    """Return the bounds of a layer, when the known ones vary independently.

    Values between layers do not: what is found is wide enough, and may be too wide.

    Parameters
    ----------
    graph : Graph
        The network.
    known : mapping of str to pair of numpy.ndarray
        Bounds of layers before it.
    name : str
        The layer.
    """
    found = dict(known)

    def of(name: str) -> Interval:
        if name not in found:
            layer = graph[name]
            lows, highs = zip(*map(of, layer.inputs), strict=True)
            if isinstance(layer, (Conv2d, Linear)):
                positive = dataclasses.replace(layer, weight=np.maximum(layer.weight, 0))
                negative = dataclasses.replace(layer, weight=np.minimum(layer.weight, 0), bias=None)
                found[name] = (
                    positive.forward(*lows) + negative.forward(*highs),
                    positive.forward(*highs) + negative.forward(*lows),
                )
            else:
                found[name] = layer.forward(*lows), layer.forward(*highs)
        return found[name]

    return of(name)


@dataclasses.dataclass(frozen=True)
class Dead:
    """Parts of a network that tell nothing of an image.

    Attributes
    ----------
    units : dict of str to int
        By rectification, how many units no image can make active.
    layers : tuple of str
        Rectifications of which that holds for all units.
    branches : dict of str to tuple of str
        By sum, the branches whose values are the same for all images.
    """

    units: dict[str, int]
    layers: tuple[str, ...]
    branches: dict[str, tuple[str, ...]]

    def sentences(self) -> list[str]:
        """Return what there is to say."""
        found = [
            f"The layer {name} is dead: no image makes a unit of it active." for name in self.layers
        ]
        for name, count in self.units.items():
            if name not in self.layers:
                units = "unit" if count == 1 else "units"
                found.append(f"{count:,} {units} of {name} can never spike, whatever the image.")
        return found + [
            f"The branch {branch} of the sum {name} is dead: its values are the same for all "
            "images."
            for name, branches in self.branches.items()
            for branch in branches
        ]


def dead_parts(graph: Graph, lowest: float = 0.0, highest: float | None = None) -> Dead:
    """Find what no image can make active, by the bounds of all layers.

    Parameters
    ----------
    graph : Graph
        The network.
    lowest, highest : float, optional
        Of pixels; by default from zero to white.
    """
    shape = (1, *graph.input.shape)
    highest = graph.white if highest is None else highest
    known: dict[str, Interval] = {}
    units: dict[str, int] = {}
    layers: list[str] = []
    branches: dict[str, tuple[str, ...]] = {}
    for layer in graph:
        if isinstance(layer, Input):
            known[layer.name] = (
                np.full(shape, lowest, np.float32), np.full(shape, highest, np.float32),
            )  # fmt: skip
            continue
        known[layer.name] = bounds(graph, known, layer.name)
        high = known[layer.name][1]
        if isinstance(layer, ReLU):
            silent = int((high <= 0).sum())
            if silent:
                units[layer.name] = silent
            if silent == high.size:
                layers.append(layer.name)
        if isinstance(layer, Add):
            constant = tuple(s for s in layer.inputs if np.array_equal(*known[s]))
            if constant:
                branches[layer.name] = constant
    return Dead(units, tuple(layers), branches)
