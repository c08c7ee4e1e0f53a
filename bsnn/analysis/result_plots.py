"""Plots of results: accuracy, agreement with the trained network, spikes and operations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from bsnn.analysis.style import (
    INK,
    MUTED,
    PALETTE,
    ROLE_COLOURS,
    bare,
    layer_axis,
    plain_numbers,
    series,
    tint,
)
from bsnn.conversion import CODINGS
from bsnn.errors import SettingsError
from bsnn.explain.recording import Recording
from bsnn.simulation import Result

__all__ = [
    "draw_accuracy_over_time",
    "draw_agreement",
    "draw_confusion",
    "draw_operations",
    "draw_spikes_by_depth",
]

# More points than these are drawn as their density.
_POINTS = 2000
# Bars are on a logarithmic scale if the highest is so many times the middle one.
_LOGARITHMIC = 20
# In matrices of more classes there is no room for numbers.
_NUMBERED_CLASSES = 12


def draw_accuracy_over_time(
    axes: Axes, results: Result | Sequence[Result], label: str = "", number: int = 0
) -> None:
    """Draw accuracy against time steps, and the trained network's as a dotted line.

    The band is one standard error of the images' number; for several results, of runs with
    different noise, a second band lies between the lowest and the highest, and the line is their
    mean.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Where to draw.
    results : Result or sequence of Result
        Of simulations in rate coding of the same images with labels.
    label : str
        For the legend.
    number : int
        Of the curve, which decides on colour and line.

    Raises
    ------
    SettingsError
        A result has no accuracy over time.
    """
    results = [results] if isinstance(results, Result) else list(results)
    curves = [curve for result in results if (curve := result.accuracy_at_step) is not None]
    if len(curves) < len(results):
        raise SettingsError(
            "Accuracy over time needs a simulation in rate coding of images with labels."
        )
    style = series(number)
    steps = np.arange(1, len(curves[0]) + 1)
    accuracy = np.mean(curves, axis=0)
    error = np.sqrt(accuracy * (1 - accuracy) / len(results[0]))
    bands = [(accuracy - error, accuracy + error)]
    if len(curves) > 1:
        bands.append((np.min(curves, axis=0), np.max(curves, axis=0)))
    for low, high in bands:
        axes.fill_between(
            steps, 100 * low, 100 * high, color=style["color"], alpha=0.18, lw=0,
        )  # fmt: skip
    axes.plot(steps, 100 * accuracy, label=label, **style)
    axes.axhline(100 * results[0].labelled_accuracies[1], color=style["color"], ls=":", lw=1.2)
    axes.set_xscale("log")
    plain_numbers(axes, "x")
    # as long as the longest of the curves
    ends = (float(np.asarray(line.get_xdata())[-1]) for line in axes.get_lines())
    axes.set_xlim(1, max(2, len(steps), *ends))
    axes.set_ylim(0, 101)
    axes.set_xlabel("time steps")
    axes.set_ylabel("accuracy (%), dotted: trained network")
    bare(axes)


def draw_confusion(
    axes: Axes, result: Result, classes: Sequence[str] | None = None, *, against: str = "labels"
) -> np.ndarray:
    """Draw how many images of each class (rows) were taken for which (columns); return them.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Where to draw.
    result : Result
        Its predictions are the columns.
    classes : sequence of str, optional
        Names of the classes; by default their numbers.
    against : str
        What the rows are: ``"labels"``, or ``"ann_predictions"``.

    Raises
    ------
    SettingsError
        The images had no labels.
    """
    truth = getattr(result, against)
    if truth is None:
        raise SettingsError("A confusion matrix needs images with labels.")
    size = result.potentials.shape[1]
    matrix = np.zeros((size, size), dtype=np.int64)
    np.add.at(matrix, (truth, result.predictions), 1)
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap=tint(), vmin=0, vmax=1)
    if size <= _NUMBERED_CLASSES:
        for row, column in zip(*np.nonzero(matrix), strict=True):
            wrong = row != column
            axes.text(
                column, row, f"{matrix[row, column]}", ha="center", va="center",
                fontsize=8, fontweight="bold" if wrong else "normal",
                color=PALETTE[1] if wrong else INK,
            )  # fmt: skip
        names = [str(k) for k in range(size)] if classes is None else list(classes)
        long = max(map(len, names)) > 3
        axes.set_xticks(range(size), names, rotation=90 if long else 0, fontsize=8)
        axes.set_yticks(range(size), names, fontsize=8)
    axes.set_xlabel("spiking network")
    axes.set_ylabel("label" if against == "labels" else "trained network")
    for side in axes.spines.values():
        side.set_color(MUTED)
    axes.tick_params(length=0)
    return matrix


def draw_agreement(axes: Axes, recording: Recording, name: str) -> None:
    """Draw what a layer's spikes stand for against the trained network's values.

    For a read-out that does not spike, its potentials. Many points are drawn as their density, on
    a logarithmic scale; a dashed line is where both are the same.
    """
    wanted, found = values_of_both(recording, name)
    low = min(float(wanted.min()), float(found.min()))
    high = max(float(wanted.max()), float(found.max()))
    margin = 0.03 * (high - low or 1.0)
    limits = (low - margin, high + margin)
    axes.plot(limits, limits, color=MUTED, ls="--", lw=1)
    if wanted.size > _POINTS:
        axes.hexbin(
            wanted, found, bins="log", mincnt=1, gridsize=45, extent=(*limits, *limits), lw=0,
            cmap=tint(strongest=1.0), vmin=0.3, rasterized=True,
        )  # fmt: skip
    else:
        axes.plot(wanted, found, "o", ms=2.5, color=PALETTE[0], alpha=0.6, mew=0, rasterized=True)
    axes.set_xlim(limits)
    axes.set_ylim(limits)
    axes.set_aspect("equal")
    axes.set_title(name, fontsize=9)
    bare(axes)


def values_of_both(recording: Recording, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return a layer's values in the trained and in the spiking network, as flat arrays."""
    model, population = recording.model, recording.model.populations[name]
    exact = model.graph.activations(recording.images)
    if name in recording.spikes:
        wanted, found = exact[population.layer], recording.values(name)
        if population.role == "read_out":
            # spikes encode nothing below zero
            wanted = np.maximum(wanted, 0)
    else:
        wanted, found = exact[population.potential_layer], recording.output[:, -1]
    return np.asarray(wanted, np.float64).ravel(), found.ravel()


