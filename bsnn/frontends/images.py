"""Images as a trained network takes them: their normalisation, and what to know of their layout."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike

from bsnn.errors import ConversionError, GraphError, InputError
from bsnn.frontends.draft import Layout
from bsnn.frontends.draft_layers import FINAL
from bsnn.frontends.folding import Folded
from bsnn.graph import Graph, Normalise, as_numbers

__all__ = ["Results", "normalisation", "notes"]


def normalisation(
    shape: tuple[int, ...], mean: ArrayLike | None, std: ArrayLike | None
) -> Normalise | None:
    """Return the layer that normalises images; None if there are neither mean nor deviation."""
    if mean is None and std is None:
        return None
    layer = Normalise(
        name="normalise",
        mean=_per_value("mean", np.zeros(shape[0]) if mean is None else mean, shape),
        std=_per_value("std", np.ones(shape[0]) if std is None else std, shape),
    )
    try:
        layer.output_shape(shape)
    except GraphError as error:
        raise ConversionError(f"mean and std do not fit: {error}.") from error
    return layer


def _per_value(name: str, values: ArrayLike, shape: tuple[int, ...]) -> np.ndarray:
    """Return a mean or a deviation with the axes of an image."""
    try:
        array = as_numbers(values, f"values of {name}").astype(np.float32)
    except InputError as error:
        raise ConversionError(f"The network cannot be converted: {error}") from error
    per_channel = (shape[0], *(1,) * (len(shape) - 1))
    if array.shape == shape[:1]:
        array = array.reshape(per_channel)
    if array.shape not in (shape, per_channel):
        raise ConversionError(
            f"{name} has the shape {array.shape}. One number is needed for each of the {shape[0]} "
            f"channels of an image of shape {shape}, or one for each of its pixels."
        )
    return array


def notes(layout: Layout, folded: Folded) -> list[str]:
    """Say what a user has to know of a converted network's images and results."""
    found = []
    if layout.kind == "row":
        found.append(
            f"Signals are maps of one row: the network takes images of shape {layout.graph_shape}."
        )
    if layout.kind == "channels last":
        found.append(
            "Images have their channels first here: the network takes images of shape "
            f"{layout.graph_shape}, not {layout.shape}."
        )
    if folded.final is not None:
        two = " There are two classes now: the second is that of values above zero."
        found.append(
            f"The {folded.final} behind the last layer is left out, which changes no class: the "
            f"results are those before it.{two if folded.two_classes else ''}"
        )
    return found


@dataclasses.dataclass(frozen=True)
class Results:
    """How a model's images and results differ from those of its graph.

    Attributes
    ----------
    layout : Layout
        Of its images.
    final : str or None
        What the model does with its result and the graph does not, a name in `FINAL`.
    two_classes : bool
        The graph has a zero before the model's only value.
    normalised : bool
        The graph normalises images that the model takes normalised.
    """

    layout: Layout
    final: str | None = None
    two_classes: bool = False
    normalised: bool = False

    def raw_images(self, graph: Graph, images: np.ndarray) -> np.ndarray:
        """Return the images that the graph takes for those that the model takes, in their type."""
        images = self.layout.to_graph(images)
        if not self.normalised:
            return images
        mean, std = (array.astype(images.dtype) for array in graph["normalise"].arrays.values())
        return images * std + mean

    def of_model(self, values: np.ndarray) -> np.ndarray:
        """Return what the model makes of the values of the graph's last layer."""
        if self.two_classes:
            values = values[:, 1:]
        return values if self.final is None else FINAL[self.final](values)
