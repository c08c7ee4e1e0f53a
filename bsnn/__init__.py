"""bsnn: trained convolutional networks as spiking networks in Brian2.

The journey of a network, each step of which is a plain object:

>>> graph = bsnn.from_torch(model, (1, 28, 28))            # doctest: +SKIP
>>> spiking = bsnn.convert_to_ttfs(graph, training_images) # doctest: +SKIP
>>> result = bsnn.simulate(spiking, images, labels)        # doctest: +SKIP
"""

# ruff: noqa: F401, F403, F405, what is imported for type checkers is found by __getattr__
from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bsnn.errors import (
    BsnnError,
    BuildError,
    ConversionError,
    ConversionWarning,
    DatasetError,
    GraphError,
    InputError,
    SettingsError,
    SimulationError,
    StorageError,
    UnknownNameError,
    nir_is_missing,
    onnx_is_missing,
    torch_is_missing,
)
from bsnn.settings import Run, Setup

if TYPE_CHECKING:
    from bsnn import datasets
    from bsnn.conversion import *
    from bsnn.devices import use_device
    from bsnn.explain import Comparison, compare
    from bsnn.frontends.onnx_import import from_onnx
    from bsnn.frontends.pytorch import from_torch
    from bsnn.graph import Graph, count, load_graph, save_graph
    from bsnn.network import (
        NeuronModel,
        RateNeuron,
        SpikingNetwork,
        SynapseModel,
        TtfsNeuron,
        build,
        register_neuron,
        register_synapse,
    )
    from bsnn.nir import NirNetwork, from_nir, save_nir, to_nir
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

# in a checkout that is not installed, networks and hardware lie beside this package
_ROOT = Path(__file__).parents[1]
if (_ROOT / "networks" / "__init__.py").is_file() and (_ROOT / "pyproject.toml").is_file():
    __path__.append(str(_ROOT))

#: Names that are found when they are asked for, by the module that they are in: Brian2 and PyTorch
#: take time to import, and who only looks at a model, or extends Brian2, needs no more than that.
_LAZY = {
    "bsnn.devices": ("use_device",),
    "bsnn.explain": ("Comparison", "compare"),
    "bsnn.frontends.onnx_import": ("from_onnx",),
    "bsnn.frontends.pytorch": ("from_torch",),
    "bsnn.graph": ("Graph", "count", "load_graph", "save_graph"),
    "bsnn.network": (
        "NeuronModel", "RateNeuron", "SpikingNetwork", "SynapseModel", "TtfsNeuron", "build",
        "register_neuron", "register_synapse",
    ),
    "bsnn.nir": ("NirNetwork", "from_nir", "save_nir", "to_nir"),
    "bsnn.simulation": (
        "Axis", "IncompleteSimulation", "Interrupted", "Result", "Sweep", "export", "load_result",
        "load_sweep", "refit_thresholds", "simulate", "sweep",
    ),
}  # fmt: skip

_MODULES = {name: module for module, names in _LAZY.items() for name in names}

#: What needs an extra: the package that is then missing, and the error that says so.
_EXTRAS = {
    "bsnn.nir": ("nir", lambda: nir_is_missing("Reading and writing NIR")),
    "bsnn.frontends.onnx_import": ("onnx", lambda: onnx_is_missing("Reading an ONNX model")),
    "bsnn.frontends.pytorch": ("torch", lambda: torch_is_missing("Converting a PyTorch model")),
}


def __getattr__(name: str) -> Any:
    if name == "__all__":
        return _public()
    if name.startswith("_"):
        raise AttributeError(f"module 'bsnn' has no attribute {name!r}")
    module = _MODULES.get(name)
    if module is None:
        if importlib.util.find_spec(f"bsnn.{name}") is not None:
            return importlib.import_module(f"bsnn.{name}")
        # models, and what makes them: each coding says what of it is public
        module = "bsnn.conversion"
        if name not in importlib.import_module(module).PUBLIC:
            raise AttributeError(f"module 'bsnn' has no attribute {name!r}")
    try:
        found = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        package, missing = _EXTRAS.get(module, (None, None))
        if missing is None or error.name != package:
            raise
        raise missing() from error
    globals()[name] = found
    return found


def _public() -> list[str]:
    known = {name for name, value in globals().items() if not name.startswith("_")}
    conversion = importlib.import_module("bsnn.conversion")
    internal = {"TYPE_CHECKING", "Any", "Path", "annotations", "importlib"}
    internal |= {"nir_is_missing", "torch_is_missing"}
    return sorted((known - internal) | {"datasets", *_MODULES, *conversion.PUBLIC})


def __dir__() -> list[str]:
    return sorted({*globals(), *_public()})
