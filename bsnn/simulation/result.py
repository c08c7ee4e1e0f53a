"""What a simulation of many images found."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import numpy as np

from bsnn.conversion import CODINGS, FIRST_CODING
from bsnn.errors import SimulationError, StorageError
from bsnn.storage import read_tree, write_tree

__all__ = ["PopulationResult", "Result", "load_result"]


@dataclasses.dataclass(frozen=True, eq=False)
class PopulationResult:
    """What one population did.

    Attributes
    ----------
    role : str
        ``"input"``, ``"neurons"``, ``"max_pool"`` or ``"read_out"``.
    neurons : int
        Number of neurons.
    spikes : numpy.ndarray or None
        Spikes for each image; None for a read-out that does not spike.
    operations : numpy.ndarray or None
        Synaptic operations for each image: each emitted spike times its true fan-out.
    rmse : float
        Root mean square, over neurons and images, of the difference between what the spikes (for
        a silent read-out: the potentials) stand for and the trained network's values.
    """

    role: str
    neurons: int
    spikes: np.ndarray | None
    operations: np.ndarray | None
    rmse: float


@dataclasses.dataclass(frozen=True, eq=False)
class Result:
    """Predictions, counts, errors, times and versions of a simulation.

    Attributes
    ----------
    predictions, ann_predictions : numpy.ndarray
        Class of each image, of the spiking and of the trained network; where the last layer is a
        map, the place of its largest value.
    labels : numpy.ndarray or None
        True classes, if they were given.
    potentials : numpy.ndarray
        Of the last layer, shape ``(images, classes)``: the logits of the spiking network.
    indices : numpy.ndarray
        Which of the images that were given these are; not all, if the simulation has not come to
        its end.
    populations : dict of str to PopulationResult
        By population, in the order of the network.
    predictions_at_step : numpy.ndarray or None
        In rate coding the class after each step, shape ``(images, steps)``.
    margins_at_step : numpy.ndarray or None
        In rate coding what this class leads the next by, of the same shape, float32: what the last
        layer has told, in the units of the trained network, added up over the steps so far.
    coding : str
        Name of the coding.
    steps : int
        Time steps in a window; in rate coding those for which an image was shown.
    ann_macs, ann_flops : int
        What the trained network needs for an image (see `bsnn.graph.cost`).
    device : str
        On what it was simulated.
    form, connectivity, precision : str
        Form of the neuron, connections and floating-point numbers: see `bsnn.build`.
    neuron : str
        The neuron model, with its parameters.
    perturbations : dict of str to float
        What was disturbed, and how strongly.
    synapses : dict of str to str
        By connection that is not static, its synapse model, with its parameters.
    workers : int
        Processes that have simulated.
    build_seconds : float
        Time until the first image could be presented: connections, code, compilation.
    run_seconds, cpu_seconds : float
        Time and processor time of simulating, the comparison with the trained network not
        included, added up over all chunks: several workers together take more time than passes.
    wall_seconds : float
        Time that has passed for the whole simulation.
    versions : dict of str to str
        Of Python and packages.
    """

    predictions: np.ndarray
    ann_predictions: np.ndarray
    labels: np.ndarray | None
    potentials: np.ndarray
    indices: np.ndarray
    populations: dict[str, PopulationResult]
    coding: str
    steps: int
    ann_macs: int
    ann_flops: int
    device: str
    form: str
    connectivity: str
    precision: str
    workers: int
    build_seconds: float
    run_seconds: float
    cpu_seconds: float
    wall_seconds: float
    versions: dict[str, str]
    predictions_at_step: np.ndarray | None = None
    margins_at_step: np.ndarray | None = None
    neuron: str = ""
    perturbations: dict[str, float] = dataclasses.field(default_factory=dict)
    synapses: dict[str, str] = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.predictions)

    @property
    def correct(self) -> int | None:
        """Images classified as labelled."""
        return None if self.labels is None else int((self.predictions == self.labels).sum())

    @property
    def labelled_accuracies(self) -> tuple[float, float]:
        """Accuracy of the spiking and of the trained network, for images with labels.

        Raises
        ------
        SimulationError
            There are no labels.
        """
        if self.accuracy is None or self.ann_accuracy is None:
            raise SimulationError("The images have no labels, from which the accuracy follows.")
        return self.accuracy, self.ann_accuracy

    @property
    def accuracy(self) -> float | None:
        """Fraction of images classified as labelled by the spiking network."""
        return None if self.correct is None else self.correct / len(self)

    @property
    def ann_accuracy(self) -> float | None:
        """Fraction of images classified as labelled by the trained network."""
        if self.labels is None:
            return None
        return int((self.ann_predictions == self.labels).sum()) / len(self)

    @property
    def accuracy_at_step(self) -> np.ndarray | None:
        """Accuracy after each step, in rate coding and if there are labels; shape ``(steps,)``."""
        if self.predictions_at_step is None or self.labels is None:
            return None
        return (self.predictions_at_step == self.labels[:, np.newaxis]).mean(axis=0)

    @property
    def spikes_per_neuron(self) -> float:
        """Mean spikes of a neuron for an image, over the neurons of convolutions and dense layers.

        Input, pooling and a read-out that does not spike are left out.
        """
        return self._spikes_per_neuron(("neurons", "read_out"))

    @property
    def spikes_per_neuron_with_pools(self) -> float:
        """The same, with the neurons of max-pooling counted too."""
        return self._spikes_per_neuron(("neurons", "read_out", "max_pool"))

    @property
    def synaptic_operations(self) -> float:
        """Mean synaptic operations an image: spikes times fan-out, those of the input included."""
        return float(
            sum(p.operations.mean() for p in self.populations.values() if p.operations is not None)
        )

    @property
    def operations_per_mac(self) -> float:
        """Synaptic operations for each multiply-accumulate of the trained network.

        The other reading of the paper's 0.142: spikes weighted by what they drive.
        """
        return self.synaptic_operations / self.ann_macs

    @property
    def layer_rmse(self) -> dict[str, float]:
        """Error of each population against the trained network, in the latter's units."""
        return {name: population.rmse for name, population in self.populations.items()}

    def _spikes_per_neuron(self, roles: tuple[str, ...]) -> float:
        counted = [
            (spikes.mean(), p.neurons)
            for p in self.populations.values()
            if p.role in roles and (spikes := p.spikes) is not None
        ]
        return float(sum(mean for mean, _ in counted) / max(1, sum(n for _, n in counted)))

    def summary(self) -> dict[str, Any]:
        """Return the main figures, ready for JSON."""
        over_time = self.accuracy_at_step
        return {
            "images": len(self),
            "correct": self.correct,
            "accuracy": self.accuracy,
            "ann_accuracy": self.ann_accuracy,
            **({} if over_time is None else {"accuracy_at_step": over_time.tolist()}),
            "coding": self.coding,
            "steps": self.steps,
            "spikes_per_neuron": self.spikes_per_neuron,
            "spikes_per_neuron_with_pools": self.spikes_per_neuron_with_pools,
            "synaptic_operations": self.synaptic_operations,
            "ann_macs": self.ann_macs,
            "ann_flops": self.ann_flops,
            "layer_rmse": self.layer_rmse,
            "build_seconds": self.build_seconds,
            "run_seconds": self.run_seconds,
            "cpu_seconds": self.cpu_seconds,
            "wall_seconds": self.wall_seconds,
            "device": self.device,
            "form": self.form,
            "connectivity": self.connectivity,
            "precision": self.precision,
            "neuron": self.neuron,
            "perturbations": self.perturbations,
            "synapses": self.synapses,
            "workers": self.workers,
            "versions": self.versions,
        }

    def rows(self) -> list[tuple[str, str]]:
        """Return the main figures as pairs of a description and a text."""
        count = len(self)

        def percent(value: float | None) -> str:
            return "no labels" if value is None else f"{100 * value:.2f} %"

        return [
            ("images", f"{count:,}"),
            ("accuracy of the trained network", percent(self.ann_accuracy)),
            ("accuracy of the spiking network", percent(self.accuracy)),
            (
                "same class in both",
                percent(float((self.predictions == self.ann_predictions).mean())),
            ),
            ("steps per window" if CODINGS[self.coding].pipelined else "steps", str(self.steps)),
            ("spikes per neuron", f"{self.spikes_per_neuron:.4f}"),
            *(
                [("spikes per neuron, with pools", f"{self.spikes_per_neuron_with_pools:.4f}")]
                if any(p.role == "max_pool" for p in self.populations.values())
                else []
            ),
            ("synaptic operations per image", f"{self.synaptic_operations:,.0f}"),
            ("synaptic operations per MAC", f"{self.operations_per_mac:.4f}"),
            ("MACs of the trained network", f"{self.ann_macs:,}"),
            ("build", f"{self.build_seconds:.1f} s"),
            (
                "run" if self.workers == 1 else "run, over all workers",
                f"{self.run_seconds:.1f} s, {1e3 * self.run_seconds / count:.1f} ms an image",
            ),
            (
                "build, run and comparison",
                f"{self.wall_seconds:.1f} s, {count / self.wall_seconds:,.0f} images/s",
            ),
            *([("neurons", self.neuron)] if self.neuron else []),
            *((f"perturbation: {name}", f"{x:g}") for name, x in self.perturbations.items()),
            *((f"synapses: {name}", text) for name, text in self.synapses.items()),
            (
                "device",
                f"{self.device}, {self.form} form, {self.connectivity}, {self.precision}"
                + ("" if self.workers == 1 else f", {self.workers} workers"),
            ),
        ]

    def __str__(self) -> str:
        rows = self.rows()
        width = max(len(description) for description, _ in rows)
        lines = [f"{description:<{width}}  {text}" for description, text in rows]
        lines += ["", f"{'layer':<16}{'spikes an image':>16}{'operations':>14}{'RMSE':>10}"]
        for name, population in self.populations.items():
            spikes, operations = population.spikes, population.operations
            lines.append(
                f"{name:<16}"
                + (f"{'-':>16}" if spikes is None else f"{spikes.mean():>16,.1f}")
                + (f"{'-':>14}" if operations is None else f"{operations.mean():>14,.0f}")
                + f"{population.rmse:>10.4f}"
            )
        return "\n".join(lines)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the result to an HDF5 file, atomically."""
        arrays = {
            "predictions": self.predictions,
            "ann_predictions": self.ann_predictions,
            "potentials": self.potentials,
            "indices": self.indices,
        }
        for name in ("labels", "predictions_at_step", "margins_at_step"):
            if getattr(self, name) is not None:
                arrays[name] = getattr(self, name)
        populations = {}
        for name, population in self.populations.items():
            fields = dataclasses.asdict(population)
            populations[name] = {k: v for k, v in fields.items() if v is not None}
        settings = {name: getattr(self, name) for name in _SETTINGS}
        tree = {
            "result": {
                **settings,
                **arrays,
                "order": tuple(self.populations),
                "neuron": self.neuron,
                "perturbations": self.perturbations,
                "synapses": self.synapses,
            },
            "populations": populations,
            "provenance": self.versions,
        }
        write_tree(path, "result", tree)


_SETTINGS = (
    "coding",
    "steps",
    "ann_macs",
    "ann_flops",
    "device",
    "form",
    "connectivity",
    "precision",
    "workers",
    "build_seconds",
    "run_seconds",
    "cpu_seconds",
    "wall_seconds",
)


def load_result(path: str | os.PathLike[str]) -> Result:
    """Read a result from a file.

    Raises
    ------
    StorageError
        The file is missing, damaged, or holds no result.
    """
    tree = read_tree(path, "result")
    try:
        result = {"coding": FIRST_CODING, **tree["result"]}
        populations = {
            name: PopulationResult(
                **{"spikes": None, "operations": None, **tree["populations"][name]}
            )
            for name in result["order"]
        }
        return Result(
            predictions=result["predictions"],
            ann_predictions=result["ann_predictions"],
            labels=result.get("labels"),
            predictions_at_step=result.get("predictions_at_step"),
            margins_at_step=result.get("margins_at_step"),
            potentials=result["potentials"],
            indices=result["indices"],
            populations=populations,
            versions=tree["provenance"],
            # files of bsnn 0.1 before there was a choice have neither
            neuron=result.get("neuron", ""),
            perturbations=dict(result.get("perturbations", {})),
            synapses=dict(result.get("synapses", {})),
            **{name: result[name] for name in _SETTINGS},
        )
    except (KeyError, TypeError) as error:
        raise StorageError(f"{path}: the result is incomplete ({error}).") from error
