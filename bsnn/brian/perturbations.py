"""What may go wrong in a nervous system or a chip, by name.

A perturbation is one entry in `PERTURBATIONS`. Each has one number, its strength; at zero (for
``weight_bits``: with many bits) the network tells the spikes that it tells without it. What is
random depends on the seed, the number of the image, the step and the neuron only, and is the same
on every target.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from scipy.special import ndtri

from bsnn.brian.named_models import find_by_name
from bsnn.brian.neuron_models import RateNeuron, check_dimensionless
from bsnn.brian.neurons import NeuronForm, PopulationEquations
from bsnn.conversion import SpikingModel
from bsnn.errors import BuildError, SettingsError
from bsnn.graph import Graph

__all__ = [
    "PERTURBATIONS",
    "AxonPart",
    "Perturbation",
    "check_perturbations",
    "chosen_perturbations",
    "with_rounded_weights",
]

# A threshold or a time constant of zero or less is none.
_SMALLEST_FACTOR = 0.01

# Random delays are cut off at so many standard deviations.
_CUT = 4


@dataclasses.dataclass(frozen=True)
class AxonPart:
    """What happens to a spike between a neuron and those that it drives, in rate coding.

    Attributes
    ----------
    arrives : str
        Expression, one if the spike arrives, else zero; empty if it always does.
    late : str
        By how many steps it is late, as an expression; empty for none.
    longest : int
        The most that can be.
    parameters : mapping of str to float
        Names in the expressions.
    """

    arrives: str = ""
    late: str = ""
    longest: int = 0
    parameters: Mapping[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Perturbation:
    """One way to disturb a network.

    Attributes
    ----------
    name : str
        As in `PERTURBATIONS`.
    about : str
        What it does.
    unit : str
        Of its strength.
    largest : float
        Largest strength that has a meaning.
    whole : bool
        Whether its strength is a whole number.
    smallest : float
        Smallest strength.
    rate : callable, optional
        Given a `RateNeuron` and the strength, the disturbed neuron.
    axon : callable, optional
        Given the strength, what happens to spikes on their way, in rate coding.
    forms : mapping of str to callable
        By form of the two-stage neuron, given the form and the strength the disturbed form. A
        parameter of the name of the perturbation is set to the strength.
    arrays : callable, optional
        Given the strength and a random number in [0, 1) for each neuron, by the name of a variable
        or parameter what it is multiplied by.
    hidden_only : bool
        Whether a last layer that spikes is left out.
    weights : callable, optional
        Given an array of weights and the strength, those in their place.
    refused : mapping of str to str
        By coding in which it has no meaning, why.
    """

    name: str
    about: str
    unit: str
    largest: float = np.inf
    smallest: float = 0.0
    whole: bool = False
    rate: Callable[[RateNeuron, float], RateNeuron] | None = None
    axon: Callable[[float], AxonPart] | None = None
    forms: Mapping[str, Callable[[NeuronForm, float], NeuronForm]] = dataclasses.field(
        default_factory=dict
    )
    arrays: Callable[[float, np.ndarray], dict[str, np.ndarray]] | None = None
    hidden_only: bool = False
    weights: Callable[[np.ndarray, float], np.ndarray] | None = None
    refused: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def checked(self, strength: Any) -> float:
        """Return the strength as a number, or refuse it with a `SettingsError`."""
        value = check_dimensionless(strength, f"The strength of {self.name!r} ({self.unit})")
        if not self.smallest <= value <= self.largest or (self.whole and value != int(value)):
            most = "" if np.isinf(self.largest) else f" to {self.largest:g}"
            kind = "a whole number" if self.whole else "a number"
            raise SettingsError(
                f"The strength of {self.name!r} is {value:g}; it is {kind} ({self.unit}) from "
                f"{self.smallest:g}{most}."
            )
        return value

    def applies(self, model: SpikingModel, name: str) -> bool:
        """Whether the neurons of a population are disturbed: those that spike, of any layer."""
        role = model.populations[name].role
        return role == "neurons" or (
            role == "read_out" and model.spikes(name) and not self.hidden_only
        )


def check_perturbations(wanted: Mapping[str, Any] | None, model: SpikingModel) -> dict[str, float]:
    """Return strengths by name, in the order of `PERTURBATIONS`.

    Raises
    ------
    SettingsError
        There is no such perturbation, a strength is out of range, or the perturbation has no
        meaning for the model's coding.
    """
    wanted = dict(wanted or {})
    for name in wanted:
        reason = find_by_name(name, PERTURBATIONS, "perturbation").refused.get(model.coding)
        if reason:
            raise SettingsError(
                f"{name!r} has no meaning for a network in the coding {model.coding}: {reason}"
            )
    return {
        name: perturbation.checked(wanted[name])
        for name, perturbation in PERTURBATIONS.items()
        if name in wanted
    }


def chosen_perturbations(
    strengths: Mapping[str, float], model: SpikingModel, population: str
) -> Iterable[tuple[Perturbation, float]]:
    """Return those that disturb the neurons of a population, and how strongly."""
    return [
        (PERTURBATIONS[name], strength)
        for name, strength in strengths.items()
        if PERTURBATIONS[name].applies(model, population)
    ]


def with_rounded_weights(model: SpikingModel, strengths: Mapping[str, float]) -> SpikingModel:
    """Return the model with the weights of its layers disturbed, its scales as they are."""
    changes = [
        (PERTURBATIONS[name].weights, strength)
        for name, strength in strengths.items()
        if PERTURBATIONS[name].weights is not None
    ]
    if not changes:
        return model
    layers = []
    for layer in model.graph:
        if "weight" in layer.arrays:
            weight = layer.weight
            for change, strength in changes:
                weight = change(weight, strength)
            layer = dataclasses.replace(layer, weight=weight)
        layers.append(layer)
    return dataclasses.replace(model, graph=Graph(layers, model.graph.output))


def rounded(weights: np.ndarray, bits: float) -> np.ndarray:
    """Round weights to whole multiples of a step, `bits` bits with sign for the largest.

    Of `bits` bits one is the sign, so that there are ``2**(bits - 1) - 1`` steps to either side.
    """
    largest = float(np.abs(weights).max(initial=0))
    if not largest:
        return weights
    step = largest / (2 ** (int(bits) - 1) - 1)
    return (np.rint(weights / step) * step).astype(weights.dtype)


# --- on neurons in rate coding ---


def _leaky(neuron: RateNeuron, leak: float) -> RateNeuron:
    if neuron.integrated or neuron.potential_unit != "1":
        raise BuildError(
            f"The neuron {neuron.name!r} has equations of its own for how its potential decays: "
            "vary its parameters (such as tau) in place of 'leak', which is for the neuron 'if'."
        )
    return dataclasses.replace(
        neuron,
        before_input=f"v *= 1 - leak\n{neuron.before_input}".strip(),
        parameters={**neuron.parameters, "leak": leak},
    )


def _noisy(neuron: RateNeuron, share: float) -> RateNeuron:
    added = f"v += noise*v_th*{neuron.potential_unit}*normal_noise"
    return dataclasses.replace(
        neuron,
        update=f"{neuron.update}\n{added}".strip(),
        parameters={**neuron.parameters, "noise": share},
    )


def _mortal(neuron: RateNeuron, _: float) -> RateNeuron:
    return dataclasses.replace(
        neuron,
        threshold=f"({neuron.threshold}) and alive > 0",
        parameters={**neuron.parameters, "alive": 1.0},
        varied=neuron.varied | {"alive"},
    )


def _own_thresholds(neuron: RateNeuron, _: float) -> RateNeuron:
    return dataclasses.replace(neuron, varied=neuron.varied | {"v_th"})


def _own_time_constants(neuron: RateNeuron, _: float) -> RateNeuron:
    known = _time_constants(neuron)
    if not known:
        raise BuildError(
            f"The neuron {neuron.name!r} has no time constant (a parameter whose name begins with "
            "tau) that could differ from neuron to neuron."
        )
    return dataclasses.replace(neuron, varied=neuron.varied | known)


def _time_constants(neuron: RateNeuron) -> frozenset[str]:
    return frozenset(name for name in neuron.parameters if name.startswith("tau"))


def _spread(strength: float, uniform: np.ndarray) -> np.ndarray:
    """Factors of mean one; a half stands in for a random number of zero, whose normal is -inf."""
    return np.maximum(1 + strength * ndtri(np.where(uniform > 0, uniform, 0.5)), _SMALLEST_FACTOR)


# --- on forms of the two-stage neuron ---


def _planned(form: NeuronForm, code: str, *roles: str, model: str = "") -> NeuronForm:
    """Add statements to what neurons of some kinds plan at the start of a window."""
    return dataclasses.replace(
        form,
        **{
            role: dataclasses.replace(
                getattr(form, role),
                model=f"{getattr(form, role).model}\n{model}",
                at_start_of_window=f"{getattr(form, role).at_start_of_window}\n{code}",
            )
            for role in roles
        },
    )


def _jittered_plan(form: NeuronForm, _: float) -> NeuronForm:
    # int() of what is not below zero rounds down
    code = """
