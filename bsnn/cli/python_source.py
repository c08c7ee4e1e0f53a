"""What a command line names as ``FILE.py:NAME``."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

from bsnn.errors import ConversionError

__all__ = ["named_in_file"]


def named_in_file(source: str) -> Any:
    """Run a Python file and return what it calls by a name; `source` is ``FILE.py:NAME``.

    Raises
    ------
    ConversionError
        There is no such file, it cannot be run, or has no such name.
    """
    file_name, _, name = source.rpartition(":")
    path = Path(file_name)
    if not path.is_file():
        raise ConversionError(f"There is no file {path}. Write FILE.py:NAME.")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ConversionError(f"{path} is no Python file.")
    module = importlib.util.module_from_spec(spec)
    # what stands beside the file can be imported from it, as if it were run
    sys.path.insert(0, str(path.parent.absolute()))
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ConversionError(f"{path} cannot be run: {type(error).__name__}: {error}") from error
    finally:
        sys.path.pop(0)
    if not hasattr(module, name):
        raise ConversionError(f"{path} has nothing called {name!r}.")
    return getattr(module, name)
