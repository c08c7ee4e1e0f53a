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

from bsnn.analysis.result_plots import draw_accuracy_over_time
from bsnn.analysis.style import MUTED, PALETTE, bare, layer_axis, new_figure, shade
from bsnn.conversion import SpikingModel
from bsnn.errors import SettingsError
from bsnn.simulation import Result

__all__ = [
    "accuracy_figure",
    "spikes_by_layer_figure",
    "threshold_trace_figure",
    "thresholds_figure",
]


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
    figure = new_figure(7, 4.3)
    axes = figure.add_subplot()
    for number, (name, result) in enumerate(results.items()):
        draw_accuracy_over_time(axes, result, name, number)
    axes.legend(frameon=False)
    counts = sorted({len(result) for result in results.values()})
    axes.set_title(f"accuracy over time, {' and '.join(f'{n:,}' for n in counts)} images")
    return figure


def threshold_trace_figure(model: SpikingModel) -> Figure:
    """Return what Spike-Norm has found: the largest weighted input by step, and the thresholds.

    Raises
    ------
    SettingsError
        The network was not normalised by Spike-Norm.
    """
    if not getattr(model, "trace", None):
        raise SettingsError(
            f"The network was normalised by {model.norm!r}; only 'spike-norm' leaves a trace."
        )
    figure = new_figure(11, 4.6)
    over_time, by_layer = figure.subplots(1, 2, width_ratios=(1.2, 1))
    names = list(model.trace)
    # all lines at once: a colour for each says how deep the layer is
    shades = [shade(number / max(1, len(names) - 1)) for number in range(len(names))]
    for name, colour in zip(names, shades, strict=True):
        trace = model.trace[name]
        over_time.plot(
            np.arange(1, len(trace) + 1),
            trace / trace[-1],
            color=colour,
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
        bare(axes)
    return figure


def thresholds_figure(model: SpikingModel) -> Figure:
    """Return the thresholds of all layers, for trained weights and spikes of amplitude one."""
    figure = new_figure(7, 4.3)
    axes = figure.add_subplot()
    names = [name for name, p in model.populations.items() if p.role != "input"]
    _draw_thresholds(axes, model, names, PALETTE[0])
    bare(axes)
    return figure


def _draw_thresholds(axes: Axes, model: SpikingModel, names: Sequence[str], colours: Any) -> None:
    balanced = [float(np.max(model.balanced_threshold(name))) for name in names]
    axes.bar(range(len(names)), balanced, color=colours)
    axes.axhline(1, color=MUTED, ls=":", lw=1)
    layer_axis(axes, names)
    axes.set_yscale("log")
    axes.set_ylabel("threshold, for spikes of amplitude one")
    axes.set_title("thresholds by layer")


def spikes_by_layer_figure(results: Mapping[str, Result]) -> Figure:
    """Return the mean spikes of a neuron for an image by depth, for several networks."""
    figure = new_figure(5.2 * len(results), 4.4)
    all_axes = np.atleast_1d(figure.subplots(1, len(results)))
    for number, (axes, (title, result)) in enumerate(zip(all_axes, results.items(), strict=True)):
        spikes = {
            name: population.spikes.mean() / population.neurons
            for name, population in result.populations.items()
            if population.spikes is not None and population.role != "input"
        }
        axes.bar(range(len(spikes)), spikes.values(), color=PALETTE[number % len(PALETTE)])
        layer_axis(axes, list(spikes))
        axes.set_ylabel(f"spikes a neuron in {result.steps:,} steps")
        axes.set_title(title)
        bare(axes)
    return figure
