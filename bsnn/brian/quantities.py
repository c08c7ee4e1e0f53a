"""Quantities with units, read from text."""

from __future__ import annotations

import re

import brian2 as b2
from brian2.units import allunits, stdunits

from bsnn.errors import SettingsError

__all__ = ["parse_quantity"]

_UNITS: dict[str, b2.Unit] = {
    name: unit
    for module in (allunits, stdunits)
    for name, unit in vars(module).items()
    if isinstance(unit, b2.Unit)
}

_QUANTITY = re.compile(r"\s*([^\s*]+)\s*(?:\*\s*(\w+)\s*)?")


def parse_quantity(text: str) -> b2.Quantity | float:
    """Read a number, or a number and a unit, such as ``0.1``, ``20*ms`` or ``inf*ms``.

    Raises
    ------
    SettingsError
        It is neither.
    """
    found = _QUANTITY.fullmatch(text)
    try:
        number = float(found[1])
        return number if found[2] is None else number * _UNITS[found[2]]
    except (TypeError, ValueError, KeyError):
        raise SettingsError(
            f"{text!r} is no quantity. Write a number, or a number times a unit that Brian2 knows, "
            "such as 0.1, 20*ms, -65*mV or inf*ms."
        ) from None
