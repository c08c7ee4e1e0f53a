"""Adding perturbations to neurons, and refusing those that would change nothing there."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from brian2.utils.stringtools import get_identifiers

from bsnn.conversion import Population, SpikingModel
from bsnn.errors import BuildError, SettingsError
from bsnn.network.delay_lines import drives_neurons
from bsnn.network.hooks import HOOKS, Place, joined
from bsnn.network.neuron_models import NeuronModel, renamed
from bsnn.network.perturbations import PERTURBATIONS, Perturbation
from bsnn.network.random_numbers import random_names, uniform_of_neurons

__all__ = ["Disturbed", "check_disturbed", "disturbed"]

Chosen = Sequence[tuple[Perturbation, float]]


@dataclasses.dataclass(frozen=True)
class Disturbed:
    """Strings of a population's neurons, with what perturbations add to them.

    Attributes
    ----------
    strings : object
        They, see `bsnn.network.hooks.Place`.
    parameters : mapping of str to float
        Those that were added.
    factors : mapping of str to numpy.ndarray
        Parameters that differ from neuron to neuron, and what they are multiplied by in each.
    """

    strings: Any
    parameters: Mapping[str, float]
    factors: Mapping[str, np.ndarray]


def disturbed(
    neuron: NeuronModel,
    form: str,
    model: SpikingModel,
    population: Population,
    strengths: Mapping[str, float],
    seed: int,
) -> Disturbed:
    """Return the strings of a population's neurons with what perturbations add to them."""
    place = neuron.places(form)[_role(model, population.name)]
    chosen = [
        (PERTURBATIONS[name], strength)
        for name, strength in strengths.items()
        if _meant(PERTURBATIONS[name], population)
    ]
    strings, parameters = _with_added(place, chosen)
    factors: dict[str, np.ndarray] = {}
    for perturbation, strength in chosen:
        uniform = uniform_of_neurons(seed, population.name, perturbation.name, population.size)
        values = {name: make for name, make in perturbation.own.items() if name in parameters}
        for pattern, make in perturbation.factors.items():
            values |= dict.fromkeys(place.matching(pattern), make)
        for name, make in values.items():
            factors[name] = factors.get(name, 1.0) * make(strength, uniform)
    return Disturbed(strings, parameters, factors)


def check_disturbed(
    neuron: NeuronModel,
    form: str | None,
    model: SpikingModel,
    strengths: Mapping[str, float],
    *,
    own_source: bool = False,
) -> str:
    """Refuse perturbations that cannot take hold; return the form of the neuron.

    Raises
    ------
    BuildError
        The neuron, in this form, lacks what one of them disturbs, or its spikes would not depend
        on it.
    SettingsError
        The network has no neurons that one of them disturbs.
    """
    forms = neuron.forms if form is None else (form,)
    possible = {}
    for name in strengths:
        obstacles = {known: _obstacle(PERTURBATIONS[name], neuron, known) for known in neuron.forms}
        possible[name] = [known for known, obstacle in obstacles.items() if not obstacle]
        if not set(possible[name]) & set(forms):
            raise BuildError(
                _cannot(name, neuron, {f: obstacles[f] for f in forms}, possible[name])
            )
        _check_population(PERTURBATIONS[name], neuron, model, possible[name][0], own_source)
    left = [known for known in forms if all(known in those for those in possible.values())]
    if not left:
        asked = "; ".join(
            f"{name} needs {' or '.join(those)}"
            for name, those in possible.items()
            if len(those) < len(neuron.forms)
        )
        raise BuildError(
            f"The neuron {neuron.name!r} has no form in which all of the perturbations are "
            f"offered: {asked}; it has {', '.join(neuron.forms)}. Disturb the network in one way "
            "at a time."
        )
    return left[0]


def _cannot(
    name: str, neuron: NeuronModel, obstacles: Mapping[str, str], possible: Sequence[str]
) -> str:
    reasons = set(obstacles.values())
    said = f"the neuron {neuron.name!r} "
    if len(reasons) == 1 and len(obstacles) == len(neuron.forms):
        text = said + reasons.pop()
    else:
        text = "; ".join(f"{said}in the form {known} {why}" for known, why in obstacles.items())
    text = f"The perturbation {name!r} cannot take hold: {text}."
    if not possible:
        return f"{text} Change the neuron, or leave {name!r} out."
    return (
        f"{text} With {name} the neuron {neuron.name!r} has the form {' or '.join(possible)}, not "
        f"{', '.join(obstacles)}: leave the form out."
    )


def _role(model: SpikingModel, name: str) -> str:
    """Return which strings of a neuron a population has."""
    if model.populations[name].role == "input":
        return "input"
    return "equations" if model.spikes(name) else "silent"


def _meant(perturbation: Perturbation, population: Population) -> bool:
    return population.role == "neurons" or not perturbation.hidden_only


