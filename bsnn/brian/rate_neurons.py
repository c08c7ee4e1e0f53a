"""Equations of the integrate-and-fire neuron, as Brian2 strings.

In each step the weighted spikes of the layer before are added to ``v`` as they arrive; then the
neuron adds its bias, spikes if ``v`` has reached ``v_th``, and is reset, before anything else
arrives: no input is lost in the step of a spike. Potentials are in the units that the model's
balance says (`bsnn.conversion.RateModel.unit`).
"""

from __future__ import annotations

import dataclasses

import numpy as np

from bsnn.conversion import Population, RateModel
from bsnn.conversion.gates import gate_quantities
from bsnn.conversion.rate_dynamics import pools_of

__all__ = ["RATE_FORMS", "RESET_STATEMENTS", "IfEquations", "if_equations"]

#: Forms of the neuron: ``one-pass`` does update, threshold and reset of a neuron in one go,
#: ``neuron-group`` is plain Brian2. Both tell the same spikes.
RATE_FORMS = ("one-pass", "neuron-group")

#: What a spike does to the potential, by the name of the reset.
RESET_STATEMENTS = {"subtract": "v -= v_th", "zero": "v = 0"}

# By how much that lowers it.
_REMOVED = {"subtract": "v_th", "zero": "v"}


@dataclasses.dataclass(frozen=True)
class IfEquations:
    """What the neurons of a population are made of.

    Attributes
    ----------
    model : str
        Equations.
    before_input : str
        Statements of a step, before spikes arrive; may be empty.
    update : str
        Statements of a step, after spikes have arrived; may be empty.
    threshold, reset : str
        Condition and statements; empty for a read-out that does not spike.
    at_start : str
        Statements in the first step of an image, before spikes arrive.
    """

    model: str
    before_input: str
    update: str
    threshold: str
    reset: str
    at_start: str


def if_equations(model: RateModel, population: Population, bias: np.ndarray) -> IfEquations:
    """Return the equations of a population: only what it needs has a variable.

    Parameters
    ----------
    model : RateModel
        The network.
    population : Population
        Neurons, or the read-out.
    bias : numpy.ndarray
        Their currents without input; if all are zero there is no variable for them.
    """
    variables, update, start = ["v : 1"], [], []
    asked = _asked_by_gate(model, population.name)
    spikes = model.spikes(population.name)
    if bias.any():
        variables.append("bias : 1 (constant)")
        update.append("v += bias")
    reads_input = any(path.source == model.input.name for path in population.projections)
    if reads_input and model.encoder == "constant":
        variables.append("current : 1")
        if model.fraction_bits is None:
            update.append("v += current")
        else:
            steps = 2**model.fraction_bits
            update.append(f"v += floor(current*{steps}.0 + 0.5)/{steps}.0")
        start.append("current = 0")
    if spikes:
        shared = "constant" if np.ndim(model.threshold(population.name)) else "shared, constant"
        variables += [f"v_th : 1 ({shared})", "spike_count : integer"]
        start.append("spike_count = 0")
    if spikes and model.potential_floor is not None:
        variables.append("lowest_v_per_th : 1 (shared, constant)")
        update.append("v = clip(v, lowest_v_per_th*v_th, inf)")
    reset = [RESET_STATEMENTS[model.reset], "spike_count += 1"]
    if "v_before" in asked:
        variables.append("v_before : 1")
    if "v_reached" in asked:
        variables.append("v_reached : 1")
        update.append("v_reached = v")
    if "v_removed" in asked:
        variables.append("v_removed : 1")
        start.append("v_removed = 0")
        reset.insert(0, f"v_removed += {_REMOVED[model.reset]}")
    if "spiked" in asked:
        variables.append("spiked : integer")
        update.append("spiked = 0")
        reset.append("spiked = 1")
    if "since_first_spike" in asked:
        variables.append("since_first_spike : integer")
        start.append("since_first_spike = 0")
        update.append("since_first_spike += int(spike_count > 0)")
        reset.append("since_first_spike += int(spike_count == 1)")
    if spikes and model.initial_potential:
        variables.append("initial_v_per_th : 1 (shared, constant)")
        start.append("v = initial_v_per_th*v_th")
    else:
        start.append("v = 0")
    return IfEquations(
        model="\n".join(variables),
        before_input="v_before = v" if "v_before" in asked else "",
        update="\n".join(update),
        threshold="v >= v_th" if spikes else "",
        reset="\n".join(reset) if spikes else "",
        at_start="\n".join(start),
    )


def _asked_by_gate(model: RateModel, name: str) -> frozenset[str]:
    """Return what the gate of a max-pooling compares, if there is one over these neurons."""
    return gate_quantities(model.gate) if pools_of(model, name) else frozenset()
