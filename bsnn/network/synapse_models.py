"""Synapse models by name, each of them Brian2 strings and parameters with units.

A rate-coded network is built with any `SynapseModel` on any of its connections. Register one of
your own, or give it to `bsnn.build` and `bsnn.simulate` as it is:

>>> tired = bsnn.SynapseModel(
...     name="tired",
...     equations="dspent/dt = -spent/tau_spent : 1 (event-driven)",
...     efficacy="w*(1 - spent)",
...     after_effect="spent += 0.1*(1 - spent)",
...     at_start="spent = 0",
...     parameters={"tau_spent": 200 * b2.ms},
... )                                                             # doctest: +SKIP
>>> bsnn.simulate(model, images, synapses={"fc1": tired})          # doctest: +SKIP

What an arriving spike does is said by two: the synapse says what stands for the weight
(`efficacy`) and what the spike does to the synapse, before and after its effect; the neuron model
says what a weight does to the neuron. So each synapse model goes with each neuron model.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import brian2 as b2
import numpy as np
from brian2.equations.equations import DIFFERENTIAL_EQUATION, PARAMETER
from brian2.utils.stringtools import get_identifiers

from bsnn.brian.statements import statements
from bsnn.conversion import SpikingModel
from bsnn.errors import BuildError, SettingsError
from bsnn.network.connection_names import connection_names
from bsnn.network.named_models import NamedModel
from bsnn.registry import Registry, check_name

__all__ = [
    "SHORT_TERM",
    "STATIC",
    "STDP",
    "SYNAPSE_MODELS",
    "SynapseModel",
    "check_synapses",
    "register_synapse",
]

#: Key of `bsnn.build`'s option `synapses` that stands for all connections.
ALL = "*"


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class SynapseModel(NamedModel):
    """What a connection does with the spikes that arrive.

    A delay that is the same for all leaves a connection as it is; anything else needs a row of
    `brian2.Synapses` for each connection, also in a network whose other connections are shared.

    Strings may use ``w``, the weight, in units of the target's threshold; variables of the neurons
    on either side (``v_post``, ``spike_count_pre``); ``i``, ``j``, ``t``, ``dt``.

    Attributes
    ----------
    name, about, parameters
        See `NamedModel`; all connections of an object share the parameters, which may be changed
        between runs (``net.synapses["fc1_to_fc2"].eta = 0``).
    equations : str
        Of the synapse's variables, as for `brian2.Synapses`. ``w`` and `parameters` are added.
    efficacy : str
        Expression that stands for the weight in the neuron's `on_pre`.
    before_effect, after_effect : str
        Statements for a spike that arrives, around what it does to the neuron.
    on_post : str
        Statements for a spike of the target, in the step of the spike and after all that arrives
        in it.
    at_start : str
        Statements for the beginning of an image, at which nothing of the last one may be left but
        what is learned. What it does not set stays.
    delay : brian2.Quantity or str, optional
        From a spike to its arrival: a whole number of steps for all, or an expression for each
        connection, as in ``synapses.delay = "..."`` of Brian2, which is rounded to whole steps.
        The expression may use ``w``, ``i`` and ``j``, parameters, and random numbers
        ``uniform_NAME`` and ``normal_NAME``, which depend on the seed of the network, the name of
        the connection, ``NAME``, ``i`` and ``j`` only, and are the same on every target. Spikes
        that are still on their way when an image ends do not arrive.
    method : str
        Brian2's integration of differential equations that are not event-driven.
    """

    equations: str = ""
    efficacy: str = "w"
    before_effect: str = ""
    after_effect: str = ""
    on_post: str = ""
    at_start: str = ""
    delay: b2.Quantity | str | None = None
    method: str = "exact"

    kind = "synapse"

    def __post_init__(self) -> None:
        try:
            equations = b2.Equations(self.equations)
        except Exception as error:
            raise BuildError(
                f"The equations of the synapse {self.name!r} are not right: {error}"
            ) from error
        taken = [name for name in (*self.parameters, "w") if name in equations]
        taken += ["w"] if "w" in self.parameters else []
        if taken:
            raise BuildError(
                f"The synapse {self.name!r} defines {', '.join(taken)} in its equations or as a "
                "parameter, which are defined elsewhere (w is the weight, and given): leave it out."
            )
        self._check_delay()

    def _check_delay(self) -> None:
        if self.delay is None:
            return
        if isinstance(self.delay, str):
            drawn = sorted({"rand", "randn", "poisson"} & get_identifiers(self.delay))
            if drawn:
                raise SettingsError(
                    f"The delay of the synapse {self.name!r} uses {drawn[0]}, whose numbers differ "
                    "from target to target. Write uniform_delay or normal_delay in its place."
                )
            return
        if not b2.have_same_dimensions(self.delay, b2.second) or np.size(self.delay) != 1:
            raise SettingsError(
                f"The delay of the synapse {self.name!r} is given as {self.delay!r}; it is a time, "
                "such as 2*ms, or an expression for a time for each connection."
            )
        if self.delay < 0 * b2.second:
            raise SettingsError(f"The delay of the synapse {self.name!r} is {self.delay}.")

    def with_delay(self, delay: b2.Quantity | str | None) -> SynapseModel:
        """Return the same synapse with another delay.

        Examples
        --------
        >>> bsnn.network.STATIC.with_delay(2 * b2.ms)                     # doctest: +SKIP
        >>> bsnn.network.STATIC.with_delay("(1 + 3*uniform_delay)*ms")    # doctest: +SKIP
        """
        return dataclasses.replace(self, delay=delay)

    @property
    def explicit(self) -> bool:
        """Say whether each connection needs a row of `brian2.Synapses`."""
        return bool(
            self.own_code or self.parameters or self.efficacy != "w" or isinstance(self.delay, str)
        )

    @property
    def own_code(self) -> str:
        """All that it has of equations and statements; empty if it only passes spikes on."""
        texts = (
            self.equations,
            self.before_effect,
            self.after_effect,
            self.on_post,
            self.at_start,
        )
        return "\n".join(text for text in texts if text)

    @property
    def learns(self) -> bool:
        """Say whether weights change and stay changed from one image to the next."""
        code = (self.before_effect, self.after_effect, self.on_post)
        return any(name == "w" for text in code for name, _, _ in statements(text))

    @property
    def variables(self) -> frozenset[str]:
        """Variables that each connection has of its own, the weight included."""
        return frozenset(
            {
                "w",
                *(
                    equation.varname
                    for equation in b2.Equations(self.equations).values()
                    if equation.type in (DIFFERENTIAL_EQUATION, PARAMETER)
                    and "shared" not in equation.flags
                ),
            }
        )

    @property
    def event_driven(self) -> bool:
        """Say whether some variable is brought up to date when a spike arrives."""
        return any("event-driven" in e.flags for e in b2.Equations(self.equations).values())


#: All synapse models by name.
SYNAPSE_MODELS: Registry[SynapseModel] = Registry("synapse model")


def register_synapse(model: SynapseModel) -> SynapseModel:
    """Make a synapse model known by its name; return it.

    Raises
    ------
    SettingsError
        The name is taken.
    """
    return SYNAPSE_MODELS.add(model.name, model)


def check_synapses(
    wanted: Mapping[str, str | SynapseModel] | None,
    model: SpikingModel,
    *,
    own_source: bool = False,
) -> dict[str, SynapseModel]:
    """Return the synapse model of each connection that is named, by the connection's name.

    Parameters
    ----------
    wanted : mapping
        By name of a connection, of the population that it leads to, or ``"*"`` for all over which
        spikes travel, a model or its name; the most precise holds.
    model : SpikingModel
        The network.
    own_source : bool
        Whether a group of the user's takes the place of the input population.

    Raises
    ------
    SettingsError
        The network is in a coding in which synapses have no dynamics, or there is no such model or
        connection.
    BuildError
        The model does not go with a connection.
    """
    wanted = dict(wanted or {})
    if wanted:
        model.check_offers("synapses")
    names = connection_names(model)
    known = [*names, *dict.fromkeys(target.name for _, target in names.values()), ALL]
    for key in wanted:
        check_name(key, known, "connection to give a synapse model to")
    models = {key: _found(value) for key, value in wanted.items()}
    chosen = {}
    for name, (path, target) in names.items():
        key = next((key for key in (name, target.name, ALL) if key in models), None)
        if key is None:
            continue
        flows = path.source == model.input.name and not model.spikes(path.source) and not own_source
        if flows and key == ALL:
            continue
        if flows:
            raise BuildError(
                f"The image flows through {name!r} as a constant current (encoder "
                f"{model.encoder!r}): no spikes arrive that a synapse could act on. Convert the "
                "network with the encoder 'poisson' or 'regular', or name another connection."
            )
        if models[key].on_post and not model.spikes(target.name):
            raise BuildError(
                f"The synapse {models[key].name!r} acts on spikes of its target, and "
                f"{target.name!r} does not spike: name another connection than {name!r}, or "
                "convert the network with the read-out 'count'."
            )
        chosen[name] = models[key]
    return chosen


def _found(wanted: Any) -> SynapseModel:
    if isinstance(wanted, SynapseModel):
        return wanted
    return SYNAPSE_MODELS[wanted]


STATIC = register_synapse(
    SynapseModel(name="static", about="a weight, the same for each spike: what conversion assumes")
)

SHORT_TERM = register_synapse(
    SynapseModel(
        name="short-term",
        about="facilitation and depression of a synapse by its last spikes (Tsodyks, Pawelzik and "
        "Markram 1998); the first spike for an image has the trained weight",
        # what is spent rather than what is left: from rest it stays exactly zero
        equations="""
