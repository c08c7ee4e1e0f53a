"""Convolution between two groups, with one stored kernel and no stored connections."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from brian2.units.fundamentalunits import Quantity, get_dimensions

from bsnn.brian.batch import images
from bsnn.brian.pooling import Pair, pair
from bsnn.brian.shared import Shape, SharedConnections
from bsnn.geometry import output_size

__all__ = ["Convolution"]

# of a place: into the weights, and among the targets
Offsets = tuple[np.ndarray, np.ndarray]


class Convolution(SharedConnections):
    """Two-dimensional convolution: one kernel, and no connection is ever stored.

    Does what `brian2.Synapses` with a row for each connection of the convolution do, spike for
    spike, in memory for the kernel alone. Use it in any Brian2 script; the groups need not come
    from bsnn. Neurons are numbered channel last: the neuron of channel ``c`` at row ``y`` and
    column ``x`` has the number ``(y*width + x)*channels + c``.

    Parameters
    ----------
    source, target : group
        Groups (or subgroups) of the neurons of the input map and of the output map.
    w : array or brian2.Quantity
        The kernel as in PyTorch: ``(out_channels, in_channels // groups, height, width)``.
    on_pre : str
        What a spike does to each target, as for `brian2.Synapses`; ``w`` is the weight.
    source_shape : (int, int, int)
        Channels, height and width of the source (of one image, if there is a batch).
    stride, dilation : int or (int, int)
        Vertical, horizontal.
    padding : int, (int, int) or (int, int, int, int)
        Zeros on each side; above and below, left and right; or top, bottom, left, right.
    groups : int
        Blocks of channels that are convolved separately.
    **options
        See `SharedConnections`: batch, pool, model, delay, on_event, deterministic, dtype,
        namespace, when, order.

    Attributes
    ----------
    w : brian2 variable
        The kernel as it is kept, one-dimensional: ``[in_channel][row][column][out_channel]`` with
        the columns reversed, so that the targets of a row of the kernel, and its weights, lie side
        by side. `kernel` gives and takes it in PyTorch's order.

    Examples
    --------
    >>> conv = Convolution(lif1, lif2, kernel*nS, on_pre="g_post += w",
    ...                    source_shape=(3, 32, 32), padding=1)  # doctest: +SKIP
    """

    template = "convolution"

    def __init__(
        self,
        source,
        target,
        w,
        on_pre,
        *,
        source_shape: Shape,
        stride: Pair = 1,
        padding: Pair | tuple[int, int, int, int] = 0,
        dilation: Pair = 1,
        groups: int = 1,
        name: str = "convolution*",
        **options,
    ):
        kernel = np.asarray(w)
        if kernel.ndim != 4:
            raise ValueError(
                f"The kernel has shape {kernel.shape}; (out_channels, in_channels // groups, "
                "height, width) is expected."
            )
        self.stride, self.dilation, self.groups = pair(stride), pair(dilation), int(groups)
        self.padding = _four(padding)
        self._kernel_shape = kernel.shape
        if kernel.shape[0] % self.groups:
            raise ValueError(
                f"The kernel's {kernel.shape[0]} output channels do not divide into "
                f"{self.groups} groups."
            )
        super().__init__(
            source,
            target,
            Quantity(_to_memory(kernel, self.groups), dim=get_dimensions(w)),
            on_pre,
            source_shape=source_shape,
            name=name,
            **options,
        )
        channels = kernel.shape[1] * self.groups
        if channels != self.pooled_shape[0]:
            raise ValueError(
                f"{self.name}: the kernel of shape {kernel.shape} with {self.groups} group(s) "
                f"takes {channels} channels, the source has {self.pooled_shape[0]}."
            )
        self._check_sizes(int(np.prod(self.pooled_shape)), self.target_shape)

    def __repr__(self) -> str:
        size = "x".join(map(str, self._kernel_shape[2:]))
        source, target = (
            images(self.batch, "x".join(map(str, shape)))
            for shape in (self.source_shape, self.target_shape)
        )
        return (
            f"<{type(self).__name__} {self.name!r} with {size} kernels from {self.source.name!r} "
            f"({source}) to {self.target.name!r} ({target}), on_pre {self.on_pre!r}>"
        )

    @property
    def target_shape(self) -> Shape:
        """Channels, height and width of the target (of one image, if there is a batch)."""
        top, bottom, left, right = self.padding
        _, height, width = self.pooled_shape
        rows, columns = (
            output_size(extent, size, stride, pads, dilation)
            for extent, size, stride, pads, dilation in zip(
                (height, width),
                self._kernel_shape[2:],
                self.stride,
                ((top, bottom), (left, right)),
                self.dilation,
                strict=True,
            )
        )
        return self._kernel_shape[0], rows, columns

    @property
    def kernel(self) -> np.ndarray | Quantity:
        """The kernel in PyTorch's order; assign to change it."""
        return Quantity(
            _from_memory(self.variables["w"].get_value(), self._kernel_shape, self.groups),
            dim=self.variables["w"].dim,
        )

    @kernel.setter
    def kernel(self, value):
        self.w = self.in_memory_order(value)

    def in_memory_order(self, kernel) -> np.ndarray | Quantity:
        """Return a kernel, given in PyTorch's order, as ``w`` holds it.

        For ``device.run(run_args={conv.w: conv.in_memory_order(kernel)})``.
        """
        if np.shape(kernel) != self._kernel_shape:
            raise ValueError(
                f"{self.name}: the kernel has shape {np.shape(kernel)}; {self._kernel_shape} is "
                "expected."
            )
        values = _to_memory(np.asarray(kernel), self.groups)
        return Quantity(values, dim=get_dimensions(kernel))

    def _geometry(self) -> dict[str, int]:
        out_channels, group_channels, kernel_height, kernel_width = self._kernel_shape
        channels, height, width = self.pooled_shape
        _, out_height, out_width = self.target_shape
        top, _, left, _ = self.padding
        return {
            "channels": channels,
            "height": height,
            "width": width,
            "out_height": out_height,
            "out_width": out_width,
            "out_channels": out_channels,
            "group_in": group_channels,
            "group_out": out_channels // self.groups,
            "kernel_height": kernel_height,
            "kernel_width": kernel_width,
            "taps": kernel_height * kernel_width * (out_channels // self.groups),
            "stride_y": self.stride[0],
            "stride_x": self.stride[1],
            "dilation_y": self.dilation[0],
            "dilation_x": self.dilation[1],
            "pad_top": top,
            "pad_left": left,
            # the targets of a row of the kernel lie side by side, and so do its weights
            "rows_together": self.groups == self.stride[1] == self.dilation[1] == 1,
        }

    @cached_property
    def _taps(self) -> tuple[list[Offsets], list[Offsets]]:
        """What a row of the source, and a column, adds to indices into ``w`` and to targets."""
        g = self._geometry()
        out = np.arange(g["group_out"])
        rows, columns = [], []
        for y in range(g["height"]):
            tap, reached = self._taps_along(g, "y", y + g["pad_top"], "height")
            rows.append((
                tap * g["kernel_width"] * g["group_out"],
                reached * g["out_width"] * g["out_channels"],
            ))  # fmt: skip
        for x in range(g["width"]):
            tap, reached = self._taps_along(g, "x", x + g["pad_left"], "width")
            column = (g["kernel_width"] - 1 - tap)[:, None] * g["group_out"] + out
            columns.append((column.ravel(), (reached[:, None] * g["out_channels"] + out).ravel()))
        return rows, columns

    @staticmethod
    def _taps_along(g: dict[str, int], axis: str, at: int, extent: str) -> Offsets:
        tap = np.arange(g[f"kernel_{extent}"])
        reached, rest = np.divmod(at - tap * g[f"dilation_{axis}"], g[f"stride_{axis}"])
        inside = (rest == 0) & (reached >= 0) & (reached < g[f"out_{extent}"])
        return tap[inside], reached[inside]

    def _reached(self, position: int) -> tuple[np.ndarray, np.ndarray]:
        out_channels, group_in, height, width = self._kernel_shape
        group_out = out_channels // self.groups
        place, channel = divmod(position, group_in * self.groups)
        y, x = divmod(place, self.pooled_shape[2])
        rows, columns = self._taps
        index, post = (
            (rows[y][n][:, None] + (columns[x][n] + first)).ravel()
            for n, first in enumerate(
                (channel * height * width * group_out, channel // group_in * group_out)
            )
        )
        return index, post


def _four(padding) -> tuple[int, int, int, int]:
    if isinstance(padding, tuple) and len(padding) == 4:
        top, bottom, left, right = (int(p) for p in padding)
        return top, bottom, left, right
    vertical, horizontal = pair(padding)
    return vertical, vertical, horizontal, horizontal


def _to_memory(kernel: np.ndarray, groups: int) -> np.ndarray:
    out_channels, group_in, height, width = kernel.shape
    blocks = kernel.reshape(groups, out_channels // groups, group_in, height, width)
    return np.ascontiguousarray(blocks.transpose(0, 2, 3, 4, 1)[:, :, :, ::-1]).ravel()


def _from_memory(values: np.ndarray, shape: tuple[int, ...], groups: int) -> np.ndarray:
    out_channels, group_in, height, width = shape
    blocks = values.reshape(groups, group_in, height, width, out_channels // groups)
    return blocks[:, :, :, ::-1].transpose(0, 4, 1, 2, 3).reshape(shape)
