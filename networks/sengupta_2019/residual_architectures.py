"""Figures 2C and 3 of Sengupta et al. (2019): what each constraint brings in a residual network.

Three networks, trained alike, make the four architectures: without ReLUs at the junctions
(``basic``), with them (``C1``), with thresholds of one in all blocks (``C2``), and with two plain
layers before the blocks (``C3``, the network that ships). The conversion of a network that was
trained without junction ReLUs puts integrate-and-fire neurons there all the same: spikes carry no
negative sums.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

import bsnn
from bsnn.analysis.rate_plots import accuracy_figure, thresholds_figure
from bsnn.analysis.saving import save_figure
from bsnn.graph import Add, Graph, ReLU

from ..evaluation import accuracy
from ..measurements import Measurements, figures_of
from . import ARCHITECTURES, AT_STEPS, SHIPPED, convert

__all__ = ["residual_architectures", "with_junction_relus"]

_BASIC = "basic: no ReLU at junctions"
_C1 = "C1: ReLUs at junctions"
_C2 = "C2: thresholds of one in blocks"
_C3 = "C3: two plain layers first"

#: Training images that Spike-Norm looks at, and for how many steps; it takes long for all layers.
_SPIKE_NORM_IMAGES = 16
_SPIKE_NORM_STEPS = 1000


def residual_architectures(
    measurements: Measurements, console: Console
) -> dict[str, dict[str, Any]]:
    """Simulate the four architectures; print a table and write ``figure_2c.png``, ``figure_3.png``.

    Returns
    -------
    dict
        Figures by architecture.
    """
    graphs = {name: bsnn.load_graph(path) for name, path in ARCHITECTURES.items()}
    basic, plain = graphs["resnet20_basic"], graphs["resnet20_plain"]
    steps = measurements.steps
    models = {
        _BASIC: measurements.model(
            f"resnet20_basic_{steps}", _unequal(measurements, with_junction_relus(basic))
        ),
        _C1: measurements.model(f"resnet20_c1_{steps}", _unequal(measurements, plain)),
        _C2: bsnn.load_model(ARCHITECTURES["resnet20_plain"]),
        _C3: bsnn.load_model(SHIPPED["resnet20"]),
    }
    names = ("resnet20_basic", "resnet20_c1", "resnet20_c2", "resnet20_spike-norm")
    results = {
        title: measurements.run(name, model)
        for name, (title, model) in zip(names, models.items(), strict=True)
    }
    # what was trained, without what the conversion adds
    trained = {_BASIC: basic, _C1: plain, _C2: plain, _C3: models[_C3].graph}
    ann = {title: accuracy(graph, measurements.test) for title, graph in trained.items()}
    console.print(_table(results, ann))
    save_figure(_figure_3(results), measurements.out / "figure_3.png")
    save_figure(thresholds_figure(models[_C1]), measurements.out / "figure_2c.png")
    return {
        name: {**figures_of(result, AT_STEPS), "ann_accuracy": ann[name]}
        for name, result in results.items()
    }


def with_junction_relus(graph: Graph) -> Graph:
    """Rectify every sum of branches, whether the network was trained so or not."""
    layers, renamed = [], {}
    for layer in graph:
        inputs = tuple(renamed.get(name, name) for name in layer.inputs)
        layers.append(dataclasses.replace(layer, inputs=inputs))
        rectified = any(isinstance(graph[name], ReLU) for name in graph.consumers[layer.name])
        if isinstance(layer, Add) and not rectified:
            renamed[layer.name] = f"{layer.name}_relu"
            layers.append(ReLU(name=renamed[layer.name], inputs=(layer.name,)))
    return Graph(layers, output=renamed.get(graph.output, graph.output))


def _unequal(measurements: Measurements, graph: Graph) -> Callable[[], bsnn.RateModel]:
    """The paper's networks before constraint 2: thresholds are whatever Spike-Norm finds."""
    return lambda: convert(
        graph,
        measurements.training.first(_SPIKE_NORM_IMAGES).images,
        residual="unequal",
        steps=measurements.steps,
        norm_steps=min(measurements.steps, _SPIKE_NORM_STEPS),
    )


def _table(results: Mapping[str, bsnn.Result], ann: Mapping[str, float]) -> Table:
    first = next(iter(results.values()))
    table = Table(
        title=f"Figure 3: ResNet-20, accuracy in % ({len(first):,} CIFAR-10 test images, "
        f"{first.steps:,} steps)",
        title_justify="left",
    )
    table.add_column("architecture")
    for column in ("trained network", "spiking", "loss"):
        table.add_column(column, justify="right")
    for name, result in results.items():
        table.add_row(
            name,
            f"{100 * ann[name]:.1f}",
            f"{100 * result.labelled_accuracies[0]:.1f}",
            f"{100 * (ann[name] - result.labelled_accuracies[0]):.1f}",
        )
    return table


def _figure_3(results: Mapping[str, bsnn.Result]) -> Figure:
    figure = accuracy_figure(results)
    count = len(next(iter(results.values())))
    figure.axes[0].set_title(f"ResNet-20 architectures, {count:,} CIFAR-10 test images")
    return figure
