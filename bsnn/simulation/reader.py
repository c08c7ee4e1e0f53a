"""Reading from a network what it did, and comparing it with the trained network."""

from __future__ import annotations

import numpy as np

from bsnn.conversion import Population
from bsnn.network.network import SpikingNetwork
from bsnn.simulation.records import Records

__all__ = ["Reader"]

# Images for which all values of both networks are in memory at once.
_BATCH = 50


class Reader:
    """Adds to a network, which has not been run, the recorders that are needed, and reads them."""

    def __init__(self, net: SpikingNetwork) -> None:
        self._net = net
        self._spiking = [name for name in net.model.populations if net.model.spikes(name)]
        for name in self._spiking:
            if name not in net.recorders:
                net.record(name)
        if net.read_out is None:
            net.record_read_out()

    def read(self, images: np.ndarray) -> Records:
        """Read the recorders after a run that presented `images`, and compare."""
        net, model, count = self._net, self._net.model, len(images)
        records = Records.empty(model, count)
        reached = net.recorded_read_out()[:count]
        records.potentials[:] = reached[:, -1]
        records.predictions[:] = self._classes(reached[:, -1])
        if records.predictions_at_step is not None and records.margins_at_step is not None:
            records.predictions_at_step[:] = reached.argmax(axis=2)
            records.margins_at_step[:] = _leads(reached) * np.arange(1, model.steps + 1)
        recorded = {name: net.recorded(name)[:count] for name in self._spiking}
        for name, of_neurons in recorded.items():
            spikes = model.count_spikes(of_neurons).reshape(count, -1)
            fan_out = net.fan_out.get(name, np.zeros(model.populations[name].size, np.int64))
            records.spikes[name][:] = spikes.sum(axis=1)
            records.operations[name][:] = spikes @ net.to_layer(name, fan_out[np.newaxis]).ravel()
        for first in range(0, count, _BATCH):
            batch = slice(first, min(first + _BATCH, count))
            exact = model.graph.activations(images[batch])
            for population in model.populations.values():
                error = self._error(population, exact, recorded, records.potentials, batch)
                squares = np.einsum("ij,ij->i", error, error, dtype=np.float64)
                records.squared_error[population.name][batch] = squares
            logits = exact[model.output.potential_layer]
            records.ann_predictions[batch] = logits.reshape(len(logits), -1).argmax(axis=1)
        return records

    def predictions(self, count: int) -> np.ndarray:
        """Read the classes of the first `count` images of a run, and nothing else."""
        return self._classes(self._net.recorded_read_out()[:count, -1])

    def _classes(self, potentials: np.ndarray) -> np.ndarray:
        net, name = self._net, self._net.model.output.name
        recorded = None
        if name in self._spiking:
            recorded = net.recorded(name)[: len(potentials)].reshape(potentials.shape)
        return net.model.classes(potentials, recorded)

    def _error(
        self,
        population: Population,
        exact: dict[str, np.ndarray],
        recorded: dict[str, np.ndarray],
        potentials: np.ndarray,
        batch: slice,
    ) -> np.ndarray:
        """Return what a population's spikes stand for less what the trained network has."""
        model, name = self._net.model, population.name
        wanted = exact[population.layer]
        if name in recorded:
            found = model.decode(name, recorded[name][batch])
            if population.role == "input":
                found *= np.sign(wanted)
            elif population.role == "read_out":
                wanted = np.maximum(wanted, 0)
        elif population.role == "input":
            # a current is the value itself
            found = wanted
        else:
            # a silent read-out's potentials are compared before a last rectification
            wanted = exact[population.potential_layer]
            found = potentials[batch].reshape(wanted.shape)
        return (found - wanted).reshape(len(wanted), -1)


def _leads(values: np.ndarray) -> np.ndarray:
    """Return by how much the largest of the last axis is above the next; its own size if alone."""
    if values.shape[-1] == 1:
        return values[..., 0]
    highest = np.partition(values, -2, axis=-1)
    return highest[..., -1] - highest[..., -2]
