"""The systems that can be compared.

bsnn's own are always there. Those that it is compared with are development code, not part of the
installed package: they lie in ``tests/benchmarks`` and are found when bsnn runs from its source
checkout (``pip install -e``).
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import bsnn
from bsnn.benchmark.brian import BrianSystem
from bsnn.benchmark.system import System
from bsnn.errors import SettingsError
from bsnn.registry import check_name

__all__ = [
    "CHECKOUT_SYSTEMS",
    "OWN_SYSTEMS",
    "checkout_folder",
    "checkout_module",
    "choose",
    "systems",
]

_SHARED = {"connectivity": "shared", "form": "calendar"}

#: bsnn's own: what each is, and the options of `bsnn.build`.
OWN_SYSTEMS: dict[str, tuple[str, dict[str, str]]] = {
    "bsnn_shared": ("bsnn, each kernel stored once", _SHARED),
    "bsnn_shared_float32": ("the same in single precision", {**_SHARED, "precision": "float32"}),
    "bsnn_explicit": (
        "bsnn, one row of Synapses for each connection",
        {"connectivity": "synapses", "form": "event"},
    ),
}

#: Systems that come with the source checkout.
CHECKOUT_SYSTEMS = (
    "event_driven_cpp",
    "torch_time_stepped",
    "torch_all_threads",
    "spikingjelly_rate",
    "brian2_rate",
)

_PACKAGE = "bsnn_checkout_benchmarks"


def checkout_folder() -> Path | None:
    """Return ``tests/benchmarks`` of the checkout that bsnn is imported from, if it is one."""
    folder = Path(bsnn.__file__).parents[1] / "tests" / "benchmarks"
    return folder if (folder / "__init__.py").is_file() else None


def systems() -> dict[str, System]:
    """Return all systems that are there, by name; not all of them may be able to run."""
    own = (BrianSystem(name, about, **options) for name, (about, options) in OWN_SYSTEMS.items())
    return {system.name: system for system in (*own, *_from_checkout())}


def checkout_module(name: str) -> ModuleType | None:
    """Return a module of the checkout's benchmarks; None if it or what it needs is not there."""
    if _checkout() is None:
        return None
    try:
        return importlib.import_module(f"{_PACKAGE}.{name}")
    except ModuleNotFoundError as error:
        if error.name and error.name.startswith(_PACKAGE):
            raise
        return None


def _from_checkout() -> tuple[System, ...]:
    package = _checkout()
    return () if package is None else package.SYSTEMS


def _checkout() -> ModuleType | None:
    """Return the checkout's benchmarks as a package."""
    folder = checkout_folder()
    if folder is None:
        return None
    if _PACKAGE not in sys.modules:
        spec = importlib.util.spec_from_file_location(
            _PACKAGE, folder / "__init__.py", submodule_search_locations=[str(folder)]
        )
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[_PACKAGE] = module
        spec.loader.exec_module(module)
    return sys.modules[_PACKAGE]


def choose(names: list[str] | None = None) -> tuple[list[System], dict[str, str]]:
    """Choose systems to run.

    Parameters
    ----------
    names : list of str, optional
        By default all that can run here.

    Returns
    -------
    chosen : list of System
    left_out : dict of str to str
        By name, why a system does not run.

    Raises
    ------
    SettingsError
        A system that was named is unknown or cannot run.
    """
    known = systems()
    left_out = {
        name: "comes with the source checkout of bsnn only"
        for name in CHECKOUT_SYSTEMS
        if name not in known
    }
    left_out |= {
        name: reason for name, system in known.items() if (reason := system.missing()) is not None
    }
    if names is None:
        return [system for name, system in known.items() if name not in left_out], left_out
    for name in names:
        if name in left_out:
            raise SettingsError(f"The system {name!r} cannot run: {left_out[name]}.")
        check_name(name, known, "system")
    return [known[name] for name in dict.fromkeys(names)], {}
