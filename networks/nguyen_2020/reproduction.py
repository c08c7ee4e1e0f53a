"""What each way to pool spikes costs: accuracy, error of the pooled rates, memory, comparisons.

Of Nguyen et al. (2020) the abstract says that max-pooling by membrane potential preserves accuracy
on MNIST and CIFAR-10 and needs less memory than counting spikes. Which potential is meant, and all
numbers, could not be read; what is shown here is measured on networks of ours.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

import bsnn
from bsnn.analysis.rate_plots import accuracy_figure
from bsnn.analysis.saving import save_figure
from bsnn.conversion import AVERAGE, DEFAULT_GATE, GATES, RateDynamics
from bsnn.conversion.populations import per_channel
from bsnn.progress import progress_bar

from ..measurements import Measurements, accuracies_at, figures_of
from . import CALIBRATION_IMAGES, CONVERSION, SHIPPED, STEPS
from .toy import pooled_rate_errors

__all__ = ["reproduce"]

#: Steps at which accuracies and errors are printed.
_AT_STEPS = (16, 32, 64, 128, 256)

#: Test images whose accuracy, and whose rates, are measured.
_IMAGES = {"mnist": 10000, "cifar10": 1000}
_RATE_IMAGES = {"mnist": 100, "cifar10": 20}

#: What hardware needs for a window of p neurons: words of memory besides the potentials, and
#: comparisons of two numbers in a step.
_COST = {
    "new_maximum": ("p counts", "p - 1"),
    "accumulated": ("p sums of input", "p - 1"),
    "previous": ("none, if compared before the input", "p - 1"),
    "post_reset": ("none", "p - 1"),
    "pre_reset": ("none", "none: OR of the spikes"),
    "count": ("p counts", "p - 1"),
    "first_spike": ("1 index", "none: the first spike sets it"),
    AVERAGE: ("none", "none: p - 1 additions"),
}


def reproduce(
    out: str | os.PathLike[str],
    *,
    data: str | os.PathLike[str] | None = None,
    images: int | None = None,
    workers: int = 1,
    device: str = "cpp",
    console: Console | None = None,
) -> dict[str, Any]:
    """Measure, print and plot everything; write it to a folder.

    What was measured is kept there, so that the same command goes on after an interruption.

    Parameters
    ----------
    out : path
        Folder for ``reproduction.json``, the figures, and what they were made of.
    data : path, optional
        Folder with MNIST and CIFAR-10 (see `bsnn.datasets.load`).
    images : int, optional
        Test images of each data set; by default 10,000 of MNIST and 1,000 of CIFAR-10.
    workers : int
        Processes that simulate.
    device : str
        Where to simulate.
    console : rich.console.Console, optional
        Where to print.

    Returns
    -------
    dict
        What is in ``reproduction.json``.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    console = console or Console()
    content: dict[str, Any] = {"toy": _toy(console)}
    console.print(_cost_table())
    errors = {}
    for network, path in SHIPPED.items():
        measurements = Measurements(
            out,
            bsnn.datasets.load(network, "test", data).exact().first(images or _IMAGES[network]),
            bsnn.datasets.load(network, "train", data).exact(),
            STEPS[network],
            workers,
            device,
        )
        shipped: Any = bsnn.load_model(path)
        models = _models(network, shipped, measurements)
        results = {
            gate: measurements.run(f"{network}_{gate}", model) for gate, model in models.items()
        }
        console.print(_accuracy_table(network, results))
        save_figure(_accuracy_figure(network, results), out / f"accuracy_{network}.png")
        errors[network] = _rate_errors(network, models, measurements)
        console.print(_error_table(network, errors[network]))
        content[network] = {
            gate: {**figures_of(result, _AT_STEPS), "rate_error": errors[network][gate]}
            for gate, result in results.items()
        }
    save_figure(_error_figure(errors), out / "rate_error.png")
    (out / "reproduction.json").write_text(json.dumps(content, indent=2) + "\n")
    console.print(f"Figures and reproduction.json are in {out}.", highlight=False)
    return content


