"""Latency of the decisions of a rate-coded network, and the cost of early exit."""

from __future__ import annotations

import dataclasses

import numpy as np

from bsnn.errors import SettingsError
from bsnn.simulation import Result

__all__ = ["DecisionTimes", "EarlyExit", "decision_times", "early_exit"]

#: Margins that are tried: quantiles of those that occur.
_MARGINS = 50


@dataclasses.dataclass(frozen=True, eq=False)
class DecisionTimes:
    """Steps after which images were decided, counted from 1; 0 where they never were.

    Attributes
    ----------
    stable : numpy.ndarray
        From this step on the class has not changed any more.
    first_correct, stable_correct : numpy.ndarray or None
        The first step with the right class, and that from which on it was always right; None
        without labels.
    """

    stable: np.ndarray
    first_correct: np.ndarray | None
    stable_correct: np.ndarray | None


@dataclasses.dataclass(frozen=True, eq=False)
class EarlyExit:
    """What it costs to stop at the first step in which a class leads by a margin.

    Attributes
    ----------
    margins : numpy.ndarray
        By how much the first class leads the second: what is decoded so far, in the units of the
        trained network, added up over the steps.
    mean_steps : numpy.ndarray
        Mean step of the decision for each margin; images that never reach it take all steps.
    accuracy : numpy.ndarray
        Fraction of images classified as labelled.
    """

    margins: np.ndarray
    mean_steps: np.ndarray
    accuracy: np.ndarray


def decision_times(result: Result) -> DecisionTimes:
    """Return when the class of each image was found.

    Raises
    ------
    SettingsError
        The result has no class after each step, because its coding is another.
    """
    classes = _at_step(result)
    stable = _always_from(classes == classes[:, -1:])
    if result.labels is None:
        return DecisionTimes(stable, None, None)
    right = classes == result.labels[:, np.newaxis]
    first = np.where(right.any(axis=1), right.argmax(axis=1) + 1, 0)
    return DecisionTimes(stable, first, _always_from(right))


def early_exit(result: Result, margins: np.ndarray | None = None) -> EarlyExit:
    """Return accuracy against mean latency for a row of margins.

    Parameters
    ----------
    result : Result
        Of a rate-coded network, with labels.
    margins : numpy.ndarray, optional
        In rising order; by default quantiles of those that occur.

    Raises
    ------
    SettingsError
        There are no labels, or no class after each step.
    """
    classes = _at_step(result)
    if result.labels is None:
        raise SettingsError("Without labels no accuracy is known: give them to bsnn.simulate.")
    leads = result.margins_at_step
    assert leads is not None
    if margins is None:
        margins = np.unique(np.quantile(leads, np.linspace(0, 1, _MARGINS)))
    last = classes.shape[1] - 1
    mean_steps, accuracy = [], []
    for margin in margins:
        reached = leads >= margin
        # a lead of nothing is no decision
        reached &= leads > 0
        step = np.where(reached.any(axis=1), reached.argmax(axis=1), last)
        decided = np.take_along_axis(classes, step[:, np.newaxis], axis=1)[:, 0]
        mean_steps.append(step.mean() + 1)
        accuracy.append((decided == result.labels).mean())
    return EarlyExit(np.asarray(margins), np.array(mean_steps), np.array(accuracy))


def _at_step(result: Result) -> np.ndarray:
    if result.predictions_at_step is None:
        raise SettingsError(
            "Decisions over time are known in rate coding only; in time-to-first-spike coding each "
            "layer takes one window."
        )
    return result.predictions_at_step


def _always_from(holds: np.ndarray) -> np.ndarray:
    """Return the step from which on a condition always holds; 0 if it does not in the last."""
    fails = ~holds[:, ::-1]
    last = np.where(fails.any(axis=1), fails.argmax(axis=1), holds.shape[1])
    return np.where(last == 0, 0, holds.shape[1] - last + 1)
