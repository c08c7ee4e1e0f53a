"""From a draft's layers to those of a graph: what is affine goes into weights, clips become ReLUs.

Everything here is exact: a factor goes backwards or forwards over layers with which it commutes,
until it meets weights that can take it up.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from bsnn.errors import ConversionError
from bsnn.frontends.draft_layers import NOT_LAST, Affine, Clip, Final, Floor
from bsnn.graph import (
    AdaptiveAvgPool2d,
    AvgPool2d,
    ClippedReLU,
    Conv2d,
    Flatten,
    Input,
    Layer,
    Linear,
    MaxPool2d,
    Normalise,
    ReLU,
    with_scaled_outputs,
)
from bsnn.graph.layers import Shape

__all__ = ["Folded", "as_type", "fold"]

# A dense layer that multiplies each value by a number of its own has so many inputs at most.
_LARGEST_DIAGONAL = 10_000


@dataclasses.dataclass(frozen=True)
class Folded:
    """Layers of a graph, in float64 where they have arrays.

    Attributes
    ----------
    layers : list of Layer
        In order.
    output : str
        The layer that gives the result.
    final : str or None
        A name in `FINAL`: what the trained network does with its result.
    two_classes : bool
        The result was one value, and became two: zero, and that value.
    """

    layers: list[Layer]
    output: str
    final: str | None = None
    two_classes: bool = False


def fold(layers: Sequence[Layer], output: str) -> Folded:
    """Return the layers of a graph for those of a draft.

    Raises
    ------
    ConversionError
        A layer of the draft has no place in a graph.
    """
    return _Folding(layers, output).folded()


def as_type(layers: Sequence[Layer], dtype: DTypeLike) -> list[Layer]:
    """Return layers with arrays of a type; what it cannot hold becomes infinite."""
    with np.errstate(over="ignore"):
        return [
            dataclasses.replace(layer, **{n: a.astype(dtype) for n, a in layer.arrays.items()})
            for layer in layers
        ]


class _Folding:
    def __init__(self, layers: Sequence[Layer], output: str) -> None:
        self._layers = {layer.name: layer for layer in layers}
        self._output = output
        self._final: str | None = None
        self._two_classes = False
        self._shapes: dict[str, Shape] = {}
        for layer in layers:
            self._shapes[layer.name] = layer.output_shape(*(self._shapes[s] for s in layer.inputs))

    def folded(self) -> Folded:
        self._take_final()
        for layer in self._of_kind(Clip):
            self._join_clips(layer)
        for layer in self._of_kind(Clip):
            self._start_clip_at_zero(layer)
        while self._simplify():
            pass
        for floor in self._of_kind(Floor):
            raise floor.place_.error(
                "rounding has a spiking form only together with a clip from zero up, such as "
                "torch.floor(torch.clamp(x / clip, 0, 1) * levels + 0.5) / levels * clip."
            )
        for layer in self._of_kind(Affine):
            self._absorb(layer)
        for layer in self._of_kind(Clip):
            self._put(_rectification(layer))
        for layer in self._of_kind(Final):
            raise layer.place_.error(NOT_LAST)
        return Folded(list(self._layers.values()), self._output, self._final, self._two_classes)

    # The network and its changes

    def _of_kind(self, kind: type[Layer]) -> list[Any]:
        return [layer for layer in self._layers.values() if isinstance(layer, kind)]

    def _source(self, layer: Layer) -> Layer:
        return self._layers[layer.inputs[0]]

    def _readers(self, layer: Layer) -> list[Layer]:
        return [other for other in self._layers.values() if layer.name in other.inputs]

    def _reader(self, layer: Layer) -> Layer | None:
        """The only layer that reads another; None if there are more, or if it is the result."""
        readers = self._readers(layer)
        return readers[0] if len(readers) == 1 and layer.name != self._output else None

    def _is_read_once(self, layer: Layer) -> bool:
        return self._reader(layer) is not None

    def _put(self, layer: Layer) -> None:
        self._layers[layer.name] = layer
        self._shapes[layer.name] = layer.output_shape(*(self._shapes[s] for s in layer.inputs))

    def _remove(self, layer: Layer) -> None:
        """Let those who read a layer with one input read that."""
        (source,) = layer.inputs
        del self._layers[layer.name]
        self._rename(layer.name, source)

    def _rename(self, old: str, new: str) -> None:
        """Let those who read a layer read another in its place."""
        for name, other in self._layers.items():
            if old in other.inputs:
                inputs = tuple(new if i == old else i for i in other.inputs)
                self._layers[name] = dataclasses.replace(other, inputs=inputs)
        if self._output == old:
            self._output = new

    def _insert_before(self, layer: Layer, new: Layer) -> None:
        """Put a layer, which reads what another has read, before that."""
        changed = dataclasses.replace(layer, inputs=(new.name,))
        self._insert(layer.name, [new, changed])

    def _insert_behind(self, layer: Layer, new: Layer) -> None:
        """Put a layer behind another: those who have read that one read it."""
        self._rename(layer.name, new.name)
        self._insert(layer.name, [layer, new])

    def _insert(self, name: str, layers: list[Layer]) -> None:
        order: dict[str, Layer] = {}
        for other, layer in self._layers.items():
            for one in layers if other == name else [layer]:
                order[one.name] = one
        self._layers = order
        for one in layers:
            self._put(one)

    def _free(self, base: str) -> str:
        name, number = base, 1
        while name in self._shapes:
            number += 1
            name = f"{base}_use{number}"
        return name

    # What stands behind the last layer

    def _take_final(self) -> None:
        final = self._layers[self._output]
        if not isinstance(final, Final):
            return
        self._final = final.function
        self._remove(final)
        if final.function != "sigmoid" or self._shapes[self._output] != (1,):
            return
        # one probability, of the second of two classes, is above a half if its logit is above zero
        self._two_classes = True
        last = self._layers[self._output]
        if isinstance(last, Linear) and not self._readers(last):
            bias = np.zeros(1) if last.bias is None else last.bias
            weight = np.concatenate([np.zeros_like(last.weight), last.weight])
            self._put(dataclasses.replace(last, weight=weight, bias=np.concatenate([[0.0], bias])))
            return
        name = self._free("two_classes")
        self._put(Linear(name=name, inputs=(last.name,), weight=np.array([[0.0], [1.0]])))
        self._output = name

    # Normal forms

    def _join_clips(self, clip: Clip) -> None:
        """Make one clip of two that follow each other, unless nothing is left between them."""
        source = self._source(clip)
        if not isinstance(source, Clip) or not self._is_read_once(source):
            return
        low, high = (float(np.clip(x, clip.low, clip.high)) for x in (source.low, source.high))
        if low < high:
            self._remove(clip)
            self._put(dataclasses.replace(source, low=low, high=high))

    def _start_clip_at_zero(self, clip: Clip) -> None:
        """Write a clip as ``max(0, x)``, or ``min(max(0, x), high)``, between two affine maps."""
        low, high = clip.low, clip.high
        if low == 0:
            return
        if np.isinf(low):
            # min(x, high) = high - max(0, high - x)
            sign, before, after, top = -1.0, high, high, np.inf
        else:
            sign, before, after, top = 1.0, -low, low, high - low
        first = _affine(self._free(f"{clip.name}_shift"), clip.inputs, sign, before)
        self._insert_before(clip, first)
        moved: Any = self._layers[clip.name]
        clip = dataclasses.replace(moved, low=0.0, high=top)
        self._put(clip)
        second = _affine(self._free(f"{clip.name}_back"), (clip.name,), sign, after)
        self._insert_behind(clip, second)

    def _simplify(self) -> bool:
        """Make one change that leaves less to do; return whether there was one."""
        for layer in list(self._layers.values()):
            if isinstance(layer, Affine):
                if self._simplify_affine(layer):
                    return True
            elif isinstance(layer, Clip):
                source = self._source(layer)
                if isinstance(source, Clip) and (
                    source.high <= layer.high or self._is_read_once(source)
                ):
                    high = min(source.high, layer.high)
                    self._remove(layer)
                    self._put(dataclasses.replace(source, high=high))
                    return True
            elif isinstance(layer, Floor) and self._quantise(layer):
                return True
        return False

    def _simplify_affine(self, layer: Affine) -> bool:
        if np.all(layer.scale == 1) and np.all(layer.shift == 0):
            self._remove(layer)
            return True
        source = self._source(layer)
        if isinstance(source, Affine):
            scale = layer.scale * source.scale
            shift = layer.scale * source.shift + layer.shift
            self._put(dataclasses.replace(layer, inputs=source.inputs, scale=scale, shift=shift))
            self._drop_unread(source)
            return True
        reader = self._reader(layer)
        if layer.is_factor and isinstance(reader, Clip) and np.isfinite(reader.high):
            # the factor behind the clip, where another may undo it
            self._remove(layer)
            clip = dataclasses.replace(
                self._layers[reader.name], high=reader.high / float(layer.scale)
            )
            self._put(clip)
            self._insert_behind(clip, dataclasses.replace(layer, inputs=(clip.name,)))
            return True
        return False

    def _drop_unread(self, layer: Layer) -> None:
        if not self._readers(layer) and layer.name != self._output:
            del self._layers[layer.name]

    def _quantise(self, floor: Floor) -> bool:
        """Join a clip and the rounding after or before it to one clip with levels."""
        before, scale, offset = self._source(floor), 1.0, floor.offset
        affine: Affine | None = None
        if isinstance(before, Affine) and self._is_read_once(before):
            if before.scale.ndim or before.shift.ndim or not before.scale > 0:
                return False
            affine, scale = before, float(before.scale)
            offset += float(before.shift)
            before = self._source(before)
        reader = self._reader(floor)
        clip: Clip | None = None
        levels = 0.0
        if isinstance(before, Clip) and self._is_read_once(before) and np.isfinite(before.high):
            clip, levels = before, before.high * scale
        elif isinstance(reader, Clip) and np.isfinite(reader.high):
            clip, levels = reader, reader.high
        if clip is None or clip.low != 0 or not 0 <= offset < 1:
            return False
        whole = round(levels)
        if whole < 1 or abs(levels - whole) > 1e-6 * whole:
            return False
        last = self._layers[floor.name if clip is before else clip.name]
        origin = clip.inputs if clip is before else (affine or floor).inputs
        unit = 1 / scale
        quantised = ClippedReLU(
            name=clip.name, inputs=origin, clip=whole * unit, levels=whole, offset=offset
        )
        for layer in (affine, floor, clip):
            if layer is not None and layer.name != last.name:
                del self._layers[layer.name]
        factor = _affine(self._free(f"{clip.name}_unit"), (clip.name,), scale, 0.0)
        self._rename(last.name, factor.name)
        self._insert(last.name, [quantised, factor])
        return True

    # Affine maps into weights

    def _absorb(self, affine: Affine) -> None:
        affine = self._layers[affine.name]  # type: ignore[assignment]
        if self._absorb_backwards(affine) or self._normalise(affine):
            return
        if not self._absorb_forwards(affine):
            self._make_layer(affine)

    def _absorb_backwards(self, affine: Affine) -> bool:
        """Put it into the weights before it, over layers with which it commutes."""
        scale, shift = affine.scale, affine.shift
        clips: list[Any] = []
        layer: Layer = affine
        while True:
            source = self._source(layer)
            if not self._is_read_once(source):
                return False
            shape = self._shapes[source.name]
            if isinstance(source, (Conv2d, Linear)):
                arrays = [_per_output(array, shape) for array in (scale, shift)]
                if arrays[0] is None or arrays[1] is None:
                    return False
                self._remove(affine)
                self._put(with_scaled_outputs(source, arrays[0], arrays[1]))
                for clip in clips:
                    field = "high" if isinstance(clip, Clip) else "clip"
                    limit = getattr(clip, field) * float(scale)
                    self._put(dataclasses.replace(self._layers[clip.name], **{field: limit}))
                return True
            if isinstance(source, Flatten):
                shape = self._shapes[source.inputs[0]]
                scale, shift = (_unflattened(array, shape) for array in (scale, shift))
            elif isinstance(source, (Clip, ClippedReLU)):
                # a positive factor, with which the limit grows
                if scale.ndim or not scale > 0 or np.any(shift):
                    return False
                clips.append(source)
            elif not self._commutes(source, scale, shift):
                return False
            layer = source

    def _commutes(self, pool: Layer, scale: np.ndarray, shift: np.ndarray) -> bool:
        """Say whether a pooling takes the same affine map before and behind it."""
        if not isinstance(pool, (MaxPool2d, AvgPool2d, AdaptiveAvgPool2d)):
            return False
        shape = self._shapes[pool.name]
        if _per_output(scale, shape) is None or _per_output(shift, shape) is None:
            return False
        if isinstance(pool, MaxPool2d):
            return bool((scale > 0).all())
        if isinstance(pool, AdaptiveAvgPool2d) or not np.any(shift):
            return True
        return not any(pool.padding) and not pool.divisor and not pool.ceil_mode

    def _normalise(self, affine: Affine) -> bool:
        """Make what is done to images first a normalisation."""
        source = self._source(affine)
        shape = self._shapes[source.name]
        known = any(isinstance(layer, Normalise) for layer in self._layers.values())
        if not isinstance(source, Input) or known or not self._is_read_once(source):
            return False
        if not (affine.scale > 0).all():
            return False
        rank = len(shape)
        scale, shift = (
            array.reshape((1,) * rank) if not array.ndim else array
            for array in (affine.scale, affine.shift)
        )
        scale, shift = np.broadcast_arrays(scale, shift)
        per_channel = (shape[0], *(1,) * (rank - 1))
        if scale.size == 1:
            scale, shift = (np.broadcast_to(array, per_channel) for array in (scale, shift))
        self._put(
            Normalise(name=affine.name, inputs=affine.inputs, mean=-shift / scale, std=1 / scale)
        )
        return True

    def _absorb_forwards(self, affine: Affine) -> bool:
        """Put it into the weights behind it, over layers with which it commutes."""
        scale, shift = affine.scale, affine.shift
        layer: Layer = affine
        while True:
            reader = self._reader(layer)
            if reader is None:
                return False
            shape = self._shapes[layer.name]
            if isinstance(reader, Linear):
                scale, shift = (np.broadcast_to(array, shape) for array in (scale, shift))
                bias = reader.weight @ shift + (0.0 if reader.bias is None else reader.bias)
                self._remove(affine)
                weight = reader.weight * scale
                self._put(dataclasses.replace(self._layers[reader.name], weight=weight, bias=bias))
                return True
            if isinstance(reader, Conv2d):
                arrays = [_per_output(array, shape) for array in (scale, shift)]
                if arrays[0] is None or arrays[1] is None:
                    return False
                if any(reader.padding) and np.any(shift):
                    return False
                self._remove(affine)
                self._put(_behind(self._layers[reader.name], arrays[0], arrays[1]))
                return True
            if isinstance(reader, Flatten):
                scale, shift = (
                    array if not array.ndim else np.broadcast_to(array, shape).ravel()
                    for array in (scale, shift)
                )
            elif not self._commutes(reader, scale, shift):
                return False
            layer = reader

    def _make_layer(self, affine: Affine) -> None:
        """Make it a layer of its own: a 1x1 convolution with a group for each channel."""
        shape = self._shapes[affine.inputs[0]]
        scale, shift = (_per_output(array, shape) for array in (affine.scale, affine.shift))
        if scale is None or shift is None:
            raise ConversionError(
                f"{affine.name!r} multiplies or adds a number for each place of a map. There is "
                "only one for each channel."
            )
        if len(shape) == 3:
            weight = scale.reshape(-1, 1, 1, 1)
            layer: Layer = Conv2d(
                name=affine.name, inputs=affine.inputs, weight=weight, bias=shift, groups=len(scale)
            )
        elif len(shape) == 1 and shape[0] <= _LARGEST_DIAGONAL:
            layer = Linear(
                name=affine.name, inputs=affine.inputs, weight=np.diag(scale), bias=shift
            )
        else:
            raise ConversionError(
                f"{affine.name!r} (a BatchNorm, or a factor) lies between values of shape {shape}, "
                "where no layer before or behind can take it up. Put it directly behind an "
                "nn.Conv2d or nn.Linear whose output nothing else uses."
            )
        self._put(layer)


def _affine(name: str, inputs: tuple[str, ...], scale: float, shift: float) -> Affine:
    return Affine(name=name, inputs=inputs, scale=np.asarray(scale), shift=np.asarray(shift))


def _rectification(clip: Clip) -> Layer:
    if np.isinf(clip.high):
        return ReLU(name=clip.name, inputs=clip.inputs)
    return ClippedReLU(name=clip.name, inputs=clip.inputs, clip=float(clip.high))


def _per_output(array: np.ndarray, shape: Shape) -> np.ndarray | None:
    """One number for each channel of a map, or each value of a row; None if there are more."""
    if not array.ndim:
        return np.full(shape[0], float(array))
    if len(shape) == 3 and array.shape != (shape[0], 1, 1):
        return None
    return np.broadcast_to(array.ravel(), shape[:1])


def _unflattened(array: np.ndarray, shape: Shape) -> np.ndarray:
    if not array.ndim or array.shape == shape:
        return array
    array = array.reshape(shape)
    same = len(shape) == 3 and (array == array[:, :1, :1]).all()
    return array[:, :1, :1] if same else array


def _behind(layer: Any, scale: np.ndarray, shift: np.ndarray) -> Layer:
    """Multiply and shift what a convolution without padding reads."""
    outputs, inputs = layer.weight.shape[:2]
    group = np.arange(outputs) // (outputs // layer.groups)
    seen = group[:, np.newaxis] * inputs + np.arange(inputs)
    weight = layer.weight * scale[seen][:, :, np.newaxis, np.newaxis]
    added = (layer.weight.sum(axis=(2, 3)) * shift[seen]).sum(axis=1)
    bias = layer.bias
    if bias is not None or added.any():
        bias = added + (0.0 if bias is None else bias)
    return dataclasses.replace(layer, weight=weight, bias=bias)
