"""The steps that a conversion needs to agree with the trained network, and their cost."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from bsnn.conversion import SpikingModel
from bsnn.errors import SettingsError
from bsnn.network import estimate
from bsnn.progress import progress_bar
from bsnn.simulation.duration import DEVICE_COSTS, estimate_seconds
from bsnn.simulation.shown import check_classes, checked_images

__all__ = ["Forecast", "forecast"]

# Steps that are looked at, by default: so many times the model's.
_FURTHEST = 4

# Images for which the time of a simulation is told.
_IMAGES = 1000


@dataclasses.dataclass(frozen=True, eq=False)
class Forecast:
    """Steps for a wanted agreement with the trained network, and their cost.

    Attributes
    ----------
    wanted : float
        Fraction of images that should have the same class in both networks.
    steps : int or None
        The first number of steps from which on as many have it, and still have it at twice as
        many steps or where the search has ended; None if there is none.
    searched : int
        Up to how many steps was looked.
    agreement : numpy.ndarray
        The fraction with 1, 2, ... steps, as far as was looked.
    images : int
        On how many images.
    spikes, operations : float or None
        Expected spikes and synaptic operations an image, with these steps.
    memory_bytes : dict of str to int
        By connectivity.
    seconds : dict of tuple to tuple of float
        By device and connectivity: seconds to build, and to run a thousand images.
    """

    wanted: float
    steps: int | None
    searched: int
    agreement: np.ndarray
    images: int
    spikes: float | None
    operations: float | None
    memory_bytes: dict[str, int]
    seconds: dict[tuple[str, str], tuple[float, float]]

    def rows(self) -> list[tuple[str, str]]:
        """Return the figures as pairs of a description and a text."""
        wanted = f"steps for the same class in {100 * self.wanted:g} %"
        if self.steps is None:
            best = int(self.agreement.argmax())
            return [
                (wanted, f"not within {self.searched}"),
                ("most", f"{100 * self.agreement[best]:.1f} %, with {best + 1} steps"),
            ]
        return [
            (wanted, f"{self.steps}, on {self.images:,} images"),
            ("same class with these steps", f"{100 * self.agreement[self.steps - 1]:.1f} %"),
            ("expected spikes per image", f"{self.spikes:,.0f}"),
            ("expected synaptic operations per image", f"{self.operations:,.0f}"),
            *(
                (f"memory, connectivity {name}", f"about {memory / 1e9:.2f} GB")
                for name, memory in self.memory_bytes.items()
            ),
            *(
                (
                    f"time on {device}, {connectivity}",
                    f"{build:.0f} s and {run:,.1f} s for {_IMAGES:,} images",
                )
                for (device, connectivity), (build, run) in self.seconds.items()
            ),
            ("time on cuda", "not known beforehand: bsnn bench --device cuda"),
        ]

    def summary(self) -> dict[str, Any]:
        """Return all figures, ready for JSON."""
        return {
            "agreement_wanted": self.wanted,
            "steps": self.steps,
            "steps_searched": self.searched,
            "agreement_at_step": self.agreement.tolist(),
            "images": self.images,
            "spikes": self.spikes,
            "synaptic_operations": self.operations,
            "memory_bytes": self.memory_bytes,
            "seconds": [
                {
                    "device": device,
                    "connectivity": connectivity,
                    "build": build,
                    "run": run,
                    "images": _IMAGES,
                }
                for (device, connectivity), (build, run) in self.seconds.items()
            ],
        }


def forecast(
    model: SpikingModel,
    images: np.ndarray,
    agreement: float = 0.99,
    *,
    steps: int | None = None,
    seed: int = 0,
    progress: bool = True,
) -> Forecast:
    """Find the steps at which a spiking network agrees with the trained one, and their cost.

    Parameters
    ----------
    model : SpikingModel
        The converted network; its scales are kept.
    images : numpy.ndarray
        Shape ``(n, *input_shape)``.
    agreement : float
        Fraction of the images that should have the same class in both networks.
    steps : int, optional
        Up to how many steps to look; by default four times the model's.
    seed : int
        Of the noise of a Poisson input.
    progress : bool
        Show a progress bar.

    Raises
    ------
    SettingsError
        The agreement is no fraction.
    InputError
        The images do not fit the network, or the network gives no classes.
    """
    if not 0 < agreement <= 1:
        raise SettingsError(f"The wanted agreement is {agreement:g}; it is a fraction up to 1.")
    check_classes(model)
    images, _ = checked_images(model, images)
    images = images.astype(np.float64, copy=False)
    furthest = _FURTHEST * model.steps if steps is None else steps
    exact = model.graph.activations(images)[model.output.potential_layer]
    classes = exact.reshape(len(exact), -1).argmax(axis=1)
    found: list[float] = []
    with progress_bar("steps", disable=not progress) as bar:
        task = bar.add_task("steps needed", total=furthest)
        for told in model.classes_by_steps(images, furthest, seed=seed):
            found.append(float((told == classes).mean()))
            bar.advance(task)
            if _needed(found, agreement, furthest) is not None:
                break
    needed = _needed(found, agreement, furthest)
    spikes = operations = None
    seconds: dict[tuple[str, str], tuple[float, float]] = {}
    if needed is not None:
        model = dataclasses.replace(model, steps=needed)
        expected = model.expected_spikes(images)
        spikes = sum(expected.values())
        operations = sum(
            expected.get(source, 0.0) * number / model.populations[source].size
            for (source, _), number in estimate(model).by_path.items()
        )
        thousand = images[np.arange(_IMAGES) % len(images)]
        seconds = {pair: estimate_seconds(model, thousand, *pair) for pair in DEVICE_COSTS}
    return Forecast(
        wanted=agreement,
        steps=needed,
        searched=len(found),
        agreement=np.array(found),
        images=len(images),
        spikes=spikes,
        operations=operations,
        memory_bytes=estimate(model).memory_bytes,
        seconds=seconds,
    )


def _needed(found: list[float], wanted: float, furthest: int) -> int | None:
    """First step from which on the agreement has held: until twice as many, or to the end."""
    below = [step for step, agreement in enumerate(found, 1) if agreement < wanted]
    first = below[-1] + 1 if below else 1
    held = len(found) >= min(2 * first, furthest) and first <= len(found)
    return first if held else None
