"""Reading from a network what it did, and comparing it with the trained network.

A reader is found by the coding of the network, in `READERS`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from bsnn.brian.network import SpikingNetwork
from bsnn.brian.rate_network import RateNetwork
from bsnn.brian.ttfs_network import TtfsNetwork
from bsnn.conversion.rate import per_channel
from bsnn.conversion.time_code import decode
from bsnn.simulation.records import Records

__all__ = ["READERS", "Reader", "reader"]

# Images for which all values of both networks are in memory at once.
_BATCH = 50


class Reader(ABC):
    """Adds to a network the monitors that are needed, and reads them after each run."""

    @abstractmethod
    def __init__(self, net: SpikingNetwork) -> None: ...

    @abstractmethod
    def read(self, images: np.ndarray) -> Records:
        """Read the monitors after a run that presented `images`."""


def reader(net: SpikingNetwork) -> Reader:
    """Return the reader of a network, which has not been run."""
    return READERS[net.model.coding](net)


class _TtfsReader(Reader):
    def __init__(self, net: TtfsNetwork) -> None:
        for name in net.model.populations:
            if net.model.spikes(name) and "spikes" not in net.monitors.get(name, {}):
                net.monitor(name, "spikes")
        self._net = net

    def read(self, images: np.ndarray) -> Records:
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


class _RateReader(Reader):
    def __init__(self, net: RateNetwork) -> None:
        for name in net.model.populations:
            if net.model.spikes(name) and name not in net.recorders:
                net.record_counts(name)
        net.record_read_out()
        self._net = net

    def read(self, images: np.ndarray) -> Records:
        net, model, count = self._net, self._net.model, len(images)
        records = Records.empty(model, count)
        output = model.output
        told = net.recorded_read_out()[:count]
        by_step = net.to_layer(output.name, told.reshape(-1, output.size)).reshape(told.shape)
        records.predictions_at_step[:] = by_step.argmax(axis=2)
        records.predictions[:] = records.predictions_at_step[:, -1]
        records.potentials[:] = by_step[:, -1]
        exact_of_batch = self._exact(images)
        counts = {name: net.recorded_counts(name)[:count] for name in records.spikes}
        for name, of_neurons in counts.items():
            fan_out = net.fan_out.get(name, np.zeros(model.populations[name].size, np.int64))
            records.spikes[name][:] = of_neurons.sum(axis=1)
            records.operations[name][:] = of_neurons @ fan_out
        for batch, exact in exact_of_batch:
            for name, population in model.populations.items():
                found = self._told(name, counts, records, batch, exact)
                wanted = exact[population.layer if name in counts else population.potential_layer]
                if population.role == "read_out" and name in counts:
                    wanted = np.maximum(wanted, 0)
                error = (found - wanted).reshape(len(found), -1)
                squares = np.einsum("ij,ij->i", error, error, dtype=np.float64)
                records.squared_error[name][batch] = squares
            logits = exact[output.potential_layer]
            records.ann_predictions[batch] = logits.reshape(len(logits), -1).argmax(axis=1)
        return records

    def _exact(self, images):
        for first in range(0, len(images), _BATCH):
            batch = slice(first, min(first + _BATCH, len(images)))
            yield batch, self._net.model.graph.activations(images[batch])

    def _told(self, name, counts, records, batch, exact) -> np.ndarray:
        """What a population has told, in the units of the trained network."""
        model, population = self._net.model, self._net.model.populations[name]
        if population.role == "input" and name not in counts:
            # a current is the value itself
            return exact[population.layer]
        if name not in counts:
            return records.potentials[batch].reshape(-1, *population.shape)
        rates = self._net.to_layer(name, counts[name][batch].astype(np.float64)) / model.steps
        if population.role == "input":
            rates *= np.sign(exact[population.layer])
        return rates * per_channel(model.scales[name], population.shape)


def _classes(potentials: np.ndarray, levels: np.ndarray | None) -> np.ndarray:
    """Class with the earliest spike; among equals, or without spikes, that of most potential."""
    if levels is None:
        return potentials.argmax(axis=1)
    values = levels.reshape(len(levels), -1)
    earliest = values == values.max(axis=1, keepdims=True)
    return np.where(earliest, potentials, -np.inf).argmax(axis=1)


#: Readers by coding.
READERS: dict[str, type[Reader]] = {"ttfs": _TtfsReader, "rate": _RateReader}
