"""What a network costs: operations, neurons, parameters and connections.

The convention is that under which López-Randulfe et al. (2022) report 14,316,496 operations: two
for each multiply-accumulate, those with zero padding counted; one for each output of a pooling
layer (and of an addition); none for biases and rectification.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from bsnn.graph.graph import Graph
from bsnn.graph.layers import ReLU, Shape

__all__ = ["GraphCost", "LayerCost", "count"]


@dataclasses.dataclass(frozen=True)
class LayerCost:
    """Cost of one layer for one image.

    Attributes
    ----------
    name, kind : str
        The layer.
    shape : tuple of int
        Of its output.
    parameters : int
        Trained values.
    macs : int
        Multiply-accumulates, those with zero padding counted.
    flops : int
        Floating-point operations, by the convention of this module.
    connections : int
        Pairs of one input and one output value, border-exact (padding left out).
    """

    name: str
    kind: str
    shape: Shape
    parameters: int
    macs: int
    flops: int
    connections: int


@dataclasses.dataclass(frozen=True)
class GraphCost:
    """Cost of a network for one image: each layer's and the sums."""

    layers: tuple[LayerCost, ...]
    #: Rectified units plus the outputs of the network.
    neurons: int

    @property
    def parameters(self) -> int:
        """Trained values."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""
        return sum(layer.macs for layer in self.layers)

    @property
    def flops(self) -> int:
        """Floating-point operations."""
        return sum(layer.flops for layer in self.layers)

    @property
    def connections(self) -> int:
        """Connections of the layers with weights."""
        return sum(layer.connections for layer in self.layers if layer.parameters)


def count(graph: Graph) -> GraphCost:
    """Count what one image costs in a network, layer by layer."""
    layers = []
    neurons = 0
    for layer in graph:
        shapes = graph.input_shapes(layer.name)
        macs = layer.macs(*shapes)
        layers.append(
            LayerCost(
                name=layer.name,
                kind=layer.kind,
                shape=graph.shapes[layer.name],
                parameters=layer.parameters,
                macs=macs,
                flops=2 * macs + layer.operations(*shapes),
                connections=layer.connections(*shapes),
            )
        )
        if isinstance(layer, ReLU) or layer.name == graph.output:
            neurons += int(np.prod(graph.shapes[layer.name]))
    return GraphCost(tuple(layers), neurons)
