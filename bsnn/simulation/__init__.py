"""Presenting images to a spiking network, and the result."""

from bsnn.simulation.result import PopulationResult, Result, load_result
from bsnn.simulation.simulator import IncompleteSimulation, Interrupted, simulate

__all__ = [
    "IncompleteSimulation",
    "Interrupted",
    "PopulationResult",
    "Result",
    "load_result",
    "simulate",
]
