"""Presenting images to a network that is built once."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from bsnn.brian.builder import build
from bsnn.brian.devices import start, use_code_target, use_device
from bsnn.brian.network import SpikingNetwork
from bsnn.conversion.time_code import decode
from bsnn.simulation.job import Job
from bsnn.simulation.records import Records

__all__ = ["Presented", "Presenter", "open_presenter"]

# Images for which all values of both networks are in memory at once.
_BATCH = 50


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
        for name in net.model.populations:
            if net.model.spikes(name) and "spikes" not in net.monitors.get(name, {}):
                net.monitor(name, "spikes")
        self._net = net
        self._runner = start(net, directory)
        self.build_seconds = self._runner.build_seconds

    @property
    def capacity(self) -> int:
        """Most images that can be presented at once."""
        return self._net.capacity

    def present(self, images: np.ndarray) -> Presented:
        """Simulate images, and compare them with the trained network."""
        started, cpu_started = time.perf_counter(), _cpu_seconds()
        self._runner.run(images)
        run_seconds, cpu_seconds = time.perf_counter() - started, _cpu_seconds() - cpu_started
        return Presented(self._read(images), run_seconds, cpu_seconds)

    def _read(self, images: np.ndarray) -> Records:
        """Read the monitors after a run that presented `images`."""
        net, model, count = self._net, self._net.model, len(images)
        records = Records.empty(model, count)
        records.potentials[:] = net.read_potentials()[:count].reshape(count, -1)
        spikes = {name: net.recorded_spikes(name) for name in records.spikes}
        for name, (image, neurons, _) in spikes.items():
            fan_out = net.fan_out.get(name, np.zeros(model.populations[name].size))
            records.spikes[name][:] = np.bincount(image, minlength=count)[:count]
            # the sums are whole numbers far below 2**53, so that they are exact
            operations = np.bincount(image, weights=fan_out[neurons], minlength=count)
            records.operations[name][:] = operations[:count]
        for first in range(0, count, _BATCH):
            batch = slice(first, min(first + _BATCH, count))
            self._compare(images[batch], self._levels(spikes, batch), records, batch)
        return records

    def _levels(
        self, spikes: dict[str, tuple[np.ndarray, ...]], batch: slice
    ) -> dict[str, np.ndarray]:
        levels = {}
        for name, (image, neurons, level) in spikes.items():
            own = slice(*np.searchsorted(image, (batch.start, batch.stop)))
            levels[name] = self._net.layer_levels(
                name, image[own] - batch.start, neurons[own], level[own], batch.stop - batch.start
            )
        return levels

    def _compare(
        self, images: np.ndarray, levels: dict[str, np.ndarray], records: Records, batch: slice
    ) -> None:
        model = self._net.model
        potentials = records.potentials[batch]
        records.predictions[batch] = _classes(potentials, levels.get(model.output.name))
        exact = model.graph.activations(images)
        for name, population in model.populations.items():
            if name in levels:
                found = decode(levels[name], model.scales[name], model.steps)
                wanted = exact[population.layer]
                if population.role == "read_out":
                    wanted = np.maximum(wanted, 0)
            else:
                # a read-out's potentials are compared before a last rectification
                wanted = exact[population.potential_layer]
                found = potentials.reshape(wanted.shape)
            error = (found - wanted).reshape(len(images), -1)
            squares = np.einsum("ij,ij->i", error, error, dtype=np.float64)
            records.squared_error[name][batch] = squares
        logits = exact[model.output.potential_layer]
        records.ann_predictions[batch] = logits.reshape(len(logits), -1).argmax(axis=1)


@contextmanager
def open_presenter(job: Job, directory: Path | None = None) -> Iterator[Presenter]:
    """Build a job's network; its device is active for the duration of the block."""
    started = time.perf_counter()
    with use_code_target(job.code_target), use_device(job.device, directory) as folder:
        net = build(job.model, images=job.chunk, **job.options)
        presenter = Presenter(net, folder)
        presenter.build_seconds = time.perf_counter() - started
        yield presenter


def _cpu_seconds() -> float:
    """Processor time of this process and of those that it has started and that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _classes(potentials: np.ndarray, levels: np.ndarray | None) -> np.ndarray:
    """Class with the earliest spike; among equals, or without spikes, that of most potential."""
    if levels is None:
        return potentials.argmax(axis=1)
    values = levels.reshape(len(levels), -1)
    earliest = values == values.max(axis=1, keepdims=True)
    return np.where(earliest, potentials, -np.inf).argmax(axis=1)
