"""Convolutions in the form that all readers of NIR take, and back.

NIR's padding is the same on both sides of an axis, and readers (the shape inference of the ``nir``
package up to 1.0.8 among them) take no groups. Zeros in the kernel give the same sums.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from bsnn.graph import Conv2d, without_groups

__all__ = ["PlainKernel", "as_before", "plain_kernel"]


@dataclasses.dataclass(frozen=True)
class PlainKernel:
    """A kernel without groups, whose padding is even.

    Attributes
    ----------
    weight : numpy.ndarray
        Shape ``(out_channels, in_channels, height, width)``.
    padding, dilation : tuple of int
        Vertical, horizontal.
    origin : dict
        What the convolution was before; empty if it was the same.
    """

    weight: np.ndarray
    padding: tuple[int, int]
    dilation: tuple[int, int]
    origin: dict[str, Any]


def plain_kernel(conv: Conv2d) -> PlainKernel:
    """Return the kernel of a convolution without groups and with even padding."""
    weight = without_groups(conv.weight, conv.groups)
    top, bottom, left, right = conv.padding
    dilation = list(conv.dilation)
    zeros = []
    for axis, (before, after) in enumerate(((top, bottom), (left, right))):
        if (after - before) % dilation[axis]:
            weight = _spread(weight, axis + 2, dilation[axis])
            dilation[axis] = 1
        # a zero before the kernel is one more element of padding before the map
        taps = (after - before) // dilation[axis]
        zeros.append((max(taps, 0), max(-taps, 0)))
    weight = np.pad(weight, ((0, 0), (0, 0), *zeros))
    padding = (max(top, bottom), max(left, right))
    origin: dict[str, Any] = {}
    if weight.shape != conv.weight.shape or tuple(dilation) != conv.dilation:
        origin = {
            "groups": conv.groups,
            "padding": np.array(conv.padding),
            "dilation": np.array(conv.dilation),
            "kernel_zeros": np.array(zeros),
        }
    return PlainKernel(weight, padding, (dilation[0], dilation[1]), origin)


def as_before(conv: Conv2d, origin: dict[str, Any]) -> Conv2d:
    """Undo `plain_kernel`; a convolution that was changed since then is returned as it is."""
    groups = int(origin["groups"])
    dilation = tuple(int(step) for step in origin["dilation"])
    (top, bottom), (left, right) = np.asarray(origin["kernel_zeros"]).tolist()
    _, _, height, width = conv.weight.shape
    weight = conv.weight[:, :, top : height - bottom, left : width - right]
    weight = weight[:, :, :: dilation[0] // conv.dilation[0], :: dilation[1] // conv.dilation[1]]
    outputs, inputs = weight.shape[:2]
    if groups > 1 and not outputs % groups and not inputs % groups:
        blocks = weight.reshape(
            groups, outputs // groups, groups, inputs // groups, *weight.shape[2:]
        )
        weight = blocks[np.arange(groups), :, np.arange(groups)]
        weight = weight.reshape(outputs, inputs // groups, *weight.shape[3:])
    before = dataclasses.replace(
        conv,
        weight=np.ascontiguousarray(weight),
        padding=tuple(int(zeros) for zeros in origin["padding"]),
        dilation=dilation,
        groups=groups,
    )
    again = plain_kernel(before)
    same = (
        np.array_equal(again.weight, conv.weight)
        and (again.padding[0], again.padding[0], again.padding[1], again.padding[1]) == conv.padding
        and again.dilation == conv.dilation
    )
    return before if same else conv


def _spread(weight: np.ndarray, axis: int, dilation: int) -> np.ndarray:
    """Fill in the zeros between the taps of a dilated kernel."""
    shape = list(weight.shape)
    shape[axis] = dilation * (shape[axis] - 1) + 1
    spread = np.zeros(shape, weight.dtype)
    taps: list[slice] = [slice(None)] * weight.ndim
    taps[axis] = slice(None, None, dilation)
    spread[tuple(taps)] = weight
    return spread
