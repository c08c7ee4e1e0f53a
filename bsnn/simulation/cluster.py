"""Chunks on the machines of a Dask cluster; the one place that touches Dask.

The job goes to each of the cluster's workers once, also to those that join later or take the place
of one that has died. A worker builds the network when its first chunk comes.
"""

from __future__ import annotations

import tempfile
import threading
import uuid
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import distributed
import numpy as np

from bsnn.errors import BuildError, SimulationError
from bsnn.simulation.executor import ATTEMPTS, Executor, Outcome, describe
from bsnn.simulation.job import Job
from bsnn.simulation.presenter import Presented, Presenter, open_presenter

__all__ = ["Cluster"]

# Seconds to wait for the scheduler, and for its first worker.
_PATIENCE = 30

# Chunks for each worker: one that it simulates, and one to go on with at once.
_AT_HAND = 2


class Cluster(Executor):
    """Runs chunks on the workers of a Dask cluster; a context manager that leaves it as it was.

    Parameters
    ----------
    address : str
        Of the scheduler.
    job : Job
        What is simulated.
    """

    def __init__(self, address: str, job: Job) -> None:
        self._address = address
        self._job = job
        self._name = f"bsnn-{uuid.uuid4()}"
        self._cleanup = ExitStack()

    def __enter__(self) -> Cluster:
        with ExitStack() as stack:
            try:
                self._client = stack.enter_context(
                    distributed.Client(self._address, timeout=_PATIENCE, set_as_default=False)
                )
                self._client.wait_for_workers(1, timeout=_PATIENCE)
            except (OSError, ValueError, TimeoutError) as error:
                raise SimulationError(
                    f"There is no Dask cluster with workers at {self._address} "
                    f"({describe(error)}). Start one with `dask scheduler` and `dask worker "
                    "ADDRESS`, and give the address that the scheduler prints."
                ) from error
            stack.callback(self._client.unregister_worker_plugin, self._name)
            try:
                self._client.register_plugin(_JobOnWorker(self._job), self._name)
            except Exception as error:
                raise SimulationError(
                    f"The workers at {self._address} cannot take the network "
                    f"({describe(error)}). Is the same version of bsnn installed there as here?"
                ) from error
            self._cleanup = stack.pop_all()
        self.workers = self._count_workers()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._cleanup.close()

    def run(self, images: np.ndarray, chunks: Sequence[np.ndarray]) -> Iterator[Outcome]:
        waiting = deque(chunks)
        pending: dict[str, tuple[distributed.Future, np.ndarray]] = {}
        completed = distributed.as_completed(loop=self._client.loop, raise_errors=False)
        try:
            while waiting or pending:
                while waiting and len(pending) < _AT_HAND * self._count_workers():
                    indices = waiting.popleft()
                    future = self._client.submit(
                        _present,
                        self._name,
                        images[indices],
                        self._job.numbers(indices),
                        pure=False,
                        retries=ATTEMPTS - 1,
                    )
                    pending[str(future.key)] = future, indices
                    completed.add(future)
                future = next(completed)
                _, indices = pending.pop(str(future.key))
                yield self._outcome(future, indices)
        finally:
            self._client.cancel([future for future, _ in pending.values()])

    def _outcome(self, future: distributed.Future, indices: np.ndarray) -> Outcome:
        if future.status == "finished":
            presented, build_seconds = future.result()
            self.build_seconds = max(self.build_seconds, build_seconds)
            return Outcome(indices, presented)
        if future.status != "error":
            raise SimulationError(f"The connection to the cluster at {self._address} was lost.")
        error: Any = future.exception()
        if isinstance(error, BuildError):
            raise error
        return Outcome(indices, error=describe(error))

    def _count_workers(self) -> int:
        threads: Any = self._client.nthreads()
        return max(1, len(threads))


# Brian2's devices belong to the process: of a worker's threads one at a time may use them, and of
# its networks one at a time can be built.
_lock = threading.Lock()
_built: list[_JobOnWorker] = []


class _JobOnWorker(distributed.WorkerPlugin):
    """A job as each worker holds it, with the network once it is built."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._presenter: Presenter | None = None

    def setup(self, worker: distributed.Worker) -> None:
        self._folder = Path(worker.local_directory)

    def teardown(self, worker: distributed.Worker) -> None:
        # not here: it would wait for the chunk in progress, and keep the worker from all else
        threading.Thread(target=self._leave).start()

    def present(self, images: np.ndarray, numbers: np.ndarray) -> tuple[Presented, float]:
        with _lock:
            while _built and _built[0] is not self:
                _built.pop()._close()
            if not _built:
                self._open()
                _built.append(self)
            assert self._presenter is not None
            return self._presenter.present(images, numbers), self._presenter.build_seconds

    def _open(self) -> None:
        with ExitStack() as stack:
            # where Dask removes what a worker that was killed has left
            folder = stack.enter_context(
                tempfile.TemporaryDirectory(prefix="bsnn_", dir=self._folder)
            )
            self._presenter = stack.enter_context(open_presenter(self._job, Path(folder)))
            self._stack = stack.pop_all()

    def _close(self) -> None:
        self._presenter = None
        self._stack.close()

    def _leave(self) -> None:
        with _lock:
            if self in _built:
                _built.remove(self)
                self._close()


def _present(name: str, images: np.ndarray, numbers: np.ndarray) -> tuple[Presented, float]:
    """Simulate a chunk; this runs on a worker."""
    job: Any = distributed.get_worker().plugins[name]
    return job.present(images, numbers)
