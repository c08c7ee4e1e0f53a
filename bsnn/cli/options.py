"""Options that several commands have."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Annotated

import typer

from bsnn.devices import DEVICES
from bsnn.errors import SettingsError
from bsnn.storage import check_file, check_folder

__all__ = [
    "DataFolder",
    "Device",
    "JsonFile",
    "Steps",
    "output_file",
    "output_folder",
    "refuse_given",
]


def refuse_given(context: typer.Context, names: Collection[str], why: str) -> None:
    """Refuse options that the command line has, though they would have no effect.

    Parameters
    ----------
    context : typer.Context
        Of the command.
    names : collection of str
        Parameters of the command.
    why : str
        Why they would have none, and what to do.

    Raises
    ------
    SettingsError
        Which were given.
    """
    given = [
        parameter.opts[0]
        for parameter in context.command.params
        if parameter.name in names
        and (source := context.get_parameter_source(parameter.name)) is not None
        and source.name == "COMMANDLINE"
    ]
    if given:
        raise SettingsError(f"{', '.join(given)}: {why}")


DataFolder = Annotated[
    Path | None,
    typer.Option(help="Folder with the data set's files; otherwise BSNN_DATA, or a download."),
]

Device = Annotated[str, typer.Option(help=f"Where to simulate: {', '.join(DEVICES)}.")]


def output_file(path: Path | None) -> Path | None:
    """Refuse, as a callback of an option, a file that could not be written at the end."""
    if path is not None and str(path) != "-":
        check_file(path)
    return path


def output_folder(path: Path | None) -> Path | None:
    """Refuse, as a callback of an option, a folder that could not be written to."""
    if path is not None:
        check_folder(path)
    return path


JsonFile = Annotated[
    Path | None,
    typer.Option(help="Write the figures to this file; - prints them.", callback=output_file),
]

Steps = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Steps in a window, or for which an image is shown (rate coding), in place of the "
        "model's.",
    ),
]
