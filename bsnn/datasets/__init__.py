"""Images with labels: published data sets, files and folders of one's own, and registered ones."""

from __future__ import annotations

import csv
import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bsnn.datasets.dataset import Dataset
from bsnn.datasets.downloads import download
from bsnn.datasets.files import is_file_source, read_files
from bsnn.datasets.formats import PACKINGS, read_cifar_batch, read_idx
from bsnn.datasets.registry import DATASETS, DatasetSpec
from bsnn.errors import DatasetError
from bsnn.graph import as_numbers
from bsnn.registry import Registry, unknown_name

__all__ = [
    "DATASETS",
    "DATA_VARIABLE",
    "LOADERS",
    "Dataset",
    "load",
    "mnist_sample",
    "register",
]

#: Environment variable that names the folder in which data sets lie.
DATA_VARIABLE = "BSNN_DATA"

_SAMPLE = Path(__file__).with_name("mnist_test_500.npz")


#: What gives a data set by its name: functions of a split and of the folder that a user names.
LOADERS: Registry[Callable[[str, str | os.PathLike[str] | None], Dataset]] = Registry("data set")


def register(name: str, loader: Callable[[str], Dataset | tuple[Any, Any]]) -> None:
    """Make a data set of one's own known by a name.

    Parameters
    ----------
    name : str
        Under which `load` and all commands find it.
    loader : callable
        Given ``"train"`` or ``"test"``, returns a `Dataset`, or images of shape
        ``(n, channels, height, width)`` and labels.

    Raises
    ------
    SettingsError
        The name is another data set's.
    """

    def load_registered(split: str, data: str | os.PathLike[str] | None) -> Dataset:
        _refuse_folder(name, data)
        found = loader(split)
        if isinstance(found, Dataset):
            return found
        images, labels = found
        pixels, labels = as_numbers(images, "images"), as_numbers(labels, "labels")
        return Dataset(name, split, pixels, labels.astype(np.int64), (), np.empty(0, np.int64))

    LOADERS.add(name, load_registered)


def load(
    name: str,
    split: str = "test",
    data: str | os.PathLike[str] | None = None,
    *,
    image_size: tuple[int, int] | None = None,
    channels: int | None = None,
) -> Dataset:
    """Read a data set.

    Parameters
    ----------
    name : str
        A name in `LOADERS`, such as ``"mnist"``, ``"fashion-mnist"``, ``"cifar10"`` or
        ``"mnist-sample"`` (test images that come with bsnn); or a file or folder of one's own (see
        `bsnn.datasets.files.read_files`).
    split : str
        ``"train"`` or ``"test"``.
    data : path, optional
        For published data sets, the folder that holds the published files, raw or packed with gzip
        or xz, directly or in a folder of the data set's name. Without it the environment variable
        ``BSNN_DATA`` is used, and without that the files are downloaded into a cache.
    image_size : tuple of int, optional
        Height and width to which the images of a folder are brought.
    channels : int, optional
        Of the images of a folder: 1 for grey, 3 for coloured ones.

    Returns
    -------
    Dataset

    Raises
    ------
    UnknownNameError
        There is no such data set.
    DatasetError
        Unknown split; a file is missing, damaged or not what it should be.
    """
    if split not in ("train", "test"):
        raise DatasetError(f"{name} has no split {split!r}, only train and test.")
    if name not in LOADERS and is_file_source(name):
        _refuse_folder(name, data)
        return read_files(name, split, image_size, channels)
    if image_size is not None:
        raise DatasetError(
            f"The images of {name} have a size of their own: leave image_size (--image-size) out. "
            "It is for a folder of images."
        )
    if name not in LOADERS:
        raise unknown_name(
            name,
            LOADERS,
            LOADERS.kind,
            advice="Or name a folder of images with a folder for each class, or an .npz file.",
        )
    return LOADERS[name](split, data)


def _refuse_folder(name: str, data: str | os.PathLike[str] | None) -> None:
    if data is not None:
        raise DatasetError(
            f"{name} is not looked for in a folder: leave {os.fspath(data)} (--data) out."
        )


def _load_published(name: str, split: str, data: str | os.PathLike[str] | None) -> Dataset:
    spec = DATASETS[name]
    folder = _data_folder(spec, data)
    pixels, labels = _LAYOUTS[spec.layout](spec, split, folder)
    _check(spec, split, folder, pixels, labels)
    approximate = _approximate_images(spec, split, folder)
    return Dataset(spec.name, split, pixels, labels, spec.classes, approximate)


