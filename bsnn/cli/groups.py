"""Options that a command takes together, as one argument."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any

__all__ = ["Group", "group", "grouped", "option"]


@dataclasses.dataclass(frozen=True)
class Group:
    """Options, and what they make together; the default of an argument of a `grouped` command.

    Attributes
    ----------
    options : tuple of inspect.Parameter
        Named as in the command's ``--help``.
    collect : callable
        Given the values by name, returns what the command is given.
    """

    options: tuple[inspect.Parameter, ...]
    collect: Callable[[Mapping[str, Any]], Any]


def group(
    options: tuple[inspect.Parameter, ...], collect: Callable[[Mapping[str, Any]], Any]
) -> Any:
    """Return a `Group` as what it stands for in a signature: the type that `collect` returns."""
    return Group(options, collect)


def option(name: str, kind: Any, settings: Any, default: Any = None) -> inspect.Parameter:
    """Return an option of a type, with what `typer.Option` has made of its settings."""
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, settings]
    )


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command, in the place of each argument whose default is a `Group`, its options."""
    signature = inspect.signature(command, eval_str=True)
    groups = {
        name: parameter.default
        for name, parameter in signature.parameters.items()
        if isinstance(parameter.default, Group)
    }

    @functools.wraps(command)
    def wrapped(**values: Any) -> None:
        for name, own in groups.items():
            values[name] = own.collect({each.name: values.pop(each.name) for each in own.options})
        command(**values)

    parameters = []
    for name, parameter in signature.parameters.items():
        own = groups[name].options if name in groups else (parameter,)
        parameters += [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own]
    # where inspect, and with it typer, looks first
    vars(wrapped)["__signature__"] = signature.replace(parameters=parameters)
    wrapped.__annotations__ = {each.name: each.annotation for each in parameters}
    return wrapped
