"""Chunks in several processes of this machine.

Each worker builds the network once and then takes chunk after chunk. A worker that dies takes
nothing with it but its chunk, which another one tries again, and is replaced.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import shutil
import signal
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import psutil

from bsnn.devices.compilation import cores
from bsnn.errors import BsnnError, BuildError
from bsnn.simulation.executor import ATTEMPTS, Executor, Outcome, describe
from bsnn.simulation.job import Job
from bsnn.simulation.presenter import Presented, open_presenter

__all__ = ["Workers"]

# Seconds that a worker without work has to end by itself.
_PATIENCE = 5.0

# Name of the file that workers read their job from.
_JOB = "job.pickle"

# Libraries of linear algebra that would start a thread for each core, in each worker.
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Workers(Executor):
    """Runs chunks in processes of its own; a context manager that ends them.

    Parameters
    ----------
    job : Job
        What they simulate.
    count : int
        How many there are.
    directory : path, optional
        Each worker generates its code in a folder of its own in there. By default the folders are
        temporary.
    """

    def __init__(self, job: Job, count: int, directory: Path | None = None) -> None:
        self.workers = count
        self._job = job
        self._directory = directory
        self._temporary = Path()
        self._staff: list[_Worker] = []
        self._hired = 0
        self._died_building = 0
        self._cleanup = ExitStack()

    def __enter__(self) -> Workers:
        folder = tempfile.TemporaryDirectory(prefix="bsnn_workers_", ignore_cleanup_errors=True)
        self._temporary = Path(self._cleanup.enter_context(folder))
        # workers read the job from a file: a pipe would make each wait until the one before it
        # has started
        (self._temporary / _JOB).write_bytes(pickle.dumps(self._job))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._cleanup:
            for worker in self._staff:
                worker.end()

    def run(self, images: np.ndarray, chunks: Sequence[np.ndarray]) -> Iterator[Outcome]:
        waiting = deque((indices, 1) for indices in chunks)
        while waiting or any(worker.task for worker in self._staff):
            busy = sum(worker.task is not None for worker in self._staff)
            while len(self._staff) < min(self.workers, busy + len(waiting)):
                self._staff.append(self._hire())
            for worker in self._staff:
                if waiting and worker.idle:
                    indices, attempt = waiting.popleft()
                    worker.give(indices, attempt, images[indices], self._job.numbers(indices))
            ready = wait([worker.connection for worker in self._staff])
            for worker in [w for w in self._staff if w.connection in ready]:
                content: Any
                try:
                    kind, content = worker.connection.recv()
                except (EOFError, OSError):
                    kind, content = "died", worker.bury()
                    self._staff.remove(worker)
                if kind == "ready":
                    worker.ready = True
                    self._died_building = 0
                    self.build_seconds = max(self.build_seconds, content)
                    continue
                if kind == "unbuildable":
                    raise content
                task, worker.task = worker.task, None
                if task is None:
                    if not worker.ready:
                        self._note_death_while_building(content)
                elif kind == "done":
                    yield Outcome(task[0], content)
                elif task[1] < ATTEMPTS:
                    waiting.append((task[0], task[1] + 1))
                else:
                    yield Outcome(task[0], error=content)

    def _hire(self) -> _Worker:
        self._hired += 1
        return _Worker(self._temporary, self._directory, self._hired, self.workers)

    def _note_death_while_building(self, how: str) -> None:
        self._died_building += 1
        if self._died_building >= ATTEMPTS * self.workers:
            raise BuildError(
                f"Workers end before they have built the network; the last one {how}. Is there "
                "memory for so many? A script that uses workers must do so under "
                "`if __name__ == '__main__':`, because each worker imports it."
            )


class _Worker:
    """One process, seen from the one that has started it."""

    def __init__(self, temporary: Path, directory: Path | None, number: int, workers: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, there = context.Pipe()
        name = f"worker_{number}"
        folder = (directory or temporary) / name
        self.process = context.Process(
            target=_work, args=(temporary, there, folder), daemon=True, name=name
        )
        with _environment(temporary, max(1, cores() // workers)), _deaf_to_interrupts():
            self.process.start()
        # the worker's end of the pipe is to close when the worker ends
        there.close()
        self.ready = False
        self.task: tuple[np.ndarray, int] | None = None

    @property
    def idle(self) -> bool:
        return self.ready and self.task is None

    def give(
        self, indices: np.ndarray, attempt: int, images: np.ndarray, numbers: np.ndarray
    ) -> None:
        self.task = (indices, attempt)
        # one that has died meanwhile is noticed when its answer is waited for
        with suppress(OSError):
            self.connection.send((images, numbers))

    def bury(self) -> str:
        """Clean up after a worker that has died; return how it did."""
        self._kill()
        code = self.process.exitcode
        if code is not None and code < 0:
            return f"worker was ended by signal {-code} ({signal.Signals(-code).name})"
        return f"worker ended with status {code}"

    def end(self) -> None:
        """End a worker: in peace if it has nothing to do."""
        if self.idle:
            with suppress(OSError):
                self.connection.send(None)
                self.process.join(_PATIENCE)
        self._kill()

    def _kill(self) -> None:
        # with all that it has started: it leads a group of its own
        pid = self.process.pid
        assert pid is not None
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        self.process.kill()
        self.process.join()
        self.connection.close()


def _work(temporary: Path, connection: Connection, folder: Path) -> None:
    """Be a worker: build, then simulate what comes until nothing more does."""
    # a group of its own, so that all that it starts can be ended with it
    os.setsid()
    watch = threading.Thread(target=_end_with_parent, args=(temporary,), daemon=True)
    watch.start()
    try:
        try:
            job = pickle.loads((temporary / _JOB).read_bytes())
            with open_presenter(job, folder) as presenter:
                connection.send(("ready", presenter.build_seconds))
                while (chunk := connection.recv()) is not None:
                    connection.send(_attempt(presenter.present, *chunk))
        except BsnnError as error:
            connection.send(("unbuildable", error))
        except (EOFError, ConnectionError):
            raise
        except Exception as error:
            connection.send(("unbuildable", BuildError(describe(error))))
    except (EOFError, ConnectionError):
        # nobody is there any more: the thread cleans up, and ends this process
        watch.join()


def _attempt(
    present: Callable[[np.ndarray, np.ndarray], Presented], images: np.ndarray, numbers: np.ndarray
) -> tuple[str, Presented | str]:
    try:
        return "done", present(images, numbers)
    except Exception as error:
        return "failed", describe(error)


def _end_with_parent(temporary: Path) -> None:
    """End this worker, with all that it has started, when the process that started it ends."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            child.kill()
    deadline = time.monotonic() + _PATIENCE
    while temporary.exists() and time.monotonic() < deadline:
        # other workers may be writing there until they do the same
        shutil.rmtree(temporary, ignore_errors=True)
        time.sleep(0.05)
    os.killpg(0, signal.SIGKILL)


@contextmanager
def _environment(temporary: Path, threads: int) -> Iterator[None]:
    """Let processes that are started in a block leave nothing behind, and share the processors."""
    before = dict(os.environ)
    os.environ["TMPDIR"] = str(temporary)
    for name in _THREAD_VARIABLES:
        os.environ.setdefault(name, str(threads))
    try:
        yield
    finally:
        for name in ("TMPDIR", *_THREAD_VARIABLES):
            os.environ.pop(name)
            if name in before:
                os.environ[name] = before[name]


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Let Ctrl-C not reach processes that are started in a block, nor what they start.

    It is blocked, because an ignored one would be heard again once a process imports Brian2, which
    sets a handler. One that comes during the block reaches this process after it.
    """
    # started later, it would unblock the signal
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
