"""The oracle of rate coding: integrate-and-fire neurons with numpy and torch, without Brian2.

Written from the equations in the design notes, in the units of the trained network: a spike of a
population has the height of its scale, and its threshold is that scale. Of bsnn only the plan of
populations and the fields of the model are used.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from reference import along, bias_of, linear

from bsnn.conversion import Population, RateModel


@dataclasses.dataclass
class RateRun:
    """What each population did.

    Attributes
    ----------
    spikes : dict
        By population that spikes, shape ``(n, steps, *shape)``; those of the input have a sign.
    potentials : dict
        By population, after the reset of each step, in the units of the trained network.
    inputs : dict
        By population of neurons, what each step has added to the potentials.
    """

    spikes: dict[str, np.ndarray]
    potentials: dict[str, np.ndarray]
    inputs: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)


def splitmix(seed: int, streams, numbers) -> np.ndarray:
    """Uniform numbers of SplitMix64; `streams` and `numbers` are broadcast."""
    gamma = 0x9E3779B97F4A7C15

    def mix(z):
        z = np.bitwise_xor(z, z >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
        z = np.bitwise_xor(z, z >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
        return np.bitwise_xor(z, z >> np.uint64(31))

    def sequence(start, index):
        return mix(
            start + (np.atleast_1d(index).astype(np.uint64) + np.uint64(1)) * np.uint64(gamma)
        )

    start = mix(np.array([(seed + gamma) % 2**64], np.uint64))
    return (sequence(sequence(start, streams), numbers) >> np.uint64(11)) / 2.0**53


def encode(model: RateModel, images: np.ndarray, seed: int, numbers: np.ndarray) -> np.ndarray:
    """What the input tells in each step, shape ``(n, steps, *shape)``, one for its scale."""
    values = torch.from_numpy(np.asarray(images, np.float64))
    if model.input.layer != model.graph.input.name:
        values = linear(model.graph[model.input.layer], values, with_bias=True)
    values = values.numpy()[:, np.newaxis] / model.scales[model.input.name]
    size, shape = np.abs(values), values.shape[2:]
    step = np.arange(model.steps).reshape(-1, *[1] * len(shape))
    if model.encoder == "constant":
        return np.broadcast_to(values, (len(values), model.steps, *shape))
    if model.encoder == "regular":
        return np.sign(values) * (np.floor(size * (step + 1)) - np.floor(size * step))
    # neurons are numbered by row, column, and channel
    neuron = np.arange(np.prod(shape)).reshape(*shape[1:], shape[0])
    neuron = np.moveaxis(neuron, -1, 0)
    streams = np.asarray(numbers).reshape(-1, *[1] * (len(shape) + 1))
    noise = splitmix(seed, streams, neuron + step * neuron.size)
    return np.sign(values) * (noise < size)


def simulate(
    model: RateModel, images: np.ndarray, seed: int = 0, numbers: np.ndarray | None = None
) -> RateRun:
    """Simulate a batch; `numbers` are those of the images, on which their noise depends."""
    numbers = np.arange(len(images)) if numbers is None else numbers
    told = {model.input.name: encode(model, images, seed, numbers)}
    run = RateRun({}, {})
    if model.encoder != "constant":
        run.spikes[model.input.name] = told[model.input.name]
    for name, population in model.populations.items():
        if population.role == "input":
            continue
        if population.role == "max_pool":
            told[name] = run.spikes[name] = pool(model, population, run)
            continue
        spikes = population.role == "neurons" or model.read_out == "count"
        current = weighted_input(model, population, told)
        if model.fraction_bits is not None and model.input.name in sources(population):
            current = in_steps(current, model)
        run.inputs[name] = current
        told[name], run.potentials[name] = integrate(model, population, current, spikes)
        if spikes:
            run.spikes[name] = told[name]
    return run


def simulate_first(model: RateModel, images: np.ndarray, name: str) -> RateRun:
    """Simulate the neurons that the input drives, and no others."""
    told = {model.input.name: encode(model, images, 0, np.arange(len(images)))}
    population, run = model.populations[name], RateRun({}, {})
    run.inputs[name] = weighted_input(model, population, told)
    run.spikes[name], run.potentials[name] = integrate(model, population, run.inputs[name], True)
    return run


def sources(population: Population) -> list[str]:
    return [path.source for path in population.projections]


def in_steps(current: np.ndarray, model: RateModel) -> np.ndarray:
    """Round a constant current to the nearest multiple; halves go up."""
    if model.encoder != "constant":
        return current
    scaled = current * 2.0**model.fraction_bits
    down = np.floor(scaled)
    return (down + (scaled - down >= 0.5)) / 2.0**model.fraction_bits


def pool(model: RateModel, population: Population, run: RateRun, layer=None) -> np.ndarray:
    """Window by window, what passes a max-pooling of neurons: the spike of the largest key."""
    source = population.projections[0].source
    spikes = run.spikes[source]
    key = KEYS[model.gate](model, source, run)
    layer = layer or model.graph[population.layer]
    n, steps, channels, height, width = spikes.shape
    passed = np.zeros((n, steps, *population.shape))
    (kh, kw), (sh, sw), (ph, pw) = layer.kernel, layer.stride, layer.padding
    dh, dw = layer.dilation
    for oy, ox in np.ndindex(*population.shape[1:]):
        members = [
            (y, x)
            for y in range(oy * sh - ph, oy * sh - ph + kh * dh, dh)
            for x in range(ox * sw - pw, ox * sw - pw + kw * dw, dw)
            if 0 <= y < height and 0 <= x < width
        ]
        best = np.full((n, steps, channels), -np.inf)
        for y, x in members:
            better = key[..., y, x] > best
            best = np.where(better, key[..., y, x], best)
            passed[..., oy, ox] = np.where(better, spikes[..., y, x], passed[..., oy, ox])
    return passed


def _potential_at_start(model: RateModel, name: str) -> np.ndarray:
    return model.initial_potential * spread(model.scales[name], model.populations[name].shape)


def _before(model: RateModel, name: str, run: RateRun) -> np.ndarray:
    after = run.potentials[name]
    first = np.broadcast_to(_potential_at_start(model, name), after[:, :1].shape)
    return np.concatenate([first, after[:, :-1]], axis=1)


def _reached(model: RateModel, name: str, run: RateRun) -> np.ndarray:
    reached = _before(model, name, run) + run.inputs[name]
    if model.potential_floor is None:
        return reached
    floor = model.potential_floor * spread(model.scales[name], model.populations[name].shape)
    return np.maximum(reached, floor)


def _removed(model: RateModel, name: str, run: RateRun) -> np.ndarray:
    lost = _reached(model, name, run) if model.reset == "zero" else model.scales[name]
    if model.reset != "zero":
        lost = spread(lost, model.populations[name].shape)
    return (run.spikes[name] * lost).cumsum(axis=1)


def _since_first(model: RateModel, name: str, run: RateRun) -> np.ndarray:
    return (run.spikes[name].cumsum(axis=1) > 0).cumsum(axis=1)


#: What each gate compares, shape ``(n, steps, channels, height, width)``, from the definitions.
KEYS = {
    "accumulated": lambda *a: a[2].potentials[a[1]] + _removed(*a),
    "previous": _before,
    "post_reset": lambda *a: a[2].potentials[a[1]],
    "pre_reset": _reached,
    "count": lambda *a: a[2].spikes[a[1]].cumsum(axis=1),
    "new_maximum": lambda *a: a[2].spikes[a[1]].cumsum(axis=1) - a[2].spikes[a[1]] / 2,
    "first_spike": _since_first,
    # one that a user may write
    "v_before + 0.25*v_th*spike_count": lambda *a: (
        _before(*a)
        + 0.25
        * spread(a[0].scales[a[1]], a[0].populations[a[1]].shape)
        * a[2].spikes[a[1]].cumsum(axis=1)
    ),
}


def weighted_input(model: RateModel, population: Population, told: dict) -> np.ndarray:
    """What each step adds to the potentials, shape ``(n, steps, *shape)``: W s + b."""
    zeros = {
        path.source_layer: torch.zeros(
            (1, *model.graph.shapes[path.source_layer]), dtype=torch.float64
        )
        for path in population.projections
    }
    total = bias_of(model, population.potential_layer, zeros)
    for path in population.projections:
        frames = np.ascontiguousarray(told[path.source])
        n, steps, *shape = frames.shape
        height = spread(model.scales[height_of(model, population, path)], shape)
        flat = torch.from_numpy((frames * height).reshape(-1, *shape))
        total = total + along(model.graph, path, flat)
    return total.numpy().reshape(n, steps, *population.shape)


def height_of(model: RateModel, population: Population, path) -> str:
    """Population whose scale is the height of the spikes that come along a path."""
    if model.residual != "unequal" or len(population.projections) == 1:
        return path.source
    # in the paper all spikes count alike, with the weights as trained
    return next(
        other.source
        for other in population.projections
        if any(model.graph[layer].arrays for layer in other.layers)
    )


def integrate(model: RateModel, population: Population, current: np.ndarray, spikes: bool):
    """Spikes and potentials of integrate-and-fire neurons, step by step."""
    threshold = spread(model.scales[population.name], population.shape)
    v = np.zeros(current[:, 0].shape)
    if spikes:
        v = v + model.initial_potential * threshold
    told, potentials = np.zeros(current.shape), np.zeros(current.shape)
    for t in range(current.shape[1]):
        u = v + current[:, t]
        if spikes:
            if model.potential_floor is not None:
                u = np.maximum(u, model.potential_floor * threshold)
            # who gets exactly the threshold reaches it, whatever the rounding
            s = 1.0 * (u >= threshold * (1 if model.fraction_bits is not None else 1 - 2**-17))
            v = u - threshold * s if model.reset == "subtract" else u * (1 - s)
            told[:, t] = s
        else:
            v = u
        potentials[:, t] = v
    return told, potentials


def spread(values, shape) -> np.ndarray:
    """Shape one value, or one for each channel, so that it spreads over values of a shape."""
    values = np.asarray(values, np.float64)
    return values.reshape(-1, *[1] * (len(shape) - 1)) if values.ndim else values


def read_out(model: RateModel, run: RateRun) -> np.ndarray:
    """What the class is read from after each step, shape ``(n, steps, classes)``."""
    name = model.output.name
    steps = np.arange(1, model.steps + 1)[:, np.newaxis]
    if model.read_out == "potential":
        return run.potentials[name].reshape(len(run.potentials[name]), model.steps, -1) / steps
    counts = run.spikes[name].cumsum(axis=1) * spread(model.scales[name], model.output.shape)
    return counts.reshape(len(counts), model.steps, -1) / steps
