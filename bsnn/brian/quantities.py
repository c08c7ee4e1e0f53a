"""Quantities as texts, and as numbers with the name of a unit."""

from __future__ import annotations

import re
from typing import Any

import brian2 as b2
import numpy as np
from brian2.units import allunits, stdunits

from bsnn.errors import SettingsError

__all__ = ["numbers_and_unit", "parse_quantity", "quantity"]

# The units that Brian2 knows, by their names and by the symbols that it writes.
_UNITS: dict[str, b2.Unit] = {
    text: unit
    for module in (allunits, stdunits)
    for name, unit in vars(module).items()
    if isinstance(unit, b2.Unit)
    for text in (name, str(unit))
}

_QUANTITY = re.compile(r"\s*([^\s*]+)\s*(?:\*\s*(\w+)\s*)?")


def parse_quantity(text: str) -> Any:
    """Read a number, or a number and a unit, such as ``0.1``, ``20*ms`` or ``inf*ms``.

    Raises
    ------
    SettingsError
        It is neither.
    """
    found = _QUANTITY.fullmatch(text)
    try:
        number, unit = found.groups() if found else (text, None)
        return quantity(float(number), unit or "")
    except (SettingsError, ValueError):
        raise SettingsError(
            f"{text!r} is no quantity. Write a number, or a number times a unit that Brian2 knows, "
            "such as 0.1, 20*ms, -65*mV or inf*ms."
        ) from None


def quantity(number: float, unit: str) -> Any:
    """Return a number times a unit by its name; as it is for an empty name.

    Raises
    ------
    SettingsError
        There is no such unit.
    """
    if not unit:
        return number
    if unit not in _UNITS:
        raise SettingsError(f"Brian2 knows no unit {unit!r}. Write it as Brian2 does, such as ms.")
    return number * _UNITS[unit]


def numbers_and_unit(values: Any) -> tuple[tuple[float, ...], str]:
    """Return quantities as numbers and the name of a unit in which they are easy to read.

    `values` are numbers or quantities of one unit, as an array or a sequence.

    Raises
    ------
    SettingsError
        Their units differ.
    """
    values = list(values)
    if any(not b2.have_same_dimensions(value, values[0]) for value in values):
        raise SettingsError(
            f"The values {', '.join(map(str, values))} have different units. Give all of them one."
        )
    if not values or b2.is_dimensionless(values[0]):
        return tuple(float(value) for value in values), ""
    plain = np.array([float(value) for value in values])
    of_size = plain[np.isfinite(plain) & (plain != 0)]
    # of zero and infinity alone no size is known
    example: Any = b2.Quantity(
        of_size if of_size.size else [1e-3], dim=b2.get_dimensions(values[0])
    )
    unit = example.get_best_unit()
    # digits that come from multiplying and dividing by a unit are none of the value
    numbers = tuple(float(f"{number:.12g}") for number in plain / float(unit))
    return numbers, str(unit)
