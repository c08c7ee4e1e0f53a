"""Keeping a training: a checkpoint and a line of the log after each epoch, to go on from."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
from pathlib import Path
from typing import Any

import torch

from bsnn.errors import SettingsError

__all__ = ["TrainingFolder", "save_torch"]

logger = logging.getLogger(__name__)


class TrainingFolder:
    """A folder with ``checkpoint.pt``, ``log.jsonl`` and, at the end, ``weights.pt``.

    Parameters
    ----------
    path : path
        The folder; made if it does not exist.
    settings : dataclass
        What determines the training.
    resume : bool
        Go on from the checkpoint, if there is one; otherwise the log begins anew.

    Attributes
    ----------
    state : dict or None
        What the checkpoint holds, if there is one to go on from.

    Raises
    ------
    SettingsError
        The checkpoint was made with other settings.
    """

    def __init__(self, path: str | os.PathLike[str], settings: Any, *, resume: bool) -> None:
        self._path = Path(path)
        self._path.mkdir(parents=True, exist_ok=True)
        self._settings = dataclasses.asdict(settings)
        self.state: dict[str, Any] | None = None
        checkpoint = self._path / "checkpoint.pt"
        if not (resume and checkpoint.exists()):
            (self._path / "log.jsonl").unlink(missing_ok=True)
            return
        state = torch.load(checkpoint, weights_only=True)
        if state["settings"] != self._settings:
            raise SettingsError(
                f"{checkpoint} was made with other settings ({state['settings']}). Use those, or "
                "another folder."
            )
        torch.set_rng_state(state["rng"])
        self.state = state

    @property
    def epochs_done(self) -> int:
        """Epochs after which training goes on."""
        return 0 if self.state is None else self.state["epoch"]

    def keep(self, line: dict[str, Any], state: dict[str, Any]) -> None:
        """Add a line, which has the number of the epoch, to the log, and write a checkpoint."""
        with open(self._path / "log.jsonl", "a") as file:
            file.write(json.dumps(line) + "\n")
        logger.info("%s", line)
        whole = {
            **state,
            "rng": torch.get_rng_state(),
            "epoch": line["epoch"],
            "settings": self._settings,
        }
        save_torch(whole, self._path / "checkpoint.pt")

    def finish(self, weights: dict[str, Any]) -> None:
        """Write the trained weights."""
        save_torch(weights, self._path / "weights.pt")


def save_torch(state: object, path: Path) -> None:
    """Write a torch file atomically."""
    temporary = path.with_name(path.name + ".partial")
    torch.save(state, temporary)
    os.replace(temporary, path)
