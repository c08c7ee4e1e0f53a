"""Plots of rate-coded networks.

Figures are plain `matplotlib.figure.Figure` objects: show them in a notebook or save them with
``figure.savefig``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bsnn.conversion import RateModel
from bsnn.errors import SettingsError
from bsnn.simulation import Result

__all__ = [
    "accuracy_figure",
    "spikes_by_layer_figure",
    "threshold_trace_figure",
    "thresholds_figure",
]

_COLOURS = ("#2563eb", "#d97706", "#059669", "#dc2626", "#7c3aed", "#0891b2", "#6b7280", "#be185d")


def accuracy_figure(results: Mapping[str, Result]) -> Figure:
    """Return accuracy against time steps, with that of the trained network.

    Parameters
    ----------
    results : mapping of str to Result
        Of simulations in rate coding of images with labels, by what the legend calls them.

    Raises
    ------
    SettingsError
        A result has no accuracy over time.
    """
    figure = Figure(figsize=(7, 4.3), layout="constrained")
    axes = figure.add_subplot()
    for number, (name, result) in enumerate(results.items()):
        _draw_accuracy_over_time(axes, result, name, _COLOURS[number % len(_COLOURS)])
    axes.legend(frameon=False)
    counts = sorted({len(result) for result in results.values()})
    axes.set_title(f"accuracy over time, {' and '.join(f'{n:,}' for n in counts)} images")
    return figure


def _draw_accuracy_over_time(axes: Axes, result: Result, name: str, colour: str) -> None:
    """Draw one curve with its band of one standard error, and the trained network's accuracy."""
    accuracy = result.accuracy_at_step
    if accuracy is None:
        raise SettingsError(
            "Accuracy over time needs a simulation in rate coding of images with labels."
        )
    steps = np.arange(1, len(accuracy) + 1)
    error = np.sqrt(accuracy * (1 - accuracy) / len(result))
    axes.fill_between(
        steps, 100 * (accuracy - error), 100 * (accuracy + error), color=colour, alpha=0.18, lw=0
    )
    axes.plot(steps, 100 * accuracy, color=colour, lw=1.5, label=name)
    axes.axhline(100 * result.ann_accuracy, color=colour, ls="--", lw=1)
    axes.set_xscale("log")
    # as long as the longest of the curves
    axes.set_xlim(1, max(len(accuracy), *(line.get_xdata()[-1] for line in axes.get_lines())))
    axes.set_ylim(0, 100)
    axes.set_xlabel("time steps")
    axes.set_ylabel("accuracy (%), dashed: trained network")
    _bare(axes)


def threshold_trace_figure(model: RateModel) -> Figure:
    """Return what Spike-Norm has found: the largest weighted input by step, and the thresholds.

    Raises
    ------
    SettingsError
        The network was not normalised by Spike-Norm.
    """
    if not model.trace:
        raise SettingsError(
            f"The network was normalised by {model.norm!r}; only 'spike-norm' leaves a trace."
        )
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    over_time, by_layer = figure.subplots(1, 2, width_ratios=(1.2, 1))
    names = list(model.trace)
    # all lines at once: a colour for each says how deep the layer is
    shades = [_shade(number / max(1, len(names) - 1)) for number in range(len(names))]
    for name, shade in zip(names, shades, strict=True):
        trace = model.trace[name]
        over_time.plot(
            np.arange(1, len(trace) + 1),
            trace / trace[-1],
            color=shade,
            lw=1.3,
            drawstyle="steps-post",
        )
    over_time.set_xscale("log")
    over_time.set_ylim(0, 1.03)
    over_time.set_xlabel("time steps")
    over_time.set_ylabel("largest weighted input so far,\nas a share of the last")
    over_time.set_title("from the first layer (dark) to the last (light)")
    _draw_thresholds(by_layer, model, names, shades)
    for axes in (over_time, by_layer):
        _bare(axes)
    return figure


def thresholds_figure(model: RateModel) -> Figure:
    """Return the thresholds of all layers, for trained weights and spikes of height one."""
    figure = Figure(figsize=(7, 4.3), layout="constrained")
    axes = figure.add_subplot()
    names = [name for name, p in model.populations.items() if p.role != "input"]
    _draw_thresholds(axes, model, names, _COLOURS[0])
    _bare(axes)
    return figure


def _draw_thresholds(axes: Axes, model: RateModel, names: Sequence[str], colours: Any) -> None:
    balanced = [float(np.max(model.balanced_threshold(name))) for name in names]
    axes.bar(range(len(names)), balanced, color=colours)
    axes.axhline(1, color="0.4", ls=":", lw=1)
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=7)
    axes.set_yscale("log")
    axes.set_ylabel("threshold, for spikes of height one")
    axes.set_title("thresholds by layer")


def spikes_by_layer_figure(results: Mapping[str, Result]) -> Figure:
    """Return the mean spikes of a neuron for an image by depth, for several networks."""
    figure = Figure(figsize=(5.2 * len(results), 4.4), layout="constrained")
    all_axes = np.atleast_1d(figure.subplots(1, len(results)))
    for number, (axes, (title, result)) in enumerate(zip(all_axes, results.items(), strict=True)):
        spikes = {
            name: population.spikes.mean() / population.neurons
            for name, population in result.populations.items()
            if population.spikes is not None and population.role != "input"
        }
        axes.bar(range(len(spikes)), spikes.values(), color=_COLOURS[number % len(_COLOURS)])
        axes.set_xticks(range(len(spikes)), spikes, rotation=90, fontsize=7)
        axes.set_ylabel(f"spikes a neuron in {result.steps:,} steps")
        axes.set_title(title)
        _bare(axes)
    return figure


def _shade(depth: float) -> tuple[float, float, float]:
    dark, light = np.array([0.09, 0.15, 0.42]), np.array([0.55, 0.78, 0.98])
    return tuple(dark + depth * (light - dark))


def _bare(axes: Axes) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
