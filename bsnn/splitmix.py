"""Random numbers that are a function of a seed, a stream and a number.

Nothing is drawn in turn: which number a neuron gets depends neither on the target that computes it,
nor on how images are shared out among runs and processes.
"""

from __future__ import annotations

import numpy as np

__all__ = ["check_seed", "splitmix_uniform"]

GAMMA = np.uint64(0x9E3779B97F4A7C15)
MULTIPLIERS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
SHIFTS = (np.uint64(30), np.uint64(27), np.uint64(31))


def check_seed(seed: int) -> None:
    """Raise `ValueError` for a seed that is not a whole number from 0 to below 2**53."""
    if not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**53:
        raise ValueError(f"the seed is {seed!r}; it is a whole number from 0 to below 2**53")


def splitmix_uniform(seed, stream, number) -> np.ndarray:
    """Return random numbers in [0, 1), of 53 bits each.

    The generator is SplitMix64: each pair of a seed and a stream has a starting point of its own,
    from which any number of its sequence is reached at once.

    Parameters
    ----------
    seed, stream, number : int or array
        Whole numbers of at least 0 and below 2**53, of any type. Arrays are broadcast.

    Returns
    -------
    array of float64

    References
    ----------
    Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
    """
    seed, stream, number = (np.asarray(x).astype(np.uint64) for x in (seed, stream, number))
    one = np.uint64(1)
    # modulo 2**64 on purpose, of which numpy warns for single numbers
    with np.errstate(over="ignore"):
        state = _mix64(_mix64(seed + GAMMA) + (stream + one) * GAMMA)
        value = _mix64(state + (number + one) * GAMMA)
    return (value >> np.uint64(11)) * 2.0**-53


def _mix64(z: np.ndarray) -> np.ndarray:
    first, second, last = SHIFTS
    z = (z ^ (z >> first)) * MULTIPLIERS[0]
    z = (z ^ (z >> second)) * MULTIPLIERS[1]
    return z ^ (z >> last)
