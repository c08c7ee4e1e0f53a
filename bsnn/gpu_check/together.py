"""Several networks simulated as one: code is generated and compiled once for all of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import brian2 as b2
import numpy as np

from bsnn.devices import start, use_device
from bsnn.errors import SimulationError
from bsnn.gpu_check.cases import Case
from bsnn.gpu_check.parts import DT, Outcome, Part
from bsnn.gpu_check.programs import words_of_programs

__all__ = ["INPUTS", "Simulated", "simulate_cases"]

#: Inputs of the runs, by the seed that they are drawn with: two, and the first one once more.
INPUTS = (1, 2, 1)

# If so many networks fail by themselves, one after the other, the others would as well.
_HOPELESS = 3


@dataclasses.dataclass
class Simulated:
    """What networks did on a device.

    Attributes
    ----------
    outcomes : dict
        By case, what it did in each run (see `INPUTS`), or why it could not be run.
    folder : path or None
        The project of all cases; None if they could not be run together.
    error : str
        Why not.
    build_seconds : float
        Time to generate and compile the code.
    files : int
        How many files of code there were.
    """

    outcomes: dict[str, list[Outcome] | Exception] = dataclasses.field(default_factory=dict)
    folder: Path | None = None
    error: str = ""
    build_seconds: float = 0.0
    files: int = 0

    def runs(self, case: str) -> list[Outcome]:
        """Return what a case did in each run; raise why it could not be run."""
        found = self.outcomes[case]
        if isinstance(found, Exception):
            raise found
        return found


def simulate_cases(
    device: str, cases: Sequence[Case], folder: Path, say: Callable[[str], None]
) -> Simulated:
    """Simulate networks on a device: together, or each by itself if that fails.

    Parameters
    ----------
    device : str
        A name in `bsnn.devices.DEVICES`.
    cases : sequence of Case
        The networks.
    folder : path
        Where generated code goes.
    say : callable
        Is told what is being done.
    """
    simulated = Simulated()
    say(f"{len(cases)} networks on {device}")
    try:
        _simulate(device, cases, folder / "all", simulated)
    except Exception as error:
        simulated.error = str(error)
    else:
        simulated.folder = folder / "all"
        return simulated
    simulated.outcomes.clear()
    for case in cases:
        if len(simulated.outcomes) == _HOPELESS and all(
            isinstance(found, Exception) for found in simulated.outcomes.values()
        ):
            simulated.outcomes |= {
                case.name: SimulationError("not tried, as those before it fail")
                for case in cases[_HOPELESS:]
            }
            return simulated
        say(f"{case.name} by itself on {device}")
        try:
            _simulate(device, [case], folder / case.name, simulated)
        except Exception as error:
            simulated.outcomes[case.name] = error
    return simulated


class _Together:
    """Networks as one, as `bsnn.devices.start` takes it."""

    def __init__(self, parts: Mapping[str, Part]) -> None:
        self._parts = parts
        self.network = b2.Network(*[item for part in parts.values() for item in part.objects])
        self.stored_connections = sum(part.stored_connections for part in parts.values())

    @property
    def duration(self) -> b2.Quantity:
        return max(part.duration for part in self._parts.values())

    def presentation(
        self, images: Mapping[str, np.ndarray], numbers: np.ndarray | None = None
    ) -> dict[Any, np.ndarray]:
        given: dict[Any, np.ndarray] = {}
        for name, inputs in images.items():
            given |= self._parts[name].presentation(inputs)
        return given


@contextmanager
def _compiled_as_written() -> Iterator[None]:
    """Let C++ be compiled without fast, approximate mathematics, and without optimisation.

    The networks are small: to optimise their programs takes longer than to run them.
    """
    name = "codegen.cpp.extra_compile_args_gcc"
    before = b2.prefs[name]
    b2.prefs[name] = ["-w", "-O0", "-std=c++11"]
    try:
        yield
    finally:
        b2.prefs[name] = before


def _simulate(device: str, cases: Sequence[Case], folder: Path, simulated: Simulated) -> None:
    # CUDA has its own preferences
    with _compiled_as_written(), use_device(device, folder), words_of_programs(folder):
        # on CUDA it is everybody's clock
        b2.defaultclock.dt = DT
        parts = {case.name: case.part() for case in cases}
        together: Any = _Together(parts)
        # several networks at once: their images are by the names of the networks
        runner: Any = start(together, folder)
        generated: Any = b2.device
        simulated.build_seconds += runner.build_seconds
        simulated.files += len(generated.writer.source_files)
        outcomes: dict[str, Any] = {case.name: [] for case in cases}
        for seed in INPUTS:
            runner.run(
                {name: part.inputs(np.random.default_rng(seed)) for name, part in parts.items()}
            )
            for name, part in parts.items():
                if isinstance(outcomes[name], list):
                    try:
                        outcomes[name].append(part.outcome())
                    except Exception as error:
                        outcomes[name] = error
    simulated.outcomes |= outcomes
