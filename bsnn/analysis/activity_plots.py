"""Plots of spikes and potentials.

Each function draws into axes of yours; figures are plain `matplotlib.figure.Figure` objects.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgba
from matplotlib.figure import Figure

from bsnn.analysis.style import (
    FILL,
    INK,
    MUTED,
    PALETTE,
    ROLE_COLOURS,
    RULE,
    bare,
    new_figure,
    plain_numbers,
    series,
)
from bsnn.errors import SettingsError
from bsnn.explain.recording import Recording, Spikes
from bsnn.explain.tracing import NeuronTrace

__all__ = [
    "draw_current",
    "draw_image",
    "draw_potentials",
    "draw_raster",
    "draw_rates",
    "draw_spike_times",
    "stages_text",
    "trace_figure",
]

# More spikes of a layer than so many are drawn as their density.
_DOTS = 5000
_DENSITY_ROWS, _DENSITY_COLUMNS = 40, 320


def draw_image(axes: Axes, image: np.ndarray) -> None:
    """Draw an image of one or three channels as it is."""
    axes.imshow(image.transpose(1, 2, 0).squeeze(), cmap="gray_r")
    axes.set_xticks([])
    axes.set_yticks([])


def draw_raster(axes: Axes, recording: Recording, image: int = 0) -> None:
    """Draw every spike of an image, a band for each layer, the first layer on top.

    Where a layer has more spikes than dots could show, how dense they are.
    """
    model, names = recording.model, list(recording.spikes)
    for row, name in enumerate(names):
        spikes, size = recording.spikes[name][image], model.populations[name].size
        base, colour = len(names) - 1 - row, ROLE_COLOURS[model.populations[name].role]
        if len(spikes.neurons) > _DOTS:
            _draw_density(axes, spikes, size, recording.steps, base, colour)
        else:
            height = base + 0.08 + 0.84 * spikes.neurons / max(1, size - 1)
            axes.plot(spikes.steps, height, ".", ms=2.2, color=colour, rasterized=True, label=name)
        axes.text(
            1.01, base + 0.5, _how_many(recording, name, image), fontsize=8, va="center",
            transform=axes.get_yaxis_transform(),
        )  # fmt: skip
        axes.axhline(base, color=RULE, lw=0.8, zorder=0)
    axes.set_yticks(np.arange(len(names))[::-1] + 0.5, names)
    axes.set_ylim(0, len(names))
    if model.pipelined:
        for boundary in range(0, recording.steps + 1, model.steps):
            axes.axvline(boundary, color=RULE, lw=0.8, zorder=0)
    axes.set_xlim(-0.01 * recording.steps, recording.steps)
    axes.set_xlabel("time step")
    bare(axes, left=False)


def _draw_density(
    axes: Axes, spikes: Spikes, size: int, steps: int, base: float, colour: str
) -> None:
    """Draw how dense spikes are, in a layer's band, by colour on a scale of square roots."""
    found, _, _ = np.histogram2d(
        spikes.neurons,
        spikes.steps,
        bins=(min(size, _DENSITY_ROWS), min(steps, _DENSITY_COLUMNS)),
        range=((-0.5, size - 0.5), (-0.5, steps - 0.5)),
    )
    shades = LinearSegmentedColormap.from_list("spikes", [(0, to_rgba(colour, 0)), (1, colour)])
    axes.imshow(
        np.sqrt(found), cmap=shades, vmin=0, aspect="auto", origin="lower",
        extent=(-0.5, steps - 0.5, base + 0.08, base + 0.92), interpolation="nearest",
    )  # fmt: skip


def _how_many(recording: Recording, name: str, image: int) -> str:
    spikes, size = recording.spikes[name][image], recording.model.populations[name].size
    if recording.model.timed:
        return f"{len(np.unique(spikes.neurons)):,} of {size:,}"
    return f"{len(spikes.neurons) / size:.2f} a neuron"


