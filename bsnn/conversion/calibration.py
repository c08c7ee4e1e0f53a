"""Images that a conversion looks at."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from bsnn.conversion.pixels import refusal
from bsnn.errors import ConversionError, InputError
from bsnn.graph import Graph, image_batch

__all__ = [
    "DEFAULT_PERCENTILE",
    "calibration_images",
    "calibration_record",
    "calibration_refused",
    "chosen_percentile",
    "positive_scale",
    "scale_of_silence",
]

#: Of the activations that are not zero, where a normalisation looks at one.
DEFAULT_PERCENTILE = 99.9


def calibration_images(graph: Graph, images: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return the images as the network takes them, and their extremes (see `image_batch`).

    Raises
    ------
    ConversionError
        There are none, or they are no numbers.
    GraphError
        They have another shape.
    """
    try:
        images, extremes = image_batch(images, graph.input.shape)
    except InputError as error:
        raise ConversionError(f"The network cannot be calibrated: {error}") from error
    if not len(images):
        raise ConversionError("No calibration images were given.")
    return images, extremes


def calibration_refused(
    extremes: np.ndarray, expected: tuple[float, float], normalises: bool = False
) -> ConversionError:
    """Return the error for calibration images with values that a network does not take.

    `normalises` says that the input encodes them after a normalisation.
    """
    text = str(refusal(extremes, expected, "calibration images"))
    if extremes.min() >= 0:
        text += " If the network was trained on such values, "
        if normalises:
            text += "name their mean and std when it is traced."
        else:
            text += f"say so with input_scale={float(extremes.max()):g}."
    return ConversionError(text)


def calibration_record(
    images: np.ndarray,
    extremes: np.ndarray,
    images_from: str,
    percentile: float | None = None,
    **further: Any,
) -> dict[str, Any]:
    """Return what scales were found with, for the file."""
    record: dict[str, Any] = {
        "images": len(images),
        "images_sha256": hashlib.sha256(
            np.ascontiguousarray(images, dtype="<f4").tobytes()
        ).hexdigest(),
        "images_from": images_from,
        "lowest": float(extremes.min()),
        "highest": float(extremes.max()),
        **further,
    }
    if percentile is not None:
        record["percentile"] = float(percentile)
    return record


def chosen_percentile(percentile: float | None, norm: str) -> float:
    """Return the percentile of a conversion, the default one for None.

    Raises
    ------
    ConversionError
        It is out of range, or the normalisation has none.
    """
    if percentile is None:
        return DEFAULT_PERCENTILE
    if norm != "percentile":
        raise ConversionError(
            f"percentile is given, and the normalisation {norm!r} looks at none: leave it out, or "
            "choose norm='percentile'."
        )
    if not 0 < percentile <= 100:
        raise ConversionError(f"percentile is {percentile}; it lies between 0 and 100.")
    return percentile


def scale_of_silence(extent: float) -> float:
    """Return a scale for a last layer that does not spike, and has no positive potentials.

    `extent` is the largest absolute value of them.
    """
    return extent or 1.0


def positive_scale(scale: float | np.ndarray, layer: str, images: int) -> float | np.ndarray:
    """Return a scale; refuse that of a layer that is never active."""
    if not np.all(np.asarray(scale) > 0):
        raise ConversionError(
            f"The layer {layer!r} is not active for any of the {images} calibration images, so no "
            "scale can be found for it. Calibrate with more images, or remove the layer."
        )
    return scale
