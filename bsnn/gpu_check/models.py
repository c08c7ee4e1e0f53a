"""Small spiking models in which no sum is rounded.

Weights are multiples of 1/64, scales and steps powers of two, and images have few digits: a sum is
the same in any order, in float32 as well, so that networks on all devices must agree to the last
spike, and a difference is an error.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from bsnn.conversion import CODINGS, SpikingModel
from bsnn.graph import Add, AvgPool2d, Conv2d, Flatten, Graph, Input, Linear, MaxPool2d, ReLU
from bsnn.network import NEURON_MODELS

__all__ = ["cnn", "rate_model", "residual_net", "small_cnn", "ttfs_model"]

# A population's scale lies about there between zero and the largest of its values.
_SHARE = 0.75


def _weights(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return (rng.integers(-40, 64, shape) / 64).astype(np.float32)


def _bias(rng: np.random.Generator, size: int) -> np.ndarray:
    return (rng.integers(-8, 16, size) / 64).astype(np.float32)


def cnn(prefix: str, rng: np.random.Generator) -> Graph:
    """Two convolutions, one of them in groups, a max-pooling, an average pooling, a dense layer."""
    p = prefix
    return Graph(
        [
            Input(name=f"{p}input", shape=(2, 8, 8)),
            Conv2d(name=f"{p}conv1", inputs=(f"{p}input",), weight=_weights(rng, 4, 2, 3, 3),
                   bias=_bias(rng, 4), padding=(1, 1, 1, 1)),
            ReLU(name=f"{p}relu1", inputs=(f"{p}conv1",)),
            MaxPool2d(name=f"{p}pool1", inputs=(f"{p}relu1",), kernel=(3, 2), stride=(2, 2),
                      padding=(1, 0)),
            Conv2d(name=f"{p}conv2", inputs=(f"{p}pool1",), weight=_weights(rng, 6, 2, 2, 2),
                   bias=_bias(rng, 6), groups=2),
            ReLU(name=f"{p}relu2", inputs=(f"{p}conv2",)),
            AvgPool2d(name=f"{p}pool2", inputs=(f"{p}relu2",), kernel=(2, 2), stride=(1, 1)),
            Flatten(name=f"{p}flat", inputs=(f"{p}pool2",)),
            Linear(name=f"{p}fc", inputs=(f"{p}flat",), weight=_weights(rng, 5, 24),
                   bias=_bias(rng, 5)),
        ]
    )  # fmt: skip


def small_cnn(prefix: str, rng: np.random.Generator) -> Graph:
    """A convolution, a max-pooling whose windows overlap, a dense layer; no biases."""
    p = prefix
    return Graph(
        [
            Input(name=f"{p}input", shape=(1, 6, 6)),
            Conv2d(name=f"{p}conv", inputs=(f"{p}input",), weight=_weights(rng, 4, 1, 3, 3)),
            ReLU(name=f"{p}relu", inputs=(f"{p}conv",)),
            MaxPool2d(name=f"{p}pool", inputs=(f"{p}relu",), kernel=(2, 2), stride=(1, 1)),
            Flatten(name=f"{p}flat", inputs=(f"{p}pool",)),
            Linear(name=f"{p}fc", inputs=(f"{p}flat",), weight=_weights(rng, 3, 36)),
        ]
    )


def residual_net(prefix: str, rng: np.random.Generator) -> Graph:
    """A block with an identity as shortcut, and one with a convolution."""
    p = prefix

    def conv(name: str, source: str, *shape: int, **options: Any) -> Conv2d:
        return Conv2d(
            name=f"{p}{name}", inputs=(f"{p}{source}",), weight=_weights(rng, *shape), **options
        )

    def relu(name: str, source: str) -> ReLU:
        return ReLU(name=f"{p}{name}", inputs=(f"{p}{source}",))

    same: dict[str, Any] = {"padding": (1, 1, 1, 1)}
    return Graph(
        [
            Input(name=f"{p}input", shape=(1, 6, 6)),
            conv("stem", "input", 2, 1, 3, 3, bias=_bias(rng, 2), **same),
            relu("relu0", "stem"),
            conv("conv1", "relu0", 2, 2, 3, 3, **same),
            relu("relu1", "conv1"),
            conv("conv2", "relu1", 2, 2, 3, 3, **same),
            Add(name=f"{p}add1", inputs=(f"{p}conv2", f"{p}relu0")),
            relu("relu2", "add1"),
            conv("conv3", "relu2", 3, 2, 3, 3, stride=(2, 2), **same),
            conv("shortcut", "relu2", 3, 2, 1, 1, stride=(2, 2)),
            Add(name=f"{p}add2", inputs=(f"{p}conv3", f"{p}shortcut")),
            relu("relu3", "add2"),
            Flatten(name=f"{p}flat", inputs=(f"{p}relu3",)),
            Linear(name=f"{p}fc", inputs=(f"{p}flat",), weight=_weights(rng, 4, 27)),
        ]
    )


def ttfs_model(
    make: Callable[[str, np.random.Generator], Graph], prefix: str, steps: int = 16, **settings: Any
) -> SpikingModel:
    """Return a model in time-to-first-spike coding; names of its layers begin with `prefix`."""
    graph = make(prefix, np.random.default_rng(1))
    settings.setdefault("read_out", "potential")
    model = CODINGS[NEURON_MODELS["two-stage"].coding](
        graph=graph, steps=steps, scales={}, norm="powers of two", calibration={}, **settings
    )
    return dataclasses.replace(model, scales=_scales(model))


def rate_model(
    make: Callable[[str, np.random.Generator], Graph],
    prefix: str,
    steps: int = 24,
    *,
    by_channel: bool = False,
    **settings: Any,
) -> SpikingModel:
    """Return a model in rate coding; `by_channel` gives the first convolution many thresholds."""
    graph = make(prefix, np.random.default_rng(2))
    settings.setdefault("read_out", "potential")
    model = CODINGS[NEURON_MODELS["if"].coding](
        graph=graph, steps=steps, scales={}, norm="powers of two", calibration={}, **settings
    )
    scales = _scales(model)
    if by_channel:
        first = next(name for name, p in model.populations.items() if p.role == "neurons")
        factors = 2.0 ** (np.arange(model.populations[first].shape[0]) % 3 - 1)
        scales[first] = scales[first] * factors
        for name, population in model.populations.items():
            if population.role == "max_pool" and population.projections[0].source == first:
                scales[name] = scales[first]
    return dataclasses.replace(model, scales=scales)


def _scales(model: SpikingModel) -> dict[str, Any]:
    """Return a power of two for each population; the input's is one."""
    graph = model.spiking_graph
    rng = np.random.default_rng(3)
    images = (rng.integers(0, 17, (20, *graph.input.shape)) / 16).astype(np.float32)
    values = graph.activations(images)
    scales: dict[str, Any] = {}
    for name, population in model.populations.items():
        if population.role == "input":
            scales[name] = 1.0
        elif population.role == "max_pool":
            scales[name] = scales[population.projections[0].source]
        else:
            largest = float(np.abs(values[population.layer]).max())
            scales[name] = 2.0 ** math.floor(math.log2(_SHARE * largest))
    return scales
