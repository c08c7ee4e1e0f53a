"""Folding BatchNorm into the convolution or dense layer before it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import DTypeLike

from bsnn.errors import ConversionError
from bsnn.graph import Conv2d, Layer, Linear
from bsnn.graph.layers import Shape

__all__ = ["BatchNorm", "fold"]


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class BatchNorm(Layer):
    """Per-channel ``scale * x + shift``; exists only until it is folded.

    Attributes
    ----------
    scale, shift : numpy.ndarray
        float64, one value a channel.
    """

    scale: np.ndarray
    shift: np.ndarray
    kind = "batch_norm"

    def output_shape(self, *inputs: Shape) -> Shape:
        return inputs[0]


def fold(
    layers: Sequence[Layer], output: str, dtype: DTypeLike = np.float32
) -> tuple[list[Layer], str]:
    """Remove every `BatchNorm` from a list of layers.

    It goes into the weights of the `Conv2d` or `Linear` before it, unless something else reads
    that layer's unnormalised output too; then, and where it follows anything else, it becomes a
    1x1 convolution with one group a channel, which is the same map.

    Parameters
    ----------
    layers : sequence of Layer
        In an order in which each layer comes after those that it reads.
    output : str
        Name of the layer that gives the network's result.
    dtype : dtype
        Of the arrays into which something was folded.

    Returns
    -------
    layers : list of Layer
        Without any `BatchNorm`.
    output : str
        Name of the layer that gives the result now.

    Raises
    ------
    ConversionError
        It follows neither a layer with weights nor a map.
    """
    readers: dict[str, int] = {}
    for layer in layers:
        for source in layer.inputs:
            readers[source] = readers.get(source, 0) + 1
    folded: dict[str, Layer] = {}
    renamed: dict[str, str] = {}
    is_map: dict[str, bool] = {}
    for layer in layers:
        inputs = tuple(renamed.get(source, source) for source in layer.inputs)
        original_input = layer.inputs[0] if layer.inputs else ""
        layer = dataclasses.replace(layer, inputs=inputs)
        if not isinstance(layer, BatchNorm):
            folded[layer.name] = layer
            is_map[layer.name] = _gives_map(layer, is_map)
            continue
        source = folded[inputs[0]]
        if isinstance(source, (Conv2d, Linear)) and readers[original_input] == 1:
            folded[source.name] = _absorb(source, layer, dtype)
            renamed[layer.name] = source.name
        elif is_map[source.name]:
            folded[layer.name] = Conv2d(
                name=layer.name,
                inputs=inputs,
                weight=layer.scale.astype(dtype).reshape(-1, 1, 1, 1),
                bias=layer.shift.astype(dtype),
                groups=len(layer.scale),
            )
            is_map[layer.name] = True
        else:
            raise ConversionError(
                f"BatchNorm {layer.name!r} follows {source.name!r} ({source.kind}), into which it "
                "cannot be folded. Put it directly after an nn.Linear or nn.Conv2d whose output "
                "nothing else uses."
            )
    return list(folded.values()), renamed.get(output, output)


def _gives_map(layer: Layer, is_map: dict[str, bool]) -> bool:
    if layer.kind == "input":
        return len(layer.output_shape()) == 3
    return layer.kind not in ("flatten", "linear") and is_map[layer.inputs[0]]


def _absorb(layer: Conv2d | Linear, norm: BatchNorm, dtype: DTypeLike) -> Conv2d | Linear:
    scale = norm.scale.reshape(-1, *(1,) * (layer.weight.ndim - 1))
    bias = norm.shift if layer.bias is None else norm.shift + layer.bias * norm.scale
    # what float32 cannot hold shows when the graph is compared with the model
    with np.errstate(over="ignore"):
        weight, bias = (layer.weight * scale).astype(dtype), bias.astype(dtype)
    return dataclasses.replace(layer, weight=weight, bias=bias)
