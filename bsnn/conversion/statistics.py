"""What the trained network's activations are for many images, without keeping them.

Images go through the network in batches. Of each population the largest activation is kept, and as
many of the largest as a percentile needs: it is exact, and takes the memory of the share above it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from functools import cached_property

import numpy as np

from bsnn.conversion.populations import Population
from bsnn.graph import Graph, slices

__all__ = ["ActivationStatistics", "batches"]

# Values of all layers that are in memory at once (200 MB in float32).
_VALUES = 50_000_000


def batches(graph: Graph, images: int) -> Iterator[slice]:
    """Return slices of images whose values of all layers fit into a bounded memory."""
    each = sum(int(np.prod(shape)) for shape in graph.shapes.values())
    return slices(images, max(1, _VALUES // each))


class ActivationStatistics:
    """Statistics of the rectified values that drive each population.

    Parameters
    ----------
    graph : Graph
        The trained network.
    images : numpy.ndarray
        Shape ``(n, *input_shape)``.
    populations : dict of str to Population
        Whose.
    percentile : float, optional
        That is wanted, of the values that are not zero.
    channels : bool
        By channel (of a flat population: by neuron), not only for all.
    """

    def __init__(
        self,
        graph: Graph,
        images: np.ndarray,
        populations: dict[str, Population],
        percentile: float | None = None,
        channels: bool = False,
    ) -> None:
        self._graph = graph
        self._images = images
        self._populations = {
            name: population
            for name, population in populations.items()
            if population.role in ("neurons", "read_out")
        }
        self._percentile = percentile
        self._channels = channels

    def largest(self, name: str, channels: bool = False) -> float | np.ndarray:
        """Return the largest value; zero if none is positive."""
        largest = self._collected[name].largest
        return largest if channels else float(largest.max())

    def extent(self, name: str) -> float:
        """Return the largest absolute value, of those that are not rectified."""
        return self._collected[name].extent

    def percentile(self, name: str, channels: bool = False) -> float | np.ndarray:
        """Return the percentile of the positive values, exactly; zero if there are none."""
        found = self._collected[name]
        if not channels:
            return found.of_all.percentile()
        return np.array([top.percentile() for top in found.of_channels])

    def all(self, name: str) -> np.ndarray:
        """Return the values of all images, of shape ``(n, *shape)``: these take memory."""
        layer = self._populations[name].potential_layer
        parts = [
            np.maximum(
                self._graph.evaluate(layer, {self._graph.input.name: self._images[batch]}), 0
            )
            for batch in batches(self._graph, len(self._images))
        ]
        return np.concatenate(parts)

    @cached_property
    def _collected(self) -> dict[str, _Collected]:
        found = {
            name: _Collected.empty(
                population.shape, len(self._images), self._percentile, self._channels
            )
            for name, population in self._populations.items()
        }
        for batch in batches(self._graph, len(self._images)):
            values = self._graph.activations(self._images[batch])
            for name, population in self._populations.items():
                found[name].add(values[population.potential_layer])
        return found


@dataclasses.dataclass
class _Collected:
    largest: np.ndarray
    extent: float
    of_all: _Top
    of_channels: list[_Top]

    @classmethod
    def empty(
        cls, shape: tuple[int, ...], images: int, percentile: float | None, channels: bool
    ) -> _Collected:
        size = images * int(np.prod(shape))
        of_channels = [
            _Top(size // shape[0], percentile) for _ in range(shape[0] if channels else 0)
        ]
        return cls(np.zeros(shape[0]), 0.0, _Top(size, percentile), of_channels)

    def add(self, values: np.ndarray) -> None:
        others = tuple(axis for axis in range(values.ndim) if axis != 1)
        self.largest = np.maximum(self.largest, values.max(axis=others))
        self.extent = max(self.extent, float(np.abs(values).max()))
        self.of_all.add(values)
        for channel, top in enumerate(self.of_channels):
            top.add(values[:, channel])


class _Top:
    """The largest of many positive values: those above a percentile, and the one below it.

    Parameters
    ----------
    size : int
        How many values there will be, at most.
    percentile : float, optional
        Without one, none are kept.
    """

    def __init__(self, size: int, percentile: float | None) -> None:
        self._percentile = percentile
        self._kept = 0
        if percentile is not None:
            self._kept = int(np.ceil((1 - percentile / 100) * size)) + 2
        self._values = np.empty(0, np.float32)
        self._count = 0

    def add(self, values: np.ndarray) -> None:
        if not self._kept:
            return
        positive = values[values > 0]
        self._count += positive.size
        if len(self._values) == self._kept:
            positive = positive[positive > self._values.min()]
        together = np.concatenate([self._values.astype(positive.dtype, copy=False), positive])
        if len(together) > self._kept:
            together = np.partition(together, -self._kept)[-self._kept :]
        self._values = together

    def percentile(self) -> float:
        if self._percentile is None:
            raise ValueError("no percentile was asked for")
        if not self._count:
            return 0.0
        # interpolated between two of all values, as numpy does it in double precision
        place = (self._count - 1) * (self._percentile / 100)
        below = int(np.floor(place))
        ordered = np.sort(self._values)
        first = below - (self._count - len(ordered))
        pair = ordered[first : first + 2].astype(np.float64)
        return float(np.quantile(pair, place - below)) if len(pair) == 2 else float(pair[0])
