"""How far what a layer's spikes stand for is from the trained network's activations."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np

from bsnn.conversion import Population, SpikingModel
from bsnn.conversion.populations import per_channel

__all__ = ["CauseShare", "LayerComparison", "LayerMeasures", "UnitComparison"]

# Units that are named for each layer.
_WORST_UNITS = 5

# Relative errors below this are rounding of sums.
_NO_ERROR = 1e-9


@dataclasses.dataclass(frozen=True)
class UnitComparison:
    """One unit of a layer, over all images.

    Attributes
    ----------
    index : tuple of int
        Channel, row, column; of a flat layer the unit's number alone.
    ann, decoded : float
        Mean over the images of the activation, and of what the spikes stand for.
    rmse : float
        Root mean square of the difference.
    """

    index: tuple[int, ...]
    ann: float
    decoded: float
    rmse: float


@dataclasses.dataclass(frozen=True)
class CauseShare:
    """What one cause adds to the error of a layer, in the units of the trained network.

    Attributes
    ----------
    contribution : float
        The change that the cause makes, projected onto the whole error and divided by the root of
        the number of values: the contributions of a layer add up to its RMSE. Negative if it takes
        away from what the others do.
    rms : float
        Root mean square of the change alone, whatever its direction.
    """

    contribution: float
    rms: float


@dataclasses.dataclass(frozen=True)
class LayerComparison:
    """Activations of a layer and what its spikes stand for, over all units and images.

    Attributes
    ----------
    name, role : str
        The population, and what it is.
    shape : tuple of int
        Of its values for an image.
    rms : float
        Root mean square of the activations.
    rmse, bias : float
        Root mean square, and mean, of decoded value minus activation.
    correlation : float or None
        Pearson's, of the two; None if either is constant.
    clipped : float
        Fraction, of the activations that are not zero, that are above the scale.
    silent : int
        Units that spike for no image, though an activation is as large as what one spike stands
        for.
    dead : int
        Units that are active for no image in the trained network.
    saturated : int
        Units that for some image encode the largest value that they can.
    worst : tuple of UnitComparison
        The units of the largest errors, the worst first.
    causes : dict of str to CauseShare
        By the name of the cause.
    parts : dict of str to str
        Causes that are a part of another one, and that one (see `Cause.part_of`).
    """

    name: str
    role: str
    shape: tuple[int, ...]
    rms: float
    rmse: float
    bias: float
    correlation: float | None
    clipped: float
    silent: int
    dead: int
    saturated: int
    worst: tuple[UnitComparison, ...]
    causes: dict[str, CauseShare]
    parts: dict[str, str]

    @property
    def relative_error(self) -> float:
        """RMSE divided by the root mean square of the activations; inf if these are all zero."""
        if self.rms:
            return self.rmse / self.rms
        return float("inf") if self.rmse else 0.0

    @property
    def main_cause(self) -> str | None:
        """Name of the cause that contributes most with its parts; None without an error."""
        if self.relative_error < _NO_ERROR:
            return None
        wholes = [name for name in self.causes if name not in self.parts]
        return max(wholes, key=self.share)

    def share(self, cause: str) -> float:
        """Return the part of the error that a cause contributes, with its parts."""
        if not self.rmse:
            return 0.0
        parts = [name for name, whole in self.parts.items() if whole == cause]
        names = {cause, *parts} & self.causes.keys()
        return sum(self.causes[name].contribution for name in names) / self.rmse

    def summary(self) -> dict[str, Any]:
        """Return all figures, ready for JSON."""
        relative = self.relative_error
        return {
            **dataclasses.asdict(self),
            "relative_error": relative if np.isfinite(relative) else None,
            "main_cause": self.main_cause,
        }


class LayerMeasures:
    """Sums over the images of a layer, batch by batch.

    Parameters
    ----------
    model : SpikingModel
        The spiking network.
    population : Population
        The layer.
    causes : list of str
        Names of the causes, in the order of the stages.
    parts : dict of str to str
        See `LayerComparison`.
    """

    def __init__(
        self,
        model: SpikingModel,
        population: Population,
        causes: list[str],
        parts: dict[str, str],
    ) -> None:
        self._population = population
        self._causes, self._parts = causes, parts
        self._spikes = model.spikes(population.name)
        self._steps = model.steps
        self._scale = per_channel(model.scales[population.name], population.shape)
        shape = population.shape
        self._count = 0
        self._activation, self._decoded = np.zeros(shape), np.zeros(shape)
        self._squares = np.zeros(shape)
        self._largest, self._most = np.zeros(shape), np.zeros(shape)
        # of activation and decoded value: squares and product
        self._moments = np.zeros(3)
        self._above = self._active = 0
        self._projections, self._own = np.zeros(len(causes)), np.zeros(len(causes))

    def add(self, stages: list[np.ndarray]) -> None:
        """Take in a batch: the activations, then the values with one cause after the other."""
        activation, decoded = stages[0], stages[-1]
        error = decoded - activation
        self._count += len(activation)
        self._activation += activation.sum(axis=0)
        self._decoded += decoded.sum(axis=0)
        self._squares += np.square(error).sum(axis=0)
        size = np.abs(activation)
        self._largest = np.maximum(self._largest, size.max(axis=0))
        self._most = np.maximum(self._most, np.abs(decoded).max(axis=0))
        self._moments += [_dot(activation, activation), _dot(decoded, decoded),
                          _dot(activation, decoded)]  # fmt: skip
        # a pixel that lies on the scale may miss it by a last bit
        self._above += int((size > self._scale * (1 + 1e-6)).sum()) if self._spikes else 0
        self._active += np.count_nonzero(activation)
        for k, (before, after) in enumerate(itertools.pairwise(stages)):
            change = after - before
            self._projections[k] += _dot(change, error)
            self._own[k] += _dot(change, change)

    def comparison(self) -> LayerComparison:
        """Return the figures of all that was taken in."""
        size, population = self._count * self._population.size, self._population
        rmse = float(np.sqrt(self._squares.sum() / size))
        contributions = self._projections / (rmse * size) if rmse else self._projections
        least = self._scale / self._steps
        silent = (self._most == 0) & (self._largest >= least * (1 + 1e-6))
        full = self._most >= self._scale * (1 - 1e-6)
        return LayerComparison(
            name=population.name,
            role=population.role,
            shape=population.shape,
            rms=float(np.sqrt(self._moments[0] / size)),
            rmse=rmse,
            bias=float((self._decoded - self._activation).sum() / size),
            correlation=self._correlation(size),
            clipped=self._above / max(1, self._active),
            silent=int(silent.sum()) if self._spikes else 0,
            dead=int((self._largest == 0).sum()) if self._spikes else 0,
            saturated=int(full.sum()) if self._spikes else 0,
            worst=self._worst(),
            causes={
                name: CauseShare(float(contribution), float(np.sqrt(own / size)))
                for name, contribution, own in zip(
                    self._causes, contributions, self._own, strict=True
                )
            },
            parts=self._parts,
        )

    def _correlation(self, size: int) -> float | None:
        means = self._activation.sum() / size, self._decoded.sum() / size
        first = self._moments[0] / size - means[0] ** 2
        second = self._moments[1] / size - means[1] ** 2
        # what is left of a constant is rounding
        if first <= 1e-12 * self._moments[0] / size or second <= 1e-12 * self._moments[1] / size:
            return None
        both = self._moments[2] / size - means[0] * means[1]
        return float(both / np.sqrt(first * second))

    def _worst(self) -> tuple[UnitComparison, ...]:
        order = np.argsort(-self._squares, axis=None, kind="stable")[:_WORST_UNITS]
        units = [tuple(map(int, np.unravel_index(k, self._squares.shape))) for k in order]
        return tuple(
            UnitComparison(
                unit,
                float(self._activation[unit] / self._count),
                float(self._decoded[unit] / self._count),
                float(np.sqrt(self._squares[unit] / self._count)),
            )
            for unit in units
            if self._squares[unit] > 0
        )


def _dot(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.einsum("i,i->", a.ravel(), b.ravel(), dtype=np.float64))
