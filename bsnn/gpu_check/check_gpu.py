"""All checks, one after the other."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import brian2 as b2

from bsnn.devices.cuda import Configuration, configured
from bsnn.errors import BuildError
from bsnn.gpu_check.checks import CHECKS, Bench, TrainedNetwork, made
from bsnn.gpu_check.report import Report

__all__ = ["check_gpu", "equipment"]


def equipment() -> Configuration:
    """Return what is there to be checked.

    Raises
    ------
    BuildError
        There is no GPU, compiler or Brian2CUDA; the message lists what is missing.
    """
    with configured() as found:
        if found.gpu is None:
            raise BuildError(f"There is no GPU to check: {found.no_gpu}.")
    return found


def check_gpu(
    found: Configuration,
    report: Report,
    networks: Sequence[TrainedNetwork] = (),
    directory: Path | None = None,
    say: Callable[[str, int], None] | None = None,
) -> None:
    """Check that CUDA on this machine computes what C++ computes.

    Parameters
    ----------
    found : Configuration
        What `equipment` has returned.
    report : Report
        Is given the lines as they come, so that those of an interrupted check are not lost.
    networks : sequence of TrainedNetwork
        Trained networks to compare, besides the small ones of `bsnn.gpu_check.CASES`.
    directory : path, optional
        Where generated code goes; kept. By default a temporary folder.
    say : callable, optional
        Is told what is being done, and how many of the checks (`CHECKS`) are done.
    """
    # networks that could not be built
    b2.BrianLogger.suppress_name("unused_brian_object")
    done = 0

    def tell(what: str) -> None:
        if say is not None:
            say(what, done)

    with ExitStack() as stack:
        if directory is None:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bsnn_")))
        bench = Bench(found, networks, directory, tell)
        for name in CHECKS:
            tell(name)
            for line in made(name, bench):
                report.lines.append(line)
            done += 1
    report.complete = True