def _models(
    network: str, shipped: bsnn.RateModel, measurements: Measurements
) -> dict[str, bsnn.RateModel]:
    """The same network with each gate."""
    models = {gate: dataclasses.replace(shipped, gate=gate) for gate in GATES}
    # other values reach the layers after an average: they have scales of their own
    models[AVERAGE] = measurements.model(
        f"{network}_{AVERAGE}",
        lambda: bsnn.convert_to_rate(
            shipped.graph,
            measurements.training.first(CALIBRATION_IMAGES).images,
            steps=shipped.steps,
            gate=AVERAGE,
            images_from=network,
            **CONVERSION,
        ),
    )
    return models


def _toy(console: Console) -> dict[str, dict[str, dict[str, float]]]:
    table = Table(
        title="Rates of windows of four neurons, less the largest current (4,000 windows, 256 "
        "steps)",
        title_justify="left",
    )
    table.add_column("gate")
    found: dict[str, dict[str, dict[str, float]]] = {}
    for noise in (0.0, 0.3):
        for column in ("mean", "RMS"):
            table.add_column(f"{column}, noise {noise:g}", justify="right")
        for gate, (bias, rms) in pooled_rate_errors(noise).items():
            found.setdefault(gate, {})[f"noise {noise:g}"] = {"mean": bias, "rms": rms}
    for gate, by_noise in found.items():
        values = [value for errors in by_noise.values() for value in errors.values()]
        table.add_row(gate, *(f"{value:.3f}" for value in values))
    console.print(table)
    return found


def _cost_table() -> Table:
    table = Table(title="What a window of p neurons needs, in each step", title_justify="left")
    for column in ("gate", "memory words besides the potentials", "comparisons"):
        table.add_column(column)
    for gate, cost in _COST.items():
        table.add_row(gate, *cost)
    return table


def _accuracy_table(network: str, results: Mapping[str, bsnn.Result]) -> Table:
    first = next(iter(results.values()))
    at_steps = [step for step in _AT_STEPS if step <= first.steps]
    table = Table(
        title=f"{network}: accuracy in % by steps ({len(first):,} test images; trained network "
        f"{100 * first.labelled_accuracies[1]:.2f})",
        title_justify="left",
    )
    table.add_column("gate")
    for step in at_steps:
        table.add_column(str(step), justify="right")
    table.add_column("loss", justify="right")
    table.add_column("same class", justify="right")
    for gate, result in results.items():
        by_step = accuracies_at(result, at_steps)
        spiking, trained = result.labelled_accuracies
        table.add_row(
            gate,
            *(f"{value:.2f}" for value in by_step),
            f"{100 * (trained - spiking):.2f}",
            f"{100 * (result.predictions == result.ann_predictions).mean():.2f}",
        )
    return table


def _accuracy_figure(network: str, results: Mapping[str, bsnn.Result]) -> Figure:
    figure = accuracy_figure(results)
    axes = figure.axes[0]
    axes.set_title(f"{network}, {len(next(iter(results.values()))):,} test images")
    axes.set_xlim(left=min(4, axes.get_xlim()[1] / 2))
    return figure


