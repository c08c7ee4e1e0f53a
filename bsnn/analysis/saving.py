"""Writing figures to files."""

from __future__ import annotations

import os
from pathlib import Path

from matplotlib.figure import Figure

from bsnn.errors import StorageError

__all__ = ["save_figure"]


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure, atomically, in the format that the name of the file says.

    Raises
    ------
    StorageError
        The file cannot be written, or its format is unknown.
    """
    path = Path(path)
    temporary = path.with_name(f"{path.name}.partial")
    try:
        figure.savefig(temporary, dpi=150, format=path.suffix.lstrip(".") or "png")
        os.replace(temporary, path)
    except (OSError, ValueError) as error:
        raise StorageError(f"{path} cannot be written: {error}") from error
    finally:
        temporary.unlink(missing_ok=True)
