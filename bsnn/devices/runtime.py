"""Brian2's runtime mode: Python calls numpy or compiled Cython for each object in each step."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import brian2 as b2
import numpy as np
from brian2.core.variables import VariableView
from brian2.devices.device import RuntimeDevice, reset_device

from bsnn.devices.device import DEVICES, Device, Runnable, Runner

__all__ = ["RuntimeMode"]


class RuntimeMode(Device):
    """Brian2's runtime mode, with numpy or Cython after its preferences."""

    name = "runtime"

    def is_active(self) -> bool:
        return isinstance(b2.get_device(), RuntimeDevice)

    @contextmanager
    def active(self, directory: Path | None) -> Iterator[None]:
        b2.set_device("runtime")
        try:
            yield None
        finally:
            reset_device()

    def runner(self, net: Runnable, directory: Path | None, *, profile: bool) -> Runner:
        return _RuntimeRunner(net)


class _RuntimeRunner(Runner):
    def __init__(self, net: Runnable) -> None:
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


DEVICES.add(RuntimeMode.name, RuntimeMode())
