"""The data of the page's script: recorded spikes as compact JSON."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np

from bsnn.conversion import SpikingModel
from bsnn.explain.recording import Recording, Spikes

__all__ = ["embedded", "frame_length"]

# Frames that can be told apart in a timeline, and by those who step through them.
_MOST_FRAMES = 300
# Spikes of a neuron in a frame take two to four bytes, in base64 a third more.
_MOST_ENTRIES = 1_200_000


def embedded(
    recording: Recording,
    *,
    labels: Sequence[int] | None = None,
    classes: Sequence[str] | None = None,
    first: int = 0,
    frame: int = 1,
) -> dict[str, Any]:
    """Return a recording as data for JSON.

    Time is cut into frames of as many steps. Spikes of an image in a layer are two or three arrays:
    how many neurons spike in each frame (``counts``, uint32), one after another these neurons, in
    the layer's layout (``neurons``, uint16, in layers of more than 65,536 neurons uint32), and, if
    a frame is more than a step, how often each does (``times``, uint16). Arrays are in base64, the
    lowest byte first.

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
    frame : int
        Steps that are shown together; the last frame may have fewer.
    """
    model, schedule = recording.model, recording.model.schedule()
    last_steps = np.minimum(np.arange(frame, recording.steps + frame, frame), recording.steps) - 1
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
                    "start": schedule.first_step(name),
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
                "output": _base64(recording.output[k, last_steps], "<f4"),
                "spikes": {
                    layer["name"]: _packed(
                        recording.spikes[layer["name"]][k], frame, len(last_steps), layer["wide"]
                    )
                    for layer in layers
                },
            }
        )
    return {
        "coding": model.coding,
        "pipelined": model.pipelined,
        # whether the last layer is read in each step, and what a spike encodes, as a share of the
        # largest value, in each step of its window; null where only the number of spikes counts
        "read_each_step": model.read_each_step,
        "worth": _worth(model) if model.timed else None,
        "window": model.steps,
        "steps": recording.steps,
        "frame": frame,
        "pixels": list(model.graph.input.shape),
        "classes": [str(k) for k in range(size)] if classes is None else list(classes),
        "layers": layers,
        "images": images,
    }


def _worth(model: SpikingModel) -> list[float]:
    name = model.input.name
    recorded = model.spike_worth(np.arange(model.steps))
    return (model.decode(name, recorded) / model.scales[name]).tolist()


def frame_length(recording: Recording, most: int = _MOST_ENTRIES) -> int:
    """Return how many steps of a recording a page shows together.

    One, if there are few enough; always, where a spike's step is what it says. Otherwise so many
    that the page does not become too large for a browser.
    """
    if recording.model.timed:
        return 1
    frame = -(-recording.steps // _MOST_FRAMES)
    while frame < recording.steps and _entries(recording, frame) > most:
        frame = min(2 * frame, recording.steps)
    return frame


def _entries(recording: Recording, frame: int) -> int:
    """Return how often a neuron spikes at least once in a frame."""
    return sum(
        len(_in_frames(spikes, frame)[0])
        for images in recording.spikes.values()
        for spikes in images
    )


def _in_frames(spikes: Spikes, frame: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return frame, neuron and number of spikes of each neuron that spikes in a frame."""
    neurons = spikes.neurons.astype(np.int64)
    size = int(neurons.max(initial=0)) + 1
    found, times = np.unique(spikes.steps // frame * size + neurons, return_counts=True)
    return *np.divmod(found, size), times


def _packed(spikes: Spikes, frame: int, frames: int, wide: bool) -> dict[str, str]:
    when, neurons, times = _in_frames(spikes, frame)
    packed = {
        "counts": _base64(np.bincount(when, minlength=frames), "<u4"),
        "neurons": _base64(neurons, "<u4" if wide else "<u2"),
    }
    if frame > 1:
        packed["times"] = _base64(times, "<u2")
    return packed


def _base64(values: np.ndarray, dtype: str) -> str:
    return base64.b64encode(np.ascontiguousarray(values, dtype).tobytes()).decode("ascii")
