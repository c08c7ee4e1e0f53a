"""`bsnn export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import bsnn
from bsnn.cli.groups import grouped
from bsnn.cli.options import Steps, output_folder
from bsnn.cli.output import console
from bsnn.cli.record_options import SetupOptions, setup_options
from bsnn.cli.shown_options import Shown, shown_options
from bsnn.simulation import TARGETS

__all__ = ["register"]

_SHOWN = shown_options(100, "How many images go with it.")
_SETUP = setup_options(
    "form", "connectivity", "precision", "neuron", "batch", "seed", "perturbations"
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(grouped(export))


def export(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL.h5", help="A spiking model that bsnn convert wrote.")
    ],
    target: Annotated[str, typer.Option(help=f"Language: {', '.join(TARGETS)}.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder to make.", callback=output_folder)
    ],
    shown: Shown = _SHOWN,
    steps: Steps = None,
    setup: SetupOptions = _SETUP,
) -> None:
    """Write a network as a project that is compiled and run without Python.

    The folder has the generated code, weights and images, a Makefile and a README of its own, and a
    script that reads the results. A GPU or CUDA's compiler need not be here.

    Example: bsnn export MODEL.h5 --target cuda --out project
    """
    spiking, test = shown.with_model(model, steps)
    folder = bsnn.export(
        spiking,
        test.images,
        test.labels,
        directory=out,
        target=target,
        first_image=shown.first,
        setup=setup.of(spiking.coding),
    )
    console.print(
        f"{folder} has the project, with {len(test):,} images of {test.name}; its README.md says "
        f"more.\n\n  make -C {folder} run\n  python3 {folder / 'read_results.py'}",
        highlight=False,
        soft_wrap=True,
    )
