"""Options that say what the neurons are, and what is disturbed."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from bsnn.brian import NEURON_MODELS, PERTURBATIONS, NeuronModel, neuron_model
from bsnn.brian.quantities import parse_quantity
from bsnn.cli.python_source import named_in_file
from bsnn.errors import SettingsError

__all__ = ["Neuron", "Parameters", "chosen_neuron", "with_perturbations"]

Neuron = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|FILE.py:NAME",
        help="What the neurons are: "
        + "; ".join(f"{name} ({model.coding})" for name, model in NEURON_MODELS.items())
        + "; or a bsnn.RateNeuron or bsnn.TtfsNeuron of your own in a Python file.",
    ),
]

Parameters = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="NAME=VALUE", help="A parameter of the neuron, such as tau=20*ms."
    ),
]


def chosen_neuron(name: str | None, settings: Sequence[str] | None, coding: str) -> NeuronModel:
    """Return the neuron that the options name, with the parameters that they set.

    Raises
    ------
    SettingsError
        There is no such neuron for the coding, no such parameter, or a value is no quantity of its
        unit.
    """
    wanted: Any = name
    if name is not None and ".py:" in name:
        wanted = named_in_file(name)
        if not isinstance(wanted, NeuronModel):
            raise SettingsError(
                f"{name} is a {type(wanted).__name__}, not a bsnn.RateNeuron or bsnn.TtfsNeuron."
            )
    neuron = neuron_model(wanted, coding)
    values = {}
    for setting in settings or ():
        parameter, equals, value = setting.partition("=")
        if not equals:
            raise SettingsError(f"--set {setting!r}: write NAME=VALUE, such as tau=20*ms.")
        values[parameter.strip()] = parse_quantity(value)
    return neuron.with_parameters(**values) if values else neuron


def with_perturbations(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command an option for each perturbation; it gets those that were given as a dict."""
    signature = inspect.signature(command, eval_str=True)
    added = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[
                float | None,
                typer.Option(
                    help=f"{perturbation.about} ({perturbation.unit}).",
                    rich_help_panel="Perturbations",
                ),
            ],
        )
        for name, perturbation in PERTURBATIONS.items()
    ]

    @functools.wraps(command)
    def wrapped(**options: Any) -> None:
        strengths = {name: options.pop(name) for name in PERTURBATIONS}
        given = {name: strength for name, strength in strengths.items() if strength is not None}
        command(**options, perturbations=given)

    own = [p for p in signature.parameters.values() if p.name != "perturbations"]
    parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in (*own, *added)]
    wrapped.__signature__ = signature.replace(parameters=parameters)
    wrapped.__annotations__ = {p.name: p.annotation for p in parameters}
    return wrapped