fires = int(spike_step < window_steps)
moved = clip(spike_step + jitter*normal_jitter + 0.5, 0, window_steps - 0.5)
spike_step = int(moved)*fires + window_steps*(1 - fires)
"""
    return _planned(form, code, "equations", "input", model="jitter : 1 (shared, constant)")


def _lossy_plan(form: NeuronForm, _: float) -> NeuronForm:
    code = "spike_step += window_steps*int(uniform_loss < loss)"
    return _planned(form, code, "equations", "input", model="loss : 1 (shared, constant)")


def _mortal_plan(form: NeuronForm, _: float) -> NeuronForm:
    code = "spike_step += window_steps*int(alive < 1)"
    return _planned(form, code, "equations", model="alive : 1 (constant)")


def _noisy_plan(form: NeuronForm, _: float) -> NeuronForm:
    equations = form.equations
    return dataclasses.replace(
        form,
        equations=dataclasses.replace(
            equations,
            model=f"{equations.model}\nnoise : 1 (shared, constant)",
            at_start_of_window=equations.at_start_of_window.replace(
                "v = u\n", "v = u + noise*u_th*normal_noise\n"
            ),
        ),
    )


def _own_thresholds_plan(form: NeuronForm, _: float) -> NeuronForm:
    equations = form.equations
    return dataclasses.replace(
        form,
        equations=dataclasses.replace(
            equations,
            model=equations.model.replace(
                "u_th : 1 (shared, constant)", "u_th : 1 (constant)"
            ).replace("window_steps/u_th : 1 (shared)", "window_steps/u_th : 1"),
        ),
    )


def _leaky_trace(form: NeuronForm, _: float) -> NeuronForm:
    def leaking(equations: PopulationEquations) -> PopulationEquations:
        return dataclasses.replace(
            equations,
            model=equations.model.replace("du/dt = slope/t_max", "du/dt = slope/t_max - u*leak/dt")
            + "\nleak : 1 (shared, constant)",
        )

    return dataclasses.replace(form, equations=leaking(form.equations), silent=leaking(form.silent))


PERTURBATIONS: dict[str, Perturbation] = {
    perturbation.name: perturbation
    for perturbation in (
        Perturbation(
            name="leak",
            about="potentials lose a share in each step",
            unit="share of the potential",
            largest=1,
            rate=_leaky,
            forms={"trace": _leaky_trace},
        ),
        Perturbation(
            name="noise",
            about="normal noise is added to potentials: in rate coding in each step, in "
            "time-to-first-spike coding to what the silent stage has reached",
            unit="thresholds, standard deviation",
            rate=_noisy,
            forms={"calendar": _noisy_plan},
        ),
        Perturbation(
            name="jitter",
            about="spike times move at random: in rate coding spikes arrive later by the size of a "
            "normal number, in time-to-first-spike coding they move to either side within their "
            "window",
            unit="steps, standard deviation",
            axon=lambda strength: AxonPart(
                late="int(clip(abs(jitter*normal_jitter) + 0.5, 0, longest_jitter))",
                longest=int(np.ceil(_CUT * strength)),
                parameters={"jitter": strength, "longest_jitter": np.ceil(_CUT * strength)},
            ),
            forms={"calendar": _jittered_plan},
        ),
        Perturbation(
            name="loss",
            about="spikes get lost on their way to the next layer",
            unit="probability",
            largest=1,
            axon=lambda strength: AxonPart(
                arrives="int(uniform_loss >= loss)", parameters={"loss": strength}
            ),
            forms={"calendar": _lossy_plan},
        ),
        Perturbation(
            name="delay",
            about="spikes take a while to arrive, the same for all",
            unit="steps",
            whole=True,
            axon=lambda strength: AxonPart(
                late="delay_steps", longest=int(strength), parameters={"delay_steps": strength}
            ),
            refused={
                "ttfs": "there the time of a spike is its value, and a layer reads it in the "
                "window after; a delay is a value that is read wrongly, or a window more. Vary "
                "'jitter' in its place."
            },
        ),
        Perturbation(
            name="dead",
            about="some neurons of convolutions and dense layers never spike",
            unit="share of the neurons",
            largest=1,
            hidden_only=True,
            rate=_mortal,
            forms={"calendar": _mortal_plan},
            arrays=lambda strength, uniform: {"alive": (uniform >= strength).astype(float)},
        ),
        Perturbation(
            name="threshold_spread",
            about="thresholds differ from neuron to neuron",
            unit="share of the threshold, standard deviation",
            rate=_own_thresholds,
            forms={"calendar": _own_thresholds_plan},
            arrays=lambda strength, uniform: {
                name: _spread(strength, uniform) for name in ("v_th", "u_th")
            },
        ),
        Perturbation(
            name="tau_spread",
            about="time constants differ from neuron to neuron",
            unit="share of the time constant, standard deviation",
            rate=_own_time_constants,
            arrays=lambda strength, uniform: {"tau*": _spread(strength, uniform)},
            refused={"ttfs": "the two-stage neuron has no time constant."},
        ),
        Perturbation(
            name="weight_bits",
            about="weights are rounded, for each layer to so many bits with sign",
            unit="bits",
            smallest=2,
            largest=32,
            whole=True,
            weights=rounded,
        ),
    )
}
