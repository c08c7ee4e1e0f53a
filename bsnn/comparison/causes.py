"""Why a spiking network computes something else than the trained one, cause by cause.

Causes are in a registry by name, in the order in which they are added to the trained network until
it is the spiking one (see `bsnn.comparison.ladder`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from bsnn.conversion import AVERAGE, DEFAULT_GATE, ENCODERS, SpikingModel
from bsnn.graph import MaxPool2d

__all__ = ["CAUSES", "Cause", "Situation", "causes_of"]


@dataclasses.dataclass(frozen=True)
class Situation:
    """What is compared.

    Attributes
    ----------
    model : SpikingModel
        The converted network.
    reference : bool
        Whether it is compared with something else than its own trained network.
    precision : str or None
        That of a result of a simulation; None without one.
    """

    model: SpikingModel
    reference: bool = False
    precision: str | None = None


@dataclasses.dataclass(frozen=True)
class Cause:
    """One reason for an error.

    Attributes
    ----------
    name : str
        As in `CAUSES`.
    title : str
        What it is called where people read it.
    explanation : str
        What happens, in a sentence.
    change : str
        What to change about it.
    applies : callable
        Whether there is such an error in a `Situation`, however small.
    dynamic : callable
        Whether it needs the network step by step, and not only its arithmetic.
    part_of : callable
        The cause of which it is a part, when the one that weighs most is named; or None.
    """

    name: str
    title: str
    explanation: str
    change: str
    applies: Callable[[Situation], bool]
    dynamic: Callable[[Situation], bool] = lambda _: False
    part_of: Callable[[Situation], str | None] = lambda _: None


def _rate(field: str, ideal: object) -> Callable[[Situation], bool]:
    """Whether a rate-coded model has a field that is not the ideal."""
    return lambda s: s.model.coding == "rate" and getattr(s.model, field) != ideal


def _always(_: Situation) -> bool:
    return True


def _starts_elsewhere(situation: Situation) -> bool:
    return _start(situation.model) != 0.5


def _start(model: SpikingModel) -> float:
    """Initial potential, in thresholds or steps' charges."""
    return 0.5 * model.rounding if model.coding == "ttfs" else model.initial_potential


def _unequal_junctions(situation: Situation) -> bool:
    model = situation.model
    return (
        model.coding == "rate"
        and model.residual == "unequal"
        and any(len(population.projections) > 1 for population in model.populations.values())
    )


def _other_gate(situation: Situation) -> bool:
    model = situation.model
    pools = any(isinstance(layer, MaxPool2d) for layer in model.graph)
    return model.coding == "rate" and pools and model.gate != DEFAULT_GATE


def _rounds_currents(situation: Situation) -> bool:
    model = situation.model
    return _rate("fraction_bits", None)(situation) and not ENCODERS[model.encoder].spikes


#: Causes by name, in the order of the ladder; those that need the dynamics come after the others.
CAUSES: dict[str, Cause] = {
    cause.name: cause
    for cause in (
        Cause(
            "conversion",
            "conversion",
            "before any spike, the converted network computes something else than the reference: "
            "weights in another layout, a layer left out, other preprocessing",
            "look at how the weights of the layer were brought in: the inputs of a dense layer "
            "after a flattening are ordered (channel, row, column)",
            lambda s: s.reference,
        ),
        Cause(
            "clipping",
            "clipping",
            "activations above a layer's scale: no neuron spikes more than once a step, or before "
            "the first step",
            "larger scales: a higher percentile, or the largest activation",
            _always,
        ),
        Cause(
            "start",
            "initial potential",
            "neurons that do not start at half a threshold (half a step's charge) do not round to "
            "the nearest value: from zero all values are rounded down, layer upon layer",
            "start at half a threshold: --initial-potential 0.5 (rates), --rounding (spike times)",
            _starts_elsewhere,
            # values that are rounded down are an error of quantisation, of which this is the mean
            part_of=lambda s: "quantisation" if _start(s.model) < 0.5 else None,
        ),
        Cause(
            "quantisation",
            "quantisation",
            "so many steps tell so many values and no others: activations are rounded to "
            "multiples of the scale divided by the steps (down, unless neurons start at half a "
            "threshold)",
            "more steps, a start at half a threshold, or smaller scales",
            _always,
        ),
        Cause(
            "junction",
            "unequal junction",
            "where branches meet, spikes that stand for different values count alike",
            "one scale for all that meet: --residual equal",
            _unequal_junctions,
        ),
        Cause(
            "transient",
            "order of spikes",
            "spikes that were sent before the input that forbids them has arrived cannot be taken "
            "back, and input that comes late is not told any more",
            "more steps, which leave less of it",
            lambda s: s.model.coding == "rate",
            dynamic=_always,
        ),
        Cause(
            "pooling",
            "pooling rule",
            "what passes a max-pooling has not the largest of the rates",
            f"the gate whose rate is the largest: --gate {DEFAULT_GATE}",
            _other_gate,
            # average pooling is another network; the gates differ in time
            dynamic=lambda s: s.model.gate != AVERAGE,
        ),
        Cause(
            "reset",
            "reset rule",
            "a reset to zero takes away what the potential has above the threshold",
            "reset by subtraction: --reset subtract",
            _rate("reset", "subtract"),
            dynamic=_always,
        ),
        Cause(
            "floor",
            "lowest potential",
            "a bound below the potential forgets inhibition",
            "convert without --potential-floor, or with a lower one",
            _rate("potential_floor", None),
            dynamic=_always,
        ),
        Cause(
            "input",
            "input spikes",
            "the input is told by spikes, at random (poisson) or one by one (regular), and not by "
            "its value",
            "a constant input, --input constant, or more steps",
            _rate("encoder", "constant"),
            dynamic=_always,
        ),
        Cause(
            "fixed_point",
            "fixed point",
            "constant currents are rounded to the bits after the point",
            "more fraction bits",
            _rounds_currents,
            dynamic=_always,
        ),
        Cause(
            "precision",
            "float32",
            "potentials in single precision reach their thresholds in other steps",
            "simulate with --precision float64",
            lambda s: s.precision == "float32",
            dynamic=lambda s: s.model.coding == "rate",
        ),
        Cause(
            "simulation",
            "simulation",
            "the result of the simulation that was given is not what the model's arithmetic says "
            "(known for the last layer only): another model, other images, or another seed",
            "give the images, the seed and the model of that simulation",
            lambda s: s.precision is not None,
        ),
    )
}


def causes_of(situation: Situation) -> list[Cause]:
    """Return the causes that there are, in the order in which they are added."""
    found = [cause for cause in CAUSES.values() if cause.applies(situation)]
    simulated = [cause for cause in found if cause.name == "simulation"]
    others = [cause for cause in found if cause.name != "simulation"]
    return sorted(others, key=lambda cause: cause.dynamic(situation)) + simulated
