"""From an ONNX model to a `Graph`: for networks trained with Keras, TensorFlow, JAX and others.

A model is data here; nothing of it is executed but ONNX's own operators, by the reference
implementation of the `onnx` package, where they work on constants or only move values.
"""

from __future__ import annotations

import ast
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike
from onnx.reference import ReferenceEvaluator

from bsnn.errors import ConversionError, ConversionWarning, GraphError, first_line
from bsnn.frontends.draft import SAMPLES, Draft, Layout, Place, drafted
from bsnn.frontends.folding import as_type, fold
from bsnn.frontends.images import Results, normalisation, notes
from bsnn.frontends.onnx_operations import CONVERTERS, MOVES, Node, advice
from bsnn.graph import Graph

__all__ = ["from_onnx"]

# How far a result may be from that of ONNX's reference implementation, which computes in float32.
_TOLERANCE = 1e-3


def from_onnx(
    model: str | os.PathLike[str] | onnx.ModelProto,
    input_shape: Sequence[int] | None = None,
    *,
    mean: ArrayLike | None = None,
    std: ArrayLike | None = None,
) -> Graph:
    """Convert a trained network in ONNX to a graph.

    Parameters
    ----------
    model : path or onnx.ModelProto
        The network, of opset 11 or later, exported for inference. Weights may be in files of their
        own beside it.
    input_shape : sequence of int, optional
        Shape of one image, where the model leaves it open.
    mean, std : array_like, optional
        As in `bsnn.from_torch`.

    Returns
    -------
    Graph
        Its images have their channels first, also where the model has them last.

    Raises
    ------
    ConversionError
        The file is no such model, an operator has no counterpart, or an argument does not fit.

    Warns
    -----
    ConversionWarning
        Images lie otherwise than in the model, or a function of the results was left out.
    """
    name, proto = _loaded(model)
    network = _Network(name, proto, input_shape)

    def make(layout: Layout) -> Draft:
        normalise = normalisation(layout.graph_shape, mean, std)
        draft = Draft(layout, normalise, network.samples)
        network.run(draft)
        return draft

    draft, layout = drafted(network.shape, make)
    try:
        folded = fold(draft.layers, draft.output)
        graph = Graph(as_type(folded.layers, np.float32), folded.output)
    except GraphError as error:
        raise ConversionError(f"{name}: the network is not consistent: {error}.") from error
    normalised = mean is not None or std is not None
    _check(graph, network, Results(layout, folded.final, folded.two_classes, normalised))
    for note in notes(layout, folded):
        warnings.warn(note, ConversionWarning, stacklevel=2)
    return graph


def _loaded(model: str | os.PathLike[str] | onnx.ModelProto) -> tuple[str, onnx.ModelProto]:
    if isinstance(model, onnx.ModelProto):
        return "the model", model
    path = Path(model)
    if not path.is_file():
        raise ConversionError(f"{path} does not exist.")
    try:
        proto = onnx.load(path)
        onnx.checker.check_model(proto)
    except Exception as error:
        reason = first_line(error)
        raise ConversionError(
            f"{path} is no ONNX model, or not a whole one ({reason}). If its weights are in a file "
            "of their own, that must lie beside it, under the name that it had."
        ) from error
    return str(path), proto


