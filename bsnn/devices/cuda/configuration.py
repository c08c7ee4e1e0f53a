"""The preferences with which Brian2CUDA's code compiles and runs.

As Brian2CUDA comes, its projects do not compile with today's toolkits: they ask for C++11, where
the toolkit's own headers need C++17, and for a cuRAND that a compiler alone does not have. All of
it is mended by preferences; nothing of Brian2CUDA is changed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import brian2 as b2
from brian2.utils.logger import HierarchyFilter

from bsnn.cache import binary_cache
from bsnn.devices.cuda.gpu import Gpu, NoGpu, find_gpu
from bsnn.devices.cuda.toolkit import Curand, Missing, Toolkit, find_curand, find_toolkit
from bsnn.errors import BuildError

__all__ = ["Configuration", "configure", "configured"]

#: Preferences that are set, apart from those of Brian2CUDA.
_GCC_PREFERENCES = ("extra_compile_args_gcc", "library_dirs", "runtime_library_dirs")

#: The least compute capability that Brian2CUDA has code for (atomic sums of doubles need 6.0).
_LEAST_CAPABILITY = 6.0

# Release of CUDA for which code is generated where none is installed; any since 8.0 has the same.
_USUAL_VERSION = 12.0


@dataclasses.dataclass(frozen=True)
class Configuration:
    """The findings and settings of `configure`.

    Attributes
    ----------
    compute_capability : float
        For which code is compiled.
    toolkit : Toolkit or None
        The compiler; None if code is generated only.
    curand : Curand or None
        Where cuRAND is; None if code is generated only.
    gpu : Gpu or None
        The GPU; None if there is none, and code can be compiled but not run.
    no_gpu : str
        Why there is none.
    """

    compute_capability: float
    toolkit: Toolkit | None
    curand: Curand | None
    gpu: Gpu | None
    no_gpu: str = ""

    def __str__(self) -> str:
        gpu = f"none ({self.no_gpu})" if self.gpu is None else self.gpu.name
        lines = [f"GPU: {gpu}, compute capability {self.compute_capability}"]
        if self.toolkit is not None:
            lines.append(f"nvcc: {self.toolkit.version}, {self.toolkit.nvcc}")
        if self.curand is not None:
            lines.append(f"cuRAND: {self.curand.library}")
        return "\n".join(lines)


def configure(
    *,
    gpu: int = 0,
    compute_capability: float | None = None,
    nvcc: str | os.PathLike[str] | None = None,
    curand: str | os.PathLike[str] | None = None,
    generate_only: bool = False,
) -> Configuration:
    """Prepare Brian2CUDA: find what it needs, and set its preferences.

    Call it before ``set_device("cuda_standalone", ...)``. It sets
    ``devices.cuda_standalone.cuda_backend`` (``cuda_path``, ``cuda_runtime_version``, ``gpu_id``,
    ``compute_capability``, ``detect_gpus``, ``extra_compile_args_nvcc``),
    ``devices.cuda_standalone.parallel_blocks`` (as many as the GPU has multiprocessors, where
    Brian2CUDA's default is one in all),
    ``codegen.cpp.extra_compile_args_gcc``, ``codegen.cpp.library_dirs`` and
    ``codegen.cpp.runtime_library_dirs``; preferences that you set afterwards are yours.
    Fast approximate mathematics stays off: spikes are those of other devices.

    Parameters
    ----------
    gpu : int
        Which of the GPUs that this process may use (``CUDA_VISIBLE_DEVICES``).
    compute_capability : float, optional
        Such as 9.0. By default that of the GPU; where there is none, it has to be named.
    nvcc : path, optional
        The compiler; see `find_toolkit` for where it is looked for.
    curand : path, optional
        Folder with cuRAND; by default the toolkit's, or else that of the package
        ``nvidia-curand``.
    generate_only : bool
        Code is generated here and compiled elsewhere: neither nvcc nor cuRAND are looked for.

    Returns
    -------
    Configuration

    Raises
    ------
    BuildError
        Something is missing; the message lists all that is.
    """
    missing = []
    try:
        importlib.import_module("brian2cuda")
    except ImportError as error:
        missing.append(_why_no_brian2cuda(error))
    toolkit = found_curand = device = None
    no_gpu = ""
    if not generate_only:
        try:
            toolkit = find_toolkit(nvcc)
        except Missing as error:
            missing.append(str(error))
        try:
            found_curand = find_curand(toolkit, curand)
        except Missing as error:
            missing.append(str(error))
    try:
        device = find_gpu(gpu)
    except NoGpu as error:
        no_gpu = str(error)
    if compute_capability is None and device is not None:
        compute_capability = device.compute_capability
    if compute_capability is None:
        missing.append(
            f"a GPU to compile for ({no_gpu}): name its compute capability, such as 9.0, to "
            "compile for another machine"
        )
    elif toolkit is not None:
        missing += _unsupported(toolkit, compute_capability)
    if missing:
        raise BuildError(
            "CUDA cannot be used here. What is missing:" + "".join(f"\n  - {m}" for m in missing)
        )
    assert compute_capability is not None
    compute_capability = float(compute_capability)
    _set_preferences(gpu, compute_capability, toolkit, found_curand)
    return Configuration(compute_capability, toolkit, found_curand, device, no_gpu)


@contextmanager
def configured(**options: Any) -> Iterator[Configuration]:
    """Do as `configure` for a block, quietly, and give all preferences back after it."""
    before = {f"codegen.cpp.{name}": None for name in _GCC_PREFERENCES}
    try:
        importlib.import_module("brian2cuda")
    except ImportError:
        # configure says what is missing
        pass
    else:
        before |= {name: None for name in b2.prefs if name.startswith("devices.cuda_standalone.")}
    before = {name: b2.prefs[name] for name in before}
    # it tells all of its preferences, and warns of whole numbers of 64 bits that count steps
    quiet = HierarchyFilter("brian2cuda")
    console: Any = b2.BrianLogger.console_handler
    console.addFilter(quiet)
    try:
        yield configure(**options)
    finally:
        console.removeFilter(quiet)
        for name, value in before.items():
            b2.prefs[name] = value


def _why_no_brian2cuda(error: ImportError) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name == "brian2cuda":
        return "Brian2CUDA, which generates the code: pip install 'bsnn[cuda]'"
    return (
        f"a Brian2CUDA that works with brian2 {b2.__version__} (importing it: {error}); each needs "
        "one release of Brian2: pip install --upgrade 'bsnn[cuda]'"
    )


def _unsupported(toolkit: Toolkit, capability: float) -> list[str]:
    known = toolkit.capabilities
    if capability < _LEAST_CAPABILITY:
        return [
            f"a GPU of compute capability {_LEAST_CAPABILITY} or above; this one has {capability}"
        ]
    if known and capability not in known:
        age = "a newer" if capability > max(known) else "an older"
        return [
            f"{age} CUDA toolkit: nvcc {toolkit.version} compiles for "
            f"{', '.join(map(str, known))}, not for compute capability {capability}"
        ]
    return []


def _set_preferences(
    gpu: int, capability: float, toolkit: Toolkit | None, curand: Curand | None
) -> None:
    gputools = importlib.import_module("brian2cuda.utils.gputools")

    # the numbers of GPUs are then those of nvidia-smi
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    backend = b2.prefs.devices.cuda_standalone.cuda_backend
    backend.detect_gpus = False
    backend.gpu_id = gpu
    backend.compute_capability = capability
    b2.prefs.devices.cuda_standalone.parallel_blocks = None
    if toolkit is not None:
        backend.cuda_path = str(toolkit.nvcc.parents[1])
        backend.cuda_runtime_version = float(toolkit.version)
    else:
        backend.detect_cuda = False
        backend.cuda_path = os.environ.get("CUDA_HOME", "/usr/local/cuda")
        backend.cuda_runtime_version = _USUAL_VERSION
    # what it has found once it does not look for again
    gputools.reset_cuda_installation()
    gputools.reset_gpu_selection()
    apart = None if curand is None or curand.with_toolkit else curand
    # fresh lists: Brian2CUDA changes them in place when it writes a makefile
    backend.extra_compile_args_nvcc = [
        "-w",
        "-std=c++17",
        *([f"-I{apart.include}"] if apart else []),
    ]
    # Brian2's default asks for C++11, and for the processor of this machine
    b2.prefs["codegen.cpp.extra_compile_args_gcc"] = ["-w", "-O3"]
    b2.prefs["codegen.cpp.library_dirs"] = [str(_linkable(apart.library))] if apart else []
    b2.prefs["codegen.cpp.runtime_library_dirs"] = [str(apart.library.parent)] if apart else []


def _linkable(library: Path) -> Path:
    """Return a folder in which a library has the name that a linker looks for."""
    if library.name == "libcurand.so":
        return library.parent
    # packages for Python have libcurand.so.10 only
    digest = hashlib.sha256(str(library).encode()).hexdigest()[:16]
    for root in (binary_cache().parent, Path(tempfile.gettempdir()) / f"bsnn_{os.getuid()}"):
        folder = root / f"curand_{digest}"
        link = folder / "libcurand.so"
        with suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            with suppress(FileExistsError):
                link.symlink_to(library)
            if link.resolve() == library.resolve():
                return folder
    raise BuildError(
        f"A link to {library} could not be made. Let BSNN_CACHE name a folder that can be written."
    )
