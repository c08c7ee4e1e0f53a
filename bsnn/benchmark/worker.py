"""A process for each system, so that none sees the memory, the caches or the threads of another."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from bsnn.benchmark.registry import systems
from bsnn.benchmark.system import Case, Outcome
from bsnn.benchmark.usage import peak_mb
from bsnn.errors import BsnnError, SimulationError

__all__ = ["Worker"]

# Names the folder for what bsnn keeps from one build to the next.
_CACHE_VARIABLE = "BSNN_CACHE"

# Seconds in which a process that was asked to end may do so.
_PATIENCE = 10


class Worker:
    """A process that holds one system; it waits, using nothing, until it is asked.

    Parameters
    ----------
    name : str
        Of the system.
    case : path
        Folder with what it simulates (see `Case.save`): a process that was sent large arrays would
        have had them in memory twice.
    images : int or None
        How many of the images; None for all.
    folder : path
        Empty, its own.
    """

    def __init__(self, name: str, case: Path, images: int | None, folder: Path) -> None:
        # a new interpreter: a copy of this one would begin with its memory
        context = multiprocessing.get_context("spawn")
        self._name = name
        self._connection, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, name, case, images, folder), name=name, daemon=True
        )
        self._process.start()
        theirs.close()

    def prepare(self) -> tuple[float, float]:
        """Prepare the system; return the seconds it took and the peak memory in MiB."""
        return self._ask("prepare")

    def run(self) -> Outcome:
        """Let the system simulate its case once."""
        return self._ask("run")

    def _ask(self, what: str) -> Any:
        try:
            self._connection.send(what)
            done, answer = self._connection.recv()
        except (EOFError, OSError):
            self._process.join(_PATIENCE)
            raise SimulationError(
                f"The process of {self._name} ended with status {self._process.exitcode} in "
                f"{what!r}; a status of -9 often means that memory ran out."
            ) from None
        if not done:
            raise SimulationError(f"{self._name}: {answer}")
        return answer

    def close(self) -> None:
        """End the process."""
        self._connection.close()
        self._process.join(_PATIENCE)
        if self._process.is_alive():
            self._process.terminate()
            self._process.join()


def _serve(connection: Connection, name: str, case: Path, images: int | None, folder: Path) -> None:
    # nothing is kept from an earlier comparison: the time of a build is that of a whole build
    os.environ[_CACHE_VARIABLE] = str(folder / "cache")
    system = systems()[name]

    def prepare() -> tuple[float, float]:
        loaded = Case.load(case).first(images)
        started = time.perf_counter()
        system.prepare(loaded, folder)
        return time.perf_counter() - started, peak_mb()

    answers: dict[str, Callable[[], Any]] = {"prepare": prepare, "run": system.run}
    while True:
        try:
            what = connection.recv()
            answer = (True, answers[what]())
        except (EOFError, KeyboardInterrupt):
            return
        except BsnnError as error:
            answer = (False, str(error))
        except Exception as error:
            # systems are other people's programs too: what fails in one must not end the others
            answer = (False, f"{type(error).__name__}: {error}")
        connection.send(answer)