class _Network:
    """A model, node by node.

    Attributes
    ----------
    shape : tuple of int
        Of an image as the model takes it.
    samples : int
        Images that it is run on.
    """

    def __init__(
        self, name: str, proto: onnx.ModelProto, input_shape: Sequence[int] | None
    ) -> None:
        if proto.functions:
            from onnx.inliner import inline_local_functions

            proto = inline_local_functions(proto)
        self.name = name
        self.proto = proto
        self._graph = proto.graph
        self._opsets = {one.domain or "ai.onnx": one.version for one in proto.opset_import}
        self._opset = self._opsets.get("ai.onnx", 0)
        if self._opset < 11:
            raise ConversionError(
                f"{name} is of opset {self._opset}. Convert it to 11 or later: "
                "onnx.version_converter.convert_version(model, 17)."
            )
        self._constants = {one.name: self._numbers(one) for one in self._graph.initializer}
        inputs = [one for one in self._graph.input if one.name not in self._constants]
        outputs = self._graph.output
        if len(inputs) != 1 or len(outputs) != 1:
            raise ConversionError(
                f"{name} has {len(inputs)} inputs and {len(outputs)} outputs; one of each, the "
                "images and the logits, is needed."
            )
        self.input, self.output = inputs[0].name, outputs[0].name
        self.samples, self.shape = self._input_shape(inputs[0], input_shape)

    def _numbers(self, tensor: onnx.TensorProto) -> np.ndarray:
        array = onnx.numpy_helper.to_array(tensor)
        if array.dtype.kind not in "fiub":
            # bfloat16 and other small floats
            array = array.astype(np.float32)
        if array.dtype.kind == "f":
            bad = int((~np.isfinite(array)).sum())
            if bad:
                raise ConversionError(
                    f"{self.name}: {tensor.name!r} has {bad} of {array.size} values that are NaN "
                    "or infinite. The training diverged, or the export failed."
                )
        return array

    def _input_shape(
        self, value: onnx.ValueInfoProto, given: Sequence[int] | None
    ) -> tuple[int, tuple[int, ...]]:
        dims = [
            dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else None
            for dim in value.type.tensor_type.shape.dim
        ]
        if len(dims) < 2 and given is None:
            raise ConversionError(
                f"{self.name} takes an input of shape {tuple(dims)}; a batch of images is needed. "
                "Name the shape of an image: input_shape=(channels, height, width)."
            )
        wanted = None if given is None else tuple(int(size) for size in given)
        found = tuple(dims[1:])
        if wanted is None:
            if None in found:
                shown = ", ".join("?" if size is None else str(size) for size in found)
                raise ConversionError(
                    f"{self.name} leaves the shape of an image open: ({shown}). Name it with "
                    "input_shape (--input-shape)."
                )
            wanted = tuple(size for size in found if size is not None)
        elif dims and (
            len(found) != len(wanted)
            or any(a is not None and a != b for a, b in zip(found, wanted, strict=True))
        ):
            raise ConversionError(
                f"input_shape is {wanted}, and {self.name} takes images of shape {found}."
            )
        return dims[0] or SAMPLES if dims else SAMPLES, wanted

    def run(self, draft: Draft) -> None:
        """Make a draft of the model.

        Raises
        ------
        ConversionError
            It does what has no spiking form.
        """
        constants, known = dict(self._constants), {self.input: draft.images()}
        for node in self._graph.node:
            draft.place = self._place(node)
            outputs = self._run_node(draft, node, constants, known)
            known.update(outputs)
        draft.place = Place("the result", "result")
        if self.output not in known:
            raise ConversionError(f"{self.name}: the result does not depend on the images.")
        draft.finish_with(known[self.output])

    def _run_node(
        self,
        draft: Draft,
        node: onnx.NodeProto,
        constants: dict[str, np.ndarray],
        known: dict[str, np.ndarray],
    ) -> dict[str, np.ndarray]:
        """Carry a node out; return the references of its outputs, and add to the constants."""
        names = [name for name in node.output if name]
        if not any(name in known for name in node.input):
            values = [constants[name] for name in node.input if name]
            constants.update(zip(names, self._evaluated(node, values), strict=False))
            return {}
        if node.op_type in ("Shape", "Size"):
            shape = np.zeros(known[node.input[0]].shape, np.float32)
            constants.update(zip(names, self._evaluated(node, [shape]), strict=False))
            return {}
        attributes = {a.name: _attribute(a) for a in node.attribute}
        inputs = [known.get(name, constants.get(name)) if name else None for name in node.input]
        tracked = [name in known for name in node.input]
        try:
            for references, is_known in zip(inputs, tracked, strict=True):
                if is_known and references is not None:
                    draft.check(references)
            if node.op_type in MOVES:
                moved = self._moved(draft, node, inputs, tracked)
                for references in moved:
                    draft.note_view(references)
                return dict(zip(names, moved, strict=False))
            if node.op_type not in CONVERTERS or node.domain not in ("", "ai.onnx"):
                raise draft.place.error(advice(node.op_type))
            found = CONVERTERS[node.op_type](
                Node(draft, node.op_type, attributes, inputs, tracked, self._opset)
            )
            return {names[0]: found}
        except ConversionError as error:
            # only if somebody reads it
            failed = draft.failed(error, (draft.samples, 1))
            return dict.fromkeys(names, failed)

    def _moved(
        self, draft: Draft, node: onnx.NodeProto, inputs: list[Any], tracked: list[bool]
    ) -> list[np.ndarray]:
        arrays = []
        for number, (array, known) in enumerate(zip(inputs, tracked, strict=True)):
            if array is None:
                continue
            if not known and np.asarray(array).dtype.kind == "f":
                if np.any(array):
                    raise draft.place.error(
                        "it puts constants that are not zero among the network's values."
                    )
                array = np.zeros(np.shape(array), np.int64)
            if known and number and node.op_type not in ("Concat",):
                raise draft.place.error("where it takes values from depends on the images.")
            arrays.append(np.asarray(array))
        mode = next((a.s.decode() for a in node.attribute if a.name == "mode"), "constant")
        if node.op_type == "Pad" and mode != "constant":
            raise draft.place.error("only zero padding has a spiking form.")
        return self._evaluated(node, arrays)

    def _evaluated(self, node: onnx.NodeProto, values: list[np.ndarray]) -> list[np.ndarray]:
        """Carry out one operator by the reference implementation."""
        names = [name for name in dict.fromkeys(node.input) if name]
        by_name = dict(zip((name for name in node.input if name), values, strict=True))
        infos = [
            onnx.helper.make_tensor_value_info(
                name, onnx.helper.np_dtype_to_tensor_dtype(by_name[name].dtype), None
            )
            for name in names
        ]
        results = [
            onnx.helper.make_tensor_value_info(name, onnx.TensorProto.UNDEFINED, None)
            for name in node.output
            if name
        ]
        graph = onnx.helper.make_graph([node], "node", infos, results)
        model = onnx.helper.make_model(graph, opset_imports=self.proto.opset_import)
        try:
            found = ReferenceEvaluator(model).run(None, by_name)
        except Exception as error:
            reason = first_line(error)
            place = self._place(node)
            raise place.error(f"it fails ({reason}). Is the shape of an image right?") from error
        return [np.asarray(one) for one in found]

    def _place(self, node: onnx.NodeProto) -> Place:
        what = f"the node {node.name or node.output[0]!r} ({node.op_type})"
        name = _module_of(node)
        if name:
            return Place(what, name, True, f"{self.name}: ")
        return Place(what, node.op_type.lower(), False, f"{self.name}: ")

    def reference(self, images: np.ndarray) -> np.ndarray:
        """Return the model's results by ONNX's reference implementation, in float32."""
        (found,) = ReferenceEvaluator(self.proto).run(None, {self.input: images})
        return np.asarray(found)


