"""Options that say which images a network is shown."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import typer

import bsnn
from bsnn.cli.groups import group, option
from bsnn.cli.output import console
from bsnn.datasets import DATASETS, Dataset
from bsnn.errors import SettingsError, SimulationError
from bsnn.registry import unknown_name

__all__ = ["Shown", "load_data", "shown_options"]


@dataclasses.dataclass(frozen=True)
class Shown:
    """Test images of a data set.

    Attributes
    ----------
    dataset : str or None
        Its name; by default that which the network was calibrated on.
    data : path or None
        Folder with its files.
    images, first : int
        How many, from which on.
    """

    dataset: str | None
    data: Path | None
    images: int
    first: int

    def with_model(self, path: Path, steps: int | None = None) -> tuple[bsnn.SpikingModel, Dataset]:
        """Load a model, with other steps than its own if they are given, and its images."""
        spiking = bsnn.load_model(path)
        if steps is not None:
            spiking = dataclasses.replace(spiking, steps=steps)
        return spiking, self.load(spiking)

    def load(self, spiking: bsnn.SpikingModel) -> Dataset:
        """Load the images to simulate; say what is unusual about them."""
        calibrated_on = spiking.calibration.get("images_from", "")
        name = self.dataset or calibrated_on
        test = load_data(name, "test", self.data)
        shape, wanted = test.pixels.shape[1:], spiking.graph.input.shape
        if shape != wanted:
            raise SimulationError(
                f"The images of {name} have shape {shape}, but the network takes {wanted}. It was "
                f"calibrated on {calibrated_on}: name the right data set with --dataset."
            )
        if calibrated_on in DATASETS and name.removesuffix("-sample") != calibrated_on:
            console.print(
                f"[yellow]Note:[/] the network was calibrated on {calibrated_on}, not on {name}."
            )
        if len(test.approximate):
            console.print(
                f"[yellow]Note:[/] {len(test.approximate)} test images of {name} are approximate "
                "and left out (approximate_images.csv)."
            )
        test = test.exact()
        if self.first >= len(test):
            raise SimulationError(f"--first {self.first}: {name} has {len(test)} test images.")
        return test.first(self.images, self.first)


def load_data(name: str, part: str, folder: Path | None) -> Dataset:
    """Load a part of a data set, or the sample that comes with bsnn.

    Raises
    ------
    SettingsError
        There is no such data set, or the sample is looked for in a folder.
    """
    if name == "mnist-sample":
        if folder is not None:
            raise SettingsError(
                f"--data {folder}: the images of mnist-sample come with bsnn. Leave it out, or "
                "name another data set."
            )
        return bsnn.datasets.mnist_sample()
    if name not in DATASETS:
        raise unknown_name(
            name, [*DATASETS, "mnist-sample"], DATASETS.kind, advice="Name one with --dataset."
        )
    return bsnn.datasets.load(name, part, folder)


def shown_options(images: int, what: str = "How many images.") -> Any:
    """Return options for test images, which a command gets as `Shown`."""
    return group(
        (
            option(
                "dataset",
                str | None,
                typer.Option(
                    help=f"Test images: {', '.join(DATASETS)}, or mnist-sample (500 images that "
                    "come with bsnn). By default those of the data set that the model was "
                    "calibrated on."
                ),
            ),
            option(
                "data",
                Path | None,
                typer.Option(
                    help="Folder with the data set's files; otherwise BSNN_DATA, or a download."
                ),
            ),
            option("images", int, typer.Option(min=1, help=what), images),
            option("first", int, typer.Option(min=0, help="Index of the first image."), 0),
        ),
        lambda values: Shown(**values),
    )
