"""How far a simulation is: a table in a terminal, lines elsewhere."""

from __future__ import annotations

import functools
import io

import pytest
from rich.console import Console

import bsnn.progress
from bsnn.progress import SimulationState, simulation_progress


@pytest.fixture
def shown(monkeypatch):
    """Return a function that lets the console be a terminal or not, and returns what it shows."""

    def console(terminal: bool) -> io.StringIO:
        written = io.StringIO()
        made = functools.partial(Console, file=written, force_terminal=terminal, width=100)
        monkeypatch.setattr(bsnn.progress, "Console", lambda stderr: made())
        return written

    return console


def test_a_table_in_a_terminal(shown):
    written = shown(terminal=True)
    with simulation_progress(SimulationState(0, 40)) as show:
        show(SimulationState(10, 40, 0.9, 1.25))
        show(SimulationState(40, 40, 0.925, 1.5))
    text = written.getvalue()
    for figure in ("accuracy", "spikes a neuron", "40 of 40", "92.50 %", "1.5000", "0:00:00"):
        assert figure in text, figure


def test_lines_elsewhere(shown, monkeypatch):
    """One now and then, and one at the end; none has a control character."""
    written = shown(terminal=False)
    now = [100.0]
    monkeypatch.setattr(bsnn.progress.time, "monotonic", lambda: now[0])
    with simulation_progress(SimulationState(20, 100, 0.5, 1)) as show:
        for done in (30, 40, 60, 80, 100):
            now[0] += 6
            show(SimulationState(done, 100, done / 100, 0.5))
    assert written.getvalue().splitlines() == [
        # 20 of them in 12 s, and 60 are left
        "images 40 of 100, accuracy 40.00 %, spikes a neuron 0.5000, images a second 1.67, "
        "time left 0:00:36",
        "images 80 of 100, accuracy 80.00 %, spikes a neuron 0.5000, images a second 2.5, "
        "time left 0:00:08",
        "images 100 of 100, accuracy 100.00 %, spikes a neuron 0.5000, images a second 2.67, "
        "time left 0:00:00",
    ]


def test_without_labels_there_is_no_accuracy(shown):
    written = shown(terminal=False)
    with simulation_progress(SimulationState(0, 5)) as show:
        show(SimulationState(5, 5, None, 0.1))
    assert "accuracy" not in written.getvalue()


def test_nothing_is_shown_if_nobody_wants_it(shown):
    written = shown(terminal=True)
    with simulation_progress(SimulationState(0, 5), disable=True) as show:
        show(SimulationState(5, 5))
    assert not written.getvalue()
