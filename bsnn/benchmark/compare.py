"""Measuring systems in interleaved rounds."""

from __future__ import annotations

import dataclasses
import statistics
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np

from bsnn.benchmark.system import Case, Outcome, System
from bsnn.benchmark.worker import Worker
from bsnn.errors import SettingsError, SimulationError

__all__ = ["RATIOS", "Comparison", "Ratio", "Row", "compare"]

# Images whose spikes are in memory at once when they are coded in closed form.
_CLOSED_FORM_BATCH = 50


@dataclasses.dataclass(frozen=True)
class Row:
    """The figures of one system.

    Attributes
    ----------
    system, about : str
        See `bsnn.benchmark.System`.
    code : str or None
        Of a system with another code than the network's own, that; other work, for context.
    images : int
        Images in a round.
    ms_per_image, cpu_ms_per_image : float
        Medians over the rounds: elapsed time, and that of all threads of the simulating process.
    events_per_second : float or None
        Synaptic events for a second of CPU time.
    build_seconds : float
        Time before the first image could be simulated.
    peak_mb : float
        Most memory of the simulating process, in MiB.
    build_peak_mb : float
        Most memory of the process that prepared the simulation, compilers not included.
    accuracy : float
        Fraction of images classified as labelled.
    same_class : float
        Fraction of images with the class that the closed form of the network's code gives.
    cpu_ms_of_rounds : tuple of float
        CPU time an image of each round.
    """

    system: str
    about: str
    code: str | None
    images: int
    ms_per_image: float
    cpu_ms_per_image: float
    events_per_second: float | None
    build_seconds: float
    peak_mb: float
    build_peak_mb: float
    accuracy: float
    same_class: float
    cpu_ms_of_rounds: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Ratio:
    """A figure of one system over that of another."""

    figure: str
    system: str
    other: str


