"""Generate projects with Brian2CUDA, and compile and run them with and without a GPU."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import brian2 as b2
import numpy as np
import scenes
from brian2.core.variables import ArrayVariable
from emulation import compile_for_cpu
from merging import merge

from bsnn.devices import DEVICES
from bsnn.devices.compilation import write_units
from bsnn.devices.cuda.toolkit import find_curand


@contextmanager
def cuda_standalone() -> Iterator[b2.Device]:
    """Make Brian2CUDA's device active, on a machine that need not have a GPU."""
    with DEVICES["cuda"].generating():
        yield b2.get_device()


@dataclasses.dataclass
class Project:
    """A generated project, and where its programs leave what they computed."""

    folder: Path
    #: All code, as one translation unit.
    source: str
    #: By name of a recorded quantity, name and type of the file that holds it after a run.
    files: dict[str, tuple[str, np.dtype]]
    #: Names of the templates of its code objects.
    templates: set[str]

    def read(self) -> dict[str, np.ndarray]:
        """Return what the last run of a program computed."""
        return {
            name: np.fromfile(self.folder / "results" / file, dtype)
            for name, (file, dtype) in self.files.items()
        }

    def emulated(self, order: str) -> dict[str, np.ndarray]:
        """Run on the CPU, with the threads of a kernel in some order."""
        program = self.folder / "emulated"
        if not program.exists():
            compile_for_cpu(self.folder, self.source)
        subprocess.run(
            [program],
            cwd=self.folder,
            env={**os.environ, "EMULATED_ORDER": order},
            stdout=subprocess.DEVNULL,
            check=True,
        )
        return self.read()

    def code(self, name: str) -> str:
        """Return the code of one object, without what Brian2CUDA puts before it."""
        text = (self.folder / "code_objects" / f"{name}_codeobject.cu").read_text()
        return text[text.index("hashdefine_lines") :]


def generate(
    folder: Path, make: Callable = scenes.make, steps: int = scenes.STEPS, dt=scenes.DT
) -> Project:
    """Generate a network's project; nothing is compiled."""
    with cuda_standalone() as device:
        net, monitors, groups = make()
        net.run(steps * dt, namespace={})
        b2.device.build(directory=str(folder), compile=False, run=False)
        files = {
            name: (device.get_array_filename(variable), _bytes(variable.dtype))
            for name, variable in _recorded(monitors, groups)
        }
        templates = {code.template_name for code in device.code_objects.values()}
    return Project(folder, merge(folder), files, templates)


def simulate(
    make: Callable = scenes.make, steps: int = scenes.STEPS, dt=scenes.DT
) -> dict[str, np.ndarray]:
    """Simulate the same in runtime mode with numpy, under the same names."""
    before = b2.prefs.codegen.target
    b2.prefs.codegen.target = "numpy"
    try:
        net, monitors, groups = make()
        net.run(steps * dt, namespace={})
        return {
            name: np.array(v.get_value()).view(_bytes(v.dtype))
            for name, v in _recorded(monitors, groups)
        }
    finally:
        b2.prefs.codegen.target = before


def spikes(values: dict[str, np.ndarray], group: str) -> list[tuple[int, int]]:
    """Return spikes as sorted pairs of microseconds and neuron; in a step they have no order."""
    times = np.rint(values[f"{group} t"] * 1e6).astype(int)
    return sorted(zip(times.tolist(), values[f"{group} i"].tolist(), strict=True))


def states(values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return what is left when the spikes are taken away."""
    return {name: array for name, array in values.items() if " " not in name}


def _bytes(dtype: type) -> type:
    """Return the type in which to compare: in truth values numbers are kept that fit a byte."""
    return np.uint8 if dtype is bool or dtype == np.bool_ else dtype


def _recorded(monitors, groups) -> Iterator[tuple[str, ArrayVariable]]:
    for name, monitor in monitors.items():
        yield f"{name} t", monitor.variables["t"]
        yield f"{name} i", monitor.variables["i"]
        for variable in monitor.record_variables:
            yield f"{name} {variable}", monitor.variables[variable]
    for name, group in groups.items():
        for variable in scenes.STATES & set(group.variables):
            yield f"{name}.{variable}", group.variables[variable]


#: The time of a test counts, and what is run is small.
NOT_OPTIMISED = ("-O0", "-Xcicc", "-O0", "-Xptxas", "-O0")


def compile_for_gpu(project: Project) -> subprocess.CompletedProcess[str]:
    """Compile and link with nvcc, and start the program."""
    sources = [str(path.relative_to(project.folder)) for path in project.folder.rglob("*.cu")]
    units = write_units(project.folder, sources)
    curand = linkable_curand(project.folder)
    architecture = "native" if Path("/dev/nvidia0").exists() else "sm_90"
    subprocess.run(
        # -rdc: device pointers are declared extern
        ["nvcc", "-w", "-std=c++17", *NOT_OPTIMISED, "-rdc=true", f"-arch={architecture}",
         f"-I{curand / 'include'}", f"-I{project.folder}",
         *(project.folder / unit for unit in units), "-o", project.folder / "compiled",
         f"-L{curand / 'lib'}", "-lcurand", "-Xlinker", "-rpath", "-Xlinker", curand / "lib"],
        check=True,
    )  # fmt: skip
    return subprocess.run(
        [project.folder / "compiled"], cwd=project.folder, capture_output=True, text=True
    )


def compile_exported(folder: Path, scratch: Path) -> None:
    """Compile and link an exported project for two generations of GPUs, and start the program."""
    made = subprocess.run(
        ["make", "ARCH=sm_80 sm_90", f"CURAND={linkable_curand(scratch)}",
         f"NVCCFLAGS={' '.join(NOT_OPTIMISED)}"],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert made.stdout.count("-gencode arch=compute_80,code=sm_80") >= 2
    assert made.stdout.count("-gencode arch=compute_90,code=sm_90") >= 2
    run = subprocess.run(["./main"], cwd=folder, capture_output=True, text=True)
    # without a GPU a program comes as far as asking for it
    assert run.returncode == 0 or NO_DRIVER.fullmatch(run.stderr)


def linkable_curand(folder: Path) -> Path:
    """Return a folder with cuRAND as a toolkit has it: the wheel has no libcurand.so."""
    found = find_curand()
    there = folder / "curand"
    if not there.exists():
        (there / "lib").mkdir(parents=True)
        (there / "include").symlink_to(found.include)
        for name in ("libcurand.so", found.library.name):
            if not (there / "lib" / name).exists():
                (there / "lib" / name).symlink_to(found.library)
    return there


def emulate(directory: Path, _: Iterable[str]) -> None:
    """Compile a project for the CPU, where bsnn would compile it for the GPU."""
    directory = Path(directory).absolute()
    (directory / "main").unlink(missing_ok=True)
    (directory / "main").symlink_to(compile_for_cpu(directory, merge(directory)))


def has_nvcc() -> bool:
    return shutil.which("nvcc") is not None


#: What a program says that was started where there is no GPU.
NO_DRIVER = re.compile(
    r"ERROR: cudaSetDevice\(0\) failed at \S+ : "
    r"(CUDA driver version is insufficient for CUDA runtime version|"
    r"no CUDA-capable device is detected)\n"
)
