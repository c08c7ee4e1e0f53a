"""Values that the pixels of images may have, and messages about others."""

from __future__ import annotations

import numpy as np

from bsnn.errors import InputError
from bsnn.graph import are_counts

__all__ = ["FAR", "advice", "is_within", "refusal"]

# A pixel that lies on a limit may miss it by a last bit: by this much of the largest value.
_ROUNDING = 1e-6

#: Values that were divided by the spread of the training images, or by the largest, do not differ
#: by this factor from those of other images; pixels that were not divided do.
FAR = 16

# The whitest pixel of 8 and of 16 bits.
_WHITES = (255, 65535)


def is_within(low: float, high: float, limits: tuple[float, float]) -> bool:
    """Say whether values from the one to the other lie within limits, but for rounding."""
    slack = _ROUNDING * max(map(abs, limits))
    return limits[0] - slack <= low and high <= limits[1] + slack


def refusal(
    extremes: np.ndarray, expected: tuple[float, float], what: str = "images"
) -> InputError:
    """Return the error for images with values that a network does not take.

    Parameters
    ----------
    extremes : numpy.ndarray
        The lowest and highest values of the images' pixels, in the images' own type.
    expected : (float, float)
        The lowest and highest value that images should have.
    what : str
        What they are, for the message.
    """
    low, high = float(extremes.min()), float(extremes.max())
    return InputError(
        f"The {what} have values from {low:g} to {high:g}; the network takes values from "
        f"{expected[0]:g} to {expected[1]:g}. {advice(extremes, expected)}"
    )


def advice(extremes: np.ndarray, expected: tuple[float, float]) -> str:
    """Return what is probably wrong with images, and what to do about it."""
    low, high = float(extremes.min()), float(extremes.max())
    if expected[0] < 0:
        return "Normalise them as those that it was calibrated with."
    if low < 0:
        return (
            "Give plain pixels (divided by 255); if the network was trained on normalised ones, "
            "name mean and std when it is traced, which then normalises them."
        )
    divisor = next((value for value in _WHITES if high <= value), None)
    if expected[1] == 1 and divisor and (are_counts(extremes) or high > FAR):
        return f"They were not divided by {divisor}: divide them by {divisor}."
    return "Were they normalised twice, or not divided by 255?"
