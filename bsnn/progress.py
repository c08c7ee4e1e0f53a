"""Progress bars for long work; the one place below the command line that touches rich."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

__all__ = ["progress_bar"]


@contextmanager
def progress_bar(*, disable: bool = False) -> Iterator[Progress]:
    """Show progress on standard error: a description, done of total, time left.

    Parameters
    ----------
    disable : bool
        Show nothing.

    Yields
    ------
    rich.progress.Progress
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), disable=disable) as progress:
        yield progress
