"""Weights in another form, with the same sums."""

from __future__ import annotations

import dataclasses

import numpy as np

from bsnn.graph.layers import Conv2d, Linear

__all__ = ["with_scaled_outputs", "without_groups"]


def without_groups(weight: np.ndarray, groups: int) -> np.ndarray:
    """Return the kernel of a convolution without groups, with zeros between them."""
    outputs, columns, *kernel = weight.shape
    dense = np.zeros((groups, outputs // groups, groups, columns, *kernel), weight.dtype)
    dense[np.arange(groups), :, np.arange(groups)] = weight.reshape(
        groups, outputs // groups, columns, *kernel
    )
    return dense.reshape(outputs, groups * columns, *kernel)


def with_scaled_outputs(
    layer: Conv2d | Linear, scale: np.ndarray, shift: np.ndarray
) -> Conv2d | Linear:
    """Return a layer whose outputs are multiplied and shifted; its arrays are in float64.

    Parameters
    ----------
    layer : Conv2d or Linear
        The layer.
    scale, shift : numpy.ndarray
        float64, one for each channel (of a flat layer: each value) that it gives.
    """
    bias = shift if layer.bias is None else shift + layer.bias * scale
    # what the precision of weights cannot hold shows when the network is compared
    with np.errstate(over="ignore"):
        weight = layer.weight * scale.reshape(-1, *(1,) * (layer.weight.ndim - 1))
    return dataclasses.replace(layer, weight=weight, bias=bias)
