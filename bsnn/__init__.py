"""bsnn: trained convolutional networks as spiking networks in Brian2.

The journey of a network, each step of which is a plain object:

>>> graph = bsnn.from_torch(model, (1, 28, 28))            # doctest: +SKIP
>>> spiking = bsnn.convert_to_ttfs(graph, training_images) # doctest: +SKIP
>>> result = bsnn.simulate(spiking, images, labels)        # doctest: +SKIP
"""

from __future__ import annotations

import importlib
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
    convert,
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
    InputError,
    SettingsError,
    SimulationError,
    StorageError,
    UnknownNameError,
    nir_is_missing,
    torch_is_missing,
)
from bsnn.graph import Graph, count
from bsnn.simulation import (
    Axis,
    IncompleteSimulation,
    Interrupted,
    Result,
    Sweep,
    export,
    load_result,
    load_sweep,
    refit_thresholds,
    simulate,
    sweep,
)
from bsnn.storage import load_graph, save_graph

if TYPE_CHECKING:
    from bsnn.frontends.nir import NirNetwork, from_nir, save_nir, to_nir
    from bsnn.frontends.pytorch import from_torch

__all__ = [
    "Axis",
    "BsnnError",
    "BuildError",
    "Comparison",
    "ConversionError",
    "DatasetError",
    "Graph",
    "GraphError",
    "IncompleteSimulation",
    "InputError",
    "Interrupted",
    "NeuronModel",
    "NirNetwork",
    "RateModel",
    "RateNeuron",
    "Result",
    "SettingsError",
    "SimulationError",
    "SpikingModel",
    "SpikingNetwork",
    "StorageError",
    "Sweep",
    "SynapseModel",
    "TtfsModel",
    "TtfsNeuron",
    "UnknownNameError",
    "build",
    "compare",
    "convert",
    "convert_to_rate",
    "convert_to_ttfs",
    "count",
    "datasets",
    "export",
    "from_nir",
    "from_torch",
    "load_graph",
    "load_model",
    "load_result",
    "load_sweep",
    "refit_thresholds",
    "register_neuron",
    "register_synapse",
    "save_graph",
    "save_nir",
    "simulate",
    "sweep",
    "to_nir",
    "use_device",
]


#: What needs an extra, and takes time to import: the module it is in, the package that the module
#: needs, and the error if that is missing. Only who asks for it needs it.
_EXTRAS = {
    "from_torch": (
        "bsnn.frontends.pytorch",
        "torch",
        lambda: torch_is_missing("Converting a PyTorch model"),
    ),
    **dict.fromkeys(
        ("NirNetwork", "from_nir", "save_nir", "to_nir"),
        ("bsnn.frontends.nir", "nir", lambda: nir_is_missing("Reading and writing NIR")),
    ),
}


def __getattr__(name: str) -> Any:
    if name not in _EXTRAS:
        raise AttributeError(f"module 'bsnn' has no attribute {name!r}")
    module, package, missing = _EXTRAS[name]
    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise missing() from error
