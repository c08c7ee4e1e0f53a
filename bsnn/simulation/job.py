"""A simulation as plain data, which can be sent to other processes."""

from __future__ import annotations

import dataclasses
from typing import Any

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
    """

    model: SpikingModel
    device: str
    code_target: str
    options: dict[str, Any]
    chunk: int

    def settings(self) -> dict[str, str]:
        """Return all that results depend on, the images apart; how they are dealt out does not."""
        model = self.model
        settings = {
            "network": weights_sha256(model.graph),
            "steps per window": model.steps,
            "scales": {name: float(model.scales[name]) for name in sorted(model.scales)},
            "rounding": model.rounding,
            "read-out": model.read_out,
            "device": self.device,
            **dict(sorted(self.options.items())),
        }
        if self.device == "runtime":
            settings["code target"] = self.code_target
        return {name: str(value) for name, value in settings.items()}
