"""Where, by how much and why a spiking network departs from the trained one."""

# what the codings know of their traces is registered when it is imported
from bsnn.explain import rate_traces, ttfs_traces
from bsnn.explain.advice import Advice, Outcome
from bsnn.explain.causes import CAUSES, Cause, Situation
from bsnn.explain.changes import CHANGES, Change, Changed
from bsnn.explain.comparison import Comparison, Stage, compare
from bsnn.explain.decomposition import DECOMPOSITIONS, ErrorDecomposition, decomposition_of
from bsnn.explain.forecast import Forecast, forecast
from bsnn.explain.measures import CauseShare, LayerComparison, UnitComparison
from bsnn.explain.rate_decomposition import RateDecomposition
from bsnn.explain.ttfs_decomposition import TtfsDecomposition
from bsnn.explain.verdict import VERDICTS, Thresholds

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
    "Situation",
    "Stage",
    "Thresholds",
    "TtfsDecomposition",
    "UnitComparison",
    "compare",
    "decomposition_of",
    "forecast",
    "rate_traces",
    "ttfs_traces",
]
