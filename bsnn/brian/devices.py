"""The devices on which a network can be simulated, and running it on them.

A device is one entry in `DEVICES`. `use_device` makes Brian2's device the active one for as long
as its block lasts, and gives back the one before.
"""

from __future__ import annotations

import gc
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Protocol

import brian2 as b2
import numpy as np
from brian2.core.variables import ArrayVariable, VariableView
from brian2.devices.cpp_standalone.device import CPPStandaloneDevice
from brian2.devices.device import RuntimeDevice, all_devices, reset_device

from bsnn.brian.compilation import compile_project, write_units
from bsnn.brian.network import DEFAULT_STEP, SpikingNetwork
from bsnn.cuda import check_names, configured
from bsnn.cuda.memory import check_gpu_memory
from bsnn.errors import BuildError, SimulationError
from bsnn.registry import Registry, check_name

__all__ = [
    "DEVICES",
    "Runner",
    "active_device",
    "check_device",
    "code_target",
    "default_step",
    "generate",
    "generated_file",
    "start",
    "use_code_target",
    "use_device",
    "use_generator",
]


class Runnable(Protocol):
    """What `start` asks of a network; a `SpikingNetwork` has it."""

    network: b2.Network
    stored_connections: int

    @property
    def duration(self) -> b2.Quantity:
        """Simulated time of one run."""

    def presentation(self, images: Any, numbers: np.ndarray | None = None) -> dict[Any, np.ndarray]:
        """Return what a run is given (``run_args`` of `brian2.device.run`)."""


class Runner:
    """Runs a built network again and again, each time with other images.

    Attributes
    ----------
    build_seconds : float
        Time to make the first run possible: code generation and compilation.
    """

    build_seconds = 0.0

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
        raise NotImplementedError


class _RuntimeRunner(Runner):
    def __init__(self, net: SpikingNetwork) -> None:
        self._net = net
        started = time.perf_counter()
        # generates and compiles the code, without a step of simulation
        net.network.run(0 * b2.second, namespace={})
        self.build_seconds = time.perf_counter() - started
        net.network.store("bsnn_before_images")

    def run(
        self,
        images: np.ndarray,
        numbers: np.ndarray | None = None,
        values: Mapping[VariableView, Any] | None = None,
    ) -> None:
        net = self._net
        net.network.restore("bsnn_before_images")
        for variable, value in (values or {}).items():
            variable[:] = value
        net.present(images, numbers)
        net.network.run(net.duration, namespace={})


class _StandaloneRunner(Runner):
    def __init__(self, net: Runnable, directory: Path, profile: bool) -> None:
        self._net = net
        started = time.perf_counter()
        if active_device() == "cuda":
            check_names(net.network)
        net.network.run(net.duration, namespace={}, profile=profile)
        if active_device() == "cuda":
            check_gpu_memory(net.stored_connections)
        else:
            _keep_values_out_of_code(b2.device)
        b2.device.build(directory=str(directory), compile=False, run=False, with_output=False)
        compile_project(directory, b2.device.writer.source_files)
        self.build_seconds = time.perf_counter() - started

    def run(
        self,
        images: np.ndarray,
        numbers: np.ndarray | None = None,
        values: Mapping[VariableView, Any] | None = None,
    ) -> None:
        run_args = {**self._net.presentation(images, numbers), **(values or {})}
        with warnings.catch_warnings():
            # Brian2 compares all variables with a number that is too large for float32
            warnings.filterwarnings("ignore", "overflow encountered in cast", RuntimeWarning)
            try:
                b2.device.run(with_output=False, run_args=run_args)
            except RuntimeError as error:
                raise SimulationError(f"The compiled simulation failed: {error}") from error
        # each set of images is a file: without this they would fill the disk
        b2.device.delete(code=False, data=False, run_args=True, directory=False)


def _keep_values_out_of_code(device: CPPStandaloneDevice) -> None:
    """Let values of shared parameters be read from files, as those of arrays are.

    Brian2 writes them into the program. Networks that differ in them alone then share a binary (see
    `bsnn.brian.compilation`): those of a sweep, or of other seeds.
    """
    variables = {name: variable for variable, name in device.arrays.items()}
    for place, (what, arguments) in enumerate(device.main_queue):
        if what != "set_by_single_value":
            continue
        name, _, text = arguments
        variable = variables.get(name)
        # a whole array is copied from a file; and names such as true are left in the program
        if variable is None or not variable.scalar or not _is_number(text):
            continue
        value = np.array([float(text)], dtype=variable.dtype)
        data = device.static_array(name, value)
        device.main_queue[place] = ("set_by_array", (name, data, False))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _require_compiler() -> None:
    compiler = b2.prefs["codegen.cpp.compiler"] or "g++"
    if (
        shutil.which("make") is None
        or shutil.which("g++" if compiler == "unix" else compiler) is None
    ):
        raise BuildError(
            "C++ standalone mode needs a C++ compiler (g++) and make, and at least one of them is "
            "not to be found. Install them (Debian and Ubuntu: apt-get install g++ make), or use "
            "the runtime device, which needs neither."
        )


def _cpp_standalone(directory: Path | None) -> AbstractContextManager[Path]:
    _require_compiler()
    return _standalone("cpp_standalone", directory)


