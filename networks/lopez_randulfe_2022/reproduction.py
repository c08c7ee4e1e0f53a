"""Table 1 and Figure 2 of the paper, and what training for sparsity adds to them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

import bsnn
from bsnn.conversion import rmse_by_scale

from . import CALIBRATION_IMAGES, DATASET, SHIPPED

__all__ = ["FRONTIER_SETTINGS", "PAPER", "figure_2", "frontier", "reproduce", "table_1"]

#: What the paper prints in Table 1 and in the text.
PAPER = {
    "ann_flops": 14_316_496,
    "ann_accuracy": 0.9956,
    "accuracy": 0.9944,
    "synaptic_operations": 1_015_015,
    "spikes_per_neuron": 0.142,
}

#: Steps in a window and whether spike times are rounded, for the frontier.
FRONTIER_SETTINGS = ((8, False), (16, False), (32, False), (4, True), (8, True), (16, True))

_FIGURE_2_STEPS = (8, 16, 32, 64, 128, 256, 512)
_FIGURE_2_IMAGES = 200

_LOG_TICKS = (0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 3.0, 5.0)


def reproduce(
    out: str | os.PathLike[str],
    *,
    data: str | os.PathLike[str] | None = None,
    images: int = 10000,
    models: str | os.PathLike[str] | None = None,
    device: str = "cpp",
    console: Console | None = None,
) -> dict[str, Any]:
    """Measure, print and plot everything; write it to a folder.

    Parameters
    ----------
    out : path
        Folder for ``reproduction.json``, ``figure_2.png`` and ``frontier.png``. Measurements that
        are there already are kept after an interruption, in ``frontier.jsonl``.
    data : path, optional
        Folder with MNIST (see `bsnn.datasets.load`).
    images : int
        Test images.
    models : path, optional
        Folder whose models (``*.h5``, also one folder down) join the frontier.
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
    test = bsnn.datasets.load(DATASET, "test", data).first(images)
    training = bsnn.datasets.load(DATASET, "train", data).first(CALIBRATION_IMAGES)

    results = table_1(test, device, out)
    console.print(_table_1_as_table(results, len(test)))
    console.print(
        "The paper prints one number of spikes per neuron, 0.142, which is also its number of "
        "synaptic operations per MAC; both ways to count are given. Its network is rebuilt from "
        "its operation count, its training only in kind."
    )
    rmse = figure_2(test.images[:_FIGURE_2_IMAGES])
    _plot_figure_2(rmse).savefig(out / "figure_2.png", dpi=150)
    console.print(f"Figure 2 is in {out / 'figure_2.png'}.", highlight=False)

    found = dict(SHIPPED)
    if models is not None:
        folder = Path(models)
        for path in sorted([*folder.glob("*.h5"), *folder.glob("*/*.h5")]):
            found[path.stem if path.parent == folder else path.parent.name] = path
    points = frontier(found, training.images, test, device, out)
    console.print(_frontier_as_table(points, len(test)))
    _plot_frontier(points).savefig(out / "frontier.png", dpi=150)
    console.print(f"The frontier is in {out / 'frontier.png'}.", highlight=False)
    content = {
        "images": len(test),
        "paper": PAPER,
        "table_1": {name: result.summary() for name, result in results.items()},
        "figure_2": rmse,
        "frontier": points,
    }
    (out / "reproduction.json").write_text(json.dumps(content, indent=2) + "\n")
    return content


def table_1(test: bsnn.datasets.Dataset, device: str, out: Path) -> dict[str, bsnn.Result]:
    """Simulate the shipped networks as they are."""
    return {
        name: _simulate(bsnn.load_model(path), test, device, out) for name, path in SHIPPED.items()
    }


def _simulate(
    model: bsnn.SpikingModel, test: bsnn.datasets.Dataset, device: str, out: Path
) -> bsnn.Result:
    # in runtime mode there is no code to be kept
    directory = None if device == "runtime" else out / "code"
    return bsnn.simulate(model, test.images, test.labels, device=device, directory=directory)


