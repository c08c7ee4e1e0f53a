"""The nodes of a NIR graph as layers, with weights as in the file."""

from __future__ import annotations

import dataclasses
import re

import nir
import numpy as np

from bsnn.errors import ConversionError, GraphError
from bsnn.graph import Add, Graph, Input, Layer, ReLU
from bsnn.graph.layers import Shape
from bsnn.nir.layers import LAYERS, refusal
from bsnn.nir.neurons import INTEGRATORS, SPIKING
from bsnn.nir.rate_record import note_of
from bsnn.nir.rescaling import factor_layer

__all__ = ["Draft"]


class Draft:
    """A NIR graph, read.

    Parameters
    ----------
    graph : nir.NIRGraph
        One input, one output, no cycles.

    Attributes
    ----------
    graph : Graph
        The layers; each population of neurons is a `ReLU`.
    neurons : dict of str to tuple
        By the layer that a population of neurons became, the name of its node, and the node. Of
        the read-out, which is no layer, by the empty string; absent if there are no neurons.
    factors : frozenset of str
        Layers that bsnn has put in when it wrote the graph.
    input_facts : dict
        bsnn's metadata of the input; empty if there are none.
    notes : list of str
        What was understood in a way that its writer may not have meant.
    """

    def __init__(self, graph: nir.NIRGraph) -> None:
        self._nodes = graph.nodes
        self._edges = [tuple(edge) for edge in graph.edges]
        self._layers: dict[str, Layer] = {}
        self._shapes: dict[str, Shape] = {}
        #: layer whose values a node gives
        self._given: dict[str, str] = {}
        self._factors: set[str] = set()
        self.neurons: dict[str, tuple[str, nir.NIRNode]] = {}
        self.notes: list[str] = []
        self._check_edges()
        self._input = self._one(nir.Input)
        self.input_facts = note_of(self._nodes[self._input])
        end = self._one(nir.Output)
        self._last = self._last_before(end)
        for name in self._in_order():
            if name != end:
                self._visit(name, self._nodes[name])
        if "" not in self.neurons:
            self.notes.append(
                f"The last node {self._last!r} has no neurons after it: its values are added up "
                "over the steps, and the class is that of the largest sum."
            )
        try:
            self.graph = Graph(list(self._layers.values()), self._given[self._last])
        except GraphError as error:
            raise ConversionError(f"The NIR graph is not consistent: {error}.") from error
        self.factors = frozenset(self._factors)

    def _check_edges(self) -> None:
        for edge in self._edges:
            for name in edge:
                if name not in self._nodes:
                    raise ConversionError(
                        f"An edge of the NIR graph, {edge[0]!r} to {edge[1]!r}, names the node "
                        f"{name!r}, which does not exist."
                    )

    def _one(self, kind: type[nir.NIRNode]) -> str:
        found = [name for name, node in self._nodes.items() if isinstance(node, kind)]
        if len(found) != 1:
            raise ConversionError(
                f"The NIR graph has {len(found)} {kind.__name__} nodes"
                + (f" ({', '.join(found)})" if found else "")
                + "; bsnn's networks have one."
            )
        return found[0]

    def _last_before(self, end: str) -> str:
        before = self._before(end)
        if len(before) != 1:
            raise ConversionError(f"{len(before)} nodes lead to the output; one is expected.")
        return before[0]

    def _before(self, name: str) -> list[str]:
        return [source for source, target in self._edges if target == name]

    def _in_order(self) -> list[str]:
        """Each node after those that it reads; otherwise in the order of the edges."""
        # a file has its nodes in the order of the alphabet
        first = dict.fromkeys(name for edge in self._edges for name in edge)
        waiting = [*first, *(name for name in self._nodes if name not in first)]
        order: dict[str, None] = {}
        while waiting:
            ready = next((n for n in waiting if all(s in order for s in self._before(n))), None)
            if ready is None:
                raise ConversionError(
                    f"The NIR graph has a cycle through {', '.join(waiting)}. bsnn converts "
                    "feed-forward networks; recurrent ones cannot be simulated."
                )
            order[ready] = None
            waiting.remove(ready)
        return list(order)

    def _visit(self, name: str, node: nir.NIRNode) -> None:
        if name == self._input:
            shape = tuple(int(size) for size in np.ravel(node.input_type["input"]))
            self._given[name] = self._add(Input(name=self._free(name), shape=shape))
            return
        source = self._read(name, node)
        if isinstance(node, (*SPIKING, *INTEGRATORS)):
            self._given[name] = self._add_neurons(name, node, source)
            return
        if type(node) not in LAYERS:
            raise refusal(name, node)
        # errors name the node as it is called in the file
        layer = LAYERS[type(node)](name, source, node, self._shapes[source])
        self._given[name] = self._add(dataclasses.replace(layer, name=self._free(name)))
        if note_of(node).get("factor"):
            self._factors.add(self._given[name])

    def _read(self, name: str, node: nir.NIRNode) -> str:
        """Return the layer that a node reads, the sum of branches if there are several."""
        sources = [self._given[source] for source in self._before(name)]
        if not sources:
            raise ConversionError(f"The node {name!r} ({type(node).__name__}) reads no other node.")
        if len(sources) == 1:
            return sources[0]
        junction = note_of(node).get("sum", f"{name}_sum")
        return self._add(Add(name=self._free(junction), inputs=tuple(sources)))

    def _add_neurons(self, name: str, node: nir.NIRNode, source: str) -> str:
        if isinstance(self._layers[source], (ReLU, Input)):
            # to tell the spikes of one population from those of the one before
            shape = self._shapes[source]
            between = self._free(f"{name}_identity")
            source = self._add(factor_layer(between, source, shape, np.ones(())))
        if name == self._last:
            if self._further(name):
                raise ConversionError(
                    f"The neurons {name!r} lead to the output and to other nodes too; bsnn's "
                    "read-out leads nowhere else."
                )
            self.neurons[""] = (name, node)
            rectified = note_of(node).get("rectified")
            if rectified is None:
                return source
            return self._add(ReLU(name=self._free(rectified), inputs=(source,)))
        if not isinstance(node, tuple(SPIKING)):
            raise ConversionError(
                f"The node {name!r} ({type(node).__name__}) does not spike and is not the last: "
                "other nodes read its potential, which bsnn's neurons do not emit. Use IF or LIF."
            )
        layer = self._add(ReLU(name=self._free(name), inputs=(source,)))
        self.neurons[layer] = (name, node)
        return layer

    def _further(self, name: str) -> list[tuple[str, str]]:
        return [
            (source, target)
            for source, target in self._edges
            if source == name and not isinstance(self._nodes[target], nir.Output)
        ]

    def _add(self, layer: Layer) -> str:
        try:
            shapes = (self._shapes[source] for source in layer.inputs)
            self._shapes[layer.name] = layer.output_shape(*shapes)
        except GraphError as error:
            raise ConversionError(f"The NIR graph is not consistent: {error}.") from error
        self._layers[layer.name] = layer
        return layer.name

    def _free(self, name: str) -> str:
        """Turn a node's name into one that a layer may have."""
        cleaned = re.sub(r"\W", "_", name.lower(), flags=re.ASCII)
        cleaned = cleaned if re.match("[a-z]", cleaned) else f"node_{cleaned}"
        free, number = cleaned, 1
        while free in self._layers:
            number += 1
            free = f"{cleaned}_{number}"
        return free
