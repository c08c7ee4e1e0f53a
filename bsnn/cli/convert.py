"""`bsnn convert`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import bsnn
from bsnn.cli.model_source import trained_graph
from bsnn.cli.options import DataFolder
from bsnn.cli.output import console, facts_table
from bsnn.conversion import READ_OUTS, SCALE_RULES

__all__ = ["register"]


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
    images: Annotated[
        int, typer.Option(min=1, help="How many training images to calibrate with.")
    ] = 1000,
    steps: Annotated[int, typer.Option(min=1, help="Time steps in a window.")] = 16,
    scale: Annotated[
        str, typer.Option(help=f"Largest coded value of a layer: {', '.join(SCALE_RULES)}.")
    ] = "percentile",
    percentile: Annotated[float, typer.Option(help="For that rule.")] = 99.9,
    rounding: Annotated[
        bool,
        typer.Option(help="Round spike times by half a step of initial charge (not the paper's)."),
    ] = False,
    read_out: Annotated[
        str, typer.Option(help=f"How the class is read: {', '.join(READ_OUTS)}.")
    ] = "potential",
) -> None:
    """Convert a trained network to time-to-first-spike coding.

    Example: bsnn convert my_model.py:make_net --weights net.pt --input-shape 1,28,28 -o model.h5
    """
    graph, origin = trained_graph(source, weights, input_shape, mean, std)
    training = bsnn.datasets.load(dataset, "train", data).exact().first(images)
    model = bsnn.convert_to_ttfs(
        graph,
        training.images,
        steps=steps,
        scale=scale,
        percentile=percentile,
        rounding=rounding,
        read_out=read_out,
        images_from=dataset,
        source=origin,
    )
    model.save(out)
    rows = [(name, f"{value:.4f}") for name, value in model.scales.items()]
    console.print(facts_table(f"Scales ({scale}, {len(training)} images of {dataset})", rows))
    console.print(
        f"The spiking model is in {out}. Simulate it: bsnn run {out} --dataset {dataset}",
        highlight=False,
    )
