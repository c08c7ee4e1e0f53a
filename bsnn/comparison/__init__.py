"""Where, by how much and why a spiking network departs from the trained one."""

from bsnn.comparison.advice import CHANGES, Advice, Change, Changed, Outcome
from bsnn.comparison.causes import CAUSES, Cause, Situation
from bsnn.comparison.comparison import Comparison, Rung, compare
from bsnn.comparison.forecast import Forecast, forecast
from bsnn.comparison.measures import CauseShare, LayerComparison, UnitComparison
from bsnn.comparison.verdict import VERDICTS, Thresholds

__all__ = [
    "CAUSES",
    "CHANGES",
    "VERDICTS",
    "Advice",
    "Cause",
    "CauseShare",
    "Change",
    "Changed",
    "Comparison",
    "Forecast",
    "LayerComparison",
    "Outcome",
    "Rung",
    "Situation",
    "Thresholds",
    "UnitComparison",
    "compare",
    "forecast",
]
