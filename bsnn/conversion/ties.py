"""Potentials that reach the threshold exactly, but for the rounding of floating-point numbers."""

from __future__ import annotations

__all__ = ["TIE"]

#: A neuron spikes whose potential is short of the threshold by no more than this share of it.
#: Scales from weights, or from what neurons receive (Spike-Norm), make neurons that get exactly
#: their threshold, added up in another order: in float32 a sum of thousands of terms is off by a
#: millionth or two. Networks in fixed point have nothing to round.
TIE = 2.0**-17