du/dt = -u/tau_facil : 1 (event-driven)
dspent/dt = -spent/tau_rec : 1 (event-driven)
""",
        before_effect="u += use*(1 - u)",
        efficacy="w*u*(1 - spent)/use",
        after_effect="spent += u*(1 - spent)",
        at_start="""
u = 0
spent = 0
""",
        parameters={"use": 0.5, "tau_facil": 50 * b2.ms, "tau_rec": 200 * b2.ms},
    )
)

STDP = register_synapse(
    SynapseModel(
        name="stdp",
        about="weights change with the order of the spikes on either side, in pairs (Song, Miller "
        "and Abbott 2000); they stay changed, the traces of spikes are cleared with each image",
        equations="""
dapre/dt = -apre/tau_plus : 1 (event-driven)
dapost/dt = -apost/tau_minus : 1 (event-driven)
""",
        after_effect="""
apre += a_plus
w = clip(w + eta*apost, w_min, w_max)
""",
        on_post="""
apost -= a_minus
w = clip(w + eta*apre, w_min, w_max)
""",
        at_start="""
apre = 0
apost = 0
""",
        # trained weights have either sign and no bound: set bounds for what you have them learn
        parameters={
            "tau_plus": 20 * b2.ms,
            "tau_minus": 20 * b2.ms,
            "a_plus": 0.01,
            "a_minus": 0.0105,
            "eta": 1.0,
            "w_min": -np.inf,
            "w_max": np.inf,
        },
    )
)
