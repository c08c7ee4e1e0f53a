"""From a rate-coded network to NIR."""

from __future__ import annotations

import dataclasses
import os
import warnings
from typing import Any

import nir
import numpy as np

from bsnn.conversion import AVERAGE, SpikingModel
from bsnn.conversion.populations import per_channel
from bsnn.errors import ConversionError
from bsnn.graph import Add, ClippedReLU, Graph, Input, Layer, ReLU
from bsnn.nir.neurons import Neuron, check_neuron
from bsnn.nir.nodes import NODES
from bsnn.nir.rate_record import KEY, SCHEMA, model_record
from bsnn.nir.rescaling import rescale
from bsnn.storage import package_version, replacing

__all__ = ["NirExport", "export_nir", "save_nir", "to_nir", "write_graph"]


@dataclasses.dataclass(frozen=True)
class NirExport:
    """A network in NIR.

    Attributes
    ----------
    graph : nir.NIRGraph
        The network.
    notes : tuple of str
        What NIR has no place for, so that it is metadata that other simulators do not read.
    """

    graph: nir.NIRGraph
    notes: tuple[str, ...]


def to_nir(
    model: SpikingModel, *, neuron: str = "if", tau: float | None = None, dt: float | None = None
) -> nir.NIRGraph:
    """Return a rate-coded network as a graph of the Neuromorphic Intermediate Representation.

    Weights and biases are those between spikes of amplitude one, thresholds those of the model. One
    step of bsnn is one step of length `dt` there: an IF neuron's resistance is ``1 / dt``, an LIF
    neuron's ``tau / dt``. What NIR has no place for (the reset rule, the encoder, the values that
    spikes stand for) is metadata, under the key ``bsnn``, and a warning if it changes spikes.

    Parameters
    ----------
    model : SpikingModel
        The network, without spiking max-pooling.
    neuron : str
        ``"if"``, or ``"lif"`` for neurons that leak.
    tau : float, optional
        Time constant of the leak, in seconds.
    dt : float, optional
        Length of a step. By default 1 for IF neurons (time is counted in steps, so that the
        resistance is the 1 that most simulators expect), and 0.001 s for LIF neurons.

    Returns
    -------
    nir.NIRGraph

    Raises
    ------
    ConversionError
        The network has what NIR cannot say: time-to-first-spike coding, gated max-pooling,
        poolings with incomplete windows.

    Warns
    -----
    UserWarning
        For each thing that other simulators will do differently.
    """
    export = export_nir(model, neuron=neuron, tau=tau, dt=dt)
    _warn(export)
    return export.graph


def save_nir(
    model: SpikingModel,
    path: str | os.PathLike[str],
    *,
    neuron: str = "if",
    tau: float | None = None,
    dt: float | None = None,
) -> None:
    """Write a rate-coded network to a NIR file, atomically; see `to_nir`."""
    export = export_nir(model, neuron=neuron, tau=tau, dt=dt)
    _warn(export)
    write_graph(export.graph, path)


def _warn(export: NirExport) -> None:
    for note in export.notes:
        warnings.warn(note, stacklevel=3)


def write_graph(graph: nir.NIRGraph, path: str | os.PathLike[str]) -> None:
    """Write a graph to a file, which takes the place of an older one when it is complete."""
    with replacing(path) as temporary:
        nir.write(temporary, graph)


def export_nir(
    model: SpikingModel, *, neuron: str = "if", tau: float | None = None, dt: float | None = None
) -> NirExport:
    """Return what `to_nir` returns, with what it warns of."""
    kind, step = check_neuron(neuron, tau, dt)
    model = _exportable(model)
    plan = model.populations
    rescaled = rescale(
        model.spiking_graph,
        plan,
        {
            (plan[path.source].layer, target.layer): model.spike_amplitude(path, target)
            for target in plan.values()
            for path in target.projections
        },
        {plan[name].layer: model.unit(name) for name in plan},
    )
    drawing = _Drawing(model, rescaled.graph, rescaled.inserted, kind, step, tau)
    return NirExport(drawing.finish(), tuple(_notes(model, drawing.checked)))


def _exportable(model: SpikingModel) -> SpikingModel:
    model.check_offers("NIR", ConversionError)
    pools = [p.layer for p in model.populations.values() if p.role == "max_pool"]
    if pools:
        raise ConversionError(
            f"The max-pooling of spikes by the gate {model.gate!r} ({', '.join(pools)}) cannot be "
            "written as NIR, which has poolings by sum and average only. Convert the network with "
            f"gate={AVERAGE!r} (--gate {AVERAGE}), or train it with average pooling."
        )
    return model


