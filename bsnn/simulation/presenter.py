"""Presenting images to a network that is built once."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from bsnn.devices import start, use_code_target, use_device
from bsnn.network.builder import build
from bsnn.network.network import SpikingNetwork
from bsnn.settings import fields_of
from bsnn.simulation.job import Job
from bsnn.simulation.reader import Reader
from bsnn.simulation.records import Records

__all__ = ["Presented", "Presenter", "open_presenter"]


@dataclasses.dataclass(frozen=True, eq=False)
class Presented:
    """What one run has found, and the time that the simulation in it took."""

    records: Records
    run_seconds: float
    cpu_seconds: float


class Presenter:
    """Presents images and reads what the network did.

    Parameters
    ----------
    net : SpikingNetwork
        Built on the device that is active.
    directory : path, optional
        Where generated code goes.

    Attributes
    ----------
    build_seconds : float
        Time until the first image can be presented.
    """

    def __init__(self, net: SpikingNetwork, directory: Path | None = None) -> None:
        self._net = net
        self._reader = Reader(net)
        self._runner = start(net, directory)
        self.build_seconds = self._runner.build_seconds

    @property
    def capacity(self) -> int:
        """Most images that can be presented at once."""
        return self._net.capacity

    def present(self, images: np.ndarray, numbers: np.ndarray) -> Presented:
        """Simulate images of these numbers, and compare them with the trained network."""
        started, cpu_started = time.perf_counter(), _cpu_seconds()
        self._runner.run(images, numbers)
        run_seconds, cpu_seconds = time.perf_counter() - started, _cpu_seconds() - cpu_started
        return Presented(self._reader.read(images), run_seconds, cpu_seconds)


@contextmanager
def open_presenter(job: Job, directory: Path | None = None) -> Iterator[Presenter]:
    """Build a job's network; its device is active for the duration of the block."""
    started = time.perf_counter()
    with use_code_target(job.code_target), use_device(job.device, directory) as folder:
        net = build(job.model, images=job.chunk, **fields_of(job.setup), name="")
        presenter = Presenter(net, folder)
        presenter.build_seconds = time.perf_counter() - started
        yield presenter


def _cpu_seconds() -> float:
    """Processor time of this process and of those that it has started and that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
