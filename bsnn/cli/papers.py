"""`bsnn train` and `bsnn reproduce`: the networks of the papers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bsnn.cli.options import DataFolder, Device, JsonFile
from bsnn.cli.output import console, write_json

__all__ = ["register"]

_PAPER = typer.Argument(metavar="PAPER", help="Such as lopez_randulfe_2022.")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(train)
    app.command()(reproduce)


def train(
    paper: Annotated[str, _PAPER],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for weights, log and model.")],
    data: DataFolder = None,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training images.")] = 20,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 1,
    penalty: Annotated[
        float, typer.Option(min=0, help="Weight of the penalty on activity; 0 is the paper's.")
    ] = 0.0,
    threads: Annotated[
        int, typer.Option(min=1, help="CPU threads; results repeat exactly with the same number.")
    ] = 1,
    device: Annotated[str, typer.Option(help="PyTorch's device: cpu or cuda.")] = "cpu",
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the checkpoint in the folder.")
    ] = False,
) -> None:
    """Train a paper's network and convert it (needs PyTorch)."""
    from bsnn.networks import paper as find_paper

    try:
        path, accuracies = find_paper(paper).train(
            out,
            data=data,
            epochs=epochs,
            seed=seed,
            penalty=penalty,
            threads=threads,
            device=device,
            resume=resume,
        )
    except KeyboardInterrupt:
        console.print(f"Interrupted. The last epoch is kept in {out}: go on with --resume.")
        raise typer.Exit(130) from None
    for name, value in accuracies.items():
        console.print(f"Accuracy on {name}: {100 * value:.2f} %", highlight=False)
    console.print(f"The spiking model is in {path}, the log beside it.", highlight=False)


def reproduce(
    paper: Annotated[str, _PAPER],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for tables and figures.")],
    data: DataFolder = None,
    images: Annotated[int, typer.Option(min=1, help="Test images.")] = 10000,
    models: Annotated[
        Path | None,
        typer.Option(help="Folder with further trained models (.h5) for the frontier."),
    ] = None,
    device: Device = "cpp",
    json: JsonFile = None,
) -> None:
    """Print and plot a paper's results, ours beside the paper's."""
    from bsnn.networks import paper as find_paper

    try:
        content = find_paper(paper).reproduce(
            out, data=data, images=images, models=models, device=device, console=console
        )
    except KeyboardInterrupt:
        console.print(f"Interrupted. What was measured is kept in {out}: the same command goes on.")
        raise typer.Exit(130) from None
    write_json(json, content)
