"""What the neurons of a population in rate coding are made of, for any neuron model.

In each step the weighted spikes of the layer before are added as they arrive; then the neuron adds
its bias, spikes if it has reached its threshold, and is reset, before anything else arrives: no
input is lost in the step of a spike. Potentials are in the units that the model's balance says
(the model's `unit`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from brian2.utils.stringtools import get_identifiers

from bsnn.conversion import Population, SpikingModel
from bsnn.conversion.gates import gate_quantities
from bsnn.conversion.rate_dynamics import pools_of
from bsnn.errors import BuildError
from bsnn.network.named_models import parameter_equations
from bsnn.network.neuron_models import renamed
from bsnn.network.random_numbers import (
    NOISE_AT_START,
    STEP_AND_NEURON,
    random_names,
    step_noise_model,
    with_random_numbers,
)
from bsnn.network.rate_neurons import RESET_STATEMENTS, RateNeuron

__all__ = ["RateEquations", "population_neuron", "rate_equations"]

# Brian2's own state of a refractory period.
_END_OF_REFRACTORINESS = """
lastspike = -10000*second
not_refractory = True
"""


@dataclasses.dataclass(frozen=True)
class RateEquations:
    """What the neurons of a population are made of.

    Attributes
    ----------
    model : str
        Equations.
    before_input : str
        Statements of a step, before spikes arrive; may be empty.
    update : str
        Statements of a step, after spikes have arrived; may be empty.
    threshold, reset, refractory : str
        Conditions and statements; empty for a read-out that does not spike.
    at_start : tuple of str
        Statements in the first step of an image, before spikes arrive, one after another.
    random : tuple of str
        Names of random numbers, each of which needs a seed.
    """

    model: str
    before_input: str
    update: str
    threshold: str
    reset: str
    refractory: str
    at_start: tuple[str, ...]
    random: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class _Kept:
    """What neurons keep for the gate of a max-pooling over them.

    Attributes
    ----------
    variable : str
        Its equation.
    at_start, before_input, update : str
        Statements, as in `RateEquations`.
    before_reset : mapping of str to str
        By the reset rule, what is run for a neuron that spikes before it is reset.
    after_reset : str
        What is run after that.
    """

    variable: str
    at_start: str = ""
    before_input: str = ""
    update: str = ""
    before_reset: Mapping[str, str] = dataclasses.field(default_factory=dict)
    after_reset: str = ""


#: By name in `bsnn.conversion.GATE_QUANTITIES`; the others are there in any case.
_KEPT = {
    "v_before": _Kept("v_before : 1", before_input="v_before = v"),
    "v_reached": _Kept("v_reached : 1", update="v_reached = v"),
    "v_removed": _Kept(
        "v_removed : 1",
        at_start="v_removed = 0",
        before_reset={"subtract": "v_removed += v_th", "zero": "v_removed += v"},
    ),
    "spiked": _Kept("spiked : integer", update="spiked = 0", after_reset="spiked = 1"),
    "since_first_spike": _Kept(
        "since_first_spike : integer",
        at_start="since_first_spike = 0",
        update="since_first_spike += int(spike_count > 0)",
        after_reset="since_first_spike += int(spike_count == 1)",
    ),
}

#: A last layer that adds up its input and does not spike is an observer rather than a neuron: it
#: is the same for all neuron models.
_OBSERVER = RateNeuron(name="observer", equations="v : 1")


def population_neuron(neuron: RateNeuron, model: SpikingModel, name: str) -> RateNeuron:
    """Return the neuron of a population: of a read-out that does not spike one that adds up."""
    return neuron if model.spikes(name) else _OBSERVER


def rate_equations(
    neuron: RateNeuron,
    model: SpikingModel,
    population: Population,
    bias: np.ndarray,
    *,
    input_flows: bool,
) -> RateEquations:
    """Return the equations of a population: only what it needs has a variable.

    Parameters
    ----------
    neuron : RateNeuron
        Of the population.
    model : SpikingModel
        The network, in rate coding.
    population : Population
        Neurons, or the read-out.
    bias : numpy.ndarray
        Their currents without input; if all are zero there is no variable for them.
    input_flows : bool
        Whether the image enters as a constant current.

    Raises
    ------
    BuildError
        The network asks for what the neuron does not have.
    """
    spikes = model.spikes(population.name)
    variables = [neuron.equations.strip(), *parameter_equations(neuron.parameters, neuron.varied)]
    update, start = [], []
    asked = _asked_by_gate(model, population.name)
    if asked:
        _check_gate(neuron, model)
    if bias.any():
        variables.append("bias : 1 (constant)")
        update.append(renamed(neuron.drive, {"drive": "bias"}))
    reads_input = any(path.source == model.input.name for path in population.projections)
    if reads_input and input_flows:
        variables.append("current : 1")
        current = "current"
        if model.fraction_bits is not None:
            steps = 2**model.fraction_bits
            current = f"floor(current*{steps}.0 + 0.5)/{steps}.0"
        update.append(renamed(neuron.drive, {"drive": current}))
        start.append("current = 0")
    update.append(neuron.update)
    reset = []
    if spikes:
        varied = "v_th" in neuron.varied or np.ndim(model.projections[population.name].threshold)
        shared = "constant" if varied else "shared, constant"
        variables += [f"v_th : 1 ({shared})", "spike_count : integer"]
        if "tie" in get_identifiers(neuron.threshold):
            variables.append("tie : 1 (shared, constant)")
        start.append("spike_count = 0")
        reset = [_reset(neuron, model.reset), "spike_count += 1"]
    if spikes and model.potential_floor is not None:
        if neuron.potential_unit != "1":
            raise _refusal(neuron, "a lowest potential (potential_floor)", "has a unit")
        variables.append("lowest_v_per_th : 1 (shared, constant)")
        update.append("v = clip(v, lowest_v_per_th*v_th, inf)")
    kept = [_KEPT[name] for name in _KEPT if name in asked]
    variables += [quantity.variable for quantity in kept]
    start += [quantity.at_start for quantity in kept]
    before = [neuron.before_input, *(quantity.before_input for quantity in kept)]
    update += [quantity.update for quantity in kept]
    reset = [
        *(quantity.before_reset.get(model.reset, "") for quantity in kept),
        *reset,
        *(quantity.after_reset for quantity in kept),
    ]
    v_start = "0"
    if spikes and model.initial_potential:
        variables.append("initial_v_per_th : 1 (shared, constant)")
        v_start = "initial_v_per_th*v_th"
    start.append(renamed(neuron.at_start, {"v_start": v_start}))
    random = random_names(neuron.texts)
    if random:
        variables.append(step_noise_model(random))
        start.append(NOISE_AT_START)
    starts = (_lines(start),)
    if spikes and neuron.refractory:
        # first, as what a refractory neuron does not take in it would not be set to, either
        starts = (_END_OF_REFRACTORINESS, *starts)

    def drawn(text: str) -> str:
        return with_random_numbers(text, STEP_AND_NEURON)

    return RateEquations(
        model=drawn("\n".join(variables)),
        before_input=drawn(_lines(before)),
        update=drawn(_lines(update)),
        threshold=drawn(neuron.threshold) if spikes else "",
        reset=drawn(_lines(reset)),
        refractory=neuron.refractory if spikes else "",
        at_start=starts,
        random=random,
    )


def _lines(statements: Iterable[str]) -> str:
    return "\n".join(text for text in statements if text)


def _reset(neuron: RateNeuron, rule: str) -> str:
    if rule not in neuron.resets:
        raise BuildError(
            f"The neuron {neuron.name!r} has no reset {rule!r}, which the network asks for; it has "
            f"{', '.join(neuron.resets)}. Convert the network with one of these (--reset)."
        )
    return neuron.resets[rule]


def _check_gate(neuron: RateNeuron, model: SpikingModel) -> None:
    """Refuse gates of max-poolings that compare what neurons of this kind do not have."""
    asked = gate_quantities(model.gate)
    if neuron.potential_unit != "1" and any(name.startswith("v") for name in asked):
        raise _refusal(neuron, f"the gate {model.gate!r} of max-pooling", "has a unit")
    if "v_removed" in asked and neuron.resets.get(model.reset) != RESET_STATEMENTS[model.reset]:
        raise _refusal(
            neuron, f"the gate {model.gate!r} of max-pooling", "is reset in a way of its own"
        )


def _refusal(neuron: RateNeuron, what: str, why: str) -> BuildError:
    return BuildError(
        f"The network has {what}, which looks at potentials, and that of the neuron "
        f"{neuron.name!r} {why}. Convert the network without it, or take a neuron whose potential "
        "has no unit and is reset as that of 'if'."
    )


def _asked_by_gate(model: Any, name: str) -> frozenset[str]:
    """Return what the gate of a max-pooling compares, if there is one over these neurons."""
    return gate_quantities(model.gate) if pools_of(model, name) else frozenset()
