"""Images that a conversion looks at."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from bsnn.errors import ConversionError
from bsnn.graph import Graph

__all__ = ["calibration_record", "check_calibration_images", "positive_scale"]


def check_calibration_images(graph: Graph, images: np.ndarray) -> np.ndarray:
    """Return the images as the network takes them; refuse an empty batch."""
    images = graph.check_images(images)
    if not len(images):
        raise ConversionError("No calibration images were given.")
    return images


def calibration_record(
    images: np.ndarray, images_from: str, percentile: float | None = None, **further: Any
) -> dict[str, Any]:
    """Return what scales were found with, for the file."""
    record: dict[str, Any] = {
        "images": len(images),
        "images_sha256": hashlib.sha256(
            np.ascontiguousarray(images, dtype="<f4").tobytes()
        ).hexdigest(),
        "images_from": images_from,
        **further,
    }
    if percentile is not None:
        record["percentile"] = float(percentile)
    return record


def positive_scale(scale: float | np.ndarray, layer: str, images: int) -> float | np.ndarray:
    """Return a scale; refuse that of a layer that is never active."""
    if not np.all(np.asarray(scale) > 0):
        raise ConversionError(
            f"The layer {layer!r} is not active for any of the {images} calibration images, so no "
            "scale can be found for it. Calibrate with more images, or remove the layer."
        )
    return scale
