"""Normalisation: how the largest value that a layer can code, its scale, is found.

A scale that is too small clips the largest activations; one that is too large leaves few levels, or
low rates, for the rest. The rules are in a registry by name.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from bsnn.conversion.calibration import DEFAULT_PERCENTILE
from bsnn.conversion.populations import Population, clip_of
from bsnn.conversion.statistics import ActivationStatistics
from bsnn.conversion.time_code import decode, levels
from bsnn.errors import ConversionError
from bsnn.graph import Graph, bounds
from bsnn.registry import Registry, check_name

__all__ = [
    "NORMALISATIONS",
    "SPIKE_TIME_NORMALISATIONS",
    "ScaleContext",
    "given_scales",
    "rmse_by_scale",
]

# Candidates of the search: fractions of the largest activation.
_FRACTIONS = np.linspace(0.01, 1.0, 100)


@dataclasses.dataclass(frozen=True)
class ScaleContext:
    """The data that a rule may look at.

    Attributes
    ----------
    graph : Graph
        The trained network.
    population : Population
        The neurons whose scale is wanted.
    statistics : ActivationStatistics
        Of what the trained network computes for the calibration images.
    source_scales : dict
        Scale of each population before this one.
    pairs : callable, optional
        For spike times: yields, batch by batch, the potentials that the spiking network reaches
        there, given the scales of the populations before, and the activations.
    steps : int
        Steps in a window.
    rounding : bool
        Whether spike times are rounded.
    percentile : float
        For the rule of that name.
    signed_layers : set of str
        Layers whose values are also negative: a normalised input.
    channels : bool
        Find a scale for each channel (of a flat population: for each neuron).
    """

    graph: Graph
    population: Population
    statistics: ActivationStatistics
    source_scales: Mapping[str, float | np.ndarray]
    pairs: Callable[[], Iterator[tuple[np.ndarray, np.ndarray]]] | None = None
    steps: int = 1
    rounding: bool = False
    percentile: float = DEFAULT_PERCENTILE
    signed_layers: frozenset[str] = frozenset()
    channels: bool = False

    @property
    def activations(self) -> np.ndarray:
        """What the trained network computes there for all images, rectified: this takes memory."""
        return self.statistics.all(self.population.name)

    def largest(self) -> float | np.ndarray:
        """Return the largest activation of the layer, or of each channel."""
        return self._found(functools.partial(self.statistics.largest, self.population.name))

    def high_percentile(self) -> float | np.ndarray:
        """Return the percentile of the activations that are not zero, or that of each channel."""
        return self._found(functools.partial(self.statistics.percentile, self.population.name))

    def find(self, values: np.ndarray, rule: Callable[[np.ndarray], float]) -> float | np.ndarray:
        """Apply a rule to values of shape ``(n, *shape)``, or to those of each channel.

        A channel for which nothing is found, because it is never active, has the scale of the
        layer.
        """

        def statistic(channels: bool) -> Any:
            return [rule(part) for part in values.swapaxes(0, 1)] if channels else rule(values)

        return self._found(statistic)

    def _found(self, statistic: Callable[..., Any]) -> float | np.ndarray:
        layer = float(statistic(channels=False))
        if not self.channels:
            return layer
        found = np.asarray(statistic(channels=True))
        return np.where(found > 0, found, layer)


def _data_based(context: ScaleContext) -> float | np.ndarray:
    """Largest activation: nothing in the calibration images is clipped (Diehl et al. 2015).

    Without the largest weight, which Diehl et al. also look at; Sengupta et al. (2019) do not.
    """
    return context.largest()


def _percentile(context: ScaleContext) -> float | np.ndarray:
    """Percentile of the activations that are not zero (Rueckauer et al. 2017)."""
    return context.high_percentile()


def _model_based(context: ScaleContext) -> float | np.ndarray:
    """Largest potential that any input can cause (Diehl et al. 2015).

    All inputs of positive weights spike at once and no others; biases included. This is also the
    bound of López-Randulfe et al. (2022), eq. 5.
    """
    graph = context.graph
    known = {}
    for projection in context.population.projections:
        shape = (1, *graph.shapes[projection.source_layer])
        scale = np.asarray(context.source_scales[projection.source], dtype=np.float64)
        highest = np.zeros(shape) + scale.reshape(-1, *[1] * (len(shape) - 2))
        signed = projection.source_layer in context.signed_layers
        known[projection.source_layer] = (-highest if signed else 0 * highest, highest)
    _, high = bounds(graph, known, context.population.potential_layer)
    return context.find(high, np.max)


def _least_rmse(context: ScaleContext) -> float:
    """Scale at which decoded spikes are closest to the activations, by search."""
    largest = float(context.statistics.largest(context.population.name))
    if largest <= 0:
        return largest
    scales = largest * _FRACTIONS
    assert context.pairs is not None
    squares = np.zeros(len(scales))
    for potentials, activations in context.pairs():
        squares += _squared_errors(potentials, activations, scales, context.steps, context.rounding)
    return float(scales[np.argmin(squares)])


#: Rules by name. A rule returns a scale in the units of the trained network's activations. Those of
#: rate coding are in `bsnn.conversion.convert_rate` besides.
NORMALISATIONS: Registry[Callable[[ScaleContext], float | np.ndarray]] = Registry(
    "normalisation",
    {
        "data-based": _data_based,
        "percentile": _percentile,
        "model-based": _model_based,
        "min-rmse": _least_rmse,
    },
)


#: Rules that look at spike times, which rates have not.
SPIKE_TIME_NORMALISATIONS = frozenset({"min-rmse"})


def given_scales(
    graph: Graph,
    plan: Mapping[str, Population],
    scales: Mapping[str, float | np.ndarray] | None,
    *,
    by_channel: bool,
) -> dict[str, float | np.ndarray]:
    """Return the scales that are not looked for, by population: a user's, and those of clips.

    Parameters
    ----------
    graph : Graph
        The trained network.
    plan : mapping of str to Population
        Its populations.
    scales : mapping of str to float, optional
        Those that the user gives.
    by_channel : bool
        Whether the coding knows a scale for each channel.

    Raises
    ------
    UnknownNameError
        There is no such population, or its scale is not found by a normalisation.
    ConversionError
        A scale is not positive, is several numbers where one is meant, or is not that of the clip
        of a rectification.
    """
    names = [name for name, p in plan.items() if p.role in ("neurons", "read_out")]
    found = {}
    for name, value in (scales or {}).items():
        check_name(name, names, "population with a scale of its own")
        array = np.asarray(value, dtype=np.float64)
        if array.ndim > 1 or not (np.isfinite(array) & (array > 0)).all():
            raise ConversionError(
                f"The scale of {name!r} is {value!r}; a positive number is needed."
            )
        if array.ndim and (not by_channel or array.shape != plan[name].shape[:1]):
            wanted = f", or one for each of its {plan[name].shape[0]} channels" * by_channel
            raise ConversionError(
                f"The scale of {name!r} is {array.size} numbers; one is needed{wanted}."
            )
        found[name] = array if array.ndim else float(array)
    for name in names:
        clip = clip_of(graph, plan[name])
        if clip is not None and not np.all(found.setdefault(name, clip) == clip):
            raise ConversionError(
                f"The scale of {name!r} is given as {found[name]}, and its rectification has the "
                f"clip {clip:g}, which is its scale. Leave it out."
            )
    return found


def rmse_by_scale(
    potentials: np.ndarray,
    activations: np.ndarray,
    scales: np.ndarray,
    steps: int,
    rounding: bool,
) -> np.ndarray:
    """Return the error of coding potentials in spike times, for each of several scales.

    Parameters
    ----------
    potentials : numpy.ndarray
        Reached at the end of the silent stage.
    activations : numpy.ndarray
        What they should stand for, of the same shape.
    scales : numpy.ndarray
        Scales to try.
    steps : int
        Steps in a window.
    rounding : bool
        Whether spike times are rounded.

    Returns
    -------
    numpy.ndarray
        Root mean square of the difference, for each scale.
    """
    squares = _squared_errors(potentials, activations, scales, steps, rounding)
    return np.sqrt(squares / potentials.size)


def _squared_errors(
    potentials: np.ndarray,
    activations: np.ndarray,
    scales: np.ndarray,
    steps: int,
    rounding: bool,
) -> np.ndarray:
    potentials, activations = potentials.ravel(), activations.ravel()
    # where both are zero or below, every scale is right: leave these values out of the search
    relevant = (potentials > 0) | (activations > 0)
    potentials, activations = potentials[relevant], activations[relevant]
    errors = []
    for scale in scales:
        coded = decode(levels(potentials, scale, steps, rounding), scale, steps)
        errors.append(np.square(coded - activations, dtype=np.float64).sum())
    return np.array(errors)
