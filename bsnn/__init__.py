"""bsnn: trained convolutional networks as spiking networks in Brian2.

The journey of a network, each step of which is a plain object:

>>> graph = bsnn.from_torch(model, (1, 28, 28))            # doctest: +SKIP
>>> spiking = bsnn.convert_to_ttfs(graph, training_images) # doctest: +SKIP
>>> result = bsnn.simulate(spiking, images, labels)        # doctest: +SKIP
"""

# ruff: noqa: F401, what is imported for type checkers is found by __getattr__
from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

from bsnn import conversion, datasets
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
from bsnn.settings import Run, Setup
from bsnn.storage import load_graph, save_graph

if TYPE_CHECKING:
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
    from bsnn.frontends.nir import NirNetwork, from_nir, save_nir, to_nir
    from bsnn.frontends.pytorch import from_torch
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

#: Names that are found when they are asked for, by the module that they are in: Brian2 and PyTorch
#: take time to import, and who only looks at a model needs neither.
_LAZY = {
    "bsnn.brian": (
        "NeuronModel", "RateNeuron", "SpikingNetwork", "SynapseModel", "TtfsNeuron", "build",
        "register_neuron", "register_synapse", "use_device",
    ),
    "bsnn.comparison": ("Comparison", "compare"),
    "bsnn.frontends.nir": ("NirNetwork", "from_nir", "save_nir", "to_nir"),
    "bsnn.frontends.pytorch": ("from_torch",),
    "bsnn.simulation": (
        "Axis", "IncompleteSimulation", "Interrupted", "Result", "Sweep", "export", "load_result",
        "load_sweep", "refit_thresholds", "simulate", "sweep",
    ),
}  # fmt: skip

_MODULES = {name: module for module, names in _LAZY.items() for name in names}

#: What needs an extra: the package that is then missing, and the error that says so.
_EXTRAS = {
    "bsnn.frontends.nir": ("nir", lambda: nir_is_missing("Reading and writing NIR")),
    "bsnn.frontends.pytorch": ("torch", lambda: torch_is_missing("Converting a PyTorch model")),
}

# models, and what makes them: each coding says what of it is public
globals().update({name: getattr(conversion, name) for name in conversion.PUBLIC})

__all__ = [
    "BsnnError", "BuildError", "ConversionError", "DatasetError", "Graph", "GraphError",
    "InputError", "Run", "SettingsError", "Setup", "SimulationError", "StorageError",
    "UnknownNameError", "count", "datasets", "load_graph", "save_graph", *conversion.PUBLIC,
    *_MODULES,
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        if name.startswith("_") or importlib.util.find_spec(f"bsnn.{name}") is None:
            raise AttributeError(f"module 'bsnn' has no attribute {name!r}")
        return importlib.import_module(f"bsnn.{name}")
    module = _MODULES[name]
    try:
        found = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        package, missing = _EXTRAS.get(module, (None, None))
        if error.name != package:
            raise
        raise missing() from error
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
