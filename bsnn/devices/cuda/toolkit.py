"""nvcc and cuRAND: where they are on this machine."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

__all__ = ["Curand", "Missing", "Toolkit", "find_curand", "find_toolkit"]

#: Where an installation may be if nobody says where it is.
_USUAL_PLACES = ("/usr/local/cuda", "/opt/cuda")


class Missing(LookupError):
    """Something that CUDA needs is not there; says what, and what to do."""


@dataclasses.dataclass(frozen=True)
class Toolkit:
    """A CUDA compiler.

    Attributes
    ----------
    nvcc : path
        The compiler.
    version : str
        Such as ``"13.0"``.
    capabilities : tuple of float
        Compute capabilities that it compiles for; empty if it does not say.
    """

    nvcc: Path
    version: str
    capabilities: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Curand:
    """cuRAND's headers and library.

    Attributes
    ----------
    include, library : path
        Folder of ``curand.h``, and the library itself.
    with_toolkit : bool
        Whether they belong to the compiler, which finds them by itself.
    """

    include: Path
    library: Path
    with_toolkit: bool


def find_toolkit(nvcc: str | os.PathLike[str] | None = None) -> Toolkit:
    """Find nvcc.

    Parameters
    ----------
    nvcc : path, optional
        The compiler, in a folder ``bin``. By default that of ``CUDA_HOME`` or ``CUDA_PATH``, of
        ``PATH``, of ``/usr/local/cuda`` or ``/opt/cuda``, or of the Python package
        ``nvidia-cuda-nvcc``, whichever is there first.

    Raises
    ------
    Missing
        There is none, or it does not run.
    """
    for path in [Path(nvcc)] if nvcc is not None else _compilers():
        if path.is_file() and path.parent.name == "bin":
            return _described(path.absolute())
    if nvcc is not None:
        raise Missing(f"nvcc, the CUDA compiler: {nvcc} is no file in a folder bin")
    raise Missing(
        "nvcc, the CUDA compiler: it is not in the bin of CUDA_HOME, in PATH, /usr/local/cuda or "
        "/opt/cuda; install the CUDA toolkit, or say where it is"
    )


def find_curand(
    toolkit: Toolkit | None = None, folder: str | os.PathLike[str] | None = None
) -> Curand:
    """Find cuRAND: in a folder, with the toolkit, or in the Python package ``nvidia-curand``.

    Parameters
    ----------
    toolkit : Toolkit, optional
        The compiler.
    folder : path, optional
        The folder that has ``include/curand.h`` and ``lib/libcurand.so``.

    Raises
    ------
    Missing
        It is in none of them.
    """
    if folder is not None:
        places = [(Path(folder), False)]
    else:
        places = [(place, True) for place in _toolkit_folders(toolkit)]
        places += [(place, False) for place in _package_folders()]
    for place, with_toolkit in places:
        header = place / "include" / "curand.h"
        libraries = [*place.glob("lib*/libcurand.so*"), *place.glob("lib*/*/libcurand.so*")]
        if header.is_file() and libraries:
            library = min(libraries, key=lambda path: len(path.name))
            return Curand(header.parent, library.absolute(), with_toolkit)
    where = "the toolkit and the package nvidia-curand" if folder is None else str(folder)
    raise Missing(
        f"cuRAND: curand.h and libcurand.so are not in {where}; pip install nvidia-curand"
    )


def _compilers() -> Iterator[Path]:
    for variable in ("CUDA_HOME", "CUDA_PATH"):
        if os.environ.get(variable):
            yield Path(os.environ[variable]) / "bin" / "nvcc"
    found = shutil.which("nvcc")
    if found:
        yield Path(found)
    for place in (*map(Path, _USUAL_PLACES), *_package_folders()):
        yield place / "bin" / "nvcc"


def _described(nvcc: Path) -> Toolkit:
    try:
        version = _output(nvcc, "--version")
        codes = _output(nvcc, "--list-gpu-code", needed=False)
    except (OSError, subprocess.CalledProcessError) as error:
        raise Missing(f"{nvcc} does not run ({error}): install the CUDA toolkit again") from None
    release = re.search(r"release (\d+\.\d+)", version)
    if release is None:
        raise Missing(f"{nvcc} is not the CUDA compiler: it does not tell a release")
    # sm_90 stands for 9.0, sm_121 for 12.1
    capabilities = {int(code) / 10 for code in re.findall(r"^sm_(\d+)$", codes, re.MULTILINE)}
    return Toolkit(nvcc, release[1], tuple(sorted(capabilities)))


def _output(nvcc: Path, option: str, *, needed: bool = True) -> str:
    return subprocess.run(
        [nvcc, option], capture_output=True, text=True, check=needed, timeout=60
    ).stdout


def _toolkit_folders(toolkit: Toolkit | None) -> Iterator[Path]:
    if toolkit is None:
        return
    for nvcc in (toolkit.nvcc, toolkit.nvcc.resolve()):
        root = nvcc.parents[1]
        yield root
        yield from root.glob("targets/*")


def _package_folders() -> Iterator[Path]:
    package = importlib.util.find_spec("nvidia")
    for root in (package and package.submodule_search_locations) or ():
        # nvidia/curand up to CUDA 12, nvidia/cu13 from 13 on
        yield from sorted(path for path in Path(root).iterdir() if path.is_dir())
