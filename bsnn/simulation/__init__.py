"""Presenting images to a spiking network, and the result."""

from bsnn.simulation.result import PopulationResult, Result, load_result
from bsnn.simulation.simulator import Interrupted, simulate

__all__ = ["Interrupted", "PopulationResult", "Result", "load_result", "simulate"]
