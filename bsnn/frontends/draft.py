"""The network that a front end is making: which value of which layer each element of a tensor is.

A front end runs a trained network on a sample of images and keeps a *reference* for each element of
each tensor. What only moves elements (a view, a slice, a transposition, a concatenation) moves the
references in the same way, and no layer is made of it. What computes asks the draft for a layer,
which finds out what its inputs are: layers as they are, or channels, rows and columns of several.
"""

from __future__ import annotations

import bisect
import dataclasses
import hashlib
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bsnn.errors import ConversionError, GraphError
from bsnn.frontends.draft_layers import NOT_LAST, Affine, Clip, Final, Floor
from bsnn.graph import (
    AdaptiveAvgPool2d,
    Add,
    AvgPool2d,
    Concat,
    Conv2d,
    Flatten,
    Input,
    Layer,
    Linear,
    MaxPool2d,
    Normalise,
    PadChannels,
    SelectChannels,
    needed_layers,
)
from bsnn.graph.layers import Shape

__all__ = ["LOWEST", "SAMPLES", "ZERO", "Draft", "Layout", "LayoutError", "Place", "drafted"]

#: Images in the sample that a network is run on: more than one, to tell their axis from others.
SAMPLES = 2

#: Reference to what is always zero.
ZERO = 0

#: Reference to minus infinity, with which poolings of a maximum are padded.
LOWEST = 1 << 62

_SHORT_NAMES = {
    "conv2d": "conv",
    "linear": "fc",
    "max_pool2d": "pool",
    "avg_pool2d": "pool",
    "adaptive_avg_pool2d": "pool",
    "affine": "norm",
    "clip": "relu",
}

_ARRANGED = (
    "it puts values into an arrangement that no layer gives. Channels can be chosen, reordered and "
    "concatenated; rows and columns be cut off, stepped over and padded with zeros; and all be "
    "flattened."
)


@dataclasses.dataclass(frozen=True)
class Layout:
    """How images lie in a network's input, and in the graph's.

    Attributes
    ----------
    shape : tuple of int
        Of an image as the network takes it.
    kind : str
        ``"same"``; ``"row"`` for a signal ``(channels, length)``, which is a map of one row for the
        graph; ``"channels last"`` for ``(height, width, channels)``, which have channels first.
    """

    shape: Shape
    kind: str = "same"

    @property
    def graph_shape(self) -> Shape:
        """Of an image as the graph takes it."""
        return self.to_graph(np.empty((1, *self.shape), bool)).shape[1:]

    def to_graph(self, images: np.ndarray) -> np.ndarray:
        """Bring images as the network takes them into the layout of the graph."""
        if self.kind == "row":
            return images[:, :, np.newaxis]
        return images.transpose(0, 3, 1, 2) if self.kind == "channels last" else images

    def from_graph(self, images: np.ndarray) -> np.ndarray:
        """Bring images as the graph takes them into the layout of the network."""
        if self.kind == "row":
            return images[:, :, 0]
        return images.transpose(0, 2, 3, 1) if self.kind == "channels last" else images


class LayoutError(Exception):
    """The network uses its images as maps in another layout."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


def drafted(shape: Shape, make: Callable[[Layout], Draft]) -> tuple[Draft, Layout]:
    """Make a draft in the layout that the network turns out to use its images in."""
    layout = Layout(shape)
    try:
        return make(layout), layout
    except LayoutError as error:
        layout = Layout(shape, error.kind)
        return make(layout), layout


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a network's source does something.

    Attributes
    ----------
    what : str
        What is done there, as its user would call it.
    name : str
        What layers that are made there are called after: the path of a module, or an operation.
    is_module : bool
        Whether it is the path of a module.
    origin : str
        ``"file, line n: "``, or nothing if that is not known.
    """

    what: str
    name: str
    is_module: bool = False
    origin: str = ""

    def error(self, reason: str) -> ConversionError:
        """Return the error for what cannot be converted, and why."""
        return ConversionError(f"{self.origin}{self.what} cannot be converted: {reason}")


_CONCATENATION = Place("a concatenation", "concat")
_CHOICE = Place("a choice of values", "select")
_CUT = Place("a part of a map", "crop")
_STEPS = Place("every n-th row and column", "subsample")
_BORDER = Place("zeros around a map", "pad")