#: The ratios that are reported, by name. `figure` is a field of `bsnn.benchmark.Usage`.
RATIOS = {
    "cpu_shared_over_event_driven_cpp": Ratio("cpu_seconds", "bsnn_shared", "event_driven_cpp"),
    # the same precision as the program's
    "cpu_shared_float32_over_event_driven_cpp": Ratio(
        "cpu_seconds", "bsnn_shared_float32", "event_driven_cpp"
    ),
    "cpu_explicit_over_event_driven_cpp": Ratio("cpu_seconds", "bsnn_explicit", "event_driven_cpp"),
    "cpu_torch_time_stepped_over_shared": Ratio("cpu_seconds", "torch_time_stepped", "bsnn_shared"),
    "wall_torch_all_threads_over_shared": Ratio("wall_seconds", "torch_all_threads", "bsnn_shared"),
    "cpu_explicit_over_shared": Ratio("cpu_seconds", "bsnn_explicit", "bsnn_shared"),
    "peak_mb_explicit_over_shared": Ratio("peak_mb", "bsnn_explicit", "bsnn_shared"),
    "cpu_torch_time_stepped_over_shared_float32": Ratio(
        "cpu_seconds", "torch_time_stepped", "bsnn_shared_float32"
    ),
    "cpu_explicit_over_shared_float32": Ratio(
        "cpu_seconds", "bsnn_explicit", "bsnn_shared_float32"
    ),
    "peak_mb_explicit_over_shared_float32": Ratio(
        "peak_mb", "bsnn_explicit", "bsnn_shared_float32"
    ),
}


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Rows and ratios.

    Attributes
    ----------
    rows : list of Row
        In the order in which the systems were given.
    ratios : dict of str to float
        See `RATIOS`: medians over the rounds of the ratio within a round, which a machine that
        becomes slower or faster in between changes little. Only those whose systems ran.
    left_out : dict of str to str
        By system, why it has no row.
    """

    rows: list[Row]
    ratios: dict[str, float]
    left_out: dict[str, str]

    def summary(self) -> dict[str, Any]:
        """Return everything, ready for JSON."""
        return dataclasses.asdict(self)


def compare(
    chosen: Sequence[System],
    case: Case,
    rounds: int = 3,
    report: Callable[[str], None] = lambda _: None,
) -> Comparison:
    """Simulate a case with several systems, in turns.

    Parameters
    ----------
    chosen : sequence of System
        From `bsnn.benchmark.choose`. Each has a process of its own; one that fails is left out.
    case : Case
        The network and the images.
    rounds : int
        How often each system simulates all images: first, second, third, first, second, ...
    report : callable, optional
        Is told what is being done.

    Raises
    ------
    SettingsError
        There are no images, no systems or no rounds.
    """
    if not len(case.images) or not chosen or rounds < 1:
        raise SettingsError(
            f"{len(chosen)} systems, {len(case.images)} images and {rounds} rounds: at least one "
            "of each is needed."
        )
    left_out: dict[str, str] = {}
    built: dict[str, tuple[float, float]] = {}
    outcomes: dict[str, list[Outcome]] = {system.name: [] for system in chosen}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bsnn_bench_")))
        case.save(folder)
        workers: dict[str, Worker] = {}
        for system in chosen:
            report(f"building {system.name}")
            own = folder / system.name
            own.mkdir()
            worker = Worker(system.name, folder, system.most_images, own)
            workers[system.name] = stack.enter_context(closing(worker))
            try:
                built[system.name] = worker.prepare()
            except SimulationError as error:
                left_out[system.name] = f"failed: {error}"
        for number in range(1, rounds + 1):
            for name, worker in workers.items():
                if name in left_out:
                    continue
                report(f"round {number} of {rounds}: {name}")
                try:
                    outcomes[name].append(worker.run())
                except SimulationError as error:
                    left_out[name] = f"failed: {error}"
    whole = {s.name: s for s in chosen if s.name not in left_out}
    expected = _closed_form_classes(case)
    return Comparison(
        rows=[
            _row(system, case, outcomes[name], *built[name], expected)
            for name, system in whole.items()
        ],
        ratios={
            name: statistics.median(
                getattr(one.usage, ratio.figure) / getattr(other.usage, ratio.figure)
                for one, other in zip(outcomes[ratio.system], outcomes[ratio.other], strict=True)
            )
            for name, ratio in RATIOS.items()
            if ratio.system in whole and ratio.other in whole
        },
        left_out=left_out,
    )


def _row(
    system: System,
    case: Case,
    outcomes: list[Outcome],
    build_seconds: float,
    build_peak_mb: float,
    expected: np.ndarray,
) -> Row:
    predictions = outcomes[-1].predictions
    count = len(predictions)
    cpu = [outcome.usage.cpu_seconds for outcome in outcomes]
    wall = [outcome.usage.wall_seconds for outcome in outcomes]
    events = outcomes[-1].events
    return Row(
        system=system.name,
        about=system.about,
        code=system.code,
        images=count,
        ms_per_image=1e3 * statistics.median(wall) / count,
        cpu_ms_per_image=1e3 * statistics.median(cpu) / count,
        events_per_second=None if events is None else events / statistics.median(cpu),
        build_seconds=build_seconds,
        peak_mb=max(outcome.usage.peak_mb for outcome in outcomes),
        build_peak_mb=build_peak_mb,
        accuracy=float((predictions == case.labels[:count]).mean()),
        same_class=float((predictions == expected[:count]).mean()),
        cpu_ms_of_rounds=tuple(1e3 * seconds / count for seconds in cpu),
    )


def _closed_form_classes(case: Case) -> np.ndarray:
    classes = []
    for first in range(0, len(case.images), _CLOSED_FORM_BATCH):
        coded = case.model.code(case.images[first : first + _CLOSED_FORM_BATCH])
        potentials = coded.potentials[case.model.output.name]
        classes.append(potentials.reshape(len(potentials), -1).argmax(axis=1))
    return np.concatenate(classes)
