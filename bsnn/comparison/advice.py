"""What to change in a conversion, and what that brings on the images at hand.

Each change answers one or more causes of error. Those that answer the causes that weigh most are
tried: the changed network is computed on the same images.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from bsnn.comparison.causes import Situation
from bsnn.comparison.ladder import arithmetic
from bsnn.comparison.measures import LayerComparison
from bsnn.conversion import (
    AVERAGE,
    DEFAULT_GATE,
    RateModel,
    SpikingModel,
    convert_to_rate,
    convert_to_ttfs,
)
from bsnn.conversion.residual import Junctions
from bsnn.errors import ConversionError
from bsnn.graph import Flatten, Graph, Linear

__all__ = ["CHANGES", "Advice", "Change", "Changed", "Outcome", "advise"]

# Changes that are tried: each computes the whole network once.
_TRIED = 4

# A cause with less than this part of an error is not looked at.
_LEAST_SHARE = 0.05

# How many times the steps: simulations of many steps take long.
_FURTHER_STEPS, _FEWER_FURTHER_STEPS, _MANY_STEPS = 4, 2, 500

# Percentiles among which the best scales are looked for.
_PERCENTILES = (99.0, 99.9, 99.99, 100.0)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a network does on the images.

    Attributes
    ----------
    agreement : float
        Fraction of images with the same class as in the trained network.
    accuracy : float or None
        Fraction of images classified as labelled; None without labels.
    output_error : float
        RMSE of the last layer's values, relative to their root mean square.
    layer_error : float or None
        The same of the first layer that departs; None where it is not asked for.
    """

    agreement: float
    accuracy: float | None
    output_error: float
    layer_error: float | None = None

    def at(self, layer: LayerComparison) -> Outcome:
        """Return the outcome with the error of a layer."""
        return dataclasses.replace(self, layer_error=layer.relative_error)

    def summary(self) -> dict[str, Any]:
        """Return all figures, ready for JSON."""
        return {
            name: None if isinstance(value, float) and not np.isfinite(value) else value
            for name, value in dataclasses.asdict(self).items()
        }


@dataclasses.dataclass(frozen=True)
class Changed:
    """A network with one thing changed.

    Attributes
    ----------
    model : SpikingModel
        The changed network.
    short, text : str
        What was changed, in a few words and with how to do it.
    """

    model: SpikingModel
    short: str
    text: str


@dataclasses.dataclass(frozen=True)
class Change:
    """A way to change a conversion.

    Attributes
    ----------
    name : str
        As in `CHANGES`.
    causes : tuple of str
        The causes that it answers.
    make : callable
        ``make(model, images)`` returns a `Changed`, or None if there is nothing to change.
    """

    name: str
    causes: tuple[str, ...]
    make: Callable[[SpikingModel, np.ndarray], Changed | None]


@dataclasses.dataclass(frozen=True, eq=False)
class Advice:
    """A change that was tried on the images.

    Attributes
    ----------
    change : str
        Name in `CHANGES`.
    cause : str
        The cause for which it was tried.
    text : str
        What to do.
    layer : str
        The layer whose error is told: the first that departs, else the last.
    before, after : Outcome
        Without and with the change, on the images that were compared.
    model : SpikingModel
        The changed network, as it was tried; `bsnn.SpikingModel.save` keeps it.
    """

    change: str
    cause: str
    text: str
    layer: str
    before: Outcome
    after: Outcome
    model: SpikingModel

    @property
    def agreement_gain(self) -> float:
        """By how much the fraction of images with the same class in both networks grows."""
        return self.after.agreement - self.before.agreement

    @property
    def helps(self) -> bool:
        """Whether more images have the right class, or as many with a smaller error."""
        smaller = self.after.output_error < self.before.output_error
        return self.agreement_gain > 0 or (self.agreement_gain == 0 and smaller)

    def summary(self) -> dict[str, Any]:
        """Return all figures, ready for JSON."""
        return {
            "change": self.change,
            "cause": self.cause,
            "text": self.text,
            "helps": self.helps,
            "layer": self.layer,
            "agreement_gain": self.agreement_gain,
            "before": self.before.summary(),
            "after": self.after.summary(),
        }

    def __str__(self) -> str:
        before, after = self.before, self.after
        return (
            f"{self.text}: same class {100 * before.agreement:.2f} -> {100 * after.agreement:.2f} "
            f"%, error of {self.layer} {100 * before.layer_error:.3g} -> "
            f"{100 * after.layer_error:.3g} %, of the output {100 * before.output_error:.3g} -> "
            f"{100 * after.output_error:.3g} %"
        )


def advise(
    situation: Situation,
    images: np.ndarray,
    layers: Mapping[str, LayerComparison],
    watched: str,
    before: Outcome,
    outcome: Callable[[Changed], Outcome],
) -> tuple[Advice, ...]:
    """Try what answers the causes that weigh most; return it, the best first.

    Parameters
    ----------
    situation : Situation
        What is compared.
    images : numpy.ndarray
        Shape ``(n, *input_shape)``, float64; scales are looked for with them.
    layers : mapping of str to LayerComparison
        What was found.
    watched : str
        The first layer that departs; the last layer if none does.
    before : Outcome
        Of the network as it is.
    outcome : callable
        Returns what a changed network does on the images.
    """
    model = situation.model
    places = (layers[watched], layers[model.output.name])
    weights = {
        cause: max(place.share(cause) for place in places) for cause in layers[watched].causes
    }
    tried: dict[str, Advice] = {}
    for cause in sorted(weights, key=weights.__getitem__, reverse=True):
        for change in CHANGES.values():
            if weights[cause] < _LEAST_SHARE or cause not in change.causes:
                continue
            if change.name in tried or len(tried) == _TRIED:
                continue
            changed = change.make(model, images)
            if changed is not None:
                after = outcome(changed)
                tried[change.name] = Advice(
                    change.name, cause, changed.text, watched, before, after, changed.model
                )
    return tuple(sorted(tried.values(), key=lambda a: (-a.after.agreement, a.after.output_error)))


