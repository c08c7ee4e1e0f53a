"""What generated programs say when they fail."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

import brian2 as b2

from bsnn.errors import SimulationError

__all__ = ["words_of_programs"]

_COMMAND = "devices.cpp_standalone.run_cmd_unix"
_ERRORS = "errors.txt"
_MOST = 500


@contextmanager
def words_of_programs(folder: Path) -> Iterator[None]:
    """Let the error of a program that fails within the block say what the program has said.

    Brian2 prints what a program has written, and leaves its standard error to the terminal.

    Parameters
    ----------
    folder : path
        Of the generated project.
    """
    before = b2.prefs[_COMMAND]
    b2.prefs[_COMMAND] = ["sh", "-c", f'exec ./main "$@" 2> {_ERRORS}', "main"]
    printed = io.StringIO()
    try:
        with redirect_stdout(printed):
            yield
    except SimulationError as error:
        errors = folder / _ERRORS
        said = (errors.read_text(errors="replace") if errors.is_file() else "").strip()
        said = said or printed.getvalue().strip() or "nothing"
        raise SimulationError(f"{error}. The program has said: {said[-_MOST:]}") from None
    finally:
        b2.prefs[_COMMAND] = before
