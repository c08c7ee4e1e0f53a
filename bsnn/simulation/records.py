"""What a simulation found, image by image."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from bsnn.conversion import SpikingModel

__all__ = ["Records"]


@dataclasses.dataclass(frozen=True, eq=False)
class Records:
    """Arrays with one row for each image.

    Attributes
    ----------
    predictions, ann_predictions : numpy.ndarray
        Class of each image, of the spiking and of the trained network.
    potentials : numpy.ndarray
        Of the last layer, shape ``(images, classes)``.
    spikes, operations : dict of str to numpy.ndarray
        By population that spikes: how many, and how many synapses these have reached.
    squared_error : dict of str to numpy.ndarray
        By population: squares of the differences to the trained network, added up over neurons.
    predictions_at_step : numpy.ndarray or None
        Where the class is read in each step, that, shape ``(images, steps)``.
    margins_at_step : numpy.ndarray or None
        There, what this class leads the next by; see `Result`.
    """

    predictions: np.ndarray
    ann_predictions: np.ndarray
    potentials: np.ndarray
    spikes: dict[str, np.ndarray]
    operations: dict[str, np.ndarray]
    squared_error: dict[str, np.ndarray]
    predictions_at_step: np.ndarray | None = None
    margins_at_step: np.ndarray | None = None

    @classmethod
    def empty(cls, model: SpikingModel, images: int) -> Records:
        """Return records of a number of images, to be filled in."""
        spiking = [name for name in model.populations if model.spikes(name)]
        whole = np.int64
        return cls(
            predictions=np.zeros(images, whole),
            ann_predictions=np.zeros(images, whole),
            potentials=np.zeros((images, model.output.size)),
            spikes={name: np.zeros(images, whole) for name in spiking},
            operations={name: np.zeros(images, whole) for name in spiking},
            squared_error={name: np.zeros(images) for name in model.populations},
            predictions_at_step=(
                np.zeros((images, model.steps), np.int16) if model.read_each_step else None
            ),
            margins_at_step=(
                np.zeros((images, model.steps), np.float32) if model.read_each_step else None
            ),
        )

    def __len__(self) -> int:
        return len(self.predictions)

    def put(self, indices: np.ndarray, found: Records) -> None:
        """Fill in some images."""
        for own, other in zip(_arrays(self.tree()), _arrays(found.tree()), strict=True):
            own[indices] = other

    def take(self, indices: np.ndarray) -> Records:
        """Return the records of some images."""
        return Records(**_apply(self.tree(), lambda array: array[indices]))

    def tree(self) -> dict[str, Any]:
        """Return the arrays by name, as `bsnn.storage.write_tree` takes them."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: value for name, value in fields.items() if value is not None}


def _apply(tree: Mapping[str, Any], function: Any) -> dict[str, Any]:
    return {
        name: _apply(value, function) if isinstance(value, Mapping) else function(value)
        for name, value in tree.items()
    }


def _arrays(tree: Mapping[str, Any]) -> Iterator[np.ndarray]:
    for value in tree.values():
        if isinstance(value, Mapping):
            yield from (value[name] for name in sorted(value))
        else:
            yield value
