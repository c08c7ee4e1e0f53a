"""Signals of the max-poolings of a network in Brian2, step by step."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bsnn.conversion import AVERAGE, SpikingModel
from bsnn.conversion.gates import evaluate_key, gate_quantities
from bsnn.cosimulation.fixed_point import integer_pool, quantise
from bsnn.cosimulation.vectors import PoolVectors
from bsnn.devices import start, use_device
from bsnn.errors import BuildError, SettingsError
from bsnn.network import build
from bsnn.network.network import SpikingNetwork

__all__ = ["PoolRecording", "poolings", "record_pools"]


@dataclasses.dataclass(frozen=True, eq=False)
class PoolRecording:
    """A max-pooling in Brian2.

    Attributes
    ----------
    name : str
        Its population.
    keys : numpy.ndarray
        What its gate has compared, float64, shape ``(frames, height, width, channels)``; a frame is
        a time step.
    spikes : numpy.ndarray
        uint8, of the neurons that are pooled, of the same shape.
    passed : numpy.ndarray
        uint8, what has passed, shape ``(frames, rows, columns, channels)``.
    window, stride : (int, int)
        Vertical and horizontal.
    """

    name: str
    keys: np.ndarray
    spikes: np.ndarray
    passed: np.ndarray
    window: tuple[int, int]
    stride: tuple[int, int]

    def vectors(self, bits: int, fraction_bits: int) -> tuple[PoolVectors, int]:
        """Return vectors for the pooling block, and how many keys were beyond its range."""
        numbers, overflows = quantise(self.keys, bits, fraction_bits)
        vectors = PoolVectors(numbers, self.spikes, self.window, self.stride, bits, fraction_bits)
        return vectors, overflows

    def different(self, bits: int, fraction_bits: int) -> int:
        """Return how many pooled spikes differ from Brian2's, if keys have so many bits."""
        numbers, _ = quantise(self.keys, bits, fraction_bits)
        passed, _ = integer_pool(numbers, self.spikes, self.window, self.stride)
        return int((passed != self.passed).sum())


def poolings(model: SpikingModel, names: Sequence[str] | None = None) -> list[str]:
    """Return the names of max-poolings of a network that choose by a gate.

    Parameters
    ----------
    model : SpikingModel
        The network.
    names : sequence of str, optional
        Those that are wanted; by default all.

    Raises
    ------
    SettingsError
        The network is not in rate coding, has no such max-pooling, or none at all.
    """
    model.check_offers("pooling block")
    known = [name for name, p in model.populations.items() if p.role == "max_pool"]
    if not known:
        average = " (its gate is the average)" if model.gate == AVERAGE else ""
        raise SettingsError(f"The model has no max-pooling{average}.")
    unknown = [name for name in names or () if name not in known]
    if unknown:
        raise SettingsError(
            f"There is no max-pooling {', '.join(map(repr, unknown))}. There are "
            f"{', '.join(known)}."
        )
    return list(names or known)


def record_pools(
    model: SpikingModel,
    images: np.ndarray,
    names: Sequence[str] | None = None,
    *,
    device: str = "runtime",
    seed: int = 0,
    directory: Path | None = None,
) -> list[PoolRecording]:
    """Simulate images and record what goes into max-poolings and what passes.

    Keys are taken as the gate sees them: after the reset of the source's neurons in the same step.

    Parameters
    ----------
    model : SpikingModel
        The network.
    images : numpy.ndarray
        Shape ``(n, *input_shape)``.
    names : sequence of str, optional
        Which max-poolings; by default all.
    device : str
        Where to simulate, a name in `bsnn.devices.DEVICES`.
    seed : int
        Of the encoder's noise.
    directory : pathlib.Path, optional
        For generated code.

    Raises
    ------
    SettingsError
        There is no such max-pooling, or none at all.
    BuildError
        A max-pooling is of a kind that the hardware block does not have.
    """
    names = poolings(model, names)
    images = model.check_images(images)
    sources = {name: _checked_source(model, name) for name in names}
    with use_device(device, directory):
        net = build(model, images=len(images), seed=seed, name="")
        for name, source in sources.items():
            for population in (name, source):
                if "spikes" not in net.monitors.get(population, {}):
                    net.monitor(population, "spikes")
            for quantity in sorted(gate_quantities(model.gate) - {"v_th"}):
                if quantity not in net.monitors[source]:
                    net.monitor(source, quantity)
        start(net, directory).run(images)
        return [_read(net, name, sources[name]) for name in names]


def _checked_source(model: SpikingModel, name: str) -> str:
    layer = model.graph[model.populations[name].layer]
    source, *_ = model.windows(name)
    lacking = [
        what
        for what, found in (
            ("padding", layer.padding != (0, 0)),
            ("dilation", layer.dilation != (1, 1)),
            ("incomplete windows at the border (ceil_mode)", layer.ceil_mode),
            ("pooling of what was pooled", source != model.populations[name].projections[0].source),
        )
        if found
    ]
    if lacking:
        raise BuildError(
            f"The max-pooling {name!r} has {' and '.join(lacking)}, which the hardware block does "
            "not have. Choose another layer."
        )
    return source


def _read(net: SpikingNetwork, name: str, source: str) -> PoolRecording:
    model = net.model
    layer, shape = model.graph[model.populations[name].layer], model.populations[source].shape
    frames = net.capacity * model.steps
    monitors = net.monitors[source]
    quantities = {
        quantity: np.asarray(getattr(monitors[quantity], quantity), np.float64).T
        for quantity in gate_quantities(model.gate) - {"v_th"}
    }
    if "v_th" in gate_quantities(model.gate):
        quantities["v_th"] = net.by_neuron(source, model.projections[source].threshold)
    keys = evaluate_key(model.gate, quantities, (frames, int(np.prod(shape))))
    return PoolRecording(
        name,
        keys.reshape(_frames(frames, shape)),
        _spikes(net, source, frames).reshape(_frames(frames, shape)),
        _spikes(net, name, frames).reshape(_frames(frames, model.populations[name].shape)),
        tuple(layer.kernel),
        tuple(layer.stride),
    )


def _frames(frames: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Neurons are numbered as the block takes them: row, column, channel."""
    channels, height, width = shape
    return frames, height, width, channels


def _spikes(net: SpikingNetwork, name: str, frames: int) -> np.ndarray:
    neurons, steps = net.recorded_spikes(name)
    spikes = np.zeros((frames, net.model.populations[name].size), np.uint8)
    spikes[steps, neurons] = 1
    return spikes
