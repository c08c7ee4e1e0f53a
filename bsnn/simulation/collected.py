"""Putting together what chunks have found."""

from __future__ import annotations

from typing import Any

import numpy as np

from bsnn.conversion import SpikingModel
from bsnn.graph import count
from bsnn.progress import SimulationState
from bsnn.simulation.executor import Outcome
from bsnn.simulation.records import Records
from bsnn.simulation.result import PopulationResult, Result
from bsnn.storage import Tree, versions

__all__ = ["Collected"]

_TIMES = ("build_seconds", "run_seconds", "cpu_seconds", "wall_seconds")


class Collected:
    """Records of all images of a simulation, as far as they are done.

    Attributes
    ----------
    done : numpy.ndarray
        Whether each image is done.
    build_seconds, run_seconds, cpu_seconds, wall_seconds : float
        See `Result`; those of earlier parts of a resumed simulation are included.
    """

    def __init__(self, model: SpikingModel, images: int) -> None:
        self._model = model
        self._records = Records.empty(model, images)
        self.done = np.zeros(images, dtype=bool)
        self.build_seconds = self.run_seconds = self.cpu_seconds = self.wall_seconds = 0.0

    def add(self, outcome: Outcome) -> None:
        """Take in a chunk that has succeeded."""
        presented = outcome.presented
        assert presented is not None
        self._records.put(outcome.indices, presented.records)
        self.run_seconds += presented.run_seconds
        self.cpu_seconds += presented.cpu_seconds
        self.done[outcome.indices] = True

    def state(self, labels: np.ndarray | None) -> SimulationState:
        """Return how far the simulation is, and what it has found so far."""
        done, records = self.done, self._records
        if not done.any():
            return SimulationState(0, len(done))
        counted = [
            (records.spikes[name][done].mean(), population.size)
            for name, population in self._model.populations.items()
            if population.role in ("neurons", "read_out") and name in records.spikes
        ]
        right = None if labels is None else records.predictions[done] == labels[done]
        return SimulationState(
            done=int(done.sum()),
            images=len(done),
            accuracy=None if right is None else float(right.mean()),
            spikes_per_neuron=float(
                sum(spikes for spikes, _ in counted) / max(1, sum(size for _, size in counted))
            ),
        )

    def tree(self) -> Tree:
        """Return what is done as a tree for a file."""
        return {
            "done": self.done,
            "records": self._records.take(self.done).tree(),
            "times": {name: getattr(self, name) for name in _TIMES},
        }

    def restore(self, tree: Tree) -> None:
        """Take in a tree that `tree` has made."""
        done = tree["done"].astype(bool)
        if done.shape != self.done.shape:
            raise ValueError(f"it has {len(done)} images, not {len(self.done)}")
        self._records.put(done, Records(**tree["records"]))
        for name in _TIMES:
            setattr(self, name, float(tree["times"][name]))
        self.done = done

    def result(self, **settings: Any) -> Result | None:
        """Return the result of the images that are done; None if there are none."""
        model, indices = self._model, np.flatnonzero(self.done)
        if not len(indices):
            return None
        records, cost = self._records.take(indices), count(model.graph)
        labels = settings.pop("labels")
        populations = {
            name: PopulationResult(
                role=population.role,
                neurons=population.size,
                spikes=records.spikes.get(name),
                operations=records.operations.get(name),
                rmse=float(np.sqrt(records.squared_error[name].mean() / population.size)),
            )
            for name, population in model.populations.items()
        }
        return Result(
            predictions=records.predictions,
            ann_predictions=records.ann_predictions,
            labels=None if labels is None else labels[indices],
            potentials=records.potentials,
            indices=indices,
            populations=populations,
            predictions_at_step=records.predictions_at_step,
            margins_at_step=records.margins_at_step,
            coding=model.coding,
            steps=model.steps,
            ann_macs=cost.macs,
            ann_flops=cost.flops,
            versions=versions(),
            **{name: getattr(self, name) for name in _TIMES},
            **settings,
        )
