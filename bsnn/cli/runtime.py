"""Short simulations in this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import brian2 as b2

__all__ = ["nothing_compiled"]


@contextmanager
def nothing_compiled() -> Iterator[None]:
    """Let Brian2 run numpy code: what is simulated is too short to be worth compiling."""
    before = b2.prefs.codegen.target
    b2.prefs.codegen.target = "numpy"
    try:
        yield
    finally:
        b2.prefs.codegen.target = before
