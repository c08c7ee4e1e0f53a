"""Images of one's own: arrays in a file, or a folder of images with a folder for each class."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bsnn.datasets.dataset import Dataset
from bsnn.errors import DatasetError
from bsnn.progress import progress_bar

__all__ = ["is_file_source", "read_files"]

#: Endings of files that hold arrays.
_ARRAYS = (".npz", ".npy")

#: Endings of files that hold one image.
_IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")

#: Names of images and labels in an .npz file; {} is the split.
_NAMES = (
    ("x_{}", "y_{}"), ("{}_images", "{}_labels"), ("images", "labels"), ("pixels", "labels"),
    ("x", "y"), ("X", "y"), ("data", "labels"), ("data", "target"), ("images", "targets"),
)  # fmt: skip

#: Names that folders of a split may have.
_SPLITS = {"train": ("train", "training"), "test": ("test", "testing", "val", "validation")}


def is_file_source(name: str) -> bool:
    """Say whether a data set is named by a file or folder of the user's."""
    path = Path(name).expanduser()
    return path.suffix.lower() in _ARRAYS or len(path.parts) > 1 or path.is_dir()


def read_files(
    name: str, split: str, size: tuple[int, int] | None = None, channels: int | None = None
) -> Dataset:
    """Read images of one's own.

    Parameters
    ----------
    name : str
        A folder of images with a folder for each class (or with a folder for each split, that has
        one for each class), an ``.npz`` file with images and labels, or an ``.npy`` file with
        images.
    split : str
        ``"train"`` or ``"test"``, for what has parts of these names.
    size : tuple of int, optional
        Height and width to which images of a folder are brought: the shorter side is scaled, and
        the middle cut out.
    channels : int, optional
        1 for grey images, 3 for coloured ones; by default grey if all of them are.

    Raises
    ------
    DatasetError
        There is nothing, or what there is cannot be understood.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        return _read_folder(path, name, split, size, channels)
    if not path.is_file():
        raise DatasetError(
            f"{path} does not exist. Name a folder of images with a folder for each class, an .npz "
            "or .npy file, or a data set that bsnn knows."
        )
    if size is not None:
        raise DatasetError(
            f"{path} holds arrays, which are taken as they are: leave the size out, or name a "
            "folder of images."
        )
    return _read_arrays(path, name, split)


# Arrays


def _read_arrays(path: Path, name: str, split: str) -> Dataset:
    try:
        content = np.load(path, allow_pickle=False)
        if isinstance(content, np.ndarray):
            return _from_arrays(path, name, split, content, None)
        with content:
            keys = list(content.files)
            for pattern in _NAMES:
                images, labels = (part.format(split) for part in pattern)
                if images in keys:
                    found = content[labels] if labels in keys else None
                    return _from_arrays(path, name, split, content[images], found)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DatasetError(
            f"{path} is no file of arrays of numbers, or it is damaged ({error}). Write it with "
            "numpy.savez(path, images=..., labels=...)."
        ) from error
    raise DatasetError(
        f"{path} holds {', '.join(keys) or 'nothing'}: name the arrays images and labels, as "
        "numpy.savez(path, images=..., labels=...) does, or x_train, y_train, x_test and y_test."
    )


def _from_arrays(
    path: Path, name: str, split: str, images: np.ndarray, labels: np.ndarray | None
) -> Dataset:
    if images.dtype.kind not in "buif" or images.ndim not in (2, 3, 4):
        raise DatasetError(
            f"{path}: the images are an array of {images.dtype} of shape {images.shape}. Numbers "
            "of shape (n, channels, height, width) are needed; (n, height, width) and (n, height, "
            "width, channels) are understood, too."
        )
    if images.ndim == 3:
        images = images[:, np.newaxis]
    elif images.ndim == 4 and images.shape[3] in (1, 3) and images.shape[1] not in (1, 3):
        images = images.transpose(0, 3, 1, 2)
    if labels is not None:
        labels = np.squeeze(labels)
        if labels.dtype.kind not in "iu" or labels.shape != (len(images),):
            raise DatasetError(
                f"{path}: the labels are an array of {labels.dtype} of shape {labels.shape}. One "
                f"whole number is needed for each of the {len(images)} images."
            )
        labels = labels.astype(np.int64)
    return _dataset(name, split, images, labels, ())


def _dataset(
    name: str, split: str, pixels: np.ndarray, labels: np.ndarray | None, classes: tuple[str, ...]
) -> Dataset:
    if not len(pixels):
        raise DatasetError(f"{name} holds no images.")
    return Dataset(name, split, pixels, labels, classes, np.empty(0, np.int64))


# Folders


def _read_folder(
    path: Path, name: str, split: str, size: tuple[int, int] | None, channels: int | None
) -> Dataset:
    inside = next((path / part for part in _SPLITS[split] if (path / part).is_dir()), path)
    folders = sorted(part for part in inside.iterdir() if part.is_dir())
    files = [(file, label) for label, part in enumerate(folders) for file in _images_in(part)]
    if not files:
        loose = sum(1 for _ in _images_in(inside))
        raise DatasetError(
            f"{inside} holds no images in folders for each class"
            + (f", but {loose} beside them: put each into a folder of its class" if loose else "")
            + f". Known are {', '.join(_IMAGES)}."
        )
    pixels = _read_images([file for file, _ in files], size, channels)
    labels = np.array([label for _, label in files], np.int64)
    return _dataset(name, split, pixels, labels, tuple(part.name for part in folders))


def _images_in(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in _IMAGES and not path.name.startswith("."):
            yield path


def _read_images(
    files: list[Path], size: tuple[int, int] | None, channels: int | None
) -> np.ndarray:
    from PIL import Image

    first: tuple[Path, Any] | None = None
    pixels = []
    with progress_bar("images") as bar:
        for path in bar.track(files, description="reading images"):
            try:
                with Image.open(path) as image:
                    image.load()
                    array = _pixels(image, size, channels)
            except (OSError, ValueError, SyntaxError) as error:
                raise DatasetError(f"{path} cannot be read as an image ({error}).") from error
            if first is None:
                first = path, array.shape
            if array.ndim != len(first[1]):
                # grey ones among coloured ones
                return _read_images(files, size, 3)
            if array.shape != first[1]:
                raise DatasetError(
                    f"{path} is an image of {array.shape[1]}x{array.shape[0]} pixels, and "
                    f"{first[0]} one of {first[1][1]}x{first[1][0]}. Say to which size they are "
                    "brought: image_size=(height, width), --image-size HEIGHT,WIDTH."
                )
            pixels.append(array)
    stacked = np.stack(pixels)
    return stacked[:, np.newaxis] if stacked.ndim == 3 else stacked.transpose(0, 3, 1, 2)


def _pixels(image: Any, size: tuple[int, int] | None, channels: int | None) -> np.ndarray:
    """Return pixels of shape ``(height, width)``, with three channels if they are coloured."""
    from PIL import Image

    if channels not in (None, 1, 3):
        raise DatasetError(f"Images have 1 or 3 channels, and the network takes {channels}.")
    grey = channels == 1 or (channels is None and image.mode in ("1", "L", "LA", "I", "I;16", "F"))
    if image.mode in ("I", "I;16", "F"):
        raise DatasetError(
            "It has more than 8 bits a pixel. Save such images as arrays: numpy.savez(path, "
            "images=..., labels=...)."
        )
    image = image.convert("L" if grey else "RGB")
    if size is not None and image.size != size[::-1]:
        scale = max(size[0] / image.height, size[1] / image.width)
        scaled = (
            max(size[1], round(image.width * scale)),
            max(size[0], round(image.height * scale)),
        )
        image = image.resize(scaled, Image.Resampling.BILINEAR, reducing_gap=None)
        left, top = (image.width - size[1]) // 2, (image.height - size[0]) // 2
        image = image.crop((left, top, left + size[1], top + size[0]))
    return np.asarray(image)
