"""A simulation as plain data, which can be sent to other processes."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from bsnn.conversion import SpikingModel
from bsnn.storage import weights_sha256

__all__ = ["Job"]


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Job:
    """What a process needs to know to simulate images that it is sent.

    Attributes
    ----------
    model : SpikingModel
        The network.
    device : str
        Name of a device (`bsnn.brian.DEVICES`).
    code_target : str
        Brian2's preference for the code of runtime mode.
    options : dict
        Keyword arguments for `bsnn.build`.
    chunk : int
        Most images in one run.
    batch : int
        Images side by side.
    first_image : int
        Number of the first image, on which its noise depends; those of the others follow.
    """

    model: SpikingModel
    device: str
    code_target: str
    options: dict[str, Any]
    chunk: int
    batch: int = 1
    first_image: int = 0

    def numbers(self, indices: np.ndarray) -> np.ndarray:
        """Return the numbers of images, given their places among those of the simulation."""
        return self.first_image + indices

    def settings(self) -> dict[str, str]:
        """Return all that results depend on, the images apart; how they are dealt out does not."""
        model = self.model
        settings = {
            "network": weights_sha256(model.graph),
            "coding": model.coding,
            **_readable(model.settings()),
            "first image": self.first_image,
            "device": self.device,
            **dict(sorted(self.options.items())),
            # its equations, not only its name
            "neuron": repr(self.options["neuron"]),
        }
        if self.device == "runtime":
            settings["code target"] = self.code_target
        return {name: str(value) for name, value in settings.items()}


def _readable(value: Any) -> Any:
    """Turn arrays into lists, whose text is complete."""
    if isinstance(value, dict):
        return {name: _readable(value[name]) for name in sorted(value)}
    return value.tolist() if isinstance(value, np.ndarray) else value
