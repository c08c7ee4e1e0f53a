"""What the strings of a synapse model become in the network that they are built into."""

from __future__ import annotations

import brian2 as b2
from brian2.utils.stringtools import get_identifiers

from bsnn.brian.statements import gated
from bsnn.brian.time_origin import STEP
from bsnn.errors import BuildError
from bsnn.network.named_models import parameter_equations
from bsnn.network.neuron_models import renamed
from bsnn.network.random_numbers import noise_seed, random_names, with_random_numbers
from bsnn.network.synapse_models import SynapseModel

__all__ = [
    "arrival",
    "at_start",
    "check_names",
    "delay_of_connections",
    "late_steps",
    "model_equations",
]

# A number for each pair of neurons of an image, the same whichever of a batch; as a float, so that
# it does not overflow.
_CONNECTION = "((i % {sources})*1.0*{targets} + j % {targets})"


def model_equations(synapse: SynapseModel) -> str:
    """Return the equations of a `brian2.Synapses`."""
    weight = "w : 1" if synapse.learns else "w : 1 (constant)"
    return "\n".join([weight, synapse.equations, *parameter_equations(synapse.parameters)])


def arrival(
    synapse: SynapseModel, effect: str, *, late: str, image_steps: int, variables: frozenset[str]
) -> str:
    """Return what an arriving spike does.

    Parameters
    ----------
    synapse : SynapseModel
        Of the connection.
    effect : str
        What the spike does to the neuron; the efficacy takes the place of ``w``.
    late : str
        Expression for the delay in steps; empty for none.
    image_steps : int
        Steps for which an image is shown.
    variables : frozenset of str
        Names of the target's variables.
    """
    if synapse.efficacy != "w":
        effect = renamed(effect, {"w": f"({synapse.efficacy})"})
    code = "\n".join(text for text in (synapse.before_effect, effect, synapse.after_effect) if text)
    if not late:
        return code
    # Brian2 has no way to take spikes back that are on their way: those of the image before are let
    # arrive, and do nothing
    gate = f"arrives = int({STEP} % {image_steps} >= {late})"
    known = synapse.variables | variables | {f"{name}_post" for name in variables}
    return f"{gate}\n{gated(code, 'arrives', known)}"


def late_steps(synapse: SynapseModel, dt: b2.Quantity, name: str) -> str:
    """Return an expression for the delay in steps; empty if there is none.

    Raises
    ------
    BuildError
        The delay is not a whole number of steps.
    """
    if isinstance(synapse.delay, str):
        return "int(delay/dt + 0.5)"
    if synapse.delay is None:
        return ""
    steps = float(synapse.delay / dt)
    if abs(steps - round(steps)) > 1e-6:
        raise BuildError(
            f"The delay of {synapse.delay} of the connection {name!r} is not a whole number of "
            f"steps of {dt}: give another delay, or build the network with another dt."
        )
    return str(round(steps)) if round(steps) else ""


def at_start(synapse: SynapseModel) -> str:
    """Return statements for the beginning of an image; may be empty."""
    # so that an image goes on from its own beginning, whatever came before
    clock = ["lastupdate = t"] if synapse.event_driven else []
    return "\n".join([*([synapse.at_start] if synapse.at_start else []), *clock])


def delay_of_connections(
    synapse: SynapseModel, *, seed: int, name: str, sources: int, targets: int
) -> str:
    """Return an expression for the delay of each connection, a whole number of steps.

    Parameters
    ----------
    synapse : SynapseModel
        Its delay is an expression.
    seed : int
        Of the network.
    name : str
        The connection.
    sources, targets : int
        Neurons of one image.
    """
    delay = str(synapse.delay)
    drawn = with_random_numbers(delay, _CONNECTION.format(sources=sources, targets=targets))
    names = {"noise_stream": "0"}
    for random in random_names([delay]):
        names[f"seed_{random}"] = str(noise_seed(seed, name, random))
    return f"int(clip(({renamed(drawn, names)})/dt, 0, 2147483647) + 0.5)*dt"


def check_names(synapse: SynapseModel, name: str, neuron: str, on_pre: str) -> None:
    """Refuse a synapse whose names mean something else to the neuron.

    Raises
    ------
    BuildError
        What a spike does to the neuron, `on_pre`, uses a name that the synapse defines.
    """
    own = (synapse.variables | set(synapse.parameters)) - {"w"}
    taken = sorted(own & get_identifiers(on_pre))
    if taken:
        raise BuildError(
            f"On the connection {name!r} the synapse {synapse.name!r} defines {', '.join(taken)}, "
            f"which the neuron {neuron!r} uses for what a spike does to it: rename it in one of "
            "them."
        )
