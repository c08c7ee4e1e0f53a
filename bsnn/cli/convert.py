"""`bsnn convert`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import bsnn
from bsnn.cli.model_source import trained_graph
from bsnn.cli.options import DataFolder
from bsnn.cli.output import console, facts_table, scale_text
from bsnn.conversion import (
    AVERAGE,
    BALANCES,
    DEFAULT_GATE,
    DEFAULT_PERCENTILE,
    ENCODERS,
    GATE_QUANTITIES,
    GATES,
    NORMALISATIONS,
    RATE_NORMALISATIONS,
    RATE_READ_OUTS,
    READ_OUTS,
    RESETS,
    RESIDUAL_RULES,
)
from bsnn.errors import SettingsError
from bsnn.registry import check_name
from bsnn.storage import ARRAY_TYPES, as_stored

__all__ = ["register"]

_TTFS = "time-to-first-spike coding"
_RATE = "rate coding"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(convert)


def convert(
    source: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="FILE.py:NAME (a function or class that makes the PyTorch module), or an .h5 file "
            "of bsnn's whose network is converted anew.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write.")],
    weights: Annotated[
        Path | None, typer.Option(help="State dict of the module, saved with torch.save.")
    ] = None,
    input_shape: Annotated[
        str | None, typer.Option(help="Channels, height and width of an image, such as 1,28,28.")
    ] = None,
    mean: Annotated[
        str | None,
        typer.Option(help="What was subtracted from the pixels (0 to 1) in training, by channel."),
    ] = None,
    std: Annotated[
        str | None,
        typer.Option(help="What the pixels were divided by in training, by channel."),
    ] = None,
    dataset: Annotated[
        str, typer.Option(help=f"Calibration images: {', '.join(bsnn.datasets.DATASETS)}.")
    ] = "mnist",
    data: DataFolder = None,
    coding: Annotated[
        str,
        typer.Option(help="ttfs (time to first spike) or rate (integrate-and-fire neurons)."),
    ] = "ttfs",
    images: Annotated[
        int, typer.Option(min=1, help="How many training images to calibrate with.")
    ] = 1000,
    steps: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Time steps: in a window (ttfs; 16 by default), or for which an image is shown "
            "(rate; 100).",
        ),
    ] = None,
    norm: Annotated[
        str,
        typer.Option(
            help="How the largest coded value of a layer is found. "
            f"ttfs: {', '.join(NORMALISATIONS)}; rate: {', '.join(RATE_NORMALISATIONS)}."
        ),
    ] = "percentile",
    percentile: Annotated[
        float | None,
        typer.Option(help=f"For that normalisation; by default {DEFAULT_PERCENTILE}."),
    ] = None,
    read_out: Annotated[
        str | None,
        typer.Option(
            help=f"How the class is read. ttfs: {', '.join(READ_OUTS)}; rate: "
            f"{', '.join(RATE_READ_OUTS)}."
        ),
    ] = None,
    rounding: Annotated[
        bool | None,
        typer.Option(
            "--rounding/--no-rounding",
            help="Round spike times by half a step of initial charge (not the paper's).",
            rich_help_panel=_TTFS,
        ),
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(
            "--input",
            help="How images enter: "
            + "; ".join(f"{e.name} ({e.description})" for e in ENCODERS.values())
            + ".",
            rich_help_panel=_RATE,
        ),
    ] = None,
    input_scale: Annotated[
        float | None,
        typer.Option(
            help="Value (after normalisation) of one spike a step; by default the largest that a "
            "pixel can have.",
            rich_help_panel=_RATE,
        ),
    ] = None,
    reset: Annotated[
        str | None,
        typer.Option(help=f"After a spike: {', '.join(RESETS)}.", rich_help_panel=_RATE),
    ] = None,
    balance: Annotated[
        str | None,
        typer.Option(
            help=f"Where the scales go: {', '.join(BALANCES)}. Both give the same spikes.",
            rich_help_panel=_RATE,
        ),
    ] = None,
    channels: Annotated[
        bool | None,
        typer.Option(
            "--channels/--layers",
            help="A scale for each channel, not for each layer.",
            rich_help_panel=_RATE,
        ),
    ] = None,
    residual: Annotated[
        str | None,
        typer.Option(
            help="Where branches meet: "
            + "; ".join(f"{name} ({what})" for name, what in RESIDUAL_RULES.items())
            + ".",
            rich_help_panel=_RATE,
        ),
    ] = None,
    gate: Annotated[
        str | None,
        typer.Option(
            help="How max-pooling chooses the neuron whose spikes pass (by default "
            f"{DEFAULT_GATE}): {', '.join([*GATES, AVERAGE])}; or an expression over "
            f"{', '.join(GATE_QUANTITIES)}.",
            rich_help_panel=_RATE,
        ),
    ] = None,
    initial_potential: Annotated[
        float | None,
        typer.Option(
            help="At the beginning of an image, as a share of the threshold.",
            rich_help_panel=_RATE,
        ),
    ] = None,
    potential_floor: Annotated[
        float | None,
        typer.Option(help="Lowest potential, in thresholds.", rich_help_panel=_RATE),
    ] = None,
    norm_steps: Annotated[
        int | None,
        typer.Option(
            min=1, help="Steps for which Spike-Norm shows an image.", rich_help_panel=_RATE
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(min=0, help="Of the input's noise in Spike-Norm.", rich_help_panel=_RATE),
    ] = None,
    array_type: Annotated[
        str, typer.Option(help=f"Of the weights in the file: {', '.join(ARRAY_TYPES)}.")
    ] = "float32",
) -> None:
    """Convert a trained network to a spiking one.

    Example: bsnn convert my_model.py:make_net --weights net.pt --input-shape 1,28,28 -o model.h5

    Rate coding as in Sengupta et al. (2019): --coding rate --norm spike-norm --reset zero
    --input poisson --images 256 --steps 2500
    """
    converters = {"ttfs": bsnn.convert_to_ttfs, "rate": bsnn.convert_to_rate}
    check_name(coding, converters, "coding")
    own = {
        "ttfs": {"rounding": rounding},
        "rate": {
            "encoder": encoder,
            "input_scale": input_scale,
            "reset": reset,
            "balance": balance,
            "channels": channels,
            "residual": residual,
            "gate": gate,
            "initial_potential": initial_potential,
            "potential_floor": potential_floor,
            "norm_steps": norm_steps,
            "seed": seed,
        },
    }
    for other, options in own.items():
        given = [_option(name) for name, value in options.items() if value is not None]
        if other != coding and given:
            raise SettingsError(f"{', '.join(given)}: only with --coding {other}.")
    chosen = {"steps": steps, "percentile": percentile, "read_out": read_out, **own[coding]}
    graph, origin = trained_graph(source, weights, input_shape, mean, std)
    # scales are found for the weights as the file will hold them
    graph = as_stored(graph, array_type)
    training = bsnn.datasets.load(dataset, "train", data).exact().first(images)
    model = converters[coding](
        graph,
        training.images,
        norm=norm,
        images_from=dataset,
        source=origin,
        **{name: value for name, value in chosen.items() if value is not None},
    )
    model.save(out, array_type)
    rows = [(name, scale_text(value)) for name, value in model.scales.items()]
    console.print(facts_table(f"Scales ({norm}, {len(training)} images of {dataset})", rows))
    console.print(
        f"The spiking model is in {out}. Simulate it: bsnn run {out} --dataset {dataset}",
        highlight=False,
    )


def _option(name: str) -> str:
    return {"encoder": "--input"}.get(name, f"--{name.replace('_', '-')}")
