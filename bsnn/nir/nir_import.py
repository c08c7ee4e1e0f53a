"""From NIR to a rate-coded network."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nir
import numpy as np

from bsnn.conversion import SpikingModel
from bsnn.conversion.populations import per_channel
from bsnn.conversion.rate import RESETS
from bsnn.errors import ConversionError, GraphError, SettingsError, StorageError
from bsnn.graph import Add, ClippedReLU, Conv2d, Graph, Input, Layer, Linear, Normalise, ReLU
from bsnn.graph.layers import Shape
from bsnn.nir.drafting import Draft
from bsnn.nir.neurons import GAINS, SPIKING, refuse_leak
from bsnn.nir.rate_record import MODEL, SCHEMA, model_fields, note_of
from bsnn.nir.rescaling import Rescaled, factor_layer, rescale
from bsnn.registry import check_name

__all__ = ["NirNetwork", "from_nir"]

#: By how much thresholds may miss those that metadata tell, of which they are a multiple.
_TOLERANCE = 1e-9


@dataclasses.dataclass(frozen=True)
class NirNetwork:
    """What was read from NIR.

    Attributes
    ----------
    model : SpikingModel
        The network; ``bsnn.simulate(network.model, images)`` runs it with IF neurons.
    neuron : str
        ``"if"`` or ``"lif"``.
    parameters : dict of str to float
        ``dt``, the length of a step, unless the file does not say it; for LIF neurons ``tau``, in
        the same unit; ``read_out_tau`` where the read-out leaks.
    notes : tuple of str
        What is not as in the file, or was understood in a way its writer may not have meant.
    """

    model: SpikingModel
    neuron: str
    parameters: dict[str, float]
    notes: tuple[str, ...]


def from_nir(
    source: str | os.PathLike[str] | nir.NIRGraph,
    *,
    reset: str | None = None,
    dt: float | None = None,
    steps: int | None = None,
    encoder: str | None = None,
    input_scale: float | None = None,
) -> NirNetwork:
    """Make a rate-coded network of a NIR graph of IF or LIF neurons.

    What bsnn has written becomes what it was. Of other graphs the weights stay as they are, and
    so do the thresholds, each relative to what a unit of input adds in a step.

    Parameters
    ----------
    source : path or nir.NIRGraph
        A file, or a graph.
    reset : str, optional
        What a spike leaves of the potential, ``"subtract"`` or ``"zero"``. By default what bsnn's
        metadata say; without them NIR's rule, a reset to ``v_reset``, which must be 0.
    dt : float, optional
        Length of a step in the graph's unit of time. By default that of the metadata; without
        them, IF neurons count time in steps if all have one resistance, and LIF neurons need it.
    steps : int, optional
        Steps for which an image is shown; by default those of the metadata, or 100.
    encoder : str, optional
        How images enter, a name in `bsnn.conversion.ENCODERS`; by default that of the metadata, or
        ``"constant"``.
    input_scale : float, optional
        Value of a pixel that is one spike a step; by default that of the metadata,
        or 1.

    Returns
    -------
    NirNetwork

    Raises
    ------
    ConversionError
        A node, or a combination of nodes, has no counterpart; it is named.
    StorageError
        The file is missing or is no NIR file.
    """
    if reset is not None:
        check_name(reset, RESETS, "reset")
    graph, origin = _read(source)
    draft = Draft(graph)
    record = note_of(graph)
    if record and record.get("schema") != SCHEMA:
        draft.notes.append(
            f"bsnn's metadata have the unknown version {record.get('schema')!r} and are not used."
        )
        record = {}
    reader = _Reader(draft, record, reset, dt)
    chosen = {"steps": steps, "encoder": encoder}
    chosen = {name: value for name, value in chosen.items() if value is not None}
    try:
        model = reader.as_written(chosen, input_scale)
        if model is None:
            model = reader.as_it_is(chosen, input_scale, origin)
        model.check()
    except (GraphError, ValueError) as error:
        raise ConversionError(f"The NIR graph cannot be simulated: {error}") from error
    return NirNetwork(model, reader.neuron, reader.parameters, tuple(draft.notes))


def _read(source: str | os.PathLike[str] | nir.NIRGraph) -> tuple[nir.NIRGraph, str]:
    if isinstance(source, nir.NIRGraph):
        return source, "nir.NIRGraph"
    path = Path(source)
    try:
        # bsnn finds out shapes itself; nir's own check refuses groups and kernels not square
        return nir.read(path, type_check=False), path.name
    except FileNotFoundError:
        raise StorageError(f"The file {path} does not exist.") from None
    except Exception as error:
        raise StorageError(
            f"{path} is no NIR file, or it is damaged ({type(error).__name__}: {error})."
        ) from error


class _Reader:
    """What the neurons of a graph say, and the models that can be made of it."""

    def __init__(
        self, draft: Draft, record: dict[str, Any], reset: str | None, dt: float | None
    ) -> None:
        self._draft, self._record = draft, record
        named = dict(draft.neurons.values())
        self.neuron = self._kind(named)
        for name, node in named.items():
            if hasattr(node, "v_leak"):
                refuse_leak(name, node)
        self.parameters: dict[str, float] = {}
        self._dt = self._step(named, dt)
        self._reset = self._reset_rule(named, reset)
        self._time_constants(named)
        #: by layer, thresholds in units of what one spike of weight one adds
        self._thresholds = {
            layer: self._threshold(layer, name, node)
            for layer, (name, node) in draft.neurons.items()
        }

    def as_written(self, chosen: dict[str, Any], input_scale: float | None) -> SpikingModel | None:
        """Return the model that bsnn once wrote; None if there are no metadata, or they lie."""
        if not self._record:
            return None
        draft = self._draft
        try:
            fields = {**model_fields(self._record), **chosen, "reset": self._reset}
        except KeyError as error:
            draft.notes.append(f"bsnn's metadata lack {error} and are not used.")
            return None
        bare = MODEL(graph=_without(draft.graph, draft.factors), **fields)
        if input_scale is not None:
            bare.scales[bare.input.name] = float(input_scale)
        try:
            bare.check()
        except ValueError as error:
            draft.notes.append(f"bsnn's metadata are not used: {error}.")
            return None
        rescaled = _unscaled(draft.graph, bare)
        found = rescaled.graph
        weighted: Any = found
        changed = [
            n for n in draft.factors if not np.allclose(_diagonal(weighted[n]), 1, rtol=1e-6)
        ]
        changed += [name for name in bare.populations if not self._agrees(bare, name)]
        changed += rescaled.inserted
        if changed:
            draft.notes.append(
                f"The graph was changed after bsnn wrote it ({', '.join(changed)}): the "
                "values that its spikes stand for are not known any more."
            )
            return None
        graph = self._clipped(self._finished(_without(found, draft.factors)))
        return dataclasses.replace(bare, graph=graph)

    def _clipped(self, graph: Graph) -> Graph:
        """Give rectifications the clips that metadata tell, in the trained network's units."""
        clips = {
            layer: note_of(node)["clip"]
            for layer, (_, node) in self._draft.neurons.items()
            if "clip" in note_of(node)
        }
        layers = [
            ClippedReLU(name=layer.name, inputs=layer.inputs, **clips[layer.name])
            if layer.name in clips
            else layer
            for layer in graph
        ]
        return Graph(layers, graph.output)

    def as_it_is(
        self, chosen: dict[str, Any], input_scale: float | None, origin: str
    ) -> SpikingModel:
        """Return a model with the weights and thresholds of the graph."""
        record, graph = self._record, self._draft.graph
        told = ("steps", "encoder", "initial_potential", "potential_floor")
        fields = {name: record[name] for name in told if name in record}
        if input_scale is None:
            input_scale = float(self._draft.input_facts.get("scale", 1.0))
        for attempt in (graph, _explicit(graph)):
            model = MODEL(
                graph=attempt,
                scales={},
                read_out="count" if self._spiking_read_out else "potential",
                norm="nir",
                calibration={},
                source={"source": origin},
                reset=self._reset,
                balance="thresholds",
                **{"steps": 100, **fields, **chosen},
            )
            self._balance(model, input_scale)
            rescaled = _unscaled(attempt, model)
            # a shortcut without weights cannot take a factor: try again with weights in it
            if not rescaled.inserted:
                break
        found = rescaled.graph
        exact = self._finished(found)
        if any(
            not np.allclose(array, exact[layer.name].arrays[name], rtol=1e-12, atol=0)
            for layer in found
            for name, array in layer.arrays.items()
        ):
            self._draft.notes.append("Weights are rounded to float32, bsnn's precision of weights.")
        return dataclasses.replace(model, graph=exact)

    @property
    def _spiking_read_out(self) -> bool:
        return "" in self._draft.neurons and isinstance(self._draft.neurons[""][1], tuple(SPIKING))

    def _kind(self, named: Mapping[str, nir.NIRNode]) -> str:
        kinds = {name: SPIKING[type(node)] for name, node in named.items() if type(node) in SPIKING}
        if not kinds:
            raise ConversionError("The NIR graph has no spiking neurons (IF or LIF).")
        if len(set(kinds.values())) > 1:
            raise ConversionError(
                "The NIR graph has neurons of several kinds ("
                + ", ".join(f"{name}: {kind}" for name, kind in kinds.items())
                + "); in bsnn all neurons of a network are of one kind."
            )
        return next(iter(kinds.values()))

    def _step(self, named: Mapping[str, nir.NIRNode], dt: float | None) -> float:
        """Return the length of a step."""
        dt = self._record.get("dt") if dt is None else dt
        if dt is not None:
            if not (np.isfinite(dt) and dt > 0):
                raise SettingsError(f"dt is {dt!r}; a positive time is needed.")
            self.parameters["dt"] = float(dt)
            return float(dt)
        if self.neuron != "if":
            raise ConversionError(
                "The NIR graph has LIF neurons, whose leak in a step depends on the length of a "
                "step, and does not say it. Give it in the graph's unit of time: dt=0.001 (--dt)."
            )
        resistances = np.unique(
            [value for node in named.values() for value in np.ravel(vars(node)["r"])]
        )
        if len(resistances) > 1 or not resistances[0] > 0:
            raise ConversionError(
                "The IF neurons of the NIR graph have different resistances "
                f"({', '.join(f'{value:g}' for value in resistances[:5])}), and it does not say "
                "how long a step is. Give it in the graph's unit of time: dt=0.001 (--dt)."
            )
        # one spike of weight one then adds one
        return 1 / float(resistances[0])

    def _reset_rule(self, named: Mapping[str, nir.NIRNode], reset: str | None) -> str:
        told = {note_of(node).get("reset") for node in named.values()} - {None}
        if reset is None and self._record and len(told) == 1:
            reset = told.pop()
        if reset == "subtract":
            return reset
        for name, node in named.items():
            if np.any(getattr(node, "v_reset", 0)):
                raise ConversionError(
                    f"The node {name!r} ({type(node).__name__}) is reset to v_reset, which is not "
                    "0. bsnn's neurons are reset to zero, or by subtraction of the threshold: set "
                    "v_reset to 0, or say reset='subtract' (--reset)."
                )
        return "zero"

    def _time_constants(self, named: Mapping[str, nir.NIRNode]) -> None:
        taus = {name: np.unique(node.tau) for name, node in named.items() if type(node) is nir.LIF}
        different = np.unique([value for values in taus.values() for value in values])
        if len(different) > 1:
            raise ConversionError(
                "The LIF neurons have different time constants ("
                + ", ".join(f"{n}: {v.min():g} to {v.max():g}" for n, v in taus.items())
                + "); in bsnn all neurons of a network have one."
            )
        if len(different):
            self.parameters["tau"] = float(different[0])
        name, last = self._draft.neurons.get("", ("", None))
        if isinstance(last, nir.LI):
            leak = np.unique(last.tau)
            if len(leak) > 1:
                raise ConversionError(
                    f"The read-out {name!r} (LI) has different time constants for its neurons; one "
                    "is expected."
                )
            self.parameters["read_out_tau"] = float(leak[0])
            self._draft.notes.append(
                f"The read-out {name!r} leaks (LI, tau {leak[0]:g}). bsnn's read-out by potential "
                "adds up without a leak."
            )

    def _threshold(self, layer: str, name: str, node: nir.NIRNode) -> float | np.ndarray:
        """Return thresholds, one number or one for each channel; of integrators those of one."""
        shape = self._draft.graph.shapes[layer or self._draft.graph.output]
        gain = _spread(name, "r", GAINS[type(node)](node, self._dt), shape)
        if not (gain > 0).all():
            raise ConversionError(f"The node {name!r} has a resistance that is not positive.")
        limit = _spread(name, "v_threshold", getattr(node, "v_threshold", 1.0), shape)
        if not (np.isfinite(limit) & (limit > 0)).all():
            raise ConversionError(f"The node {name!r} has a threshold that is not positive.")
        found = np.where(gain == 1, limit, limit / gain)
        if (found == found.flat[0]).all():
            return float(found.flat[0])
        channels = found.reshape(shape[0], -1)
        if not hasattr(node, "v_threshold") or not (channels == channels[:, :1]).all():
            raise ConversionError(
                f"The neurons {name!r} have thresholds (or resistances) that differ within a "
                "channel; bsnn has one for each channel."
            )
        return channels[:, 0].copy()

    def _agrees(self, model: SpikingModel, name: str) -> bool:
        """Say whether a population has the threshold that the metadata tell."""
        population = model.populations[name]
        key = "" if population.role == "read_out" else population.layer
        if population.role == "input":
            return True
        if not model.spikes(name) or key not in self._thresholds:
            return key == "" and not self._spiking_read_out
        shape = population.shape
        return np.allclose(
            per_channel(model.projections[name].threshold, shape),
            per_channel(self._thresholds[key], shape),
            rtol=_TOLERANCE,
            atol=0,
        )

    def _balance(self, model: SpikingModel, input_scale: float) -> None:
        """Find the scales for which a model has the graph's thresholds."""
        scales = model.scales
        for name, population in model.populations.items():
            if population.role == "input":
                scales[name] = input_scale
                continue
            key = "" if population.role == "read_out" else population.layer
            scales[name] = self._thresholds.get(key, 1.0) * model.unit(name)

    def _finished(self, graph: Graph) -> Graph:
        """Give weights bsnn's precision, and images the normalisation that metadata tell."""
        facts = self._draft.input_facts.get("normalise")
        layers = [_single(layer) for layer in graph]
        if facts is None:
            return Graph(layers, graph.output)
        first = graph.input.name
        arrays = {name: np.asarray(facts[name], np.float32) for name in Normalise.array_fields}
        normalise = Normalise(name=facts["name"], inputs=(first,), **arrays)
        behind = [_reading(layer, {first: normalise.name}) for layer in layers[1:]]
        return Graph([layers[0], normalise, *behind], graph.output)


