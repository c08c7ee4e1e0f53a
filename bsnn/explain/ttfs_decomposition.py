"""What the error of time-to-first-spike coding is split into: all of it in closed form."""

from __future__ import annotations

import dataclasses
from collections.abc import Set

import numpy as np

from bsnn.conversion import Population, TtfsModel
from bsnn.conversion.populations import population_levels
from bsnn.conversion.time_code import decode
from bsnn.explain.causes import Situation
from bsnn.explain.changes import Changed
from bsnn.explain.decomposition import DECOMPOSITIONS, ErrorDecomposition

__all__ = ["TtfsDecomposition"]


class TtfsDecomposition(ErrorDecomposition):
    """Clipping and rounding to the steps of a window."""

    stages = (
        "conversion", "clipping", "start", "quantisation", "precision", "simulation",
    )  # fmt: skip

    def applies(self, cause: str, situation: Situation) -> bool:
        if cause == "start":
            return not situation.model.rounding
        return super().applies(cause, situation)

    def part_of(self, cause: str, situation: Situation) -> str | None:
        # values that are rounded down are an error of quantisation, of which this is the mean
        return "quantisation" if cause == "start" and not situation.model.rounding else None

    def input_values(
        self, model: TtfsModel, population: Population, values: np.ndarray, causes: Set[str]
    ) -> np.ndarray:
        if not causes & {"start", "quantisation"}:
            return values
        return self.coded(model, population, values, causes)

    def coded(
        self, model: TtfsModel, population: Population, values: np.ndarray, causes: Set[str]
    ) -> np.ndarray:
        scale, steps = values.dtype.type(model.scales[population.name]), model.steps
        start = 0.5 * model.rounding if "start" in causes else 0.5
        if "quantisation" not in causes:
            # without rounding, the initial potential moves all values alike
            values = np.maximum(values + (start - 0.5) / steps * scale, 0)
        else:
            level = population_levels(population, values, float(scale), steps, start == 0.5)
            values = decode(level, float(scale), steps)
        return np.minimum(values, scale) if "clipping" in causes else values

    def deciding(
        self, model: TtfsModel, last: np.ndarray, potential: np.ndarray, causes: Set[str]
    ) -> np.ndarray:
        if not model.spikes(model.output.name) or "quantisation" not in causes:
            return last
        # of outputs that spike in the same step the one of most potential counts
        axes = tuple(range(1, last.ndim))
        return np.where(last == last.max(axis=axes, keepdims=True), potential, -np.inf)

    def start_changed(self, model: TtfsModel) -> Changed:
        return Changed(
            dataclasses.replace(model, rounding=True),
            "rounded spike times",
            "Round spike times (bsnn convert --rounding)",
        )


DECOMPOSITIONS.add(TtfsModel.coding, TtfsDecomposition())
