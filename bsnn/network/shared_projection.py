"""Which paths of linear layers are one shared object, and with which weights.

A path is shared if it is at most one pooling and one layer with weights: a convolution becomes a
`Convolution`, a linear layer a `Dense`, a sum of branches a convolution with 1x1 kernels. What a
normalisation before them divides by is in the weights. What else there is (a convolution that is
averaged afterwards, or comes after a normalisation with a divisor for each pixel) has explicit
synapses.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import brian2 as b2
import numpy as np

from bsnn.brian.convolution import Convolution
from bsnn.brian.dense import Dense
from bsnn.brian.pooling import Windows
from bsnn.brian.shared import SharedConnections
from bsnn.conversion import Population, Projection
from bsnn.conversion.projections import by_group
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
)
from bsnn.graph.layers import Shape

__all__ = ["SharedProjection", "shared_projection"]


@dataclasses.dataclass(frozen=True, eq=False)
class SharedProjection:
    """A path that one shared object can stand for.

    Attributes
    ----------
    source_shape : tuple of int
        Of the population that spikes.
    windows : Windows or None
        Average pooling before the layer with weights.
    layer : Conv2d or Linear
        The layer with weights, divided by the deviations of a normalisation before it.
    """

    source_shape: Shape
    windows: Windows | None
    layer: Conv2d | Linear

    @property
    def pooled_shape(self) -> Shape:
        """Of the source after the pooling."""
        if self.windows is None:
            return self.source_shape
        return (self.source_shape[0], *self.windows.shape)

    @property
    def weights(self) -> int:
        """Number of stored weights."""
        return self.layer.weight.size

    def connect(
        self,
        source: b2.NeuronGroup,
        target: b2.NeuronGroup,
        on_pre: str,
        factor: float | np.ndarray,
        **options,
    ) -> SharedConnections:
        """Make the Brian2 object.

        `factor` multiplies the weights: a number, or one for each pair of a channel of the target
        and one of the source.
        """
        if self.windows is not None or isinstance(self.layer, Conv2d):
            options["source_shape"] = self.source_shape
        if isinstance(self.layer, Linear):
            weights = _channel_last(self.layer.weight, self.pooled_shape)
            if np.ndim(factor):
                # in the order of neurons the channels of one place lie side by side
                factor = np.tile(factor, weights.shape[1] // np.shape(factor)[1])
            # transposed before and after, so that Dense finds them as it keeps them: no copy
            weights = _scaled(weights.T, np.transpose(factor), options["dtype"]).T
            return Dense(source, target, weights, on_pre, pool=self.windows, **options)
        if isinstance(factor, np.ndarray):
            factor = by_group(factor, self.layer.groups)[:, :, np.newaxis, np.newaxis]
        return Convolution(
            source,
            target,
            _scaled(self.layer.weight, factor, options["dtype"]),
            on_pre,
            pool=self.windows,
            stride=self.layer.stride,
            padding=self.layer.padding,
            dilation=self.layer.dilation,
            groups=self.layer.groups,
            **options,
        )

    def fan_out(self) -> np.ndarray:
        """Number of targets of each source neuron, in the order of neurons."""
        if isinstance(self.layer, Linear):
            reached = np.ones(self.source_shape[1:] if len(self.source_shape) == 3 else (1, 1))
            if self.windows is not None:
                reached = np.outer(
                    *(_reached(np.eye(len(t)) > 0, t, n) for t, n in self._pooled_axes())
                )
            per_place = (reached > 0) * len(self.layer.weight)
            return np.repeat(per_place.ravel(), self.source_shape[0]).astype(np.int64)
        layer = self.layer
        counts = []
        axes = zip(layer.taps(*self.pooled_shape[1:]), self.pooled_shape[1:], strict=True)
        pools = self._pooled_axes() if self.windows is not None else (None, None)
        for (taps, extent), pool in zip(axes, pools, strict=True):
            sees = _sees(taps, extent)
            counts.append(sees.sum(axis=0) if pool is None else _reached(sees, *pool))
        per_place = np.outer(*counts) * (layer.weight.shape[0] // layer.groups)
        return np.repeat(per_place.ravel(), self.source_shape[0]).astype(np.int64)

    def _pooled_axes(self) -> list[tuple[np.ndarray, int]]:
        assert self.windows is not None
        tables = (self.windows.rows, self.windows.columns)
        return list(zip(tables, self.source_shape[1:], strict=True))


def shared_projection(
    graph: Graph, path: Projection, source: Population, target: Population
) -> SharedProjection | None:
    """Return how a path is shared; None if it needs explicit synapses."""
    windows: Windows | None = None
    weighted: Conv2d | Linear | None = None
    factor: np.ndarray | None = None
    shape = graph.shapes[path.source_layer]
    for name in path.layers:
        layer = graph[name]
        if isinstance(layer, (Flatten, Add)):
            pass
        elif weighted is None and isinstance(layer, (Conv2d, Linear)):
            weighted = layer
        elif weighted is None and windows is None and isinstance(layer, Normalise):
            inverse = np.broadcast_to(1 / layer.std.astype(np.float64), shape)
            factor = inverse if factor is None else inverse * factor
        elif weighted is None and windows is None and type(layer) in _WINDOWS:
            windows = _WINDOWS[type(layer)](layer, shape)
        else:
            return None
        shape = graph.shapes[name]
    if weighted is None:
        if len(source.shape) != 3 or len(target.shape) != 3:
            return None
        channels = source.shape[0]
        ones = np.ones((channels, 1, 1, 1), np.float32)
        weighted = Conv2d(name="identity", inputs=(path.source_layer,), weight=ones,
                          groups=channels)  # fmt: skip
    projection = SharedProjection(source.shape, windows, weighted)
    return projection if factor is None else _normalised(projection, factor)


def _normalised(projection: SharedProjection, factor: np.ndarray) -> SharedProjection | None:
    """Multiply the inputs of a projection by a factor; None if that takes more weights.

    The weights become float64: explicit synapses are products in float64 too.
    """
    layer = projection.layer
    if projection.windows is not None or isinstance(layer, Conv2d):
        per_channel = factor[:, :1, :1]
        if (factor != per_channel).any():
            return None
        factor = np.broadcast_to(per_channel, projection.pooled_shape)
    if isinstance(layer, Linear):
        weight = layer.weight * factor.ravel()
    else:
        by_group = factor[:, 0, 0].reshape(layer.groups, -1)
        rows = np.repeat(by_group, len(layer.weight) // layer.groups, axis=0)
        weight = layer.weight * rows[:, :, np.newaxis, np.newaxis]
    return dataclasses.replace(projection, layer=dataclasses.replace(layer, weight=weight))


def _average_windows(layer: AvgPool2d, shape: Shape) -> Windows:
    return Windows(*layer.taps(*shape[1:]), 1 / layer.divisors(*shape[1:]))


def _adaptive_windows(layer: AdaptiveAvgPool2d, shape: Shape) -> Windows:
    rows, columns = layer.bins(*shape[1:])
    share = 1 / np.outer((rows >= 0).sum(axis=1), (columns >= 0).sum(axis=1))
    return Windows(rows, columns, share)


#: For each kind of average pooling, the function that gives its windows over an input shape.
_WINDOWS: dict[type[Layer], Callable[[Any, Shape], Windows]] = {
    AvgPool2d: _average_windows,
    AdaptiveAvgPool2d: _adaptive_windows,
}


def _channel_last(weight: np.ndarray, shape: Shape) -> np.ndarray:
    """Bring the inputs of a linear layer, flattened channel first, to the order of neurons."""
    if len(shape) != 3:
        return weight
    return weight.reshape(len(weight), *shape).transpose(0, 2, 3, 1).reshape(len(weight), -1)


def _scaled(weight: np.ndarray, factor: float | np.ndarray, dtype: type) -> np.ndarray:
    """Multiply in float64, as explicit synapses do, and round once; without an array in between."""
    scaled = np.empty(weight.shape, dtype)
    return np.multiply(weight, factor, out=scaled, dtype=np.float64, casting="same_kind")


def _sees(table: np.ndarray, extent: int) -> np.ndarray:
    """Which element of an axis each output sees, as a matrix of truth values."""
    sees = np.zeros((len(table), extent), dtype=bool)
    output, tap = np.nonzero(table >= 0)
    sees[output, table[output, tap]] = True
    return sees


def _reached(sees: np.ndarray, pool: np.ndarray, extent: int) -> np.ndarray:
    """How many outputs each element of an axis reaches through pooling windows."""
    return ((sees.astype(np.int64) @ _sees(pool, extent)) > 0).sum(axis=0)
