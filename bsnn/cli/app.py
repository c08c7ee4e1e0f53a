"""The command line: `bsnn COMMAND`."""

from __future__ import annotations

import sys

import typer
from rich.console import Console
from rich.markup import escape

from bsnn.cli import convert, demo, info, papers, run
from bsnn.errors import BsnnError

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

for _module in (demo, convert, info, run, papers):
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
