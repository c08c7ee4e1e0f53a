"""Building a network in time-to-first-spike coding."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import brian2 as b2
import numpy as np

from bsnn.brian.connectivity import pool_connections
from bsnn.brian.max_pooling import FirstSpikePool
from bsnn.brian.neuron_models import TtfsNeuron
from bsnn.brian.neurons import (
    MAX_POOL,
    POOL_MODEL,
    PopulationEquations,
)
from bsnn.brian.perturbations import PERTURBATIONS, chosen_perturbations
from bsnn.brian.pooling import Windows
from bsnn.brian.random_numbers import (
    NEURON,
    NOISE_AT_START_OF_WINDOW,
    NOISE_MODEL,
    noise_seed,
    random_names,
    seeds_model,
    uniform_of_neurons,
    with_random_numbers,
)
from bsnn.brian.spiking_groups import CalendarGroup
from bsnn.brian.ttfs_network import TtfsNetwork
from bsnn.brian.wiring import connect, connect_explicitly, count_fan_out
from bsnn.conversion import Population, TtfsModel

__all__ = ["build_ttfs"]

#: Slot in which populations prepare a new window: after the state update, before thresholds.
_BOUNDARY = "after_groups"


def build_ttfs(
    model: TtfsModel,
    *,
    neuron: TtfsNeuron,
    perturbations: Mapping[str, float],
    form: str,
    one_at_a_time: bool = False,
    **options: Any,
) -> TtfsNetwork:
    """Build a network in time-to-first-spike coding of a neuron model; see `bsnn.build`."""
    neuron_form = neuron.neuron_forms[form]
    for name, strength in perturbations.items():
        if form in PERTURBATIONS[name].forms:
            neuron_form = PERTURBATIONS[name].forms[form](neuron_form, strength)
    interval = neuron_form.shortest_interval
    if one_at_a_time:
        interval = max(interval, model.output.depth + 1)
    net = TtfsNetwork(
        model, neuron_form, interval, neuron=neuron, perturbations=perturbations, **options
    )
    parameters = {**neuron.parameters, **perturbations}
    orders: dict[str, int] = {}
    for name, population in model.populations.items():
        source = population.projections[0].source if population.projections else name
        # a pooling decides after its source has spiked and the spikes have arrived, in one step
        orders[name] = orders[source] + 2 if population.role == "max_pool" else 0
        _add_group(net, population, orders[name])
        _set_parameters(net, population, parameters, perturbations)
        if isinstance(net[name], FirstSpikePool):
            count_fan_out(net, source, net[name].fan_out())
        elif population.role == "max_pool":
            _connect_pool(net, population, orders[name])
        else:
            for path in population.projections:
                delay = path.delay * model.steps * net.clock.dt
                connect(net, population, path, neuron_form.on_pre, delay=delay)
    net.record_read_out()
    return net


def _add_group(net: TtfsNetwork, population: Population, order: int) -> None:
    model, name = net.model, population.name
    group = _make_group(net, population, order)
    net.groups[name] = group
    net.origin.link(group)
    net.network.add(group)
    group.window_steps = model.steps
    group.first_window = population.depth
    group.image_interval = net.interval
    group.image_count = net.rounds
    if population.role in ("neurons", "read_out"):
        if "t_max" in group.variables:
            group.t_max = model.steps * net.clock.dt
        if "share_of_step" in group.variables:
            group.share_of_step = 1 / model.steps
        rest = model.rest_potential(name)
        net.initial_values({"u_rest": rest, "u": rest}, name)


def _set_parameters(
    net: TtfsNetwork,
    population: Population,
    parameters: Mapping[str, Any],
    perturbations: Mapping[str, float],
) -> None:
    """Set what the neuron and its perturbations add to the variables of a population."""
    name, group = population.name, net[population.name]
    for key, value in parameters.items():
        if key in group.variables:
            setattr(group, key, value)
    # what differs from neuron to neuron where it is disturbed
    varied = {"alive": 1.0, "u_th": net.model.scales[name]}
    for perturbation, strength in chosen_perturbations(perturbations, net.model, name):
        if perturbation.arrays is not None:
            uniform = uniform_of_neurons(net.seed, name, perturbation.name, population.size)
            for key, factor in perturbation.arrays(strength, uniform).items():
                varied[key] = np.tile(varied.get(key, 1.0) * factor, net.batch)
    for key, value in varied.items():
        if key in group.variables:
            setattr(group, key, value)
    for key in group.variables:
        if key.startswith("seed_"):
            setattr(group, key, noise_seed(net.seed, name, key.removeprefix("seed_")))


def _make_group(net: TtfsNetwork, population: Population, order: int) -> b2.NeuronGroup:
    model, name = net.model, population.name
    options = {"clock": net.clock, "name": net.label(name), "dtype": net.dtype}
    if population.role == "max_pool" and net.connectivity == "shared":
        source = population.projections[0].source
        source_shape = model.populations[source].shape
        windows = Windows(*model.graph[population.layer].taps(*source_shape[1:]))
        return FirstSpikePool(
            net[source],
            source_shape,
            windows,
            window_steps=model.steps,
            origin=net.origin,
            batch=net.batch,
            model=POOL_MODEL,
            order=order,
            **options,
        )
    equations, random = _with_random_numbers(_equations(net, population))
    namespace = {"pixel_levels": net.pixel_levels} if population.role == "input" else {}
    if random:
        namespace |= net.noise_namespace(name)
    options |= {"namespace": namespace, "method": net.neuron.method}
    if equations.at_start_of_window:
        return CalendarGroup(
            net.group_size(name),
            equations.model,
            equations.at_start_of_window,
            window_steps=model.steps,
            origin=net.origin,
            **options,
        )
    spikes = bool(equations.threshold)
    group = b2.NeuronGroup(
        net.group_size(name),
        equations.model,
        threshold=equations.threshold if spikes else None,
        reset=equations.reset if spikes else None,
        **options,
    )
    if spikes:
        group.thresholder["spike"].order = order
    if equations.every_step:
        group.run_regularly(
            equations.every_step, when=_BOUNDARY, name=f"{group.name}_window_start", clock=net.clock
        )
    return group


def _equations(net: TtfsNetwork, population: Population) -> PopulationEquations:
    if population.role == "read_out" and not net.model.spikes(population.name):
        return net.neuron_form.silent
    by_role = {"input": net.neuron_form.input, "max_pool": MAX_POOL}
    return by_role.get(population.role, net.neuron_form.equations)


def _with_random_numbers(
    equations: PopulationEquations,
) -> tuple[PopulationEquations, tuple[str, ...]]:
    """Put what draws random numbers in the place of their names; return these, too."""
    plan = equations.at_start_of_window
    names = random_names([plan])
    if not names:
        return equations, names
    started = f"{NOISE_AT_START_OF_WINDOW}\n{with_random_numbers(plan, NEURON)}"
    model = "\n".join([equations.model, NOISE_MODEL, seeds_model(names)])
    return dataclasses.replace(equations, model=model, at_start_of_window=started), names


def _connect_pool(net: TtfsNetwork, population: Population, order: int) -> None:
    (path,) = population.projections
    source = net.model.populations[path.source]
    connections = pool_connections(net.model.graph[population.layer], source, population)
    connect_explicitly(
        net, population, path, connections, "arrived_post += 1", when="thresholds", order=order - 1
    )
