"""The command line: `bsnn COMMAND`.

A command's module is imported when it is run: those that simulate take seconds to import.
"""

from __future__ import annotations

import difflib
import importlib
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from bsnn.errors import BsnnError

__all__ = ["COMMANDS", "app", "main"]

#: By command, the module of `bsnn.cli` that has it, and what it does, as its help begins.
COMMANDS = {
    "demo": (
        "demo",
        "Convert a network that comes with bsnn and simulate it on MNIST images that come with it.",
    ),
    "convert": ("convert", "Convert a trained network to a spiking one."),
    "info": ("info", "Show what is in a file: layers, cost, scales, and where it came from."),
    "run": (
        "run",
        "Simulate a spiking model on test images and compare it with the trained network.",
    ),
    "sweep": (
        "sweep",
        "Simulate a spiking model again and again with other neurons and other perturbations.",
    ),
    "refit": (
        "refit",
        "Fit a rate-coded network's thresholds to other neurons, or to disturbed ones.",
    ),
    "compare": (
        "compare",
        "Say where a spiking network departs from the trained one, why, and what to change.",
    ),
    "report": (
        "report",
        "Write a report on a network as one page of HTML, which needs nothing else to be read.",
    ),
    "bench": (
        "bench",
        "Measure bsnn against other ways to simulate the same network on the same images.",
    ),
    "export": (
        "export",
        "Write a network as a project that is compiled and run without Python.",
    ),
    "nir": (
        "nir",
        "Exchange networks with other simulators (Neuromorphic Intermediate Representation).",
    ),
    "train": ("papers", "Train a paper's network and convert it (needs PyTorch)."),
    "reproduce": ("papers", "Print and plot a paper's results, ours beside the paper's."),
    "vectors": (
        "cosim",
        "Write what goes through max-poolings in Brian2 as vectors for the hardware block.",
    ),
    "cosim": (
        "cosim",
        "Simulate a network in Brian2, its max-poolings as a Verilated block, and compare every "
        "word.",
    ),
    "gpu-check": (
        "gpu_check",
        "Check that CUDA on this machine computes what C++ computes, spike for spike.",
    ),
}


class _Commands(TyperGroup):
    """Knows its commands by name and by what they do; the one that is run is imported."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        return TyperCommand(name=cmd_name, help=COMMANDS[cmd_name][1])

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0] in COMMANDS:
            return args[0], command(args[0]), args[1:]
        close = difflib.get_close_matches(args[0], COMMANDS, 1)
        meant = f" Did you mean {close[0]!r}?" if close else ""
        return ctx.fail(f"No such command {args[0]!r}.{meant}")


def command(name: str) -> Any:
    """Return a command, with its options."""
    module = importlib.import_module(f"bsnn.cli.{COMMANDS[name][0]}")
    own = typer.Typer(rich_markup_mode="rich", pretty_exceptions_enable=False)
    # so that one that has no other beside it stays a group
    own.callback()(lambda: None)
    module.register(own)
    found: Any = typer.main.get_command(own)
    return found.commands[name]


app = typer.Typer(
    name="bsnn",
    cls=_Commands,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Turn a trained convolutional network into a spiking one and simulate it in Brian2.\n\n"
    "Begin with [bold]bsnn demo[/bold]. Your own network: [bold]bsnn convert[/bold], then "
    "[bold]bsnn run[/bold].",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from bsnn.storage import versions

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


def main() -> None:
    """Run the command line; errors that bsnn foresees are one message and exit status 1."""
    try:
        app(standalone_mode=True)
    except BsnnError as error:
        _print(f"[bold red]Error:[/] {_escaped(str(error))}")
        sys.exit(1)
    except KeyboardInterrupt:
        _print("Interrupted.")
        sys.exit(130)


def _print(text: str) -> None:
    from rich.console import Console

    Console(stderr=True).print(text, highlight=False)


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)
