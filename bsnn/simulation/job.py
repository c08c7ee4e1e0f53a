"""A simulation as plain data, which can be sent to other processes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from bsnn.conversion import SpikingModel
from bsnn.devices import DEVICES
from bsnn.graph.files import weights_sha256
from bsnn.settings import Setup

__all__ = ["Job"]


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Job:
    """What a process needs to know to simulate images that it is sent.

    Attributes
    ----------
    model : SpikingModel
        The network.
    device : str
        Name of a device (`bsnn.devices.DEVICES`).
    code_target : str
        Brian2's preference for the code of runtime mode.
    setup : Setup
        What is built of it.
    chunk : int
        Most images in one run.
    first_image : int
        Number of the first image, on which its noise depends; those of the others follow.
    further : mapping of str to object
        What else results depend on.
    """

    model: SpikingModel
    device: str
    code_target: str
    setup: Setup
    chunk: int
    first_image: int = 0
    further: Mapping[str, Any] = dataclasses.field(default_factory=dict)

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
            **dict(sorted({**self.setup.of_network(), **self.further}.items())),
            # its equations, not only its name
            "neuron": repr(self.setup.neuron),
        }
        if DEVICES[self.device].language is None:
            settings["code target"] = self.code_target
        return {name: str(value) for name, value in settings.items()}


def _readable(value: Any) -> Any:
    """Turn arrays into lists, whose text is complete."""
    if isinstance(value, dict):
        return {name: _readable(value[name]) for name in sorted(value)}
    return value.tolist() if isinstance(value, np.ndarray) else value
