"""Devices that generate a program, compile it and run it; in C++ the one of Brian2 itself."""

from __future__ import annotations

import gc
import shutil
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import brian2 as b2
import numpy as np
from brian2.core.variables import VariableView
from brian2.devices.device import all_devices, reset_device

from bsnn.devices.compilation import compile_project
from bsnn.devices.device import DEVICES, Device, Runnable, Runner
from bsnn.errors import BuildError, SimulationError

__all__ = ["CppStandalone", "Standalone"]


class Standalone(Device):
    """A device of Brian2 that generates a program.

    Attributes
    ----------
    brian_name : str
        How Brian2 calls it.
    """

    brian_name: str

    def is_active(self) -> bool:
        return b2.get_device() is all_devices.get(self.brian_name)

    def check(self, net: Runnable) -> None:
        """Refuse a network that the device cannot run, before any code is generated."""

    def prepare(self, net: Runnable) -> None:
        """Change or check a program that is to run here before its files are written."""

    def generating(self) -> AbstractContextManager[Path]:
        """Make it active for a block that only generates code; nothing else is asked of it."""
        return self.activated(None)

    @contextmanager
    def activated(self, directory: Path | None) -> Iterator[Path]:
        """Make Brian2's device active for a block; without a directory in a temporary one."""
        # Brian2 numbers its objects anew for as long as those of an earlier network are there, and
        # code with other names is other code to the cache of binaries
        gc.collect()
        with (
            tempfile.TemporaryDirectory(prefix="bsnn_")
            if directory is None
            else nullcontext(str(directory))
        ) as folder:
            Path(folder).mkdir(parents=True, exist_ok=True)
            b2.set_device(self.brian_name, build_on_run=False)
            try:
                yield Path(folder)
            finally:
                b2.device.reinit()
                b2.device.activate()
                reset_device()

    def runner(self, net: Runnable, directory: Path | None, *, profile: bool) -> Runner:
        if b2.device.build_on_run:
            raise BuildError(
                "The standalone device was set to build at the first run. Set it with "
                "set_device(..., build_on_run=False), so that one binary runs many times."
            )
        if b2.device.has_been_run:
            raise BuildError(
                "The standalone device has built and run a program already. Simulate all images in "
                "one call, or call device.reinit() and device.activate(build_on_run=False), and "
                "build the network again."
            )
        return _StandaloneRunner(self, net, directory or Path("output"), profile)

    def generate(
        self, net: Runnable, directory: Path, *, runs_here: bool = False, profile: bool = False
    ) -> list[str]:
        """Write the code of a network, built while active; return what is to be compiled."""
        self.check(net)
        net.network.run(net.duration, namespace={}, profile=profile)
        if runs_here:
            self.prepare(net)
        device: Any = b2.device
        device.build(directory=str(directory), compile=False, run=False, with_output=False)
        return sorted(device.writer.source_files)


class _StandaloneRunner(Runner):
    def __init__(self, device: Standalone, net: Runnable, directory: Path, profile: bool) -> None:
        self._net = net
        started = time.perf_counter()
        sources = device.generate(net, directory, runs_here=True, profile=profile)
        compile_project(directory, sources)
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


class CppStandalone(Standalone):
    """Brian2's C++ standalone mode."""

    name = "cpp"
    language = "C++"
    brian_name = "cpp_standalone"

    def active(self, directory: Path | None) -> AbstractContextManager[Path]:
        compiler = str(b2.prefs["codegen.cpp.compiler"] or "g++")
        needed = ("make", "g++" if compiler == "unix" else compiler)
        if any(shutil.which(program) is None for program in needed):
            raise BuildError(
                "C++ standalone mode needs a C++ compiler (g++) and make, and at least one of them "
                "is not to be found. Install them (Debian and Ubuntu: apt-get install g++ make), "
                "or use the runtime device, which needs neither."
            )
        return self.activated(directory)

    def prepare(self, net: Runnable) -> None:
        """Let values of shared parameters be read from files, as those of arrays are.

        Brian2 writes them into the program. Networks that differ in them alone then share a binary
        (see `bsnn.devices.compilation`): those of a sweep, or of other seeds.
        """
        device: Any = b2.device
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


DEVICES.add(CppStandalone.name, CppStandalone())
