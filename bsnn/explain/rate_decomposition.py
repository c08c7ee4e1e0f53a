"""What the error of rate coding is split into.

First in closed form (activations that are clipped, and rounded to what steps can encode), then step
by step with rules that add no error of their own (constant input, reset by subtraction, the gate
that passes the largest rate), and at last with the model's own rules, one by one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Set
from typing import Any

import numpy as np

from bsnn.conversion import AVERAGE, DEFAULT_GATE, ENCODERS, Population, RateModel
from bsnn.conversion.populations import per_channel
from bsnn.conversion.residual import Junctions
from bsnn.conversion.scales import given_scales
from bsnn.conversion.ties import TIE
from bsnn.explain.causes import CAUSES, Cause, Situation
from bsnn.explain.changes import CHANGES, Change, Changed, changed_field
from bsnn.explain.decomposition import DECOMPOSITIONS, ErrorDecomposition
from bsnn.graph import MaxPool2d

__all__ = ["RateDecomposition"]

#: By cause, the model's field that says so, and its value without such an error.
_IDEAL = {
    "reset": ("reset", "subtract"),
    "floor": ("potential_floor", None),
    "input": ("encoder", "constant"),
    "fixed_point": ("fraction_bits", None),
    "pooling": ("gate", DEFAULT_GATE),
}


class RateDecomposition(ErrorDecomposition):
    """Clipping and rounding of rates, the order of spikes, and the rules of the model."""

    stages = (
        "conversion", "clipping", "start", "quantisation", "junction", "transient", "pooling",
        "reset", "floor", "input", "fixed_point", "precision", "simulation",
    )  # fmt: skip

    def applies(self, cause: str, situation: Situation) -> bool:
        model: Any = situation.model
        if cause == "start":
            return model.initial_potential != 0.5
        if cause == "junction":
            meet = any(len(population.projections) > 1 for population in model.populations.values())
            return model.residual == "unequal" and meet
        if cause == "pooling" and not any(isinstance(layer, MaxPool2d) for layer in model.graph):
            return False
        if cause == "fixed_point" and ENCODERS[model.encoder].spikes:
            return False
        if cause in _IDEAL:
            field, ideal = _IDEAL[cause]
            return getattr(model, field) != ideal
        return super().applies(cause, situation)

    def dynamic(self, cause: str, situation: Situation) -> bool:
        # average pooling is another network; the gates differ in time
        averaged = cause == "pooling" and situation.model.gate == AVERAGE
        return cause in {"transient", "precision", *_IDEAL} and not averaged

    def part_of(self, cause: str, situation: Situation) -> str | None:
        # values that are rounded down are an error of quantisation, of which this is the mean
        down = situation.model.initial_potential < 0.5
        return "quantisation" if cause == "start" and down else None

    def spiking(self, causes: Set[str], situation: Situation) -> bool:
        return any(self.dynamic(cause, situation) for cause in causes)

    def idealised(self, model: RateModel, causes: Set[str]) -> RateModel:
        ideal = {field: value for cause, (field, value) in _IDEAL.items() if cause not in causes}
        return dataclasses.replace(model, **ideal)

    def heard(
        self,
        model: RateModel,
        population: Population,
        known: dict[str, np.ndarray],
        causes: Set[str],
    ) -> dict[str, np.ndarray]:
        if "junction" not in causes:
            return known
        heard = dict(known)
        for path in population.projections:
            # spikes of all paths may count alike
            shape = model.populations[path.source].shape
            amplitude = per_channel(model.spike_amplitude(path, population), shape)
            heard[path.source_layer] = (
                known[path.source_layer] * amplitude / per_channel(model.scales[path.source], shape)
            )
        return heard

    def coded(
        self, model: RateModel, population: Population, values: np.ndarray, causes: Set[str]
    ) -> np.ndarray:
        scale, steps = per_channel(model.scales[population.name], population.shape), model.steps
        start = model.initial_potential if "start" in causes else 0.5
        if "quantisation" not in causes:
            # without rounding, the initial potential moves all values alike
            values = np.maximum(values + (start - 0.5) / steps * scale, 0)
        else:
            # potentials are sums of many terms and miss a threshold by less than this
            levels = np.floor(values / scale * steps + start + TIE)
            values = levels * (scale / steps)
        return np.minimum(values, scale) if "clipping" in causes else values

    def start_changed(self, model: RateModel) -> Changed:
        return Changed(
            dataclasses.replace(model, initial_potential=0.5),
            "start at half a threshold",
            "Start at half a threshold (bsnn convert --initial-potential 0.5)",
        )

    def scales_can_change(self, model: RateModel) -> bool:
        # in fixed point the scales are in the rounded weights
        return model.fraction_bits is None


DECOMPOSITIONS.add(RateModel.coding, RateDecomposition())

for _cause in (
    Cause(
        "junction",
        "unequal junction",
        "where branches meet, spikes that stand for different values count alike",
        "one scale for all that meet: --residual equal",
    ),
    Cause(
        "transient",
        "order of spikes",
        "spikes that were sent before the input that forbids them has arrived cannot be taken "
        "back, and input that comes late is not told any more",
        "more steps, which leave less of it",
    ),
    Cause(
        "pooling",
        "pooling rule",
        "what passes a max-pooling has not the largest of the rates",
        f"the gate whose rate is the largest: --gate {DEFAULT_GATE}",
    ),
    Cause(
        "reset",
        "reset rule",
        "a reset to zero takes away what the potential has above the threshold",
        "reset by subtraction: --reset subtract",
    ),
    Cause(
        "floor",
        "lowest potential",
        "a bound below the potential forgets inhibition",
        "convert without --potential-floor, or with a lower one",
    ),
    Cause(
        "input",
        "input spikes",
        "the input enters in spikes, at random (poisson) or one by one (regular), and not by "
        "its value",
        "a constant input, --input constant, or more steps",
    ),
    Cause(
        "fixed_point",
        "fixed point",
        "constant currents are rounded to the bits after the point",
        "more fraction bits",
    ),
):
    CAUSES.add(_cause.name, _cause)


def _junctions(model: RateModel, images: np.ndarray) -> Changed | None:
    equal = dataclasses.replace(
        model,
        residual="equal",
        scales={model.input.name: model.scales[model.input.name]},
    )
    plan = model.populations
    junctions = Junctions(equal, given_scales(model.spiking_graph, plan, None, by_channel=True))
    for name, population in plan.items():
        if population.role not in ("input", "max_pool"):
            junctions.assign(name, model.scales[name])
    return Changed(
        equal,
        "equal scales at junctions",
        "One scale for all that meet at a junction (bsnn convert --residual equal)",
    )


def _gate(model: RateModel, images: np.ndarray) -> Changed | None:
    scales = dict(model.scales)
    if model.gate == AVERAGE:
        pooled = dataclasses.replace(model, gate=DEFAULT_GATE)
        for name, population in pooled.populations.items():
            if population.role == "max_pool":
                scales[name] = scales[population.projections[0].source]
    return Changed(
        dataclasses.replace(model, gate=DEFAULT_GATE, scales=scales),
        f"the gate {DEFAULT_GATE}",
        f"The gate {DEFAULT_GATE} in place of {model.gate} (bsnn convert --gate {DEFAULT_GATE})",
    )


for _change in (
    Change("junctions", ("junction",), _junctions),
    Change("gate", ("pooling",), _gate),
    Change(
        "reset",
        ("reset",),
        changed_field("reset", "subtract", "reset by subtraction", "bsnn convert --reset subtract"),
    ),
    Change(
        "floor",
        ("floor",),
        changed_field(
            "potential_floor",
            None,
            "no bound below the potential",
            "bsnn convert without --potential-floor",
        ),
    ),
    Change(
        "input",
        ("input",),
        changed_field("encoder", "constant", "a constant input", "bsnn convert --input constant"),
    ),
    Change(
        "fixed_point",
        ("fixed_point",),
        changed_field("fraction_bits", None, "currents that are not rounded", "more fraction bits"),
    ),
):
    CHANGES.add(_change.name, _change)
