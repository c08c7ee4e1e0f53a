"""What the page's script shows: recorded spikes as compact JSON."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from bsnn.analysis.recording import Recording, Spikes

__all__ = ["embedded", "shortened"]

# A spike takes two bytes, in base64 2.7.
_MOST_SPIKES = 1_200_000


def embedded(
    recording: Recording,
    *,
    labels: Sequence[int] | None = None,
    classes: Sequence[str] | None = None,
    first: int = 0,
) -> dict[str, Any]:
    """Return a recording as data for JSON.

    Spikes of an image in a layer are two arrays: how many there are in each step (``counts``,
    uint32), and one after another the neurons that spike, in the layer's layout (``neurons``,
    uint16, in layers of more than 65,536 neurons uint32). Arrays are in base64, the lowest byte
    first.

    Parameters
    ----------
    recording : Recording
        Of at least one image.
    labels : sequence of int, optional
        Classes of its images.
    classes : sequence of str, optional
        Names of the classes; by default their numbers.
    first : int
        Number of the first image.
    """
    model = recording.model
    size = recording.output.shape[2]
    exact = model.graph.forward(recording.images).reshape(len(recording.images), -1)
    layers = []
    for name, population in model.populations.items():
        if model.spikes(name):
            layers.append(
                {
                    "name": name,
                    "role": population.role,
                    "shape": list(population.shape),
                    # in which steps it spikes
                    "start": population.depth * model.steps if model.coding == "ttfs" else 0,
                    "wide": population.size > 65_536,
                }
            )
    largest = max(1.0, float(recording.images.max()))
    images = []
    for k, image in enumerate(recording.images):
        images.append(
            {
                "number": first + k,
                "label": None if labels is None else int(labels[k]),
                "trained": int(exact[k].argmax()),
                "pixels": _base64(np.clip(np.rint(255 * image / largest), 0, 255), "u1"),
                "output": _base64(recording.output[k], "<f4"),
                "spikes": {
                    layer["name"]: _spikes(
                        recording.spikes[layer["name"]][k], recording.steps, layer["wide"]
                    )
                    for layer in layers
                },
            }
        )
    return {
        "coding": model.coding,
        "window": model.steps,
        "steps": recording.steps,
        "pixels": list(model.graph.input.shape),
        "classes": [str(k) for k in range(size)] if classes is None else list(classes),
        "layers": layers,
        "images": images,
    }


def shortened(recording: Recording, most: int = _MOST_SPIKES) -> Recording:
    """Leave out the last steps of a rate-coded recording with more spikes than a page should have.

    Spikes in time-to-first-spike coding are few, and all steps are needed.
    """
    if recording.model.coding == "ttfs":
        return recording
    in_step = np.zeros(recording.steps, np.int64)
    for images in recording.spikes.values():
        for spikes in images:
            in_step += np.bincount(spikes.steps, minlength=recording.steps)
    steps = max(1, int(np.searchsorted(in_step.cumsum(), most, side="right")))
    if steps >= recording.steps:
        return recording
    return dataclasses.replace(
        recording,
        steps=steps,
        output=recording.output[:, :steps],
        spikes={
            name: [
                Spikes(spikes.neurons[spikes.steps < steps], spikes.steps[spikes.steps < steps])
                for spikes in images
            ]
            for name, images in recording.spikes.items()
        },
    )


def _spikes(spikes: Spikes, steps: int, wide: bool) -> dict[str, str]:
    return {
        "counts": _base64(np.bincount(spikes.steps, minlength=steps), "<u4"),
        "neurons": _base64(spikes.neurons, "<u4" if wide else "<u2"),
    }


def _base64(values: np.ndarray, dtype: str) -> str:
    return base64.b64encode(np.ascontiguousarray(values, dtype).tobytes()).decode("ascii")
