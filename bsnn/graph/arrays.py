"""Arrays that a user hands over: numbers of any kind that can be meant, and batches of images."""

from __future__ import annotations

import numbers
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from bsnn.errors import GraphError, InputError
from bsnn.graph.layers import Shape

__all__ = ["are_counts", "as_numbers", "image_batch", "images_and_labels", "slices"]

# By which an object offers itself as an array, beside being a sequence of numbers or arrays.
_PROTOCOLS = ("__array__", "__array_interface__", "__array_struct__", "detach")

_KINDS = {
    "c": "complex numbers",
    "M": "dates",
    "m": "times",
    "O": "objects",
    "S": "text",
    "U": "text",
    "V": "records",
}


def as_numbers(values: Any, what: str) -> np.ndarray:
    """Return what a user has given as an array of booleans, whole numbers or floats.

    Parameters
    ----------
    values : array_like
        An array, a tensor of PyTorch (on any device, with or without gradient), a number, or a
        sequence of them.
    what : str
        What they are, for messages: ``"images"``.

    Raises
    ------
    InputError
        It is no array, of no real numbers, or a part of it is masked.
    """
    try:
        array = np.asarray(_plain(values, what))
    except InputError:
        raise
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"The {what} cannot be read as an array of numbers ({error}). Give a numpy array, or "
            "a list of arrays of one shape."
        ) from error
    if array.dtype.kind not in "biuf":
        raise InputError(
            f"The {what} are {_KINDS.get(array.dtype.kind, array.dtype)}; numbers are needed."
        )
    return array


def _plain(values: Any, what: str) -> Any:
    """Return something that numpy takes as it is meant."""
    if isinstance(values, np.ma.MaskedArray):
        if np.ma.is_masked(values):
            raise InputError(
                f"The {what} are masked in {np.ma.count_masked(values)} places, for which no value "
                "is known. Fill them (.filled(0)), or leave out what is masked."
            )
        return values.data
    if hasattr(values, "detach"):
        tensor = values.detach().cpu()
        # numpy does not know all of PyTorch's short floats, and float32 holds each of their values
        short = tensor.is_floating_point() and tensor.element_size() < 4
        return (tensor.float() if short else tensor).numpy()
    if isinstance(values, (list, tuple)) and not all(
        isinstance(value, numbers.Number) for value in values
    ):
        return [_plain(value, what) for value in values]
    offered = any(hasattr(values, name) for name in _PROTOCOLS)
    if not (offered or isinstance(values, (numbers.Number, Sequence))):
        raise InputError(
            f"The {what} are a {type(values).__name__}, not an array. Give a numpy array, such as "
            "one stacked from the items of a data set."
        )
    return values


def images_and_labels(images: Any, labels: Any = None) -> tuple[Any, Any]:
    """Take images, and labels if they have some, out of what holds both.

    Parameters
    ----------
    images : array_like, Dataset or iterable of pairs
        A `bsnn.datasets.Dataset`, or what yields batches of images and labels, such as PyTorch's
        ``DataLoader``, is taken apart; anything else is returned as it is.
    labels : array_like, optional
        Labels that are given beside it, which count.
    """
    if hasattr(images, "pixels") and hasattr(images, "images"):
        return images.images, images.labels if labels is None else labels
    if not (hasattr(images, "dataset") and hasattr(images, "__iter__")):
        return images, labels
    pairs: list[Any] = [batch if isinstance(batch, (tuple, list)) else (batch,) for batch in images]
    if not pairs:
        raise InputError("The loader yields no images.")
    arrays = [as_numbers(pair[0], "images") for pair in pairs]
    if labels is None and all(len(pair) > 1 for pair in pairs):
        labels = np.concatenate([np.ravel(as_numbers(pair[1], "labels")) for pair in pairs])
    return np.concatenate(arrays), labels


def slices(count: int, size: int) -> Iterator[slice]:
    """Yield slices of so many at the most, one after the other."""
    for first in range(0, count, size):
        yield slice(first, min(first + size, count))


def are_counts(images: np.ndarray) -> bool:
    """Say whether images are of a type of whole numbers and have others than -1, 0 and 1."""
    return images.dtype.kind in "iu" and bool(images.min() < -1 or images.max() > 1)


def image_batch(images: Any, shape: Shape) -> tuple[np.ndarray, np.ndarray]:
    """Return a batch of images as float32 or float64, and its extremes.

    Parameters
    ----------
    images : array_like
        Shape ``(n, *shape)``, see `as_numbers`; float64 images stay in float64.
    shape : tuple of int
        Of an image.

    Returns
    -------
    images, extremes : numpy.ndarray
        ``extremes`` has two images, of the lowest and of the highest value that each pixel has, in
        the type that the images came in; zeros where there are no images.

    Raises
    ------
    InputError
        They are no numbers, or not all of them finite.
    GraphError
        They have another shape.
    """
    images = as_numbers(images_and_labels(images)[0], "images")
    if images.ndim == 0 or images.shape[1:] != shape:
        raise GraphError(
            f"images of shape {images.shape} do not fit the network, which takes "
            f"(n, {', '.join(map(str, shape))}){_hint(images.shape, shape)}"
        )
    extremes = np.zeros((2, *shape), images.dtype)
    if len(images):
        images.min(axis=0, out=extremes[0])
        images.max(axis=0, out=extremes[1])
    if not np.isfinite(extremes).all():
        raise InputError("The images have values that are NaN or infinite.")
    return images if images.dtype == np.float64 else images.astype(np.float32, copy=False), extremes


def _hint(given: Shape, wanted: Shape) -> str:
    """Return how images of another shape become those that are wanted; empty if that is unclear."""
    batch = given[1:]
    if given == wanted:
        return ": give a single image a batch axis, image[numpy.newaxis]"
    if len(wanted) == 3 and (*batch[-1:], *batch[:-1]) == wanted:
        return ": move the channels first, images.transpose(0, 3, 1, 2)"
    if len(wanted) == 3 and (*given[-1:], *given[:-1]) == wanted:
        return (
            ": move the channels of a single image first and give it a batch axis, "
            "image.transpose(2, 0, 1)[numpy.newaxis]"
        )
    if (1, *batch) == wanted:
        return ": give them an axis for their one channel, images[:, numpy.newaxis]"
    if len(batch) == 1 and batch[0] == np.prod(wanted):
        return f": give pixels their places, images.reshape(-1, {', '.join(map(str, wanted))})"
    return ""