def _module_of(node: onnx.NodeProto) -> str:
    """Return the module or layer that a node was exported from; nothing if that is not known."""
    for entry in node.metadata_props:
        # of PyTorch's newer exporter: from the whole model to the node
        if entry.key == "pkg.torch.onnx.name_scopes":
            scopes = ast.literal_eval(entry.value)
            return scopes[-2] if len(scopes) > 1 else ""
    # others write a path, of which the last part is the operator
    path = [part for part in node.name.split("/") if part]
    return path[-2] if len(path) > 1 else ""


def _attribute(attribute: onnx.AttributeProto) -> Any:
    value = onnx.helper.get_attribute_value(attribute)
    return value.decode() if isinstance(value, bytes) else value


def _check(graph: Graph, network: _Network, results: Results) -> None:
    """Compare a graph with the reference implementation on random images.

    Raises
    ------
    ConversionError
        Their results differ.
    """
    rng = np.random.default_rng(0)
    shape = (network.samples, *network.shape)
    for images in (rng.random(shape, np.float32), rng.normal(size=shape).astype(np.float32)):
        try:
            expected = network.reference(images)
        except Exception as error:
            reason = first_line(error)
            raise ConversionError(
                f"{network.name} cannot be run on images of shape {network.shape} ({reason})."
            ) from error
        found = results.of_model(graph.forward(results.raw_images(graph, images)))
        largest = np.abs(expected).max()
        if found.shape != expected.shape or not np.allclose(
            found, expected, rtol=_TOLERANCE, atol=_TOLERANCE * largest
        ):
            raise ConversionError(
                f"The converted network does not compute what {network.name} does. Please report "
                "this model as a bug of bsnn."
            )
