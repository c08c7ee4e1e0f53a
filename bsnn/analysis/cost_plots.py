"""Plots of errors by cause, of decisions over time, and of energy: each draws into an axis."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from bsnn.analysis.style import INK, MUTED, PALETTE, bare, layer_axis, plain_numbers, series
from bsnn.explain import CAUSES, Comparison, LayerComparison
from bsnn.explain.cost import SpikingCost
from bsnn.explain.latency import decision_times, early_exit
from bsnn.simulation import Result

__all__ = ["draw_causes", "draw_decisions", "draw_early_exit", "draw_energy"]

_HATCHES = ("", "//", "..", "xx", "\\\\", "oo", "--")

_MICRO = 1e6


def draw_causes(axes: Axes, comparison: Comparison) -> None:
    """Draw the error of each layer, split into its causes.

    Bars are parts of the layer's error, relative to its activations; a cause that makes up for
    another one goes below zero, so that what is above less what is below is the error.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Where to draw.
    comparison : Comparison
        From `bsnn.compare`.
    """
    names = list(comparison.layers)
    layers = comparison.layers.values()
    causes = dict.fromkeys(cause for layer in layers for cause in layer.causes)
    above, below = np.zeros(len(names)), np.zeros(len(names))
    for number, cause in enumerate(causes):
        heights = np.array([_part(layer, cause) for layer in layers])
        if not heights.any():
            continue
        axes.bar(
            range(len(names)),
            heights,
            bottom=np.where(heights > 0, above, below),
            color=PALETTE[number % len(PALETTE)],
            hatch=_HATCHES[number // len(PALETTE) % len(_HATCHES)],
            edgecolor="white",
            lw=0.4,
            label=CAUSES[cause].title,
        )
        above += np.maximum(heights, 0)
        below += np.minimum(heights, 0)
    axes.axhline(0, color=MUTED, lw=0.8)
    layer_axis(axes, names)
    axes.set_ylabel("error (% of the activations)")
    if axes.get_legend_handles_labels()[1]:
        # bars leave no room inside
        axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    bare(axes)


def _part(layer: LayerComparison, cause: str) -> float:
    """Return what a cause contributes to the relative error of a layer, in per cent."""
    if cause not in layer.causes or not layer.rmse:
        return 0.0
    return 100 * layer.relative_error * layer.causes[cause].contribution / layer.rmse


def draw_early_exit(axes: Axes, result: Result, label: str = "", number: int = 0) -> None:
    """Draw accuracy against the mean step of a decision that is made as soon as a class leads.

    Each point is a margin by which the first class has to lead the second; the last is that of all
    steps.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Where to draw.
    result : Result
        In rate coding, with labels.
    label : str
        For the legend.
    number : int
        Of the curve, which decides on colour and line.
    """
    found = early_exit(result)
    axes.plot(found.mean_steps, 100 * found.accuracy, marker=".", label=label, **series(number))
    accuracy, _ = result.labelled_accuracies
    axes.plot(result.steps, 100 * accuracy, "o", color=INK, ms=5, mfc="none")
    axes.annotate(
        "all steps",
        (result.steps, 100 * accuracy),
        textcoords="offset points",
        xytext=(-6, -14),
        ha="right",
        fontsize=8,
        color=MUTED,
    )
    axes.set_xlabel("mean steps to a decision")
    axes.set_ylabel("accuracy (%)")
    axes.set_xlim(0, 1.03 * result.steps)
    axes.set_ylim(0, 101)
    bare(axes)


def draw_decisions(axes: Axes, result: Result) -> None:
    """Draw how many images have been decided after each step: for good, and rightly.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Where to draw.
    result : Result
        In rate coding.
    """
    times = decision_times(result)
    steps = np.arange(1, result.steps + 1)
    curves = [("class stays from here on", times.stable)]
    if times.first_correct is not None and times.stable_correct is not None:
        curves += [
            ("right for the first time", times.first_correct),
            ("right from here on", times.stable_correct),
        ]
    for number, (label, when) in enumerate(curves):
        decided = np.searchsorted(np.sort(when[when > 0]), steps, side="right") / len(result)
        axes.plot(steps, 100 * decided, label=label, **series(number))
    axes.set_xscale("log")
    plain_numbers(axes, "x")
    axes.set_xlim(1, max(2, result.steps))
    axes.set_ylim(0, 101)
    axes.set_xlabel("time steps")
    axes.set_ylabel("images (%)")
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    bare(axes)


def draw_energy(axes: Axes, cost: SpikingCost) -> None:
    """Draw estimates of the energy for an image: a range for the spiking network, and the other.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Where to draw.
    cost : SpikingCost
        From `bsnn.explain.cost.spiking_cost`.
    """
    energies = cost.energies()
    for row, energy in enumerate(energies):
        low, high = (_MICRO * joules for joules in energy.spiking)
        axes.plot([low, high], [row, row], color=PALETTE[0], lw=7, solid_capstyle="butt",
                  label="spiking network" if not row else None)  # fmt: skip
        axes.plot(_MICRO * energy.trained[0], row, "D", color=PALETTE[1], ms=6,
                  label="trained network" if not row else None)  # fmt: skip
    axes.set_yticks(range(len(energies)), [energy.name for energy in energies])
    axes.invert_yaxis()
    axes.set_ylim(len(energies) - 0.4, -0.6)
    axes.set_xscale("log")
    axes.set_xlabel("energy for an image (µJ)\nestimated, not measured")
    axes.legend(frameon=False, fontsize=8)
    bare(axes, left=False)
