"""Plots of sweeps: what is left of a network's accuracy when something is varied."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bsnn.analysis.style import MUTED, bare, new_figure, plain_numbers, series
from bsnn.errors import SettingsError
from bsnn.network import PERTURBATIONS
from bsnn.registry import Registry
from bsnn.simulation import Axis, Sweep, SweepPoint, SweepRun

__all__ = ["MEASURES", "Measure", "draw_sweep", "draw_sweep_map", "sweep_figure"]

# More curves than these are a map.
_CURVES = 6
# Positive values of which the largest is so many times the smallest are on a logarithmic scale.
_LOGARITHMIC = 50


@dataclasses.dataclass(frozen=True)
class Measure:
    """A figure of a simulation that can be drawn.

    Attributes
    ----------
    title : str
        For the axis.
    of : callable
        Given a run and the number of its images, the figure.
    percent : bool
        Whether it is a percentage of the images, whose number leaves a standard error.
    trained : callable
        Given a sweep, what the trained network has; None for nothing.
    """

    title: str
    of: Callable[[SweepRun, int], float]
    percent: bool = False
    trained: Callable[[Sweep], float | None] = lambda sweep: None


def _correct(run: SweepRun) -> int:
    assert run.correct is not None
    return run.correct


#: What can be drawn, by name.
MEASURES: Registry[Measure] = Registry(
    "measure",
    {
        "accuracy": Measure(
            "accuracy (%)",
            lambda run, images: 100 * _correct(run) / images,
            percent=True,
            trained=lambda sweep: None if sweep.ann_accuracy is None else 100 * sweep.ann_accuracy,
        ),
        "agreement": Measure(
            "same class as the trained network (%)",
            lambda run, images: 100 * run.same_class / images,
            percent=True,
        ),
        "spikes": Measure("spikes a neuron", lambda run, images: run.spikes_per_neuron),
        "operations": Measure(
            "synaptic operations (millions)", lambda run, images: run.synaptic_operations / 1e6
        ),
    },
)


def draw_sweep(
    axes: Axes,
    sweep: Sweep,
    *,
    vary: str | None = None,
    measure: str = "accuracy",
    label: str = "",
    number: int = 0,
) -> None:
    """Draw what was found against what was varied, and the trained network as a dotted line.

    One band is one standard error of the number of images; if there are several seeds, a second one
    goes from the lowest to the highest, and the line is their mean. Of two names that were varied
    together each value of the second has a curve, or, if these are many, the two are a map.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Where to draw.
    sweep : Sweep
        From `bsnn.sweep`, complete or not.
    vary : str, optional
        What is on the horizontal axis; by default the first that was varied.
    measure : str
        A name in `MEASURES`.
    label : str
        For the legend.
    number : int
        Of the (first) curve, which decides on colour and line.

    Raises
    ------
    SettingsError
        Nothing of this name was varied, more than two were varied together, there is no such
        measure, or it needs labels.
    """
    shown = _measure(sweep, measure)
    axis, other = _axis_and_other(sweep, vary)
    if other is None:
        _draw_curve(axes, axis, sweep.along(axis.name), shown, label, number)
    elif len(other.values) > _CURVES:
        draw_sweep_map(axes, sweep, vary=axis.name, measure=measure)
        return
    else:
        for place, value in enumerate(other.values):
            name = f"{other.name} {_text(value, other.unit)}"
            points = sweep.along(axis.name, **{other.name: value})
            _draw_curve(
                axes, axis, points, shown, f"{label}, {name}" if label else name, number + place
            )
    trained = shown.trained(sweep)
    if trained is not None:
        axes.axhline(trained, color=MUTED, ls=":", lw=1.2)
    if shown.percent:
        axes.set_ylim(0, 102)
    else:
        highest = max(np.max(line.get_ydata(), initial=0) for line in axes.get_lines())
        axes.set_ylim(0, 1.1 * highest or 1)
    axes.set_ylabel(shown.title)
    _name_positions(axes, axis)
    bare(axes)


def draw_sweep_map(
    axes: Axes, sweep: Sweep, *, vary: str | None = None, measure: str = "accuracy"
) -> None:
    """Draw the mean over seeds for two names that were varied together as a map.

    Parameters
    ----------
    axes, sweep, vary, measure
        As for `draw_sweep`.

    Raises
    ------
    SettingsError
        As for `draw_sweep`, or not two names were varied together.
    """
    shown = _measure(sweep, measure)
    axis, other = _axis_and_other(sweep, vary)
    if other is None:
        raise SettingsError("A map needs a sweep in which two names were varied together.")
    values = np.full((len(other.values), len(axis.values)), np.nan)
    for point in sweep.points:
        row = other.values.index(point.values[other.name])
        values[row, axis.values.index(point.values[axis.name])] = _of_runs(point, shown).mean()
    limits = (0, 100) if shown.percent else (0, None)
    image = axes.imshow(
        values, origin="lower", aspect="auto", cmap="cividis", vmin=limits[0], vmax=limits[1]
    )
    axes.set_xticks(range(len(axis.values)), [f"{value:g}" for value in axis.values])
    axes.set_yticks(range(len(other.values)), [f"{value:g}" for value in other.values])
    axes.set_xlabel(_title(axis))
    axes.set_ylabel(_title(other))
    axes.figure.colorbar(image, ax=axes, label=shown.title)


def sweep_figure(sweeps: Sweep | Mapping[str, Sweep]) -> Figure:
    """Return accuracy and spikes a neuron against what was varied.

    Parameters
    ----------
    sweeps : Sweep or mapping of str to Sweep
        Several are drawn into the same panels, by what the legend calls them. Each name that was
        varied by itself has a row of panels.

    Raises
    ------
    SettingsError
        A sweep cannot be drawn (see `draw_sweep`).
    """
    sweeps = {"": sweeps} if isinstance(sweeps, Sweep) else dict(sweeps)
    if len(sweeps) > 1 and any(_curves(sweep) > _CURVES for sweep in sweeps.values()):
        raise SettingsError(
            f"A sweep with more than {_CURVES} values of the second name is a map, which cannot be "
            "drawn over others. Draw it by itself."
        )
    rows = list(dict.fromkeys(name for sweep in sweeps.values() for name in _rows(sweep)))
    labels = all(sweep.ann_correct is not None for sweep in sweeps.values())
    measures = ("accuracy" if labels else "agreement", "spikes")
    figure = new_figure(9.5, 0.6 + 3.1 * len(rows))
    panels = figure.subplots(len(rows), 2, squeeze=False)
    # a sweep has the same colours in all panels
    numbers = np.cumsum([0, *map(_curves, sweeps.values())])
    for name, row in zip(rows, panels, strict=True):
        for axes, measure in zip(row, measures, strict=True):
            for number, (label, sweep) in zip(numbers, sweeps.items(), strict=False):
                if name in _rows(sweep):
                    draw_sweep(
                        axes, sweep, vary=name, measure=measure, label=label, number=int(number)
                    )
        if row[0].get_legend_handles_labels()[1]:
            row[0].legend(frameon=False, fontsize=8)
    images = " and ".join(f"{n:,}" for n in sorted({sweep.images for sweep in sweeps.values()}))
    figure.suptitle(
        f"{images} images; bands: standard error, range over seeds; dotted: trained network",
        fontsize=9,
        color=MUTED,
    )
    return figure


def _rows(sweep: Sweep) -> list[str]:
    return [sweep.axes[0].name] if sweep.grid else [axis.name for axis in sweep.axes]


def _curves(sweep: Sweep) -> int:
    return len(sweep.axes[1].values) if sweep.grid and len(sweep.axes) == 2 else 1


def _measure(sweep: Sweep, name: str) -> Measure:
    measure = MEASURES[name]
    if name == "accuracy" and sweep.ann_correct is None:
        raise SettingsError(
            "Accuracy needs images with labels. Draw the agreement with the trained network "
            "(measure='agreement')."
        )
    return measure


def _axis_and_other(sweep: Sweep, vary: str | None) -> tuple[Axis, Axis | None]:
    axis = sweep.axis(sweep.axes[0].name if vary is None else vary)
    others = [other for other in sweep.axes if other != axis] if sweep.grid else []
    if len(others) > 1:
        raise SettingsError(
            f"A plot shows one or two names that were varied together, not {len(sweep.axes)}: "
            f"{', '.join(axis.name for axis in sweep.axes)}."
        )
    return axis, others[0] if others else None


def _of_runs(point: SweepPoint, shown: Measure) -> np.ndarray:
    return np.array([shown.of(run, point.images) for run in point.runs])


def _draw_curve(
    axes: Axes, axis: Axis, points: Sequence[SweepPoint], shown: Measure, label: str, number: int
) -> None:
    if not points:
        return
    style = series(number)
    at = np.array([_position(axis, point.values[axis.name]) for point in points])
    runs = [_of_runs(point, shown) for point in points]
    mean = np.array([values.mean() for values in runs])
    bands = [
        (np.array([values.min() for values in runs]), np.array([values.max() for values in runs]))
    ]
    if shown.percent:
        error = [
            100 * point.standard_error(value / 100)
            for point, value in zip(points, mean, strict=True)
        ]
        bands.append((mean - error, mean + error))
    order = np.argsort(at)
    for low, high in bands:
        axes.fill_between(
            at[order], low[order], high[order], color=style["color"], alpha=0.18, lw=0
        )
    axes.plot(at[order], mean[order], marker="o", ms=3.5, label=label or None, **style)


def _ordinal(axis: Axis) -> bool:
    """Say whether values are set side by side, because one is infinite."""
    return not all(map(math.isfinite, axis.values))


def _position(axis: Axis, value: float) -> float:
    return float(sorted(axis.values).index(value)) if _ordinal(axis) else value


def _name_positions(axes: Axes, axis: Axis) -> None:
    axes.set_xlabel(_title(axis))
    if _ordinal(axis):
        values = sorted(axis.values)
        names = ["∞" if math.isinf(value) else f"{value:g}" for value in values]
        axes.set_xticks(range(len(values)), names)
    elif min(axis.values) > 0 and max(axis.values) > _LOGARITHMIC * min(axis.values):
        axes.set_xscale("log")
        plain_numbers(axes, "x")


def _title(axis: Axis) -> str:
    if axis.name in PERTURBATIONS:
        return f"{axis.name} ({PERTURBATIONS[axis.name].unit})"
    return axis.title


def _text(value: float, unit: str) -> str:
    return f"{value:g} {unit}".rstrip()
