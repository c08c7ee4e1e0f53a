"""The command line: `bsnn COMMAND`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from bsnn.cli import (
    bench,
    compare,
    convert,
    cosim,
    demo,
    export,
    gpu_check,
    info,
    nir,
    papers,
    refit,
    report,
    run,
    sweep,
)
from bsnn.errors import BsnnError
from bsnn.storage import versions

__all__ = ["app", "main"]

app = typer.Typer(
    name="bsnn",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Turn a trained convolutional network into a spiking one and simulate it in Brian2.\n\n"
    "Begin with [bold]bsnn demo[/bold]. Your own network: [bold]bsnn convert[/bold], then "
    "[bold]bsnn run[/bold].",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        for name, version in versions().items():
            typer.echo(f"{name.removesuffix('_version')} {version}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print versions and exit."
        ),
    ] = False,
) -> None:
    pass


for _module in (
    demo, convert, info, run, sweep, refit, compare, report, bench, export, nir, papers, cosim,
    gpu_check,
):  # fmt: skip
    _module.register(app)


def main() -> None:
    """Run the command line; errors that bsnn foresees are one message and exit status 1."""
    try:
        app(standalone_mode=True)
    except BsnnError as error:
        Console(stderr=True).print(f"[bold red]Error:[/] {escape(str(error))}", highlight=False)
        sys.exit(1)
    except KeyboardInterrupt:
        Console(stderr=True).print("Interrupted.")
        sys.exit(130)
