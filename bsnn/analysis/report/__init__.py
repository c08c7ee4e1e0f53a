"""A report on a network: one page of HTML that needs nothing else."""

from bsnn.analysis.report.page import report_html, write_report

__all__ = ["report_html", "write_report"]
