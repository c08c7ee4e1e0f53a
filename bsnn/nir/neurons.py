"""NIR's neurons and bsnn's: what a step is, and what a spike adds to a potential.

bsnn counts steps. In each, a neuron leaks (if it does), gets its weighted input at once, is
compared with its threshold and reset:

    v <- v * exp(-dt / tau) + sum(w s) + b;   spike if v >= threshold

NIR writes differential equations, with an input of ``I = sum(w s) + b`` all through a step:

    IF: dv/dt = R I        LIF: tau dv/dt = (v_leak - v) + R I

The charge of a step, ``I dt``, moves a potential by ``R dt`` (IF) or ``R dt / tau`` (LIF) for each
unit of `I`, if it arrives at once. This module calls that number the *gain*. It is one, so that
weights and thresholds are the same on both sides, for

    IF: R = 1 / dt         LIF: R = tau / dt

which is also what simulators of NIR with a fixed step compute. bsnn's neuron is then NIR's
equation, solved exactly, for an input that arrives as one pulse at the end of each step.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import nir
import numpy as np

from bsnn.errors import ConversionError, SettingsError
from bsnn.registry import Registry

__all__ = ["GAINS", "INTEGRATORS", "NEURONS", "SPIKING", "Neuron", "check_neuron", "refuse_leak"]


@dataclasses.dataclass(frozen=True)
class Neuron:
    """One kind of neuron that bsnn has and NIR too.

    Attributes
    ----------
    name : str
        As in `NEURONS`.
    leaks : bool
        Whether it has a time constant.
    dt : float
        Length of a step unless told otherwise.
    node : callable
        ``node(threshold, dt, tau, metadata)`` makes NIR's, from an array of thresholds.
    """

    name: str
    leaks: bool
    dt: float
    node: Callable[[np.ndarray, float, float | None, dict[str, Any]], nir.NIRNode]


def _if(threshold: np.ndarray, dt: float, tau: float | None, metadata: dict) -> nir.IF:
    return nir.IF(
        r=np.full_like(threshold, 1 / dt),
        v_threshold=threshold,
        v_reset=np.zeros_like(threshold),
        metadata=metadata,
    )


def _lif(threshold: np.ndarray, dt: float, tau: float | None, metadata: dict) -> nir.LIF:
    assert tau is not None
    return nir.LIF(
        tau=np.full_like(threshold, tau),
        r=np.full_like(threshold, tau / dt),
        v_leak=np.zeros_like(threshold),
        v_threshold=threshold,
        v_reset=np.zeros_like(threshold),
        metadata=metadata,
    )


#: Neurons by name. Time is counted in steps where nothing depends on its unit.
NEURONS = Registry("neuron", (Neuron("if", False, 1.0, _if), Neuron("lif", True, 1e-3, _lif)))

#: NIR's neurons that spike, by the name that bsnn has for them.
SPIKING: dict[type[nir.NIRNode], str] = {nir.IF: "if", nir.LIF: "lif"}

#: NIR's neurons that do not spike: a read-out by potential.
INTEGRATORS: tuple[type[nir.NIRNode], ...] = (nir.I, nir.LI)

#: By what a unit of input in a step of length dt moves a potential.
GAINS: dict[type[nir.NIRNode], Callable[[Any, float], np.ndarray]] = {
    nir.IF: lambda node, dt: np.asarray(node.r) * dt,
    nir.I: lambda node, dt: np.asarray(node.r) * dt,
    nir.LIF: lambda node, dt: np.asarray(node.r) * dt / np.asarray(node.tau),
    nir.LI: lambda node, dt: np.asarray(node.r) * dt / np.asarray(node.tau),
}


def check_neuron(name: str, tau: float | None, dt: float | None) -> tuple[Neuron, float]:
    """Return a kind of neuron and the length of a step; refuse times that do not fit it."""
    neuron = NEURONS[name]
    if neuron.leaks != (tau is not None):
        raise SettingsError(
            f"The neuron {name!r} needs a time constant: tau=0.02, in seconds."
            if neuron.leaks
            else f"tau is {tau!r}, but the neuron {name!r} does not leak. Ask for neuron='lif'."
        )
    step = neuron.dt if dt is None else dt
    for what, value in (("tau", tau), ("dt", step)):
        if value is not None and not (math.isfinite(value) and value > 0):
            raise SettingsError(f"{what} is {value!r}; a positive time is needed.")
    return neuron, step


def refuse_leak(name: str, node: Any) -> None:
    """Refuse neurons that leak to another potential than zero."""
    if np.any(node.v_leak):
        raise ConversionError(
            f"The node {name!r} ({type(node).__name__}) leaks to v_leak, which is not 0. bsnn's "
            "neurons leak to zero: subtract v_leak from v_threshold and v_reset, and set it to 0."
        )
