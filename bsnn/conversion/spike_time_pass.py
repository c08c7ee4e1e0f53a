"""The trained network's values, and those that spike times have told, population by population.

Both are kept in files, as long as a later population reads them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from bsnn.conversion.populations import Population, population_levels
from bsnn.conversion.statistics import batches
from bsnn.conversion.time_code import decode
from bsnn.graph import Graph

__all__ = ["SpikeTimePass"]


class SpikeTimePass:
    """Images in a network of which scales are found one after the other.

    Parameters
    ----------
    graph : Graph
        The trained network.
    images : numpy.ndarray
        Shape ``(n, *input_shape)``.
    plan : dict of str to Population
        Its populations.
    steps, rounding
        Of the code.
    folder : path
        For files.
    """

    def __init__(
        self,
        graph: Graph,
        images: np.ndarray,
        plan: Mapping[str, Population],
        steps: int,
        rounding: bool,
        folder: Path,
    ) -> None:
        self._graph, self._images, self._plan = graph, images, plan
        self._steps, self._rounding, self._folder = steps, rounding, folder
        #: by layer, what the trained network computes, and what spikes stand for
        self._exact: dict[str, np.ndarray] = {graph.input.name: images}
        self._told: dict[str, np.ndarray] = {graph.input.name: images}
        self._next = 0

    def pairs(
        self, name: str, scales: Mapping[str, float]
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield potentials that spikes cause and activations of the trained network, in batches.

        `scales` has those of all populations before it.
        """
        order = list(self._plan)
        for other in order[self._next : order.index(name)]:
            self._record(self._plan[other], scales[other])
        self._next = max(self._next, order.index(name))
        self._forget(order[self._next :])
        layer = self._plan[name].potential_layer
        for batch in batches(self._graph, len(self._images)):
            exact = np.maximum(self._values(self._exact, layer, batch), 0)
            yield self._values(self._told, layer, batch), exact

    def _values(self, known: dict[str, np.ndarray], layer: str, batch: slice) -> np.ndarray:
        return self._graph.evaluate(layer, {name: array[batch] for name, array in known.items()})

    def _record(self, population: Population, scale: float) -> None:
        layer = population.layer
        for kind, known in (("exact", self._exact), ("told", self._told)):
            if layer in known and kind == "exact":
                continue
            path = self._folder / f"{kind}_{population.name}"
            shape = (len(self._images), *population.shape)
            written = np.memmap(path, dtype=self._images.dtype, mode="w+", shape=shape)
            for batch in batches(self._graph, len(self._images)):
                if kind == "exact":
                    written[batch] = self._values(known, layer, batch)
                    continue
                potentials = self._values(known, population.potential_layer, batch)
                level = population_levels(
                    population, potentials, scale, self._steps, self._rounding
                )
                written[batch] = decode(level, scale, self._steps)
            known[layer] = written

    def _forget(self, later: list[str]) -> None:
        """Delete what no later population reads."""
        needed = {path.source_layer for name in later for path in self._plan[name].projections}
        for known in (self._exact, self._told):
            for layer in known.keys() - needed:
                array = known.pop(layer)
                if isinstance(array, np.memmap):
                    Path(str(array.filename)).unlink()
