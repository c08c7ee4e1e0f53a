"""The trained network turned into the spiking one, one cause of error after the other.

Each stage computes the whole network with the causes so far, and without those still to come. The
last stage is the spiking network: `bsnn.conversion.SpikingModel.reference` emits the same spikes as
Brian2. What the stages of a coding are is a class in `DECOMPOSITIONS`; a coding that has none there
has the general ones of `ErrorDecomposition`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Set
from typing import Any, ClassVar

import numpy as np

from bsnn.conversion import Decoded, Population, SpikingModel, convert
from bsnn.conversion.populations import per_channel
from bsnn.errors import ConversionError
from bsnn.explain.causes import CAUSES, Cause, Situation
from bsnn.explain.changes import CHANGES, Change, Changed
from bsnn.registry import Registry

__all__ = ["DECOMPOSITIONS", "ErrorDecomposition", "decomposition_of"]

# Percentiles among which the best scales are looked for.
_PERCENTILES = (99.0, 99.9, 99.99, 100.0)


class ErrorDecomposition:
    """The parts of the error of any coding: clipping, then what spikes can encode."""

    #: Names of the causes, in the order in which they are added.
    stages: ClassVar[tuple[str, ...]] = (
        "conversion", "clipping", "coding", "precision", "simulation",
    )  # fmt: skip

    def applies(self, cause: str, situation: Situation) -> bool:
        """Say whether there is such an error, however small."""
        if cause == "conversion":
            return situation.reference
        if cause == "precision":
            return situation.precision == "float32"
        return cause != "simulation" or situation.precision is not None

    def dynamic(self, cause: str, situation: Situation) -> bool:
        """Say whether it needs the network step by step, and not only its arithmetic."""
        return False

    def part_of(self, cause: str, situation: Situation) -> str | None:
        """Return the cause of which it is a part, when the one that weighs most is named."""
        return None

    def causes(self, situation: Situation) -> list[Cause]:
        """Return the causes that there are, in the order in which they are added."""
        found = [name for name in self.stages if self.applies(name, situation)]
        # those that need the dynamics come after the others, a given simulation last
        found.sort(key=lambda name: 2 if name == "simulation" else self.dynamic(name, situation))
        return [CAUSES[name] for name in found]

    def stage(
        self,
        situation: Situation,
        causes: list[Cause],
        images: np.ndarray,
        *,
        seed: int = 0,
        streams: np.ndarray | None = None,
        tick: Callable[[], None] | None = None,
    ) -> Decoded:
        """Return what the network computes with some of the causes of error.

        Parameters
        ----------
        situation : Situation
            What is compared.
        causes : list of Cause
            Those that are in; without ``"simulation"``.
        images : numpy.ndarray
            Shape ``(n, *input_shape)``, float64.
        seed, streams, tick
            See `bsnn.conversion.SpikingModel.reference`.
        """
        names = {cause.name for cause in causes}
        if not self.spiking(names, situation):
            return self.closed_form(situation.model, images, names)
        dtype = np.float32 if "precision" in names else np.float64
        model = self.idealised(situation.model, names)
        return model.reference(images, seed=seed, streams=streams, dtype=dtype, tick=tick)

    def spiking(self, causes: Set[str], situation: Situation) -> bool:
        """Say whether a network with some causes spikes; others are computed in closed form."""
        return "coding" in causes

    def idealised(self, model: Any, causes: Set[str]) -> SpikingModel:
        """Return the model without those of its own rules whose causes are not in."""
        return model

    def closed_form(self, model: Any, images: np.ndarray, causes: Set[str]) -> Decoded:
        """Return what a network computes that has no dynamics.

        Parameters
        ----------
        model : SpikingModel
            The network.
        images : numpy.ndarray
            Shape ``(n, *input_shape)``, float64.
        causes : set of str
            Which are in.
        """
        graph = model.spiking_graph if "pooling" in causes else model.graph
        if "precision" in causes:
            images = images.astype(np.float32)
        known = {graph.input.name: graph.check_images(images)}
        values, potential = {}, images
        for name, population in model.populations.items():
            if population.role == "max_pool":
                # of one scale: the largest value is that of the first spike, or the highest rate
                source = known[population.projections[0].source_layer]
                value = graph[population.layer].forward(source)
            elif population.role == "input":
                value = self.input_values(
                    model, population, graph.evaluate(population.layer, known), causes
                )
            else:
                heard = self.heard(model, population, known, causes)
                value = potential = graph.evaluate(population.potential_layer, heard)
                if model.spikes(name):
                    value = self.coded(model, population, np.maximum(value, 0), causes)
            values[name] = known[population.layer] = value
        last = self.deciding(model, values[model.output.name], potential, causes)
        return Decoded(values, last.reshape(len(last), -1).argmax(axis=1))

    def input_values(
        self, model: Any, population: Population, values: np.ndarray, causes: Set[str]
    ) -> np.ndarray:
        """Return the values of the input as it encodes them; by default as they are."""
        return values

    def heard(
        self,
        model: Any,
        population: Population,
        known: dict[str, np.ndarray],
        causes: Set[str],
    ) -> dict[str, np.ndarray]:
        """Return values, by layer, as a population takes them; by default as they are."""
        return known

    def coded(
        self, model: Any, population: Population, values: np.ndarray, causes: Set[str]
    ) -> np.ndarray:
        """Return values, not negative, as spikes can encode them in closed form."""
        scale = per_channel(model.scales[population.name], population.shape)
        return np.minimum(values, scale) if "clipping" in causes else values

    def deciding(
        self, model: Any, last: np.ndarray, potential: np.ndarray, causes: Set[str]
    ) -> np.ndarray:
        """Return that of which the largest is the class, given values and potentials."""
        return last

    def start_changed(self, model: Any) -> Changed | None:
        """Return the network with an initial potential that rounds; None if there is none."""
        return None

    def scales_can_change(self, model: Any) -> bool:
        """Say whether the network can be converted again with other scales."""
        return True


#: Error decompositions by coding.
DECOMPOSITIONS: Registry[ErrorDecomposition] = Registry("coding")

_GENERAL = ErrorDecomposition()


def decomposition_of(model: Any) -> ErrorDecomposition:
    """Return the error decomposition of a model's coding."""
    return DECOMPOSITIONS.get(model.coding, _GENERAL)