def _layout(model: SpikingModel, images: np.ndarray) -> Changed | None:
    """Take dense layers after a flattening as ordered (row, column, channel)."""
    graph, layers, names = model.graph, [], []
    for layer in graph:
        before = graph[layer.inputs[0]] if layer.inputs else None
        if isinstance(layer, Linear) and isinstance(before, Flatten):
            shape = graph.shapes[before.inputs[0]]
            if len(shape) == 3 and shape[0] > 1 and shape[1] * shape[2] > 1:
                channels, height, width = shape
                weight = layer.weight.reshape(-1, height, width, channels).transpose(0, 3, 1, 2)
                layer = dataclasses.replace(layer, weight=weight.reshape(layer.weight.shape))
                names.append(layer.name)
        layers.append(layer)
    if not names:
        return None
    return Changed(
        dataclasses.replace(model, graph=Graph(layers, graph.output)),
        "layout after the flattening",
        f"The weights of {' and '.join(names)} are ordered (row, column, channel): order them "
        "(channel, row, column) and convert again",
    )


def _steps(model: SpikingModel, images: np.ndarray) -> Changed | None:
    further = _FURTHER_STEPS if model.steps < _MANY_STEPS else _FEWER_FURTHER_STEPS
    steps = further * model.steps
    return Changed(
        dataclasses.replace(model, steps=steps),
        f"{steps} steps",
        f"{steps} steps in place of {model.steps} (--steps {steps})",
    )


def _start(model: SpikingModel, images: np.ndarray) -> Changed | None:
    if isinstance(model, RateModel):
        return Changed(
            dataclasses.replace(model, initial_potential=0.5),
            "start at half a threshold",
            "Start at half a threshold (bsnn convert --initial-potential 0.5)",
        )
    return Changed(
        dataclasses.replace(model, rounding=True),
        "rounded spike times",
        "Round spike times (bsnn convert --rounding)",
    )


def _scales(model: SpikingModel, images: np.ndarray) -> Changed | None:
    """Find the percentile whose scales tell the last layer best, in the model's steps."""
    if getattr(model, "fraction_bits", None) is not None:
        # the scales are in the rounded weights
        return None
    output = model.output.name
    exact = arithmetic(model, images, set()).values[output]

    def error(changed: SpikingModel) -> float:
        # without dynamics, which would take the time of a simulation for each percentile
        told = arithmetic(changed, images, {"clipping", "quantisation", "start"})
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


def _recalibrated(model: SpikingModel, images: np.ndarray, percentile: float) -> SpikingModel:
    shared = {
        "steps": model.steps,
        "percentile": percentile,
        "read_out": model.read_out,
        "input_scale": model.scales[model.input.name],
    }
    if not isinstance(model, RateModel):
        converted = convert_to_ttfs(
            model.graph, images, norm="percentile", rounding=model.rounding, **shared
        )
    else:
        converted = convert_to_rate(
            model.graph,
            images,
            norm="percentile",
            channels=any(np.ndim(scale) for scale in model.scales.values()),
            encoder=model.encoder,
            reset=model.reset,
            balance=model.balance,
            residual=model.residual,
            initial_potential=model.initial_potential,
            potential_floor=model.potential_floor,
            gate=model.gate,
            **shared,
        )
    return dataclasses.replace(converted, source=model.source)


def _junctions(model: SpikingModel, images: np.ndarray) -> Changed | None:
    equal = dataclasses.replace(
        model,
        residual="equal",
        scales={model.input.name: model.scales[model.input.name]},
    )
    junctions = Junctions(equal)
    for name, population in model.populations.items():
        if population.role not in ("input", "max_pool"):
            junctions.assign(name, model.scales[name])
    return Changed(
        equal,
        "equal scales at junctions",
        "One scale for all that meet at a junction (bsnn convert --residual equal)",
    )


def _field(name: str, value: object, short: str, option: str) -> Callable[..., Changed | None]:
    def make(model: SpikingModel, images: np.ndarray) -> Changed | None:
        return Changed(
            dataclasses.replace(model, **{name: value}),
            short,
            f"{short[0].upper()}{short[1:]} ({option})",
        )

    return make


def _gate(model: SpikingModel, images: np.ndarray) -> Changed | None:
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


#: Changes by name, in the order in which they are tried for a cause.
CHANGES: dict[str, Change] = {
    change.name: change
    for change in (
        Change("layout", ("conversion",), _layout),
        Change("scales", ("clipping",), _scales),
        Change("start", ("start",), _start),
        Change("junctions", ("junction",), _junctions),
        Change("gate", ("pooling",), _gate),
        Change(
            "reset",
            ("reset",),
            _field("reset", "subtract", "reset by subtraction", "bsnn convert --reset subtract"),
        ),
        Change(
            "floor",
            ("floor",),
            _field(
                "potential_floor",
                None,
                "no bound below the potential",
                "bsnn convert without --potential-floor",
            ),
        ),
        Change(
            "input",
            ("input",),
            _field("encoder", "constant", "a constant input", "bsnn convert --input constant"),
        ),
        Change("steps", ("quantisation", "transient", "start", "input"), _steps),
        Change(
            "fixed_point",
            ("fixed_point",),
            _field("fraction_bits", None, "currents that are not rounded", "more fraction bits"),
        ),
    )
}
