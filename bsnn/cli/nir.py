"""`bsnn nir export` and `bsnn nir import`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import bsnn
from bsnn.cli.options import output_file
from bsnn.cli.output import console, print_notes
from bsnn.conversion import ENCODERS, RESETS
from bsnn.errors import nir_is_missing

__all__ = ["register"]

_NAME = "nir"

_Dt = Annotated[
    float | None,
    typer.Option(help="Length of a step; by default 1 (if) or 0.001 (lif)."),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    own = typer.Typer(
        no_args_is_help=True,
        help="Exchange networks with other simulators (Neuromorphic Intermediate Representation).",
    )
    own.command("export")(export)
    own.command("import")(import_)
    app.add_typer(own, name=_NAME)


def export(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL.h5", help="A rate-coded model of bsnn's.")
    ],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="File to write, such as model.nir.", callback=output_file),
    ],
    neuron: Annotated[str, typer.Option(help="if, or lif (which leaks).")] = "if",
    tau: Annotated[
        float | None, typer.Option(help="Time constant of the leak in seconds (lif).")
    ] = None,
    dt: _Dt = None,
) -> None:
    """Write a rate-coded network as a NIR file, which other simulators read.

    Example: bsnn nir export model.h5 -o model.nir
    """
    try:
        from bsnn.nir import export_nir, write_graph
    except ModuleNotFoundError as error:
        raise _missing(error) from error
    found = export_nir(bsnn.load_model(model), neuron=neuron, tau=tau, dt=dt)
    write_graph(found.graph, out)
    print_notes(found.notes)
    console.print(f"{out} has the network.", highlight=False, soft_wrap=True)


def import_(
    source: Annotated[Path, typer.Argument(metavar="MODEL.nir", help="A NIR file.")],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="File to write, such as model.h5.", callback=output_file),
    ],
    reset: Annotated[
        str | None,
        typer.Option(help=f"After a spike: {', '.join(RESETS)}. By default what the file says."),
    ] = None,
    dt: Annotated[
        float | None,
        typer.Option(help="Length of a step in the file's unit of time, if it does not say it."),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Time steps for which an image is shown.")
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option("--encoder", "--input", help=f"How images enter: {', '.join(ENCODERS)}."),
    ] = None,
    input_scale: Annotated[
        float | None, typer.Option(help="Value of a pixel that is told as one spike a step.")
    ] = None,
) -> None:
    """Make a spiking model of a NIR file.

    Example: bsnn nir import model.nir -o model.h5
    """
    try:
        from bsnn.nir import from_nir
    except ModuleNotFoundError as error:
        raise _missing(error) from error
    found = from_nir(
        source, reset=reset, dt=dt, steps=steps, encoder=encoder, input_scale=input_scale
    )
    found.model.save(out)
    print_notes(found.notes)
    further = ""
    if found.neuron != "if":
        # a file has weights and thresholds; what the neurons are is said where it is simulated
        in_steps = found.parameters["tau"] / found.parameters["dt"]
        further = f" --neuron {found.neuron} --set tau={in_steps:.9g}*ms"
    console.print(
        f"The spiking model is in {out}. Simulate it, in steps of 1 ms: bsnn run {out}{further}",
        highlight=False,
        soft_wrap=True,
    )


def _missing(error: ModuleNotFoundError) -> Exception:
    return nir_is_missing("Reading and writing NIR") if error.name == _NAME else error
