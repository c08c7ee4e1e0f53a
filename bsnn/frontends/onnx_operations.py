"""What becomes of each of ONNX's operators.

What computes is one entry in `CONVERTERS`, a function that asks the draft for a layer; what only
moves elements is a name in `MOVES`, and is carried out on references.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from bsnn.frontends.advice import ACTIVATION, LARGER_OF_TWO, PRODUCT
from bsnn.frontends.draft import Draft
from bsnn.graph import AdaptiveAvgPool2d, AvgPool2d, MaxPool2d
from bsnn.registry import Registry

__all__ = ["CONVERTERS", "MOVES", "Node", "advice"]


@dataclasses.dataclass(frozen=True)
class Node:
    """One node of a model.

    Attributes
    ----------
    draft : Draft
        What is made of the network.
    operator : str
        Its kind.
    attributes : mapping of str to any
        By name.
    inputs : list
        References of what depends on the images, arrays of what does not, None for what is absent.
    known : list of bool
        Which of the inputs depend on the images.
    opset : int
        Version of the operators.
    """

    draft: Draft
    operator: str
    attributes: Mapping[str, Any]
    inputs: list[Any]
    known: list[bool]
    opset: int

    def references(self, number: int = 0) -> np.ndarray:
        """Return the references of an input."""
        if not self.known[number]:
            raise self.draft.place.error(f"its input {number} does not depend on the images.")
        return self.inputs[number]

    def array(self, number: int) -> np.ndarray | None:
        """Return an input that does not depend on the images; numbers are float64."""
        if number >= len(self.inputs) or self.inputs[number] is None:
            return None
        if self.known[number]:
            raise self.draft.place.error(f"its input {number} depends on the images.")
        array = np.asarray(self.inputs[number])
        return array.astype(np.float64) if array.dtype.kind == "f" else array

    def weight(self, number: int = 1) -> np.ndarray:
        """Return an input with weights."""
        found = self.array(number)
        if found is None:
            raise self.draft.place.error(f"its input {number} is missing.")
        return found

    def attribute(self, name: str, default: Any = None) -> Any:
        """Return an attribute."""
        return self.attributes.get(name, default)

    def axes(self) -> list[int]:
        """Return the axes of a reduction: an attribute, or an input since opset 13 or 18."""
        axes = self.attribute("axes")
        if axes is None and len(self.inputs) > 1:
            axes = self.array(1)
        rank = self.references().ndim
        return list(range(rank)) if axes is None else [int(axis) for axis in np.ravel(axes)]


#: What converts a node: returns the references of its first output.
Converter = Callable[[Node], np.ndarray]

#: By name of an operator, what converts it.
CONVERTERS: Registry[Converter] = Registry("operator")

#: Operators that only move elements, or put zeros among them.
MOVES = frozenset({
    "Concat", "DepthToSpace", "Expand", "Flatten", "Gather", "GatherND", "Identity", "Pad",
    "Reshape", "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze",
})  # fmt: skip


def _two(values: Any, fill: int) -> tuple[int, int]:
    """Settings of both axes of a map; a signal is a map of one row."""
    values = [int(value) for value in values]
    return (fill, values[0]) if len(values) == 1 else (values[0], values[1])


@dataclasses.dataclass(frozen=True)
class _Window:
    """The geometry of a window: vertical, horizontal."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    #: before and after, above, below, left, right
    padding: tuple[int, int, int, int]


