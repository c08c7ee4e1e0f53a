"""The GPUs of this machine, as their driver describes them."""

from __future__ import annotations

import csv
import dataclasses
import os
import subprocess

__all__ = ["Gpu", "NoGpu", "find_gpu", "identifier"]

_FIELDS = ("name", "compute_cap", "memory.total", "memory.free", "driver_version")
_MIB = 2**20
_PATIENCE = 60


class NoGpu(LookupError):
    """There is no GPU to be used; says why."""


@dataclasses.dataclass(frozen=True)
class Gpu:
    """A GPU.

    Attributes
    ----------
    number : int
        Among those that this process may use (``CUDA_VISIBLE_DEVICES``), from 0 on.
    name : str
        As the driver calls it.
    compute_capability : float
        Such as 8.0 or 9.0.
    memory, free_memory : int
        Bytes in all, and those that nobody used when it was asked.
    driver : str
        Version of the driver.
    """

    number: int
    name: str
    compute_capability: float
    memory: int
    free_memory: int
    driver: str


def find_gpu(number: int = 0) -> Gpu:
    """Ask the driver for a GPU.

    Parameters
    ----------
    number : int
        Which of the GPUs that this process may use.

    Raises
    ------
    NoGpu
        There is no driver, or no GPU of this number.
    """
    known = identifier(number)
    command = ["nvidia-smi", "-i", known, f"--query-gpu={','.join(_FIELDS)}",
               "--format=csv,noheader,nounits"]  # fmt: skip
    try:
        asked = subprocess.run(
            command, capture_output=True, text=True, timeout=_PATIENCE, check=False
        )
    except FileNotFoundError:
        raise NoGpu("no NVIDIA driver: nvidia-smi, which comes with it, is not there") from None
    except subprocess.TimeoutExpired:
        raise NoGpu(f"nvidia-smi has not answered in {_PATIENCE} s") from None
    if asked.returncode or not asked.stdout.strip():
        said = (asked.stdout + asked.stderr).strip() or "nothing"
        raise NoGpu(f"no GPU {known}: nvidia-smi says {said!r}")
    row = next(csv.reader(asked.stdout.splitlines(), skipinitialspace=True))
    try:
        name, capability, memory, free, driver = row
        return Gpu(number, name, float(capability), int(memory) * _MIB, int(free) * _MIB, driver)
    except ValueError:
        raise NoGpu(f"nvidia-smi describes GPU {known} in a way not known: {row}") from None


def identifier(number: int) -> str:
    """Return what nvidia-smi, which sees all GPUs, calls one that this process may use.

    Raises
    ------
    NoGpu
        There is none of this number.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return str(number)
    identifiers = [part.strip() for part in visible.split(",") if part.strip()]
    if number >= len(identifiers):
        raise NoGpu(f"no GPU {number}: CUDA_VISIBLE_DEVICES is {visible!r}")
    return identifiers[number]
