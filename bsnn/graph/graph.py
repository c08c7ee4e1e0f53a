"""The trained network as plain data."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from bsnn.errors import GraphError, InputError
from bsnn.graph.arrays import are_counts, image_batch
from bsnn.graph.layers import Input, Layer, Normalise, Shape

__all__ = ["Graph", "needed_layers"]

_NAME = re.compile(r"[a-z][a-z0-9_]*")


class Graph:
    """Layers and the edges between them; a residual network is one as well as a chain.

    Parameters
    ----------
    layers : iterable of Layer
        Exactly one `Input`; each layer after those that it reads.
    output : str, optional
        Name of the layer whose values are the network's result; the last one by default.

    Raises
    ------
    GraphError
        A name is used twice or malformed, an edge leads nowhere, shapes do not fit, or a layer's
        values are used by none.

    Examples
    --------
    >>> graph = Graph([Input(name="pixels", shape=(1, 28, 28)),
    ...                Flatten(name="flat", inputs=("pixels",)),
    ...                Linear(name="fc", inputs=("flat",), weight=np.ones((10, 784), "float32"))])
    >>> graph.shapes["fc"]
    (10,)
    """

    def __init__(self, layers: Iterator[Layer] | list[Layer], output: str | None = None) -> None:
        self._layers: dict[str, Layer] = {}
        for layer in layers:
            self._append(layer)
        inputs = [layer for layer in self if isinstance(layer, Input)]
        if len(inputs) != 1:
            raise GraphError(f"a graph has one input layer; {len(inputs)} were given")
        self.input: Input = inputs[0]
        self.output: str = output if output is not None else list(self._layers)[-1]
        if self.output not in self._layers:
            raise GraphError(f"the output layer {self.output!r} does not exist")
        unused = [
            name for name, users in self.consumers.items() if not users and name != self.output
        ]
        if unused:
            raise GraphError(f"nothing uses the layer(s) {', '.join(unused)}: remove them")
        self.shapes  # noqa: B018  (checks that all shapes fit)

    def _append(self, layer: Layer) -> None:
        if not _NAME.fullmatch(layer.name):
            raise GraphError(
                f"{layer.name!r} is no valid layer name: lower-case letters, digits and "
                "underscores, a letter first"
            )
        if layer.name in self._layers:
            raise GraphError(f"two layers are called {layer.name!r}")
        count = len(layer.inputs)
        if count < 2 if layer.arity is None else count != layer.arity:
            number = "two or more" if layer.arity is None else layer.arity
            raise GraphError(
                f"layer {layer.name!r} ({layer.kind}) takes {number} input(s), not {count}"
            )
        for source in layer.inputs:
            if source not in self._layers:
                raise GraphError(
                    f"layer {layer.name!r} reads {source!r}, which is not among the layers "
                    "before it"
                )
        self._layers[layer.name] = layer

    def __iter__(self) -> Iterator[Layer]:
        return iter(self._layers.values())

    def __len__(self) -> int:
        return len(self._layers)

    def __contains__(self, name: object) -> bool:
        return name in self._layers

    def __getitem__(self, name: str) -> Layer:
        try:
            return self._layers[name]
        except KeyError:
            raise KeyError(f"no layer {name!r}; there are {', '.join(self._layers)}") from None

    def __repr__(self) -> str:
        chain = ", ".join(f"{layer.name}:{layer.kind}" for layer in self)
        return f"<Graph {chain}>"

    @cached_property
    def consumers(self) -> dict[str, tuple[str, ...]]:
        """Names of the layers that read each layer."""
        return {
            name: tuple(layer.name for layer in self if name in layer.inputs)
            for name in self._layers
        }

    @cached_property
    def shapes(self) -> dict[str, Shape]:
        """Shape of each layer's output for one image."""
        shapes: dict[str, Shape] = {}
        for layer in self:
            shapes[layer.name] = layer.output_shape(*(shapes[source] for source in layer.inputs))
        return shapes

    def input_shapes(self, name: str) -> tuple[Shape, ...]:
        """Return the shapes of what a layer reads."""
        return tuple(self.shapes[source] for source in self[name].inputs)

    def activations(
        self,
        images: np.ndarray,
        transform: Mapping[str, Callable[[np.ndarray], np.ndarray]] | None = None,
    ) -> dict[str, np.ndarray]:
        """Run the network on a batch and return the output of every layer.

        Parameters
        ----------
        images : array_like
            Shape ``(n, *input_shape)``; float64 images are computed in float64, others in float32.
        transform : mapping, optional
            For some layers a function that replaces the layer's output; what follows sees the
            replaced values.

        Returns
        -------
        dict of str to numpy.ndarray
            Output by layer name, the input included.

        Raises
        ------
        GraphError
            The images do not have the network's input shape.
        InputError
            They are no numbers, or not all of them finite.
        """
        images = self.check_images(images)
        values: dict[str, np.ndarray] = {}
        for layer in self:
            if isinstance(layer, Input):
                output = images
            else:
                output = layer.forward(*(values[source] for source in layer.inputs))
            if transform is not None and layer.name in transform:
                output = transform[layer.name](output)
            values[layer.name] = output
        return values

    def evaluate(self, name: str, known: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the output of one layer, given the outputs of layers before it."""
        values = dict(known)

        def value(name: str) -> np.ndarray:
            if name not in values:
                layer = self[name]
                if isinstance(layer, Input):
                    raise GraphError(f"the value of the input {name!r} is needed but was not given")
                values[name] = layer.forward(*map(value, layer.inputs))
            return values[name]

        return value(name)

    def forward(self, images: np.ndarray) -> np.ndarray:
        """Run the network on a batch and return its result (see `activations`)."""
        return self.activations(images)[self.output]

    @cached_property
    def white(self) -> float:
        """Value of a white pixel that the network's own normalisation is of, 1 or 255.

        Neither the mean of pixels from 0 to 1 is above one, nor their deviation.
        """
        for layer in self:
            if isinstance(layer, Normalise) and layer.inputs == (self.input.name,):
                return 255.0 if max(np.abs(layer.mean).max(), layer.std.max()) > 1 else 1.0
        return 1.0

    def check_images(self, images: ArrayLike) -> np.ndarray:
        """Return a batch as float32 or float64, if the network takes it (see `image_batch`).

        Raises
        ------
        InputError
            They are no numbers, not all of them finite, or pixels of a type of whole numbers that
            the network's normalisation is not of.
        GraphError
            They have another shape.
        """
        images, extremes = image_batch(images, self.input.shape)
        if are_counts(extremes) and self.white == 1:
            raise InputError(
                f"The images are whole numbers ({extremes.dtype}) up to {extremes.max()}. Divide "
                "them as for training, by 255 for pixels of 8 bits; if the network was trained on "
                "such values, give them as floats."
            )
        return images


def needed_layers(layers: Iterable[Layer], output: str) -> list[Layer]:
    """Return the layers that a result depends on, in their order, and the input in any case."""
    layers = list(layers)
    needed = {output, *(layer.name for layer in layers if isinstance(layer, Input))}
    for layer in reversed(layers):
        if layer.name in needed:
            needed.update(layer.inputs)
    return [layer for layer in layers if layer.name in needed]
