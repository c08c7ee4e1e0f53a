"""Looking at results: plots."""

# what the codings know of their traces is registered when it is imported
from bsnn.analysis import rate_traces, ttfs_traces

__all__ = ["rate_traces", "ttfs_traces"]
