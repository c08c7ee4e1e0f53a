"""The layers of a trained network: plain, frozen data that know their shapes and their arithmetic.

Arrays are in PyTorch's layout (NCHW) and float32. A new kind of layer is one class with the
`register` decorator; nothing else in this package has to change.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np

from bsnn.errors import GraphError
from bsnn.geometry import adaptive_bins, output_size, tap_positions
from bsnn.registry import Registry

__all__ = [
    "LAYER_KINDS",
    "AdaptiveAvgPool2d",
    "Add",
    "AvgPool2d",
    "ClippedReLU",
    "Concat",
    "Conv2d",
    "Flatten",
    "Input",
    "Layer",
    "Linear",
    "MaxPool2d",
    "Normalise",
    "PadChannels",
    "PartSum",
    "ReLU",
    "SelectChannels",
    "Shape",
    "register",
]

Shape = tuple[int, ...]

#: All kinds of layer by the name under which they are stored.
LAYER_KINDS: Registry[type[Layer]] = Registry("kind of layer")

_Kind = TypeVar("_Kind", bound="type[Layer]")

# An im2col buffer of this many values at most (64 MiB in float32).
_BUFFER_VALUES = 1 << 24


def register(layer_type: _Kind) -> _Kind:
    """Make a class known by its ``kind``."""
    LAYER_KINDS.add(layer_type.kind, layer_type)
    return layer_type


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Layer:
    """One layer.

    Attributes
    ----------
    name : str
        Unique within its graph; lower-case letters, digits and underscores.
    inputs : tuple of str
        Names of the layers that it reads.
    """

    name: str
    inputs: tuple[str, ...] = ()

    kind: ClassVar[str]
    #: How many inputs the layer takes; None for two or more.
    arity: ClassVar[int | None] = 1
    #: Names of the fields that hold trained arrays.
    array_fields: ClassVar[tuple[str, ...]] = ()

    def output_shape(self, *inputs: Shape) -> Shape:
        """Return the shape of one image's output; raise `GraphError` if the inputs do not fit."""
        raise NotImplementedError

    def forward(self, *inputs: np.ndarray) -> np.ndarray:
        """Return the outputs for a batch, in the precision of the inputs."""
        raise NotImplementedError

    def macs(self, *inputs: Shape) -> int:
        """Multiply-accumulates an image, those with zero padding counted."""
        return 0

    def operations(self, *inputs: Shape) -> int:
        """Floating-point operations an image besides multiply-accumulates."""
        return 0

    def connections(self, *inputs: Shape) -> int:
        """Pairs of one input and one output value that depends on it, padding left out."""
        return 0

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """The trained arrays by name; those that are absent are left out."""
        named = {field: getattr(self, field) for field in self.array_fields}
        return {name: array for name, array in named.items() if array is not None}

    @property
    def geometry(self) -> dict[str, Any]:
        """All other settings by name, as stored in a file."""
        skip = {"name", "inputs", *self.array_fields}
        return {
            f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name not in skip
        }

    @property
    def parameters(self) -> int:
        """Number of trained values."""
        return sum(array.size for array in self.arrays.values())

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Each kind has fields of its own."""

    def _fail(self, message: str) -> GraphError:
        return GraphError(f"layer {self.name!r} ({self.kind}): {message}")


@register
@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Input(Layer):
    """Where images enter; ``shape`` is that of one image."""

    shape: Shape
    kind = "input"
    arity = 0

    def output_shape(self, *inputs: Shape) -> Shape:
        return self.shape


@register
@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Normalise(Layer):
    """What is done to images before they enter a network: ``(x - mean) / std``.

    Attributes
    ----------
    mean, std : numpy.ndarray
        With as many axes as an image, each of the image's length or of one: ``(channels, 1, 1)``
        is per channel, the image's shape per pixel. `std` is positive.
    """

    mean: np.ndarray
    std: np.ndarray
    kind = "normalise"
    array_fields = ("mean", "std")

    def output_shape(self, *inputs: Shape) -> Shape:
        (shape,) = inputs
        for name, array in self.arrays.items():
            fits = array.ndim == len(shape) and all(
                size in (1, length) for size, length in zip(array.shape, shape, strict=True)
            )
            if not fits:
                raise self._fail(
                    f"{name} has shape {array.shape}, which does not fit an input of shape {shape}"
                )
            if not np.isfinite(array).all():
                raise self._fail(f"{name} has values that are NaN or infinite")
        if not (self.std > 0).all():
            raise self._fail("std has values that are not positive")
        return shape

    def forward(self, *inputs: np.ndarray) -> np.ndarray:
        (x,) = inputs
        return (x - self.mean.astype(x.dtype, copy=False)) / self.std.astype(x.dtype, copy=False)

    def macs(self, *inputs: Shape) -> int:
        return int(np.prod(inputs[0]))

    def connections(self, *inputs: Shape) -> int:
        return int(np.prod(inputs[0]))


@register
@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Conv2d(Layer):
    """Two-dimensional convolution (cross-correlation, as in PyTorch).

    Attributes
    ----------
    weight : numpy.ndarray
        Shape ``(out_channels, in_channels // groups, kernel_height, kernel_width)``.
    bias : numpy.ndarray or None
        Shape ``(out_channels,)``.
    stride, dilation : tuple of int
        Vertical, horizontal.
    padding : tuple of int
        Zeros added at the top, bottom, left and right.
    groups : int
        Blocks of channels that are convolved separately.
    """

    weight: np.ndarray
    bias: np.ndarray | None = None
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    kind = "conv2d"
    array_fields = ("weight", "bias")

    @property
    def kernel(self) -> tuple[int, int]:
        """Height and width of the kernel."""
        return self.weight.shape[2], self.weight.shape[3]

    def taps(self, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Return `tap_positions` of the rows and of the columns for a map of this size."""
        top, bottom, left, right = self.padding
        (kh, kw), (sh, sw), (dh, dw) = self.kernel, self.stride, self.dilation
        return (
            tap_positions(height, kh, sh, (top, bottom), dh),
            tap_positions(width, kw, sw, (left, right), dw),
        )

    def output_shape(self, *inputs: Shape) -> Shape:
        (shape,) = inputs
        _check_map(self, shape)
        if self.weight.ndim != 4:
            raise self._fail(f"the weight has shape {self.weight.shape}; four axes are expected")
        out_channels = self.weight.shape[0]
        if shape[0] != self.weight.shape[1] * self.groups or out_channels % self.groups:
            raise self._fail(
                f"the weight of shape {self.weight.shape} with {self.groups} group(s) does not fit "
                f"an input of shape {shape}"
            )
        _check_bias(self, self.bias, out_channels)
        return (out_channels, *_window_output(self, shape, self.padding, self.dilation))

    def forward(self, *inputs: np.ndarray) -> np.ndarray:
        (x,) = inputs
        _, out_h, out_w = self.output_shape(x.shape[1:])
        weight = self.weight.astype(x.dtype, copy=False)
        out_channels, group_channels, kh, kw = weight.shape
        output = np.empty((len(x), out_channels, out_h, out_w), dtype=x.dtype)
        values = out_h * out_w * group_channels * kh * kw
        step = max(1, _BUFFER_VALUES // values)
        group_out = out_channels // self.groups
        for first in range(0, len(x), step):
            padded = _pad(x[first : first + step], self.padding)
            for group in range(self.groups):
                part = padded[:, group * group_channels : (group + 1) * group_channels]
                windows = _windows(part, self.kernel, self.stride, self.dilation, (out_h, out_w))
                columns = windows.transpose(0, 2, 3, 1, 4, 5).reshape(-1, group_channels * kh * kw)
                rows = slice(group * group_out, (group + 1) * group_out)
                product = columns @ weight[rows].reshape(group_out, -1).T
                output[first : first + step, rows] = product.reshape(
                    -1, out_h, out_w, group_out
                ).transpose(0, 3, 1, 2)
        if self.bias is not None:
            output += self.bias.astype(x.dtype, copy=False)[:, np.newaxis, np.newaxis]
        return output

    def macs(self, *inputs: Shape) -> int:
        _, out_h, out_w = self.output_shape(*inputs)
        return out_h * out_w * self.weight.size

    def connections(self, *inputs: Shape) -> int:
        rows, columns = self.taps(*inputs[0][1:])
        out_channels, group_channels, _, _ = self.weight.shape
        return int((rows >= 0).sum() * (columns >= 0).sum()) * out_channels * group_channels


@register
@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Linear(Layer):
    """Dense layer on flat inputs; ``weight`` has shape ``(out, in)``, ``bias`` ``(out,)``."""

    weight: np.ndarray
    bias: np.ndarray | None = None
    kind = "linear"
    array_fields = ("weight", "bias")

    def output_shape(self, *inputs: Shape) -> Shape:
        (shape,) = inputs
        if self.weight.ndim != 2 or shape != (self.weight.shape[1],):
            raise self._fail(
                f"the weight of shape {self.weight.shape} does not fit an input of shape {shape}"
            )
        _check_bias(self, self.bias, self.weight.shape[0])
        return (self.weight.shape[0],)

    def forward(self, *inputs: np.ndarray) -> np.ndarray:
        (x,) = inputs
        output = x @ self.weight.astype(x.dtype, copy=False).T
        if self.bias is not None:
            output += self.bias.astype(x.dtype, copy=False)
        return output

    def macs(self, *inputs: Shape) -> int:
        return self.weight.size

    def connections(self, *inputs: Shape) -> int:
        return self.weight.size


@register
@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class ReLU(Layer):
    """Rectification: ``max(x, 0)``."""

    kind = "relu"

    def output_shape(self, *inputs: Shape) -> Shape:
        return inputs[0]

    def forward(self, *inputs: np.ndarray) -> np.ndarray:
        return np.maximum(inputs[0], 0)


@register
@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class ClippedReLU(ReLU):
    """Rectification with a largest value, and with levels if it is quantised.

    With levels it is the quantised clip of Bu et al. (2022):
    ``clip / levels * floor(x * levels / clip + offset)``, from zero to `clip`.

    Attributes
    ----------
    clip : float
        The largest value.
    levels : int
        Number of equal steps from zero to it; 0 if all values between are taken.
    offset : float
        What is added before rounding down, in levels; a half rounds to the nearest.
    """

    clip: float
    levels: int = 0
    offset: float = 0.5
    kind = "clipped_relu"

    def output_shape(self, *inputs: Shape) -> Shape:
        if not 0 < self.clip < np.inf:
            raise self._fail(f"the clip is {self.clip}; it is positive and finite")
        if self.levels < 0 or not 0 <= self.offset < 1:
            raise self._fail(
                f"there are {self.levels} levels and an offset of {self.offset}; levels are 0 or "
                "more, and the offset lies from 0 to below 1"
            )
        return inputs[0]

    def forward(self, *inputs: np.ndarray) -> np.ndarray:
        x = inputs[0]
        clip = x.dtype.type(self.clip)
        if not self.levels:
            return np.clip(x, 0, clip)
        steps = np.floor(x * (self.levels / clip) + x.dtype.type(self.offset))
        return np.clip(steps, 0, self.levels) * (clip / self.levels)


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class _Pool2d(Layer):
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int] = (0, 0)
    ceil_mode: bool = False

    def _sides(self) -> tuple[int, int, int, int]:
        vertical, horizontal = self.padding
        return vertical, vertical, horizontal, horizontal

    def _dilation(self) -> tuple[int, int]:
        return (1, 1)

    def taps(self, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Return `tap_positions` of the rows and of the columns for a map of this size."""
        (kh, kw), (sh, sw), (ph, pw) = self.kernel, self.stride, self.padding
        dh, dw = self._dilation()
        return (
            tap_positions(height, kh, sh, (ph, ph), dh, self.ceil_mode),
            tap_positions(width, kw, sw, (pw, pw), dw, self.ceil_mode),
        )

    def output_shape(self, *inputs: Shape) -> Shape:
        (shape,) = inputs
        _check_map(self, shape)
        sides, dilation = self._sides(), self._dilation()
        return (shape[0], *_window_output(self, shape, sides, dilation, self.ceil_mode))

    def operations(self, *inputs: Shape) -> int:
        return int(np.prod(self.output_shape(*inputs)))

    def connections(self, *inputs: Shape) -> int:
        rows, columns = self.taps(*inputs[0][1:])
        return int((rows >= 0).sum() * (columns >= 0).sum()) * inputs[0][0]

    def _reduce(self, x: np.ndarray, combine: np.ufunc, fill: float) -> np.ndarray:
        """Combine each window's elements; outside the map they are `fill`."""
        _, out_h, out_w = self.output_shape(x.shape[1:])
        dilation = self._dilation()
        top, _, left, _ = self._sides()
        # in ceil mode the last window may reach past the padding: pad as far as it reaches
        reach = [
            (out - 1) * stride + step * (kernel - 1) + 1 - size - before
            for out, stride, step, kernel, size, before in zip(
                (out_h, out_w), self.stride, dilation, self.kernel, x.shape[2:], (top, left),
                strict=True,
            )
        ]  # fmt: skip
        padded = _pad(x, (top, max(0, reach[0]), left, max(0, reach[1])), fill)
        windows = _windows(padded, self.kernel, self.stride, dilation, (out_h, out_w))
        # tap by tap: numpy is many times slower at reducing the two short axes
        result = windows[..., 0, 0].copy()
        for tap in list(np.ndindex(*self.kernel))[1:]:
            combine(result, windows[(..., *tap)], out=result)
        return result


@register
@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class MaxPool2d(_Pool2d):
    """Maximum over a sliding window; the padding never wins.

    Attributes
    ----------
    kernel, stride, padding, dilation : tuple of int
        Vertical, horizontal.
    ceil_mode : bool
        Whether incomplete windows at the lower and right border count.
    """

    dilation: tuple[int, int] = (1, 1)
    kind = "max_pool2d"

    def _dilation(self) -> tuple[int, int]:
        return self.dilation

    def forward(self, *inputs: np.ndarray) -> np.ndarray:
        return self._reduce(inputs[0], np.maximum, -np.inf)


@register
@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class AvgPool2d(_Pool2d):
    """Mean over a sliding window.

    Attributes
    ----------
    kernel, stride, padding : tuple of int
        Vertical, horizontal.
    ceil_mode : bool
        Whether incomplete windows at the lower and right border count.
    count_include_pad : bool
        Whether zeros of the padding count in the mean.
    divisor : int
        Divide by this number instead; 0 divides by the number of elements.
    """

    count_include_pad: bool = True
    divisor: int = 0
    kind = "avg_pool2d"

    def divisors(self, height: int, width: int) -> np.ndarray:
        """Return what each window's sum is divided by, shape ``(out_h, out_w)``."""
        rows, columns = self.taps(height, width)
        if self.divisor:
            return np.full((len(rows), len(columns)), self.divisor)
        if not self.count_include_pad:
            return np.outer((rows >= 0).sum(1), (columns >= 0).sum(1))
        extents = []
        for size, kernel, stride, pad, out in zip(
            (height, width), self.kernel, self.stride, self.padding, (len(rows), len(columns)),
            strict=True,
        ):  # fmt: skip
            # what lies beyond the padding (ceil mode) does not count
            starts = np.arange(out) * stride - pad
            extents.append(np.minimum(starts + kernel, size + pad) - starts)
        return np.outer(*extents)

    def forward(self, *inputs: np.ndarray) -> np.ndarray:
        (x,) = inputs
        sums = self._reduce(x, np.add, 0.0)
        return sums / self.divisors(*x.shape[2:]).astype(x.dtype)


@register
@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class AdaptiveAvgPool2d(Layer):
    """Mean over bins that divide the map into ``output_size``; ``(1, 1)`` is the global average."""

    output_size: tuple[int, int]
    kind = "adaptive_avg_pool2d"

    def bins(self, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Return `adaptive_bins` of the rows and of the columns for a map of this size."""
        return adaptive_bins(height, self.output_size[0]), adaptive_bins(width, self.output_size[1])

    def output_shape(self, *inputs: Shape) -> Shape:
        (shape,) = inputs
        _check_map(self, shape)
        return (shape[0], *self.output_size)

    def forward(self, *inputs: np.ndarray) -> np.ndarray:
        (x,) = inputs
        for axis, bins in zip((2, 3), self.bins(*x.shape[2:]), strict=True):
            means = [x.take(row[row >= 0], axis=axis).mean(axis=axis) for row in bins]
            x = np.stack(means, axis=axis)
        return x

    def operations(self, *inputs: Shape) -> int:
        return int(np.prod(self.output_shape(*inputs)))

    def connections(self, *inputs: Shape) -> int:
        rows, columns = self.bins(*inputs[0][1:])
        return int((rows >= 0).sum() * (columns >= 0).sum()) * inputs[0][0]


@register
@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class PadChannels(Layer):
    """Further channels of zeros: how a residual network without weights in its shortcut widens.

    Attributes
    ----------
    before, after : int
        Channels added before the first and after the last.
    """

    before: int
    after: int
    kind = "pad_channels"

    def output_shape(self, *inputs: Shape) -> Shape:
        (shape,) = inputs
        _check_map(self, shape)
        if min(self.before, self.after) < 0:
            raise self._fail(f"{self.before} and {self.after} channels cannot be added")
        return (self.before + shape[0] + self.after, *shape[1:])

    def forward(self, *inputs: np.ndarray) -> np.ndarray:
        return np.pad(inputs[0], ((0, 0), (self.before, self.after), (0, 0), (0, 0)))

    def connections(self, *inputs: Shape) -> int:
        return int(np.prod(inputs[0]))


@register
@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Flatten(Layer):
    """All values of an image in one row, channel first."""

    kind = "flatten"

    def output_shape(self, *inputs: Shape) -> Shape:
        return (int(np.prod(inputs[0])),)

    def forward(self, *inputs: np.ndarray) -> np.ndarray:
        return inputs[0].reshape(len(inputs[0]), -1)


@register
@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Add(Layer):
    """Sum of two or more inputs of one shape: the junction of a residual network."""

    kind = "add"
    arity = None

    def output_shape(self, *inputs: Shape) -> Shape:
        if len(set(inputs)) > 1:
            shapes = " and ".join(map(str, dict.fromkeys(inputs)))
            raise self._fail(f"inputs of shapes {shapes} cannot be added")
        return inputs[0]

    def forward(self, *inputs: np.ndarray) -> np.ndarray:
        total = inputs[0] + inputs[1]
        for values in inputs[2:]:
            total += values
        return total

    def operations(self, *inputs: Shape) -> int:
        return (len(inputs) - 1) * int(np.prod(inputs[0]))


@register
@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class PartSum(Add):
    """What a layer with weights gives for a concatenation: the sum of what its parts give."""

    kind = "part_sum"


@register
@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Concat(Layer):
    """The channels of two or more maps, or the values of rows, one input after the other."""

    kind = "concat"
    arity = None

    def output_shape(self, *inputs: Shape) -> Shape:
        if len({shape[1:] for shape in inputs}) > 1:
            shapes = " and ".join(map(str, dict.fromkeys(inputs)))
            raise self._fail(f"inputs of shapes {shapes} cannot be concatenated")
        return (sum(shape[0] for shape in inputs), *inputs[0][1:])

    def forward(self, *inputs: np.ndarray) -> np.ndarray:
        return np.concatenate(inputs, axis=1)

    def connections(self, *inputs: Shape) -> int:
        return sum(int(np.prod(shape)) for shape in inputs)


@register
@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class SelectChannels(Layer):
    """Channels of a map, or values of a row, in an order of their own.

    Attributes
    ----------
    channels : tuple of int
        For each channel of the output, which one of the input it is; -1 for zeros.
    """

    channels: tuple[int, ...]
    kind = "select_channels"

    def output_shape(self, *inputs: Shape) -> Shape:
        (shape,) = inputs
        if not self.channels or min(self.channels) < -1 or max(self.channels) >= shape[0]:
            raise self._fail(f"there are no such channels in an input of shape {shape}")
        return (len(self.channels), *shape[1:])

    def forward(self, *inputs: np.ndarray) -> np.ndarray:
        index = np.asarray(self.channels)
        chosen = inputs[0][:, index]
        chosen[:, index < 0] = 0
        return chosen

    def connections(self, *inputs: Shape) -> int:
        inside = sum(channel >= 0 for channel in self.channels)
        return inside * int(np.prod(inputs[0][1:]))


def _check_map(layer: Layer, shape: Shape) -> None:
    if len(shape) != 3:
        raise layer._fail(
            f"an input of shape {shape} was met; (channels, height, width) is expected"
        )


def _check_bias(layer: Layer, bias: np.ndarray | None, outputs: int) -> None:
    if bias is not None and bias.shape != (outputs,):
        raise layer._fail(f"the bias has shape {bias.shape}; ({outputs},) is expected")


def _window_output(
    layer: Conv2d | _Pool2d,
    shape: Shape,
    sides: tuple[int, int, int, int],
    dilation: tuple[int, int],
    ceil_mode: bool = False,
) -> tuple[int, int]:
    top, bottom, left, right = sides
    try:
        return (
            output_size(
                shape[1], layer.kernel[0], layer.stride[0], (top, bottom), dilation[0], ceil_mode
            ),
            output_size(
                shape[2], layer.kernel[1], layer.stride[1], (left, right), dilation[1], ceil_mode
            ),
        )
    except GraphError as error:
        raise layer._fail(str(error)) from None


def _pad(x: np.ndarray, sides: tuple[int, int, int, int], fill: float = 0.0) -> np.ndarray:
    top, bottom, left, right = sides
    if not any(sides):
        return x
    return np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=fill)


def _windows(
    x: np.ndarray,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    out: tuple[int, int],
) -> np.ndarray:
    """View of shape ``(n, channels, out_h, out_w, kernel_h, kernel_w)`` on a padded batch."""
    span = tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True))
    axes: Any = (2, 3)
    view = np.lib.stride_tricks.sliding_window_view(x, span, axis=axes)
    return view[
        :, :, : out[0] * stride[0] : stride[0], : out[1] * stride[1] : stride[1],
        :: dilation[0], :: dilation[1],
    ]  # fmt: skip
