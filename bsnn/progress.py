"""Progress bars for long work; the one place below the command line that touches rich."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

__all__ = ["progress_bar"]


class _RateColumn(ProgressColumn):
    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.3g} {self._unit}/s")


@contextmanager
def progress_bar(unit: str | None = None, *, disable: bool = False) -> Iterator[Progress]:
    """Show progress on standard error: a description, done of total, rate, time left.

    Parameters
    ----------
    unit : str, optional
        What is counted; the rate is only shown with it.
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
        *(() if unit is None else (_RateColumn(unit),)),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), disable=disable) as progress:
        yield progress
