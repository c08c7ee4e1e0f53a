"""Options that say which images a network is shown."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import typer

import bsnn
from bsnn.cli.groups import group, option
from bsnn.cli.output import console
from bsnn.datasets import LOADERS, Dataset
from bsnn.errors import SettingsError, SimulationError
from bsnn.registry import unknown_name

__all__ = ["SOURCES_HELP", "SOURCE_OPTIONS", "Shown", "load_data", "shown_options"]


@dataclasses.dataclass(frozen=True)
class Shown:
    """Test images of a data set.

    Attributes
    ----------
    dataset : str or None
        Its name; by default that which the network was calibrated on.
    data : path or None
        Folder with its files.
    image_size : str or None
        To which the images of a folder are brought.
    images, first : int
        How many, from which on.
    split : str
        ``"test"`` or ``"train"``.
    """

    dataset: str | None
    data: Path | None
    image_size: str | None
    images: int
    first: int
    split: str

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
        wanted = spiking.graph.input.shape
        test = load_data(name, self.split, self.data, self.image_size, wanted)
        shape = test.pixels.shape[1:]
        if shape != wanted:
            raise SimulationError(
                f"The images of {name} have shape {shape}, but the network takes {wanted}. It was "
                f"calibrated on {calibrated_on or 'images of its own'}: name the right data set "
                "with --dataset, or the size of a folder's images with --image-size."
            )
        if calibrated_on in LOADERS and name.removesuffix("-sample") != calibrated_on:
            console.print(
                f"[yellow]Note:[/] the network was calibrated on {calibrated_on}, not on {name}."
            )
        if len(test.approximate):
            console.print(
                f"[yellow]Note:[/] {len(test.approximate)} {self.split} images of {name} are "
                "approximate and left out (approximate_images.csv)."
            )
        test = test.exact()
        if self.first >= len(test):
            raise SimulationError(
                f"--first {self.first}: {name} has {len(test)} {self.split} images."
            )
        return test.first(self.images, self.first)


def load_data(
    name: str,
    split: str,
    folder: Path | None,
    size: str | None = None,
    shape: tuple[int, ...] | None = None,
) -> Dataset:
    """Load a part of a data set, as a network takes its images.

    Parameters
    ----------
    name : str
        As `bsnn.datasets.load` takes it; empty where a model does not say what it was made with.
    split, folder
        See `bsnn.datasets.load`.
    size : str, optional
        What ``--image-size`` says.
    shape : tuple of int, optional
        Of the images that the network takes.
    """
    if not name:
        raise unknown_name(name, LOADERS, LOADERS.kind, advice="Name one with --dataset.")
    channels = shape[0] if shape is not None and len(shape) == 3 else None
    wanted = None if size is None else parse_size(size)
    return bsnn.datasets.load(name, split, folder, image_size=wanted, channels=channels)


def parse_size(text: str) -> tuple[int, int]:
    """Read a size such as ``224`` or ``28,32``: height and width."""
    try:
        sides = [int(part) for part in text.split(",")]
    except ValueError:
        sides = []
    if len(sides) not in (1, 2) or min(sides) < 1:
        raise SettingsError(
            f"--image-size {text!r} is no size. Write height and width, such as 28,32, or one "
            "number for both."
        )
    return sides[0], sides[-1]


#: Which data sets the commands take, for their help.
SOURCES_HELP = (
    f"{', '.join(LOADERS)}, a folder of images with a folder for each class, an .npz file with "
    "images and labels, or an .npy file with images."
)

#: Options that say where images are.
SOURCE_OPTIONS = (
    option(
        "data",
        Path | None,
        typer.Option(
            help="Folder with a published data set's files; otherwise BSNN_DATA, or a download."
        ),
    ),
    option(
        "image_size",
        str | None,
        typer.Option(
            metavar="HEIGHT,WIDTH",
            help="To which the images of a folder are brought: the shorter side is scaled, and the "
            "middle cut out.",
        ),
    ),
)


def shown_options(images: int, what: str = "How many images.", split: str = "test") -> Any:
    """Return options for images of a split, which a command gets as `Shown`."""
    kind = {"test": "Test images", "train": "Training images"}[split]
    return group(
        (
            option(
                "dataset",
                str | None,
                typer.Option(
                    help=f"{kind}: {SOURCES_HELP} By default those of the data set that the model "
                    "was calibrated on."
                ),
            ),
            *SOURCE_OPTIONS,
            option("images", int, typer.Option(min=1, help=what), images),
            option("first", int, typer.Option(min=0, help="Index of the first image."), 0),
        ),
        lambda values: Shown(**values, split=split),
    )
