"""Devices: their interface, their registry, and running networks on the active one.

A device is one subclass of `Device`, of which `DEVICES` has an instance by its name. `use_device`
makes Brian2's device the active one for as long as its block lasts, and gives back the one before.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

import brian2 as b2
import numpy as np
from brian2.core.variables import ArrayVariable, VariableView

from bsnn.errors import BuildError
from bsnn.registry import Registry, check_name

__all__ = [
    "DEFAULT_STEP",
    "DEVICES",
    "Device",
    "Runnable",
    "Runner",
    "active_device",
    "check_device",
    "code_target",
    "default_step",
    "generated_file",
    "start",
    "use_code_target",
    "use_device",
]

#: The step of networks that are given no other.
DEFAULT_STEP = 1 * b2.ms


class Runnable(Protocol):
    """What a device asks of a network; a `bsnn.network.SpikingNetwork` has it."""

    network: b2.Network
    stored_connections: int

    @property
    def duration(self) -> Any:
        """Simulated time of one run."""
        ...

    def presentation(self, images: Any, numbers: np.ndarray | None = None) -> dict[Any, np.ndarray]:
        """Return what a run is given (``run_args`` of `brian2.device.run`)."""
        ...

    def present(self, images: Any, numbers: np.ndarray | None = None) -> None:
        """Give the next run of runtime mode its images."""
        ...


class Runner(ABC):
    """Runs a built network again and again, each time with other images.

    Attributes
    ----------
    build_seconds : float
        Time to make the first run possible: code generation and compilation.
    """

    build_seconds = 0.0

    @abstractmethod
    def run(
        self,
        images: np.ndarray,
        numbers: np.ndarray | None = None,
        values: Mapping[VariableView, Any] | None = None,
    ) -> None:
        """Present images (at most the network's capacity); results are in its monitors.

        `numbers` are those of the images, for their noise (see `SpikingNetwork.presentation`).
        `values` are those that variables of groups, such as ``net["conv1"].v_th``, begin this run
        with, in place of the ones that they were built with.
        """


class Device(ABC):
    """Something that Brian2 simulates on.

    Attributes
    ----------
    name : str
        By which it is found in `DEVICES`, and on the command line.
    language : str or None
        What a project that it generates is written in; None if it generates none.
    parallel : bool
        Whether many neurons are updated at the same time, so that a batch of images costs little
        more than one.
    record_bytes : int
        Memory for what is recorded step by step, from which the number of images of a run follows.
    """

    name: str
    language: str | None = None
    parallel = False
    record_bytes = 100_000_000

    @abstractmethod
    def is_active(self) -> bool:
        """Say whether Brian2's active device is this one."""

    @abstractmethod
    def active(self, directory: Path | None) -> AbstractContextManager[Path | None]:
        """Make it Brian2's active device for a block; `directory` is where generated code goes."""

    @abstractmethod
    def runner(self, net: Runnable, directory: Path | None, *, profile: bool) -> Runner:
        """Prepare a network, built while the device was active, for its runs."""


#: Those that there are, by the names that the command line knows.
DEVICES: Registry[Device] = Registry("device")


def use_device(name: str, directory: Path | None = None) -> AbstractContextManager[Path | None]:
    """Make a device active for a block.

    Parameters
    ----------
    name : str
        A name in `DEVICES`: ``"runtime"`` (Brian2's runtime mode, with numpy or Cython after its
        preferences), ``"cpp"`` (C++ standalone) or ``"cuda"`` (CUDA standalone by Brian2CUDA, whose
        preferences are set by `bsnn.devices.cuda.configure` for the block).
    directory : path, optional
        Where generated code goes; kept. By default a temporary folder, deleted after the block.
        Compiled binaries are kept apart from it (see `bsnn.devices.compilation`).

    Raises
    ------
    UnknownNameError
        There is no such device.
    BuildError
        There is no compiler, or no GPU.
    """
    device = DEVICES[name]
    if not DEVICES["runtime"].is_active():
        raise BuildError(
            f"The device {active_device()!r} is active already. Build the network yourself and "
            "simulate it there, or go back to runtime mode first."
        )
    return device.active(directory)


def check_device(name: str) -> None:
    """Refuse a name that is not in `DEVICES`, with an `UnknownNameError`."""
    check_name(name, DEVICES, DEVICES.kind)


def active_device() -> str:
    """Return the name in `DEVICES` of the device that is active.

    Raises
    ------
    BuildError
        It is none of them.
    """
    for name, device in DEVICES.items():
        if device.is_active():
            return name
    raise BuildError(
        f"The active Brian2 device is {type(b2.get_device()).__name__}; bsnn runs on "
        f"{', '.join(DEVICES)}."
    )


def start(net: Runnable, directory: Path | None = None, *, profile: bool = False) -> Runner:
    """Prepare a network, built on the active device, for its runs.

    With `profile` generated code measures how long each object takes (`brian2.profiling_summary`);
    on a GPU the host then waits for each.
    """
    return DEVICES[active_device()].runner(net, directory, profile=profile)


def generated_file(variable: ArrayVariable) -> str:
    """Return the name of the file that will hold a variable after a run of generated code."""
    device: Any = b2.device
    return device.get_array_filename(variable)


def code_target() -> str:
    """Return Brian2's preference for what code runs as in runtime mode, such as ``"numpy"``."""
    return str(b2.prefs["codegen.target"])


@contextmanager
def use_code_target(target: str) -> Iterator[None]:
    """Set Brian2's preference for the duration of a block."""
    before = code_target()
    b2.prefs["codegen.target"] = target
    try:
        yield
    finally:
        b2.prefs["codegen.target"] = before


@contextmanager
def default_step() -> Iterator[None]:
    """Give Brian2's default clock, on which networks run on CUDA, the step that they have."""
    before = b2.defaultclock.dt
    b2.defaultclock.dt = DEFAULT_STEP
    try:
        yield
    finally:
        b2.defaultclock.dt = before
