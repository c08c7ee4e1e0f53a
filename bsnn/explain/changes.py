"""Changes of a conversion, by name, and the causes of error that they answer."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from bsnn.conversion import SpikingModel
from bsnn.graph import Flatten, Graph, Linear
from bsnn.registry import Registry

__all__ = ["CHANGES", "Change", "Changed", "changed_field"]

# How many times the steps: simulations of many steps take long.
_FURTHER_STEPS, _FEWER_FURTHER_STEPS, _MANY_STEPS = 4, 2, 500


@dataclasses.dataclass(frozen=True)
class Changed:
    """A network with one thing changed.

    Attributes
    ----------
    model : SpikingModel
        The changed network.
    short, text : str
        What was changed, in a few words and with how to do it.
    """

    model: SpikingModel
    short: str
    text: str


@dataclasses.dataclass(frozen=True)
class Change:
    """A way to change a conversion.

    Attributes
    ----------
    name : str
        As in `CHANGES`.
    causes : tuple of str
        The causes that it answers.
    make : callable
        ``make(model, images)`` returns a `Changed`, or None if there is nothing to change.
    """

    name: str
    causes: tuple[str, ...]
    make: Callable[[Any, np.ndarray], Changed | None]


def _layout(model: SpikingModel, images: np.ndarray) -> Changed | None:
    """Take dense layers after a flattening as ordered (row, column, channel)."""
    graph, layers, names = model.graph, [], []
    for layer in graph:
        before = graph[layer.inputs[0]] if layer.inputs else None
        if isinstance(layer, Linear) and isinstance(before, Flatten):
            shape = graph.shapes[before.inputs[0]]
            if len(shape) == 3 and shape[0] > 1 and shape[1] * shape[2] > 1:
                channels, height, width = shape
                weight = layer.weight.reshape(-1, height, width, channels).transpose(0, 3, 1, 2)
                layer = dataclasses.replace(layer, weight=weight.reshape(layer.weight.shape))
                names.append(layer.name)
        layers.append(layer)
    if not names:
        return None
    return Changed(
        dataclasses.replace(model, graph=Graph(layers, graph.output)),
        "layout after the flattening",
        f"The weights of {' and '.join(names)} are ordered (row, column, channel): order them "
        "(channel, row, column) and convert again",
    )


def _steps(model: SpikingModel, images: np.ndarray) -> Changed | None:
    further = _FURTHER_STEPS if model.steps < _MANY_STEPS else _FEWER_FURTHER_STEPS
    steps = further * model.steps
    return Changed(
        dataclasses.replace(model, steps=steps),
        f"{steps} steps",
        f"{steps} steps in place of {model.steps} (--steps {steps})",
    )


def changed_field(
    name: str, value: object, short: str, option: str
) -> Callable[..., Changed | None]:
    """Return the ``make`` of a change of one field of the model.

    Parameters
    ----------
    name, value
        The field, and what it is changed to.
    short, option : str
        What that is, in a few words, and how to do it.
    """

    def make(model: SpikingModel, images: np.ndarray) -> Changed | None:
        return Changed(
            dataclasses.replace(model, **{name: value}),
            short,
            f"{short[0].upper()}{short[1:]} ({option})",
        )

    return make


#: Changes by name.
CHANGES: Registry[Change] = Registry(
    "change",
    (
        Change("layout", ("conversion",), _layout),
        Change("steps", ("quantisation", "transient", "start", "input", "coding"), _steps),
    ),
)
