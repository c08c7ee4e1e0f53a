"""The rate-coded network step by step in numpy, many images at once.

It emits the same spikes as the Brian2 network (for rounding), without building one. Spike-Norm
finds its thresholds with it; for small networks and few steps it is also a quick look at them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bsnn.conversion.encoders import ENCODERS
from bsnn.conversion.gates import gate_quantities, winning_spikes
from bsnn.conversion.populations import Population, per_channel
from bsnn.conversion.ties import tie

if TYPE_CHECKING:
    from bsnn.conversion.rate import RateModel

__all__ = ["PoolDynamics", "PopulationDynamics", "RateDynamics", "input_signals", "pools_of"]


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

    Attributes
    ----------
    potential : numpy.ndarray
        Of each neuron.
    quantities : dict of str to numpy.ndarray
        For neurons that are pooled, what the key of the gate depends on, in the neuron's units.
    """

    def __init__(
        self, model: RateModel, population: Population, images: int, dtype: type = np.float64
    ) -> None:
        self._model = model
        self._population = population
        self._amplitudes = {
            path.source_layer: per_channel(
                model.spike_amplitude(path, population), model.populations[path.source].shape
            ).astype(dtype)
            for path in population.projections
        }
        scale = per_channel(model.scales[population.name], population.shape)
        factor = model.threshold_factors.get(population.name, 1.0)
        self._threshold = (factor * scale).astype(dtype)
        self._reached = (factor * scale * (1 - tie(model.fraction_bits))).astype(dtype)
        start = (model.initial_potential * self._threshold).astype(dtype)
        # a silent read-out adds up, from nothing
        self._spikes = model.spikes(population.name)
        self.potential = np.zeros((images, *population.shape), dtype)
        self.potential += start if self._spikes else 0
        self._unit = per_channel(model.unit(population.name), population.shape).astype(dtype)
        constant = model.encoder == "constant" and model.input.layer in self._amplitudes
        bits = model.fraction_bits if constant else None
        self._grid = None if bits is None else 2.0**bits
        self.quantities: dict[str, np.ndarray] = {}
        if pools_of(model, population.name):
            self.quantities = {
                name: np.zeros_like(self.potential) for name in gate_quantities(model.gate)
            }

    def weighted_input(self, signals: dict[str, np.ndarray]) -> np.ndarray:
        """Return what a step adds to the potentials; `signals` has the spikes by source layer."""
        known = {layer: signals[layer] * amplitude for layer, amplitude in self._amplitudes.items()}
        weighted = self._model.spiking_graph.evaluate(self._population.potential_layer, known)
        if self._grid is None:
            return weighted
        return np.floor(weighted / self._unit * self._grid + 0.5) / self._grid * self._unit

    def step(self, weighted: np.ndarray) -> np.ndarray | None:
        """Add a step's input to the potentials; return the spikes (0 and 1) and reset."""
        model, v = self._model, self.potential
        self._note("v_before", v)
        v += weighted
        if not self._spikes:
            return None
        if model.potential_floor is not None:
            np.maximum(v, model.potential_floor * self._threshold, out=v)
        self._note("v_reached", v)
        spikes = (v >= self._reached).astype(v.dtype)
        removed = spikes * (v if model.reset == "zero" else self._threshold)
        v -= removed
        self._note("v", v)
        self._note("v_th", self._threshold)
        self._count(spikes, removed)
        return spikes

    def _note(self, name: str, potential: np.ndarray) -> None:
        if name in self.quantities:
            self.quantities[name][:] = potential / self._unit

    def _count(self, spikes: np.ndarray, removed: np.ndarray) -> None:
        known = self.quantities
        if "v_removed" in known:
            known["v_removed"] += removed / self._unit
        if "spiked" in known:
            known["spiked"][:] = spikes
        if "spike_count" in known:
            known["spike_count"] += spikes
        if "since_first_spike" in known:
            since = known["since_first_spike"]
            since += (since > 0) | (spikes > 0)


class PoolDynamics:
    """A max-pooling, which has no state of its own.

    Parameters
    ----------
    model : RateModel
        The network.
    name : str
        A population whose role is ``"max_pool"``.
    """

    def __init__(self, model: RateModel, name: str) -> None:
        self._gate = model.gate
        #: the population that is pooled
        self.source, *self._windows = model.windows(name)

    def step(self, source: PopulationDynamics, spikes: np.ndarray) -> np.ndarray:
        """Return the spikes that pass, given those of the source in the same step."""
        return winning_spikes(self._gate, source.quantities, spikes, *self._windows)


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
        self._streams = np.arange(len(self._values)) if streams is None else np.asarray(streams)
        self._dtype = dtype
        self._step = 0
        self.populations = {
            name: PoolDynamics(model, name)
            if population.role == "max_pool"
            else PopulationDynamics(model, population, len(self._values), dtype)
            for name, population in model.populations.items()
            if population.role != "input"
        }

    def neurons(self, name: str) -> PopulationDynamics:
        """Return the neurons of a population that is no pooling."""
        found = self.populations[name]
        assert isinstance(found, PopulationDynamics)
        return found

    def step(self) -> dict[str, np.ndarray]:
        """Go one step on; return by population the spikes, for the input with their sign."""
        model = self._model
        emitted = input_signals(
            model, self._values, self._step, self._seed, self._streams, self._dtype
        )
        signals = {model.input.layer: emitted}
        spikes = {model.input.name: emitted}
        for name, dynamics in self.populations.items():
            if isinstance(dynamics, PoolDynamics):
                found = dynamics.step(self.neurons(dynamics.source), spikes[dynamics.source])
            else:
                found = dynamics.step(dynamics.weighted_input(signals))
            if found is not None:
                signals[model.populations[name].layer] = found
                spikes[name] = found
        self._step += 1
        return spikes


def pools_of(model: RateModel, name: str) -> dict[str, PoolDynamics]:
    """Return the max-poolings that choose among the neurons of a population, by name."""
    pools = {
        pool: PoolDynamics(model, pool)
        for pool, population in model.populations.items()
        if population.role == "max_pool"
    }
    return {pool: dynamics for pool, dynamics in pools.items() if dynamics.source == name}


def input_signals(
    model: RateModel, values: np.ndarray, step: int, seed: int, streams: np.ndarray, dtype: type
) -> np.ndarray:
    """Return what the input emits in a step, given encoded values."""
    return ENCODERS[model.encoder].encode(values, step, seed, streams).astype(dtype, copy=False)
