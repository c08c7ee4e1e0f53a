"""What each of bsnn's layers is in NIR."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import nir
import numpy as np

from bsnn.errors import ConversionError
from bsnn.graph import (
    AdaptiveAvgPool2d,
    AvgPool2d,
    Conv2d,
    Flatten,
    Layer,
    Linear,
    PadChannels,
)
from bsnn.graph.layers import Shape
from bsnn.nir.kernels import plain_kernel
from bsnn.nir.rate_record import KEY

__all__ = ["NODES"]


def _conv2d(layer: Conv2d, shape: Shape) -> nir.Conv2d:
    kernel = plain_kernel(layer)
    bias = np.zeros(len(kernel.weight)) if layer.bias is None else layer.bias
    origin = dict(kernel.origin)
    if layer.bias is None:
        origin["bias"] = False
    return nir.Conv2d(
        input_shape=(shape[1], shape[2]),
        weight=kernel.weight,
        stride=layer.stride,
        padding=kernel.padding,
        dilation=kernel.dilation,
        groups=1,
        bias=bias,
        metadata=_metadata(origin),
    )


def _linear(layer: Linear, shape: Shape) -> nir.NIRNode:
    if layer.bias is None:
        return nir.Linear(weight=layer.weight)
    return nir.Affine(weight=layer.weight, bias=layer.bias)


def _pad_channels(layer: PadChannels, shape: Shape) -> nir.Conv2d:
    weight = np.zeros((layer.before + shape[0] + layer.after, shape[0], 1, 1))
    weight[layer.before + np.arange(shape[0]), np.arange(shape[0])] = 1
    return nir.Conv2d(
        input_shape=(shape[1], shape[2]),
        weight=weight,
        stride=(1, 1),
        padding=(0, 0),
        dilation=(1, 1),
        groups=1,
        bias=np.zeros(len(weight)),
        metadata=_metadata({"channels_before": layer.before, "channels_after": layer.after}),
    )


#: By the divisor of a pooling, with 0 for the number of elements of the window.
_POOLS = {0: nir.AvgPool2d, 1: nir.SumPool2d}


def _avg_pool2d(layer: AvgPool2d, shape: Shape) -> nir.NIRNode:
    height, width = layer.kernel
    divisors = np.unique(layer.divisors(*shape[1:]))
    kind = 0 if divisors.tolist() == [height * width] else int(divisors[0])
    whole = (layer.taps(*shape[1:])[0].shape[0], layer.taps(*shape[1:])[1].shape[0])
    floored = tuple(
        (size + 2 * pad - kernel) // stride + 1
        for size, pad, kernel, stride in zip(
            shape[1:], layer.padding, layer.kernel, layer.stride, strict=True
        )
    )
    if whole != floored:
        raise _cannot(layer, "has incomplete windows at its border (ceil_mode)", "ceil_mode=False")
    if len(divisors) > 1 or kind not in _POOLS:
        raise _cannot(
            layer,
            f"divides by {' and '.join(map(str, divisors))}, not by the {height * width} elements "
            "of its window",
            "no padding, count_include_pad=True and no divisor",
        )
    return _pool(_POOLS[kind], layer.kernel, layer.stride, layer.padding)


def _adaptive_avg_pool2d(layer: AdaptiveAvgPool2d, shape: Shape) -> nir.NIRNode:
    size, bins = shape[1:], layer.output_size
    if any(length % parts for length, parts in zip(size, bins, strict=True)):
        raise _cannot(
            layer,
            f"divides a map of {size[0]} x {size[1]} into {bins[0]} x {bins[1]} unequal bins",
            "an output size that divides the map's",
        )
    window = (size[0] // bins[0], size[1] // bins[1])
    return _pool(nir.AvgPool2d, window, window, (0, 0))


def _flatten(layer: Flatten, shape: Shape) -> nir.Flatten:
    # NIR counts axes without that of the batch
    return nir.Flatten(input_type={"input": np.array(shape)}, start_dim=0, end_dim=-1)


def _pool(
    node: type[nir.AvgPool2d | nir.SumPool2d],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
) -> nir.NIRNode:
    return node(kernel_size=np.array(kernel), stride=np.array(stride), padding=np.array(padding))


def _metadata(facts: dict[str, Any]) -> dict[str, Any]:
    return {KEY: facts} if facts else {}


def _cannot(layer: Layer, why: str, instead: str) -> ConversionError:
    return ConversionError(
        f"The pooling {layer.name!r} {why}, which NIR's poolings cannot say. Train the network "
        f"with {instead}."
    )


#: By kind of layer, the function that makes its node, given the shape of what comes in.
NODES: dict[type[Layer], Callable[[Any, Shape], nir.NIRNode]] = {
    Conv2d: _conv2d,
    Linear: _linear,
    PadChannels: _pad_channels,
    AvgPool2d: _avg_pool2d,
    AdaptiveAvgPool2d: _adaptive_avg_pool2d,
    Flatten: _flatten,
}
