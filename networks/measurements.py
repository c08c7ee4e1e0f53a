"""Conversions and simulations that are kept in files, so that a reproduction can go on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import bsnn

__all__ = ["Measurements", "accuracies_at", "figures_of"]


@dataclasses.dataclass(frozen=True)
class Measurements:
    """What all measurements share.

    Attributes
    ----------
    out : pathlib.Path
        Folder in which conversions and results are kept.
    test, training : bsnn.datasets.Dataset
        Images to simulate, and to convert with.
    steps : int
        Time steps an image.
    workers : int
        Processes that simulate.
    device : str
        Where to simulate.
    """

    out: Path
    test: bsnn.datasets.Dataset
    training: bsnn.datasets.Dataset
    steps: int
    workers: int
    device: str

    def model(self, name: str, make: Callable[[], bsnn.RateModel]) -> Any:
        """Return a converted network; one that was made before is read from its file."""
        path = self.out / "models" / f"{name}.h5"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            make().save(path)
        return bsnn.load_model(path)

    def run(
        self, name: str, model: bsnn.SpikingModel, seed: int = 1, images: int | None = None
    ) -> bsnn.Result:
        """Return a simulation; one that was done before is read, an interrupted one goes on."""
        test = self.test if images is None else self.test.first(images)
        steps = self.steps
        path = self.out / "results" / f"{name}_{len(test)}x{steps}_seed{seed}.h5"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            checkpoint = path.with_suffix(".partial")
            bsnn.simulate(
                dataclasses.replace(model, steps=steps),
                test.images,
                test.labels,
                device=self.device,
                precision="float32",
                workers=self.workers,
                seed=seed,
                checkpoint=checkpoint,
                resume=True,
            ).save(path)
            checkpoint.unlink(missing_ok=True)
        return bsnn.load_result(path)


def accuracies_at(result: bsnn.Result, at_steps: Sequence[int]) -> list[float]:
    """Return the accuracy after some steps, in percent."""
    accuracies = result.accuracy_at_step
    assert accuracies is not None
    return [100 * float(accuracies[step - 1]) for step in at_steps]


def figures_of(result: bsnn.Result, at_steps: Sequence[int]) -> dict[str, Any]:
    """Return what ``reproduction.json`` keeps of a simulation, with the accuracy at some steps."""
    accuracies = result.accuracy_at_step
    assert accuracies is not None
    return {
        "ann_accuracy": result.ann_accuracy,
        "accuracy": result.accuracy,
        "same_class": float((result.predictions == result.ann_predictions).mean()),
        "accuracy_at_step": {
            str(step): float(accuracies[step - 1]) for step in at_steps if step <= result.steps
        },
        "spikes_per_neuron": result.spikes_per_neuron,
        "cpu_seconds_an_image": result.cpu_seconds / len(result),
    }
