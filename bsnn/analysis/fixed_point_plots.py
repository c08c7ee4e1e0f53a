"""Plots about hardware with numbers of a few bits."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure

from bsnn.analysis.style import MUTED, bare, new_figure, series

__all__ = ["mismatch_figure"]

# Where a share of nothing is drawn, on a logarithmic axis.
_NONE = 1e-7


def mismatch_figure(mismatches: Mapping[str, Mapping[int, float]], whole_bits: int) -> Figure:
    """Return the share of pooled spikes that differ from Brian2's against bits after the point.

    Parameters
    ----------
    mismatches : mapping of str to mapping of int to float
        By layer, then by bits after the point.
    whole_bits : int
        Bits before the point.
    """
    figure = new_figure(7, 4.3)
    axes = figure.add_subplot()
    for number, (name, by_bits) in enumerate(mismatches.items()):
        shares = [100 * max(share, _NONE) for share in by_bits.values()]
        axes.plot(list(by_bits), shares, marker="o", ms=4, label=name, **series(number))
    axes.axhline(100 * _NONE, color=MUTED, ls=":", lw=1)
    axes.text(0, 100 * _NONE * 1.3, "none", color=MUTED, fontsize=9)
    axes.set_yscale("log")
    axes.set_xlabel(f"bits after the point ({whole_bits} before it)")
    axes.set_ylabel("pooled spikes that differ from Brian2's (%)")
    axes.legend(frameon=False)
    bare(axes)
    return figure
