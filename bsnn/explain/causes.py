"""Why a spiking network computes something else than the trained one: causes by name.

Which of them a network has, and in which order they are added to the trained network until it is
the spiking one, is the error decomposition of its coding (`bsnn.explain.decomposition`).
"""

from __future__ import annotations

import dataclasses

from bsnn.conversion import SpikingModel
from bsnn.registry import Registry

__all__ = ["CAUSES", "Cause", "Situation"]


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
    """

    name: str
    title: str
    explanation: str
    change: str


#: Causes that any coding may have.
CAUSES: Registry[Cause] = Registry(
    "cause of error",
    (
        Cause(
            "conversion",
            "conversion",
            "before any spike, the converted network computes something else than the reference: "
            "weights in another layout, a layer left out, other preprocessing",
            "look at how the weights of the layer were brought in: the inputs of a dense layer "
            "after a flattening are ordered (channel, row, column)",
        ),
        Cause(
            "clipping",
            "clipping",
            "activations above a layer's scale: no neuron spikes more than once a step, or before "
            "the first step",
            "larger scales: a higher percentile, or the largest activation",
        ),
        Cause(
            "start",
            "initial potential",
            "neurons that do not start at half a threshold (half a step's charge) do not round to "
            "the nearest value: from zero all values are rounded down, layer upon layer",
            "start at half a threshold: --initial-potential 0.5 (rates), --rounding (spike times)",
        ),
        Cause(
            "quantisation",
            "quantisation",
            "so many steps encode so many values and no others: activations are rounded to "
            "multiples of the scale divided by the steps (down, unless neurons start at half a "
            "threshold)",
            "more steps, a start at half a threshold, or smaller scales",
        ),
        Cause(
            "coding",
            "coding",
            "spikes encode an activation up to what the coding, in so many steps, can say",
            "more steps, or smaller scales",
        ),
        Cause(
            "precision",
            "float32",
            "potentials in single precision reach their thresholds in other steps",
            "simulate with --precision float64",
        ),
        Cause(
            "simulation",
            "simulation",
            "the result of the simulation that was given is not what the model's arithmetic says "
            "(known for the last layer only): another model, other images, or another seed",
            "give the images, the seed and the model of that simulation",
        ),
    ),
)
