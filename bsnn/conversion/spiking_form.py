"""The form of a trained network that spiking neurons can take, with the same results.

Neurons choose among spikes and add weighted ones. So rectifications come before max-poolings, and
there are no concatenations: what reads one reads each of its parts, and a layer with weights is the
sum of what its weights make of each part.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from bsnn.graph import (
    AdaptiveAvgPool2d,
    AvgPool2d,
    Concat,
    Conv2d,
    Flatten,
    Graph,
    Input,
    Layer,
    Linear,
    MaxPool2d,
    PadChannels,
    PartSum,
    ReLU,
    SelectChannels,
    needed_layers,
    with_scaled_outputs,
    without_groups,
)

__all__ = ["joined", "spiking_form"]

# What is done to each channel by itself.
_BY_CHANNEL = (ReLU, MaxPool2d, AvgPool2d, AdaptiveAvgPool2d)


def spiking_form(graph: Graph) -> Graph:
    """Return a network with the same results whose layers spiking neurons can take over.

    Layers keep their names. A layer over a concatenation becomes one layer for each part, with the
    name of the part behind its own, and, if it has weights, their sum, with its name.
    """
    return _relu_before_pool(_Distribution(graph).graph())


@dataclasses.dataclass(frozen=True)
class _Value:
    """Channels of several layers, one after the other.

    Attributes
    ----------
    parts : tuple of str
        Names of the layers.
    index : numpy.ndarray or None
        For each channel, which one of all theirs it is, -1 for zeros; None for all in order.
    """

    parts: tuple[str, ...]
    index: np.ndarray | None = None

    @property
    def is_layer(self) -> bool:
        return len(self.parts) == 1 and self.index is None


class _Distribution:
    """Lets layers read the parts of concatenations."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._layers: dict[str, Layer] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._values: dict[str, _Value] = {}
        self._joined: dict[str, str] = {}
        # of parts of layers, the layers whose values they are made of
        self._origins: dict[str, str] = {}
        for layer in graph:
            self._values[layer.name] = self._distributed(layer)
        self._output = self._as_layer(graph.output)

    def graph(self) -> Graph:
        """Return the network, without layers that nobody reads any more."""
        return Graph(needed_layers(self._layers.values(), self._output), self._output)

    def _put(self, layer: Layer) -> str:
        shapes = [self._shapes[source] for source in layer.inputs]
        self._layers[layer.name] = layer
        self._shapes[layer.name] = layer.output_shape(*shapes)
        return layer.name

    def _distributed(self, layer: Layer) -> _Value:
        values = [self._values[source] for source in layer.inputs]
        if isinstance(layer, Concat):
            return self._concatenated(values)
        if isinstance(layer, SelectChannels):
            index = self._index(values[0])
            chosen = np.asarray(layer.channels)
            return self._used(values[0].parts, np.where(chosen < 0, -1, index[chosen]))
        if not all(value.is_layer for value in values):
            if isinstance(layer, PadChannels):
                index = np.pad(self._index(values[0]), (layer.before, layer.after), "constant",
                               constant_values=-1)  # fmt: skip
                return _Value(values[0].parts, index)
            if isinstance(layer, _BY_CHANNEL):
                return _Value(self._each(layer, values[0]), values[0].index)
            if isinstance(layer, Flatten):
                return self._flattened(layer, values[0])
            if isinstance(layer, (Conv2d, Linear)):
                return self._weighted(layer, values[0])
        inputs = tuple(self._as_layer(source) for source in layer.inputs)
        layer = dataclasses.replace(layer, inputs=inputs)
        return _Value((self._put(self._behind_weights(layer)),))

    def _behind_weights(self, layer: Layer) -> Layer:
        before = self._layers[layer.inputs[0]] if layer.inputs else None
        return layer if before is None else joined(before, layer)

    # Values

    def _channels(self, parts: tuple[str, ...]) -> list[int]:
        return [self._shapes[part][0] for part in parts]

    def _index(self, value: _Value) -> np.ndarray:
        if value.index is not None:
            return value.index
        return np.arange(sum(self._channels(value.parts)))

    def _concatenated(self, values: list[_Value]) -> _Value:
        parts: list[str] = []
        indices = []
        for value in values:
            index = self._index(value)
            before = sum(self._channels(tuple(parts)))
            parts += value.parts
            indices.append(np.where(index < 0, -1, index + before))
        return self._used(tuple(parts), np.concatenate(indices))

    def _used(self, parts: tuple[str, ...], index: np.ndarray) -> _Value:
        """Leave out parts of which no channel is used, and name each part once."""
        names = np.repeat(np.arange(len(parts)), self._channels(parts))
        numbers = np.concatenate([np.arange(count) for count in self._channels(parts)])
        kept = list(dict.fromkeys(parts[names[i]] for i in index if i >= 0)) or [parts[0]]
        starts = dict(zip(kept, np.cumsum([0, *self._channels(tuple(kept))]), strict=False))
        again = np.array([-1 if i < 0 else starts[parts[names[i]]] + numbers[i] for i in index])
        if len(kept) == 1 and np.array_equal(again, np.arange(self._shapes[kept[0]][0])):
            return _Value(tuple(kept))
        return _Value(tuple(kept), again)

    def _places(self, value: _Value, part: str) -> tuple[np.ndarray, np.ndarray]:
        """Return which channels of a value are of a part, and which of the part's they are."""
        before = sum(self._channels(value.parts[: value.parts.index(part)]))
        own = self._index(value) - before
        (channels,) = np.nonzero((own >= 0) & (own < self._shapes[part][0]))
        return channels, own[channels]

    def _as_layer(self, name: str) -> str:
        """Return a layer with the values of one of the trained network."""
        value = self._values[name]
        if value.is_layer:
            return value.parts[0]
        if name not in self._joined:
            total = len(self._index(value))
            own_name = self._free(f"{name}_select") if name in self._layers else name
            chosen = []
            for part in value.parts:
                channels, own = self._places(value, part)
                index = np.full(total, -1)
                index[channels] = own
                single = len(value.parts) == 1
                chosen.append(
                    self._put(
                        SelectChannels(
                            name=own_name if single else self._free(f"{name}_{part}"),
                            inputs=(part,),
                            channels=tuple(index.tolist()),
                        )
                    )
                )
            if len(chosen) > 1:
                chosen = [self._put(PartSum(name=own_name, inputs=tuple(chosen)))]
            (self._joined[name],) = chosen
        return self._joined[name]

    # Layers over several parts

    def _name(self, layer: Layer, value: _Value, part: str) -> str:
        """Call a part of a layer after both; not after what stands between them."""
        if len(value.parts) == 1:
            return layer.name
        origin = self._origins.get(part, part)
        name = f"{layer.name}_{origin}"
        if name in self._layers or name in self._graph:
            name = self._free(f"{layer.name}_{part}")
        self._origins[name] = origin
        return name

    def _free(self, name: str) -> str:
        """Return a name that no layer has, here or in the trained network."""
        while name in self._layers or name in self._graph:
            name += "_part"
        return name

    def _each(self, layer: Layer, value: _Value) -> tuple[str, ...]:
        return tuple(self._of_part(layer, value, part) for part in value.parts)

    def _of_part(self, layer: Layer, value: _Value, part: str) -> str:
        """Put a layer without weights over a part, unless there is the same already."""
        for other in self._layers.values():
            same = type(other) is type(layer) and other.inputs == (part,)
            if same and other.geometry == layer.geometry:
                return other.name
        name = self._name(layer, value, part)
        return self._put(dataclasses.replace(layer, name=name, inputs=(part,)))

    def _flattened(self, layer: Flatten, value: _Value) -> _Value:
        area = int(np.prod(self._shapes[value.parts[0]][1:]))
        index = self._index(value)[:, np.newaxis]
        places = np.where(index < 0, -1, index * area + np.arange(area)).ravel()
        return _Value(self._each(layer, value), None if value.index is None else places)

    def _weighted(self, layer: Conv2d | Linear, value: _Value) -> _Value:
        if isinstance(layer, Conv2d) and layer.weight.shape[1] == 1 and layer.groups > 1:
            by_channel = self._by_channel(layer, value)
            if by_channel is not None:
                return by_channel
        weight = without_groups(layer.weight, getattr(layer, "groups", 1))
        fields: dict[str, Any] = {"groups": 1} if isinstance(layer, Conv2d) else {}
        bias = layer.bias
        sums = []
        for part in value.parts:
            channels, own = self._places(value, part)
            # by input, so that one that is read twice is counted twice
            columns = np.zeros(
                (self._shapes[part][0], len(weight), *weight.shape[2:]), weight.dtype
            )
            np.add.at(columns, own, weight[:, channels].swapaxes(0, 1))
            part_weight = np.ascontiguousarray(columns.swapaxes(0, 1))
            fields |= {"weight": part_weight, "bias": bias}
            name = self._name(layer, value, part)
            made = dataclasses.replace(layer, name=name, inputs=(part,), **fields)
            sums.append(self._put(made))
            bias = None
        if len(sums) > 1:
            sums = [self._put(PartSum(name=layer.name, inputs=tuple(sums)))]
        return _Value((sums[0],))

    def _by_channel(self, layer: Conv2d, value: _Value) -> _Value | None:
        """Convolve each part, if every channel of it is read once; return None otherwise."""
        index = self._index(value)
        inside = index[index >= 0]
        zeros = (index < 0).any() and layer.bias is not None
        if zeros or len(np.unique(inside)) != len(inside):
            return None
        each = len(layer.weight) // layer.groups
        names = []
        for part in value.parts:
            channels, own = self._places(value, part)
            rows, targets = (_rows(numbers, each) for numbers in (channels, own))
            size = self._shapes[part][0]
            arrays: dict[str, np.ndarray] = {}
            for name, array in layer.arrays.items():
                arrays[name] = np.zeros((size * each, *array.shape[1:]), array.dtype)
                arrays[name][targets] = array[rows]
            made = dataclasses.replace(
                layer, name=self._name(layer, value, part), inputs=(part,), groups=size, **arrays
            )
            names.append(self._put(self._behind_weights(made)))
        places = np.where(index[:, np.newaxis] < 0, -1, _rows(index, each).reshape(-1, each))
        return _Value(tuple(names), places.ravel())


