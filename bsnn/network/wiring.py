"""Connections from one population to another, shared or explicit."""

from __future__ import annotations

from typing import Any

import brian2 as b2
import numpy as np

from bsnn.brian.noise import spike_noise
from bsnn.conversion import Population, Projection
from bsnn.errors import BuildError
from bsnn.network.connection_names import connection_name
from bsnn.network.connectivity import Connections, projection
from bsnn.network.network import SpikingNetwork
from bsnn.network.shared_projection import shared_projection
from bsnn.network.synapse_code import (
    arrival,
    check_names,
    delay_of_connections,
    late_steps,
    model_equations,
)
from bsnn.network.synapse_models import STATIC, SynapseModel

__all__ = ["connect", "connect_explicitly", "count_fan_out"]


def connect(
    net: SpikingNetwork,
    population: Population,
    path: Projection,
    on_pre: str,
    *,
    synapse: SynapseModel = STATIC,
    delay: Any = 0 * b2.second,
    when: str = "synapses",
    order: int = -1,
    post_order: int = 1,
) -> None:
    """Add a projection with the trained weights, as the network's connectivity says.

    Parameters
    ----------
    net : SpikingNetwork
        Has the groups of both populations.
    population : Population
        The target.
    path : Projection
        From its source.
    on_pre : str
        What a spike does to the neuron; ``w`` is the weight, and the synapse's efficacy is in its
        place.
    synapse : SynapseModel
        What the connection does with spikes. One that needs explicit synapses gets them.
    delay : brian2.Quantity
        None by default; that of the synapse model comes first. It is given even where it is zero:
        without it `brian2.Synapses` keeps a delay for each connection.
    when, order : str, int
        At which point of a step spikes arrive; by default where Brian2's synapses have them arrive.
    post_order : int
        Order, in the same slot, of what a spike of the target does to the synapse.
    """
    model = net.model
    source = model.populations[path.source]
    maps = model.projections[population.name].maps
    factor = next(linear.factor for linear in maps if linear.path == path)
    name = connection_name(path.source, population.name, net.synapses)
    check_names(synapse, name, net.neuron.name, on_pre)
    late = "" if net.continuous else late_steps(synapse, net.clock.dt, name)
    on_pre = arrival(
        synapse,
        on_pre,
        late=late,
        image_steps=model.steps,
        variables=frozenset(net[population.name].variables),
    )
    if isinstance(synapse.delay, b2.Quantity):
        delay = synapse.delay
    shared = None
    if net.connectivity == "shared" and not synapse.explicit:
        shared = shared_projection(model.spiking_graph, path, source, population)
    if shared is None:
        connections = projection(model.spiking_graph, path, source, population)
        weights = connections.weight * _by_connection(factor, connections, source, population)
        connect_explicitly(
            net, population, path, connections, on_pre, weights, synapse=synapse, delay=delay,
            when=when, order=order, post_order=post_order,
        )  # fmt: skip
    else:
        net.synapses[name] = shared.connect(
            net.sender(path.source),
            net[population.name],
            on_pre,
            factor,
            dtype=net.dtype,
            batch=net.batch,
            delay=delay,
            when=when,
            order=order,
            namespace={},
            name=net.label(name),
        )
        net.network.add(net.synapses[name])
        count_fan_out(net, path.source, shared.fan_out())
    if late:
        net.origin.link(net.synapses[name])


def connect_explicitly(
    net: SpikingNetwork,
    population: Population,
    path: Projection,
    connections: Connections,
    on_pre: str,
    weights: np.ndarray | None = None,
    *,
    synapse: SynapseModel = STATIC,
    delay: Any = 0 * b2.second,
    when: str = "synapses",
    order: int = -1,
    post_order: int = 1,
) -> None:
    """Add a `brian2.Synapses` object with a row for each connection; see `connect`.

    `connections` and `weights` are those of one image.
    """
    if not len(connections):
        raise BuildError(f"The projection from {path.source!r} to {population.name!r} is empty.")
    name = connection_name(path.source, population.name, net.synapses)
    delays = {} if isinstance(synapse.delay, str) else {"pre": delay}
    synapses = b2.Synapses(
        net.sender(path.source),
        net[population.name],
        "" if weights is None else model_equations(synapse),
        on_pre=on_pre,
        on_post=synapse.on_post or None,
        method=synapse.method,
        clock=net.clock,
        delay={**delays, "post": 0 * b2.second} if synapse.on_post else delays,
        namespace={},
        name=net.label(name),
    )
    synapses.pre.when = when
    synapses.pre.order = order
    if synapse.on_post:
        synapses.post.when = when
        synapses.post.order = post_order
    source_size = net.model.populations[path.source].size
    number = np.arange(net.batch)[:, np.newaxis]
    synapses.connect(
        i=(number * source_size + connections.source).ravel(),
        j=(number * population.size + connections.target).ravel(),
    )
    if weights is not None:
        synapses.w = np.tile(weights, net.batch)
    for parameter, value in synapse.parameters.items():
        setattr(synapses, parameter, value)
    if isinstance(synapse.delay, str):
        delays = delay_of_connections(
            synapse, seed=net.seed, name=name, sources=source_size, targets=population.size
        )
        # the names of this function are none of the expression's
        synapses.delay.set_item(slice(None), delays, namespace={"spike_noise": spike_noise})
    net.synapses[name] = synapses
    net.stored_connections += net.batch * len(connections)
    net.network.add(synapses)
    count_fan_out(net, path.source, connections.fan_out(source_size))


def count_fan_out(net: SpikingNetwork, source: str, fan_out: np.ndarray) -> None:
    """Count connections of a population's neurons."""
    net.fan_out[source] = net.fan_out.get(source, np.zeros_like(fan_out)) + fan_out


def _by_connection(
    factor: float | np.ndarray, connections: Connections, source: Population, target: Population
) -> float | np.ndarray:
    if not isinstance(factor, np.ndarray) or not factor.ndim:
        return factor
    # neurons are numbered channel last
    row = connections.target % target.shape[0]
    column = connections.source % source.shape[0]
    return factor[row, column]
