"""The pooling block in whole numbers: what hardware with fixed-point potentials has to answer."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

__all__ = ["integer_pool", "quantise"]


def quantise(values: np.ndarray, bits: int, fraction_bits: int) -> tuple[np.ndarray, int]:
    """Bring values to signed fixed point: rounded to nearest, and saturated.

    Parameters
    ----------
    values : numpy.ndarray
        Real numbers.
    bits : int
        Width of a number, its sign included.
    fraction_bits : int
        How many of them stand after the binary point.

    Returns
    -------
    numbers : numpy.ndarray
        int32; a number stands for itself divided by ``2**fraction_bits``.
    overflows : int
        How many values were beyond the range.
    """
    steps = np.rint(values * 2.0**fraction_bits)
    least, most = -(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1
    overflows = int(((steps < least) | (steps > most)).sum())
    return np.clip(steps, least, most).astype(np.int32), overflows


def integer_pool(
    potentials: np.ndarray,
    spikes: np.ndarray,
    window: tuple[int, int],
    stride: tuple[int, int],
) -> tuple[np.ndarray, np.ndarray]:
    """Return what the pooling block answers, bit for bit.

    Parameters
    ----------
    potentials : numpy.ndarray
        Whole numbers, shape ``(frames, height, width, channels)``.
    spikes : numpy.ndarray
        0 or 1, of the same shape.
    window, stride : (int, int)
        Vertical and horizontal.

    Returns
    -------
    passed : numpy.ndarray
        uint8, shape ``(frames, rows, columns, channels)``: the spike of the neuron with the largest
        potential of each window; of equal ones the first, row by row.
    winner : numpy.ndarray
        uint16, its place in the window, row by row.
    """
    axes: Any = (1, 2)
    keys, told = (
        sliding_window_view(values, window, axis=axes)[:, :: stride[0], :: stride[1]]
        for values in (potentials, spikes)
    )
    flat = (*keys.shape[:4], -1)
    winner = keys.reshape(flat).argmax(axis=-1)
    passed = np.take_along_axis(told.reshape(flat), winner[..., np.newaxis], axis=-1)[..., 0]
    return passed.astype(np.uint8), winner.astype(np.uint16)
