"""Progress of long work; the one place below the command line that touches rich."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
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
from rich.table import Table
from rich.text import Text

__all__ = ["SimulationState", "progress_bar", "simulation_progress"]

# Where nobody watches, a line is written no more often than this.
_SECONDS_BETWEEN_LINES = 10.0


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


@dataclasses.dataclass(frozen=True)
class SimulationState:
    """How far a simulation is.

    Attributes
    ----------
    done, images : int
        Images that are simulated, and all.
    accuracy : float or None
        Of those that are done; None without labels.
    spikes_per_neuron : float
        Mean over those that are done.
    """

    done: int
    images: int
    accuracy: float | None = None
    spikes_per_neuron: float = 0.0


@contextmanager
def simulation_progress(
    start: SimulationState, *, disable: bool = False
) -> Iterator[Callable[[SimulationState], None]]:
    """Show how far a simulation is: a table in a terminal, now and then a line elsewhere.

    Parameters
    ----------
    start : SimulationState
        What was done before.
    disable : bool
        Show nothing.

    Yields
    ------
    callable
        To be told of each new state.
    """
    console = Console(stderr=True)
    if disable:
        yield lambda state: None
    elif console.is_terminal:
        with _table_shown(console, start) as show:
            yield show
    else:
        yield _lines(console, start)


@contextmanager
def _table_shown(
    console: Console, start: SimulationState
) -> Iterator[Callable[[SimulationState], None]]:
    progress = Progress(
        TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=console
    )
    task = progress.add_task("simulating", total=start.images, completed=start.done)
    speed = _Speed(start)
    with Live(Group(_table(start, speed), progress), console=console) as live:

        def show(state: SimulationState) -> None:
            progress.update(task, completed=state.done)
            live.update(Group(_table(state, speed), progress))

        yield show


def _table(state: SimulationState, speed: _Speed) -> Table:
    figures = _figures(state, speed)
    table = Table(box=None, pad_edge=False)
    for name, _ in figures:
        table.add_column(name, justify="right")
    table.add_row(*(text for _, text in figures))
    return table


def _lines(console: Console, start: SimulationState) -> Callable[[SimulationState], None]:
    speed = _Speed(start)
    last = time.monotonic()

    def show(state: SimulationState) -> None:
        nonlocal last
        now = time.monotonic()
        if state.done < state.images and now - last < _SECONDS_BETWEEN_LINES:
            return
        last = now
        line = ", ".join(f"{name} {text}" for name, text in _figures(state, speed))
        console.print(line, highlight=False, soft_wrap=True)

    return show


class _Speed:
    """Images a second since the start."""

    def __init__(self, start: SimulationState) -> None:
        self._began, self._before = time.monotonic(), start.done

    def __call__(self, state: SimulationState) -> float:
        return (state.done - self._before) / max(time.monotonic() - self._began, 1e-9)


def _figures(state: SimulationState, speed: _Speed) -> list[tuple[str, str]]:
    rate = speed(state)
    left = "-" if not rate else _duration((state.images - state.done) / rate)
    known = state.done > 0
    return [
        ("images", f"{state.done:,} of {state.images:,}"),
        *(
            [("accuracy", f"{100 * state.accuracy:.2f} %")]
            if known and state.accuracy is not None
            else []
        ),
        *([("spikes a neuron", f"{state.spikes_per_neuron:.4f}")] if known else []),
        ("images a second", f"{rate:,.3g}" if rate else "-"),
        ("time left", left),
    ]


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