def _unscaled(graph: Graph, model: SpikingModel) -> Rescaled:
    """Return the graph whose weights are those of `graph` when converted as `model`."""
    plan = dataclasses.replace(model, graph=graph).populations
    own = model.populations
    # only the read-outs may have other layers
    layers = {p.layer: p.layer for p in own.values()}
    layers[model.output.layer] = next(reversed(plan.values())).layer
    amplitudes = {
        (own[path.source].layer, layers[target.layer]): 1 / model.spike_amplitude(path, target)
        for target in own.values()
        for path in target.projections
    }
    units = {layers[own[name].layer]: 1 / model.unit(name) for name in own}
    return rescale(graph, plan, amplitudes, units)


def _without(graph: Graph, names: frozenset[str]) -> Graph:
    """Leave out layers with one input; what read them reads that."""
    renamed: dict[str, str] = {}
    kept: list[Layer] = []
    for layer in graph:
        if layer.name in names:
            (source,) = layer.inputs
            renamed[layer.name] = renamed.get(source, source)
        else:
            kept.append(_reading(layer, renamed))
    return Graph(kept, renamed.get(graph.output, graph.output))


def _explicit(graph: Graph) -> Graph:
    """Put weights of one into branches that have none, so that they can take a factor."""
    layers: list[Layer] = []
    for layer in graph:
        if isinstance(layer, Add):
            inputs = []
            for source in layer.inputs:
                if _has_weights(graph, source):
                    inputs.append(source)
                    continue
                identity = factor_layer(
                    f"{layer.name}_{source}", source, graph.shapes[source], np.ones(())
                )
                layers.append(identity)
                inputs.append(identity.name)
            layer = dataclasses.replace(layer, inputs=tuple(inputs))
        layers.append(layer)
    return Graph(layers, graph.output)


def _has_weights(graph: Graph, name: str) -> bool:
    layer = graph[name]
    while not isinstance(layer, (ReLU, Input)):
        if layer.arrays:
            return True
        layer = graph[layer.inputs[0]]
    return False


def _reading(layer: Layer, renamed: Mapping[str, str]) -> Layer:
    return dataclasses.replace(
        layer, inputs=tuple(renamed.get(source, source) for source in layer.inputs)
    )


def _single(layer: Layer) -> Layer:
    arrays = {name: array.astype(np.float32) for name, array in layer.arrays.items()}
    return dataclasses.replace(layer, **arrays)


def _diagonal(layer: Conv2d | Linear) -> np.ndarray:
    return np.diag(layer.weight) if isinstance(layer, Linear) else layer.weight


def _spread(name: str, what: str, values: Any, shape: Shape) -> np.ndarray:
    """Give each neuron its value."""
    values = np.asarray(values, np.float64)
    for form in (values, values.reshape(values.shape + (1,) * (len(shape) - 1))):
        try:
            return np.broadcast_to(form, shape)
        except ValueError:
            continue
    raise ConversionError(
        f"The node {name!r} has {what} of shape {values.shape}, for neurons of shape {shape}."
    )