class Draft:
    """Layers as they are found, some of them of kinds that are only found here.

    Values are arrays of references, int64, whose first axis is that of the images of the sample.

    Parameters
    ----------
    layout : Layout
        Of the images.
    normalise : Normalise, optional
        What is done to images before the network gets them.
    samples : int
        Images in the sample.

    Attributes
    ----------
    layers : list of Layer
        Each after those that it reads.
    place : Place
        Of what is converted at the moment.
    output : str
        The layer that gives the result, once it is known.
    """

    def __init__(
        self, layout: Layout, normalise: Normalise | None = None, samples: int = SAMPLES
    ) -> None:
        self.samples = samples
        self._layout = layout
        self.layers: list[Layer] = []
        self.shapes: dict[str, Shape] = {}
        self.place = Place("the input", "input")
        self.output = ""
        self._by_name: dict[str, Layer] = {}
        self._starts: list[int] = []
        self._names: list[str] = []
        self._start: dict[str, int] = {}
        self._failures: list[ConversionError] = []
        self._used: set[str] = set()
        self._kinds: dict[str, int] = {}
        self._made: dict[Any, str] = {}
        self._flat_places: dict[str, Place] = {}
        self._input = self._append(Input(name=self._unique("input"), shape=layout.graph_shape))
        if normalise is not None:
            name = self._unique("normalise")
            layer = dataclasses.replace(normalise, name=name, inputs=(self._input,))
            self._input = self._append(layer)

    # References

    def images(self) -> np.ndarray:
        """Return the references of the images as the network gets them."""
        return self._layout.from_graph(self.references(self._input))

    def references(self, name: str) -> np.ndarray:
        """Return the references of a layer's values."""
        shape = self.shapes[name]
        return self._arranged(name, None, shape)

    def failure(self, reason: str, shape: Sequence[int]) -> np.ndarray:
        """Return references to values that cannot be converted, in case that nobody reads them."""
        return self.failed(self.place.error(reason), shape)

    def failed(self, error: ConversionError, shape: Sequence[int]) -> np.ndarray:
        """Return references to values for which there is an error."""
        self._failures.append(error)
        return np.full(shape, -len(self._failures), np.int64)

    def check(self, references: np.ndarray) -> None:
        """Raise the error of values that cannot be converted, if there are such."""
        lowest = int(references.min(initial=0))
        if lowest < 0:
            raise self._failures[-lowest - 1]

    def note_view(self, references: np.ndarray) -> None:
        """Note where a layer is flattened, for the name of the layer that this may become."""
        if references.ndim != 2 or len(references) != self.samples or references[0, 0] <= 0:
            return
        ids = (references[0] - 1) // self.samples
        whole = self._whole(ids)
        if whole is not None and whole[1] is None:
            self._flat_places.setdefault(whole[0], self.place)

    def _refer(self, name: str, positions: np.ndarray) -> np.ndarray:
        first = 1 + self.samples * (self._start[name] + positions.astype(np.int64))
        return np.stack([first + image for image in range(self.samples)])

    def _arranged(self, name: str, positions: np.ndarray | None, shape: Shape) -> np.ndarray:
        """Return the references of a layer's values at positions, or of all in their order."""
        if positions is None:
            positions = np.arange(_size(shape))
        return self._refer(name, positions.reshape(shape))

    def _ids(self, references: np.ndarray) -> np.ndarray:
        """Which value each element of an image is, over all layers; -1 for zero."""
        self.check(references)
        if references.size and references.max() == LOWEST:
            raise self.place.error(
                "values are padded with minus infinity before it. Only before a max-pooling has "
                "this a meaning."
            )
        first = references[0]
        image = np.arange(len(references)).reshape(-1, *[1] * first.ndim)
        expected = np.where(first > 0, first + image, 0)
        if (
            len(references) != self.samples
            or not np.array_equal(references, expected)
            or ((first - 1) % self.samples)[first > 0].any()
        ):
            raise self.place.error(
                "it mixes the images of a batch, or takes one of them. The first axis must stay "
                "that of the images. (A single image is a batch of one.)"
            )
        return (first - 1) // self.samples

    def _layer_of(self, identity: int) -> str:
        return self._names[bisect.bisect_right(self._starts, identity) - 1]

    def _whole(self, ids: np.ndarray) -> tuple[str, np.ndarray | None] | None:
        """Return the layer that all ids are of, each once, and its positions if they are permuted.

        None if there is no such layer.
        """
        if not ids.size or ids.min() < 0:
            return None
        name = self._layer_of(int(ids.min()))
        start, size = self._start[name], _size(self.shapes[name])
        if ids.min() != start or ids.size != size or ids.max() != start + size - 1:
            return None
        positions = ids.ravel() - start
        if np.array_equal(positions, np.arange(size)):
            return name, None
        if (np.bincount(positions, minlength=size) != 1).any():
            return None
        return name, positions.reshape(ids.shape)

    # Layers

    def _append(self, layer: Layer) -> str:
        try:
            shape = layer.output_shape(*(self.shapes[source] for source in layer.inputs))
        except GraphError as error:
            raise ConversionError(f"{self.place.origin}{error}.") from error
        self.layers.append(layer)
        self._by_name[layer.name] = layer
        self.shapes[layer.name] = shape
        end = self._starts[-1] + _size(self.shapes[self._names[-1]]) if self._names else 0
        self._starts.append(end)
        self._names.append(layer.name)
        self._start[layer.name] = end
        return layer.name

    def append(
        self, layer_type: type[Layer], *inputs: str, place: Place | None = None, **fields: Any
    ) -> str:
        """Append a layer, called after the place; return its name."""
        place = place or self.place
        name = self._named(place, layer_type.kind)
        return self._append(layer_type(name=name, inputs=inputs, **fields))

    def _named(self, place: Place, kind: str) -> str:
        """Turn ``features.0`` into ``features_0``, and the ``0`` of a Sequential into ``conv1``."""
        name = re.sub(r"[^0-9a-z_]", "_", place.name.lower())
        if not place.is_module:
            name = name.strip("_") or _SHORT_NAMES.get(kind, kind)
            return self._unique(name, "_{}", 1)
        if name[:1].isalpha():
            return self._unique(name)
        short = _SHORT_NAMES.get(kind, kind)
        self._kinds[short] = self._kinds.get(short, 0) + 1
        return self._unique(f"{short}{self._kinds[short]}")

    def _unique(self, base: str, ending: str = "_use{}", first: int = 2) -> str:
        name, number = base, first
        while name in self._used:
            name = base + ending.format(number)
            number += 1
        self._used.add(name)
        return name

    def _once(self, key: Any, make: Callable[[], str]) -> str:
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    # What the inputs of an operation are

    def _source(self, ids: np.ndarray) -> str:
        """Return a layer with these values: a map if there are three axes, else a row."""
        return self._map(ids) if ids.ndim == 3 else self._row(ids.ravel())

    def _flatten(self, name: str) -> str:
        if len(self.shapes[name]) == 1:
            return name
        place = self._flat_places.get(name, Place("flattening", "flatten"))
        return self._once(("flatten", name), lambda: self.append(Flatten, name, place=place))

    def _row(self, ids: np.ndarray) -> str:
        whole = self._whole(ids)
        if whole is not None and whole[1] is None:
            return self._flatten(whole[0])
        source, positions = self._gathered(ids)
        return self._once(
            _key("row", ids),
            lambda: self.append(
                SelectChannels, source, place=_CHOICE, channels=tuple(positions.tolist())
            ),
        )

    def _gathered(self, ids: np.ndarray) -> tuple[str, np.ndarray]:
        """Return a flat layer that has all values of a row, and where in it they are."""
        numbers = np.searchsorted(self._starts, ids[ids >= 0], side="right") - 1
        layers = [self._names[number] for number in np.unique(numbers)]
        if not layers:
            raise self.place.error("all of its input is zero.")
        flat = tuple(self._flatten(name) for name in layers)
        source = flat[0]
        if len(flat) > 1:
            source = self._once(
                ("concat", flat), lambda: self.append(Concat, *flat, place=_CONCATENATION)
            )
        positions = np.full(ids.shape, -1)
        before = 0
        for name in layers:
            start, size = self._start[name], _size(self.shapes[name])
            inside = (ids >= start) & (ids < start + size)
            positions[inside] = ids[inside] - start + before
            before += size
        return source, positions

    def _map(self, ids: np.ndarray) -> str:
        """Return a layer that is a map with these values."""
        whole = self._whole(ids)
        if whole is not None:
            name, positions = whole
            if positions is None and self.shapes[name] == ids.shape:
                return name
            self._check_layout(name, ids)
        return self._once(_key("map", ids), lambda: self._assembled(ids))

    def _assembled(self, ids: np.ndarray) -> str:
        channels = len(ids)
        rows = ids.reshape(channels, -1)
        known = rows.max(axis=1)
        parts: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        chosen: list[tuple[str, int] | None] = []
        for channel in range(channels):
            if known[channel] < 0:
                chosen.append(None)
                continue
            name = self._layer_of(int(known[channel]))
            shape = self.shapes[name]
            if len(shape) != 3:
                raise self._not_a_map(name, ids.shape)
            area = shape[1] * shape[2]
            number = (int(known[channel]) - self._start[name]) // area
            places = ids[channel] - (self._start[name] + number * area)
            places[ids[channel] < 0] = -1
            axes = _axes(places, area, shape[2])
            if axes is None:
                raise self.place.error(_ARRANGED)
            if name in parts and not all(map(np.array_equal, parts[name], axes)):
                raise self.place.error(_ARRANGED)
            parts[name] = axes
            chosen.append((name, number))
        if not parts:
            raise self.place.error("all of its input is zero.")
        taken = {name: self._taken(name, *axes) for name, axes in parts.items()}
        offsets, total = {}, 0
        for name in parts:
            offsets[name] = total
            total += self.shapes[name][0]
        index = np.array([-1 if one is None else offsets[one[0]] + one[1] for one in chosen])
        sources = tuple(taken.values())
        source = sources[0]
        if len(sources) > 1:
            source = self._once(
                ("concat", sources), lambda: self.append(Concat, *sources, place=_CONCATENATION)
            )
        if np.array_equal(index, np.arange(total)):
            return source
        (inside,) = np.nonzero(index >= 0)
        before, after = int(inside[0]), int(channels - inside[-1] - 1)
        if np.array_equal(index[before : channels - after], np.arange(total)):
            return self.append(PadChannels, source, place=_BORDER, before=before, after=after)
        return self.append(SelectChannels, source, place=_CHOICE, channels=tuple(index.tolist()))

    def _check_layout(self, name: str, ids: np.ndarray) -> None:
        """Notice that the images have another layout than maps have."""
        if name != self._input or self._layout.kind != "same":
            return
        shape = self.shapes[name]
        if len(shape) == 2:
            raise LayoutError("row")
        if len(shape) == 3:
            numbers = self._ids(self.references(name))
            if np.array_equal(ids, numbers.transpose(2, 0, 1)):
                raise LayoutError("channels last")

    def _not_a_map(self, name: str, shape: Shape) -> ConversionError:
        if name == self._input and len(self.shapes[name]) == 2:
            raise LayoutError("row")
        return self.place.error(
            f"it takes the row of {self.shapes[name][0]} values of {name!r} for a map of shape "
            f"{shape}. Values that were flattened cannot become a map again."
        )

    def _taken(self, name: str, rows: np.ndarray, columns: np.ndarray) -> str:
        """Return a map of some rows and columns of a layer, and of zeros around them."""
        channels, *size = self.shapes[name]
        steps = [_step(axis) for axis in (rows, columns)]
        if any(step is None for step in steps):
            raise self.place.error(_ARRANGED)
        (above, first, step, count, below), (left, column, column_step, wide, right) = steps  # type: ignore[misc]
        ones = {"weight": np.ones((channels, 1, 1, 1)), "groups": channels}
        starts, counts = (first, column), (count, wide)
        # a single row from the first on is every n-th of n
        stride = tuple(
            n if (start, c) == (0, 1) else s
            for n, start, c, s in zip(size, starts, counts, (step, column_step), strict=True)
        )
        if (starts, counts) != ((0, 0), tuple(size)):
            if starts == (0, 0) and counts == tuple(
                -(-n // s) for n, s in zip(size, stride, strict=True)
            ):
                fields: dict[str, Any] = {"kernel": (1, 1), "stride": stride}
                name = self.append(AvgPool2d, name, place=_STEPS, **fields)
            else:
                # as large as it can be and still fit so often
                kernel = [n - (c - 1) * s for n, c, s in zip(size, counts, stride, strict=True)]
                weight = np.zeros((channels, 1, *kernel))
                weight[:, 0, first, column] = 1
                name = self.append(
                    Conv2d, name, place=_CUT, weight=weight, groups=channels, stride=stride
                )
        padding = (above, below, left, right)
        if not any(padding):
            return name
        return self.append(Conv2d, name, place=_BORDER, padding=padding, **ones)

    def _each(self, references: np.ndarray, make: Callable[[str, np.ndarray | None], str]) -> Any:
        """Convert what does the same to each element, whatever their order.

        `make` appends the layer, given the one that it reads and, if its values are permuted, their
        positions.
        """
        ids = self._ids(references)
        whole = self._whole(ids)
        if whole is not None:
            name, positions = whole
            new = make(name, positions)
            if name in self._flat_places:
                self._flat_places[new] = self._flat_places[name]
            return self._arranged(new, positions, ids.shape)
        new = make(self._source(ids), None)
        return self.references(new).reshape(references.shape)

    # Operations: each takes references and returns those of its results

    def conv(
        self,
        x: np.ndarray,
        weight: np.ndarray,
        bias: np.ndarray | None,
        stride: tuple[int, int] = (1, 1),
        padding: tuple[int, int, int, int] = (0, 0, 0, 0),
        dilation: tuple[int, int] = (1, 1),
        groups: int = 1,
    ) -> np.ndarray:
        """Convolve maps; signals are maps of one row."""
        if x.ndim == 3:
            signal = self.conv(x[:, :, np.newaxis], weight, bias, stride, padding, dilation, groups)
            return signal[:, :, 0]
        if x.ndim != 4:
            raise self.place.error(f"its input has {x.ndim - 1} axes an image; a map has three.")
        ids = self._ids(x)
        inner, borders = _without_zeros(ids)
        if any(borders):
            padding = tuple(a + b for a, b in zip(padding, borders, strict=True))  # type: ignore[assignment]
        name = self.append(
            Conv2d,
            self._map(inner),
            weight=weight,
            bias=bias,
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=groups,
        )
        return self.references(name)

    def linear(self, x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None) -> np.ndarray:
        """Multiply rows by a matrix of shape ``(out, in)``."""
        if x.ndim == 2 and len(x) != self.samples and len(x) % self.samples == 0:
            # rows of several places of an image
            return self._at_each_place(x, weight, bias)
        if x.ndim != 2:
            raise self.place.error(
                f"it is applied to a map of shape {x.shape[1:]}. Flatten its input first."
            )
        ids = self._ids(x)
        if x.shape[1] != weight.shape[1]:
            raise self.place.error(f"it takes {weight.shape[1]} values, not {x.shape[1]}.")
        whole = self._whole(ids)
        if whole is not None and whole[1] is None:
            source = self._flatten(whole[0])
        else:
            source, positions = self._gathered(ids)
            columns = np.zeros((self.shapes[source][0], len(weight)), weight.dtype)
            np.add.at(columns, positions[positions >= 0], weight.T[positions >= 0])
            weight = np.ascontiguousarray(columns.T)
        return self.references(self.append(Linear, source, weight=weight, bias=bias))

    def _at_each_place(
        self, x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None
    ) -> np.ndarray:
        """Convert a dense layer over the channels of each place of a map: a 1x1 convolution."""
        rows = x.reshape(self.samples, -1, x.shape[1])
        whole = self._whole(self._ids(rows))
        shape = self.shapes[whole[0]] if whole is not None else ()
        if whole is None or len(shape) != 3 or whole[1] is None or shape[0] != x.shape[1]:
            raise self.place.error(
                f"it is applied along the last of several axes, {x.shape[1]} values at a time. "
                "Flatten its input first."
            )
        area = shape[1] * shape[2]
        places = whole[1][:, 0] % area
        if not np.array_equal(whole[1], places[:, np.newaxis] + np.arange(shape[0]) * area):
            raise self.place.error("it is applied along an axis that is not that of channels.")
        kernel = weight[:, :, np.newaxis, np.newaxis]
        name = self.append(Conv2d, whole[0], weight=kernel, bias=bias)
        positions = places[:, np.newaxis] + np.arange(len(weight)) * area
        return self._refer(name, positions).reshape(len(x), len(weight))

    def affine(self, x: np.ndarray, scale: Any, shift: Any) -> np.ndarray:
        """Multiply by `scale` and add `shift`: numbers, or arrays that spread over the tensor."""
        spread = np.broadcast_shapes(x.shape, np.shape(scale), np.shape(shift))
        x = np.broadcast_to(x, spread)
        constants = [self._of_an_image(constant, len(spread)) for constant in (scale, shift)]

        def make(name: str, positions: np.ndarray | None) -> str:
            own = self.shapes[name]
            arrays = [_compressed(_in_place(a, spread[1:], positions, own), own) for a in constants]
            return self.append(Affine, name, scale=arrays[0], shift=arrays[1])

        return self._each(x, make)

    def _of_an_image(self, constant: Any, rank: int) -> np.ndarray:
        """Return a constant without the axis of images, along which it must be the same."""
        array = np.asarray(constant, np.float64)
        if array.ndim < rank:
            return array
        if (array != array[:1]).any():
            raise self.place.error("what it adds or multiplies by differs between images.")
        return array[0]

    def clip(self, x: np.ndarray, low: Any, high: Any) -> np.ndarray:
        """Limit values from below and from above; infinite limits are none.

        The limits are numbers; or the lower is zero, and the upper an array.
        """
        limits = [np.asarray(limit, np.float64) for limit in (low, high)]
        if any(np.isnan(limit).any() for limit in limits) or not (limits[0] < limits[1]).all():
            raise self.place.error("nothing lies between its limits.")
        before = self._before_relu(x)
        if before is not None:
            if (limits[0] <= 0).all() and np.isinf(limits[1]).all():
                return x
            x, limits[0] = before, np.maximum(limits[0], 0.0)
        if all((limit == limit.flat[0]).all() for limit in limits):
            first, last = (float(limit.flat[0]) for limit in limits)
            return self._each(x, lambda name, _: self.append(Clip, name, low=first, high=last))
        if np.any(limits[0]):
            raise self.place.error("its limits differ between values, and are not from zero up.")
        # in units of the limit, which weights before and behind it take up
        inside = self.affine(x, 1 / limits[1], 0.0)
        return self.affine(self.clip(inside, 0.0, 1.0), limits[1], 0.0)

    def _before_relu(self, x: np.ndarray) -> np.ndarray | None:
        """Return what a rectification has rectified, if values are those that it gives."""
        whole = self._whole(self._ids(x))
        if whole is None:
            return None
        name, positions = whole
        layer = self._by_name[name]
        if not isinstance(layer, Clip) or (layer.low, layer.high) != (0, np.inf):
            return None
        return self._arranged(layer.inputs[0], positions, x.shape[1:])

    def floor(self, x: np.ndarray, offset: float = 0.0) -> np.ndarray:
        """Add `offset` and round down; a half rounds to the nearest."""
        place = self.place
        return self._each(x, lambda name, _: self.append(Floor, name, offset=offset, place_=place))

    def finish(self, x: np.ndarray, function: str, axis: int) -> np.ndarray:
        """Note a function of the results that does not change which of them is largest.

        `function` is a name in `bsnn.frontends.draft_layers.FINAL`; for one that sums, `axis` is
        the axis.
        """
        if x.ndim != 2 or axis % x.ndim != 1:
            return self.failure(NOT_LAST, x.shape)
        place = self.place
        return self._each(
            x, lambda name, _: self.append(Final, name, function=function, place_=place)
        )

    def map_layer(self, x: np.ndarray, layer_type: type[Layer], **fields: Any) -> np.ndarray:
        """Pool maps, or signals, which are maps of one row."""
        if x.ndim == 3:
            return self.map_layer(x[:, :, np.newaxis], layer_type, **fields)[:, :, 0]
        if x.ndim != 4:
            raise self.place.error("its input is not a batch of maps.")
        if layer_type is MaxPool2d and x.max(initial=0) == LOWEST:
            x, fields = self._without_lowest(x, fields)
        name = self.append(layer_type, self._map(self._ids(x)), **fields)
        return self.references(name)

    def _without_lowest(
        self, x: np.ndarray, fields: dict[str, Any]
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Take padding with minus infinity, which never wins, into a pooling of a maximum."""
        inner, borders = _without_zeros(np.where(x[0] == LOWEST, -1, np.maximum(x[0], 0)))
        top, bottom, left, right = borders
        rows, columns = slice(top, top + inner.shape[1]), slice(left, left + inner.shape[2])
        pool = MaxPool2d(name="pool", inputs=("",), **fields)
        wanted = pool.output_shape(x.shape[1:])
        vertical, horizontal = fields["padding"]
        # what is only added behind may be a last, incomplete window
        for ceil_mode in (False, True):
            padding = (vertical + top, horizontal + left)
            found = dataclasses.replace(pool, padding=padding, ceil_mode=ceil_mode)
            if found.output_shape(inner.shape) == wanted:
                own = {"padding": padding, "ceil_mode": ceil_mode}
                return x[:, :, rows, columns], fields | own
        raise self.place.error(
            f"it is padded by {top}, {bottom}, {left} and {right}: a pooling pads both sides "
            "alike, or ends with an incomplete window."
        )

    def mean(self, x: np.ndarray, axes: Sequence[int], keep: bool) -> np.ndarray:
        """Average over axes of an image: a whole map, its rows, its columns, or channels."""
        return self._reduced(x, axes, keep, self._average)

    def maximum(self, x: np.ndarray, axes: Sequence[int], keep: bool) -> np.ndarray:
        """Return the maximum over axes of an image: a whole map, its rows or its columns."""
        return self._reduced(x, axes, keep, self._largest)

    def _average(self, name: str, kept: tuple[int, int, int]) -> str:
        channels, height, width = self.shapes[name]
        if kept[0] == 1 != channels:
            if kept[1:] != (height, width):
                raise self.place.error("channels and places are averaged at once.")
            return self.append(Conv2d, name, weight=np.full((1, channels, 1, 1), 1 / channels))
        return self.append(AdaptiveAvgPool2d, name, output_size=kept[1:])

    def _largest(self, name: str, kept: tuple[int, int, int]) -> str:
        channels, height, width = self.shapes[name]
        if kept[0] != channels:
            raise self.place.error("only within channels does a maximum have a spiking form.")
        kernel = height // kept[1], width // kept[2]
        return self.append(MaxPool2d, name, kernel=kernel, stride=kernel)

    def _reduced(
        self,
        x: np.ndarray,
        axes: Sequence[int],
        keep: bool,
        reduce: Callable[[str, tuple[int, int, int]], str],
    ) -> np.ndarray:
        axes = sorted({axis % x.ndim for axis in axes})
        shape = [1 if a in axes else n for a, n in enumerate(x.shape) if keep or a not in axes]
        if not axes or axes[0] == 0:
            return self.failure(
                "it is over the images of a batch. If an `if` or a loop needs it: the forward pass "
                "must not depend on the values of tensors.",
                shape,
            )
        ids = self._ids(x)
        lost = [axis - 1 for axis in axes]
        left = [axis for axis in range(ids.ndim) if axis not in lost]
        kept = tuple(ids.shape[axis] for axis in left)
        count = int(np.prod([ids.shape[axis] for axis in lost]))
        groups = np.sort(ids.transpose(*left, *lost).reshape(-1, count), axis=1)
        result = None
        if ids.size and ids.min() >= 0:
            name = self._layer_of(int(ids.min()))
            if len(self.shapes[name]) == 3:
                result = self._reduced_layer(name, groups, reduce)
        if result is None and ids.ndim == 3 and count > 1:
            name = self._map(ids)
            again = self._ids(self.references(name))
            groups = np.sort(again.transpose(*left, *lost).reshape(-1, count), axis=1)
            result = self._reduced_layer(name, groups, reduce)
        if result is not None:
            reduced = self._refer(*result).reshape(self.samples, *kept)
        elif count == 1:
            reduced = x
        else:
            raise self.place.error(
                "only over all rows, all columns or all channels of a map does it have a form."
            )
        return reduced.reshape(shape)

    def _reduced_layer(
        self,
        name: str,
        groups: np.ndarray,
        reduce: Callable[[str, tuple[int, int, int]], str],
    ) -> tuple[str, np.ndarray] | None:
        """Append the reduction of a layer whose values lie in such groups, if there is one."""
        shape = self.shapes[name]
        numbers = self._start[name] + np.arange(_size(shape)).reshape(shape)
        for axes in ((1, 2), (1,), (2,), (0,)):
            left = [axis for axis in range(3) if axis not in axes]
            count = int(np.prod([shape[axis] for axis in axes]))
            if count != groups.shape[1] or len(groups) * count != _size(shape):
                continue
            own = np.sort(numbers.transpose(*left, *axes).reshape(-1, count), axis=1)
            order = np.argsort(own[:, 0])
            found = np.minimum(np.searchsorted(own[order, 0], groups[:, 0]), len(own) - 1)
            positions = order[found]
            if np.array_equal(own[positions], groups):
                kept = tuple(1 if axis in axes else shape[axis] for axis in range(3))
                return reduce(name, kept), positions  # type: ignore[arg-type]
        return None

    def add(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Add two tensors, element by element."""
        first, second = np.broadcast_arrays(first, second)
        one, other = self._ids(first), self._ids(second)
        if (one < 0).all() or (other < 0).all():
            return second if (one < 0).all() else first
        whole, also = self._whole(one), self._whole(other)
        if whole is not None and also is not None:
            (name, positions), (second_name, second_positions) = whole, also
            # where both are None, too
            same = np.array_equal(positions, second_positions)  # type: ignore[arg-type]
            if same and self.shapes[name] == self.shapes[second_name]:
                return self._arranged(self._sum(name, second_name), positions, one.shape)
        name = self._sum(self._source(one), self._source(other))
        return self.references(name).reshape(first.shape)

    def _sum(self, first: str, second: str) -> str:
        """Append a sum; of ``x + (f - x)``, as gradients that pass straight through need, f."""
        layers = self._by_name
        for one, other in ((first, second), (second, first)):
            terms = layers[other].inputs if isinstance(layers[other], Add) else ()
            for minus, rest in zip(terms, terms[::-1], strict=True):
                negative = layers[minus]
                if (
                    isinstance(negative, Affine)
                    and negative.inputs == (one,)
                    and np.all(negative.scale == -1)
                    and not np.any(negative.shift)
                ):
                    return rest
        return self.append(Add, first, second)

    def finish_with(self, x: np.ndarray) -> None:
        """Take values as the network's result, and remove the layers that it does not need."""
        ids = self._ids(x)
        if not (ids >= 0).any():
            raise ConversionError("The model's result does not depend on the images.")
        if ids.ndim not in (1, 3):
            raise ConversionError(
                f"The model's result has the shape {ids.shape} for an image. One row of logits is "
                "needed."
            )
        whole = self._whole(ids)
        if whole is not None and whole[1] is None and self.shapes[whole[0]] == ids.shape:
            self.output = whole[0]
        else:
            self.output = self._source(ids)
        self.layers = needed_layers(self.layers, self.output)


def _size(shape: Shape) -> int:
    return int(np.prod(shape))


def _key(what: str, ids: np.ndarray) -> tuple[str, Shape, bytes]:
    return what, ids.shape, hashlib.sha256(np.ascontiguousarray(ids).tobytes()).digest()


def _axes(places: np.ndarray, area: int, width: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Split a map of places in another map into its rows and its columns; -1 for neither."""
    if places.max() >= area:
        return None
    inside = places >= 0
    rows = np.where(inside.any(axis=1), places.max(axis=1) // width, -1)
    columns = np.where(inside.any(axis=0), places.max(axis=0) % width, -1)
    whole = (rows >= 0)[:, np.newaxis] & (columns >= 0)
    expected = np.where(whole, rows[:, np.newaxis] * width + columns, -1)
    return (rows, columns) if np.array_equal(places, expected) else None


def _step(axis: np.ndarray) -> tuple[int, int, int, int, int] | None:
    """Return zeros before, first position, step, count and zeros after; None if it is no slice."""
    (inside,) = np.nonzero(axis >= 0)
    first, last = int(inside[0]), int(inside[-1])
    values = axis[first : last + 1]
    step = int(values[1] - values[0]) if len(values) > 1 else 1
    if step < 1 or not np.array_equal(values, values[0] + step * np.arange(len(values))):
        return None
    return first, int(values[0]), step, len(values), len(axis) - last - 1


def _without_zeros(ids: np.ndarray) -> tuple[np.ndarray, tuple[int, int, int, int]]:
    """Return a map without the zeros around it, and how many there are at each side."""
    inside: np.ndarray = np.asarray((ids >= 0).any(axis=0))
    if inside.all() or not inside.any():
        return ids, (0, 0, 0, 0)
    (rows,), (columns,) = np.nonzero(inside.any(axis=1)), np.nonzero(inside.any(axis=0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    borders = (int(top), int(len(inside) - bottom), int(left), int(inside.shape[1] - right))
    return ids[:, top:bottom, left:right], borders


def _in_place(
    array: np.ndarray, shape: Shape, positions: np.ndarray | None, own: Shape
) -> np.ndarray:
    """Bring what spreads over values in some arrangement into that of their layer."""
    if array.size == 1:
        return array.reshape(())
    spread = np.broadcast_to(array, shape)
    if positions is None:
        return spread.reshape(own)
    placed = np.empty(_size(own))
    placed[positions.ravel()] = spread.ravel()
    return placed.reshape(own)


def _compressed(array: np.ndarray, own: Shape) -> np.ndarray:
    """Keep one number, or one for each channel, if others are the same."""
    if array.size and (array == array.flat[0]).all():
        return np.asarray(array.flat[0])
    if len(own) == 3 and (array == array[:, :1, :1]).all():
        return array[:, :1, :1].copy()
    return array.copy()
