"""Building a rate-coded network.

All layers act in the same step, one after another: population after population, all in the slot
``thresholds``, spikes arrive, and neurons are updated, spike, and are reset.
"""

from __future__ import annotations

from typing import Any

import brian2 as b2
import numpy as np

from bsnn.brian.encoders import ENCODER_EQUATIONS, INPUT_AT_START, INPUT_MODEL
from bsnn.brian.max_pooling import GatedPool
from bsnn.brian.noise import spike_noise
from bsnn.brian.pooling import Windows
from bsnn.brian.rate_network import RateNetwork
from bsnn.brian.rate_neurons import if_equations
from bsnn.brian.spiking_groups import OnePassGroup
from bsnn.brian.window_start import WindowStart
from bsnn.brian.wiring import connect, count_fan_out
from bsnn.conversion import Population, RateModel
from bsnn.conversion.gates import gate_key
from bsnn.conversion.noise import check_seed
from bsnn.errors import BuildError

__all__ = ["build_rate"]

_SLOT = "thresholds"

# Orders in the slot, from that of the population on.
_REMEMBER, _ARRIVE, _UPDATE, _SPIKE, _RESET, _ORDERS = range(6)


def build_rate(model: RateModel, **options: Any) -> RateNetwork:
    """Build a rate-coded network; see `bsnn.build`."""
    try:
        check_seed(options["seed"])
    except ValueError as error:
        raise BuildError(f"The network cannot be built: {error}.") from error
    net = RateNetwork(model, **options)
    for number, population in enumerate(model.populations.values()):
        order = _ORDERS * number
        if population.role == "input":
            _add_input(net, population, order)
        elif population.role == "max_pool":
            _add_pool(net, population, order)
            continue
        else:
            _add_neurons(net, population, order)
        for path in population.projections:
            from_input = path.source == model.input.name
            on_pre = ENCODER_EQUATIONS[model.encoder].on_pre if from_input else "v_post += w"
            connect(net, population, path, on_pre, when=_SLOT, order=order + _ARRIVE)
    return net


def _add_input(net: RateNetwork, population: Population, order: int) -> None:
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
    group.noise_seed = net.seed
    _at_start_of_image(net, population, INPUT_AT_START)


def _add_neurons(net: RateNetwork, population: Population, order: int) -> None:
    model, name = net.model, population.name
    bias = model.bias(name)
    equations = if_equations(model, population, bias)
    if equations.threshold:
        group = _group(
            net,
            population,
            equations.model,
            update=equations.update,
            threshold=equations.threshold,
            reset=equations.reset,
            order=order,
            namespace={},
            dtype=net.dtype,
        )
        threshold = model.threshold(name)
        if np.ndim(threshold):
            group.v_th = np.tile(net.by_neuron(name, threshold), net.batch)
        else:
            group.v_th = float(threshold)
    else:
        group = b2.NeuronGroup(
            net.group_size(name),
            equations.model,
            clock=net.clock,
            name=name,
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
    ):
        if variable in group.variables:
            setattr(group, variable, value)
    if "bias" in group.variables:
        net.initial_values({"bias": bias}, name)
    _at_start_of_image(net, population, equations.at_start)


def _add_pool(net: RateNetwork, population: Population, order: int) -> None:
    model = net.model
    source, *tables = model.windows(population.name)
    pool = GatedPool(
        net[source],
        model.populations[source].shape,
        Windows(*tables),
        key=gate_key(model.gate),
        batch=net.batch,
        model="spike_count : integer",
        reset="spike_count += 1",
        order=order + _SPIKE,
        clock=net.clock,
        name=population.name,
        namespace={},
        dtype=net.dtype,
    )
    _reset_in_slot(pool, order)
    net.groups[population.name] = pool
    _at_start_of_image(net, population, "spike_count = 0")
    count_fan_out(net, source, pool.fan_out())


def _reset_in_slot(group: b2.NeuronGroup, order: int) -> None:
    group.resetter["spike"].when = _SLOT
    group.resetter["spike"].order = order + _RESET


def _group(
    net: RateNetwork,
    population: Population,
    model: str,
    *,
    update: str,
    threshold: str,
    reset: str,
    order: int,
    **options: Any,
) -> b2.NeuronGroup:
    """Neurons that update, spike and are reset in one place of a step."""
    options |= {"clock": net.clock, "name": population.name}
    if net.form == "one-pass":
        group = OnePassGroup(
            net.group_size(population.name),
            model,
            update=update,
            threshold=threshold,
            reset=reset,
            order=order + _SPIKE,
            **options,
        )
    else:
        group = b2.NeuronGroup(
            net.group_size(population.name),
            model,
            threshold=threshold,
            reset=reset,
            method="euler",
            **options,
        )
        group.thresholder["spike"].order = order + _SPIKE
        _reset_in_slot(group, order)
        if update:
            _every_step(group, update, order + _UPDATE)
    net.groups[population.name] = group
    return group


def _every_step(group: b2.NeuronGroup, code: str, order: int) -> None:
    group.run_regularly(
        code, when=_SLOT, order=order, name=f"{group.name}_every_step*", clock=group.clock
    )


def _at_start_of_image(net: RateNetwork, population: Population, code: str) -> None:
    start = WindowStart(
        net[population.name],
        code,
        window_steps=net.model.steps,
        name=f"{population.name}_image_start",
    )
    net.network.add(net[population.name], start)
