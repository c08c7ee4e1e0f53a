"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bsnn.brian import DEVICES

__all__ = ["DataFolder", "Device", "JsonFile"]

DataFolder = Annotated[
    Path | None,
    typer.Option(help="Folder with the data set's files; otherwise BSNN_DATA, or a download."),
]

Device = Annotated[str, typer.Option(help=f"Where to simulate: {', '.join(DEVICES)}.")]

JsonFile = Annotated[Path | None, typer.Option(help="Write the figures to this file.")]
