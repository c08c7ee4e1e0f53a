"""`bsnn run`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

import bsnn
from bsnn.cli.groups import grouped
from bsnn.cli.options import JsonFile, Steps, output_file, refuse_given
from bsnn.cli.output import console, facts_table, print_result, write_json
from bsnn.cli.record_options import SetupOptions, run_options, setup_options
from bsnn.cli.shown_options import Shown, shown_options
from bsnn.datasets import Dataset
from bsnn.devices import check_device
from bsnn.errors import SettingsError
from bsnn.network import PERTURBATIONS, estimate
from bsnn.settings import Run
from bsnn.simulation.duration import DEVICE_COSTS, estimate_seconds

__all__ = ["register"]

# Parameters of the command that an estimate of its cost does not look at.
_OF_A_SIMULATION = (
    "form", "neuron", "parameters", "workers", "cluster", "chunk", "seed", "out", "resume", "json",
    "plot", "directory",
)  # fmt: skip

_SHOWN = shown_options(1000)
_SETUP = setup_options(
    "form", "connectivity", "precision", "neuron", "batch", "seed", "perturbations"
)
_RUN = run_options("device", "workers", "cluster", "chunk", "resume", "directory", device="cpp")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(grouped(run))


def run(
    context: typer.Context,
    model: Annotated[
        Path, typer.Argument(metavar="MODEL.h5", help="A spiking model that bsnn convert wrote.")
    ],
    shown: Shown = _SHOWN,
    steps: Steps = None,
    setup: SetupOptions = _SETUP,
    run: Run = _RUN,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Write the result to this HDF5 file. Until it is complete, what is done is kept "
            "next to it, in a file of the same name with .partial after it.",
            callback=output_file,
        ),
    ] = None,
    json: JsonFile = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            help="Write a figure of the accuracy over time here (rate coding).",
            callback=output_file,
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only estimate size, memory and time.")
    ] = False,
) -> None:
    """Simulate a spiking model on test images and compare it with the trained network.

    Example: bsnn run MODEL.h5 --dataset mnist --images 10000 --device cpp --json run.json

    With other neurons: bsnn run MODEL.h5 --neuron lif --set tau=20*ms --jitter 1
    """
    if dry_run:
        refuse_given(
            context,
            [*_OF_A_SIMULATION, *PERTURBATIONS],
            "with --dry-run nothing is simulated, and the estimate does not depend on it. Leave it "
            "out.",
        )
    spiking, test = shown.with_model(model, steps)
    if dry_run:
        _print_estimate(spiking, test, run.device or "cpp", setup.fields)
        return
    if plot is not None and not spiking.read_each_step:
        raise SettingsError(
            f"--plot shows accuracy over time, and in {spiking.title} the class is read once."
        )
    if run.resume and out is None:
        raise SettingsError("--resume goes on with what is kept next to the result: give --out.")
    checkpoint = None if out is None else out.with_name(f"{out.name}.partial")
    run = dataclasses.replace(run, first_image=shown.first, checkpoint=checkpoint)
    try:
        result = bsnn.simulate(
            spiking, test.images, test.labels, setup=setup.of(spiking.coding), run=run
        )
    except bsnn.Interrupted as interrupted:
        if interrupted.result is None:
            raise
        console.print("[yellow]Interrupted: these are the images that were done.[/]")
        _report(interrupted.result, test, out, json, plot)
        _say_how_to_go_on(checkpoint)
        raise typer.Exit(130) from None
    except bsnn.IncompleteSimulation as incomplete:
        if incomplete.result is not None:
            _report(incomplete.result, test, out, json, plot)
            _say_how_to_go_on(checkpoint)
        raise
    _report(result, test, out, json, plot)
    if checkpoint is not None:
        checkpoint.unlink(missing_ok=True)


def _say_how_to_go_on(checkpoint: Path | None) -> None:
    if checkpoint is not None:
        console.print(
            f"What is done is kept in {checkpoint}: the same command with --resume goes on.",
            highlight=False,
        )


def _report(
    result: bsnn.Result, test: Dataset, out: Path | None, json: Path | None, plot: Path | None
) -> None:
    print_result(result, f"{len(result):,} test images of {test.name}")
    if out is not None:
        result.save(out)
        console.print(f"The result is in {out}.", highlight=False)
    write_json(json, result.summary())
    if plot is not None:
        # matplotlib takes a while to import
        from bsnn.analysis.rate_plots import accuracy_figure
        from bsnn.analysis.saving import save_figure

        save_figure(accuracy_figure({"spiking network": result}), plot)
        console.print(f"The figure is in {plot}.", highlight=False)


def _print_estimate(
    spiking: bsnn.SpikingModel, test: Dataset, device: str, setup: Mapping[str, Any]
) -> None:
    connectivity = setup["connectivity"]
    check_device(device)
    size = estimate(spiking, setup["precision"], setup["batch"] or 1)
    rows = [
        ("neurons", f"{size.neurons:,}"),
        ("connections with weights", f"{size.connections:,}"),
        ("connections of max-poolings", f"{size.pool_connections:,}"),
        *(
            (f"memory, connectivity {name}", f"about {memory / 1e9:.2f} GB")
            for name, memory in size.memory_bytes.items()
        ),
    ]
    if (device, connectivity) in DEVICE_COSTS:
        build, run = estimate_seconds(spiking, test.images, device, connectivity)
        rows += [
            ("build", f"about {build:.0f} s"),
            (f"run, {len(test):,} images", f"about {run:.0f} s"),
        ]
    else:
        rows.append(("time", f"not known beforehand: bsnn bench --device {device} measures it"))
    console.print(facts_table(f"Estimate for the device {device}, {connectivity}", rows))