def joined(before: Layer, layer: Layer) -> Layer:
    """Put a factor and a shift for each channel into a copy of the convolution before them.

    Any other layer is returned as it is.
    """
    if not isinstance(layer, Conv2d) or not isinstance(before, Conv2d) or not _scales(layer):
        return layer
    factor = layer.weight.ravel().astype(np.float64)
    shift = np.zeros(len(factor)) if layer.bias is None else layer.bias.astype(np.float64)
    scaled = with_scaled_outputs(before, factor, shift)
    arrays = {name: array.astype(np.float32) for name, array in scaled.arrays.items()}
    return dataclasses.replace(scaled, name=layer.name, **arrays)


def _rows(channels: np.ndarray, each: int) -> np.ndarray:
    return (channels[:, np.newaxis] * each + np.arange(each)).ravel()


def _scales(layer: Conv2d) -> bool:
    """Say whether a convolution is a factor and a shift for each channel."""
    plain = layer.kernel == layer.stride == (1, 1) and not any(layer.padding)
    return plain and layer.groups == len(layer.weight) and layer.weight.shape[1] == 1


def _relu_before_pool(graph: Graph) -> Graph:
    """Exchange a rectification with the max-pooling before it, which gives the same values.

    A max-pooling can only choose among spikes; many networks rectify after it.
    """
    layers = {layer.name: layer for layer in graph}
    output = graph.output
    while True:
        consumers = Graph(list(layers.values()), output).consumers
        pair = next(
            (
                (pool, relu)
                for relu in layers.values()
                if isinstance(relu, ReLU)
                and isinstance(pool := layers[relu.inputs[0]], MaxPool2d)
                and consumers[pool.name] == (relu.name,)
                and pool.name != output
                and not isinstance(layers[pool.inputs[0]], (ReLU, Input))
            ),
            None,
        )
        if pair is None:
            return Graph(list(layers.values()), output)
        pool, relu = pair
        swapped = {
            relu.name: dataclasses.replace(relu, inputs=pool.inputs),
            pool.name: dataclasses.replace(pool, inputs=(relu.name,)),
        }
        reordered: dict[str, Layer] = {}
        for name, layer in layers.items():
            if name == pool.name:
                reordered.update(swapped)
            elif name != relu.name:
                inputs = tuple(pool.name if s == relu.name else s for s in layer.inputs)
                reordered[name] = dataclasses.replace(layer, inputs=inputs)
        layers = reordered
        output = pool.name if output == relu.name else output
