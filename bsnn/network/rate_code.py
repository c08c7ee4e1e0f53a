"""Rate coding in Brian2.

All layers act in the same step, one after another: population after population, all in the slot
``thresholds``, spikes arrive, and neurons are updated, spike, and are reset.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import brian2 as b2
import numpy as np

from bsnn.brian.max_pooling import GatedPool
from bsnn.brian.noise import spike_noise
from bsnn.brian.pooling import Windows
from bsnn.brian.spiking_groups import OnePassGroup
from bsnn.brian.window_recorder import WindowRecorder
from bsnn.brian.window_start import WindowStart
from bsnn.conversion import Population, Projection, RateModel
from bsnn.conversion.gates import gate_key
from bsnn.conversion.ties import tie
from bsnn.errors import BuildError
from bsnn.network.connection_names import connection_name
from bsnn.network.delay_lines import DELAYED_WEIGHT, add_delay_line, drives_neurons
from bsnn.network.disturbing import disturbed
from bsnn.network.encoders import ENCODER_EQUATIONS, INPUT_AT_START, INPUT_MODEL
from bsnn.network.network import SpikingNetwork
from bsnn.network.neural_code import NEURAL_CODES, NeuralCode
from bsnn.network.neuron_models import renamed
from bsnn.network.perturbations import PERTURBATIONS
from bsnn.network.positions import with_positions
from bsnn.network.rate_equations import population_neuron, rate_equations
from bsnn.network.rate_neurons import RATE_FORMS, RateNeuron
from bsnn.network.synapse_code import at_start
from bsnn.network.synapse_models import STATIC
from bsnn.network.wiring import connect, count_fan_out
from bsnn.splitmix import check_seed

__all__ = ["RateCode"]

_SLOT = "thresholds"

# Orders in the slot, from that of the population on.
_REMEMBER, _ARRIVE, _UPDATE, _SPIKE, _RESET, _LEARN, _DELAY_LINE, _DELAY_LINE_SPIKE, _ORDERS = (
    range(9)
)


class RateCode(NeuralCode):
    """Integrate-and-fire neurons; images follow one another, and all layers act in one step."""

    forms = RATE_FORMS
    default_neuron = "if"
    traced_form = "neuron-group"

    def build(self, net: SpikingNetwork) -> None:
        try:
            check_seed(net.seed)
        except ValueError as error:
            raise BuildError(f"The network cannot be built: {error}.") from error
        model = net.model
        for number, population in enumerate(model.populations.values()):
            order = _ORDERS * number
            if population.role == "input":
                start = _add_input(net, population, order)
            elif population.role == "max_pool":
                start = _add_pool(net, population, order)
            else:
                neuron: Any = net.neuron
                own = population_neuron(neuron, model, population.name)
                start = _add_neurons(net, population, own, order)
                for path in population.projections:
                    _connect(net, population, path, own, order)
            _at_start_of_image(net, net[population.name], start)
            _add_delay_line(net, population, order + _DELAY_LINE)

    def recorder(self, net: SpikingNetwork, name: str) -> WindowRecorder:
        return WindowRecorder(
            net[name],
            "spike_count",
            window_steps=net.model.steps,
            windows=net.rounds,
            origin=net.origin,
            dtype=np.int32,
            name=net.label(f"{name}_counts"),
        )

    def read_out(self, net: SpikingNetwork, name: str, label: str) -> WindowRecorder:
        return WindowRecorder(
            net[name],
            "spike_count" if net.model.spikes(name) else "v",
            window_steps=1,
            windows=net.rounds * net.model.steps,
            origin=net.origin,
            name=label,
        )


NEURAL_CODES.add(RateModel.coding, RateCode())


def _connect(
    net: SpikingNetwork, population: Population, path: Projection, neuron: RateNeuron, order: int
) -> None:
    name = connection_name(path.source, population.name, net.synapses)
    synapse = net.synapse_models.get(name, STATIC)
    connect(
        net,
        population,
        path,
        _on_pre(net, neuron, path.source),
        synapse=synapse,
        when=_SLOT,
        order=order + _ARRIVE,
        post_order=order + _LEARN,
    )
    start = at_start(synapse)
    if start:
        _at_start_of_image(net, net.synapses[name], [start])


def _on_pre(net: SpikingNetwork, neuron: RateNeuron, source: str) -> str:
    """Return what a spike from a population does to a neuron."""
    weight = "w"
    if source == net.model.input.name and net.source is None:
        encoder = ENCODER_EQUATIONS[net.model.encoder]
        if encoder.on_pre:
            return encoder.on_pre
        weight = encoder.weight
    if source in net.delay_lines:
        weight = DELAYED_WEIGHT.format(weight)
    return neuron.on_pre if weight == "w" else renamed(neuron.on_pre, {"w": f"({weight})"})


def _add_delay_line(net: SpikingNetwork, population: Population, order: int) -> None:
    parts = [
        delay_line(strength)
        for name, strength in net.perturbations.items()
        if (delay_line := PERTURBATIONS[name].delay_line) is not None
    ]
    name = population.name
    if parts and drives_neurons(net.model, name, own_source=net.source is not None):
        start = add_delay_line(net, name, parts, when=_SLOT, order=order)
        _at_start_of_image(net, net.delay_lines[name], [start])


def _add_input(net: SpikingNetwork, population: Population, order: int) -> list[str]:
    if net.source is not None:
        net.groups[population.name] = net.source
        return []
    namespace = {
        "image_values": net.image_values,
        "image_numbers": net.image_numbers,
        "spike_noise": spike_noise,
        "input_size": population.size,
    }
    group = _group(
        net,
        population,
        INPUT_MODEL,
        update="",
        threshold=ENCODER_EQUATIONS[net.model.encoder].threshold,
        reset="spike_count += 1",
        order=order,
        namespace=namespace,
        # pixels and the numbers of images are told apart in full precision
        dtype=np.float64,
    )
    group.image_steps = net.model.steps
    group.image_count = net.rounds
    group.noise_seed = net.seed
    return [INPUT_AT_START]


def _add_neurons(
    net: SpikingNetwork,
    population: Population,
    neuron: RateNeuron,
    order: int,
) -> list[str]:
    model, name = net.model, population.name
    bias = model.projections[name].bias
    factors: Mapping[str, np.ndarray] = {}
    if model.spikes(name):
        changed = disturbed(neuron, net.form, model, population, net.perturbations, net.seed)
        neuron, factors = changed.strings, changed.factors
    equations = rate_equations(neuron, model, population, bias, input_flows=net.input_flows)
    namespace = net.noise_namespace(name) if equations.random else {}
    if equations.threshold:
        group = _group(
            net,
            population,
            equations.model,
            update=equations.update,
            threshold=equations.threshold,
            reset=equations.reset,
            order=order,
            namespace=namespace,
            dtype=net.dtype,
            method=neuron.method,
            refractory=equations.refractory or False,
        )
        if equations.random:
            net.seed_random_numbers(group, name, equations.random)
        values = {"v_th": model.projections[name].threshold, **neuron.parameters}
        for variable, value in values.items():
            _set(net, name, variable, value, factors.get(variable))
    else:
        group = b2.NeuronGroup(
            net.group_size(name),
            with_positions(equations.model, population.shape, net.batch),
            clock=net.clock,
            name=net.label(name),
            namespace={},
            dtype=net.dtype,
        )
        net.groups[name] = group
        if equations.update:
            _every_step(group, equations.update, order + _UPDATE)
    if equations.before_input:
        _every_step(group, equations.before_input, order + _REMEMBER)
    for variable, value in (
        ("lowest_v_per_th", model.potential_floor),
        ("initial_v_per_th", model.initial_potential),
        ("tie", tie(model.fraction_bits)),
    ):
        if variable in group.variables:
            setattr(group, variable, value)
    if "bias" in group.variables:
        net.initial_values({"bias": bias}, name)
    return list(equations.at_start)


def _set(
    net: SpikingNetwork, name: str, variable: str, value: Any, factor: np.ndarray | None
) -> None:
    """Set a parameter of a population, times what it is multiplied by in each neuron."""
    if np.ndim(value):
        value = net.by_neuron(name, value)
    if factor is not None:
        value = value * factor
    setattr(net[name], variable, np.tile(value, net.batch) if np.ndim(value) else value)


def _add_pool(net: SpikingNetwork, population: Population, order: int) -> list[str]:
    model = net.model
    source, *tables = model.windows(population.name)
    pool = GatedPool(
        net[source],
        model.populations[source].shape,
        Windows(*tables),
        key=gate_key(model.gate),
        batch=net.batch,
        model=with_positions("spike_count : integer", population.shape, net.batch),
        reset="spike_count += 1",
        order=order + _SPIKE,
        clock=net.clock,
        name=net.label(population.name),
        namespace={},
        dtype=net.dtype,
    )
    _reset_in_slot(pool, order)
    net.groups[population.name] = pool
    count_fan_out(net, source, pool.fan_out())
    return ["spike_count = 0"]


def _reset_in_slot(group: b2.NeuronGroup, order: int) -> None:
    group.resetter["spike"].when = _SLOT
    group.resetter["spike"].order = order + _RESET


def _group(
    net: SpikingNetwork,
    population: Population,
    model: str,
    *,
    update: str,
    threshold: str,
    reset: str,
    order: int,
    method: str = "euler",
    refractory: Any = False,
    **options: Any,
) -> b2.NeuronGroup:
    """Neurons that update, spike and are reset in one place of a step."""
    options |= {"clock": net.clock, "name": net.label(population.name)}
    equations = with_positions(model, population.shape, net.batch)
    if net.form == "one-pass":
        group = OnePassGroup(
            net.group_size(population.name),
            equations,
            update=update,
            threshold=threshold,
            reset=reset,
            order=order + _SPIKE,
            **options,
        )
    else:
        group = b2.NeuronGroup(
            net.group_size(population.name),
            equations,
            threshold=threshold,
            reset=reset,
            method=method,
            refractory=refractory,
            **options,
        )
        group.thresholder["spike"].order = order + _SPIKE
        _reset_in_slot(group, order)
        if update:
            _every_step(group, update, order + _UPDATE)
    net.origin.link(group)
    net.groups[population.name] = group
    return group


def _every_step(group: b2.NeuronGroup, code: str, order: int) -> None:
    group.run_regularly(
        code, when=_SLOT, order=order, name=f"{group.name}_every_step*", clock=group.clock
    )


def _at_start_of_image(net: SpikingNetwork, group: b2.Group, statements: Sequence[str]) -> None:
    net.network.add(group)
    for order, code in enumerate(statements):
        net.network.add(
            WindowStart(
                group,
                code,
                window_steps=net.clear_steps,
                origin=net.origin,
                order=order,
                name=f"{group.name}_image_start" + ("" if order == 0 else f"_{order}"),
            )
        )
