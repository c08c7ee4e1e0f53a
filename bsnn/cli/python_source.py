"""What a command line names as ``FILE.py:NAME``."""

from __future__ import annotations

import contextlib
import difflib
import importlib.util
import inspect
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from bsnn.errors import ConversionError

__all__ = ["made_by", "named_in_file"]


def named_in_file(source: str) -> Any:
    """Run a Python file and return what it calls by a name; `source` is ``FILE.py:NAME``.

    The file is run as the module that it is: with its package, if it is in one, without the
    command's own arguments, and with what it prints on the standard error.

    Raises
    ------
    ConversionError
        There is no such file, it cannot be run, or has no such name.
    """
    file_name, _, name = source.rpartition(":")
    path = Path(file_name)
    if not path.is_file():
        instead = path.with_suffix(".py")
        advice = f" Is it {instead}:{name}?" if instead.is_file() else ""
        raise ConversionError(f"There is no file {path}. Write FILE.py:NAME.{advice}")
    found: Any = _module(path)
    for part in name.split("."):
        if not hasattr(found, part):
            if not name:
                raise ConversionError(f"{source} has no name after the colon. Write {path}:NAME.")
            close = difflib.get_close_matches(part, vars(found), 1)
            advice = f" Did you mean {close[0]!r}?" if close else ""
            raise ConversionError(f"{path} has nothing called {name!r}.{advice}")
        found = getattr(found, part)
    return found


def made_by(make: Any, source: str) -> Any:
    """Call what a command line names; `source` is how it names it.

    Raises
    ------
    ConversionError
        It cannot be called without arguments, or fails.
    """
    try:
        with contextlib.suppress(ValueError):  # what is written in C may say nothing
            inspect.signature(make).bind()
    except TypeError as error:
        raise ConversionError(
            f"{source} cannot be called without arguments ({error}). Name a function that needs "
            f"none, such as: def make_net(): return {getattr(make, '__name__', 'Net')}(...)"
        ) from error
    with _of_users(source):
        return make()


def _module(path: Path) -> ModuleType:
    path = path.resolve()
    folder, names = path.parent, [path.stem]
    while (folder / "__init__.py").is_file():
        names.insert(0, folder.name)
        folder = folder.parent
    name = ".".join(names)
    if len(names) == 1 and (name in sys.modules or name in sys.stdlib_module_names):
        # a file of the user's may be called types.py, which Python needs itself
        name = f"{name}_{path.parent.name}_of_user"
    # what stands beside the file can be imported from it, as if it were run, later too
    sys.path.insert(0, str(folder))
    arguments, sys.argv = sys.argv, [str(path)]
    try:
        with _of_users(str(path)), contextlib.redirect_stdout(sys.stderr):
            if len(names) > 1:
                return importlib.import_module(name)
            try:
                return _run(path, name)
            except ImportError as error:
                if "no known parent package" not in str(error):
                    raise
            # a folder without __init__.py is a package, too
            sys.path.insert(0, str(folder.parent))
            return importlib.import_module(f"{folder.name}.{path.stem}")
    finally:
        sys.argv = arguments


def _run(path: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ConversionError(f"{path} is no Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


@contextlib.contextmanager
def _of_users(what: str) -> Any:
    """Turn what a user's code raises into an error that says where."""
    try:
        yield
    except ConversionError:
        raise
    except SystemExit as error:
        reason = f" ({error.code})" if error.code not in (None, 0) else ""
        raise ConversionError(
            f"{_line(error)}{what} cannot be run: it ends the program{reason}. Put what is "
            'only for running it as a program under: if __name__ == "__main__":'
        ) from error
    except Exception as error:
        raise ConversionError(
            f"{_line(error)}{what} cannot be run: {type(error).__name__}: {error}"
        ) from error


def _line(error: BaseException) -> str:
    """Where in a user's file an error was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [
        frame
        for frame in frames
        if frame.filename != __file__
        and "site-packages" not in frame.filename
        and not frame.filename.startswith(("<", sys.base_prefix))
    ]
    return f"{own[-1].filename}, line {own[-1].lineno}: " if own else ""
