"""What can be shown to a network."""

from __future__ import annotations

import numpy as np

from bsnn.conversion import SpikingModel
from bsnn.errors import SimulationError

__all__ = ["checked_images"]


def checked_images(
    model: SpikingModel, images: np.ndarray, labels: np.ndarray | None = None
) -> np.ndarray:
    """Return images as float32 or float64, if a model can be shown them.

    Raises
    ------
    SimulationError
        There are none, or not as many as labels, or values that cannot be coded.
    GraphError
        They have another shape than the network takes.
    """
    images = np.asarray(images)
    if not len(images):
        raise SimulationError("There are no images to simulate.")
    if labels is not None and len(labels) != len(images):
        raise SimulationError(f"There are {len(images)} images but {len(labels)} labels.")
    images = model.graph.check_images(images)
    if not np.isfinite(images).all():
        raise SimulationError("The images have values that are NaN or infinite.")
    model.check_images(images)
    return images
