"""Where, by how much and why a spiking network departs from the trained one."""

from bsnn.comparison.advice import Advice, Outcome
from bsnn.comparison.causes import CAUSES, Cause, Situation
from bsnn.comparison.changes import CHANGES, Change, Changed
from bsnn.comparison.comparison import Comparison, Rung, compare
from bsnn.comparison.decomposition import DECOMPOSITIONS, ErrorDecomposition, decomposition_of
from bsnn.comparison.forecast import Forecast, forecast
from bsnn.comparison.measures import CauseShare, LayerComparison, UnitComparison
from bsnn.comparison.rate_decomposition import RateDecomposition
from bsnn.comparison.ttfs_decomposition import TtfsDecomposition
from bsnn.comparison.verdict import VERDICTS, Thresholds

__all__ = [
    "CAUSES",
    "CHANGES",
    "DECOMPOSITIONS",
    "VERDICTS",
    "Advice",
    "Cause",
    "CauseShare",
    "Change",
    "Changed",
    "Comparison",
    "ErrorDecomposition",
    "Forecast",
    "LayerComparison",
    "Outcome",
    "RateDecomposition",
    "Rung",
    "Situation",
    "Thresholds",
    "TtfsDecomposition",
    "UnitComparison",
    "compare",
    "decomposition_of",
    "forecast",
]
