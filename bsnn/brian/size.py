"""What a build will need, before it is made."""

from __future__ import annotations

import dataclasses

import numpy as np
import psutil

from bsnn.conversion import Projection, SpikingModel
from bsnn.errors import BuildError
from bsnn.graph import Graph

__all__ = ["BuildEstimate", "check_memory", "estimate"]

# Bytes an explicit synapse takes at the peak of a build: Brian2's two int32 indices, the float64
# weight and the int32 entry in its source's list, twice while arrays are written or grown, and
# bsnn's own index arrays. `tests/benchmarks/device_costs.py` prints the peaks behind this figure.
_BYTES_PER_SYNAPSE = 90
_BYTES_PER_NEURON = 200
_BASE_BYTES = 150_000_000

# Largest number of synapses of one Synapses object: Brian2 counts them in int32.
_MOST_SYNAPSES = 2**31 - 1


@dataclasses.dataclass(frozen=True)
class BuildEstimate:
    """Size of a network with explicit synapses.

    Attributes
    ----------
    neurons : int
        In all populations, input and pooling included.
    connections : int
        Synapses with weights, border-exact.
    pool_connections : int
        Synapses of max-poolings.
    memory_bytes : int
        At the peak of build and run, about.
    by_path : dict
        Synapses of either kind from one population to another.
    """

    neurons: int
    connections: int
    pool_connections: int
    memory_bytes: int
    by_path: dict[tuple[str, str], int]


def estimate(model: SpikingModel) -> BuildEstimate:
    """Estimate the size of a network with explicit synapses, without building it."""
    graph = model.graph
    connections = pooled = 0
    by_path: dict[tuple[str, str], int] = {}
    for population in model.populations.values():
        for path in population.projections:
            if population.role == "max_pool":
                number = graph[population.layer].connections(graph.shapes[path.source_layer])
                pooled += number
            else:
                number = _path_connections(graph, path)
                connections += number
            pair = (path.source, population.name)
            by_path[pair] = by_path.get(pair, 0) + number
    neurons = sum(population.size for population in model.populations.values())
    memory = _BASE_BYTES + neurons * _BYTES_PER_NEURON + (connections + pooled) * _BYTES_PER_SYNAPSE
    return BuildEstimate(neurons, connections, pooled, memory, by_path)


def _path_connections(graph: Graph, path: Projection) -> int:
    """Connections of linear layers multiplied out; exact for a single layer with weights."""
    source_size = int(np.prod(graph.shapes[path.source_layer]))
    connections, fan_in = source_size, 1
    for name in path.layers:
        own = graph[name].connections(*graph.input_shapes(name))
        if own:
            size = int(np.prod(graph.shapes[name]))
            connections = min(own * fan_in, source_size * size)
            fan_in = -(-connections // size)
    return connections


def check_memory(model: SpikingModel) -> None:
    """Refuse a build that cannot fit, with the numbers.

    Raises
    ------
    BuildError
        The synapses need more memory than the machine has, or one object more than Brian2 counts.
    """
    expected = estimate(model)
    if expected.connections > _MOST_SYNAPSES:
        raise BuildError(
            f"The network has {expected.connections:,} synapses; Brian2 counts up to "
            f"{_MOST_SYNAPSES:,}. Simulate a smaller network."
        )
    available = psutil.virtual_memory().available
    if expected.memory_bytes > available:
        raise BuildError(
            f"The network's {expected.connections:,} explicit synapses need about "
            f"{expected.memory_bytes / 1e9:.1f} GB; {available / 1e9:.1f} GB of memory are free. "
            "Free some memory, or simulate a smaller network."
        )
