"""Writing figures to files."""

from __future__ import annotations

import os
from pathlib import Path

from matplotlib.figure import Figure

from bsnn.errors import StorageError
from bsnn.storage import replacing

__all__ = ["save_figure"]


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure, atomically, in the format that the name of the file says.

    Raises
    ------
    StorageError
        The file cannot be written, or its format is unknown.
    """
    path = Path(path)
    try:
        with replacing(path) as temporary:
            figure.savefig(temporary, dpi=150, format=path.suffix.lstrip(".") or "png")
    except ValueError as error:
        raise StorageError(f"{path} cannot be written: {error}") from error
