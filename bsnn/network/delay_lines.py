"""What lies between a neuron's spike and those that it drives, in rate coding.

A delay line is a population that stands for another: it has a neuron for each, takes over its
spikes in the step in which they are emitted, and passes them on later, or not at all.
"""

from __future__ import annotations

from collections.abc import Sequence

import brian2 as b2

from bsnn.conversion import SpikingModel
from bsnn.network.network import SpikingNetwork
from bsnn.network.perturbations import DelayLinePart
from bsnn.network.random_numbers import (
    NOISE_AT_START,
    STEP_AND_NEURON,
    random_names,
    step_noise_model,
    with_random_numbers,
)

__all__ = ["DELAYED_WEIGHT", "add_delay_line", "drives_neurons"]

#: What stands for a weight: spikes that arrive in one step are counted.
DELAYED_WEIGHT = "({}*arriving_pre)"

_MODEL = """
source_count : integer (linked)
known_count : integer
fresh : integer
"""


def drives_neurons(model: SpikingModel, name: str, *, own_source: bool) -> bool:
    """Say whether spikes of a population are on their way to neurons, and may be disturbed there.

    An image that flows in as a current has no spikes, a source of the user's is not ours to
    disturb, and poolings see the neurons themselves.
    """
    if name == model.input.name and (own_source or not model.spikes(name)):
        return False
    return any(
        path.source == name and target.role in ("neurons", "read_out")
        for target in model.populations.values()
        for path in target.projections
    )


def add_delay_line(
    net: SpikingNetwork, name: str, parts: Sequence[DelayLinePart], *, when: str, order: int
) -> str:
    """Add the delay line of a population; what is connected after it gets its spikes.

    Parameters
    ----------
    net : SpikingNetwork
        Has the population's group.
    name : str
        The population.
    parts : sequence of DelayLinePart
        What happens on the way.
    when, order : str, int
        Where in a step spikes are passed on, after the population has spiked and is reset; two
        orders are used.

    Returns
    -------
    str
        Statements that clear the delay line at the beginning of an image.
    """
    longest = sum(part.longest for part in parts)
    places = ["arriving", *(f"waiting_{k}" for k in range(1, longest + 1))]
    arrives = "*".join(["fresh", *(part.arrives for part in parts if part.arrives)])
    late = " + ".join(part.late for part in parts if part.late) or "0"
    code = "\n".join(
        [
            "fresh = source_count - known_count",
            "known_count = source_count",
            # places hold how many spikes arrive in how many steps: all move up by one, then the new
            # ones take theirs
            *(f"{place} = {next}" for place, next in zip(places, [*places[1:], "0"], strict=True)),
            f"sent = {arrives}",
            f"late = {late}",
            *(f"{place} += sent*int(late == {k})" for k, place in enumerate(places)),
        ]
    )
    parameters = {key: value for part in parts for key, value in part.parameters.items()}
    random = random_names([code])
    model = [
        _MODEL,
        *(f"{place} : integer" for place in places),
        *(f"{key} : 1 (shared, constant)" for key in parameters),
        *_VALUE.get(net.model.populations[name].role, ()),
    ]
    if random:
        model.append(step_noise_model(random))
    source = net[name]
    line = b2.NeuronGroup(
        len(source),
        "\n".join(model),
        threshold="arriving > 0",
        # places move up by themselves
        reset="",
        clock=net.clock,
        name=net.label(f"{name}_delay_line"),
        namespace=net.noise_namespace(name) if random else {},
        dtype=net.dtype,
    )
    net.origin.link(line)
    line.source_count = b2.linked_var(source, "spike_count")
    if "value" in line.equations:
        line.value = b2.linked_var(source, "value")
    for key, value in parameters.items():
        setattr(line, key, value)
    if random:
        net.seed_random_numbers(line, name, random)
    line.run_regularly(
        with_random_numbers(code, STEP_AND_NEURON),
        when=when, order=order, clock=net.clock, name=f"{line.name}_every_step",
    )  # fmt: skip
    line.thresholder["spike"].when = when
    line.thresholder["spike"].order = order + 1
    net.delay_lines[name] = line
    net.network.add(line)
    start = [f"{place} = 0" for place in ("known_count", *places)]
    return "\n".join([*start, *([NOISE_AT_START] if random else [])])


# Spikes of the input carry the sign of what they encode.
_VALUE = {"input": ["value : 1 (linked)"]}