def _table_1_as_table(results: dict[str, bsnn.Result], images: int) -> Table:
    dense, sparse = results["mnist_cnn"], results["mnist_cnn_sparse"]
    table = Table(title=f"Table 1 ({images:,} MNIST test images)", title_justify="left")
    table.add_column("")
    for column in ("paper", "ours, trained as the paper", "ours, trained to be sparse"):
        table.add_column(column, justify="right")
    ours = (dense, sparse)
    rows = [
        ("ANN: FLOPs", f"{PAPER['ann_flops']:,}", *(f"{r.ann_flops:,}" for r in ours)),
        ("ANN: accuracy", "99.56 %", *(f"{100 * r.labelled_accuracies[1]:.2f} %" for r in ours)),
        ("SNN: accuracy", "99.44 %", *(f"{100 * r.labelled_accuracies[0]:.2f} %" for r in ours)),
        (
            "SNN: synaptic operations",
            f"{PAPER['synaptic_operations']:,}",
            *(f"{r.synaptic_operations:,.0f}" for r in ours),
        ),
        ("SNN: spikes per neuron", "0.142", *(f"{r.spikes_per_neuron:.3f}" for r in ours)),
        (
            "the same, pools counted",
            "-",
            *(f"{r.spikes_per_neuron_with_pools:.3f}" for r in ours),
        ),
        ("SNN: operations per MAC", "0.142", *(f"{r.operations_per_mac:.3f}" for r in ours)),
        ("steps per window", "not given", *(str(r.steps) for r in ours)),
    ]
    for row in rows:
        table.add_row(*row)
    return table


def figure_2(images: np.ndarray) -> dict[str, Any]:
    """Error of the first convolution's spikes against its threshold and the steps in a window.

    The paper does not say which convolution its Figure 2 is about, nor its ranges.

    Returns
    -------
    dict
        ``relative_thresholds`` (of the bound of eq. 5), and ``rmse`` by number of steps.
    """
    graph = bsnn.load_graph(SHIPPED["mnist_cnn"])
    exact = np.maximum(graph.activations(images)["conv1"], 0)
    bound = bsnn.convert_to_ttfs(graph, images, norm="model-based").scales["conv1"]
    relative = np.geomspace(0.02, 1.0, 60)
    rmse = {}
    for steps in _FIGURE_2_STEPS:
        model = bsnn.convert_to_ttfs(graph, images[:1], steps=steps, norm="model-based")
        potentials = model.code(images).potentials["conv1"]
        errors = rmse_by_scale(potentials, exact, relative * bound, steps, rounding=False)
        rmse[str(steps)] = errors.tolist()
    return {"relative_thresholds": relative.tolist(), "u_max": bound, "rmse": rmse}


def _plot_figure_2(content: dict[str, Any]) -> Figure:
    figure = Figure(figsize=(7, 4.6), layout="constrained")
    axes = figure.subplots()
    relative = np.array(content["relative_thresholds"])
    shades = np.linspace(0.85, 0.1, len(content["rmse"]))
    for (steps, errors), shade in zip(content["rmse"].items(), shades, strict=True):
        colour = (0.12 + 0.6 * shade, 0.25 + 0.55 * shade, 0.7 + 0.2 * shade)
        axes.loglog(relative, errors, color=colour, lw=1.8)
        best = int(np.argmin(errors))
        axes.plot(relative[best], errors[best], "o", color=colour, ms=5)
        axes.annotate(
            f"{steps} steps", (relative[-1], errors[-1]), xytext=(4, 0),
            textcoords="offset points", va="center", fontsize=8, color=colour,
        )  # fmt: skip
    axes.set_xlabel("threshold $u_{th}$ / largest possible potential (eq. 5)")
    axes.set_ylabel("RMSE of the first convolution")
    axes.set_title("Clipping (left) against resolution (right); dots mark the least error")
    axes.margins(x=0.02)
    axes.set_xlim(right=1.9)
    axes.set_xticks([0.02, 0.05, 0.1, 0.2, 0.5, 1.0], ["0.02", "0.05", "0.1", "0.2", "0.5", "1"])
    axes.minorticks_off()
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure


def frontier(
    models: dict[str, Path],
    calibration: np.ndarray,
    test: bsnn.datasets.Dataset,
    device: str,
    out: Path,
) -> list[dict[str, Any]]:
    """Simulate models, trained with different penalties, with windows of different lengths.

    Each measurement is appended to ``frontier.jsonl`` at once and not repeated when it is there.

    Returns
    -------
    list of dict
        One a model and setting: its name, steps, rounding, accuracies, operations and spikes.
    """
    log = out / "frontier.jsonl"
    done = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    points = []
    for name, path in models.items():
        graph = bsnn.load_graph(path)
        weights = bsnn.graph.files.weights_sha256(graph)
        for steps, rounding in FRONTIER_SETTINGS:
            key = {
                "model": name,
                "weights_sha256": weights,
                "steps": steps,
                "rounding": rounding,
                "images": len(test),
            }
            point = next((p for p in done if key.items() <= p.items()), None)
            if point is None:
                model = bsnn.convert_to_ttfs(graph, calibration, steps=steps, rounding=rounding)
                result = _simulate(model, test, device, out)
                point = {
                    **key,
                    "ann_accuracy": result.ann_accuracy,
                    "accuracy": result.accuracy,
                    "synaptic_operations": result.synaptic_operations,
                    "spikes_per_neuron": result.spikes_per_neuron,
                }
                with open(log, "a") as file:
                    file.write(json.dumps(point) + "\n")
            points.append(point)
    return points


def _frontier_as_table(points: list[dict[str, Any]], images: int) -> Table:
    table = Table(
        title=f"Accuracy against cost ({images:,} MNIST test images)", title_justify="left"
    )
    table.add_column("network", overflow="fold")
    columns = (
        "ANN", "steps", "spike times", "SNN", "operations", "spikes/neuron"
    )  # fmt: skip
    for column in columns:
        table.add_column(column, justify="right")
    for point in points:
        table.add_row(
            point["model"],
            f"{100 * point['ann_accuracy']:.2f} %",
            str(point["steps"]),
            "rounded" if point["rounding"] else "floored",
            f"{100 * point['accuracy']:.2f} %",
            f"{point['synaptic_operations']:,.0f}",
            f"{point['spikes_per_neuron']:.4f}",
        )
    return table


def _plot_frontier(points: list[dict[str, Any]]) -> Figure:
    figure = Figure(figsize=(11, 4.8), layout="constrained")
    all_axes = figure.subplots(1, 2, sharey=True)
    names = list(dict.fromkeys(point["model"] for point in points))
    quantities = (
        ("synaptic_operations", "synaptic operations an image (millions)", 1e-6),
        ("spikes_per_neuron", "spikes a neuron", 1.0),
    )
    for axes, (quantity, label, unit) in zip(all_axes, quantities, strict=True):
        for number, name in enumerate(names):
            for rounding in (False, True):
                mine = [p for p in points if p["model"] == name and p["rounding"] == rounding]
                mine.sort(key=lambda point: point["steps"])
                axes.plot(
                    [unit * point[quantity] for point in mine],
                    [100 * point["accuracy"] for point in mine],
                    "s--" if rounding else "o-",
                    color=f"C{number}",
                    ms=5,
                    lw=1.2,
                    mfc="white" if rounding else f"C{number}",
                    label=f"{name}, {'rounded' if rounding else 'floored'}",
                )
        axes.plot(
            unit * PAPER[quantity], 100 * PAPER["accuracy"], "*", color="black", ms=14,
            label="paper",
        )  # fmt: skip
        axes.set_xscale("log")
        low, high = axes.get_xlim()
        ticks = [tick for tick in _LOG_TICKS if low < tick < high]
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
        axes.set_xlabel(label)
        axes.grid(color="0.92")
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    accuracies = [100 * point["accuracy"] for point in points]
    all_axes[0].set_ylim(max(98.9, min(accuracies) - 0.05), max(*accuracies, 99.6) + 0.05)
    all_axes[0].set_ylabel("accuracy (%)")
    all_axes[0].set_title(f"windows of {_described_steps()}", fontsize=10)
    all_axes[1].set_title("points below 98.9 % are not shown", fontsize=10)
    all_axes[1].legend(fontsize=7, loc="lower right")
    return figure


def _described_steps() -> str:
    floored = ", ".join(str(steps) for steps, rounding in FRONTIER_SETTINGS if not rounding)
    rounded = ", ".join(str(steps) for steps, rounding in FRONTIER_SETTINGS if rounding)
    return f"{floored} steps (floored) and {rounded} (rounded), left to right"