@contextmanager
def _cuda_standalone(directory: Path | None) -> Iterator[Path]:
    with configured() as found:
        if found.gpu is None:
            raise BuildError(
                f"There is no GPU to simulate on: {found.no_gpu}. To compile for one elsewhere, "
                "use bsnn export."
            )
        with _standalone("cuda_standalone", directory) as folder, default_step():
            yield folder


@contextmanager
def default_step() -> Iterator[None]:
    """Give the clock on which networks run on CUDA the step that they have elsewhere."""
    before = b2.defaultclock.dt
    b2.defaultclock.dt = DEFAULT_STEP
    try:
        yield
    finally:
        b2.defaultclock.dt = before


@contextmanager
def _standalone(device: str, directory: Path | None) -> Iterator[Path]:
    # Brian2 numbers its objects anew for as long as those of an earlier network are there, and code
    # with other names is other code to the cache of binaries
    gc.collect()
    with (
        tempfile.TemporaryDirectory(prefix="bsnn_")
        if directory is None
        else nullcontext(str(directory))
    ) as folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        b2.set_device(device, build_on_run=False)
        try:
            yield Path(folder)
        finally:
            b2.device.reinit()
            b2.device.activate()
            reset_device()


@contextmanager
def _runtime(_: Path | None) -> Iterator[None]:
    b2.set_device("runtime")
    try:
        yield None
    finally:
        reset_device()


#: By the name used on the command line, the context that makes Brian2's device active.
DEVICES: Registry[Callable[[Path | None], AbstractContextManager[Path | None]]] = Registry(
    "device",
    {
        "runtime": _runtime,
        "cpp": _cpp_standalone,
        "cuda": _cuda_standalone,
    },
)


def use_device(name: str, directory: Path | None = None) -> AbstractContextManager[Path | None]:
    """Make a device active for a block.

    Parameters
    ----------
    name : str
        A name in `DEVICES`: ``"runtime"`` (Brian2's runtime mode, with numpy or Cython after its
        preferences), ``"cpp"`` (C++ standalone) or ``"cuda"`` (CUDA standalone by Brian2CUDA, whose
        preferences are set by `bsnn.cuda.configure` for the block).
    directory : path, optional
        Where generated code goes; kept. By default a temporary folder, deleted after the block.
        Compiled binaries are kept apart from it (see `bsnn.brian.compilation`).

    Raises
    ------
    UnknownNameError
        There is no such device.
    BuildError
        There is no compiler, or no GPU.
    """
    check_device(name)
    if active_device() != "runtime":
        raise BuildError(
            f"The device {active_device()!r} is active already. Build the network yourself and "
            "simulate it there, or go back to runtime mode first."
        )
    return DEVICES[name](directory)


@contextmanager
def use_generator(name: str) -> Iterator[None]:
    """Make a device active for a block that only generates code; nothing else is asked of it.

    Parameters
    ----------
    name : str
        ``"cpp"`` or ``"cuda"``.
    """
    with ExitStack() as stack:
        if name == "cuda":
            # which GPU the code is for is said when it is compiled
            stack.enter_context(configured(generate_only=True, compute_capability=9.0))
        stack.enter_context(_standalone(f"{name}_standalone", None))
        yield


def generate(net: SpikingNetwork, directory: Path) -> list[str]:
    """Write the code of a network, built in `use_generator`; return what is to be compiled."""
    if active_device() == "cuda":
        check_names(net.network)
    net.network.run(net.duration, namespace={})
    b2.device.build(directory=str(directory), compile=False, run=False, with_output=False)
    return write_units(directory, sorted(b2.device.writer.source_files))


def generated_file(variable: ArrayVariable) -> str:
    """Return the name of the file that will hold a variable after a run of generated code."""
    return b2.device.get_array_filename(variable)


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
    device = b2.get_device()
    if type(device) is CPPStandaloneDevice:
        return "cpp"
    if isinstance(device, RuntimeDevice):
        return "runtime"
    if device is all_devices.get("cuda_standalone"):
        return "cuda"
    raise BuildError(
        f"The active Brian2 device is {type(device).__name__}; bsnn runs on {', '.join(DEVICES)}."
    )


def code_target() -> str:
    """Return Brian2's preference for what code runs as in runtime mode, such as ``"numpy"``."""
    return b2.prefs["codegen.target"]


@contextmanager
def use_code_target(target: str) -> Iterator[None]:
    """Set Brian2's preference for the duration of a block."""
    before = code_target()
    b2.prefs["codegen.target"] = target
    try:
        yield
    finally:
        b2.prefs["codegen.target"] = before


def start(
    net: SpikingNetwork | Runnable, directory: Path | None = None, *, profile: bool = False
) -> Runner:
    """Prepare a network, built on the active device, for its runs.

    With `profile` generated code measures how long each object takes (`brian2.profiling_summary`);
    on a GPU the host then waits for each.
    """
    if active_device() == "runtime":
        return _RuntimeRunner(net)
    if b2.device.build_on_run:
        raise BuildError(
            "The standalone device was set to build at the first run. Set it with "
            "set_device(..., build_on_run=False), so that one binary runs many times."
        )
    if b2.device.has_been_run:
        raise BuildError(
            "The standalone device has built and run a program already. Simulate all images in one "
            "call, or call device.reinit() and device.activate(build_on_run=False), and build the "
            "network again."
        )
    return _StandaloneRunner(net, directory or Path("output"), profile)
