"""bsnn: trained convolutional networks as spiking networks in Brian2.

The journey of a network, each step of which is a plain object:

>>> graph = bsnn.from_torch(model, (1, 28, 28))            # doctest: +SKIP
>>> spiking = bsnn.convert_to_ttfs(graph, training_images) # doctest: +SKIP
>>> result = bsnn.simulate(spiking, images, labels)        # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bsnn import datasets
from bsnn.brian import (
    NeuronModel,
    RateNeuron,
    SpikingNetwork,
    SynapseModel,
    TtfsNeuron,
    build,
    register_neuron,
    register_synapse,
    use_device,
)
from bsnn.comparison import Comparison, compare
from bsnn.conversion import (
    RateModel,
    SpikingModel,
    TtfsModel,
    convert_to_rate,
    convert_to_ttfs,
    load_model,
)
from bsnn.errors import (
    BsnnError,
    BuildError,
    ConversionError,
    DatasetError,
    GraphError,
    SettingsError,
    SimulationError,
    StorageError,
    torch_is_missing,
)
from bsnn.graph import Graph, count
from bsnn.simulation import (
    IncompleteSimulation,
    Interrupted,
    Result,
    export,
    load_result,
    simulate,
)
from bsnn.storage import load_graph, save_graph

if TYPE_CHECKING:
    from bsnn.frontends.pytorch import from_torch

__all__ = [
    "BsnnError",
    "BuildError",
    "Comparison",
    "ConversionError",
    "DatasetError",
    "Graph",
    "GraphError",
    "IncompleteSimulation",
    "Interrupted",
    "NeuronModel",
    "RateModel",
    "RateNeuron",
    "Result",
    "SettingsError",
    "SimulationError",
    "SpikingModel",
    "SpikingNetwork",
    "StorageError",
    "SynapseModel",
    "TtfsModel",
    "TtfsNeuron",
    "build",
    "compare",
    "convert_to_rate",
    "convert_to_ttfs",
    "count",
    "datasets",
    "export",
    "from_torch",
    "load_graph",
    "load_model",
    "load_result",
    "register_neuron",
    "register_synapse",
    "save_graph",
    "simulate",
    "use_device",
]


def __getattr__(name: str) -> Any:
    # torch is an extra, and takes a second to import: only who traces a model needs it
    if name == "from_torch":
        try:
            from bsnn.frontends.pytorch import from_torch
        except ModuleNotFoundError as error:
            if error.name != "torch":
                raise
            raise torch_is_missing("Converting a PyTorch model") from error
        return from_torch
    raise AttributeError(f"module 'bsnn' has no attribute {name!r}")
