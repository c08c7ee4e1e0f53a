"""Many simulations of one network, each with other values of what disturbs it."""

from __future__ import annotations

import dataclasses
import math
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bsnn.conversion import SpikingModel
from bsnn.devices import active_device, check_device, code_target
from bsnn.errors import SettingsError, SimulationError, StorageError
from bsnn.network import check_perturbations, neuron_model
from bsnn.network.builder import checked_setup
from bsnn.progress import progress_bar
from bsnn.settings import Run, Setup, taken
from bsnn.simulation.axes import Axis, Case, places
from bsnn.simulation.checkpoint import all_settings, array_sha256, check_same_settings
from bsnn.simulation.job import Job
from bsnn.simulation.result import Result
from bsnn.simulation.shown import check_classes, checked_images
from bsnn.simulation.simulator import simulate
from bsnn.storage import read_json, write_json

__all__ = ["Sweep", "SweepPoint", "SweepRun", "load_sweep", "sweep"]

_FORMAT = "bsnn sweep"
_VERSION = 1


@dataclasses.dataclass(frozen=True)
class SweepRun:
    """One simulation of a sweep.

    Attributes
    ----------
    seed : int
        Of all that is random in it.
    correct : int or None
        Images classified as labelled; None without labels.
    same_class : int
        Images of the same class in the trained and the spiking network.
    spikes_per_neuron, synaptic_operations : float
        Means for an image, as in `bsnn.Result`.
    seconds : float
        What it took; two runs are equal whatever it is.
    """

    seed: int
    correct: int | None
    same_class: int
    spikes_per_neuron: float
    synaptic_operations: float
    seconds: float = dataclasses.field(compare=False)


@dataclasses.dataclass(frozen=True)
class SweepPoint:
    """What was found for one combination of values.

    Attributes
    ----------
    values : dict of str to float
        By name of the axis, in its unit; only that of one if one was varied after the other.
    images : int
        Images of each run.
    runs : tuple of SweepRun
        One for each seed.
    """

    values: dict[str, float]
    images: int
    runs: tuple[SweepRun, ...]

    @property
    def accuracies(self) -> np.ndarray | None:
        """Fraction of images classified as labelled, for each seed; None without labels."""
        correct = [run.correct for run in self.runs if run.correct is not None]
        return np.array(correct) / self.images if correct else None

    @property
    def agreements(self) -> np.ndarray:
        """Fraction of images of the same class in both networks, for each seed."""
        return np.array([run.same_class / self.images for run in self.runs])

    @property
    def accuracy(self) -> float | None:
        """Mean over the seeds."""
        return None if self.accuracies is None else float(self.accuracies.mean())

    @property
    def agreement(self) -> float:
        """Mean over the seeds."""
        return float(self.agreements.mean())

    @property
    def spikes_per_neuron(self) -> float:
        """Mean over the seeds."""
        return float(np.mean([run.spikes_per_neuron for run in self.runs]))

    @property
    def synaptic_operations(self) -> float:
        """Mean over the seeds."""
        return float(np.mean([run.synaptic_operations for run in self.runs]))

    def standard_error(self, fraction: float) -> float:
        """Return by how much a fraction of the images may be off because they are so many only.

        All seeds have the same images, so that more of them do not make it smaller.
        """
        return math.sqrt(fraction * (1 - fraction) / self.images)


