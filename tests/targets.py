"""Targets of Brian2's runtime mode for `pytest.mark.parametrize`."""

from __future__ import annotations

import pytest

#: Cython compiles each statement for itself, which takes long: always tested are few networks with
#: all of our templates (`cython_target`).
RUNTIME_TARGETS = ["numpy", pytest.param("cython", marks=pytest.mark.long)]
