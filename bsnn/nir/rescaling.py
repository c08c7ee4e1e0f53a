"""The same network in other units: factors go into the weights, so that spikes have amplitude 1.

bsnn keeps a network as it was trained, and apart from it the values that spikes stand for. NIR
knows weights and thresholds only. Going there, weights are multiplied by the amplitude of the
spikes that come in and divided by the unit of the potentials that they change; coming back, the
other way round.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

from bsnn.conversion.populations import Population, per_channel
from bsnn.errors import ConversionError
from bsnn.graph import (
    AdaptiveAvgPool2d,
    Add,
    AvgPool2d,
    Conv2d,
    Flatten,
    Graph,
    Input,
    Layer,
    Linear,
    Normalise,
    PadChannels,
    PartSum,
    ReLU,
    SelectChannels,
)
from bsnn.graph.layers import Shape

__all__ = ["Rescaled", "factor_layer", "rescale"]

#: One number, or one for each channel of what a population encodes.
Factor = float | np.ndarray


@dataclasses.dataclass(frozen=True)
class Rescaled:
    """A network in other units.

    Attributes
    ----------
    graph : Graph
        With float64 weights; a normalisation of the images is left out.
    inserted : frozenset of str
        Layers that multiply by a factor, where no weights could take it: in shortcuts.
    """

    graph: Graph
    inserted: frozenset[str]


def rescale(
    graph: Graph,
    plan: Mapping[str, Population],
    amplitudes: Mapping[tuple[str, str], Factor],
    units: Mapping[str, Factor],
) -> Rescaled:
    """Multiply the weights between populations by amplitudes, and divide them by units.

    Parameters
    ----------
    graph : Graph
        A network without max-pooling.
    plan : mapping of str to Population
        Its populations, each after those that it reads.
    amplitudes : mapping
        By the layers of the population that spikes and of the one that it reaches, the factor of
        what comes in.
    units : mapping
        By a population's layer, what its potentials are divided by.

    Returns
    -------
    Rescaled
        Layers keep their names. One that several populations read is there once for each.
    """
    rescaling = _Rescaling(graph, plan, amplitudes)
    for population in plan.values():
        if population.role == "input":
            rescaling.add_input(population)
        else:
            rescaling.add_neurons(population, units[population.layer])
    return Rescaled(Graph(rescaling.layers, rescaling.output), frozenset(rescaling.inserted))


def factor_layer(name: str, source: str, shape: Shape, factors: np.ndarray) -> Layer:
    """Return a layer that multiplies by factors: a map's channels, or the values of a flat one."""
    factors = np.asarray(factors, np.float64)
    if len(shape) == 1:
        weight = np.diag(np.broadcast_to(factors, shape))
        return Linear(name=name, inputs=(source,), weight=weight)
    weight = np.broadcast_to(factors, (shape[0], 1, 1)).reshape(-1, 1, 1, 1)
    return Conv2d(name=name, inputs=(source,), weight=weight.copy(), groups=shape[0])


@dataclasses.dataclass(frozen=True)
class _Value:
    """A layer of the new network, and what its values are to be multiplied by to be the old's."""

    name: str
    gain: np.ndarray


class _Rescaling:
    def __init__(
        self,
        graph: Graph,
        plan: Mapping[str, Population],
        amplitudes: Mapping[tuple[str, str], Factor],
    ) -> None:
        self.graph = graph
        self.layers: list[Layer] = []
        self.output = ""
        self.inserted: set[str] = set()
        self._plan = plan
        self._amplitudes = amplitudes
        self._names: set[str] = set()
        #: names in the new network of what populations encode
        self._encoded: dict[str, str] = {}
        #: what the population at hand reads, by layer
        self._known: dict[str, _Value] = {}

    def add_input(self, population: Population) -> None:
        name = self.graph.input.name
        self._encoded[population.name] = self.add(Input(name=name, shape=population.shape))

    def add_neurons(self, population: Population, unit: Factor) -> None:
        self._known = {
            path.source_layer: _Value(
                self._encoded[path.source],
                per_channel(
                    self._amplitudes[self._plan[path.source].layer, population.layer],
                    self._plan[path.source].shape,
                ),
            )
            for path in population.projections
        }
        name = self.fitted(population.potential_layer, per_channel(unit, population.shape))
        layer = self.graph[population.layer]
        if isinstance(layer, ReLU):
            name = self.add(dataclasses.replace(layer, inputs=(name,)))
        self._encoded[population.name] = self.output = name

    def add(self, layer: Layer) -> str:
        """Take a layer into the new network; a second one of a name is numbered."""
        name, number = layer.name, 1
        while name in self._names or (number > 1 and name in self.graph):
            number += 1
            name = f"{layer.name}_{number}"
        self._names.add(name)
        self.layers.append(dataclasses.replace(layer, name=name))
        return name

    def value(self, name: str, wanted: np.ndarray | None) -> _Value:
        """Take in a layer, if possible with a wanted gain."""
        if name in self._known:
            return self._known[name]
        layer = self.graph[name]
        return _RULES[type(layer)](self, layer, wanted)

    def fitted(self, name: str, wanted: np.ndarray) -> str:
        """Take in a layer with a gain, by a layer of its own if there are no weights for it."""
        found = self.value(name, wanted)
        factors = found.gain / wanted
        if (factors == 1).all():
            return found.name
        layer = factor_layer(f"{name}_factor", found.name, self.graph.shapes[name], factors)
        self.inserted.add(added := self.add(layer))
        return added


