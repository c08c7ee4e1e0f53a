"""Options of `bsnn convert` for time-to-first-spike coding."""

from __future__ import annotations

import typer

from bsnn.cli.conversion_options import CONVERSION_OPTIONS
from bsnn.cli.groups import option
from bsnn.conversion import TtfsModel

PANEL = TtfsModel.title

CONVERSION_OPTIONS.add(
    TtfsModel.coding,
    (
        option(
            "rounding",
            bool | None,
            typer.Option(
                "--rounding/--no-rounding",
                help="Round spike times by half a step of initial charge (not the paper's).",
                rich_help_panel=PANEL,
            ),
        ),
    ),
)
