"""`bsnn compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.markup import escape
from rich.table import Table

import bsnn
from bsnn.cli.groups import grouped
from bsnn.cli.options import JsonFile, Steps
from bsnn.cli.output import console, write_json
from bsnn.cli.shown_options import Shown, shown_options
from bsnn.explain import CAUSES, Comparison, LayerComparison, Thresholds

__all__ = ["register"]

_SHOWN = shown_options(100)

_LEGEND = """\
error: RMSE, by the root mean square of the activations
clipped: activations above the scale
silent: units that never spike, though an activation is worth a spike
dead: units that are active for no image, in the trained network either
full: units that encode their largest value for some image
"""

_COLOURS = {"good": "green", "lossy": "yellow", "broken": "red"}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(grouped(compare))


def compare(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL.h5", help="A spiking model that bsnn convert wrote.")
    ],
    shown: Shown = _SHOWN,
    steps: Steps = None,
    seed: Annotated[
        int, typer.Option(min=0, help="Of the noise of a Poisson input (rate coding).")
    ] = 0,
    reference: Annotated[
        Path | None,
        typer.Option(
            metavar="GRAPH.h5",
            help="A file with the trained network that the model should compute, with the same "
            "names of layers; by default the network in the model.",
        ),
    ] = None,
    result: Annotated[
        Path | None,
        typer.Option(
            metavar="RESULT.h5",
            help="What bsnn run has found for the same images (its --out), to be compared too.",
        ),
    ] = None,
    good: Annotated[
        float, typer.Option(help="Fraction of images of the same class from which on it is good.")
    ] = Thresholds.good,
    broken: Annotated[
        float, typer.Option(help="Fraction below which it is broken: the exit status is 1.")
    ] = Thresholds.broken,
    layer_error: Annotated[
        float,
        typer.Option(help="Error of a layer, relative to its activations, at which it departs."),
    ] = Thresholds.layer_error,
    json: JsonFile = None,
) -> None:
    """Say where a spiking network departs from the trained one, why, and what to change.

    No simulation is built: the same arithmetic runs in numpy, once for each cause of error and for
    each change that may help. Example: bsnn compare MODEL.h5 --images 100 --json compare.json
    """
    thresholds = Thresholds(good=good, broken=broken, layer_error=layer_error)
    spiking, test = shown.with_model(model, steps)
    comparison = bsnn.compare(
        spiking,
        test.images,
        test.labels,
        result=None if result is None else bsnn.load_result(result),
        reference=None if reference is None else bsnn.load_graph(reference),
        thresholds=thresholds,
        seed=seed,
        first_image=shown.first,
    )
    _print(comparison, f"{len(test):,} test images of {test.name}")
    write_json(json, comparison.summary())
    if comparison.verdict == "broken":
        raise typer.Exit(1)


def _print(comparison: Comparison, title: str) -> None:
    console.print(_layers(comparison, title))
    console.print(_LEGEND, style="dim", highlight=False)
    console.print(_stages(comparison))
    console.print(_causes(comparison.layers[comparison.departs or list(comparison.layers)[-1]]))
    if comparison.departs is not None:
        console.print(_units(comparison.layers[comparison.departs]))
    colour = _COLOURS[comparison.verdict]
    console.print(
        f"[bold {colour}]{comparison.verdict}[/]: the same class in both networks for "
        f"{_percent(comparison.agreement)} of {comparison.images:,} images",
        highlight=False,
    )
    for sentence in comparison.diagnosis():
        console.print(escape(sentence), highlight=False)
    if comparison.advice:
        console.print(_advice(comparison))


def _layers(comparison: Comparison, title: str) -> Table:
    table = _table(f"Layers, {title}", "layer")
    for column in ("corr.", "error", "bias", "clipped", "silent", "dead", "full"):
        table.add_column(column, justify="right")
    table.add_column("biggest cause", overflow="fold")
    for name, layer in comparison.layers.items():
        cause = layer.main_cause
        table.add_row(
            f"[bold red]{name}[/]" if name == comparison.departs else name,
            "-" if layer.correlation is None else f"{layer.correlation:.4f}",
            _percent(layer.relative_error),
            f"{layer.bias:.2g}" if cause else "0",
            f"{100 * layer.clipped:.2f} %",
            f"{layer.silent:,}",
            f"{layer.dead:,}",
            f"{layer.saturated:,}",
            "-" if cause is None else f"{CAUSES[cause].title} {100 * layer.share(cause):.0f} %",
        )
    return table


def _stages(comparison: Comparison) -> Table:
    table = _table("The trained network, with one cause after the other", "with")
    for column in ("same class", "accuracy", "error of the output"):
        table.add_column(column, justify="right")
    for stage in comparison.stages:
        outcome = stage.outcome
        table.add_row(
            "the trained network" if stage.cause == "none" else f"+ {CAUSES[stage.cause].title}",
            _percent(outcome.agreement),
            "-" if outcome.accuracy is None else _percent(outcome.accuracy),
            _percent(outcome.output_error),
        )
    return table


def _causes(layer: LayerComparison) -> Table:
    table = _table(f"The error of {layer.name}, {_percent(layer.relative_error)}, by cause", "")
    for column in ("contribution", "alone"):
        table.add_column(column, justify="right")
    unit = layer.rms or 1.0
    for name, cause in layer.causes.items():
        table.add_row(
            CAUSES[name].title, _percent(cause.contribution / unit), _percent(cause.rms / unit)
        )
    return table


def _units(layer: LayerComparison) -> Table:
    table = _table(f"Worst units of {layer.name}, mean values", "unit")
    for column in ("activation", "decoded", "RMSE"):
        table.add_column(column, justify="right")
    for unit in layer.worst:
        values = (unit.ann, unit.decoded, unit.rmse)
        table.add_row(", ".join(map(str, unit.index)), *(f"{value:.4g}" for value in values))
    return table


def _advice(comparison: Comparison) -> Table:
    table = _table("Tried on these images, the best first", "change")
    layer = comparison.advice[0].layer
    for column in ("same class", "accuracy", f"error of {layer}", "of the output"):
        table.add_column(column, justify="right")
    for advice in comparison.advice:
        before, after = advice.before, advice.after
        table.add_row(
            escape(advice.text),
            _change(before.agreement, after.agreement),
            _change(before.accuracy, after.accuracy),
            _change(before.layer_error, after.layer_error),
            _change(before.output_error, after.output_error),
        )
    return table


def _table(title: str, first: str) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=0)
    table.add_column(first, overflow="fold")
    return table


def _change(before: float | None, after: float | None) -> str:
    if before is None or after is None:
        return "-"
    return f"{100 * before:.1f} → {_percent(after)}"


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"
