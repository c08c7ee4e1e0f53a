"""The schedule of a network: when an image is in which population."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

__all__ = ["Schedule"]


@dataclasses.dataclass(frozen=True)
class Schedule:
    """The time windows in which populations spike for an image, counted in steps.

    Where all layers act in the same steps there is one window an image, of depth 0. In a pipeline
    each layer has a window of its own, after that of the layer before, and the next image may
    enter while others are on their way.

    Attributes
    ----------
    steps : int
        Of a window.
    interval : int
        Windows from the beginning of an image to that of the next.
    depths : mapping of str to int
        By population, the windows from that in which the image enters to that in which it spikes.
    """

    steps: int
    interval: int
    depths: Mapping[str, int]

    @property
    def image_steps(self) -> int:
        """Steps from the beginning of an image to that of the next."""
        return self.interval * self.steps

    def first_step(self, name: str) -> int:
        """Return the step in which the first window of a population begins."""
        return self.depths[name] * self.steps

    def total_steps(self, images: int) -> int:
        """Return the steps until the last of so many images has left the network."""
        windows = (images - 1) * self.interval + max(self.depths.values()) + 1
        return windows * self.steps