def _rate_errors(
    network: str, models: Mapping[str, bsnn.RateModel], measurements: Measurements
) -> dict[str, dict[str, dict[str, float]]]:
    """By gate and pooling, the error of the pooled rates after some steps.

    Root mean square, over neurons and images, of rates less what they should be: the trained
    network's values, cut in each layer where rates end, in units of the scale.
    """
    images = measurements.test.first(min(_RATE_IMAGES[network], len(measurements.test))).images
    steps = max(_AT_STEPS)
    values = _within_range(models[DEFAULT_GATE], images)
    found = {}
    with progress_bar() as bar:
        task = bar.add_task("pooled rates", total=len(models) * steps)
        for gate, model in models.items():
            bar.update(task, description=f"pooled rates of {network}, {gate}")
            pools = [layer.name for layer in model.graph if layer.kind == "max_pool2d"]
            dynamics = RateDynamics(model, images)
            counts: dict[str, Any] = dict.fromkeys(pools, 0.0)
            errors: dict[str, dict[str, float]] = {pool: {} for pool in pools}
            for step in range(1, steps + 1):
                emitted = dynamics.step()
                for pool in pools:
                    counts[pool] = counts[pool] + _pooled(model, pool, emitted)
                    if step in _AT_STEPS:
                        scale = per_channel(_scale(model, pool), model.graph.shapes[pool])
                        wanted = np.clip(values[pool] / scale, 0, 1)
                        error = np.sqrt(np.mean((counts[pool] / step - wanted) ** 2))
                        errors[pool][str(step)] = float(error)
                bar.advance(task)
            found[gate] = errors
    return found


def _within_range(model: bsnn.RateModel, images: np.ndarray) -> dict[str, np.ndarray]:
    """The trained network's values, if no neuron's exceed what one spike a step stands for."""
    emitted = {model.input.layer: model.encode(images) * model.scales[model.input.name]}
    for name, population in model.populations.items():
        if population.role == "input":
            continue
        value = model.graph.evaluate(population.potential_layer, emitted)
        if population.role == "neurons":
            value = np.clip(value, 0, per_channel(model.scales[name], population.shape))
        emitted[population.layer] = value
    return emitted


def _pooled(model: bsnn.RateModel, pool: str, emitted: Mapping[str, np.ndarray]) -> np.ndarray:
    """What passes a pooling in a step: spikes, or with averages their mean."""
    if model.gate != AVERAGE:
        return emitted[pool]
    layer = model.spiking_graph[pool]
    return layer.forward(emitted[_neurons_before(model, pool)])


def _scale(model: bsnn.RateModel, pool: str) -> Any:
    return model.scales[pool if model.gate != AVERAGE else _neurons_before(model, pool)]


def _neurons_before(model: bsnn.RateModel, pool: str) -> str:
    (layer,) = model.graph[pool].inputs
    return next(name for name, p in model.populations.items() if p.layer == layer)


def _error_table(network: str, errors: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Table:
    table = Table(
        title=f"{network}: RMS error of the pooled rates by steps ({_RATE_IMAGES[network]} images)",
        title_justify="left",
    )
    table.add_column("gate")
    table.add_column("pooling")
    for step in _AT_STEPS:
        table.add_column(str(step), justify="right")
    for gate, pools in errors.items():
        for pool, by_step in pools.items():
            table.add_row(gate, pool, *(f"{value:.4f}" for value in by_step.values()))
    return table


def _error_figure(
    errors: Mapping[str, Mapping[str, Mapping[str, Mapping[str, float]]]],
) -> Figure:
    figure = Figure(figsize=(10, 4.3), layout="constrained")
    steps: list[int] = []
    for axes, (network, gates) in zip(figure.subplots(1, len(errors)), errors.items(), strict=True):
        for gate, pools in gates.items():
            first = next(iter(pools.values()))
            steps = [int(step) for step in first]
            axes.plot(steps, list(first.values()), marker="o", ms=3.5, lw=1.5, label=gate)
        slope = 0.4 / np.array(steps)
        axes.plot(steps, slope, color="0.5", ls=":", lw=1)
        axes.text(steps[-1], slope[-1], " 1/T", color="0.4", va="center", fontsize=9)
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xticks(steps, [str(step) for step in steps])
        axes.set_xlabel("time steps T")
        axes.set_title(f"{network}, {next(iter(gates[DEFAULT_GATE]))}")
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    figure.axes[0].set_ylabel("RMS error of the pooled rate")
    figure.axes[-1].legend(frameon=False, fontsize=8)
    return figure
