"""Presenting images to a spiking network, and the result."""

from bsnn.simulation.axes import Axis, parse_axis
from bsnn.simulation.export import TARGETS, export
from bsnn.simulation.refit import refit_thresholds
from bsnn.simulation.result import PopulationResult, Result, load_result
from bsnn.simulation.simulator import IncompleteSimulation, Interrupted, simulate
from bsnn.simulation.sweeping import Sweep, SweepPoint, SweepRun, load_sweep, sweep

__all__ = [
    "TARGETS",
    "Axis",
    "IncompleteSimulation",
    "Interrupted",
    "PopulationResult",
    "Result",
    "Sweep",
    "SweepPoint",
    "SweepRun",
    "export",
    "load_result",
    "load_sweep",
    "parse_axis",
    "refit_thresholds",
    "simulate",
    "sweep",
]