def _window(node: Node, kernel: Any, x: np.ndarray) -> _Window:
    rank = len(kernel)
    if rank not in (1, 2) or x.ndim != rank + 2:
        raise node.draft.place.error("only one and two axes have windows here.")
    stride = _two(node.attribute("strides", [1] * rank), 1)
    dilation = _two(node.attribute("dilations", [1] * rank), 1)
    size = _two(kernel, 1)
    pads = [int(pad) for pad in node.attribute("pads", [0] * 2 * rank)]
    begin, end = _two(pads[:rank], 0), _two(pads[rank:], 0)
    automatic = node.attribute("auto_pad", "NOTSET")
    if automatic.startswith("SAME"):
        extents = _two(x.shape[2:], 1)
        needed = [
            max(0, (-(-n // s) - 1) * s + d * (k - 1) + 1 - n)
            for n, s, d, k in zip(extents, stride, dilation, size, strict=True)
        ]
        small, large = [n // 2 for n in needed], [n - n // 2 for n in needed]
        begin, end = (small, large) if automatic == "SAME_UPPER" else (large, small)
    return _Window(size, stride, dilation, (begin[0], end[0], begin[1], end[1]))


@CONVERTERS.entry("Conv")
def _conv(node: Node) -> np.ndarray:
    x, weight = node.references(), node.weight()
    window = _window(node, weight.shape[2:], x)
    return node.draft.conv(
        x,
        weight[:, :, np.newaxis] if weight.ndim == 3 else weight,
        node.array(2),
        stride=window.stride,
        padding=window.padding,
        dilation=window.dilation,
        groups=int(node.attribute("group", 1)),
    )


@CONVERTERS.entry("Gemm")
def _gemm(node: Node) -> np.ndarray:
    if node.attribute("transA", 0):
        raise node.draft.place.error("it multiplies the transposed images.")
    weight = node.weight() if node.attribute("transB", 0) else node.weight().T
    weight = weight * node.attribute("alpha", 1.0)
    bias = node.array(2)
    if bias is not None:
        bias = np.broadcast_to(bias * node.attribute("beta", 1.0), (1, len(weight)))[0].copy()
    return node.draft.linear(node.references(), weight, bias)


@CONVERTERS.entry("MatMul")
def _matmul(node: Node) -> np.ndarray:
    if all(node.known):
        raise node.draft.place.error(advice("MatMul"))
    x, weight = node.references(), node.weight()
    if weight.ndim != 2:
        raise node.draft.place.error(f"a matrix is needed, not an array of shape {weight.shape}.")
    rows = node.draft.linear(x.reshape(-1, x.shape[-1]), weight.T, None)
    return rows.reshape(*x.shape[:-1], -1)


@CONVERTERS.entry("BatchNormalization")
def _batch_norm(node: Node) -> np.ndarray:
    if node.attribute("training_mode", 0):
        raise node.draft.place.error("it is in training mode. Export the model for inference.")
    x = node.references()
    scale, bias, mean, variance = (node.weight(number) for number in range(1, 5))
    with np.errstate(all="ignore"):
        factor = scale / np.sqrt(variance + node.attribute("epsilon", 1e-5))
    shape = (-1, *(1,) * (x.ndim - 2))
    return node.draft.affine(x, factor.reshape(shape), (bias - mean * factor).reshape(shape))


@CONVERTERS.entry("Relu")
def _relu(node: Node) -> np.ndarray:
    return node.draft.clip(node.references(), 0.0, np.inf)


@CONVERTERS.entry("LeakyRelu", "PRelu")
def _leaky_relu(node: Node) -> np.ndarray:
    slope = node.array(1) if node.operator == "PRelu" else node.attribute("alpha", 0.01)
    if np.any(slope):
        raise node.draft.place.error(advice(node.operator))
    return _relu(node)


@CONVERTERS.entry("Clip")
def _clip(node: Node) -> np.ndarray:
    limits = []
    for number, (name, infinite) in enumerate((("min", -np.inf), ("max", np.inf)), 1):
        given = node.array(number)
        limits.append(node.attribute(name, infinite) if given is None else given)
    return node.draft.clip(node.references(), *limits)


@CONVERTERS.entry("Max", "Min")
def _limit(node: Node) -> np.ndarray:
    if sum(node.known) > 1:
        raise node.draft.place.error(LARGER_OF_TWO)
    number = node.known.index(True)
    limits = [node.weight(other) for other in range(len(node.inputs)) if other != number]
    x = node.references(number)
    if node.operator == "Max":
        low = np.maximum.reduce([np.float64(-np.inf), *limits])
        return node.draft.clip(x, low, np.inf)
    high = np.minimum.reduce([np.float64(np.inf), *limits])
    return node.draft.clip(x, -np.inf, high)


@CONVERTERS.entry("Floor", "Round")
def _round(node: Node) -> np.ndarray:
    return node.draft.floor(node.references(), 0.5 if node.operator == "Round" else 0.0)


@CONVERTERS.entry("Add", "Sub", "Sum")
def _sum(node: Node) -> np.ndarray:
    total: np.ndarray | None = None
    constant: Any = 0.0
    for number, known in enumerate(node.known):
        factor = -1.0 if node.operator == "Sub" and number else 1.0
        if not known:
            constant = constant + factor * node.weight(number)
            continue
        term = node.references(number)
        term = term if factor == 1 else node.draft.affine(term, factor, 0.0)
        total = term if total is None else node.draft.add(total, term)
    assert total is not None
    return node.draft.affine(total, 1.0, constant) if np.any(constant) else total


@CONVERTERS.entry("Mul", "Div")
def _product(node: Node) -> np.ndarray:
    if all(node.known) or (node.operator == "Div" and node.known[1]):
        raise node.draft.place.error(advice("Mul"))
    number = node.known.index(True)
    factor = node.weight(1 - number)
    if node.operator == "Div":
        if (factor == 0).any():
            raise node.draft.place.error("it divides by zero.")
        factor = 1 / factor
    return node.draft.affine(node.references(number), factor, 0.0)


@CONVERTERS.entry("Neg")
def _neg(node: Node) -> np.ndarray:
    return node.draft.affine(node.references(), -1.0, 0.0)


@CONVERTERS.entry("MaxPool", "AveragePool")
def _pool(node: Node) -> np.ndarray:
    x = node.references()
    window = _window(node, node.attribute("kernel_shape"), x)
    fields = {"kernel": window.kernel, "stride": window.stride}
    top, bottom, left, right = window.padding
    ceil = bool(node.attribute("ceil_mode", 0))
    if (top, left) != (bottom, right):
        # what is only added behind may be a last, incomplete window
        extents = _two(x.shape[2:], 1)
        whole = [
            -(-(n - k) // s) == (n + after - k) // s
            for n, k, s, after in zip(
                extents, window.kernel, window.stride, (bottom, right), strict=True
            )
        ]
        counted = node.operator == "AveragePool" and node.attribute("count_include_pad", 0)
        if top or left or counted or not all(whole) or window.dilation != (1, 1):
            raise node.draft.place.error(
                f"it pads by {top}, {bottom}, {left} and {right}: poolings pad both sides alike, "
                "or end with an incomplete window."
            )
        ceil = True
    fields |= {"padding": (top, left), "ceil_mode": ceil}
    if node.operator == "MaxPool":
        return node.draft.map_layer(x, MaxPool2d, dilation=window.dilation, **fields)
    if window.dilation != (1, 1):
        raise node.draft.place.error("an average over a dilated window has no form here.")
    include = bool(node.attribute("count_include_pad", 0))
    return node.draft.map_layer(x, AvgPool2d, count_include_pad=include, **fields)


@CONVERTERS.entry("GlobalAveragePool")
def _global_average(node: Node) -> np.ndarray:
    return node.draft.map_layer(node.references(), AdaptiveAvgPool2d, output_size=(1, 1))


@CONVERTERS.entry("GlobalMaxPool")
def _global_maximum(node: Node) -> np.ndarray:
    x = node.references()
    return node.draft.maximum(x, range(2, x.ndim), True)


@CONVERTERS.entry("ReduceMean", "ReduceSum")
def _reduce(node: Node) -> np.ndarray:
    x, axes = node.references(), node.axes()
    mean = node.draft.mean(x, axes, bool(node.attribute("keepdims", 1)))
    if node.operator == "ReduceMean" or mean.min(initial=0) < 0:
        return mean
    return node.draft.affine(mean, float(np.prod([x.shape[axis] for axis in axes])), 0.0)


@CONVERTERS.entry("ReduceMax")
def _reduce_max(node: Node) -> np.ndarray:
    keep = bool(node.attribute("keepdims", 1))
    return node.draft.maximum(node.references(), node.axes(), keep)


@CONVERTERS.entry("Softmax", "LogSoftmax")
def _softmax(node: Node) -> np.ndarray:
    names = {"Softmax": "softmax", "LogSoftmax": "log_softmax"}
    axis = node.attribute("axis", 1 if node.opset < 13 else -1)
    return node.draft.finish(node.references(), names[node.operator], axis)


@CONVERTERS.entry("Sigmoid")
def _sigmoid(node: Node) -> np.ndarray:
    return node.draft.finish(node.references(), "sigmoid", 1)


@CONVERTERS.entry("Dropout", "Cast", "CastLike")
def _same(node: Node) -> np.ndarray:
    if node.operator == "Dropout" and np.any(node.array(2)):
        raise node.draft.place.error("it is in training mode. Export the model for inference.")
    # FLOAT, FLOAT16, DOUBLE, BFLOAT16: all is computed in float64
    if node.operator == "Cast" and node.attribute("to") not in (1, 10, 11, 16):
        raise node.draft.place.error("values become whole numbers, or truth values.")
    return node.references()


_ADVICE = {
    **dict.fromkeys(
        ("LeakyRelu", "PRelu", "Elu", "Selu", "Celu", "Gelu", "Softplus", "Softsign", "Tanh",
         "HardSigmoid", "HardSwish", "Mish", "Erf", "ThresholdedRelu", "Abs", "Exp", "Swish"),
        ACTIVATION,
    ),
    **dict.fromkeys(
        ("Mul", "MatMul", "Attention", "Einsum", "Pow"),
        PRODUCT,
    ),
    **dict.fromkeys(
        ("LayerNormalization", "InstanceNormalization", "GroupNormalization", "LRN"),
        "Its statistics are those of each image. Use batch normalisation, which is folded.",
    ),
    **dict.fromkeys(
        ("Resize", "Upsample", "ConvTranspose"), "Use a strided convolution or a pooling layer."
    ),
    **dict.fromkeys(
        ("QuantizeLinear", "DequantizeLinear", "QLinearConv", "QLinearMatMul", "ConvInteger"),
        "Export the model before it is quantised: bsnn reads its weights as floats.",
    ),
    **dict.fromkeys(
        ("If", "Loop", "Scan"),
        "What it computes depends on values. Export the model for inference, with fixed shapes.",
    ),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), "Recurrent layers have no form here."),
}  # fmt: skip


def advice(operator: str) -> str:
    """What to write instead of an operator that has no counterpart."""
    return _ADVICE.get(
        operator,
        "It has no spiking form. Convolutions, dense layers, batch normalisation, ReLU and clipped "
        "ReLU, pooling, sums, concatenation, and what only moves values have one.",
    )
