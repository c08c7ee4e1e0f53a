"""The trained network turned into the spiking one, one cause of error after the other.

Each rung computes the whole network with the causes so far, and without those still to come: first
in closed form (activations that are clipped, and rounded to what steps can tell), then step by step
with rules that add no error of their own (constant input, reset by subtraction, the gate that
passes the largest rate), and at last with the model's own rules, one by one. The last rung is the
spiking network: `bsnn.conversion.RateDynamics` and `TtfsModel.code` tell the same spikes as Brian2.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Set

import numpy as np

from bsnn.comparison.causes import Cause, Situation
from bsnn.conversion import DEFAULT_GATE, Population, RateDynamics, RateModel, SpikingModel
from bsnn.conversion.populations import per_channel, population_levels
from bsnn.conversion.ties import TIE
from bsnn.conversion.time_code import decode

__all__ = ["Told", "arithmetic", "rung", "spiking"]

#: Called after each step of a simulation.
Tick = Callable[[], None]


@dataclasses.dataclass(frozen=True)
class Told:
    """What a network tells about a batch.

    Attributes
    ----------
    values : dict of str to numpy.ndarray
        By population, in the units of the trained network; shape ``(n, *shape)``.
    classes : numpy.ndarray
        Class of each image.
    """

    values: dict[str, np.ndarray]
    classes: np.ndarray


def rung(
    situation: Situation,
    causes: list[Cause],
    images: np.ndarray,
    seed: int = 0,
    streams: np.ndarray | None = None,
    tick: Tick | None = None,
) -> Told:
    """Return what the network tells with some of the causes of error.

    Parameters
    ----------
    situation : Situation
        What is compared.
    causes : list of Cause
        Those that are in; without ``"simulation"``.
    images : numpy.ndarray
        Shape ``(n, *input_shape)``, float64.
    seed, streams
        Of the noise of the input, see `RateDynamics`.
    tick : callable, optional
        Called after each step of a simulation.
    """
    model, names = situation.model, {cause.name for cause in causes}
    if not any(cause.dynamic(situation) for cause in causes):
        return arithmetic(model, images, names)
    own = {
        "gate": ("pooling", DEFAULT_GATE),
        "reset": ("reset", "subtract"),
        "potential_floor": ("floor", None),
        "encoder": ("input", "constant"),
        "fraction_bits": ("fixed_point", None),
    }
    ideal = {field: value for field, (cause, value) in own.items() if cause not in names}
    dtype = np.float32 if "precision" in names else np.float64
    return _step_by_step(dataclasses.replace(model, **ideal), images, seed, streams, dtype, tick)


def spiking(
    model: SpikingModel,
    images: np.ndarray,
    seed: int = 0,
    streams: np.ndarray | None = None,
    tick: Tick | None = None,
) -> Told:
    """Return what the spiking network tells, in float64."""
    if isinstance(model, RateModel):
        return _step_by_step(model, images, seed, streams, np.float64, tick)
    return arithmetic(model, images, {"clipping", "quantisation", "start"})


def arithmetic(model: SpikingModel, images: np.ndarray, causes: Set[str]) -> Told:
    """Return what a network tells that has no dynamics.

    Parameters
    ----------
    model : SpikingModel
        The network.
    images : numpy.ndarray
        Shape ``(n, *input_shape)``, float64.
    causes : set of str
        Which causes of error are in: of ``"clipping"``, ``"quantisation"`` (to the nearest),
        ``"start"`` (the model's own initial potential), ``"junction"``, ``"pooling"`` (of an
        average gate) and ``"precision"``.
    """
    rate = isinstance(model, RateModel)
    graph = model.spiking_graph if "pooling" in causes else model.graph
    if "precision" in causes:
        images = images.astype(np.float32)
    known = {graph.input.name: graph.check_images(images)}
    values, potential = {}, images
    for name, population in model.populations.items():
        if population.role == "max_pool":
            # of one scale: the largest value is the value of the first spike, or the highest rate
            source = known[population.projections[0].source_layer]
            value = graph[population.layer].forward(source)
        elif population.role == "input":
            value = graph.evaluate(population.layer, known)
            if not rate and causes & {"start", "quantisation"}:
                value = _coded(model, population, value, causes)
        else:
            heard = _heard(model, population, known) if "junction" in causes else known
            value = potential = graph.evaluate(population.potential_layer, heard)
            if model.spikes(name):
                value = _coded(model, population, np.maximum(value, 0), causes)
        values[name] = known[population.layer] = value
    last = values[model.output.name]
    if not rate and model.spikes(model.output.name) and "quantisation" in causes:
        # of outputs that spike in the same step the one of most potential counts
        last = np.where(_is_largest(last), potential, -np.inf)
    return Told(values, _flat(last).argmax(axis=1))


def _heard(
    model: RateModel, population: Population, known: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Values as a population takes them, for which spikes of all paths may count alike."""
    heard = dict(known)
    for path in population.projections:
        shape = model.populations[path.source].shape
        height = per_channel(model.height(path, population), shape)
        heard[path.source_layer] = (
            known[path.source_layer] * height / per_channel(model.scales[path.source], shape)
        )
    return heard


def _coded(
    model: SpikingModel, population: Population, values: np.ndarray, causes: Set[str]
) -> np.ndarray:
    """Return values, not negative unless of the input, as spikes can tell them."""
    scale, steps = per_channel(model.scales[population.name], population.shape), model.steps
    if isinstance(model, RateModel):
        start = model.initial_potential
    else:
        start = 0.5 if model.rounding else 0.0
        scale = values.dtype.type(scale)
    start = start if "start" in causes else 0.5
    if "quantisation" not in causes:
        # without rounding, the initial potential moves all values alike
        values = np.maximum(values + (start - 0.5) / steps * scale, 0)
    elif isinstance(model, RateModel):
        # potentials are sums of many terms and miss a threshold by less than this
        levels = np.floor(values / scale * steps + start + TIE)
        values = levels * (scale / steps)
    else:
        level = population_levels(population, values, float(scale), steps, start == 0.5)
        values = decode(level, float(scale), steps)
    return np.minimum(values, scale) if "clipping" in causes else values


def _step_by_step(
    model: RateModel,
    images: np.ndarray,
    seed: int,
    streams: np.ndarray | None,
    dtype: type,
    tick: Tick | None,
) -> Told:
    dynamics = RateDynamics(model, images, seed, streams, dtype)
    sums = {
        name: np.zeros((len(images), *population.shape))
        for name, population in model.populations.items()
    }
    for _ in range(model.steps):
        for name, spikes in dynamics.step().items():
            sums[name] += spikes
        if tick is not None:
            tick()
    output = model.output.name
    values = {
        name: count / model.steps * per_channel(model.scales[name], model.populations[name].shape)
        for name, count in sums.items()
    }
    if not model.spikes(output):
        potential = dynamics.populations[output].potential
        values[output] = potential.astype(np.float64) / model.steps
    return Told(values, _flat(values[output]).argmax(axis=1))


def _is_largest(values: np.ndarray) -> np.ndarray:
    axes = tuple(range(1, values.ndim))
    return values == values.max(axis=axes, keepdims=True)


def _flat(values: np.ndarray) -> np.ndarray:
    return values.reshape(len(values), -1)
