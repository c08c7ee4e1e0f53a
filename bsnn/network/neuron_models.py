"""Neuron models by name, each of them Brian2 strings and parameters with units.

A network is built of any neuron of its coding: in rate coding a
`bsnn.network.rate_neurons.RateNeuron`, in time-to-first-spike coding a
`bsnn.network.ttfs_neurons.TtfsNeuron`. Register one of your own, or give it to `bsnn.build` and
`bsnn.simulate` as it is:

>>> lif = bsnn.register_neuron(bsnn.RateNeuron(
...     name="my-lif",
...     equations="dv/dt = -v/tau : 1",
...     parameters={"tau": 20 * b2.ms},
... ))                                                            # doctest: +SKIP
>>> bsnn.simulate(model, images, neuron=lif.with_parameters(tau=5 * b2.ms))  # doctest: +SKIP
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, ClassVar

import brian2 as b2

from bsnn.errors import SettingsError
from bsnn.network.hooks import Place
from bsnn.network.named_models import NamedModel
from bsnn.registry import Registry

__all__ = ["NEURON_MODELS", "NeuronModel", "check_dimensionless", "register_neuron", "renamed"]


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class NeuronModel(NamedModel):
    """A neuron as Brian2 strings; each coding has a class that derives from it.

    Attributes
    ----------
    name : str
        As in `NEURON_MODELS`.
    about, parameters
        See `NamedModel`; all neurons share the parameters.
    method : str
        Brian2's integration of differential equations.
    """

    method: str = "exact"

    kind = "neuron"

    #: Coding of the networks that can be built of it.
    coding: ClassVar[str]
    #: How perturbations reach spikes on their way: by a ``"delay line"``, or, where spikes are
    #: planned, by the ``"plan"``; empty if they cannot.
    on_the_way: ClassVar[str] = ""

    @property
    def forms(self) -> tuple[str, ...]:
        """Forms in which it can be built, the default first."""
        raise NotImplementedError

    @property
    def decays(self) -> bool:
        """Say whether its own equations say how its potential decays."""
        return False

    def places(self, form: str) -> dict[str, Place]:
        """Return where perturbations can add to it, by what a population does.

        That is ``"input"``, ``"equations"`` (neurons that spike) or ``"silent"``. By default there
        is no such place, and what would disturb its neurons is refused.
        """
        return {}


#: All neuron models by name.
NEURON_MODELS: Registry[NeuronModel] = Registry("neuron model")


def register_neuron(model: NeuronModel) -> NeuronModel:
    """Make a neuron model known by its name, also on the command line; return it.

    Raises
    ------
    SettingsError
        The name is taken.
    """
    return NEURON_MODELS.add(model.name, model)


def check_dimensionless(value: Any, name: str) -> float:
    """Return a number without a unit, or refuse it with a `SettingsError`."""
    if not b2.is_dimensionless(value):
        raise SettingsError(f"{name} is given as {value}; it has no unit.")
    return float(value)


def renamed(statements: str, names: Mapping[str, str]) -> str:
    """Put expressions in the place of names."""
    if not names:
        return statements
    pattern = r"\b(" + "|".join(map(re.escape, names)) + r")\b"
    return re.sub(pattern, lambda match: names[match.group(1)], statements)
