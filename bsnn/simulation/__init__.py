"""Presenting images to a spiking network, and the result."""

from bsnn.simulation.export import TARGETS, export
from bsnn.simulation.refit import refit_thresholds
from bsnn.simulation.result import PopulationResult, Result, load_result
from bsnn.simulation.simulator import IncompleteSimulation, Interrupted, simulate

__all__ = [
    "TARGETS",
    "IncompleteSimulation",
    "Interrupted",
    "PopulationResult",
    "Result",
    "export",
    "load_result",
    "refit_thresholds",
    "simulate",
]