def draw_potentials(axes: Axes, traces: Sequence[NeuronTrace]) -> None:
    """Draw membrane potentials of neurons of one layer.

    In time-to-first-spike coding with the silent and the spiking stage, the threshold, a triangle
    for each spike and a cross for what the trained network computes; in rate coding with threshold
    and resets. Where no threshold is known, a spike's triangle stands at the potential of its step.
    Of a read-out the largest potential is the one that counts.
    """
    first = traces[0]
    silent = not first.spiking
    few = max(len(trace.spikes) for trace in traces) < 8
    largest = max(traces, key=lambda trace: trace.potential[-1])
    for number, trace in enumerate(traces):
        style = series(number)
        if silent:
            largest_one = trace is largest
            style = {
                "color": PALETTE[1] if largest_one else MUTED,
                "lw": 2.2 if largest_one else 0.9,
            }
        label = ", ".join(map(str, trace.position))
        if trace.silent_stage:
            axes.plot(trace.steps, trace.potential, label=label, **style)
            reached = trace.steps[0] + trace.stage
            axes.plot(reached, trace.ann_value, "x", color=style["color"], ms=5, clip_on=False)
        else:
            # up to what is compared with the threshold, then down to what is left, in one step
            steps = np.repeat(trace.steps, 2)
            values = np.column_stack([trace.potential, trace.left]).ravel()
            axes.plot(steps, values, label=label, **style)
        if len(trace.spikes) and not silent:
            if trace.threshold is None:
                height = trace.potential[np.searchsorted(trace.steps, trace.spikes)]
            else:
                height = np.full(len(trace.spikes), trace.threshold)
            size = 6 if few else 4
            axes.plot(trace.spikes, height, "v", color=style["color"], ms=size, clip_on=False)
    if silent:
        axes.text(
            largest.steps[-1], largest.potential[-1], f"class {_number(largest)} ", ha="right",
            va="bottom", fontsize=8.5, color=PALETTE[1],
        )  # fmt: skip
    if first.threshold is not None:
        axes.axhline(first.threshold, color=MUTED, ls="--", lw=1)
    if first.threshold is not None and first.silent_stage:
        axes.text(
            0.02, first.threshold, "threshold", transform=axes.get_yaxis_transform(), va="bottom",
            fontsize=8, color=MUTED,
        )  # fmt: skip
    if first.silent_stage:
        start = first.steps[0]
        axes.axvspan(start, start + first.stage, color=FILL, zorder=0)
    axes.set_xlim(first.steps[0], first.steps[-1] + (0 if silent else 1))
    axes.margins(y=0.12)
    if first.threshold is not None and not first.silent_stage:
        # a neuron that gets less and less would press the others into a line
        highest = max(trace.potential.max() for trace in traces)
        axes.set_ylim(
            max(axes.get_ylim()[0], -1.5 * first.threshold), 1.1 * max(highest, first.threshold)
        )
    axes.set_xlabel("time step")
    bare(axes)


def _number(trace: NeuronTrace) -> str:
    return ", ".join(map(str, trace.position))


def stages_text(trace: NeuronTrace) -> str:
    """Say what the two halves of a plot of potentials are."""
    if not trace.silent_stage:
        return "integrate and fire" if trace.spiking else "adds up"
    return "silent | spiking stage" if trace.spiking else "silent stage, then read out"


def draw_current(axes: Axes, trace: NeuronTrace) -> None:
    """Draw what drives a neuron's potential, step by step."""
    axes.axhline(0, color=RULE, lw=0.8, zorder=0)
    axes.step(trace.steps, trace.current, where="post", color=PALETTE[2], lw=1.4)
    if trace.silent_stage:
        axes.axvspan(trace.steps[0], trace.steps[0] + trace.stage, color=FILL, zorder=0)
        axes.set_ylabel("current\n(potential a window)")
    else:
        axes.set_ylabel("input in a step")
    axes.set_xlim(trace.steps[0], trace.steps[-1] + 1)
    bare(axes)


