"""What neuron and synapse models have in common: a name, and parameters with units."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any, ClassVar, TypeVar

import brian2 as b2
import numpy as np

from bsnn.errors import SettingsError

__all__ = ["NamedModel", "parameter_equations"]

Model = TypeVar("Model", bound="NamedModel")


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class NamedModel:
    """Brian2 strings under a name.

    Attributes
    ----------
    name : str
        As in the registry of its kind.
    about : str
        One line on what it is.
    parameters : mapping of str to brian2.Quantity or float
        Names in the equations, with their values.
    """

    name: str
    about: str = ""
    parameters: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    #: What it is, for messages.
    kind: ClassVar[str]

    def with_parameters(self: Model, **values: Any) -> Model:
        """Return the same model with other values of some parameters.

        Raises
        ------
        SettingsError
            There is no such parameter, or the value has another unit.
        """
        for name, value in values.items():
            if name not in self.parameters:
                known = ", ".join(self.parameters) or "none"
                raise SettingsError(
                    f"The {self.kind} {self.name!r} has no parameter {name!r}. There are: {known}."
                )
            if not b2.have_same_dimensions(value, self.parameters[name]):
                raise SettingsError(
                    f"The parameter {name!r} of the {self.kind} {self.name!r} is given as {value}; "
                    f"its unit is that of {self.parameters[name]}."
                )
        return dataclasses.replace(self, parameters={**self.parameters, **values})

    def __str__(self) -> str:
        values = ", ".join(f"{name} = {_text(value)}" for name, value in self.parameters.items())
        return f"{self.name} ({values})" if values else self.name


def parameter_equations(
    parameters: Mapping[str, Any], varied: Collection[str] = frozenset()
) -> list[str]:
    """Return Brian2 equations that declare parameters; those that are not `varied` are shared."""
    lines = []
    for name, value in parameters.items():
        unit = "1" if b2.is_dimensionless(value) else repr(b2.get_unit(b2.get_dimensions(value)))
        shared = "constant" if name in varied else "shared, constant"
        lines.append(f"{name} : {unit} ({shared})")
    return lines


def _text(value: Any) -> str:
    if np.isfinite(value) or b2.is_dimensionless(value):
        return str(value)
    # no unit is the best one for infinity
    return f"{float(value)} {b2.get_unit(b2.get_dimensions(value))}"
