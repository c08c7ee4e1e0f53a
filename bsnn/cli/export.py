"""`bsnn export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import bsnn
from bsnn.cli.neuron_options import Neuron, Parameters, chosen_neuron, with_perturbations
from bsnn.cli.options import Connectivity, DataFolder, Form, Precision, Steps, TestImages
from bsnn.cli.output import console
from bsnn.cli.run import model_and_images
from bsnn.simulation import TARGETS

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(with_perturbations(export))


def export(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL.h5", help="A spiking model that bsnn convert wrote.")
    ],
    target: Annotated[str, typer.Option(help=f"Language: {', '.join(TARGETS)}.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to make.")],
    dataset: TestImages = None,
    data: DataFolder = None,
    images: Annotated[int, typer.Option(min=1, help="How many images go with it.")] = 100,
    first: Annotated[int, typer.Option(min=0, help="Index of the first image.")] = 0,
    form: Form = None,
    connectivity: Connectivity = "shared",
    precision: Precision = "float64",
    steps: Steps = None,
    neuron: Neuron = None,
    parameters: Parameters = None,
    *,
    perturbations: dict[str, float],
    batch: Annotated[
        int | None,
        typer.Option(min=1, help="Images side by side; by default 1, for CUDA all."),
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, help="Of all that is random: input, neurons, perturbations.")
    ] = 0,
) -> None:
    """Write a network as a project that is compiled and run without Python.

    The folder has the generated code, weights and images, a Makefile and a README of its own, and a
    script that reads the results. A GPU or CUDA's compiler need not be here.

    Example: bsnn export MODEL.h5 --target cuda --out project
    """
    spiking, test = model_and_images(model, steps, dataset, data, first, images)
    folder = bsnn.export(
        spiking,
        test.images,
        test.labels,
        directory=out,
        target=target,
        form=form,
        connectivity=connectivity,
        precision=precision,
        neuron=chosen_neuron(neuron, parameters, spiking.coding),
        perturbations=perturbations,
        batch=batch,
        seed=seed,
        first_image=first,
    )
    console.print(
        f"{folder} has the project, with {len(test):,} images of {test.name}; its README.md says "
        f"more.\n\n  make -C {folder} run\n  python3 {folder / 'read_results.py'}",
        highlight=False,
        soft_wrap=True,
    )
