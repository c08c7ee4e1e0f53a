"""A machine with a GPU, as far as bsnn can tell."""

from __future__ import annotations

import brian2 as b2
import pytest
from projects import emulate

NVIDIA_SMI = """#!/bin/sh
echo "Emulated GPU, 9.0, {memory}, {memory}, 0.0"
"""
NVCC = """#!/bin/sh
echo "Cuda compilation tools, release 13.0, V13.0"
"""


@pytest.fixture(autouse=True)
def numpy_target():
    """What is simulated here is too short to be worth compiling."""
    before = b2.prefs.codegen.target
    b2.prefs.codegen.target = "numpy"
    yield
    b2.prefs.codegen.target = before


@pytest.fixture
def gpu_of(tmp_path, monkeypatch):
    """Return a function that lets the driver tell of a GPU with so many MiB of memory."""

    def pretend(memory: int) -> None:
        folder = tmp_path / "driver" / "bin"
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in {"nvidia-smi": NVIDIA_SMI.format(memory=memory), "nvcc": NVCC}.items():
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)
        monkeypatch.setenv("PATH", str(folder), prepend=":")

    return pretend


@pytest.fixture
def emulated_gpu(gpu_of, monkeypatch):
    """A GPU whose programs are compiled for the CPU and run there."""
    gpu_of(80_000)
    monkeypatch.setattr("bsnn.devices.standalone.compile_project", emulate)