def draw_spikes_by_depth(axes: Axes, result: Result) -> None:
    """Draw the mean spikes of a neuron for an image, layer by layer from the first to the last."""
    spikes = {
        name: population.spikes.mean() / population.neurons
        for name, population in result.populations.items()
        if population.spikes is not None
    }
    _draw_bars(axes, result, spikes)
    what = "for an image" if CODINGS[result.coding].timed else f"in {result.steps:,} steps"
    axes.set_ylabel(f"spikes a neuron {what}")


def draw_operations(axes: Axes, result: Result) -> None:
    """Draw the mean synaptic operations for an image that each layer's spikes cause, in millions.

    A layer's are those that its spikes cause at the layers which they reach.
    """
    operations = {
        name: population.operations.mean() / 1e6
        for name, population in result.populations.items()
        if population.operations is not None
    }
    _draw_bars(axes, result, operations)
    axes.set_ylabel("synaptic operations (millions)")


def _draw_bars(axes: Axes, result: Result, heights: dict[str, float]) -> None:
    roles = [result.populations[name].role for name in heights]
    hatches = ["//" if role == "max_pool" else "" for role in roles]
    bars = axes.bar(
        range(len(heights)), list(heights.values()), width=0.72,
        color=[ROLE_COLOURS[role] for role in roles],
    )  # fmt: skip
    for bar, hatch in zip(bars, hatches, strict=True):
        # poolings are told apart in print, too
        bar.set(hatch=hatch, edgecolor="white", lw=0)
    layer_axis(axes, list(heights))
    told = [height for height in heights.values() if height > 0]
    if told and max(told) > _LOGARITHMIC * np.median(told):
        # else one layer, mostly the input, presses the others into the axis
        axes.set_yscale("log")
        axes.set_ylim(bottom=min(told) / 2)
        plain_numbers(axes)
    bare(axes)
