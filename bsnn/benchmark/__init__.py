"""Comparing bsnn with other ways to simulate the same network, on the same images."""

from bsnn.benchmark.registry import CHECKOUT_SYSTEMS, checkout_folder, choose, systems
from bsnn.benchmark.system import Case, Outcome, System
from bsnn.benchmark.usage import Usage, run_here, run_program

__all__ = [
    "CHECKOUT_SYSTEMS",
    "Case",
    "Outcome",
    "System",
    "Usage",
    "checkout_folder",
    "choose",
    "run_here",
    "run_program",
    "systems",
]
