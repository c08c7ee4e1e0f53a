"""Plots of networks: their layers as a diagram, weights and scales."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path

from bsnn.analysis.style import (
    MUTED,
    PALETTE,
    ROLE_COLOURS,
    bare,
    layer_axis,
    plain_numbers,
    tint,
)
from bsnn.conversion import SpikingModel
from bsnn.graph import Graph, Layer

__all__ = ["diagram_size", "draw_network", "draw_scales", "draw_weights"]

# In inches: a box, the gaps between boxes, and the space for arrows beside a column.
_WIDTH, _HEIGHT, _DOWN, _ACROSS = 1.55, 0.44, 0.24, 0.6

# Rows of boxes after which a new column may begin.
_ROWS = 9

# Layers that have no box of their own: they are told in that of the layer which they follow.
_FOLDED = {"relu": "ReLU", "flatten": "flat", "normalise": "normalised"}

_COLOURS = {
    "input": ROLE_COLOURS["input"],
    "conv2d": PALETTE[0],
    "linear": PALETTE[0],
    "max_pool2d": PALETTE[2],
    "avg_pool2d": PALETTE[2],
    "adaptive_avg_pool2d": PALETTE[2],
    "add": PALETTE[1],
}

_KINDS = {
    "conv2d": "conv",
    "linear": "dense",
    "max_pool2d": "max pool",
    "avg_pool2d": "average",
    "adaptive_avg_pool2d": "average",
    "pad_channels": "pad channels",
}


@dataclasses.dataclass(frozen=True)
class _Box:
    name: str
    text: str
    colour: str
    sources: tuple[str, ...]


class _Place(NamedTuple):
    """Centre of a box, in inches, and its column."""

    x: float
    y: float
    column: int


def draw_network(axes: Axes, graph: Graph) -> None:
    """Draw a network as boxes and arrows, from top to bottom, with the shapes of its values.

    A rectification is told in the box of the layer before it. Long networks go on in further
    columns, which begin where the values of a single layer lead on. Branches of residual networks
    lead around the boxes that they skip.
    """
    boxes = _boxes(graph)
    places, columns = _layout(boxes)
    for box in boxes.values():
        x, y, _ = places[box.name]
        axes.add_patch(
            FancyBboxPatch(
                (x - _WIDTH / 2, y - _HEIGHT / 2), _WIDTH, _HEIGHT, lw=1.2,
                boxstyle="round,pad=0,rounding_size=0.06", edgecolor=box.colour,
                facecolor=tint(box.colour, 0.14)(1.0), gid=f"box {box.name}",
            )
        )  # fmt: skip
        axes.text(x, y + 0.085, box.name, ha="center", va="center", fontsize=8, fontweight="bold")
        axes.text(x, y - 0.105, box.text, ha="center", va="center", fontsize=6.8)
    for box in boxes.values():
        for source in box.sources:
            axes.add_patch(_arrow(places[source], places[box.name], box.name, source))
    width, height = _extent(places, columns)
    axes.set_xlim(-_WIDTH / 2 - 0.05, width - _WIDTH / 2 - 0.05)
    axes.set_ylim(_HEIGHT / 2 + 0.05 - height, _HEIGHT / 2 + 0.05)
    axes.set_aspect("equal")
    axes.set_axis_off()


def diagram_size(graph: Graph) -> tuple[float, float]:
    """Return width and height, in inches, in which the text of `draw_network` fits its boxes."""
    return _extent(*_layout(_boxes(graph)))


def _extent(places: dict[str, _Place], columns: Sequence[float]) -> tuple[float, float]:
    height = max(-place.y for place in places.values()) + _HEIGHT + 0.1
    return columns[-1] + 0.1, height


def _boxes(graph: Graph) -> dict[str, _Box]:
    boxes: dict[str, _Box] = {}
    shown: dict[str, str] = {}
    for layer in graph:
        folded = layer.kind in _FOLDED and graph.consumers[layer.inputs[0]] == (layer.name,)
        if folded:
            before = boxes[shown[layer.inputs[0]]]
            text = before.text
            if layer.kind != "flatten":
                text = f"{text}, {_FOLDED[layer.kind]}"
            boxes[before.name] = dataclasses.replace(before, text=text)
            shown[layer.name] = before.name
            continue
        what = _KINDS.get(layer.kind, layer.kind) + _geometry(layer)
        shape = "×".join(map(str, graph.shapes[layer.name]))
        text = shape if what == layer.name else f"{what}  {shape}"
        boxes[layer.name] = _Box(
            layer.name, text, _COLOURS.get(layer.kind, MUTED), tuple(shown[s] for s in layer.inputs)
        )
        shown[layer.name] = layer.name
    return boxes


def _geometry(layer: Layer) -> str:
    if layer.kind == "conv2d":
        size = layer.weight.shape[2:]
    elif layer.kind in ("max_pool2d", "avg_pool2d"):
        size = layer.kernel
    else:
        return ""
    return " " + "×".join(map(str, size))


def _layout(boxes: dict[str, _Box]) -> tuple[dict[str, _Place], list[float]]:
    """Return the centre of each box, and the right ends of the columns."""
    rows: dict[str, int] = {}
    for box in boxes.values():
        rows[box.name] = 1 + max((rows[source] for source in box.sources), default=-1)
    columns: list[list[int]] = [[]]
    edges = [
        (source, rows[source], rows[box.name]) for box in boxes.values() for source in box.sources
    ]
    for row in range(max(rows.values()) + 1):
        leading_on = {source for source, start, end in edges if start < row <= end}
        if len(columns[-1]) >= _ROWS and len(leading_on) == 1:
            columns.append([])
        columns[-1].append(row)
    places: dict[str, _Place] = {}
    left, ends = 0.0, []
    for number_of_column, column in enumerate(columns):
        abreast = 1
        for height, row in enumerate(column):
            names = [name for name in boxes if rows[name] == row]
            abreast = max(abreast, len(names))
            for number, name in enumerate(names):
                x, y = left + number * (_WIDTH + 0.2), -height * (_HEIGHT + _DOWN)
                places[name] = _Place(x, y, number_of_column)
        left += abreast * (_WIDTH + 0.2) - 0.2 + _ACROSS
        ends.append(left)
    return places, ends


def _arrow(start: _Place, end: _Place, target: str, source: str) -> FancyArrowPatch:
    (x, y, column), (to_x, to_y, to_column) = start, end
    style: dict[str, Any] = {
        "arrowstyle": "-|>", "mutation_scale": 8, "lw": 1.0, "color": MUTED,
        "shrinkA": 0, "shrinkB": 0, "gid": f"arrow {source} {target}",
    }  # fmt: skip
    half, right = _HEIGHT / 2, _WIDTH / 2
    if to_column > column:
        # up again, to the next column
        turn = to_x - right - 0.16
        return _bent([(x + right, y), (turn, y), (turn, to_y), (to_x - right, to_y)], style)
    if y - to_y > 1.5 * (_HEIGHT + _DOWN) and to_x == x:
        aside = x + right + 0.22
        return _bent([(x + right, y), (aside, y), (aside, to_y), (x + right, to_y)], style)
    if to_x == x:
        return FancyArrowPatch((x, y - half), (x, to_y + half), **style)
    if to_x > x:
        # to a branch beside: out at the side, in from above
        return _bent([(x + right, y), (to_x, y), (to_x, to_y + half)], style)
    # back from a branch beside: down, then in from the side
    return _bent([(x, y - half), (x, to_y), (to_x + right, to_y)], style)


def _bent(points: list[tuple[float, float]], style: dict[str, Any]) -> FancyArrowPatch:
    return FancyArrowPatch(path=Path(points), **style)


def draw_weights(axes: Axes, graph: Graph) -> None:
    """Draw the weights of each layer: their median, middle half, and the range of 98 in 100.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Where to draw.
    graph : Graph
        The network.
    """
    names = [layer.name for layer in graph if "weight" in layer.arrays]
    axes.axhline(0, color=MUTED, lw=0.8, ls=":")
    for number, name in enumerate(names):
        weights = np.asarray(graph[name].arrays["weight"]).ravel()
        low, first, median, third, high = np.percentile(weights, (1, 25, 50, 75, 99))
        axes.vlines(number, low, high, color=PALETTE[0], lw=1.2)
        axes.vlines(number, first, third, color=PALETTE[0], lw=6)
        axes.plot(number, median, "_", color=PALETTE[4], ms=9, mew=2)
    layer_axis(axes, names)
    axes.set_ylabel("weights (median, half, 98 %)")
    bare(axes)


def draw_scales(axes: Axes, model: SpikingModel) -> None:
    """Draw the scale of each population; where channels have their own, their range."""
    names = list(model.scales)
    for number, name in enumerate(names):
        scale = np.atleast_1d(model.scales[name])
        if scale.size > 1:
            axes.vlines(number, scale.min(), scale.max(), color=PALETTE[0], lw=3)
        role = model.populations[name].role
        axes.plot(
            number, np.median(scale), "s" if role == "max_pool" else "o", color=ROLE_COLOURS[role],
            ms=6,
        )  # fmt: skip
    axes.set_yscale("log")
    plain_numbers(axes)
    layer_axis(axes, names)
    axes.set_ylabel("scale (trained network's units)")
    bare(axes)
