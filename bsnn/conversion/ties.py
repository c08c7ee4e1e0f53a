"""Potentials that reach the threshold exactly, but for the rounding of floating-point numbers."""

from __future__ import annotations

__all__ = ["TIE", "tie"]

#: A neuron spikes whose potential is short of the threshold by no more than this share of it.
#: Scales from weights, or from what neurons receive (Spike-Norm), make neurons that get exactly
#: their threshold, added up in another order: in float32 a sum of thousands of terms is off by a
#: millionth or two.
TIE = 2.0**-17


def tie(fraction_bits: int | None) -> float:
    """Return `TIE`, or 0 for a network in fixed point, which has nothing to round."""
    return TIE if fraction_bits is None else 0.0
