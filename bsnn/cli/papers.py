"""`bsnn train` and `bsnn reproduce`: the networks of the papers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

import bsnn
from bsnn.cli.groups import group, grouped, option
from bsnn.cli.options import DataFolder, Device, JsonFile, output_folder
from bsnn.cli.output import console, write_json
from bsnn.errors import SettingsError

__all__ = ["register"]

_PAPER = typer.Argument(metavar="PAPER", help="Such as lopez_randulfe_2022.")

_LOPEZ = "lopez_randulfe_2022"
_SENGUPTA = "sengupta_2019"
_SEVERAL = "nguyen_2020 and sengupta_2019"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(grouped(train))
    app.command()(reproduce)


_SETTINGS = group(
    (
        option(
            "penalty",
            float | None,
            typer.Option(
                min=0,
                help="Weight of the penalty on activity; 0 is the paper's.",
                rich_help_panel=_LOPEZ,
            ),
        ),
        option(
            "network",
            str | None,
            typer.Option(
                help="vgg16 or resnet20 (sengupta_2019); mnist or cifar10 (nguyen_2020).",
                rich_help_panel=_SEVERAL,
            ),
        ),
        option(
            "width",
            float | None,
            typer.Option(help="Factor of all numbers of channels.", rich_help_panel=_SENGUPTA),
        ),
        option(
            "batch_size",
            int | None,
            typer.Option(min=1, help="Images a step.", rich_help_panel=_SEVERAL),
        ),
        option(
            "learning_rate",
            float | None,
            typer.Option(
                help="At the start (sengupta_2019), or at its peak (nguyen_2020).",
                rich_help_panel=_SEVERAL,
            ),
        ),
        option(
            "dropout",
            float | None,
            typer.Option(
                min=0,
                help="VGG-16: factor of the paper's rates; ResNet-20: rate.",
                rich_help_panel=_SENGUPTA,
            ),
        ),
        option(
            "junction_relu",
            bool | None,
            typer.Option(
                "--junction-relu/--no-junction-relu",
                help="ResNet-20: rectify where branches meet.",
                rich_help_panel=_SENGUPTA,
            ),
        ),
        option(
            "preprocessing",
            int | None,
            typer.Option(min=0, help="ResNet-20: plain layers first.", rich_help_panel=_SENGUPTA),
        ),
        option(
            "precision",
            str | None,
            typer.Option(
                help="Of the convolutions in training: float32 or bfloat16.",
                rich_help_panel=_SEVERAL,
            ),
        ),
        option(
            "calibration_images",
            int | None,
            typer.Option(min=1, help="Images that Spike-Norm looks at.", rich_help_panel=_SENGUPTA),
        ),
    ),
    dict,
)


def train(
    paper: Annotated[str, _PAPER],
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", help="Folder for weights, log and model.", callback=output_folder
        ),
    ],
    data: DataFolder = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Passes over the training images.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 1,
    threads: Annotated[
        int, typer.Option(min=1, help="CPU threads; results repeat exactly with the same number.")
    ] = 1,
    device: Annotated[str, typer.Option(help="PyTorch's device: cpu or cuda.")] = "cpu",
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the checkpoint in the folder.")
    ] = False,
    settings: dict[str, Any] = _SETTINGS,
) -> None:
    """Train a paper's network and convert it (needs PyTorch)."""
    found = bsnn.networks.paper(paper)
    offered = _offered(
        paper,
        found.PAPER.trainable,
        {"epochs": epochs, **settings},
    )
    try:
        path, accuracies = found.train(
            out,
            data=data,
            seed=seed,
            threads=threads,
            device=device,
            resume=resume,
            **offered,
        )
    except KeyboardInterrupt:
        console.print(f"Interrupted. The last epoch is kept in {out}: go on with --resume.")
        raise typer.Exit(130) from None
    for name, value in accuracies.items():
        console.print(f"Accuracy on {name}: {100 * value:.2f} %", highlight=False)
    console.print(f"The spiking model is in {path}, the log beside it.", highlight=False)


def reproduce(
    paper: Annotated[str, _PAPER],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="Folder for tables and figures.", callback=output_folder),
    ],
    data: DataFolder = None,
    images: Annotated[
        int | None, typer.Option(min=1, help="Test images; by default as many as the paper's.")
    ] = None,
    device: Device = "cpp",
    models: Annotated[
        Path | None,
        typer.Option(
            help="Folder with further trained models (.h5) for the frontier.",
            rich_help_panel=_LOPEZ,
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(min=1, help="Time steps an image.", rich_help_panel=_SENGUPTA),
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(min=1, help="Runs with different noise.", rich_help_panel=_SENGUPTA),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Processes that simulate.", rich_help_panel=_SENGUPTA),
    ] = None,
    json: JsonFile = None,
) -> None:
    """Print and plot a paper's results, ours beside the paper's."""
    options = {
        "images": images,
        "models": models,
        "steps": steps,
        "seeds": seeds,
        "workers": workers,
    }
    found = bsnn.networks.paper(paper).PAPER
    try:
        content = found.reproduce(
            out,
            data=data,
            device=device,
            console=console,
            **_offered(paper, found.reproducible, options),
        )
    except KeyboardInterrupt:
        console.print(f"Interrupted. What was measured is kept in {out}: the same command goes on.")
        raise typer.Exit(130) from None
    write_json(json, content)


def _offered(paper: str, known: set[str], options: dict[str, Any]) -> dict[str, Any]:
    """Return the options that were given; refuse those that a paper does not have."""
    given = {name: value for name, value in options.items() if value is not None}
    unknown = given.keys() - known
    if unknown:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in sorted(unknown))
        raise SettingsError(f"{paper} has no {names}; see --help for which paper has which.")
    return given