def _load_sample(split: str, data: str | os.PathLike[str] | None) -> Dataset:
    if data is not None:
        raise DatasetError(
            f"The images of mnist-sample come with bsnn: leave {os.fspath(data)} (--data) out."
        )
    return mnist_sample()


for _name in DATASETS:
    LOADERS.add(_name, functools.partial(_load_published, _name))
LOADERS.add("mnist-sample", _load_sample)


def mnist_sample() -> Dataset:
    """Return the first 500 images of MNIST's test set, which ship with bsnn."""
    with np.load(_SAMPLE) as arrays:
        pixels, labels = arrays["pixels"], arrays["labels"].astype(np.int64)
    none = np.empty(0, dtype=np.int64)
    return Dataset("mnist-sample", "test", pixels, labels, DATASETS["mnist"].classes, none)


def _data_folder(spec: DatasetSpec, data: str | os.PathLike[str] | None) -> Path:
    data = data if data is not None else os.environ.get(DATA_VARIABLE)
    if data is None:
        return download(spec)
    root = Path(data).expanduser()
    if not root.is_dir():
        raise DatasetError(
            f"The data folder {root} does not exist. Correct --data or {DATA_VARIABLE}, or leave "
            "them out to download the data."
        )
    return root / spec.name if (root / spec.name).is_dir() else root


def _find(folder: Path, file_name: str) -> Path:
    candidates = [folder / (file_name + ending) for ending in PACKINGS]
    nested = [folder / "cifar-10-batches-bin" / file_name]
    for path in candidates + nested:
        if path.is_file():
            return path
    raise DatasetError(
        f"{folder} holds no file {file_name} (nor {file_name}.gz or {file_name}.xz). Put the "
        "published file there, or leave out --data to download it."
    )


def _read_idx_part(spec: DatasetSpec, split: str, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    images_file, labels_file = spec.parts[split].files
    images = read_idx(_find(folder, images_file))
    labels = read_idx(_find(folder, labels_file))
    if images.ndim != 3 or labels.ndim != 1:
        raise DatasetError(
            f"{folder}: {images_file} has {images.ndim} dimensions and {labels_file} has "
            f"{labels.ndim}; 3 and 1 are expected. Are the two files exchanged?"
        )
    return images[:, np.newaxis], labels.astype(np.int64)


def _read_cifar_part(spec: DatasetSpec, split: str, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    batches = [read_cifar_batch(_find(folder, file)) for file in spec.parts[split].files]
    pixels, labels = zip(*batches, strict=True)
    return np.concatenate(pixels), np.concatenate(labels)


_LAYOUTS = {"idx": _read_idx_part, "cifar": _read_cifar_part}


def _check(
    spec: DatasetSpec, split: str, folder: Path, pixels: np.ndarray, labels: np.ndarray
) -> None:
    if pixels.shape[1:] != spec.image_shape or len(pixels) != len(labels):
        raise DatasetError(
            f"{folder}: the {split} split of {spec.name} has images of shape {pixels.shape} and "
            f"{len(labels)} labels; images of shape {spec.image_shape}, one label each, are "
            "expected. Is this another data set?"
        )
    counts = tuple(np.bincount(labels, minlength=len(spec.classes)).tolist())
    if counts != spec.parts[split].label_counts:
        raise DatasetError(
            f"{folder}: the {split} split of {spec.name} holds {list(counts)} images of its "
            f"classes; {list(spec.parts[split].label_counts)} are expected. This is not the "
            f"published {spec.name}: another data set has files of the same names."
        )


def _approximate_images(spec: DatasetSpec, split: str, folder: Path) -> np.ndarray:
    """Indices within the split that ``approximate_images.csv`` beside the data lists."""
    table = folder / "approximate_images.csv"
    if not table.is_file():
        return np.empty(0, dtype=np.int64)
    files = spec.parts[split].files
    batch = sum(spec.parts[split].label_counts) // len(files)
    try:
        with open(table, newline="") as lines:
            rows = [(row["file"], int(row["index_in_file"])) for row in csv.DictReader(lines)]
    except (KeyError, TypeError, ValueError) as error:
        raise DatasetError(
            f"{table} cannot be understood ({error!r}): it needs the columns file and "
            "index_in_file."
        ) from error
    indices = [files.index(file) * batch + index for file, index in rows if file in files]
    return np.array(sorted(indices), dtype=np.int64)
