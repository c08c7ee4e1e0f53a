"""Keeping what a simulation has found so far, so that another can go on from there."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bsnn.errors import SimulationError, StorageError
from bsnn.simulation.collected import Collected
from bsnn.storage import read_tree, versions, write_tree

__all__ = ["Checkpoint", "all_settings", "array_sha256", "check_same_settings"]

# Seconds between two writings, and the most of the time that writing may take.
_INTERVAL = 1.0
_SHARE = 0.05


class Checkpoint:
    """A file with the records of the images that are done.

    Parameters
    ----------
    path : path
        The file.
    settings : mapping
        What the results depend on besides the images; compared when a simulation is resumed.
    images : numpy.ndarray
        All images of the simulation.
    """

    def __init__(
        self, path: str | os.PathLike[str], settings: Mapping[str, str], images: np.ndarray
    ) -> None:
        self.path = Path(path)
        self._settings = all_settings(settings, images)
        self._next = 0.0

    def resume(self, collected: Collected, *, wanted: bool) -> None:
        """Fill in what the file holds, if there is one.

        Raises
        ------
        SimulationError
            There is one and it was not `wanted`, or it is of a simulation with other settings.
        StorageError
            The file is damaged, or has no seal that would show it.
        """
        if not self.path.exists():
            return
        tree = read_tree(self.path, "checkpoint", sealed=True)
        try:
            settings = tree["settings"]
            if not wanted:
                raise SimulationError(
                    f"{self.path} holds {int(tree['done'].sum()):,} of {len(tree['done']):,} "
                    "images of a simulation that has not come to its end. Go on with it "
                    "(resume=True, --resume), or delete the file to begin anew."
                )
            check_same_settings(self.path, self._settings, settings)
            collected.restore(tree)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise StorageError(
                f"{self.path}: the checkpoint is incomplete ({error!r}). Delete it to begin anew."
            ) from error

    def save(self, collected: Collected) -> None:
        """Write the file."""
        started = time.monotonic()
        write_tree(self.path, "checkpoint", {"settings": self._settings, **collected.tree()})
        ended = time.monotonic()
        self._next = ended + max(_INTERVAL, (ended - started) / _SHARE)

    def save_now_and_then(self, collected: Collected) -> None:
        """Write the file unless that was done a moment ago."""
        if time.monotonic() >= self._next:
            self.save(collected)


def all_settings(settings: Mapping[str, str], images: np.ndarray) -> dict[str, str]:
    """Return settings with all else that results depend on: the images and the versions."""
    found = versions()
    return {
        **settings,
        "images": array_sha256(images),
        "bsnn": found["bsnn_version"],
        "brian2": found["brian2_version"],
    }


def check_same_settings(path: Path, here: Mapping[str, str], there: Mapping[str, str]) -> None:
    """Refuse to go on with a file of other settings, with a `SimulationError` that names them."""
    differing = [name for name in {**here, **there} if here.get(name) != there.get(name)]
    if differing:
        raise SimulationError(
            f"{path} is of a simulation with other settings: "
            + "; ".join(
                f"{name} {_short(there.get(name))} there, {_short(here.get(name))} here"
                for name in differing
            )
            + ". Use the same settings, or delete the file to begin anew."
        )


def array_sha256(array: np.ndarray) -> str:
    """Return the SHA-256 of an array: type, shape and bytes."""
    digest = hashlib.sha256(f"{array.dtype}{array.shape}".encode())
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _short(value: Any) -> str:
    text = "missing" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:16]}..."
