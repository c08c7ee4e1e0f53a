"""Layers that exist only until a network is converted: they go into others, or are left out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from bsnn.graph import Layer
from bsnn.graph.layers import Shape

__all__ = ["FINAL", "NOT_LAST", "Affine", "Clip", "Final", "Floor"]


#: Why a function of the results has no place elsewhere.
NOT_LAST = (
    "only behind the last layer, over its logits, can it be left out. Spiking neurons compute "
    "max(0, x): train the network with ReLU."
)


class _SameShape(Layer):
    def output_shape(self, *inputs: Shape) -> Shape:
        return inputs[0]


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Affine(_SameShape):
    """``scale * x + shift``: a BatchNorm, a normalisation, a factor.

    Attributes
    ----------
    scale, shift : numpy.ndarray
        float64; one number, ``(channels, 1, 1)``, or of the shape of the values.
    """

    scale: np.ndarray
    shift: np.ndarray
    kind = "affine"

    @property
    def is_factor(self) -> bool:
        """Say whether it is one positive factor."""
        return not self.scale.ndim and bool(self.scale > 0) and not np.any(self.shift)


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Clip(_SameShape):
    """``min(max(x, low), high)``; from zero to infinity it is a rectification."""

    low: float
    high: float
    kind = "clip"


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Floor(_SameShape):
    """``floor(x + offset)``, and where it stands, should nothing be found for it."""

    offset: float
    place_: Any
    kind = "floor"


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Final(_SameShape):
    """A function of the results, a name in `FINAL`, and where it stands."""

    function: str
    place_: Any
    kind = "final"


def _softmax(x: np.ndarray) -> np.ndarray:
    powers = np.exp(x - x.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def _log_softmax(x: np.ndarray) -> np.ndarray:
    x = x - x.max(axis=1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=1, keepdims=True))


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return np.where(x >= 0, 1 / (1 + np.exp(-np.abs(x))), 1 - 1 / (1 + np.exp(-np.abs(x))))


#: Functions that are left out behind the last layer: they do not change which value is largest.
FINAL: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "softmax": _softmax,
    "log_softmax": _log_softmax,
    "sigmoid": _sigmoid,
}
