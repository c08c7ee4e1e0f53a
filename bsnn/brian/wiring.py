"""Connections from one population to another, shared or explicit."""

from __future__ import annotations

from collections.abc import Mapping

import brian2 as b2
import numpy as np

from bsnn.brian.connectivity import Connections, projection
from bsnn.brian.network import SpikingNetwork
from bsnn.brian.shared_projection import shared_projection
from bsnn.conversion import Population, Projection
from bsnn.errors import BuildError

__all__ = ["connect", "connect_explicitly", "count_fan_out"]


def connect(
    net: SpikingNetwork,
    population: Population,
    path: Projection,
    on_pre: str,
    *,
    delay: b2.Quantity = 0 * b2.second,
    when: str = "synapses",
    order: int = -1,
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
        What a spike does; ``w`` is the weight.
    delay : brian2.Quantity
        None by default. It is given even where it is zero: without it `brian2.Synapses` keeps a
        delay for each connection.
    when, order : str, int
        At which point of a step spikes arrive; by default where Brian2's synapses have them arrive.
    """
    model = net.model
    source = model.populations[path.source]
    factor = model.weight_factor(path, population)
    shared = None
    if net.connectivity == "shared":
        shared = shared_projection(model.spiking_graph, path, source, population)
    if shared is None:
        connections = projection(model.spiking_graph, path, source, population)
        weights = connections.weight * _by_connection(factor, connections, source, population)
        connect_explicitly(
            net, population, path, connections, on_pre, weights, delay=delay, when=when, order=order
        )
        return
    name = _unused(f"{path.source}_to_{population.name}", net.synapses)
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
        name=name,
    )
    net.network.add(net.synapses[name])
    count_fan_out(net, path.source, shared.fan_out())


def connect_explicitly(
    net: SpikingNetwork,
    population: Population,
    path: Projection,
    connections: Connections,
    on_pre: str,
    weights: np.ndarray | None = None,
    *,
    delay: b2.Quantity = 0 * b2.second,
    when: str = "synapses",
    order: int = -1,
) -> None:
    """Add a `brian2.Synapses` object with a row for each connection; see `connect`.

    `connections` and `weights` are those of one image.
    """
    if not len(connections):
        raise BuildError(f"The projection from {path.source!r} to {population.name!r} is empty.")
    name = _unused(f"{path.source}_to_{population.name}", net.synapses)
    synapses = b2.Synapses(
        net.sender(path.source),
        net[population.name],
        "" if weights is None else "w : 1 (constant)",
        on_pre=on_pre,
        clock=net.clock,
        delay=delay,
        namespace={},
        name=name,
    )
    synapses.pre.when = when
    synapses.pre.order = order
    number = np.arange(net.batch)[:, np.newaxis]
    synapses.connect(
        i=(number * net.model.populations[path.source].size + connections.source).ravel(),
        j=(number * population.size + connections.target).ravel(),
    )
    if weights is not None:
        synapses.w = np.tile(weights, net.batch)
    net.synapses[name] = synapses
    net.stored_connections += net.batch * len(connections)
    net.network.add(synapses)
    count_fan_out(net, path.source, connections.fan_out(net.model.populations[path.source].size))


def count_fan_out(net: SpikingNetwork, source: str, fan_out: np.ndarray) -> None:
    """Count connections of a population's neurons."""
    net.fan_out[source] = net.fan_out.get(source, np.zeros_like(fan_out)) + fan_out


def _by_connection(
    factor: float | np.ndarray, connections: Connections, source: Population, target: Population
) -> float | np.ndarray:
    if not np.ndim(factor):
        return factor
    # neurons are numbered channel last
    row = connections.target % target.shape[0]
    column = connections.source % source.shape[0]
    return factor[row, column]


def _unused(name: str, taken: Mapping[str, object]) -> str:
    candidate, number = name, 1
    while candidate in taken:
        number += 1
        candidate = f"{name}_path{number}"
    return candidate
