"""A rate-coded network in PyTorch, simulated step by step on a batch of images.

What one writes without Brian2 and without events: in every step each layer is applied to the
spikes of that step, whether there are many or none. Any network whose paths PyTorch has layers for,
chain or residual; max-poolings gated by potentials are not among them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.nn import functional

from bsnn.conversion import Population, RateModel
from bsnn.conversion.populations import per_channel
from bsnn.conversion.ties import TIE
from bsnn.errors import BuildError
from bsnn.graph import (
    AdaptiveAvgPool2d,
    Add,
    AvgPool2d,
    Conv2d,
    Flatten,
    Layer,
    Linear,
    Normalise,
    PadChannels,
)

__all__ = ["TorchRate"]


class TorchRate:
    """A loop over time: every layer, every neuron, every step.

    Parameters
    ----------
    model : RateModel
        Encoder ``poisson`` or ``regular``; one scale for each layer.
    device : str
        Of PyTorch, such as ``"cpu"`` or ``"cuda"``.
    dtype : torch.dtype
        Of potentials and weights.

    Raises
    ------
    BuildError
        The model is another kind of network.
    """

    def __init__(
        self, model: RateModel, device: str = "cpu", dtype: torch.dtype = torch.float32
    ) -> None:
        self._model = model
        self._options = {"device": torch.device(device), "dtype": dtype}
        if model.encoder not in ("poisson", "regular"):
            raise BuildError(f"The time-stepped network has no encoder {model.encoder!r}.")
        self._layers = [self._neurons(p) for p in model.populations.values() if p.role != "input"]

    def _neurons(self, population: Population) -> dict[str, Any]:
        model = self._model
        if population.role == "max_pool":
            raise BuildError("The time-stepped network has no max-pooling gated by potentials.")
        paths = []
        drive = model.projections[population.name]
        for path, factor in ((linear.path, linear.factor) for linear in drive.maps):
            if np.ndim(factor):
                raise BuildError("The time-stepped network has one scale for each layer.")
            steps = [self._apply(model.spiking_graph[name]) for name in path.layers]
            paths.append((path.source, float(factor), [step for step in steps if step is not None]))
        spikes = model.spikes(population.name)
        bias, threshold = drive.bias, per_channel(drive.threshold, population.shape)
        tie = TIE if model.fraction_bits is None else 0
        return {
            "name": population.name,
            "paths": paths,
            "bias": self._tensor(bias) if bias.any() else None,
            "threshold": float(threshold) if spikes else None,
            "reached": float(threshold) * (1 - tie) if spikes else None,
            "start": model.initial_potential * float(threshold) if spikes else 0.0,
            "shape": population.shape,
        }

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(np.ascontiguousarray(array), **self._options)

    def _apply(self, layer: Layer):
        """Return a linear layer without its bias as a function; None if it does nothing."""
        if isinstance(layer, Conv2d):
            weight = self._tensor(layer.weight)
            top, bottom, left, right = layer.padding
            # what PyTorch's convolutions do not pad themselves
            further = (0, right - left, 0, bottom - top)
            if min(further) < 0:
                raise BuildError(f"The time-stepped network has no padding {layer.padding}.")
            return lambda x: functional.conv2d(
                functional.pad(x, further) if any(further) else x, weight, None, layer.stride,
                (top, left), layer.dilation, layer.groups,
            )  # fmt: skip
        if isinstance(layer, Linear):
            weight = self._tensor(layer.weight)
            return lambda x: functional.linear(x, weight)
        if isinstance(layer, AvgPool2d):
            return lambda x: functional.avg_pool2d(
                x, layer.kernel, layer.stride, layer.padding, layer.ceil_mode,
                layer.count_include_pad,
            )  # fmt: skip
        if isinstance(layer, AdaptiveAvgPool2d):
            return lambda x: functional.adaptive_avg_pool2d(x, layer.output_size)
        if isinstance(layer, Normalise):
            inverse = self._tensor(1 / layer.std)
            return lambda x: x * inverse
        if isinstance(layer, PadChannels):
            sides = (0, 0, 0, 0, layer.before, layer.after)
            return lambda x: functional.pad(x, sides)
        if isinstance(layer, Flatten):
            return lambda x: x.flatten(1)
        if isinstance(layer, Add):
            return None
        raise BuildError(f"The time-stepped network has no rule for {layer.name!r} ({layer.kind}).")

    @torch.inference_mode()
    def run(self, images: np.ndarray, steps: int) -> np.ndarray:
        """Return what the last layer has told: its spikes, counted, or its potentials."""
        model = self._model
        values = self._tensor(model.encode(images))
        size, sign = values.abs(), values.sign()
        potentials = [
            torch.full((len(images), *layer["shape"]), layer["start"], **self._options)
            for layer in self._layers
        ]
        subtract = model.reset == "subtract"
        count = torch.zeros((), **self._options)
        for step in range(steps):
            if model.encoder == "poisson":
                told = torch.rand_like(size) < size
            else:
                told = torch.floor(size * (step + 1)) > torch.floor(size * step)
            spikes = {model.input.name: told * sign}
            for layer, v in zip(self._layers, potentials, strict=True):
                for source, factor, path in layer["paths"]:
                    x = spikes[source]
                    for apply in path:
                        x = apply(x)
                    v.add_(x, alpha=factor)
                if layer["bias"] is not None:
                    v.add_(layer["bias"])
                if layer["threshold"] is None:
                    continue
                if model.potential_floor is not None:
                    v.clamp_(min=model.potential_floor * layer["threshold"])
                fired = v >= layer["reached"]
                spikes[layer["name"]] = fired.to(v.dtype)
                if subtract:
                    v.sub_(spikes[layer["name"]], alpha=layer["threshold"])
                else:
                    v.masked_fill_(fired, 0)
            if self._layers[-1]["threshold"] is not None:
                count = count + spikes[model.output.name]
        told = potentials[-1] if self._layers[-1]["threshold"] is None else count
        return told.reshape(len(images), -1).cpu().numpy()