def _one(wanted: np.ndarray | None) -> np.ndarray:
    return np.ones(()) if wanted is None else wanted


def _weighted(rescaling: _Rescaling, layer: Conv2d | Linear, wanted: np.ndarray | None) -> _Value:
    source = rescaling.value(layer.inputs[0], None)
    wanted = _one(wanted)
    outputs, columns, *_ = layer.weight.shape
    groups = getattr(layer, "groups", 1)
    gains = np.broadcast_to(source.gain.reshape(-1), columns * groups).reshape(groups, columns)
    rows = np.broadcast_to(wanted.reshape(-1), outputs)
    kernel = [1] * (layer.weight.ndim - 2)
    factors = np.repeat(gains, outputs // groups, axis=0) / rows[:, np.newaxis]
    bias = None if layer.bias is None else layer.bias.astype(np.float64) / rows
    scaled = dataclasses.replace(
        layer,
        inputs=(source.name,),
        weight=layer.weight.astype(np.float64) * factors.reshape(*factors.shape, *kernel),
        bias=bias,
    )
    return _Value(rescaling.add(scaled), wanted)


def _channelwise(rescaling: _Rescaling, layer: Layer, wanted: np.ndarray | None) -> _Value:
    source = rescaling.value(layer.inputs[0], wanted)
    return _Value(rescaling.add(dataclasses.replace(layer, inputs=(source.name,))), source.gain)


def _flatten(rescaling: _Rescaling, layer: Flatten, wanted: np.ndarray | None) -> _Value:
    # one number goes through; numbers for each value cannot go into weights before
    one = None if wanted is None else wanted.flat[0]
    uniform = wanted is not None and (wanted == one).all()
    source = rescaling.value(layer.inputs[0], np.asarray(one) if uniform else None)
    gain = source.gain
    if gain.ndim:
        gain = np.broadcast_to(gain, rescaling.graph.shapes[layer.inputs[0]]).reshape(-1)
    return _Value(rescaling.add(dataclasses.replace(layer, inputs=(source.name,))), gain)


def _pad_channels(rescaling: _Rescaling, layer: PadChannels, wanted: np.ndarray | None) -> _Value:
    channels = rescaling.graph.shapes[layer.inputs[0]][0]
    inner = slice(layer.before, layer.before + channels)
    before = wanted[inner] if wanted is not None and wanted.size > 1 else wanted
    source = rescaling.value(layer.inputs[0], before)
    name = rescaling.add(dataclasses.replace(layer, inputs=(source.name,)))
    if wanted is not None and (source.gain == before).all():
        return _Value(name, wanted)
    gain = np.broadcast_to(source.gain, (channels, 1, 1))
    # zeros are zeros in any unit
    zeros = np.full((layer.before + channels + layer.after, 1, 1), gain[0, 0, 0])
    zeros[inner] = gain
    return _Value(name, zeros)


def _select_channels(
    rescaling: _Rescaling, layer: SelectChannels, wanted: np.ndarray | None
) -> _Value:
    """Choose channels by weights of one, which take the factors."""
    inputs = rescaling.graph.shapes[layer.inputs[0]]
    weight = np.zeros((len(layer.channels), inputs[0]), np.float32)
    for row, channel in enumerate(layer.channels):
        weight[row, channel] = channel >= 0
    if len(inputs) == 1:
        chosen = Linear(name=layer.name, inputs=layer.inputs, weight=weight)
        return _weighted(rescaling, chosen, wanted)
    kernel = weight[:, :, np.newaxis, np.newaxis]
    chosen = Conv2d(name=layer.name, inputs=layer.inputs, weight=kernel)
    return _weighted(rescaling, chosen, wanted)


def _add(rescaling: _Rescaling, layer: Add, wanted: np.ndarray | None) -> _Value:
    wanted = _one(wanted)
    inputs = tuple(rescaling.fitted(name, wanted) for name in layer.inputs)
    return _Value(rescaling.add(dataclasses.replace(layer, inputs=inputs)), wanted)


def _normalise(rescaling: _Rescaling, layer: Normalise, wanted: np.ndarray | None) -> _Value:
    raise ConversionError(
        f"The normalisation {layer.name!r} is not the only reader of the images. NIR has no such "
        "node: let the network begin with it."
    )


#: How each kind of layer is taken into the new network.
_RULES: dict[type[Layer], Callable[..., _Value]] = {
    Conv2d: _weighted,
    Linear: _weighted,
    AvgPool2d: _channelwise,
    AdaptiveAvgPool2d: _channelwise,
    Flatten: _flatten,
    PadChannels: _pad_channels,
    SelectChannels: _select_channels,
    Add: _add,
    PartSum: _add,
    Normalise: _normalise,
}