class _Drawing:
    """A NIR graph in the making."""

    def __init__(
        self,
        model: SpikingModel,
        graph: Graph,
        inserted: frozenset[str],
        kind: Neuron,
        dt: float,
        tau: float | None,
    ) -> None:
        self._model, self._graph = model, graph
        self._kind, self._dt, self._tau = kind, dt, tau
        self._nodes: dict[str, nir.NIRNode] = {}
        self._edges: list[tuple[str, str]] = []
        #: nodes whose sum is what a layer gives
        self._ends: dict[str, tuple[str, ...]] = {}
        #: whether nir's own check of shapes takes the graph
        self.checked = True
        neurons = {
            population.layer: name
            for name, population in model.populations.items()
            if population.role == "neurons"
        }
        for layer in graph:
            if isinstance(layer, Input):
                self._ends[layer.name] = (self._input(layer),)
            elif isinstance(layer, Add):
                self._ends[layer.name] = tuple(
                    end for source in layer.inputs for end in self._ends[source]
                )
            elif layer.name in neurons:
                self._ends[layer.name] = self._neurons(layer, neurons[layer.name])
            elif not isinstance(layer, ReLU):
                node = NODES[type(layer)](layer, graph.shapes[layer.inputs[0]])
                if layer.name in inserted:
                    node.metadata.setdefault(KEY, {})["factor"] = True
                self._ends[layer.name] = (self._connect(layer.name, node, layer.inputs[0]),)

    def finish(self) -> nir.NIRGraph:
        """Add the read-out and return the graph."""
        model: Any = self._model
        graph = self._graph
        output = graph[graph.output]
        rectified = isinstance(output, ReLU)
        source = output.inputs[0] if rectified else output.name
        threshold = self._threshold(model.output.name)
        facts = {"population": model.output.name}
        if rectified:
            facts["rectified"] = output.name
        if model.spikes(model.output.name):
            facts |= self._rule()
            node = self._kind.node(threshold, self._dt, self._tau, {KEY: facts})
        else:
            node = nir.I(r=np.full_like(threshold, 1 / self._dt), metadata={KEY: facts})
        last = self._connect(self._free(f"{source}_neurons"), node, source)
        shape = np.array(graph.shapes[output.name])
        name = self._free("output")
        self._nodes[name] = nir.Output(output_type={"output": shape})
        self._edges.append((last, name))
        record = {
            "schema": SCHEMA,
            "version": package_version("bsnn"),
            "neuron": self._kind.name,
            "dt": self._dt,
            **model_record(model),
        }
        if len(set(self._edges)) < len(self._edges):
            raise ConversionError(
                "The network adds a layer to itself, which NIR cannot say: two nodes have one edge "
                "at most. Double the weights instead."
            )
        try:
            return nir.NIRGraph(self._nodes, self._edges, metadata={KEY: record})
        except ValueError:
            # nir takes a kernel's height for its width too
            self.checked = False
            return nir.NIRGraph(self._nodes, self._edges, metadata={KEY: record}, type_check=False)

    def _input(self, layer: Input) -> str:
        model = self._model
        facts: dict[str, Any] = {"encoder": model.encoder, "scale": model.scales[model.input.name]}
        told = model.graph[model.input.layer]
        if not isinstance(told, Input):
            facts["normalise"] = {"name": told.name, **told.arrays}
        self._nodes[layer.name] = nir.Input(
            input_type={"input": np.array(layer.shape)}, metadata={KEY: facts}
        )
        return layer.name

    def _neurons(self, layer: Layer, name: str) -> tuple[str]:
        facts = {"population": name, **self._rule()}
        if isinstance(layer, ClippedReLU):
            # that of the trained network, whose units are not the graph's
            facts["clip"] = layer.geometry
        node = self._kind.node(self._threshold(name), self._dt, self._tau, {KEY: facts})
        return (self._connect(layer.name, node, layer.inputs[0]),)

    def _rule(self) -> dict[str, Any]:
        model = self._model
        floor = model.potential_floor
        return {
            "reset": model.reset,
            "spikes": "v >= v_threshold",
            "initial_potential": model.initial_potential,
            **({} if floor is None else {"potential_floor": floor}),
        }

    def _threshold(self, name: str) -> np.ndarray:
        shape = self._model.populations[name].shape
        return np.broadcast_to(
            per_channel(self._model.projections[name].threshold, shape), shape
        ).copy()

    def _connect(self, name: str, node: nir.NIRNode, source: str) -> str:
        """Add a node, with edges from all nodes whose sum it reads."""
        if isinstance(self._graph[source], Add):
            node.metadata.setdefault(KEY, {})["sum"] = source
        self._nodes[name] = node
        self._edges += [(end, name) for end in self._ends[source]]
        return name

    def _free(self, name: str) -> str:
        while name in self._nodes or name in self._graph:
            name += "_"
        return name


def _notes(model: SpikingModel, checked: bool) -> list[str]:
    """Say what other simulators will do differently."""
    notes = []
    if model.reset == "subtract":
        notes.append(
            "bsnn's neurons are reset by subtraction of the threshold, for which NIR has no place: "
            "it is metadata, and v_reset is 0. A simulator that resets to v_reset gives other "
            "spikes; set its reset rule to subtraction."
        )
    if model.initial_potential:
        notes.append(
            f"Potentials begin at {model.initial_potential:g} thresholds, for which NIR has no "
            "place: it is metadata. Other simulators begin at 0 and give later spikes."
        )
    if model.potential_floor is not None:
        notes.append(
            f"Potentials are never below {model.potential_floor:g} thresholds, for which NIR has "
            "no place: it is metadata."
        )
    if model.fraction_bits is not None and model.encoder == "constant":
        notes.append(
            f"Constant currents are rounded to {model.fraction_bits} fraction bits, for which NIR "
            "has no place: it is metadata. Other simulators do not round."
        )
    if model.input.layer != model.graph.input.name:
        notes.append(
            f"Images are normalised ({model.input.layer}) before they enter; NIR has no node for "
            "that. The mean and the standard deviation are metadata of the input: apply them "
            "to what other simulators are given."
        )
    if not checked:
        notes.append(
            "A convolution has a kernel that is not square, which nir up to 1.0.8 refuses when it "
            "reads a file. Read it with nir.read(path, type_check=False)."
        )
    return notes
