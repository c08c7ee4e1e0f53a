"""Options for the fields of `bsnn.Setup` and `bsnn.Run`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from bsnn.brian import parse_quantity
from bsnn.cli.groups import group, option
from bsnn.cli.python_source import named_in_file
from bsnn.devices import DEVICES
from bsnn.errors import SettingsError
from bsnn.network import (
    CONNECTIVITIES,
    NEURAL_CODES,
    NEURON_MODELS,
    PERTURBATIONS,
    NeuronModel,
    neuron_model,
)
from bsnn.settings import Run, Setup

__all__ = ["RUN_OPTIONS", "SETUP_OPTIONS", "SetupOptions", "run_options", "setup_options"]

_NETWORK, _RUNNING = "Network", "Running"


def _texts(entries: Mapping[str, Any]) -> str:
    return "; ".join(f"{name} ({what})" for name, what in entries.items())


#: By field of a `Setup`, the type of its option and what it says; perturbations have one each.
SETUP_OPTIONS: dict[str, tuple[Any, Any]] = {
    "form": (
        str | None,
        typer.Option(
            help="Form of the neuron: "
            + "; ".join(f"{', '.join(code.forms)} ({name})" for name, code in NEURAL_CODES.items())
            + ".",
            rich_help_panel=_NETWORK,
        ),
    ),
    "connectivity": (
        str,
        typer.Option(
            help=f"How connections are kept: {_texts(CONNECTIVITIES)}.", rich_help_panel=_NETWORK
        ),
    ),
    "precision": (
        str,
        typer.Option(
            help="Of potentials and shared weights: float64 or float32.", rich_help_panel=_NETWORK
        ),
    ),
    "neuron": (
        str | None,
        typer.Option(
            metavar="NAME|FILE.py:NAME",
            help="What the neurons are: "
            + _texts({name: model.coding for name, model in NEURON_MODELS.items()})
            + "; or a neuron model of your own (such as a bsnn.RateNeuron) in a Python file.",
            rich_help_panel=_NETWORK,
        ),
    ),
    "seed": (
        int,
        typer.Option(
            min=0,
            help="Of all that is random: input, neurons, perturbations.",
            rich_help_panel=_NETWORK,
        ),
    ),
    "batch": (
        int | None,
        typer.Option(
            min=1,
            help="Images that are simulated side by side in a run; by default 1, on CUDA all.",
            rich_help_panel=_NETWORK,
        ),
    ),
}

_PARAMETERS = option(
    "parameters",
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="A parameter of the neuron, such as tau=20*ms.",
        rich_help_panel=_NETWORK,
    ),
)

#: By field of a `Run`, the type of its option and what it says.
RUN_OPTIONS: dict[str, tuple[Any, Any]] = {
    "device": (
        str,
        typer.Option(help=f"Where to simulate: {', '.join(DEVICES)}.", rich_help_panel=_RUNNING),
    ),
    "workers": (
        int,
        typer.Option(
            min=1,
            help="Processes that share the images of a simulation; each builds the network.",
            rich_help_panel=_RUNNING,
        ),
    ),
    "cluster": (
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Simulate on the Dask cluster with this scheduler, such as tcp://host:8786.",
            rich_help_panel=_RUNNING,
        ),
    ),
    "chunk": (
        int | None,
        typer.Option(
            min=1, help="Most images in one run of the network.", rich_help_panel=_RUNNING
        ),
    ),
    "resume": (
        bool,
        typer.Option(
            "--resume",
            help="Go on with what an earlier run with the same --out has kept.",
            rich_help_panel=_RUNNING,
        ),
    ),
    "directory": (
        Path | None,
        typer.Option("--build-dir", help="Keep the generated code here.", rich_help_panel=_RUNNING),
    ),
}


@dataclasses.dataclass(frozen=True)
class SetupOptions:
    """What options say of a `Setup`; what its neurons are depends on the network, too."""

    fields: Mapping[str, Any]
    parameters: Sequence[str] = ()

    def of(self, coding: str) -> Setup:
        """Return the record for a network in a coding.

        Raises
        ------
        SettingsError
            There is no such neuron for the coding, no such parameter, or a value is no quantity of
            its unit.
        """
        fields = dict(self.fields)
        if "neuron" in fields:
            fields["neuron"] = _chosen_neuron(fields["neuron"], self.parameters, coding)
        return Setup(**fields)


def setup_options(*names: str) -> Any:
    """Return options for fields of a `Setup`, which a command gets as `SetupOptions`."""
    defaults = {field.name: field.default for field in dataclasses.fields(Setup)}
    options = []
    for name in names:
        if name == "perturbations":
            options += [
                option(
                    perturbation,
                    float | None,
                    typer.Option(
                        help=f"{entry.about} ({entry.unit}).", rich_help_panel="Perturbations"
                    ),
                )
                for perturbation, entry in PERTURBATIONS.items()
            ]
            continue
        options.append(option(name, *SETUP_OPTIONS[name], defaults[name]))
        if name == "neuron":
            options.append(_PARAMETERS)

    def collect(values: Mapping[str, Any]) -> SetupOptions:
        fields = {name: values[name] for name in names if name in values}
        if "perturbations" in names:
            strengths = {name: values[name] for name in PERTURBATIONS}
            given = {name: value for name, value in strengths.items() if value is not None}
            fields["perturbations"] = given
        return SetupOptions(fields, values.get("parameters") or ())

    return group(tuple(options), collect)


def run_options(*names: str, **defaults: Any) -> Any:
    """Return options for fields of a `Run`, with defaults in place of the record's."""
    known = {field.name: field.default for field in dataclasses.fields(Run)} | defaults
    options = [option(name, *RUN_OPTIONS[name], known[name]) for name in names]
    return group(tuple(options), lambda values: Run(**values))


def _chosen_neuron(name: str | None, settings: Sequence[str], coding: str) -> NeuronModel:
    wanted: Any = name
    if name is not None and ".py:" in name:
        wanted = named_in_file(name)
        if not isinstance(wanted, NeuronModel):
            raise SettingsError(
                f"{name} is a {type(wanted).__name__}, not a bsnn.RateNeuron or bsnn.TtfsNeuron."
            )
    neuron = neuron_model(wanted, coding)
    values = {}
    for setting in settings:
        parameter, equals, value = setting.partition("=")
        if not equals:
            raise SettingsError(f"--set {setting!r}: write NAME=VALUE, such as tau=20*ms.")
        values[parameter.strip()] = parse_quantity(value)
    return neuron.with_parameters(**values) if values else neuron
