"""The folder for what is made once and used again."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

__all__ = ["CACHE_VARIABLE", "binary_cache"]

#: Environment variable that names the folder for what bsnn keeps between runs.
CACHE_VARIABLE = "BSNN_CACHE"


def binary_cache() -> Path:
    """Return the folder in which compiled binaries are kept."""
    folder = os.environ.get(CACHE_VARIABLE) or platformdirs.user_cache_dir("bsnn")
    return Path(folder) / "builds"