def trace_figure(trace: NeuronTrace) -> Figure:
    """Return current, potential and the decoded value of one neuron, one above the other."""
    figure = new_figure(5.4, 5.4)
    current, potential, value = figure.subplots(3, 1, sharex=True, height_ratios=(1, 1.6, 1))
    draw_current(current, trace)
    draw_potentials(potential, [trace])
    potential.set_xlabel("")
    potential.set_ylabel("potential")
    value.step(trace.steps, trace.decoded, where="post", color=PALETTE[0], lw=1.5)
    value.axhline(trace.ann_value, color=INK, ls=":", lw=1.2)
    value.text(
        0.99, trace.ann_value, "trained network", transform=value.get_yaxis_transform(), ha="right",
        va="bottom", fontsize=8,
    )  # fmt: skip
    value.set_ylabel("decoded value")
    value.set_xlabel("time step")
    value.margins(y=0.25)
    bare(value)
    figure.suptitle(
        f"{trace.layer} ({_number(trace)}): trained network {trace.ann_value:.4g}, "
        f"decoded {trace.decoded[-1]:.4g}",
        fontsize=10,
    )
    return figure


def draw_spike_times(axes: Axes, recording: Recording, names: Sequence[str] | None = None) -> None:
    """Draw how many of a layer's neurons spike in each step of their window.

    Raises
    ------
    SettingsError
        The number of spikes is what counts in the network's coding.
    """
    model = recording.model
    if not model.timed:
        raise SettingsError(f"In {model.title} times of spikes have no meaning.")
    edges = np.arange(model.steps + 1)
    for number, name in enumerate(_chosen(recording, names)):
        steps = np.concatenate([spikes.steps for spikes in recording.spikes[name]])
        found = np.bincount(steps - model.schedule().first_step(name), minlength=model.steps)
        share = 100 * found / (model.populations[name].size * len(recording.images))
        axes.stairs(
            np.where(share > 0, share, np.nan), edges, baseline=None, label=name, **_outline(number)
        )
    axes.set_yscale("log")
    plain_numbers(axes)
    axes.set_xlim(0, model.steps)
    axes.set_xlabel("step of the window (early: large value)")
    axes.set_ylabel("neurons that spike (%)")
    axes.legend(frameon=False, fontsize=8, ncols=2)
    bare(axes)


def draw_rates(axes: Axes, recording: Recording, names: Sequence[str] | None = None) -> None:
    """Draw how many of a layer's neurons have which rate; those that are silent are left out.

    Each class of rates is twice as wide as the one before: one spike, 2 to 3, 4 to 7, ...

    Raises
    ------
    SettingsError
        The times of spikes are what counts in the network's coding.
    """
    model = recording.model
    if model.timed:
        raise SettingsError(f"In {model.title} rates have no meaning.")
    highest = model.steps.bit_length()
    edges = np.minimum(2.0 ** np.arange(highest + 1) - 0.5, model.steps + 0.5) / model.steps
    for number, name in enumerate(_chosen(recording, names)):
        size = model.populations[name].size
        rates = (
            np.concatenate(
                [np.bincount(spikes.neurons, minlength=size) for spikes in recording.spikes[name]]
            )
            / model.steps
        )
        share = 100 * np.histogram(rates, edges)[0] / len(rates)
        axes.stairs(
            np.where(share > 0, share, np.nan), edges, baseline=None, label=name, **_outline(number)
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    plain_numbers(axes)
    plain_numbers(axes, "x")
    axes.set_xlim(edges[0], edges[-1])
    axes.set_xlabel("spikes a step")
    axes.set_ylabel("neurons (%)")
    axes.legend(frameon=False, fontsize=8, ncols=2)
    bare(axes)


def _chosen(recording: Recording, names: Sequence[str] | None) -> list[str]:
    """The layers that were named, or up to seven from first to last, poolings left out."""
    if names is not None:
        return list(names)
    roles = recording.model.populations
    known = [name for name in recording.spikes if roles[name].role != "max_pool"]
    places = np.unique(np.linspace(0, len(known) - 1, min(7, len(known))).round().astype(int))
    return [known[place] for place in places]


def _outline(number: int) -> dict:
    style = series(number)
    return {"edgecolor": style["color"], "ls": style["ls"], "lw": style["lw"]}
