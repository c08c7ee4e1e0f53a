"""What a check has found, as plain data."""

from __future__ import annotations

import dataclasses
from typing import Any

__all__ = ["Line", "Report"]


@dataclasses.dataclass(frozen=True)
class Line:
    """One line of the report.

    Attributes
    ----------
    check : str
        The check that it belongs to, a name in `bsnn.gpu_check.CHECKS`.
    name : str
        What was looked at.
    passed : bool or None
        None for what is told without being judged.
    found : str
        The figure, as a reader takes it.
    numbers : dict
        The figures by name, as a program takes them.
    detail : str
        What the figure has to keep to, or what went wrong.
    """

    check: str
    name: str
    passed: bool | None
    found: str
    numbers: dict[str, Any] = dataclasses.field(default_factory=dict)
    detail: str = ""


@dataclasses.dataclass
class Report:
    """All lines, in the order in which they came."""

    lines: list[Line] = dataclasses.field(default_factory=list)
    #: Whether all checks were made.
    complete: bool = False

    @property
    def failed(self) -> int:
        """Lines that were judged and did not pass."""
        return sum(line.passed is False for line in self.lines)

    @property
    def passed(self) -> int:
        """Lines that were judged and passed."""
        return sum(line.passed is True for line in self.lines)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON takes it."""
        return {
            "complete": self.complete,
            "passed": self.passed,
            "failed": self.failed,
            "lines": [dataclasses.asdict(line) for line in self.lines],
        }
