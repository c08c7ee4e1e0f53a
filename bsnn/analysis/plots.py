"""Plots of spiking networks and of what they did.

Figures are plain `matplotlib.figure.Figure` objects, made without pyplot's global state: show them
in a notebook or save them with ``figure.savefig``.
"""

from __future__ import annotations

import brian2 as b2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bsnn.brian import SpikingNetwork, build
from bsnn.conversion import SpikingModel
from bsnn.simulation import Result

__all__ = ["overview_figure", "record_image"]

_COLOURS = ("#6b7280", "#2563eb", "#60a5fa", "#059669", "#6ee7b7", "#d97706", "#dc2626", "#7c3aed")


def record_image(model: SpikingModel, image: np.ndarray) -> tuple[SpikingNetwork, dict[str, list]]:
    """Simulate one image with the paper's neuron and record spikes and membrane potentials.

    Runs on the active device, which must be the runtime device.

    Parameters
    ----------
    model : SpikingModel
        The network.
    image : numpy.ndarray
        Of the network's input shape.

    Returns
    -------
    net : SpikingNetwork
        After the run; monitors of ``"spikes"`` on every population that spikes, and of ``"u"`` on
        some neurons of each population with a membrane.
    chosen : dict of str to list of int
        By population, which neurons have their potential recorded: the most depolarised, a typical
        spiking one, and the most hyperpolarised; of the last layer all.
    """
    net = build(model, images=1, form="trace", one_at_a_time=True)
    coded = model.code(image[np.newaxis])
    chosen: dict[str, list] = {}
    for name, population in model.populations.items():
        if model.spikes(name):
            net.monitor(name, "spikes")
        if population.role in ("neurons", "read_out"):
            chosen[name] = _telling_neurons(net, name, coded.potentials[name][0])
            net.monitor(name, "u", record=sorted(chosen[name]))
    net.present(image[np.newaxis])
    net.network.run(net.duration, namespace={})
    return net, chosen


def _telling_neurons(net: SpikingNetwork, name: str, potential: np.ndarray) -> list[int]:
    flat = potential.ravel()
    if net.model.populations[name].role == "read_out":
        return list(range(flat.size))
    scale = net.model.scales[name]
    typical = np.abs(flat - 0.5 * min(scale, float(flat.max()))).argmin()
    shape = net.model.populations[name].shape
    layer_indices = dict.fromkeys((int(flat.argmax()), int(typical), int(flat.argmin())))
    return [net.neuron_index(name, *np.unravel_index(index, shape)) for index in layer_indices]


def overview_figure(
    net: SpikingNetwork, chosen: dict[str, list], image: np.ndarray, label: int, result: Result
) -> Figure:
    """Return the figure of the demonstration: one digit through the network, and all results.

    Parameters
    ----------
    net, chosen
        From `record_image`.
    image : numpy.ndarray
        The image.
    label : int
        Its class.
    result : Result
        Of a simulation of many images.
    """
    figure = Figure(figsize=(12, 9.5), layout="constrained")
    figure.suptitle(
        "A digit told by spike times: one spike a neuron at most, the earlier the larger",
        fontsize=13,
    )
    top, bottom = figure.subfigures(2, 1, height_ratios=(1, 1.1))
    axes = top.subplots(1, 3, width_ratios=(1, 2.6, 1.5))
    _draw_image(axes[0], image)
    axes[0].set_title(f"input: a {label}")
    _draw_raster(axes[1], net)
    _draw_accuracy(axes[2], result)
    _draw_traces(bottom, net, chosen)
    return figure


def _window_ms(net: SpikingNetwork) -> float:
    return float(net.model.steps * net.clock.dt / b2.ms)


def _draw_image(axes: Axes, image: np.ndarray) -> None:
    axes.imshow(image.transpose(1, 2, 0).squeeze(), cmap="gray_r")
    axes.set_xticks([])
    axes.set_yticks([])


