"""The look of all figures: colours, lines and axes.

Series differ in colour and in the kind of line, so that they can be told apart without colours and
in print. The colours are those of Okabe and Ito, which the colour-blind tell apart; they are of
middle brightness, so that a figure can be shown on light and on dark ground.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

__all__ = [
    "FILL",
    "INK",
    "MUTED",
    "PALETTE",
    "ROLE_COLOURS",
    "RULE",
    "bare",
    "layer_axis",
    "new_figure",
    "plain_numbers",
    "series",
    "shade",
    "tint",
]

#: Colours of series, in order: blue, vermillion, green, purple, orange, sky blue, grey.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#737a84")

#: What is written and drawn on the ground; what is said by the way; thin lines; areas.
INK, MUTED, RULE, FILL = "#000000", "#666e79", "#c8cdd3", "#eef0f3"

#: Colours by what a population does.
ROLE_COLOURS = {
    "input": PALETTE[6],
    "neurons": PALETTE[0],
    "max_pool": PALETTE[2],
    "read_out": PALETTE[1],
}

_LINES = ("-", "--", "-.", ":")


def new_figure(width: float = 5.4, height: float = 3.5) -> Figure:
    """Return an empty figure, in inches."""
    return Figure(figsize=(width, height), layout="constrained")


def series(number: int) -> dict[str, Any]:
    """Return colour and kind of line of a series, as `Axes.plot` takes them."""
    return {"color": PALETTE[number % len(PALETTE)], "ls": _LINES[number % len(_LINES)], "lw": 1.5}


def bare(axes: Axes, *, left: bool = True) -> None:
    """Take away what frames the data without telling anything."""
    for side in ("top", "right", *([] if left else ["left"])):
        axes.spines[side].set_visible(False)
    for side in ("bottom", "left"):
        axes.spines[side].set_color(MUTED)
    axes.tick_params(which="both", color=MUTED)
    if not left:
        axes.tick_params(axis="y", which="both", length=0)


def shade(depth: float) -> tuple[float, float, float]:
    """Return a blue, from dark for a depth of 0 to light for 1."""
    dark, light = np.array(to_rgb("#0b3c7d")), np.array(to_rgb("#8fc7f3"))
    red, green, blue = (float(value) for value in dark + depth * (light - dark))
    return red, green, blue


def tint(colour: str = PALETTE[0], strongest: float = 0.75) -> LinearSegmentedColormap:
    """Return a colour map from nothing to a colour, which lets the ground shine through."""
    rgb = to_rgb(colour)
    return LinearSegmentedColormap.from_list("tint", [(*rgb, 0.0), (*rgb, strongest)])


def layer_axis(axes: Axes, names: Sequence[str]) -> None:
    """Make the horizontal axis one of layers."""
    long = len(names) > 12 or max(map(len, names), default=0) * len(names) > 60
    axes.set_xticks(
        range(len(names)), names, rotation=90 if long else 0, fontsize=7 if long else 8.5
    )
    axes.set_xlim(-0.6, len(names) - 0.4)


def plain_numbers(axes: Axes, which: str = "y") -> None:
    """Write the numbers of a logarithmic axis as numbers, not as powers."""
    formatter = FuncFormatter(lambda value, _: f"{value:,.10g}")
    (axes.yaxis if which == "y" else axes.xaxis).set_major_formatter(formatter)
