"""What may go wrong in a nervous system or a chip, by name.

A perturbation is one entry in `PERTURBATIONS`. Each has one number, its strength; at zero (for
``weight_bits``: with many bits) the network emits the spikes that it emits without it. What is
random depends on the seed, the number of the image, the step and the neuron only, and is the same
on every target.

A perturbation says what it adds, and at which hook of a neuron (`bsnn.network.hooks`), or which
parameters it has differ from neuron to neuron. It knows nothing else of the neuron, and one that
would change nothing there is refused. One of your own:

>>> PERTURBATIONS["drift"] = Perturbation(
...     name="drift",
...     about="potentials rise a little in each step",
...     unit="thresholds",
...     statements={"after_integration": "potential = potential + drift*threshold*unit"},
... )                                                             # doctest: +SKIP
>>> bsnn.simulate(model, images, perturbations={"drift": 0.01})    # doctest: +SKIP
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from brian2.utils.stringtools import get_identifiers
from scipy.special import ndtri

from bsnn.conversion import SpikingModel
from bsnn.errors import SettingsError
from bsnn.graph import Graph
from bsnn.network.hooks import HOOKS
from bsnn.network.neuron_models import NeuronModel, check_dimensionless
from bsnn.registry import Registry, check_name

__all__ = [
    "PERTURBATIONS",
    "DelayLinePart",
    "Perturbation",
    "check_perturbations",
    "with_rounded_weights",
]

# A threshold or a time constant of zero or less is none.
_SMALLEST_FACTOR = 0.01

# Random delays are cut off at so many standard deviations.
_CUT = 4


@dataclasses.dataclass(frozen=True)
class DelayLinePart:
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


#: Given a strength and a random number in [0, 1) for each neuron, a value for each.
NeuronValues = Callable[[float, np.ndarray], np.ndarray]


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
    statements : mapping of str to str
        By hook of a neuron (`bsnn.network.hooks.HOOKS`) what is added there. It may use the name of
        the perturbation, which is its strength; variables of its `own`; ``potential``,
        ``threshold`` and ``unit`` (`bsnn.network.hooks.NAMES`); random numbers ``uniform_NAME`` and
        ``normal_NAME``; and variables of the neuron. At ``on_the_way`` it changes ``spike_step``,
        which neurons in time-to-first-spike coding have planned.
    delay_line : callable, optional
        Given the strength, what happens to spikes on their way, in rate coding.
    own : mapping of str to callable
        Dimensionless variables of its own that differ from neuron to neuron, and their values.
    factors : mapping of str to callable
        Parameters that it has differ from neuron to neuron, and what they are multiplied by. Names
        may have wildcards; ``threshold`` is the threshold.
    hidden_only : bool
        Whether only neurons between the input and the last layer are disturbed.
    unsuitable : callable, optional
        Given a neuron model, why it is not for such neurons; empty if it is.
    weights : callable, optional
        Given an array of weights and the strength, those in their place.
    refused : dict of str to str
        By name of a coding in which it has no meaning, why; a coding may add itself.
    """

    name: str
    about: str
    unit: str
    largest: float = np.inf
    smallest: float = 0.0
    whole: bool = False
    statements: Mapping[str, str] = dataclasses.field(default_factory=dict)
    delay_line: Callable[[float], DelayLinePart] | None = None
    own: Mapping[str, NeuronValues] = dataclasses.field(default_factory=dict)
    factors: Mapping[str, NeuronValues] = dataclasses.field(default_factory=dict)
    hidden_only: bool = False
    unsuitable: Callable[[NeuronModel], str] | None = None
    weights: Callable[[np.ndarray, float], np.ndarray] | None = None
    refused: dict[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        for hook in self.statements:
            check_name(hook, HOOKS, "hook")
        read = get_identifiers("\n".join(self.statements.values()))
        unread = [name for name in self.own if name not in read]
        if unread:
            raise SettingsError(
                f"The perturbation {self.name!r} has variables of its own that its statements do "
                f"not read: {', '.join(unread)}. Leave them out."
            )

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
        reason = PERTURBATIONS[name].refused.get(model.coding)
        if reason:
            raise SettingsError(
                f"{name!r} has no meaning for a network in the coding {model.coding}: {reason}"
            )
    return {
        name: perturbation.checked(wanted[name])
        for name, perturbation in PERTURBATIONS.items()
        if name in wanted
    }


def with_rounded_weights(model: SpikingModel, strengths: Mapping[str, float]) -> SpikingModel:
    """Return the model with the weights of its layers disturbed, its scales as they are."""
    changes = [
        (change, strength)
        for name, strength in strengths.items()
        if (change := PERTURBATIONS[name].weights) is not None
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


def _own_decay(neuron: NeuronModel) -> str:
    if neuron.decays:
        return (
            "has equations of its own for how its potential decays: vary its parameters (such as "
            "tau) in place of 'leak', which is for the neuron 'if'"
        )
    return ""


def _spread(strength: float, uniform: np.ndarray) -> np.ndarray:
    """Factors of mean one; a half stands in for a random number of zero, whose normal is -inf."""
    return np.maximum(1 + strength * ndtri(np.where(uniform > 0, uniform, 0.5)), _SMALLEST_FACTOR)


_JITTERED = """
fires = int(spike_step < window_steps)
moved = clip(spike_step + jitter*normal_jitter + 0.5, 0, window_steps - 0.5)
spike_step = int(moved)*fires + window_steps*(1 - fires)
"""

PERTURBATIONS: Registry[Perturbation] = Registry(
    "perturbation",
    (
        Perturbation(
            name="leak",
            about="potentials lose a share in each step",
            unit="share of the potential",
            largest=1,
            statements={"before_integration": "potential *= 1 - leak"},
            unsuitable=_own_decay,
        ),
        Perturbation(
            name="noise",
            about="normal noise is added to potentials: in rate coding in each step, in "
            "time-to-first-spike coding to what the silent stage has reached",
            unit="thresholds, standard deviation",
            statements={
                # not +=, for which NumPy would also change what the potential is latched from
                "after_integration": "potential = potential + noise*threshold*unit*normal_noise"
            },
        ),
        Perturbation(
            name="jitter",
            about="spike times move at random: in rate coding spikes arrive later by the size of a "
            "normal number, in time-to-first-spike coding they move to either side within their "
            "window",
            unit="steps, standard deviation",
            delay_line=lambda strength: DelayLinePart(
                late="int(clip(abs(jitter*normal_jitter) + 0.5, 0, longest_jitter))",
                longest=int(np.ceil(_CUT * strength)),
                parameters={"jitter": strength, "longest_jitter": np.ceil(_CUT * strength)},
            ),
            # int() of what is not below zero rounds down
            statements={"on_the_way": _JITTERED},
        ),
        Perturbation(
            name="loss",
            about="spikes get lost on their way to the next layer",
            unit="probability",
            largest=1,
            delay_line=lambda strength: DelayLinePart(
                arrives="int(uniform_loss >= loss)", parameters={"loss": strength}
            ),
            statements={"on_the_way": "spike_step += window_steps*int(uniform_loss < loss)"},
        ),
        Perturbation(
            name="delay",
            about="spikes take a while to arrive, the same for all",
            unit="steps",
            whole=True,
            delay_line=lambda strength: DelayLinePart(
                late="delay_steps", longest=int(strength), parameters={"delay_steps": strength}
            ),
        ),
        Perturbation(
            name="dead",
            about="some neurons of convolutions and dense layers never spike",
            unit="share of the neurons",
            largest=1,
            hidden_only=True,
            statements={"threshold": "alive > 0"},
            own={"alive": lambda strength, uniform: (uniform >= strength).astype(float)},
        ),
        Perturbation(
            name="threshold_spread",
            about="thresholds differ from neuron to neuron",
            unit="share of the threshold, standard deviation",
            factors={"threshold": _spread},
        ),
        Perturbation(
            name="tau_spread",
            about="time constants differ from neuron to neuron",
            unit="share of the time constant, standard deviation",
            factors={"tau*": _spread},
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
    ),
)
