"""From linear layers to lists of connections, as index arrays made by numpy.

Each kind of linear layer has an entry in `LINEAR_MAPS`. Chains of layers, such as an average
pooling and the convolution after it, are multiplied out to one list of connections.

Layers number their values channel first (NCHW, as PyTorch does); neurons are numbered channel
last (row, column, channel), so that the targets of one kernel tap lie side by side.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import sparse

from bsnn.conversion import Population, Projection
from bsnn.errors import BuildError
from bsnn.graph import (
    AdaptiveAvgPool2d,
    Add,
    AvgPool2d,
    Conv2d,
    Flatten,
    Graph,
    Layer,
    Linear,
    Normalise,
    PadChannels,
    PartSum,
    SelectChannels,
)
from bsnn.graph.layers import Shape

__all__ = ["LINEAR_MAPS", "Connections", "neuron_order", "projection"]


@dataclasses.dataclass(frozen=True)
class Connections:
    """Pairs of neurons (channel-last numbers), sorted by source, with the weight of each.

    Attributes
    ----------
    source, target : numpy.ndarray
        int32, one element a connection.
    weight : numpy.ndarray
        float64.
    """

    source: np.ndarray
    target: np.ndarray
    weight: np.ndarray

    def __len__(self) -> int:
        return len(self.source)

    def fan_out(self, neurons: int) -> np.ndarray:
        """Number of connections of each source neuron."""
        return np.bincount(self.source, minlength=neurons)


def neuron_order(shape: Shape) -> np.ndarray:
    """Return, for each neuron, the channel-first index of the value that it stands for.

    ``values.reshape(n, -1)[:, neuron_order(shape)]`` brings a batch from the layout of layers to
    the order of neurons.
    """
    indices = np.arange(int(np.prod(shape)))
    if len(shape) != 3:
        return indices
    return indices.reshape(shape).transpose(1, 2, 0).ravel()


def projection(
    graph: Graph, path: Projection, source: Population, target: Population
) -> Connections:
    """Return the connections of a projection, with the weights of the trained network."""
    shape = graph.shapes[path.source_layer]
    matrix: Any = None
    for name in path.layers:
        layer = graph[name]
        step = _linear_map(layer, shape)
        matrix = step if matrix is None else step @ matrix
        shape = graph.shapes[name]
    if matrix is None:
        matrix = sparse.identity(source.size, format="coo")
    return _to_neurons(matrix, source.shape, target.shape)


def _to_neurons(matrix: Any, source: Shape, target: Shape) -> Connections:
    matrix = matrix.tocoo()
    positions = []
    for shape in (target, source):
        order = neuron_order(shape)
        inverse = np.empty_like(order)
        inverse[order] = np.arange(len(order))
        positions.append(inverse)
    by_source: Any = sparse.csc_matrix(
        (matrix.data, (positions[0][matrix.row], positions[1][matrix.col])), shape=matrix.shape
    )
    by_source.sort_indices()
    sources = np.repeat(np.arange(matrix.shape[1], dtype=np.int32), np.diff(by_source.indptr))
    return Connections(
        sources, by_source.indices.astype(np.int32, copy=False), by_source.data.astype(np.float64)
    )


def _linear_map(layer: Layer, shape: Shape) -> Any:
    try:
        make = LINEAR_MAPS[type(layer)]
    except KeyError:
        raise BuildError(
            f"Layer {layer.name!r} ({layer.kind}) has no rule for its connections; there are rules "
            f"for {', '.join(kind.kind for kind in LINEAR_MAPS)}. Add one to LINEAR_MAPS."
        ) from None
    return make(layer, shape)


def _normalise(layer: Normalise, shape: Shape) -> sparse.coo_matrix:
    # the means are in the potential at rest, as biases are
    factor = np.broadcast_to(1 / layer.std.astype(np.float64), shape).ravel()
    value = np.arange(factor.size)
    return _coo(factor, value, value, (factor.size, factor.size))


def _conv2d(layer: Conv2d, shape: Shape) -> sparse.coo_matrix:
    channels, height, width = shape
    out_channels, out_h, out_w = layer.output_shape(shape)
    group_in = channels // layer.groups
    rows, columns = layer.taps(height, width)
    # one entry for each pair of an output row (column) and a kernel row (column) inside the map
    out_y, tap_y = (axis[:, np.newaxis, np.newaxis, np.newaxis] for axis in np.nonzero(rows >= 0))
    out_x, tap_x = (axis[:, np.newaxis, np.newaxis] for axis in np.nonzero(columns >= 0))
    out_c = np.arange(out_channels)[:, np.newaxis]
    in_group = np.arange(group_in)
    in_c = out_c // (out_channels // layer.groups) * group_in + in_group
    target = (out_c * out_h + out_y) * out_w + out_x
    source = (in_c * height + rows[out_y, tap_y]) * width + columns[out_x, tap_x]
    weight = layer.weight[out_c, in_group, tap_y, tap_x]
    return _coo(weight, target, source, (out_channels * out_h * out_w, channels * height * width))


def _linear(layer: Linear, shape: Shape) -> sparse.coo_matrix:
    outputs, inputs = layer.weight.shape
    target, source = np.arange(outputs)[:, np.newaxis], np.arange(inputs)
    return _coo(layer.weight, target, source, (outputs, inputs))


def _avg_pool2d(layer: AvgPool2d, shape: Shape) -> sparse.coo_matrix:
    rows, columns = layer.taps(*shape[1:])
    return _windows(shape, rows, columns, 1 / layer.divisors(*shape[1:]))


def _adaptive_avg_pool2d(layer: AdaptiveAvgPool2d, shape: Shape) -> sparse.coo_matrix:
    rows, columns = layer.bins(*shape[1:])
    return _windows(shape, rows, columns, 1 / np.outer((rows >= 0).sum(1), (columns >= 0).sum(1)))


def _pad_channels(layer: PadChannels, shape: Shape) -> sparse.coo_matrix:
    outputs, inputs = int(np.prod(layer.output_shape(shape))), int(np.prod(shape))
    source = np.arange(inputs)
    first = layer.before * shape[1] * shape[2]
    return _coo(np.ones(1), first + source, source, (outputs, inputs))


def _select_channels(layer: SelectChannels, shape: Shape) -> sparse.coo_matrix:
    channels = np.asarray(layer.channels)
    (targets,) = np.nonzero(channels >= 0)
    area = int(np.prod(shape[1:]))
    value = np.arange(area)
    target = targets[:, np.newaxis] * area + value
    source = channels[targets][:, np.newaxis] * area + value
    return _coo(np.ones(1), target, source, (len(channels) * area, int(np.prod(shape))))


def _identity(_: Layer, shape: Shape) -> sparse.coo_matrix:
    return sparse.coo_matrix(sparse.identity(int(np.prod(shape)), format="coo"))


#: For each kind of linear layer, the function that gives its matrix (outputs by inputs, both
#: channel first) for an input shape.
LINEAR_MAPS: dict[type[Layer], Callable[[Any, Shape], sparse.coo_matrix]] = {
    Normalise: _normalise,
    Conv2d: _conv2d,
    Linear: _linear,
    AvgPool2d: _avg_pool2d,
    AdaptiveAvgPool2d: _adaptive_avg_pool2d,
    PadChannels: _pad_channels,
    SelectChannels: _select_channels,
    Flatten: _identity,
    Add: _identity,
    PartSum: _identity,
}


def _windows(
    shape: Shape, rows: np.ndarray, columns: np.ndarray, weight: np.ndarray
) -> sparse.coo_matrix:
    """Each window's elements, all with the window's weight of shape ``(out_h, out_w)``."""
    channels, height, width = shape
    out_h, out_w = weight.shape
    out_y, tap_y = (axis[:, np.newaxis, np.newaxis] for axis in np.nonzero(rows >= 0))
    out_x, tap_x = (axis[:, np.newaxis] for axis in np.nonzero(columns >= 0))
    channel = np.arange(channels)
    target = (channel * out_h + out_y) * out_w + out_x
    source = (channel * height + rows[out_y, tap_y]) * width + columns[out_x, tap_x]
    return _coo(
        weight[out_y, out_x], target, source, (channels * out_h * out_w, channels * height * width)
    )


def _coo(
    weight: np.ndarray, target: np.ndarray, source: np.ndarray, shape: tuple[int, int]
) -> sparse.coo_matrix:
    weight, target, source = np.broadcast_arrays(weight.astype(np.float64), target, source)
    return sparse.coo_matrix((weight.ravel(), (target.ravel(), source.ravel())), shape=shape)
