"""What each of NIR's nodes without state is among bsnn's layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import nir
import numpy as np

from bsnn.errors import ConversionError
from bsnn.graph import AvgPool2d, Conv2d, Flatten, Layer, Linear, PadChannels
from bsnn.graph.layers import Shape
from bsnn.nir.kernels import as_before
from bsnn.nir.rate_record import note_of
from bsnn.nir.rescaling import factor_layer

__all__ = ["LAYERS", "refusal"]


def _pair(value: Any) -> tuple[int, int]:
    values = np.broadcast_to(np.asarray(value), 2)
    return int(values[0]), int(values[1])


def _conv2d(name: str, source: str, node: nir.Conv2d, shape: Shape) -> Layer:
    weight, facts = np.asarray(node.weight), note_of(node)
    if weight.ndim != 4:
        raise ConversionError(
            f"The node {name!r} (Conv2d) has a weight of shape {weight.shape}; (output channels, "
            "input channels, height, width) is expected."
        )
    if "channels_before" in facts:
        padded = PadChannels(
            name=name,
            inputs=(source,),
            before=facts["channels_before"],
            after=facts["channels_after"],
        )
        if _only_pads(weight, node.bias, padded):
            return padded
    dilation = _pair(node.dilation)
    conv = Conv2d(
        name=name,
        inputs=(source,),
        weight=weight,
        bias=_bias(node.bias, facts),
        stride=_pair(node.stride),
        padding=_padding(node.padding, weight.shape[2:], dilation),
        dilation=dilation,
        groups=int(node.groups),
    )
    return as_before(conv, facts) if "kernel_zeros" in facts else conv


def _only_pads(weight: np.ndarray, bias: np.ndarray, layer: PadChannels) -> bool:
    """Say whether a convolution still does what it was written for."""
    inputs = weight.shape[1]
    expected = np.zeros((layer.before + inputs + layer.after, inputs, 1, 1))
    expected[layer.before + np.arange(inputs), np.arange(inputs)] = 1
    return np.array_equal(weight, expected) and not np.any(bias)


def _bias(bias: np.ndarray | None, facts: dict[str, Any]) -> np.ndarray | None:
    # NIR's convolutions always have one
    absent = bias is None or (facts.get("bias") is False and not np.any(bias))
    return None if absent else np.asarray(bias)


def _padding(
    padding: Any, kernel: tuple[int, ...], dilation: tuple[int, int]
) -> tuple[int, int, int, int]:
    if not isinstance(padding, str):
        vertical, horizontal = _pair(padding)
        return (vertical, vertical, horizontal, horizontal)
    # an odd element goes to the end, as in PyTorch
    same = padding == "same"
    total = [same * step * (size - 1) for step, size in zip(dilation, kernel, strict=True)]
    (top, left), (bottom, right) = zip(*((t // 2, t - t // 2) for t in total), strict=True)
    return (top, bottom, left, right)


def _linear(name: str, source: str, node: nir.Linear | nir.Affine, shape: Shape) -> Layer:
    weight = np.asarray(node.weight)
    if weight.ndim != 2:
        raise ConversionError(
            f"The node {name!r} ({type(node).__name__}) has a weight of shape {weight.shape}; "
            "(outputs, inputs) is expected. Put a Flatten before it and a matrix into it."
        )
    bias = getattr(node, "bias", None)
    return Linear(
        name=name, inputs=(source,), weight=weight, bias=None if bias is None else np.asarray(bias)
    )


def _scale(name: str, source: str, node: nir.Scale, shape: Shape) -> Layer:
    scale = np.asarray(node.scale, np.float64)
    try:
        scale = np.broadcast_to(scale, shape)
    except ValueError:
        raise ConversionError(
            f"The node {name!r} (Scale) has factors of shape {scale.shape}, for values of shape "
            f"{shape}."
        ) from None
    if len(shape) == 3:
        if not (scale == scale[:, :1, :1]).all():
            raise ConversionError(
                f"The node {name!r} (Scale) has other factors at other places of a map, which no "
                "convolution of bsnn's can do. Give each channel one factor, or put the factors "
                "into the weights of the node after it."
            )
        scale = scale[:, :1, :1]
    return factor_layer(name, source, shape, scale)


def _avg_pool2d(name: str, source: str, node: nir.AvgPool2d, shape: Shape) -> Layer:
    return _pool(name, source, node, 0)


def _sum_pool2d(name: str, source: str, node: nir.SumPool2d, shape: Shape) -> Layer:
    return _pool(name, source, node, 1)


def _pool(name: str, source: str, node: nir.AvgPool2d | nir.SumPool2d, divisor: int) -> AvgPool2d:
    return AvgPool2d(
        name=name,
        inputs=(source,),
        kernel=_pair(node.kernel_size),
        stride=_pair(node.stride),
        padding=_pair(node.padding),
        divisor=divisor,
    )


def _flatten(name: str, source: str, node: nir.Flatten, shape: Shape) -> Layer:
    # some tools count the axis of the batch and write 1 where NIR means 0
    last = int(node.end_dim)
    if int(node.start_dim) not in (0, 1) or last not in (-1, len(shape) - 1, len(shape)):
        raise ConversionError(
            f"The node {name!r} (Flatten) flattens axes {node.start_dim} to {node.end_dim} of "
            f"{shape}; bsnn flattens all of an image: start_dim=0, end_dim=-1."
        )
    return Flatten(name=name, inputs=(source,))


#: By type of node, the function that makes a layer of it, given what it reads and its shape.
LAYERS: dict[type[nir.NIRNode], Callable[[str, str, Any, Shape], Layer]] = {
    nir.Conv2d: _conv2d,
    nir.Affine: _linear,
    nir.Linear: _linear,
    nir.Scale: _scale,
    nir.AvgPool2d: _avg_pool2d,
    nir.SumPool2d: _sum_pool2d,
    nir.Flatten: _flatten,
}

#: Why nodes that NIR has are none of bsnn's, and what to do.
_REFUSED: dict[type[nir.NIRNode], str] = {
    nir.CubaLIF: "has synapses with a time constant; bsnn's spikes act at once. Use LIF.",
    nir.CubaLI: "has synapses with a time constant; bsnn's spikes act at once. Use LI or I.",
    nir.Delay: "is an axonal delay; in bsnn a spike crosses the whole network within one step.",
    nir.Threshold: "has no potential; bsnn's neurons integrate. Use IF.",
    nir.Conv1d: "has one axis; bsnn's maps have two. Use Conv2d with a height of 1.",
    nir.NIRGraph: "is a graph within the graph. Write its nodes into the outer graph.",
}


def refusal(name: str, node: nir.NIRNode) -> ConversionError:
    """Return the error for a node that bsnn cannot simulate."""
    known = ", ".join(kind.__name__ for kind in LAYERS)
    why = _REFUSED.get(type(node), f"is unknown to bsnn, which reads IF, LIF, I, LI, {known}.")
    return ConversionError(f"The node {name!r} ({type(node).__name__}) {why}")
