"""Resources of a simulation: time and memory of the process that simulates, and of no other."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bsnn.benchmark import launch
from bsnn.errors import SimulationError

__all__ = ["Usage", "launch_command", "peak_mb", "read_usage", "run_here", "run_program"]


@dataclasses.dataclass(frozen=True)
class Usage:
    """Time and memory of one run.

    Attributes
    ----------
    wall_seconds, cpu_seconds : float
        From start to end, and of all threads of the process.
    peak_mb : float
        Most memory that the process has had in use (resident), in MiB.
    """

    wall_seconds: float
    cpu_seconds: float
    peak_mb: float


def launch_command(report: Path) -> list[str]:
    """Return the words to put before a command so that `read_usage` can tell what it used."""
    return [sys.executable, "-I", "-S", launch.__file__, str(report)]


def read_usage(report: Path) -> Usage:
    """Sum up the runs that are noted in a report, and forget them."""
    runs = [Usage(**json.loads(line)) for line in report.read_text().splitlines()]
    report.unlink()
    return Usage(
        wall_seconds=sum(run.wall_seconds for run in runs),
        cpu_seconds=sum(run.cpu_seconds for run in runs),
        peak_mb=max(run.peak_mb for run in runs),
    )


def run_program(command: Sequence[str | Path], report: Path) -> Usage:
    """Run a program to its end.

    Raises
    ------
    SimulationError
        It failed.
    """
    words = [*launch_command(report), *map(str, command)]
    found = subprocess.run(words, capture_output=True, text=True, check=False)
    if found.returncode:
        raise SimulationError(
            f"{Path(command[0]).name} failed with status {found.returncode}: {found.stderr.strip()}"
        )
    return read_usage(report)


def run_here(simulate: Callable[[], object]) -> Usage:
    """Call a function of this process."""
    wall, cpu = time.perf_counter(), time.process_time()
    simulate()
    return Usage(time.perf_counter() - wall, time.process_time() - cpu, peak_mb())


def peak_mb() -> float:
    """Return the most memory that this process has had in use, in MiB."""
    status = Path("/proc/self/status")
    if status.exists():
        # getrusage would count the process that started this one
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 2**10
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
