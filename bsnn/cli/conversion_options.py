"""Options of `bsnn convert` that only one coding has, by coding."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from bsnn.cli.groups import group
from bsnn.errors import SettingsError
from bsnn.registry import Registry

__all__ = ["CONVERSION_OPTIONS", "ConversionOptions", "conversion_options"]

#: By coding, options that are arguments of its converter, by their names there.
CONVERSION_OPTIONS: Registry[tuple[inspect.Parameter, ...]] = Registry("coding")


class ConversionOptions:
    """The options of all codings that were given."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._given = {name: value for name, value in values.items() if value is not None}

    def of(self, coding: str) -> dict[str, Any]:
        """Return what was given for a coding.

        Raises
        ------
        SettingsError
            Something was given that only another coding has.
        """
        own = {option.name for option in CONVERSION_OPTIONS.get(coding, ())}
        for other, options in CONVERSION_OPTIONS.items():
            given = [_flag(o) for o in options if o.name in self._given and o.name not in own]
            if given:
                raise SettingsError(f"{', '.join(given)}: only with --coding {other}.")
        return self._given


def conversion_options() -> Any:
    """Return the options of all codings, which a command gets as `ConversionOptions`."""
    options = {option.name: option for own in CONVERSION_OPTIONS.values() for option in own}
    return group(tuple(options.values()), ConversionOptions)


def _flag(option: inspect.Parameter) -> str:
    """Return what an option is called on the command line."""
    (settings,) = option.annotation.__metadata__
    # in an annotation Typer takes the first of the names for the default
    names = (settings.default, *(settings.param_decls or ()))
    own = f"--{option.name.replace('_', '-')}"
    return next((name for name in names if isinstance(name, str)), own).split("/")[0]