@dataclasses.dataclass(frozen=True)
class Sweep:
    """Results of a sweep, complete or not.

    Attributes
    ----------
    axes : tuple of Axis
        What was varied.
    grid : bool
        Whether each value of one axis goes with each of the others.
    seeds : tuple of int
        Each point was simulated with each of them.
    images : int
        Images of each simulation.
    ann_correct : int or None
        Of them those that the trained network classifies as labelled; None without labels.
    coding : str
        Name of the coding.
    steps : int
        Time steps, if they were not varied.
    neuron : str
        The neuron model, with the parameters that were not varied.
    perturbations : dict of str to float
        What was disturbed at all points.
    settings : dict of str to str
        All that results depend on; a sweep that is resumed must have the same.
    points : tuple of SweepPoint
        Those that are done, in order.
    """

    axes: tuple[Axis, ...]
    grid: bool
    seeds: tuple[int, ...]
    images: int
    ann_correct: int | None
    coding: str
    steps: int
    neuron: str
    perturbations: dict[str, float]
    settings: dict[str, str]
    points: tuple[SweepPoint, ...] = ()

    @property
    def runs(self) -> int:
        """How many simulations it has in all."""
        return len(places(self.axes, grid=self.grid)) * len(self.seeds)

    @property
    def done(self) -> int:
        """How many of them are done."""
        return sum(len(point.runs) for point in self.points)

    @property
    def ann_accuracy(self) -> float | None:
        """Fraction of images classified as labelled by the trained network."""
        return None if self.ann_correct is None else self.ann_correct / self.images

    def axis(self, name: str) -> Axis:
        """Return an axis by its name.

        Raises
        ------
        SettingsError
            It was not varied.
        """
        for axis in self.axes:
            if axis.name == name:
                return axis
        raise SettingsError(
            f"{name!r} was not varied, but {', '.join(axis.name for axis in self.axes)}."
        )

    def along(self, name: str, **others: float) -> list[SweepPoint]:
        """Return the points along an axis, given the values of the other axes of a grid."""
        self.axis(name)
        return [
            point
            for point in self.points
            if name in point.values
            and all(point.values[key] == value for key, value in others.items())
        ]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the sweep to a JSON file, which appears whole or not at all.

        Raises
        ------
        StorageError
            The file cannot be written.
        """
        write_json(path, self.tree())

    def tree(self) -> dict[str, Any]:
        """Return all of it, ready for JSON."""
        return {
            "format": _FORMAT,
            "version": _VERSION,
            **{name: getattr(self, name) for name in _FIELDS},
            "axes": [
                {**dataclasses.asdict(axis), "values": [_plain(x) for x in axis.values]}
                for axis in self.axes
            ],
            "points": [
                {
                    "values": {name: _plain(value) for name, value in point.values.items()},
                    "runs": [dataclasses.asdict(run) for run in point.runs],
                }
                for point in self.points
            ],
        }


_FIELDS = (
    "grid",
    "seeds",
    "images",
    "ann_correct",
    "coding",
    "steps",
    "neuron",
    "perturbations",
    "settings",
)


def _plain(value: float) -> float | str:
    """Return a number as JSON can have it, which knows no infinity."""
    return value if math.isfinite(value) else str(value)


def load_sweep(path: str | os.PathLike[str]) -> Sweep:
    """Read a sweep from a file that `Sweep.save` made, complete or not.

    Raises
    ------
    StorageError
        The file is missing, damaged, or holds no sweep.
    """
    return _sweep_from_json(read_json(path), path)


def _sweep_from_json(tree: Any, path: str | os.PathLike[str]) -> Sweep:
    if not isinstance(tree, dict) or (tree.get("format"), tree.get("version")) != (
        _FORMAT,
        _VERSION,
    ):
        raise StorageError(
            f"{path} holds no sweep of this version of bsnn. Make one with `bsnn sweep --out`."
        )
    try:
        fields = {name: tree[name] for name in _FIELDS}
        return Sweep(
            **{**fields, "seeds": tuple(fields["seeds"])},
            axes=tuple(
                Axis(axis["name"], [float(x) for x in axis["values"]], axis["unit"])
                for axis in tree["axes"]
            ),
            points=tuple(
                SweepPoint(
                    {name: float(value) for name, value in point["values"].items()},
                    tree["images"],
                    tuple(SweepRun(**run) for run in point["runs"]),
                )
                for point in tree["points"]
            ),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StorageError(
            f"{path}: the sweep is incomplete ({error!r}). Make it again."
        ) from error


def sweep(
    model: SpikingModel,
    images: np.ndarray,
    labels: np.ndarray | None,
    axes: Sequence[Axis],
    *,
    grid: bool = True,
    seeds: int | Sequence[int] = 1,
    file: str | os.PathLike[str] | None = None,
    setup: Setup | None = None,
    run: Run | None = None,
    **fields: Any,
) -> Sweep:
    """Simulate a spiking network again and again, varying what it is made of and what disturbs it.

    Results depend on the values and seeds only, not on `workers` and `cluster` nor on whether the
    sweep was interrupted.

    Parameters
    ----------
    model : SpikingModel
        The network.
    images, labels : numpy.ndarray
        As for `bsnn.simulate`; labels may be None.
    axes : sequence of Axis
        What is varied, and its values.
    grid : bool
        Combine each value of one axis with each of the others. Otherwise one axis is varied after
        the other, and the rest is left as it is.
    seeds : int or sequence of int
        Each point is simulated with each of them; a number stands for 0, 1, ... A single simulation
        has seed 0.
    file : path, optional
        A JSON file that is written anew after each simulation.
    setup : Setup, optional
        What is built at all points, but for what is varied. The seed is that of `seeds`.
    run : Run, optional
        Where and how: `checkpoint` and `directory`, which are for one simulation, have no effect;
        `resume` goes on with what `file` holds, which otherwise must not exist. On ``"cpp"``
        points that differ in numbers only share a binary.
    **fields
        Fields of the two in their place; see `bsnn.simulate`.

    Returns
    -------
    Sweep

    Raises
    ------
    SettingsError
        There is nothing of an axis' name to vary, or a value does not fit.
    InputError
        The images or labels do not fit the network, or the network gives no classes.
    SimulationError
        `file` is there and not to be resumed, or of another sweep.

    Examples
    --------
    >>> bsnn.sweep(model, images, labels, [bsnn.Axis("jitter", [0, 1, 2])], seeds=3)
    ... # doctest: +SKIP
    """
    axes = tuple(axes)
    if not axes or len({axis.name for axis in axes}) < len(axes):
        raise SettingsError("A sweep needs at least one axis, and each name once.")
    seeds = tuple(range(seeds)) if isinstance(seeds, int) else tuple(map(int, seeds))
    if not seeds or len(set(seeds)) < len(seeds):
        raise SettingsError(f"The seeds are {seeds}: give at least one, and each once.")
    without = ("seed", "checkpoint", "directory")
    setup, run = taken(fields, (Setup, setup), (Run, run), without=without)
    if run.resume and file is None:
        raise SimulationError("To resume, name the file in which the sweep is kept.")
    check_classes(model)
    images, labels = checked_images(model, images, labels)
    device = run.device or active_device()
    check_device(device)
    twice = [axis.name for axis in axes if axis.name in (setup.perturbations or {})]
    if grid and twice:
        raise SettingsError(
            f"{', '.join(twice)} is varied, and given as a perturbation of all points: leave one "
            "of them out."
        )
    start = Case(
        model,
        dataclasses.replace(
            setup,
            neuron=neuron_model(setup.neuron, model.coding),
            perturbations=check_perturbations(setup.perturbations, model),
        ),
    )
    # what cannot be is said now, not after hours
    cases = [
        Case(case.model, checked_setup(case.model, case.setup))
        for case in _cases(start, axes, grid)
    ]
    job = Job(
        model=model,
        device=device,
        code_target=code_target(),
        setup=start.setup,
        chunk=1,
        first_image=run.first_image,
        further={"vary": axes, "as a grid": grid, "seeds": seeds},
    )
    settings = all_settings(job.settings(), images)
    settings["labels"] = "none" if labels is None else array_sha256(labels)
    empty = Sweep(
        axes=axes,
        grid=grid,
        seeds=seeds,
        images=len(images),
        ann_correct=None,
        coding=model.coding,
        steps=model.steps,
        neuron=str(start.setup.neuron),
        perturbations=dict(start.setup.perturbations or {}),
        settings=settings,
    )
    kept = _Kept(empty, places(axes, grid=grid), file, run.resume)
    with progress_bar(disable=not run.progress) as bar:
        task = bar.add_task("sweep", total=empty.runs, completed=len(kept.runs))
        for number, case in enumerate(cases):
            for seed in seeds:
                if (number, seed) in kept.runs:
                    continue
                bar.update(task, description=f"sweep: {kept.title(number)}, seed {seed}")
                started = time.perf_counter()
                result = simulate(
                    case.model,
                    images,
                    labels,
                    setup=dataclasses.replace(case.setup, seed=seed),
                    run=dataclasses.replace(run, resume=False, progress=False),
                )
                kept.add(number, seed, result, time.perf_counter() - started)
                bar.advance(task)
    return kept.sweep()


def _cases(start: Case, axes: Sequence[Axis], grid: bool) -> list[Case]:
    values = {axis.name: axis.quantities() for axis in axes}
    cases = []
    for point in places(axes, grid=grid):
        case = start
        for name, place in point.items():
            case = case.with_value(name, values[name][place])
        cases.append(case)
    return cases


class _Kept:
    """What is done of a sweep, in memory and in its file."""

    def __init__(
        self,
        empty: Sweep,
        points: list[dict[str, int]],
        file: str | os.PathLike[str] | None,
        resume: bool,
    ) -> None:
        self.runs: dict[tuple[int, int], SweepRun] = {}
        self._sweep = empty
        self._values = [
            {name: empty.axis(name).values[place] for name, place in point.items()}
            for point in points
        ]
        self._file = None if file is None else Path(file)
        if self._file is not None and self._file.exists():
            self._restore(self._file, resume)

    def title(self, number: int) -> str:
        """Return the values of a point as a text."""
        units = {axis.name: axis.unit for axis in self._sweep.axes}
        return ", ".join(
            f"{name} {value:g} {units[name]}".rstrip()
            for name, value in self._values[number].items()
        )

    def add(self, number: int, seed: int, result: Result, seconds: float) -> None:
        """Take in a simulation, and write the file."""
        self.runs[number, seed] = SweepRun(
            seed=seed,
            correct=result.correct,
            same_class=int((result.predictions == result.ann_predictions).sum()),
            spikes_per_neuron=result.spikes_per_neuron,
            synaptic_operations=result.synaptic_operations,
            seconds=round(seconds, 3),
        )
        if result.labels is not None:
            ann_correct = int((result.ann_predictions == result.labels).sum())
            self._sweep = dataclasses.replace(self._sweep, ann_correct=ann_correct)
        if self._file is not None:
            self.sweep().save(self._file)

    def sweep(self) -> Sweep:
        """Return what is done."""
        points = []
        for number, values in enumerate(self._values):
            runs = tuple(
                self.runs[number, seed] for seed in self._sweep.seeds if (number, seed) in self.runs
            )
            if runs:
                points.append(SweepPoint(values, self._sweep.images, runs))
        return dataclasses.replace(self._sweep, points=tuple(points))

    def _restore(self, file: Path, wanted: bool) -> None:
        there = _sweep_from_json(read_json(file, sealed=True), file)
        if not wanted:
            raise SimulationError(
                f"{file} holds {there.done:,} of {there.runs:,} simulations of a sweep. Go on with "
                "it (resume=True, --resume), or delete the file to begin anew."
            )
        check_same_settings(file, self._sweep.settings, there.settings)
        for point in there.points:
            number = self._values.index(point.values)
            self.runs |= {(number, run.seed): run for run in point.runs}
        self._sweep = dataclasses.replace(self._sweep, ann_correct=there.ann_correct)
