"""Encoders, by which an image enters a rate-coded network.

An encoder turns a value, a pixel divided by the input's scale, into what the input emits in each
step. Encoders are in a registry by name; `bsnn.network.encoders` has their Brian2 equations, which
emit the same.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from bsnn.registry import Registry
from bsnn.splitmix import splitmix_uniform

__all__ = ["ENCODERS", "Encoder"]


@dataclasses.dataclass(frozen=True)
class Encoder:
    """One way to encode values in time.

    Attributes
    ----------
    name : str
        As in `ENCODERS`.
    description : str
        What it does, in a line.
    spikes : bool
        Whether it encodes values in spikes, at most one a step, so that no value may be above one.
    encode : callable
        ``encode(values, step, seed, streams)`` returns what the input emits in a step: ``values``
        of shape ``(n, *shape)`` in ``[-1, 1]``, ``step`` counted from the image's first,
        ``streams`` a whole number for each image; returns spikes with their sign, or currents.
    """

    name: str
    description: str
    spikes: bool
    encode: Callable[[np.ndarray, int, int, np.ndarray], np.ndarray]


def _poisson(values: np.ndarray, step: int, seed: int, streams: np.ndarray) -> np.ndarray:
    size = values[0].size
    # the neurons' own order (row, column, channel) numbers the random numbers of a step
    order = np.arange(size)
    if values.ndim == 4:
        channels, height, width = values.shape[1:]
        order = order.reshape(height, width, channels).transpose(2, 0, 1).ravel()
    number = step * size + order
    noise = splitmix_uniform(seed, np.asarray(streams)[:, np.newaxis], number[np.newaxis])
    spike = noise.reshape(values.shape) < np.abs(values)
    return np.sign(values) * spike


def _regular(values: np.ndarray, step: int, seed: int, streams: np.ndarray) -> np.ndarray:
    size = np.abs(values)
    return np.sign(values) * (np.floor(size * (step + 1)) > np.floor(size * step))


def _constant(values: np.ndarray, step: int, seed: int, streams: np.ndarray) -> np.ndarray:
    return values


#: The encoders by name.
ENCODERS: Registry[Encoder] = Registry(
    "encoder",
    (
        Encoder(
            "poisson",
            "in each step a spike with the probability of the value's size, of the value's sign",
            True,
            _poisson,
        ),
        Encoder("regular", "spikes of the value's sign at even intervals", True, _regular),
        Encoder("constant", "a constant current, without spikes", False, _constant),
    ),
)
