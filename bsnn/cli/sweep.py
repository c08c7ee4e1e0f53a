"""`bsnn sweep`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

import bsnn
from bsnn.cli.groups import grouped
from bsnn.cli.options import Steps, output_file
from bsnn.cli.output import console
from bsnn.cli.record_options import SetupOptions, run_options, setup_options
from bsnn.cli.shown_options import Shown, shown_options
from bsnn.errors import SettingsError
from bsnn.settings import Run
from bsnn.simulation import SweepPoint, parse_axis

__all__ = ["register"]

_SHOWN = shown_options(500)
_SETUP = setup_options("form", "connectivity", "precision", "neuron", "batch", "perturbations")
_RUN = run_options("device", "workers", "cluster", "chunk", "resume", device="cpp")

_LEGEND = """\
accuracy: with the standard error of the number of images
same: images of the same class in the trained and the spiking network
spikes: of a neuron, for an image
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(grouped(sweep))


def sweep(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL.h5", help="A spiking model that bsnn convert wrote.")
    ],
    vary: Annotated[
        list[str],
        typer.Option(
            metavar="NAME=VALUES",
            help="What to vary: a perturbation, a parameter of the neuron, or steps. Values are "
            "START:STOP:COUNT or a list, such as leak=0:0.1:5 or tau=5*ms,20*ms. Give it several "
            "times for all combinations.",
        ),
    ],
    each: Annotated[
        bool,
        typer.Option(
            "--each", help="Vary one after the other, the rest left as it is: no combinations."
        ),
    ] = False,
    shown: Shown = _SHOWN,
    seeds: Annotated[
        int, typer.Option(min=1, help="Simulate each point with so many seeds: 0, 1, ...")
    ] = 1,
    steps: Steps = None,
    setup: SetupOptions = _SETUP,
    run: Run = _RUN,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Write the sweep to this JSON file, anew after each simulation.",
            callback=output_file,
        ),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Write a figure of the sweep here.", callback=output_file)
    ] = None,
) -> None:
    """Simulate a spiking model again and again with other neurons and other perturbations.

    Example: bsnn sweep MODEL.h5 --vary jitter=0:4:5 --seeds 3 --out jitter.json --plot jitter.png

    Options such as --loss 0.1 disturb all points alike.
    """
    axes = [parse_axis(text) for text in vary]
    if not each:
        varied = {axis.name for axis in axes}
        names = {setting.partition("=")[0].strip() for setting in setup.parameters}
        for option, given in (("--set", names), ("--steps", {"steps"} if steps else set())):
            if varied & given:
                raise SettingsError(
                    f"{option} gives a value to {', '.join(sorted(varied & given))}, which --vary "
                    "has take others at all points: leave one of them out."
                )
    if plot is not None and len(axes) > 2 and not each:
        raise SettingsError(
            f"--plot shows one or two names that are varied together, not {len(axes)}. Vary them "
            "one after the other (--each), or leave --plot out."
        )
    if run.resume and out is None:
        raise SettingsError("--resume goes on with what is kept in a file: give --out.")
    spiking, test = shown.with_model(model, steps)
    try:
        found = bsnn.sweep(
            spiking,
            test.images,
            test.labels,
            axes,
            grid=not each,
            seeds=seeds,
            file=out,
            setup=setup.of(spiking.coding),
            run=dataclasses.replace(run, first_image=shown.first),
        )
    except KeyboardInterrupt:
        if out is not None and out.exists():
            kept = bsnn.load_sweep(out)
            console.print(
                f"[yellow]Interrupted:[/] {kept.done} of {kept.runs} simulations are kept in "
                f"{out}; the same command with --resume goes on.",
                highlight=False,
            )
        raise
    console.print(_table(found, f"{len(test):,} test images of {test.name}"))
    console.print(_LEGEND, style="dim", highlight=False)
    if found.ann_accuracy is not None:
        console.print(f"The trained network: {100 * found.ann_accuracy:.2f} %.", highlight=False)
    if out is not None:
        console.print(f"The sweep is in {out}.", highlight=False)
    if plot is not None:
        # matplotlib takes a while to import
        from bsnn.analysis.saving import save_figure
        from bsnn.analysis.sweep_plots import sweep_figure

        save_figure(sweep_figure(found), plot)
        console.print(f"The figure is in {plot}.", highlight=False)


def _table(found: bsnn.Sweep, title: str) -> Table:
    several = len(found.seeds) > 1
    table = Table(title=title, title_justify="left")
    for axis in found.axes:
        table.add_column(axis.title, justify="right")
    table.add_column("accuracy (%)", justify="right")
    if several:
        table.add_column(f"{len(found.seeds)} seeds (%)", justify="right")
    table.add_column("same (%)", justify="right")
    table.add_column("spikes", justify="right")
    for point in found.points:
        values = [point.values.get(axis.name) for axis in found.axes]
        table.add_row(
            *("-" if value is None else f"{value:.4g}" for value in values),
            _accuracy(point),
            *([_range(point)] if several else []),
            f"{100 * point.agreement:.2f}",
            f"{point.spikes_per_neuron:.4f}",
        )
    return table


def _accuracy(point: SweepPoint) -> str:
    if point.accuracy is None:
        return "no labels"
    return f"{100 * point.accuracy:.2f} ± {100 * point.standard_error(point.accuracy):.2f}"


def _range(point: SweepPoint) -> str:
    if point.accuracies is None:
        return "-"
    return f"{100 * point.accuracies.min():.2f} to {100 * point.accuracies.max():.2f}"
