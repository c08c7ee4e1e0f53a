"""Hooks: where something can be added to a neuron, and whether it matters there."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Any

import brian2 as b2
from brian2.equations.equations import DIFFERENTIAL_EQUATION, SUBEXPRESSION
from brian2.utils.stringtools import get_identifiers

from bsnn.brian.statements import statements

if TYPE_CHECKING:
    from bsnn.network.perturbations import Perturbation

__all__ = ["HOOKS", "NAMES", "Place", "depends_on", "joined"]

#: Places by name, and what can be added there.
HOOKS = {
    "before_integration": "statements of each step, before what arrives in it is added up",
    "after_integration": "statements that change the potential which has been reached, before it "
    "decides on a spike",
    "threshold": "a condition without which there is no spike",
    "after_spike": "statements for a neuron that has spiked, after its reset",
    "on_the_way": "what happens to a spike before it arrives",
}

#: What is added may use these names, whatever they are in a neuron: its potential, its threshold,
#: and what a potential of one is in the unit of the potential.
NAMES = ("potential", "threshold", "unit")


@dataclasses.dataclass(frozen=True)
class Place:
    """Strings of a neuron, and what perturbations have to know of them.

    Attributes
    ----------
    about : str
        Whose they are, for messages.
    strings : object
        They: a `bsnn.network.rate_neurons.RateNeuron` or
        `bsnn.network.ttfs_neurons.PopulationEquations`, or what has their methods.
    hooks : tuple of str
        At which hooks perturbations add to them; whether they have these is another question.
    names : callable
        Given a hook, what stands there for the names that perturbations use.
    parameters : tuple of str
        Those that perturbations may have differ from neuron to neuron, the threshold first.
    depends_on : callable
        Given such strings and names of parameters, whether spikes depend on them.
    drawn_at : tuple of str
        At which hooks there are random numbers.
    """

    about: str
    strings: Any
    hooks: tuple[str, ...]
    names: Callable[[str], dict[str, str]]
    parameters: tuple[str, ...]
    depends_on: Callable[[Any, Collection[str]], bool]
    drawn_at: tuple[str, ...]

    def matching(self, pattern: str) -> list[str]:
        """Return the parameters that a perturbation means by a name."""
        if pattern == "threshold":
            return list(self.parameters[:1])
        return [name for name in self.parameters if fnmatch(name, pattern)]

    def touched_by(self, perturbation: Perturbation) -> bool:
        """Say whether something is added or varied here."""
        hooks = perturbation.statements.keys() & set(self.hooks)
        return bool(hooks or (perturbation.factors and self.parameters))


def joined(*texts: str) -> str:
    """Return statements that are run one after another; each may be empty."""
    return "\n".join(text for text in texts if text)


def depends_on(
    sources: Collection[str],
    decision: str,
    equations: b2.Equations,
    code: Iterable[tuple[str, bool]],
) -> bool:
    """Say whether an expression depends on names that nothing writes, through any number of steps.

    Parameters
    ----------
    sources : collection of str
        The names.
    decision : str
        The expression, evaluated at the end of a step.
    equations : brian2.Equations
        Of the neuron; what is integrated is so at the beginning of a step.
    code : iterable of (str, bool)
        Statements of a step, in their order, and whether all neurons run them in each step: what
        such a statement overwrites is lost.
    """
    subexpressions, steps = {}, []
    for name, equation in equations.items():
        if equation.type == SUBEXPRESSION:
            subexpressions[name] = get_identifiers(str(equation.expr))
        elif equation.type == DIFFERENTIAL_EQUATION:
            steps.append((name, False, str(equation.expr)))
    for text, always in code:
        for name, operation, expression in statements(text):
            # in what a spike does, the neuron's variables have a suffix
            read = " ".join(x.removesuffix("_post") for x in get_identifiers(expression))
            steps.append((name.removesuffix("_post"), always and operation == "=", read))

    def read_by(expression: str) -> set[str]:
        read, new = set(), get_identifiers(expression)
        while new:
            read |= new
            new = set().union(*(subexpressions.get(name, ()) for name in new)) - read
        return read

    reached = set(sources)
    while True:
        before = set(reached)
        for name, replaced, expression in steps:
            if not reached.isdisjoint(read_by(expression)):
                reached.add(name)
            elif replaced:
                reached.discard(name)
        if not reached.isdisjoint(read_by(decision)):
            return True
        if reached == before:
            return False
