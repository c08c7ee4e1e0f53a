"""What a sweep varies: names with values, and what a value changes."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bsnn.brian.quantities import numbers_and_unit, parse_quantity, quantity
from bsnn.conversion import SpikingModel
from bsnn.errors import SettingsError
from bsnn.network import PERTURBATIONS
from bsnn.registry import unknown_name
from bsnn.settings import Setup

__all__ = ["Axis", "Case", "parse_axis", "places"]


@dataclasses.dataclass(frozen=True)
class Axis:
    """One thing that is varied.

    Attributes
    ----------
    name : str
        A perturbation (`bsnn.network.PERTURBATIONS`), a parameter of the neuron, or ``"steps"``.
    values : tuple of float
        Numbers in `unit`. May be given as Brian2 quantities, such as ``[5, 20] * ms``; they are
        then kept as numbers and a unit.
    unit : str
        As Brian2 writes it, such as ``"ms"``; empty for numbers.
    """

    name: str
    values: Sequence[float]
    unit: str = ""

    def __post_init__(self) -> None:
        values, unit = numbers_and_unit(self.values)
        if unit and self.unit:
            raise SettingsError(
                f"The values of {self.name!r} have a unit and are given in {self.unit!r} too: "
                "leave out one of them."
            )
        if not values or len(set(values)) < len(values) or any(map(math.isnan, values)):
            raise SettingsError(
                f"The values of {self.name!r} are {', '.join(map(str, values)) or 'none'}: give at "
                "least one, and each once."
            )
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "unit", unit or self.unit)

    @property
    def title(self) -> str:
        """The name, with the unit if there is one."""
        return f"{self.name} ({self.unit})" if self.unit else self.name

    def quantities(self) -> list[Any]:
        """Return the values with their unit."""
        return [quantity(value, self.unit) for value in self.values]


def parse_axis(text: str) -> Axis:
    """Read ``NAME=START:STOP:COUNT`` or ``NAME=VALUE,VALUE,...``, with units if there are any.

    From START to STOP, both included, COUNT values have the same distance.

    Examples
    --------
    >>> parse_axis("leak=0:0.1:3")
    Axis(name='leak', values=(0.0, 0.05, 0.1), unit='')
    >>> parse_axis("tau=5*ms,20*ms")
    Axis(name='tau', values=(5.0, 20.0), unit='ms')

    Raises
    ------
    SettingsError
        It is neither.
    """
    name, _, values = (part.strip() for part in text.partition("="))
    if not name or not values:
        raise SettingsError(f"{text!r} says not what to vary: {_HOW}")
    if ":" not in values:
        return Axis(name, [parse_quantity(value) for value in values.split(",")])
    try:
        start, stop, count = values.split(":")
        number = int(count)
    except ValueError:
        raise SettingsError(f"{text!r} is no range of values: {_HOW}") from None
    (first, last), unit = numbers_and_unit([parse_quantity(start), parse_quantity(stop)])
    if number < 2 or not math.isfinite(first) or not math.isfinite(last):
        raise SettingsError(
            f"{text!r}: a range goes from one finite value to another and has at least two. {_HOW}"
        )
    # digits that come from adding up are none of the values
    return Axis(name, [float(f"{value:.12g}") for value in np.linspace(first, last, number)], unit)


_HOW = (
    "write NAME=START:STOP:COUNT or NAME=VALUE,VALUE,..., such as leak=0:0.1:5, jitter=0,1,2 or "
    "tau=5*ms,20*ms."
)


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """What is simulated at one point of a sweep."""

    model: SpikingModel
    setup: Setup

    def with_value(self, name: str, value: Any) -> Case:
        """Return the case with another value of what is varied under a name.

        Raises
        ------
        SettingsError
            There is nothing of this name, or the value does not fit.
        """
        setup = self.setup
        if name in PERTURBATIONS:
            strengths = {**(setup.perturbations or {}), name: value}
            return Case(self.model, dataclasses.replace(setup, perturbations=strengths))
        if name in _OF_THE_MODEL:
            return dataclasses.replace(self, model=_OF_THE_MODEL[name](self.model, value))
        neuron = setup.neuron
        if name in neuron.parameters:
            changed = neuron.with_parameters(**{name: value})
            return Case(self.model, dataclasses.replace(setup, neuron=changed))
        known = [*PERTURBATIONS, *_OF_THE_MODEL, *neuron.parameters]
        of_neuron = ", ".join(neuron.parameters) or "none"
        advice = f"Of these are parameters of the neuron {neuron.name!r}: {of_neuron}."
        raise unknown_name(name, known, "perturbation or parameter to vary", advice)


def _with_steps(model: SpikingModel, value: Any) -> SpikingModel:
    try:
        whole = float(value) == int(value) >= 1
    except (TypeError, ValueError, OverflowError):
        whole = False
    if not whole:
        raise SettingsError(f"steps is given as {value}; it is a whole number from 1 on.")
    return dataclasses.replace(model, steps=int(value))


#: Settings of the model that can be varied, by name.
_OF_THE_MODEL: dict[str, Callable[[SpikingModel, Any], SpikingModel]] = {"steps": _with_steps}


def places(axes: Sequence[Axis], *, grid: bool) -> list[dict[str, int]]:
    """Return the points of a sweep: by axis, the place of the value in the axis' values.

    As a grid each value of one goes with each of the others, the last axis running fastest;
    otherwise one axis is varied after the other, and the points have one value each.
    """
    if grid:
        names = [axis.name for axis in axes]
        ranges = [range(len(axis.values)) for axis in axes]
        return [dict(zip(names, chosen, strict=True)) for chosen in itertools.product(*ranges)]
    return [{axis.name: place} for axis in axes for place in range(len(axis.values))]
