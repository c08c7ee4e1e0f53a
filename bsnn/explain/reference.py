"""What a spiking network should compute."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bsnn.conversion import Decoded, SpikingModel
from bsnn.conversion.spiking_form import spiking_form
from bsnn.errors import SettingsError
from bsnn.graph import Graph

__all__ = ["Reference"]


class Reference:
    """Activations of the trained network, or of another one, by population.

    Parameters
    ----------
    model : SpikingModel
        The spiking network.
    given : Graph, mapping or None
        A network, activations by layer, or None for the network in the model.
    images : int
        How many there are.

    Raises
    ------
    SettingsError
        A layer is missing, or has another shape.
    """

    def __init__(
        self,
        model: SpikingModel,
        given: Graph | Mapping[str, np.ndarray] | None,
        images: int,
    ) -> None:
        self._model = model
        self._activations: dict[str, np.ndarray] | None = None
        self._graph = model.graph
        if isinstance(given, Graph):
            # the same values as in the network that was given, under the names of the model
            self._graph = spiking_form(given)
            shapes = self._graph.shapes
        elif given is not None:
            self._activations = {name: np.asarray(values) for name, values in given.items()}
            shapes = {name: values.shape[1:] for name, values in self._activations.items()}
            for name, values in self._activations.items():
                if len(values) != images:
                    raise SettingsError(
                        f"The reference has activations of {name!r} for {len(values)} images; "
                        f"there are {images}."
                    )
        else:
            shapes = model.graph.shapes
        #: populations that are compared
        self.names = [name for name in model.populations if self._key(name) in shapes]
        output = model.output.name
        missing = [name for name in model.populations if name not in self.names]
        if missing and (isinstance(given, Graph) or output in missing):
            raise SettingsError(
                f"The reference has no layer {self._key(missing[-1])!r}; it has "
                f"{', '.join(shapes)}. Give a network whose layers have the names of the "
                "converted one's, or activations by these names."
            )
        for name in self.names:
            own = model.graph.shapes[self._key(name)]
            if tuple(shapes[self._key(name)]) != tuple(own):
                raise SettingsError(
                    f"The layer {self._key(name)!r} of the reference has shape "
                    f"{tuple(shapes[self._key(name)])}, that of the converted network {own}."
                )

    def decoded(self, batch: slice, images: np.ndarray) -> Decoded:
        """Return the activations of a batch, and the classes."""
        if self._activations is None:
            exact = self._graph.activations(images)
        else:
            exact = {name: values[batch] for name, values in self._activations.items()}
        values = {name: exact[self._key(name)].astype(np.float64) for name in self.names}
        output = self._model.output.name
        logits = values[output]
        if self._model.spikes(output):
            # spikes of the last layer encode no negative values
            values[output] = np.maximum(logits, 0)
        return Decoded(values, logits.reshape(len(logits), -1).argmax(axis=1))

    def _key(self, name: str) -> str:
        """Layer whose values a population is compared with: of a read-out, before a last ReLU."""
        population = self._model.populations[name]
        return population.potential_layer if population.role == "read_out" else population.layer
