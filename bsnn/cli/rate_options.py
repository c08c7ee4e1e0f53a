"""Options of `bsnn convert` for rate coding."""

from __future__ import annotations

import typer

from bsnn.cli.conversion_options import CONVERSION_OPTIONS
from bsnn.cli.groups import option
from bsnn.conversion import (
    AVERAGE,
    BALANCES,
    DEFAULT_GATE,
    ENCODERS,
    GATE_QUANTITIES,
    GATES,
    RESETS,
    RESIDUAL_RULES,
    RateModel,
)

PANEL = RateModel.title

CONVERSION_OPTIONS.add(
    RateModel.coding,
    (
        option(
            "encoder",
            str | None,
            typer.Option(
                "--encoder",
                "--input",
                help="How images enter: "
                + "; ".join(f"{e.name} ({e.description})" for e in ENCODERS.values())
                + ".",
                rich_help_panel=PANEL,
            ),
        ),
        option(
            "input_scale",
            float | None,
            typer.Option(
                help="Value (after normalisation) of one spike a step; by default the largest that "
                "a pixel can have.",
                rich_help_panel=PANEL,
            ),
        ),
        option(
            "reset",
            str | None,
            typer.Option(help=f"After a spike: {', '.join(RESETS)}.", rich_help_panel=PANEL),
        ),
        option(
            "balance",
            str | None,
            typer.Option(
                help=f"Where the scales go: {', '.join(BALANCES)}. Both give the same spikes.",
                rich_help_panel=PANEL,
            ),
        ),
        option(
            "channels",
            bool | None,
            typer.Option(
                "--channels/--layers",
                help="A scale for each channel, not for each layer.",
                rich_help_panel=PANEL,
            ),
        ),
        option(
            "residual",
            str | None,
            typer.Option(
                help="Where branches meet: "
                + "; ".join(f"{name} ({what})" for name, what in RESIDUAL_RULES.items())
                + ".",
                rich_help_panel=PANEL,
            ),
        ),
        option(
            "gate",
            str | None,
            typer.Option(
                help="How max-pooling chooses the neuron whose spikes pass (by default "
                f"{DEFAULT_GATE}): {', '.join([*GATES, AVERAGE])}; or an expression over "
                f"{', '.join(GATE_QUANTITIES)}.",
                rich_help_panel=PANEL,
            ),
        ),
        option(
            "initial_potential",
            float | None,
            typer.Option(
                help="At the beginning of an image, as a share of the threshold.",
                rich_help_panel=PANEL,
            ),
        ),
        option(
            "potential_floor",
            float | None,
            typer.Option(help="Lowest potential, in thresholds.", rich_help_panel=PANEL),
        ),
        option(
            "norm_steps",
            int | None,
            typer.Option(
                min=1, help="Steps for which Spike-Norm shows an image.", rich_help_panel=PANEL
            ),
        ),
        option(
            "seed",
            int | None,
            typer.Option(min=0, help="Of the input's noise in Spike-Norm.", rich_help_panel=PANEL),
        ),
    ),
)
