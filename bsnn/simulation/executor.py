"""Who runs the chunks of a simulation: the interface, and the process itself as the simplest."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import numpy as np

from bsnn.simulation.job import Job
from bsnn.simulation.presenter import Presented, Presenter

__all__ = ["ATTEMPTS", "Executor", "Here", "Outcome", "describe"]

#: How often a chunk is tried before it is given up.
ATTEMPTS = 2


@dataclasses.dataclass(frozen=True, eq=False)
class Outcome:
    """What became of one chunk.

    Attributes
    ----------
    indices : numpy.ndarray
        Which of the images it had.
    presented : Presented or None
        What was found; None if it has failed.
    error : str
        Why it has failed the last time.
    """

    indices: np.ndarray
    presented: Presented | None = None
    error: str = ""


class Executor(ABC):
    """Runs chunks, in any order.

    Attributes
    ----------
    workers : int
        How many processes simulate.
    build_seconds : float
        Time until the first image could be presented; known after the first outcome.
    """

    workers = 1
    build_seconds = 0.0

    @abstractmethod
    def run(self, images: np.ndarray, chunks: Sequence[np.ndarray]) -> Iterator[Outcome]:
        """Simulate chunks, given as indices of images; each is tried `ATTEMPTS` times.

        Raises
        ------
        BsnnError
            The network cannot be built, or nobody is left to run it.
        """


class Here(Executor):
    """Runs chunks one after another in this process."""

    def __init__(self, presenter: Presenter, job: Job) -> None:
        self._presenter = presenter
        self._job = job
        self.build_seconds = presenter.build_seconds

    def run(self, images: np.ndarray, chunks: Sequence[np.ndarray]) -> Iterator[Outcome]:
        for indices in chunks:
            yield self._attempt(images[indices], indices)

    def _attempt(self, images: np.ndarray, indices: np.ndarray) -> Outcome:
        message = ""
        for _ in range(ATTEMPTS):
            try:
                return Outcome(indices, self._presenter.present(images, self._job.numbers(indices)))
            except Exception as error:
                message = describe(error)
        return Outcome(indices, error=message)


def describe(error: Exception) -> str:
    """Return an error as one text for a report; bsnn's own speak for themselves."""
    name = type(error).__name__
    return str(error) if type(error).__module__.startswith("bsnn") else f"{name}: {error}"
