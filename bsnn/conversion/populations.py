"""Populations of neurons that the layers of a graph become, and their connections.

A population stands for a value that is coded in spikes: the input, each rectification, each
max-pooling; and for the read-out. What lies between two populations (convolution, dense layer,
average pooling, flattening, addition) is linear, has no neurons and becomes a projection.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from bsnn.conversion.time_code import levels, pixel_levels
from bsnn.errors import ConversionError
from bsnn.graph import (
    Add,
    ClippedReLU,
    Conv2d,
    Graph,
    Input,
    Layer,
    Linear,
    MaxPool2d,
    Normalise,
    PartSum,
    ReLU,
)
from bsnn.graph.layers import Shape

__all__ = [
    "Population",
    "Projection",
    "clip_of",
    "per_channel",
    "pooled_windows",
    "population_levels",
    "populations",
]


@dataclasses.dataclass(frozen=True)
class Projection:
    """A linear map from one population to another.

    Attributes
    ----------
    source : str
        Name of the population that it comes from.
    source_layer : str
        Layer of the graph at which the path starts; its values are those of `source`.
    layers : tuple of str
        The graph's linear layers along the way, in order; empty for the identity.
    delay : int
        Windows by which the spikes must be late to meet those of the longest path.
    joins : bool
        Whether it is one of several branches that are added, as in a residual network.
    """

    source: str
    source_layer: str
    layers: tuple[str, ...]
    delay: int = 0
    joins: bool = False


@dataclasses.dataclass(frozen=True)
class Population:
    """Neurons that stand for the values of one layer.

    Attributes
    ----------
    name : str
        The layer with weights, junction or pooling after which the population is called.
    layer : str
        Layer of the graph whose values the spikes code.
    potential_layer : str
        Layer of the graph whose values the membrane potentials reach.
    role : str
        ``"input"``, ``"neurons"``, ``"max_pool"`` or ``"read_out"``.
    shape : tuple of int
        Of the layer's values for one image.
    depth : int
        Window after the input's in which the population spikes.
    projections : tuple of Projection
        Where its input comes from. A max-pooling has one, without layers.
    """

    name: str
    layer: str
    potential_layer: str
    role: str
    shape: Shape
    depth: int
    projections: tuple[Projection, ...] = ()

    @property
    def size(self) -> int:
        """Number of neurons."""
        return int(np.prod(self.shape))


def clip_of(graph: Graph, population: Population) -> float | None:
    """Return the largest value of the trained network, if its rectification has one.

    It is the population's scale: neurons cannot spike for more.
    """
    layer = graph[population.layer]
    return layer.clip if isinstance(layer, ClippedReLU) else None


def population_levels(
    population: Population, values: np.ndarray, scale: float, steps: int, rounding: bool
) -> np.ndarray:
    """Return the levels at which a population codes values: pixels, or potentials of neurons."""
    code = pixel_levels if population.role == "input" else levels
    return code(values, scale, steps, rounding)


def per_channel(values: float | np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Shape one number, or one for each channel, so that it spreads over values of a shape."""
    values = np.asarray(values, dtype=np.float64)
    return values.reshape(-1, *[1] * (len(shape) - 1)) if values.ndim else values


def populations(graph: Graph, *, normalised_input: bool = False) -> dict[str, Population]:
    """Return the populations of a graph by name, each after those that it reads.

    Parameters
    ----------
    graph : Graph
        The trained network.
    normalised_input : bool
        The input encodes images after their normalisation, not plain ones.

    Raises
    ------
    ConversionError
        A max-pooling follows a layer whose values are not coded in spikes.
    """
    plan = _Plan(graph, normalised_input)
    for layer in graph:
        plan.visit(layer)
    plan.add_read_out()
    return {population.name: population for population in plan.populations}


def pooled_windows(
    graph: Graph, plan: Mapping[str, Population], name: str
) -> tuple[str, np.ndarray, np.ndarray]:
    """Say which neurons a max-pooling chooses from, through further poolings before it.

    Parameters
    ----------
    graph : Graph
        The network.
    plan : mapping of str to Population
        Its populations.
    name : str
        A population whose role is ``"max_pool"``.

    Returns
    -------
    source : str
        The population of the neurons.
    rows, columns : numpy.ndarray
        Shape ``(windows, size)``: rows (columns) of the neurons' map in each row (column) of
        windows; -1 for none.
    """
    source = plan[name].projections[0].source
    tables = graph[plan[name].layer].taps(*plan[source].shape[1:])
    if plan[source].role != "max_pool":
        return source, *tables
    root, *before = pooled_windows(graph, plan, source)
    rows, columns = (_through(first, then) for first, then in zip(before, tables, strict=True))
    return root, rows, columns


