"""The figure of the demonstration: an image in every layer, and all results."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bsnn.analysis.activity_plots import draw_image, draw_potentials, draw_raster, stages_text
from bsnn.analysis.style import PALETTE, bare
from bsnn.explain.recording import Recording
from bsnn.simulation import Result

__all__ = ["overview_figure"]


def overview_figure(recording: Recording, label: int, result: Result) -> Figure:
    """Return the figure of the demonstration: one digit through the network, and all results.

    Parameters
    ----------
    recording : Recording
        Of the digit (see `bsnn.explain.recording.record`), in time-to-first-spike coding.
    label : int
        Its class.
    result : Result
        Of a simulation of many images.
    """
    figure = Figure(figsize=(12, 9.5), layout="constrained")
    figure.suptitle(
        "A digit in spike times: one spike a neuron at most, the earlier the larger",
        fontsize=13,
    )
    halves: Any = figure.subfigures(2, 1, height_ratios=(1, 1.1))
    top, bottom = halves
    axes = top.subplots(1, 3, width_ratios=(1, 2.6, 1.5))
    draw_image(axes[0], recording.images[0])
    axes[0].set_title(f"input: a {label}")
    draw_raster(axes[1], recording)
    axes[1].set_title("spikes of every layer, and how many neurons spiked")
    _draw_accuracy(axes[2], result)
    all_axes = np.atleast_1d(bottom.subplots(1, len(recording.traces)))
    for axes, (name, traces) in zip(all_axes, recording.traces.items(), strict=True):
        draw_potentials(axes, traces)
        axes.set_title(f"{name}\n{stages_text(traces[0])}", fontsize=10)
    all_axes[0].set_ylabel("membrane potential\n(units of the ANN's activations)")
    return figure


def _draw_accuracy(axes: Axes, result: Result) -> None:
    accuracies = [100 * (result.ann_accuracy or 0.0), 100 * (result.accuracy or 0.0)]
    bars = axes.bar(
        ["trained\nnetwork", "spiking\nnetwork"], accuracies, color=(PALETTE[6], PALETTE[0])
    )
    axes.bar_label(bars, fmt="%.2f %%", padding=2)
    axes.set_ylim(0, 112)
    axes.set_yticks([0, 50, 100])
    axes.set_ylabel("accuracy (%)")
    axes.set_title(
        f"{len(result):,} test images\n{result.spikes_per_neuron:.3f} spikes a neuron\n"
        f"{result.synaptic_operations / 1e6:.2f} M synaptic operations\n"
        f"for {result.ann_macs / 1e6:.2f} M MACs",
        fontsize=10,
    )
    bare(axes)
