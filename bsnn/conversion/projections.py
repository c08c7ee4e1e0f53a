"""The converted network as data: what each population gets from those before it.

Scales are in weights, biases and thresholds here, as the coding says, and nowhere else: who builds,
writes or counts a spiking network reads them, and multiplies nothing.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from bsnn.conversion.populations import Population, Projection
from bsnn.graph import Conv2d, Graph, Layer

__all__ = ["Drive", "LinearMap"]


@dataclasses.dataclass(frozen=True, eq=False)
class LinearMap:
    """The effect of a spike of one population on the neurons of another.

    Attributes
    ----------
    path : Projection
        Where it comes from, and over which layers.
    factor : float or numpy.ndarray
        By what the trained weights are multiplied: a number, or an array with a row for each
        channel of the target and a column for each of the source (of flat populations: for each
        neuron). The product is made in float64 and rounded once, to the precision of the network.
    graph : Graph
        The layers.
    source, target : Population
        Its ends.
    """

    path: Projection
    factor: float | np.ndarray
    graph: Graph
    source: Population
    target: Population

    @property
    def layer(self) -> Layer | None:
        """The layer of the path that has weights; None if none has."""
        layers = (self.graph[name] for name in self.path.layers)
        return next((layer for layer in layers if "weight" in layer.arrays), None)

    def weights(self) -> np.ndarray:
        """Return the weights of that layer times the factor, in its own layout; float64."""
        layer = self.layer
        assert layer is not None
        weight = layer.weight.astype(np.float64)
        if not isinstance(self.factor, np.ndarray):
            return weight * self.factor
        if isinstance(layer, Conv2d):
            factor = by_group(self.factor, layer.groups)
            return weight * factor[:, :, np.newaxis, np.newaxis]
        # values of a channel lie side by side
        return weight * np.repeat(self.factor, weight.shape[1] // self.factor.shape[1], axis=1)


def by_group(factor: np.ndarray, groups: int) -> np.ndarray:
    """Keep, for each channel of the target, the channels of the source that its group sees."""
    outputs, inputs = factor.shape
    group = np.arange(outputs) // (outputs // groups)
    seen = group[:, np.newaxis] * (inputs // groups) + np.arange(inputs // groups)
    return np.take_along_axis(factor, seen, axis=1)


@dataclasses.dataclass(frozen=True, eq=False)
class Drive:
    """All that a population's neurons get, in the units in which their potentials are.

    Attributes
    ----------
    maps : tuple of LinearMap
        One for each of the population's projections.
    bias : numpy.ndarray
        What a neuron gets, or begins with, without any spike; float64, of the population's shape.
    threshold : float or numpy.ndarray
        One number or one for each channel.
    """

    maps: tuple[LinearMap, ...]
    bias: np.ndarray
    threshold: float | np.ndarray
