"""`bsnn refit`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

import bsnn
from bsnn.cli.groups import grouped
from bsnn.cli.options import Device, Steps, output_file
from bsnn.cli.output import console, facts_table
from bsnn.cli.record_options import SetupOptions, setup_options
from bsnn.cli.shown_options import Shown, shown_options

__all__ = ["register"]

_SETUP = setup_options("neuron", "seed", "perturbations")
_TRAINING = shown_options(60, split="train")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(grouped(refit))


def refit(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL.h5", help="A rate-coded model of bsnn convert.")
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Where the fitted model goes.", callback=output_file)
    ],
    setup: SetupOptions = _SETUP,
    training: Shown = _TRAINING,
    steps: Steps = None,
    device: Device = "cpp",
) -> None:
    """Fit a rate-coded network's thresholds to other neurons, or to disturbed ones.

    Layer after layer the thresholds are changed until the rates of the spiking neurons are those
    that the trained network asks for; simulate the model with the same neurons after that.

    Example: bsnn refit MODEL.h5 --neuron lif --set tau=5*ms -o LEAKY.h5
    """
    spiking = bsnn.load_model(model)
    if steps is not None:
        spiking = dataclasses.replace(spiking, steps=steps)
    fitted_to = setup.of(spiking.coding)
    calibration = training.load(spiking)
    fitted = bsnn.refit_thresholds(
        spiking,
        calibration.images,
        neuron=fitted_to.neuron,
        perturbations=fitted_to.perturbations,
        seed=fitted_to.seed,
        device=device,
    )
    fitted.save(out)
    rows = [
        (f"threshold of {layer} times", f"{factor:.4f}")
        for layer, factor in fitted.threshold_factors.items()
    ]
    console.print(
        facts_table(f"Fitted to {fitted_to.neuron.name}, {len(calibration)} images", rows)
    )
    console.print(f"The model is in {out}.", highlight=False)
