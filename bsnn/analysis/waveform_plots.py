"""Plots of waveforms that a simulated circuit has written (VCD)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from bsnn.analysis.style import PALETTE, bare, new_figure
from bsnn.errors import SettingsError

__all__ = ["waveform_figure"]

#: What the pooling block and its neighbours tell each other.
_HANDSHAKE = (
    "s_axis_tvalid", "s_axis_tready", "s_axis_tuser", "s_axis_tdata",
    "m_axis_tvalid", "m_axis_tready", "m_axis_tlast", "m_axis_tdata",
)  # fmt: skip


def waveform_figure(
    path: str | os.PathLike[str],
    signals: Sequence[str] = _HANDSHAKE,
    *,
    clock: str = "clk_i",
    first: int = 0,
    cycles: int = 40,
) -> Figure:
    """Return signals against clock cycles, as they are when the clock rises.

    Parameters
    ----------
    path : path
        A VCD file, such as ``bsnn cosim --wave`` writes.
    signals : sequence of str
        Names, in the outermost scope that has them.
    clock : str
        The signal whose rising edges are the cycles.
    first, cycles : int
        Which cycles are shown.

    Raises
    ------
    SettingsError
        The library that reads such files is missing, the file has no such signal or too few cycles.
    """
    sampled = _sample(path, signals, clock)
    shown = {name: values[first : first + cycles] for name, values in sampled.items()}
    count = len(shown[signals[0]])
    if not count:
        raise SettingsError(f"{path} has {len(sampled[signals[0]])} cycles; none from {first} on.")
    figure = new_figure(10, 0.42 * len(signals) + 0.8)
    axes = figure.add_subplot()
    for row, name in enumerate(signals):
        values, base = shown[name], len(signals) - 1 - row
        if max(sampled[name]) <= 1:
            edges = np.repeat(np.arange(count + 1), 2)[1:-1]
            axes.plot(edges + first, base + 0.7 * np.repeat(values, 2), color=PALETTE[0], lw=1.4)
        else:
            _draw_words(axes, values, base, first)
    axes.set_yticks([len(signals) - 1 - row + 0.35 for row in range(len(signals))], signals)
    axes.set_xlim(first, first + count)
    axes.set_ylim(-0.2, len(signals))
    axes.set_xlabel("clock cycle")
    bare(axes, left=False)
    return figure


def _draw_words(axes, values: list[int], base: int, first: int) -> None:
    """Draw boxes with the value of a bus, for as long as it holds."""
    starts = [0, *(k for k in range(1, len(values)) if values[k] != values[k - 1])]
    for start, end in zip(starts, [*starts[1:], len(values)], strict=True):
        x = first + start
        axes.fill([x, x, first + end, first + end], [base, base + 0.7, base + 0.7, base],
                  facecolor="#dbeafe", edgecolor=PALETTE[0], lw=0.8)  # fmt: skip
        if end - start > 0.45 * len(f"{values[start]:x}") * len(values) / 40:
            axes.text((2 * x + end - start) / 2, base + 0.33, f"{values[start]:x}", fontsize=7,
                      ha="center", va="center", clip_on=True)  # fmt: skip


def _sample(
    path: str | os.PathLike[str], signals: Sequence[str], clock: str
) -> dict[str, list[int]]:
    try:
        from vcd.reader import TokenKind, tokenize
    except ModuleNotFoundError:
        raise SettingsError(
            "Waveforms are read with pyvcd: install it with pip install 'bsnn[hardware]'."
        ) from None
    codes: dict[str, str] = {}
    now: dict[str, int] = {}
    found: dict[str, list[int]] = {name: [] for name in signals}
    with open(path, "rb") as file:
        for token in tokenize(file):
            # what it is depends on the kind
            data: Any = token.data
            if token.kind is TokenKind.VAR:
                name = data.reference
                if name in (*signals, clock) and name not in codes.values():
                    codes.setdefault(data.id_code, name)
            elif token.kind is TokenKind.ENDDEFINITIONS:
                missing = {*signals, clock} - {*codes.values()}
                if missing:
                    raise SettingsError(f"{path} has no signal {', '.join(sorted(missing))}.")
            elif token.kind in (TokenKind.CHANGE_SCALAR, TokenKind.CHANGE_VECTOR):
                name = codes.get(data.id_code)
                if name is None:
                    continue
                value = data.value
                # unknown until it was first written
                value = int(value) if str(value).isdigit() else 0
                if name == clock and value and not now.get(clock):
                    # what was there when the clock rose: what it changes comes after
                    for signal in signals:
                        found[signal].append(now.get(signal, 0))
                now[name] = value
    return found
