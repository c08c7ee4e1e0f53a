"""Comparing bsnn with other ways to simulate the same network, on the same images."""

from bsnn.benchmark.compare import RATIOS, Comparison, Ratio, Row, compare
from bsnn.benchmark.registry import (
    CHECKOUT_SYSTEMS,
    OWN_SYSTEMS,
    checkout_folder,
    checkout_module,
    choose,
    systems,
)
from bsnn.benchmark.system import Case, Outcome, System
from bsnn.benchmark.usage import Usage, run_here, run_program

__all__ = [
    "CHECKOUT_SYSTEMS",
    "OWN_SYSTEMS",
    "RATIOS",
    "Case",
    "Comparison",
    "Outcome",
    "Ratio",
    "Row",
    "System",
    "Usage",
    "checkout_folder",
    "checkout_module",
    "choose",
    "compare",
    "run_here",
    "run_program",
    "systems",
]