def _added(place: Place, chosen: Chosen) -> tuple[dict[str, str], dict[str, float]]:
    """Return by hook what perturbations add, and the parameters that are in it."""
    added, read = {}, set()
    for hook in place.hooks:
        codes = [p.statements[hook] for p, _ in chosen if hook in p.statements]
        if codes:
            # conditions have to hold together
            condition = hook == "threshold"
            code = " and ".join(f"({text})" for text in codes) if condition else joined(*codes)
            added[hook] = renamed(code, place.names(hook))
            read |= get_identifiers(code)
    strengths = {p.name: strength for p, strength in chosen}
    own = {name: 1.0 for p, _ in chosen for name in p.own}
    return added, {name: value for name, value in {**strengths, **own}.items() if name in read}


def _with_added(place: Place, chosen: Chosen) -> tuple[Any, dict[str, float]]:
    """Return strings with what perturbations add to them, and the parameters that they get."""
    added, parameters = _added(place, chosen)
    varied = [name for p, _ in chosen for name in p.own if name in parameters]
    varied += [name for p, _ in chosen for x in p.factors for name in place.matching(x)]
    return place.strings.with_added(added, parameters, varied), parameters


def _obstacle(perturbation: Perturbation, neuron: NeuronModel, form: str) -> str:
    """Return why a perturbation cannot take hold, said of the neuron; empty if it can."""
    if perturbation.unsuitable is not None and perturbation.unsuitable(neuron):
        return perturbation.unsuitable(neuron)
    planned = "on_the_way" in perturbation.statements
    if neuron.on_the_way == "delay line" and planned and perturbation.delay_line is None:
        return (
            "plans no spikes that statements at the hook 'on_the_way' could change: say by the "
            "perturbation's delay_line what happens to them"
        )
    by_plan = neuron.on_the_way == "plan" and planned
    if perturbation.delay_line is not None and neuron.on_the_way != "delay line" and not by_plan:
        return (
            "has no delay line: say by statements at the hook 'on_the_way' what happens to its "
            "spike_step, or by 'refused' why nothing does"
        )
    touched = [p for p in neuron.places(form).values() if p.touched_by(perturbation)]
    if not touched and perturbation.delay_line is None and perturbation.weights is None:
        return "is left as it is: the perturbation adds nothing to it"
    return next(filter(None, (_obstacle_at(perturbation, place) for place in touched)), "")


def _obstacle_at(perturbation: Perturbation, place: Place) -> str:
    about, strings = place.about, place.strings
    added, parameters = _added(place, [(perturbation, 1.0)])
    for hook in added:
        if hook not in strings.hooks:
            return (
                f"has {about}no hook {hook!r} ({HOOKS[hook]}), for which it would need "
                f"{strings.needed_for(hook)}; it has {', '.join(strings.hooks) or 'none'}"
            )
        if random_names([added[hook]]) and hook not in place.drawn_at:
            return (
                f"draws {about}no random numbers at the hook {hook!r}, where they are asked for; "
                f"it does so at {', '.join(place.drawn_at)}"
            )
    taken = sorted(parameters.keys() & strings.identifiers)
    if taken:
        return f"has {about}a variable or parameter {', '.join(taken)} of its own: rename it"
    matching: set[str] = set()
    for pattern in perturbation.factors if place.parameters else ():
        matching.update(place.matching(pattern))
        if not place.matching(pattern):
            known = ", ".join(place.parameters)
            return f"has no parameter {pattern} to differ from neuron to neuron; it has {known}"
    fixed = sorted(matching - strings.varying)
    if fixed:
        return (
            f"declares {', '.join(fixed)} in its equations for all neurons together: leave that "
            "out there, and name it in the parameters of its PopulationEquations"
        )
    changed, _ = _with_added(place, [(perturbation, 1.0)])
    shared = [
        name
        for name, equation in changed.parsed().items()
        if "shared" in equation.flags and matching & get_identifiers(str(equation.expr))
    ]
    if shared:
        return (
            f"has all neurons share {', '.join(shared)}, made of {', '.join(sorted(matching))}: "
            "leave (shared) out there"
        )
    if not place.depends_on(changed, parameters.keys() | matching):
        what = [*(f"{code.strip()!r} at {hook}" for hook, code in added.items()), *sorted(matching)]
        return (
            f"does {about}the same with and without {'; '.join(what)}: nothing that decides "
            "whether it spikes reads what that changes"
        )
    return ""


def _check_population(
    perturbation: Perturbation,
    neuron: NeuronModel,
    model: SpikingModel,
    form: str,
    own_source: bool,
) -> None:
    """Refuse a perturbation of neurons that a network does not have."""
    places = neuron.places(form)
    for name, population in model.populations.items():
        place = places.get(_role(model, name)) if population.role != "max_pool" else None
        if place and place.touched_by(perturbation) and _meant(perturbation, population):
            return
        if perturbation.delay_line is not None and drives_neurons(
            model, name, own_source=own_source
        ):
            return
    if perturbation.weights is not None:
        return
    if perturbation.delay_line is not None:
        lacking = (
            "population of its own whose spikes go to neurons: an image that flows in as a current "
            "has none, and those of your own source are left alone"
        )
    elif perturbation.hidden_only:
        lacking = "neurons between its input and its last layer"
    else:
        lacking = "neurons that spike, and is read out by the potentials of its last layer"
    raise SettingsError(
        f"The perturbation {perturbation.name!r} would disturb nothing: the network has no "
        f"{lacking}. Leave it out."
    )
