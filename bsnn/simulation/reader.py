"""Reading from a network what it did, and comparing it with the trained network.

A reader is found by the coding of the network, in `READERS`.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator

import numpy as np

from bsnn.brian.network import SpikingNetwork
from bsnn.brian.rate_network import RateNetwork
from bsnn.brian.ttfs_network import TtfsNetwork
from bsnn.conversion.rate import per_channel
from bsnn.conversion.time_code import decode
from bsnn.simulation.records import Records

__all__ = ["READERS", "Reader", "reader"]

# Given a population and the trained network's activations, what its spikes stand for; None for a
# read-out that does not spike.
_Told = Callable[[str, dict[str, np.ndarray]], np.ndarray | None]

# Images for which all values of both networks are in memory at once.
_BATCH = 50


class Reader(ABC):
    """Adds to a network the recorders that are needed, and reads them after each run."""

    def __init__(self, net: SpikingNetwork) -> None:
        self._net = net

    @abstractmethod
    def read(self, images: np.ndarray) -> Records:
        """Read the recorders after a run that presented `images`, and compare."""

    @abstractmethod
    def predictions(self, count: int) -> np.ndarray:
        """Read the classes of the first `count` images of a run, and nothing else."""

    def _compare(self, images: np.ndarray, told: _Told, records: Records, batch: slice) -> None:
        """Compare what populations have told for a batch with the trained network."""
        model = self._net.model
        exact = model.graph.activations(images)
        for name, population in model.populations.items():
            found = told(name, exact)
            if found is None:
                # a silent read-out's potentials are compared before a last rectification
                wanted = exact[population.potential_layer]
                found = records.potentials[batch].reshape(wanted.shape)
            else:
                wanted = exact[population.layer]
                if population.role == "read_out":
                    wanted = np.maximum(wanted, 0)
            error = (found - wanted).reshape(len(images), -1)
            squares = np.einsum("ij,ij->i", error, error, dtype=np.float64)
            records.squared_error[name][batch] = squares
        logits = exact[model.output.potential_layer]
        records.ann_predictions[batch] = logits.reshape(len(logits), -1).argmax(axis=1)


def reader(net: SpikingNetwork) -> Reader:
    """Return the reader of a network, which has not been run."""
    return READERS[net.model.coding](net)


class _TtfsReader(Reader):
    def __init__(self, net: TtfsNetwork) -> None:
        super().__init__(net)
        for name in net.model.populations:
            if net.model.spikes(name) and name not in net.recorders:
                net.record_levels(name)

    def read(self, images: np.ndarray) -> Records:
        net, model, count = self._net, self._net.model, len(images)
        records = Records.empty(model, count)
        records.potentials[:] = net.read_potentials()[:count].reshape(count, -1)
        records.predictions[:] = self.predictions(count)
        levels = {name: self._levels(name, count) for name in records.spikes}
        for name, of_neurons in levels.items():
            fan_out = net.fan_out.get(name, np.zeros(model.populations[name].size, np.int64))
            records.spikes[name][:] = np.count_nonzero(of_neurons, axis=1)
            records.operations[name][:] = (of_neurons > 0) @ fan_out
        for batch in _batches(count):
            of_batch = {name: of_neurons[batch] for name, of_neurons in levels.items()}
            self._compare(images[batch], functools.partial(self._told, of_batch), records, batch)
        return records

    def predictions(self, count: int) -> np.ndarray:
        net, name = self._net, self._net.model.output.name
        potentials = net.read_potentials()[:count].reshape(count, -1)
        if not net.model.spikes(name):
            return potentials.argmax(axis=1)
        # the earliest spike; among equals, or without spikes, the one of most potential
        levels = net.to_layer(name, self._levels(name, count)).reshape(count, -1)
        earliest = levels == levels.max(axis=1, keepdims=True)
        return np.where(earliest, potentials, -np.inf).argmax(axis=1)

    def _levels(self, name: str, count: int) -> np.ndarray:
        return self._net.by_image(self._net.recorders[name].steps_left)[:count]

    def _told(
        self, levels: dict[str, np.ndarray], name: str, _: dict[str, np.ndarray]
    ) -> np.ndarray | None:
        if name not in levels:
            return None
        model = self._net.model
        by_layer = self._net.to_layer(name, levels[name].astype(np.float32))
        return decode(by_layer, model.scales[name], model.steps)


class _RateReader(Reader):
    def __init__(self, net: RateNetwork) -> None:
        super().__init__(net)
        for name in net.model.populations:
            if net.model.spikes(name) and name not in net.recorders:
                net.record_counts(name)
        if net.read_out is None:
            net.record_read_out()

    def read(self, images: np.ndarray) -> Records:
        net, model, count = self._net, self._net.model, len(images)
        records = Records.empty(model, count)
        by_step = self._values_at_step(count)
        records.predictions_at_step[:] = by_step.argmax(axis=2)
        records.margins_at_step[:] = _leads(by_step) * np.arange(1, model.steps + 1)
        records.predictions[:] = records.predictions_at_step[:, -1]
        records.potentials[:] = by_step[:, -1]
        counts = {name: net.recorded_counts(name)[:count] for name in records.spikes}
        for name, of_neurons in counts.items():
            fan_out = net.fan_out.get(name, np.zeros(model.populations[name].size, np.int64))
            records.spikes[name][:] = of_neurons.sum(axis=1)
            records.operations[name][:] = of_neurons @ fan_out
        for batch in _batches(count):
            of_batch = {name: of_neurons[batch] for name, of_neurons in counts.items()}
            self._compare(images[batch], functools.partial(self._told, of_batch), records, batch)
        return records

    def predictions(self, count: int) -> np.ndarray:
        return self._values_at_step(count)[:, -1].argmax(axis=1)

    def _values_at_step(self, count: int) -> np.ndarray:
        """What the last layer has told up to each step, channel first."""
        net, output = self._net, self._net.model.output
        told = net.recorded_read_out()[:count]
        return net.to_layer(output.name, told.reshape(-1, output.size)).reshape(told.shape)

    def _told(
        self, counts: dict[str, np.ndarray], name: str, exact: dict[str, np.ndarray]
    ) -> np.ndarray | None:
        """What a population has told, in the units of the trained network."""
        model, population = self._net.model, self._net.model.populations[name]
        if name not in counts:
            # a current is the value itself
            return exact[population.layer] if population.role == "input" else None
        rates = self._net.to_layer(name, counts[name].astype(np.float64)) / model.steps
        if population.role == "input":
            rates *= np.sign(exact[population.layer])
        return rates * per_channel(model.scales[name], population.shape)


def _leads(values: np.ndarray) -> np.ndarray:
    """Return by how much the largest of the last axis is above the next; its own size if alone."""
    if values.shape[-1] == 1:
        return values[..., 0]
    highest = np.partition(values, -2, axis=-1)
    return highest[..., -1] - highest[..., -2]


def _batches(count: int) -> Iterator[slice]:
    for first in range(0, count, _BATCH):
        yield slice(first, min(first + _BATCH, count))


#: Readers by coding.
READERS: dict[str, type[Reader]] = {"ttfs": _TtfsReader, "rate": _RateReader}
