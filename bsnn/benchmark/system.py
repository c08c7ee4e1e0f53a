"""What a system under test is."""

from __future__ import annotations

import abc
import dataclasses
from pathlib import Path

import numpy as np

from bsnn.benchmark.usage import Usage
from bsnn.conversion import SpikingModel, load_model

__all__ = ["Case", "Outcome", "System"]

_MODEL_FILE, _IMAGES_FILE = "model.h5", "images.npz"


@dataclasses.dataclass(frozen=True)
class Case:
    """What all systems simulate.

    Attributes
    ----------
    model : SpikingModel
        The network.
    images : numpy.ndarray
        Shape ``(n, *input_shape)``, float32.
    labels : numpy.ndarray
        True classes.
    """

    model: SpikingModel
    images: np.ndarray
    labels: np.ndarray

    def first(self, count: int | None) -> Case:
        """Return the case of the first images; all of them for None."""
        return dataclasses.replace(self, images=self.images[:count], labels=self.labels[:count])

    def save(self, folder: Path) -> None:
        """Write the case into a folder."""
        self.model.save(folder / _MODEL_FILE)
        np.savez(folder / _IMAGES_FILE, images=self.images, labels=self.labels)

    @classmethod
    def load(cls, folder: Path) -> Case:
        """Read what `save` has written."""
        with np.load(folder / _IMAGES_FILE) as arrays:
            return cls(load_model(folder / _MODEL_FILE), arrays["images"], arrays["labels"])


@dataclasses.dataclass(frozen=True)
class Outcome:
    """One run of a system on all images of its case.

    Attributes
    ----------
    usage : Usage
        Of the simulating process.
    predictions : numpy.ndarray
        Class of each image.
    events : int or None
        Synaptic events in all: each spike times its true fan-out over connections with weights.
        None for a system that does not count them.
    """

    usage: Usage
    predictions: np.ndarray
    events: int | None = None


class System(abc.ABC):
    """A way to simulate a converted network, measured in a process of its own.

    Attributes
    ----------
    name : str
        On the command line and in tables.
    about : str
        One line for the reader of a table.
    code : str or None
        None for the network's own code. Systems with another one do other work: their rows are
        context, and enter no ratio.
    most_images : int or None
        How many images are enough for a slow system.
    """

    name: str
    about: str
    code: str | None = None
    most_images: int | None = None

    def missing(self) -> str | None:
        """Return what this machine lacks to run the system; None if it can."""
        return None

    @abc.abstractmethod
    def prepare(self, case: Case, folder: Path) -> None:
        """Do all that comes before the first image; `folder` is empty and the system's own."""

    @abc.abstractmethod
    def run(self) -> Outcome:
        """Simulate all images once."""
