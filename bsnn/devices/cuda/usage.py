"""Memory of a GPU that is in use, as its driver counts it."""

from __future__ import annotations

import csv
import subprocess
import threading
from collections.abc import Callable

import psutil

from bsnn.devices.cuda.gpu import identifier

__all__ = ["MemoryWatch"]

_MIB = 2**20
_PATIENCE = 60


class MemoryWatch:
    """Asks for the memory of a GPU again and again for as long as its block lasts.

    Parameters
    ----------
    gpu : int
        Which of the GPUs that this process may use.

    Attributes
    ----------
    of_processes : int
        Bytes: the most that the processes which this one had started were seen to use. Zero if the
        driver never named one of them, as where processes have other numbers within a container.
    rise : int
        Bytes: the most that all processes together were seen to use more than at the beginning.
    """

    def __init__(self, gpu: int = 0) -> None:
        self._gpu = identifier(gpu)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.of_processes = 0
        self.rise = 0

    def __enter__(self) -> MemoryWatch:
        self._before = self._used()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join(_PATIENCE)

    def _watch(self) -> None:
        while not self._stopped.is_set():
            own = {process.pid for process in psutil.Process().children(recursive=True)}
            by_process = self._ask("--query-compute-apps=pid,used_memory", _process_and_memory)
            used = sum(memory for pid, memory in by_process if pid in own)
            self.of_processes = max(self.of_processes, used)
            self.rise = max(self.rise, self._used() - self._before)

    def _used(self) -> int:
        return sum(self._ask("--query-gpu=memory.used", lambda row: int(row[0]) * _MIB))

    def _ask(self, query: str, take: Callable) -> list:
        """Return what the driver says, row by row, without rows that are no figures."""
        taken: list = []
        command = ["nvidia-smi", "-i", self._gpu, query, "--format=csv,noheader,nounits"]
        try:
            asked = subprocess.run(
                command, capture_output=True, text=True, timeout=_PATIENCE, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            return taken
        for row in csv.reader(asked.stdout.splitlines(), skipinitialspace=True):
            try:
                taken.append(take(row))
            except (ValueError, IndexError):
                # such as [N/A]
                continue
        return taken


def _process_and_memory(row: list[str]) -> tuple[int, int]:
    return int(row[0]), int(row[1]) * _MIB
