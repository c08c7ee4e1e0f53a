"""What can be shown to a network, and how it is labelled."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from bsnn.conversion import SpikingModel
from bsnn.errors import InputError
from bsnn.graph import as_numbers, images_and_labels

__all__ = ["check_classes", "checked_images", "checked_labels"]


def checked_images(
    model: SpikingModel, images: ArrayLike, labels: ArrayLike | None = None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return images and labels as arrays, if a model can be shown the ones and the others fit.

    Parameters
    ----------
    model : SpikingModel
        The network.
    images : array_like
        Shape ``(n, *input_shape)``: arrays, tensors of PyTorch, lists of them; or what holds
        labels too (see `bsnn.graph.images_and_labels`).
    labels : array_like, optional
        See `checked_labels`.

    Returns
    -------
    images, labels : numpy.ndarray
        float32 or float64, and int64 or None.

    Raises
    ------
    InputError
        There are no images, or they have values that cannot be coded or meant; labels do not fit
        them, or the network gives no classes.
    GraphError
        The images have another shape than the network takes.
    """
    images, labels = images_and_labels(images, labels)
    images = model.check_images(images)
    return images, None if labels is None else checked_labels(model, labels, len(images))


def checked_labels(model: SpikingModel, labels: ArrayLike, images: int) -> np.ndarray:
    """Return the labels of so many images as int64, if each is the number of a class.

    Raises
    ------
    InputError
        There is not one for each image, one that is not a class of the network, or the network
        gives no classes.
    """
    check_classes(model)
    labels, classes = as_numbers(labels, "labels"), model.output.size
    if labels.shape != (images,):
        raise InputError(_other_shape(labels.shape, images, classes))
    if not (np.isfinite(labels).all() and (labels == np.rint(labels)).all()):
        raise InputError(
            "The labels are not all whole numbers. A label is the number of a class, from 0 to "
            f"{classes - 1}."
        )
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        counted_from_one = low == 1 and high == classes
        raise InputError(
            f"The labels go from {low} to {high}, and the network has {classes} output(s): a label "
            f"is the number of a class, from 0 to {classes - 1}."
            + (" They are counted from 1: subtract 1." if counted_from_one else "")
        )
    return labels.astype(np.int64, copy=False)


def check_classes(model: SpikingModel) -> None:
    """Refuse, with an `InputError`, a network whose last layer is a map, which has no classes."""
    output = model.output
    if output.size > output.shape[0]:
        raise InputError(
            f"The network's last layer, {output.layer!r}, is a map of "
            f"{'x'.join(map(str, output.shape))} values (channels, rows, columns), from which no "
            "class can be read. Let the network end with one value for each class, such as by "
            "nn.AdaptiveAvgPool2d(1) and nn.Flatten(), and convert it again; or simulate it "
            "without labels, and look at Result.potentials."
        )


def _other_shape(shape: tuple[int, ...], images: int, classes: int) -> str:
    if len(shape) == 1:
        return (
            f"There are {images} images but {shape[0]} labels: give one label for each image, or "
            "none."
        )
    text = f"The labels have the shape {shape}: give one label for each image, shape ({images},)."
    if shape == (images, 1):
        return f"{text} Drop the second axis, labels[:, 0]."
    if shape == (images, classes):
        return f"{text} If they are one-hot or scores, labels.argmax(axis=1) is their classes."
    return text
