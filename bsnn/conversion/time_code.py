"""The code of time to first spike: values as spike times within a window of steps.

A value ``x`` in ``[0, scale]`` is sent by one spike, the earlier the larger
(López-Randulfe et al. 2022, eq. 1). In a window of N steps a spike at step k means
``scale * (N - k) / N``; the *level* ``N - k`` runs from N (at once) to 1, and 0 is no spike.
"""

from __future__ import annotations

import numpy as np

from bsnn.conversion.ties import TIE

__all__ = ["decode", "levels", "pixel_levels", "reached_scale", "rounding_charge"]

# In steps. Pixels such as 77/255 are not exact in binary, not even if they lie on a level.
_PIXEL_TOLERANCE = 1e-4


def rounding_charge(scale: float, steps: int) -> float:
    """Return the initial potential that makes spike times round instead of being floored.

    Half a step's charge: a potential is then coded by the nearest level.
    """
    return scale / (2 * steps)


def reached_scale(scale: float) -> float:
    """Return from which potential on a neuron spikes at once, with the threshold `scale`."""
    return scale * (1 - TIE)


def levels(values: np.ndarray, scale: float, steps: int, rounding: bool) -> np.ndarray:
    """Return the level at which each value is coded.

    Parameters
    ----------
    values : numpy.ndarray
        Any shape. Negative values are coded like zero.
    scale : float
        The value that spikes at once; larger ones are clipped to it.
    steps : int
        Steps in a window.
    rounding : bool
        Round to the nearest level; otherwise to the level below, as a neuron without initial
        charge does. A value that reaches a level but for rounding errors (`bsnn.conversion.ties`)
        has that level.

    Returns
    -------
    numpy.ndarray
        Of the values' type, whole numbers from 0 to `steps`.
    """
    levels_per_unit = steps / reached_scale(scale)
    charge = rounding_charge(scale, steps) * levels_per_unit if rounding else 0.0
    return _floored(values, levels_per_unit, charge, steps)


def pixel_levels(pixels: np.ndarray, scale: float, steps: int, rounding: bool) -> np.ndarray:
    """Return the level at which each pixel enters the network.

    As `levels`, but a pixel that is less than a ten-thousandth of a step below a level counts as
    that level: pixels are measured and not integrated, and one that lies on the grid of steps must
    not fall to the level below by the rounding of its last bit.
    """
    tolerance = pixels.dtype.type(_PIXEL_TOLERANCE * scale / steps)
    return _floored(pixels + tolerance, steps / scale, 0.5 if rounding else 0.0, steps)


def _floored(values: np.ndarray, levels_per_unit: float, charge: float, steps: int) -> np.ndarray:
    kind = values.dtype.type
    return np.clip(np.floor(values * kind(levels_per_unit) + kind(charge)), 0, steps)


def decode(level: np.ndarray, scale: float, steps: int) -> np.ndarray:
    """Return the values that levels stand for, in the type of `level`."""
    return level * level.dtype.type(scale / steps)