def _draw_raster(axes: Axes, net: SpikingNetwork) -> None:
    names = [name for name in net.groups if net.model.spikes(name)]
    window = _window_ms(net)
    for row, name in enumerate(names):
        monitor = net.monitors[name]["spikes"]
        base = len(names) - 1 - row
        height = base + 0.08 + 0.84 * np.asarray(monitor.i) / max(1, len(net[name]) - 1)
        colour = _COLOURS[row % len(_COLOURS)]
        axes.plot(monitor.t / b2.ms, height, ".", ms=2.2, color=colour, rasterized=True)
        axes.text(
            1.01, base + 0.5, f"{monitor.num_spikes:,} of {len(net[name]):,}",
            transform=axes.get_yaxis_transform(), va="center", fontsize=8, color=colour,
        )  # fmt: skip
        axes.axhline(base, color="0.9", lw=0.8, zorder=0)
    axes.set_yticks(np.arange(len(names))[::-1] + 0.5, names)
    axes.set_ylim(0, len(names))
    end = net.windows * window
    for boundary in np.arange(0, end + 1, window):
        axes.axvline(boundary, color="0.8", lw=0.8, zorder=0)
    axes.set_xlim(-0.01 * end, end)
    axes.set_xlabel("time (ms)")
    axes.set_title("spikes of every layer, and how many neurons spiked")


def _draw_traces(figure: Figure, net: SpikingNetwork, chosen: dict[str, list]) -> None:
    window = _window_ms(net)
    all_axes = figure.subplots(1, len(chosen))
    for column, (axes, name) in enumerate(zip(np.atleast_1d(all_axes), chosen, strict=True)):
        depth = net.model.populations[name].depth
        monitor = net.monitors[name]["u"]
        time = monitor.t / b2.ms
        threshold = net.model.scales[name]
        spikes = net.model.spikes(name)
        end = (depth + 1) * window if spikes else depth * window
        shown = (time >= (depth - 1) * window) & (
            time <= end - (0.5 * window / net.model.steps if spikes else 0)
        )
        largest = max(chosen[name], key=lambda neuron: monitor[neuron].u[shown][-1])
        for number, neuron in enumerate(chosen[name]):
            if spikes:
                colour, width = _COLOURS[1 + number], 1.4
            else:
                colour, width = (_COLOURS[6], 2.2) if neuron == largest else ("0.6", 1.0)
            axes.plot(time[shown], monitor[neuron].u[shown], color=colour, lw=width)
            if spikes:
                times = np.asarray(net.monitors[name]["spikes"].t / b2.ms)
                of_neuron = np.asarray(net.monitors[name]["spikes"].i) == neuron
                for moment in times[of_neuron]:
                    axes.plot(moment, threshold, "v", color=colour, ms=7, clip_on=False)
        if spikes:
            axes.axhline(threshold, color="0.3", ls="--", lw=1)
            axes.text(
                0.02, threshold, "threshold", transform=axes.get_yaxis_transform(),
                va="bottom", fontsize=8, color="0.3",
            )  # fmt: skip
        else:
            axes.text(
                end, monitor[largest].u[shown][-1], f"class {largest}  ", ha="right", va="bottom",
                fontsize=9, color=_COLOURS[6],
            )  # fmt: skip
        axes.axvspan((depth - 1) * window, depth * window, color="0.95", zorder=0)
        axes.set_xlim((depth - 1) * window, end)
        axes.margins(y=0.12)
        kind = "silent stage | spiking stage" if spikes else "silent stage, then read out"
        axes.set_title(f"{name}\n{kind}", fontsize=10)
        axes.set_xlabel("time (ms)")
        if column == 0:
            axes.set_ylabel("membrane potential\n(units of the ANN's activations)")
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)


def _draw_accuracy(axes: Axes, result: Result) -> None:
    accuracies = [100 * (result.ann_accuracy or 0.0), 100 * (result.accuracy or 0.0)]
    bars = axes.bar(["trained\nnetwork", "spiking\nnetwork"], accuracies, color=("0.75", "#2563eb"))
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
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
