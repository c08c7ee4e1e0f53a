"""The rate-coded network step by step in numpy, many images at once.

It tells the same spikes as the Brian2 network (for rounding), without building one. Spike-Norm
finds its thresholds with it; for small networks and few steps it is also a quick look at them.
"""

from __future__ import annotations

import numpy as np

from bsnn.conversion.encoders import ENCODERS
from bsnn.conversion.populations import Population
from bsnn.conversion.rate import RateModel, per_channel

__all__ = ["PopulationDynamics", "RateDynamics", "input_signals"]


class PopulationDynamics:
    """Potentials of one population, in the units of the trained network.

    Parameters
    ----------
    model : RateModel
        The network; only the scales of the population and of those before it are used.
    population : Population
        Neurons, or the read-out.
    images : int
        How many images are simulated at once.
    dtype : dtype
        Of the potentials.
    """

    def __init__(
        self, model: RateModel, population: Population, images: int, dtype: type = np.float64
    ) -> None:
        self._model = model
        self._population = population
        self._heights = {
            path.source_layer: per_channel(
                model.height(path, population), model.populations[path.source].shape
            ).astype(dtype)
            for path in population.projections
        }
        scale = per_channel(model.scales[population.name], population.shape)
        self._threshold = scale.astype(dtype)
        start = (model.initial_potential * scale).astype(dtype)
        # a silent read-out adds up, from nothing
        self._spikes = model.spikes(population.name)
        self.potential = np.zeros((images, *population.shape), dtype)
        self.potential += start if self._spikes else 0

    def weighted_input(self, told: dict[str, np.ndarray]) -> np.ndarray:
        """Return what a step adds to the potentials; `told` has the spikes by source layer."""
        known = {layer: told[layer] * height for layer, height in self._heights.items()}
        return self._model.graph.evaluate(self._population.potential_layer, known)

    def step(self, weighted: np.ndarray) -> np.ndarray | None:
        """Add a step's input to the potentials; return the spikes (0 and 1) and reset."""
        model, v = self._model, self.potential
        v += weighted
        if not self._spikes:
            return None
        if model.potential_floor is not None:
            np.maximum(v, model.potential_floor * self._threshold, out=v)
        spikes = (v >= self._threshold).astype(v.dtype)
        if model.reset == "zero":
            v *= 1 - spikes
        else:
            v -= spikes * self._threshold
        return spikes


class RateDynamics:
    """A batch of images in a rate-coded network.

    Parameters
    ----------
    model : RateModel
        The network.
    images : numpy.ndarray
        Shape ``(n, *input_shape)``.
    seed : int
        Of the encoder's noise.
    streams : numpy.ndarray, optional
        Number of each image's own noise; by default 0, 1, ...
    dtype : dtype
        Of the potentials.
    """

    def __init__(
        self,
        model: RateModel,
        images: np.ndarray,
        seed: int = 0,
        streams: np.ndarray | None = None,
        dtype: type = np.float64,
    ) -> None:
        self._model = model
        self._values = model.encode(images)
        self._seed = seed
        self._streams = np.arange(len(images)) if streams is None else np.asarray(streams)
        self._dtype = dtype
        self._step = 0
        self.populations = {
            name: PopulationDynamics(model, population, len(images), dtype)
            for name, population in model.populations.items()
            if population.role != "input"
        }

    def step(self) -> dict[str, np.ndarray]:
        """Go one step on; return by population the spikes, for the input with their sign."""
        model = self._model
        signals = input_signals(
            model, self._values, self._step, self._seed, self._streams, self._dtype
        )
        told = {model.input.layer: signals}
        spikes = {model.input.name: signals}
        for name, dynamics in self.populations.items():
            found = dynamics.step(dynamics.weighted_input(told))
            if found is not None:
                told[model.populations[name].layer] = found
                spikes[name] = found
        self._step += 1
        return spikes


def input_signals(
    model: RateModel, values: np.ndarray, step: int, seed: int, streams: np.ndarray, dtype: type
) -> np.ndarray:
    """Return what the input tells in a step, given encoded values."""
    return ENCODERS[model.encoder].tell(values, step, seed, streams).astype(dtype, copy=False)