def _scales(model: Any, images: np.ndarray) -> Changed | None:
    """Find the percentile whose scales encode the last layer best, in the model's steps."""
    decomposition, output = decomposition_of(model), model.output.name
    if not decomposition.scales_can_change(model):
        return None
    exact = decomposition.closed_form(model, images, set()).values[output]

    def error(changed: SpikingModel) -> float:
        # without dynamics, which would take the time of a simulation for each percentile
        told = decomposition.closed_form(changed, images, {"clipping", "quantisation", "start"})
        return float(np.square(told.values[output] - exact).sum())

    candidates = {}
    for percentile in _PERCENTILES:
        try:
            candidates[percentile] = _recalibrated(model, images, percentile)
        except ConversionError:
            # a layer that is silent on these images: no scale can be found with them
            return None
    percentile = min(candidates, key=lambda p: error(candidates[p]))
    return Changed(
        candidates[percentile],
        f"scales of the {percentile:g}th percentile",
        f"Scales at the {percentile:g}th percentile of the activations (bsnn convert --norm "
        f"percentile --percentile {percentile:g}; tried with scales found on these images)",
    )


def _recalibrated(model: Any, images: np.ndarray, percentile: float) -> SpikingModel:
    options = {**model.conversion_options(), "norm": "percentile", "percentile": percentile}
    converted = convert(model.graph, images, coding=model.coding, **options)
    return dataclasses.replace(converted, source=model.source)


def _start(model: Any, images: np.ndarray) -> Changed | None:
    return decomposition_of(model).start_changed(model)


CHANGES.add("scales", Change("scales", ("clipping",), _scales))
CHANGES.add("start", Change("start", ("start",), _start))
