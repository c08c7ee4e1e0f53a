"""The oracle: the two-stage neuron simulated step by step with numpy and torch, without Brian2.

Written from the paper's equations (PyTorch does the linear maps), so that neither bsnn's Brian2
code, nor its connectivity, nor its closed form, nor its forward pass takes part.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch.nn import functional

from bsnn.conversion import SpikingModel
from bsnn.graph import Add, AvgPool2d, Conv2d, Flatten, Linear, Normalise, PadChannels


@dataclasses.dataclass
class ReferenceRun:
    """Levels (steps left in the window at the spike; 0 for none) and read-out potentials."""

    levels: dict[str, np.ndarray]
    potentials: np.ndarray


def linear(layer, x: torch.Tensor, with_bias: bool) -> torch.Tensor:
    """Apply a linear layer in float64, with PyTorch's own operations."""
    arrays = {name: torch.from_numpy(a).double() for name, a in layer.arrays.items()}
    bias = arrays.get("bias") if with_bias else None
    if isinstance(layer, Conv2d):
        top, bottom, left, right = layer.padding
        padded = functional.pad(x, (left, right, top, bottom))
        return functional.conv2d(
            padded, arrays["weight"], bias, layer.stride, 0, layer.dilation, layer.groups
        )
    if isinstance(layer, Linear):
        return functional.linear(x, arrays["weight"], bias)
    if isinstance(layer, AvgPool2d):
        return functional.avg_pool2d(
            x, layer.kernel, layer.stride, layer.padding, layer.ceil_mode,
            layer.count_include_pad, layer.divisor or None,
        )  # fmt: skip
    if isinstance(layer, Flatten):
        return torch.flatten(x, 1)
    if isinstance(layer, Normalise):
        return (x - arrays["mean"] if with_bias else x) / arrays["std"]
    if isinstance(layer, PadChannels):
        return functional.pad(x, (0, 0, 0, 0, layer.before, layer.after))
    if layer.kind == "adaptive_avg_pool2d":
        return functional.adaptive_avg_pool2d(x, layer.output_size)
    raise NotImplementedError(layer.kind)


def along(graph, path, x: torch.Tensor) -> torch.Tensor:
    """Carry values along a path of linear layers, biases left out."""
    for name in path.layers:
        if not isinstance(graph[name], Add):
            x = linear(graph[name], x, with_bias=False)
    return x


def bias_of(model: SpikingModel, name: str, known: dict) -> torch.Tensor:
    """What a layer gives when all spiking values before it are zero, biases included."""
    if name in known:
        return known[name]
    layer = model.graph[name]
    inputs = [bias_of(model, source, known) for source in layer.inputs]
    return inputs[0] + inputs[1] if isinstance(layer, Add) else linear(layer, inputs[0], True)


def simulate(model: SpikingModel, images: np.ndarray) -> ReferenceRun:
    """Simulate a batch; time runs in an explicit loop over the steps of each window."""
    steps = model.steps
    # a pixel that misses a level by its last bit only counts as that level
    level = images.astype(np.float64) * steps / model.scales[model.input.name] + 1e-4
    level = np.clip(np.floor(level + (0.5 if model.rounding else 0)), 0, steps)
    levels = {model.input.name: level}
    potentials = np.empty(0)
    for name, population in model.populations.items():
        if population.role == "input":
            continue
        frames = {
            path.source: [
                torch.from_numpy((levels[path.source] == steps - step).astype(np.float64))
                for step in range(steps)
            ]
            for path in population.projections
        }
        if population.role == "max_pool":
            levels[name] = _first_spikes(model, population, frames, steps)
            continue
        # who gets exactly the threshold reaches it, whatever the rounding
        threshold = model.scales[name] * (1 - 2**-17)
        zeros = {
            path.source_layer: torch.zeros(
                (1, *model.graph.shapes[path.source_layer]), dtype=torch.float64
            )
            for path in population.projections
        }
        u = bias_of(model, population.potential_layer, zeros).expand(
            len(images), *population.shape
        ).clone()  # fmt: skip
        spikes = population.role == "neurons" or model.read_out == "first-spike"
        charge = model.scales[name] / (2 * steps) if model.rounding and spikes else 0.0
        u += charge
        slope = torch.zeros_like(u)
        for step in range(steps):
            # eq. 2: a spike changes the slope by its weight, until the end of the stage
            for path in population.projections:
                scale = model.scales[path.source]
                slope += along(model.graph, path, frames[path.source][step] * scale)
            u += slope / steps
        if population.role == "read_out":
            potentials = (u - charge).numpy()
        if spikes:
            fired = torch.zeros_like(u, dtype=torch.bool)
            level_of = torch.zeros_like(u)
            for step in range(steps):
                now = (u >= threshold) & ~fired
                level_of[now] = steps - step
                fired |= now
                # eq. 4: a constant current that reaches the threshold from zero in one stage
                u += threshold / steps
            levels[name] = level_of.numpy()
    return ReferenceRun(levels, potentials)


def _first_spikes(model, population, frames, steps) -> np.ndarray:
    layer = model.graph[population.layer]
    (path,) = population.projections
    passed = None
    for step in range(steps):
        any_spike = functional.max_pool2d(
            frames[path.source][step], layer.kernel, layer.stride, layer.padding, layer.dilation,
            layer.ceil_mode,
        )  # fmt: skip
        if passed is None:
            passed = torch.zeros_like(any_spike)
        passed = torch.where((passed == 0) & (any_spike > 0), float(steps - step), passed)
    return passed.numpy()
