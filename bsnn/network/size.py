"""What a build will need, before it is made."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import psutil

from bsnn.conversion import Projection, SpikingModel
from bsnn.errors import BuildError
from bsnn.graph import Graph
from bsnn.network.connection_names import connection_name
from bsnn.network.shared_projection import shared_projection
from bsnn.network.synapse_models import STATIC, SynapseModel

__all__ = ["CONNECTIVITIES", "BuildEstimate", "check_memory", "estimate"]

#: How connections are kept, by name.
CONNECTIVITIES = {
    "shared": "kernels and matrices of weights; connections are computed",
    "synapses": "a row of brian2.Synapses for each connection",
}

# Bytes an explicit synapse takes at the peak of a build: Brian2's two int32 indices, the float64
# weight and the int32 entry in its source's list, twice while arrays are written or grown, and
# bsnn's own index arrays. `tests/benchmarks/device_costs.py` prints the peaks behind this figure.
_BYTES_PER_SYNAPSE = 90
_BYTES_PER_NEURON = 200
# Of the neurons of each further image of a batch there are no tables, but variables, spikes, what
# is recorded, and numpy's intermediate results.
_BYTES_PER_FURTHER_NEURON = 60
_BASE_BYTES = 150_000_000

# Of a variable of each synapse beside its weight: a float64, twice while it is set.
_BYTES_PER_VARIABLE = 16
# Of the entry in the list of a target whose spikes change the synapse.
_BYTES_PER_POST = 12

# While a network is built, a shared weight is there as it was trained, as Brian2 knows it and as it
# will be written to a file; those of the largest layer also while they are scaled and ordered.
_BYTES_AS_TRAINED = 4
_COPIES_OF_WEIGHT = 2

# Largest number of synapses of one Synapses object: Brian2 counts them in int32.
_MOST_SYNAPSES = 2**31 - 1


@dataclasses.dataclass(frozen=True)
class BuildEstimate:
    """Size of a network; all but the memory is that of one image.

    Attributes
    ----------
    neurons : int
        In all populations, input and pooling included.
    connections : int
        Connections with weights, border-exact.
    pool_connections : int
        Connections of max-poolings.
    stored_weights : int
        Weights that shared connectivity keeps in place of connections.
    explicit_connections : int
        Connections that no shared object can stand for, or whose synapses have a state of their
        own: explicit synapses in either connectivity.
    memory_bytes : dict of str to int
        At the peak of build and run, about, by connectivity (in float64).
    by_path : dict
        Connections of either kind from one population to another.
    weights_by_path : dict
        Stored weights of shared connections from one population to another.
    """

    neurons: int
    connections: int
    pool_connections: int
    stored_weights: int
    explicit_connections: int
    memory_bytes: dict[str, int]
    by_path: dict[tuple[str, str], int]
    weights_by_path: dict[tuple[str, str], int]


def estimate(
    model: SpikingModel,
    precision: str = "float64",
    batch: int = 1,
    synapses: Mapping[str, SynapseModel] | None = None,
) -> BuildEstimate:
    """Estimate the size of a network that simulates a batch of images, without building it.

    `synapses` are synapse models by the name of the connection, as `check_synapses` returns them.
    """
    graph = model.spiking_graph
    connections = pooled = weights = explicit = state_bytes = 0
    names: set[str] = set()
    by_path: dict[tuple[str, str], int] = {}
    weights_by_path: dict[tuple[str, str], int] = {}
    for population in model.populations.values():
        for path in population.projections:
            pair = (path.source, population.name)
            if population.role == "max_pool":
                number = graph[population.layer].connections(graph.shapes[path.source_layer])
                pooled += number
            else:
                number = _path_connections(graph, path)
                connections += number
                name = connection_name(path.source, population.name, names)
                names.add(name)
                synapse = (synapses or {}).get(name, STATIC)
                state_bytes += number * _bytes_of_state(synapse)
                source = model.populations[path.source]
                shared = None
                if not synapse.explicit:
                    shared = shared_projection(graph, path, source, population)
                if shared:
                    weights += shared.weights
                    weights_by_path[pair] = weights_by_path.get(pair, 0) + shared.weights
                explicit += 0 if shared else number
            by_path[pair] = by_path.get(pair, 0) + number
    neurons = sum(population.size for population in model.populations.values())
    further = (batch - 1) * _BYTES_PER_FURTHER_NEURON
    base = _BASE_BYTES + neurons * (_BYTES_PER_NEURON + further)
    weight_bytes = np.dtype(precision).itemsize
    memory = {
        "shared": base
        + weights * (_BYTES_AS_TRAINED + _COPIES_OF_WEIGHT * weight_bytes)
        + max(weights_by_path.values(), default=0) * weight_bytes
        + batch * (explicit * _BYTES_PER_SYNAPSE + state_bytes),
        "synapses": base + batch * connections * _BYTES_PER_SYNAPSE + batch * state_bytes,
    }
    return BuildEstimate(
        neurons, connections, pooled, weights, explicit, memory, by_path, weights_by_path
    )


def _bytes_of_state(synapse: SynapseModel) -> int:
    """Return what each connection needs beside its indices and its weight."""
    variables = len(synapse.variables) - 1 + synapse.event_driven + isinstance(synapse.delay, str)
    return variables * _BYTES_PER_VARIABLE + bool(synapse.on_post) * _BYTES_PER_POST


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


def check_memory(
    model: SpikingModel,
    connectivity: str,
    precision: str = "float64",
    *,
    batch: int = 1,
    processes: int = 1,
    synapses: Mapping[str, SynapseModel] | None = None,
) -> None:
    """Refuse a build that cannot fit, with the numbers; `processes` of them build at once.

    Raises
    ------
    BuildError
        The connections need more memory than the machine has, or one object more synapses than
        Brian2 counts.
    """
    expected = estimate(model, precision, batch, synapses)
    stored = expected.explicit_connections if connectivity == "shared" else expected.connections
    stored *= batch
    would_fit = "Simulate a smaller network."
    if synapses and stored:
        would_fit = f"Give fewer connections a synapse model of their own. {would_fit}"
    if connectivity != "shared":
        shared = expected.memory_bytes["shared"] / 1e9
        would_fit = f"connectivity='shared' needs about {shared:.1f} GB."
    if stored > _MOST_SYNAPSES:
        raise BuildError(
            f"The network has {stored:,} explicit synapses; Brian2 counts up to "
            f"{_MOST_SYNAPSES:,}. {would_fit}"
        )
    available = psutil.virtual_memory().available
    needed = processes * expected.memory_bytes[connectivity]
    if needed > available:
        together = "" if processes == 1 else f" in {processes} processes"
        if together:
            would_fit = f"Fewer workers need less. {would_fit}"
        if batch > 1:
            together += f" and {batch} images side by side"
            would_fit = f"A smaller batch needs less. {would_fit}"
        raise BuildError(
            f"The network's {expected.connections:,} connections need about {needed / 1e9:.1f} GB "
            f"with connectivity={connectivity!r}{together}; {available / 1e9:.1f} GB of memory are "
            f"free. {would_fit}"
        )