def _through(first: np.ndarray, then: np.ndarray) -> np.ndarray:
    """Windows over windows, along one axis."""
    seen = [np.unique(first[window[window >= 0]]) for window in then]
    table = np.full((len(then), max(map(len, seen))), -1)
    for row, places in zip(table, seen, strict=True):
        row[: len(places)] = places
    return table


class _Plan:
    def __init__(self, graph: Graph, normalised_input: bool) -> None:
        self.graph = graph
        self._normalised_input = normalised_input
        #: populations by the layer whose values they code
        self.found: dict[str, Population] = {}
        self.populations: list[Population] = []
        self._names: set[str] = set()

    def visit(self, layer: Layer) -> None:
        if isinstance(layer, Input):
            encoded = self._encoded(layer)
            self._add(encoded, layer.name, encoded.name, "input", 0)
        elif isinstance(layer, ReLU):
            (source,) = layer.inputs
            if source in self.found and not isinstance(layer, ClippedReLU):
                # spikes code no negative values: rectifying them again changes nothing
                self.found[layer.name] = self.found[source]
            elif layer.name == self.graph.output:
                return
            else:
                self._add_neurons(layer, source, "neurons")
        elif isinstance(layer, MaxPool2d):
            (source,) = layer.inputs
            if source not in self.found:
                raise ConversionError(
                    f"The max-pooling {layer.name!r} follows {source!r} "
                    f"({self.graph[source].kind}), whose values are not coded in spikes. Put a "
                    "ReLU between them."
                )
            before = self.found[source]
            projection = Projection(before.name, source, ())
            self._add(layer, layer.name, layer.name, "max_pool", before.depth, (projection,))

    def _encoded(self, layer: Input) -> Layer:
        """Layer whose values the input encodes."""
        readers = [self.graph[name] for name in self.graph.consumers[layer.name]]
        if self._normalised_input and len(readers) == 1 and isinstance(readers[0], Normalise):
            return readers[0]
        return layer

    def add_read_out(self) -> None:
        output = self.graph[self.graph.output]
        # a last ReLU does not change which potential is largest: the potentials are read before it
        potential = output.inputs[0] if isinstance(output, ReLU) else output.name
        self._add_neurons(output, potential, "read_out")

    def _add_neurons(self, layer: Layer, potential: str, role: str) -> None:
        paths = self._paths(potential)
        depth = 1 + max(self.found[source].depth for source, _ in paths)
        projections = tuple(
            Projection(
                self.found[source].name,
                source,
                layers,
                delay=depth - 1 - self.found[source].depth,
                joins=any(type(self.graph[name]) is Add for name in layers),
            )
            for source, layers in paths
        )
        name = self._name(potential, layer.name)
        self._add(layer, name, potential, role, depth, projections)

    def _name(self, potential: str, layer: str) -> str:
        """Call neurons after the layer with weights, or the junction, that drives them."""
        if potential in self.found:
            return layer if layer not in self._names else f"{layer}_read_out"
        name = potential
        while not isinstance(self.graph[name], (Conv2d, Linear, PartSum)):
            sources = self.graph[name].inputs
            if len(sources) != 1 or sources[0] in self.found:
                break
            name = sources[0]
        return name if name not in self._names else layer

    def _paths(self, name: str, after: tuple[str, ...] = ()) -> list[tuple[str, tuple[str, ...]]]:
        """All ways from populations to a layer: (layer of the population, linear layers)."""
        if name in self.found:
            return [(name, after)]
        layer = self.graph[name]
        return [path for source in layer.inputs for path in self._paths(source, (name, *after))]

    def _add(
        self,
        layer: Layer,
        name: str,
        potential: str,
        role: str,
        depth: int,
        projections: tuple[Projection, ...] = (),
    ) -> None:
        shape = self.graph.shapes[layer.name]
        population = Population(name, layer.name, potential, role, shape, depth, projections)
        self._names.add(name)
        self.populations.append(population)
        self.found.setdefault(layer.name, population)
