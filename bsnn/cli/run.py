"""`bsnn run`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

import bsnn
from bsnn.brian import PERTURBATIONS, check_device, estimate
from bsnn.cli.neuron_options import Neuron, Parameters, chosen_neuron, with_perturbations
from bsnn.cli.options import (
    Cluster,
    Connectivity,
    DataFolder,
    Device,
    Form,
    JsonFile,
    Precision,
    Steps,
    TestImages,
    refuse_given,
)
from bsnn.cli.output import console, facts_table, print_result, write_json
from bsnn.datasets import DATASETS, Dataset
from bsnn.errors import SettingsError, SimulationError
from bsnn.registry import unknown_name
from bsnn.simulation.duration import DEVICE_COSTS, estimate_seconds

__all__ = ["register"]

# Parameters of the command that an estimate of its cost does not look at.
_OF_A_SIMULATION = (
    "form", "neuron", "parameters", "workers", "cluster", "chunk", "seed", "out", "resume", "json",
    "plot", "build_dir",
)  # fmt: skip


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(with_perturbations(run))


def run(
    context: typer.Context,
    model: Annotated[
        Path, typer.Argument(metavar="MODEL.h5", help="A spiking model that bsnn convert wrote.")
    ],
    dataset: TestImages = None,
    data: DataFolder = None,
    images: Annotated[int, typer.Option(min=1, help="How many images.")] = 1000,
    first: Annotated[int, typer.Option(min=0, help="Index of the first image.")] = 0,
    device: Device = "cpp",
    form: Form = None,
    connectivity: Connectivity = "shared",
    precision: Precision = "float64",
    steps: Steps = None,
    neuron: Neuron = None,
    parameters: Parameters = None,
    *,
    perturbations: dict[str, float],
    workers: Annotated[
        int, typer.Option(min=1, help="Processes that simulate; each builds the network.")
    ] = 1,
    cluster: Cluster = None,
    chunk: Annotated[
        int | None, typer.Option(min=1, help="Most images in one run of the network.")
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Images that are simulated side by side in a run; by default 1, on CUDA all.",
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, help="Of all that is random: input, neurons, perturbations.")
    ] = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Write the result to this HDF5 file. Until it is complete, what is done is kept "
            "next to it, in a file of the same name with .partial after it.",
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Go on with what an earlier run with the same --out has kept."
        ),
    ] = False,
    json: JsonFile = None,
    plot: Annotated[
        Path | None,
        typer.Option(help="Write a figure of the accuracy over time here (rate coding)."),
    ] = None,
    build_dir: Annotated[
        Path | None,
        typer.Option(help="Keep the generated code here."),
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
    spiking, test = model_and_images(model, steps, dataset, data, first, images)
    if dry_run:
        _print_estimate(spiking, test, device, connectivity, precision, batch or 1)
        return
    neurons = chosen_neuron(neuron, parameters, spiking.coding)
    if plot is not None and not spiking.read_each_step:
        raise SettingsError(
            f"--plot shows accuracy over time, and in {spiking.title} the class is read once."
        )
    if resume and out is None:
        raise SettingsError("--resume goes on with what is kept next to the result: give --out.")
    checkpoint = None if out is None else out.with_name(f"{out.name}.partial")
    try:
        result = bsnn.simulate(
            spiking,
            test.images,
            test.labels,
            device=device,
            form=form,
            connectivity=connectivity,
            precision=precision,
            neuron=neurons,
            perturbations=perturbations,
            workers=workers,
            cluster=cluster,
            chunk=chunk,
            batch=batch,
            seed=seed,
            first_image=first,
            checkpoint=checkpoint,
            resume=resume,
            directory=build_dir,
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


def model_and_images(
    path: Path, steps: int | None, name: str | None, data: Path | None, first: int, count: int
) -> tuple[bsnn.SpikingModel, Dataset]:
    """Load a model, with other steps than its own if they are given, and images to show it."""
    spiking = bsnn.load_model(path)
    if steps is not None:
        spiking = dataclasses.replace(spiking, steps=steps)
    return spiking, test_images(spiking, name, data, first, count)


def test_images(
    spiking: bsnn.SpikingModel, name: str | None, data: Path | None, first: int, count: int
) -> Dataset:
    """Load the images to simulate; say what is unusual about them."""
    calibrated_on = spiking.calibration.get("images_from", "")
    name = name or calibrated_on
    if name == "mnist-sample":
        if data is not None:
            raise SettingsError(
                f"--data {data}: the images of mnist-sample come with bsnn. Leave it out, or name "
                "another data set."
            )
        test = bsnn.datasets.mnist_sample()
    elif name in DATASETS:
        test = bsnn.datasets.load(name, "test", data)
    else:
        raise unknown_name(
            name, [*DATASETS, "mnist-sample"], DATASETS.kind, advice="Name one with --dataset."
        )
    shape, wanted = test.pixels.shape[1:], spiking.graph.input.shape
    if shape != wanted:
        raise SimulationError(
            f"The images of {name} have shape {shape}, but the network takes {wanted}. It was "
            f"calibrated on {calibrated_on}: name the right data set with --dataset."
        )
    if calibrated_on in DATASETS and name.removesuffix("-sample") != calibrated_on:
        console.print(
            f"[yellow]Note:[/] the network was calibrated on {calibrated_on}, not on {name}."
        )
    if len(test.approximate):
        console.print(
            f"[yellow]Note:[/] {len(test.approximate)} test images of {name} are approximate and "
            "left out (approximate_images.csv)."
        )
    test = test.exact()
    if first >= len(test):
        raise SimulationError(f"--first {first}: {name} has {len(test)} test images.")
    return test.first(count, first)


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
    spiking: bsnn.SpikingModel,
    test: Dataset,
    device: str,
    connectivity: str,
    precision: str,
    batch: int,
) -> None:
    check_device(device)
    size = estimate(spiking, precision, batch)
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
