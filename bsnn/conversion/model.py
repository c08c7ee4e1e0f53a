"""The converted network as plain data: a graph with a coding, and a scale for each layer."""

from __future__ import annotations

import dataclasses
import os
from functools import cached_property
from typing import Any

import numpy as np

from bsnn.conversion.populations import Population, population_levels, populations
from bsnn.conversion.time_code import decode, rounding_charge
from bsnn.errors import StorageError
from bsnn.graph import Graph
from bsnn.storage import (
    Tree,
    graph_from_tree,
    graph_to_tree,
    provenance,
    read_tree,
    weights_sha256,
    write_tree,
)

__all__ = ["READ_OUTS", "CodedImages", "SpikingModel", "load_model", "model_from_tree"]

#: How a class is read from the last layer: its largest potential, or its earliest spike.
READ_OUTS = ("potential", "first-spike")


@dataclasses.dataclass(frozen=True)
class CodedImages:
    """What a spiking model computes for a batch, in closed form.

    Attributes
    ----------
    levels : dict of str to numpy.ndarray
        By population, the level of each neuron's spike (see `bsnn.conversion.time_code`);
        shape ``(n, *shape)``. The read-out is left out unless it spikes.
    values : dict of str to numpy.ndarray
        By population, what these spikes stand for, in the units of the trained network.
    potentials : dict of str to numpy.ndarray
        By population of neurons, the potential at the end of the silent stage, without the
        rounding charge; for the read-out, the logits.
    """

    levels: dict[str, np.ndarray]
    values: dict[str, np.ndarray]
    potentials: dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class SpikingModel:
    """A trained network with all that its spiking form is determined by.

    Attributes
    ----------
    graph : Graph
        The trained network.
    steps : int
        Time steps in a window, in which each neuron spikes at most once.
    scales : dict of str to float
        By population, the value that a spike in the first step stands for. It is also the
        threshold of the population's neurons, whose potentials are in the units of the trained
        network's values.
    rounding : bool
        Whether neurons start with half a step's charge, so that spike times are rounded.
    read_out : str
        One of `READ_OUTS`.
    scale_rule : str
        How the scales were found, a name in `bsnn.conversion.SCALE_RULES`.
    calibration : dict
        What they were found with: number of images, their SHA-256, their origin.
    source : dict
        Where the trained network came from.
    coding : str
        ``"ttfs"``, time to first spike.
    """

    graph: Graph
    steps: int
    scales: dict[str, float]
    rounding: bool = False
    read_out: str = "potential"
    scale_rule: str
    calibration: dict[str, Any]
    source: dict[str, str] = dataclasses.field(default_factory=dict)
    coding: str = "ttfs"

    @cached_property
    def populations(self) -> dict[str, Population]:
        """Populations by name, each after those that it reads."""
        return populations(self.graph)

    @property
    def input(self) -> Population:
        """The population that the images enter."""
        return next(iter(self.populations.values()))

    @property
    def output(self) -> Population:
        """The population that the result is read from."""
        return next(reversed(self.populations.values()))

    def spikes(self, name: str) -> bool:
        """Whether a population emits spikes; a read-out by potential does not."""
        return self.populations[name].role != "read_out" or self.read_out == "first-spike"

    def rest_potential(self, name: str) -> np.ndarray:
        """Potential from which the neurons of a population start, without any input spike.

        The biases, carried through the linear layers, plus the rounding charge if there is one;
        float64, of the population's shape.
        """
        population = self.populations[name]
        silence = {
            projection.source_layer: np.zeros((1, *self.graph.shapes[projection.source_layer]))
            for projection in population.projections
        }
        bias = self.graph.evaluate(population.potential_layer, silence)[0]
        return bias + self.initial_charge(name)

    def initial_charge(self, name: str) -> float:
        """Return the charge above the bias with which the neurons of a population start."""
        rounds = self.rounding and self.spikes(name)
        return rounding_charge(self.scales[name], self.steps) if rounds else 0.0

    def code(self, images: np.ndarray) -> CodedImages:
        """Return the spikes of a batch in closed form, without a simulation.

        Parameters
        ----------
        images : numpy.ndarray
            Shape ``(n, *input_shape)``, values from 0 to the input's scale; float64 images are
            computed in float64, others in float32.
        """
        coded: dict[str, np.ndarray] = {}
        potentials: dict[str, np.ndarray] = {}
        known: dict[str, np.ndarray] = {self.graph.input.name: self.graph.check_images(images)}
        for name, population in self.populations.items():
            if population.role == "max_pool":
                # the pooling passes spikes on: their times are compared, not coded again
                source = coded[population.projections[0].source]
                coded[name] = self.graph[population.layer].forward(source)
                known[population.layer] = decode(coded[name], self.scales[name], self.steps)
                continue
            value = self.graph.evaluate(population.potential_layer, known)
            if population.role in ("neurons", "read_out"):
                potentials[name] = value
            if not self.spikes(name):
                continue
            coded[name] = population_levels(
                population, value, self.scales[name], self.steps, self.rounding
            )
            known[population.layer] = decode(coded[name], self.scales[name], self.steps)
        values = {
            name: known[population.layer]
            for name, population in self.populations.items()
            if name in coded
        }
        return CodedImages(coded, values, potentials)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to a file, atomically."""
        conversion = {
            "coding": self.coding,
            "steps_per_window": self.steps,
            "rounding": self.rounding,
            "read_out": self.read_out,
            "scale_rule": self.scale_rule,
            "calibration": self.calibration,
            "scales": {
                "unit": "value of the trained network that a spike in the first step stands for; "
                "also the threshold of the neurons",
                **self.scales,
            },
        }
        tree = {
            "graph": graph_to_tree(self.graph),
            "conversion": conversion,
            "provenance": {**provenance(self.graph), **self.source},
        }
        write_tree(path, "model", tree)


_PROVENANCE_OF_FILE = {"created", "weights_sha256", "python_version"}


def load_model(path: str | os.PathLike[str]) -> SpikingModel:
    """Read a spiking model from a file.

    Raises
    ------
    StorageError
        The file is missing, damaged, or holds a trained network that was not converted.
    """
    return model_from_tree(read_tree(path, "model"), path)


def model_from_tree(tree: Tree, path: str | os.PathLike[str]) -> SpikingModel:
    """Make a spiking model from a file's tree; `path` is named in errors (see `load_model`)."""
    graph = graph_from_tree(tree, path)
    conversion = tree.get("conversion")
    if conversion is None:
        raise StorageError(
            f"{path} holds a trained network that was not converted. Convert it with "
            "`bsnn convert`."
        )
    stored = tree.get("provenance", {})
    if stored.get("weights_sha256") != weights_sha256(graph):
        raise StorageError(
            f"{path}: the trained arrays under /graph do not have the SHA-256 under "
            "/provenance: they were changed after the file was written. Convert the network again."
        )
    source = {
        name: text
        for name, text in stored.items()
        if name not in _PROVENANCE_OF_FILE and not name.endswith("_version")
    }
    try:
        scales = dict(conversion["scales"])
        scales.pop("unit", None)
        model = SpikingModel(
            graph=graph,
            coding=conversion["coding"],
            steps=conversion["steps_per_window"],
            rounding=bool(conversion["rounding"]),
            read_out=conversion["read_out"],
            scale_rule=conversion["scale_rule"],
            calibration=dict(conversion["calibration"]),
            scales=scales,
            source=source,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise StorageError(f"{path}: /conversion is incomplete ({error}).") from error
    _check(model, path)
    return model


def _check(model: SpikingModel, path: str | os.PathLike[str]) -> None:
    where = f"{path}: /conversion"
    if model.coding != "ttfs":
        raise StorageError(f"{where} has the unknown coding {model.coding!r}; 'ttfs' is known.")
    if model.read_out not in READ_OUTS:
        raise StorageError(f"{where} has the unknown read-out {model.read_out!r}.")
    if not isinstance(model.steps, int) or model.steps < 1:
        raise StorageError(f"{where} has {model.steps!r} steps per window.")
    for name in model.populations:
        scale = model.scales.get(name)
        if not isinstance(scale, (float, int)) or not np.isfinite(scale) or scale <= 0:
            raise StorageError(f"{where}/scales has {scale!r} for {name!r}; a number is needed.")
