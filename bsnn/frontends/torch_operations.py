"""What becomes of each of PyTorch's operations.

Whatever people write, a forward pass is run by a few dozen operations of PyTorch's core. What
computes is one entry in `CONVERTERS`, a function that asks the draft for a layer; what only moves
elements is a name in `MOVES`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bsnn.frontends.advice import LARGER_OF_TWO, PRODUCT
from bsnn.frontends.torch_advice import advice
from bsnn.frontends.torch_trace import NOTHING, Converter, Operation
from bsnn.graph import AdaptiveAvgPool2d, AvgPool2d, MaxPool2d
from bsnn.registry import Registry

__all__ = ["CONVERTERS", "MOVES"]

#: By name of an operation, what converts it.
CONVERTERS: Registry[Converter] = Registry("operation")

#: Operations that only move elements, or put zeros among them.
MOVES = frozenset({
    "alias", "as_strided", "cat", "channel_shuffle", "chunk", "clone", "contiguous",
    "constant_pad_nd", "copy", "detach", "diagonal", "expand", "flip", "im2col", "index",
    "index_select", "lift_fresh", "movedim", "narrow", "permute", "pixel_shuffle",
    "pixel_unshuffle", "repeat", "reshape", "roll", "rot90", "select", "slice", "split",
    "split_with_sizes", "squeeze", "stack", "t", "_to_copy", "transpose", "unbind", "unfold",
    "unsafe_chunk", "unsafe_split", "unsafe_split_with_sizes", "_unsafe_view", "unsqueeze",
    "view", "_reshape_alias",
})  # fmt: skip


def _pair(values: Any, default: Any = None) -> tuple[int, int]:
    """Settings of both axes of a map; of a signal, which is one row, of its only axis."""
    values = values if values else default
    values = [values] if isinstance(values, int) else list(values)
    return int(values[0]), int(values[-1])


def _axis_pair(values: list[int], signal: bool, along_one: int) -> tuple[int, int]:
    return (along_one, int(values[0])) if signal else _pair(values)


@CONVERTERS.entry("convolution", "_convolution", "mkldnn_convolution")
def _convolution(op: Operation) -> np.ndarray:
    x, weight = op.references("input"), op.constant("weight")
    signal = weight.ndim == 3
    if weight.ndim not in (3, 4):
        return op.draft.failure("only one and two axes are convolved.", x.shape[:2])
    if op["transposed"]:
        raise op.draft.place.error("a transposed convolution has no form here.")
    vertical, horizontal = _axis_pair(op["padding"], signal, 0)
    return op.draft.conv(
        x,
        weight[:, :, np.newaxis] if signal else weight,
        op.array("bias"),
        stride=_axis_pair(op["stride"], signal, 1),
        padding=(vertical, vertical, horizontal, horizontal),
        dilation=_axis_pair(op["dilation"], signal, 1),
        groups=int(op["groups"]),
    )


@CONVERTERS.entry("addmm")
def _addmm(op: Operation) -> np.ndarray:
    matrix, bias = op.constant("mat2"), op.constant("self")
    weight = matrix.T * float(op["alpha"])
    bias = np.broadcast_to(bias * float(op["beta"]), weight.shape[:1])
    return op.draft.linear(op.references("mat1"), weight, bias.copy())


@CONVERTERS.entry("mm")
def _mm(op: Operation) -> np.ndarray:
    if not op.follows(op["self"]):
        raise op.draft.place.error("the images are not its first factor.")
    if op.follows(op["mat2"]):
        raise op.draft.place.error(
            "values are multiplied by values, as attention does. Spiking neurons add weighted "
            "spikes."
        )
    return op.draft.linear(op.references("self"), op.constant("mat2").T, None)


@CONVERTERS.entry("bmm")
def _bmm(op: Operation) -> np.ndarray:
    if not op.follows(op["self"]) or len(op["self"]) != 1:
        raise op.draft.place.error(PRODUCT)
    matrix = op.constant("mat2")[0]
    return op.draft.linear(op.references("self")[0], matrix.T, None)[np.newaxis]


@CONVERTERS.entry("linear")
def _linear(op: Operation) -> np.ndarray:
    return op.draft.linear(op.references("input"), op.constant("weight"), op.array("bias"))


@CONVERTERS.entry(
    "native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training",
    "cudnn_batch_norm", "miopen_batch_norm", "_batch_norm_no_update", "batch_norm",
)  # fmt: skip
def _batch_norm(op: Operation) -> np.ndarray:
    x = op.references("input")
    if op["training"] or op["running_mean"] is None or op["running_var"] is None:
        raise op.draft.place.error(
            "it keeps no running statistics, so that its result depends on the batch, or on each "
            "image. Use nn.BatchNorm2d with track_running_stats=True."
        )
    mean, variance = op.constant("running_mean"), op.constant("running_var")
    with np.errstate(all="ignore"):
        scale = 1 / np.sqrt(variance + float(op["eps"] if "eps" in op.arguments else op["epsilon"]))
        weight, bias = op.array("weight"), op.array("bias")
        scale = scale if weight is None else scale * weight
        shift = -mean * scale + (0.0 if bias is None else bias)
    shape = (-1, *(1,) * (x.ndim - 2))
    return op.draft.affine(x, scale.reshape(shape), shift.reshape(shape))


@CONVERTERS.entry("relu")
def _relu(op: Operation) -> np.ndarray:
    return op.draft.clip(op.references("self"), 0.0, np.inf)


@CONVERTERS.entry("relu6")
def _relu6(op: Operation) -> np.ndarray:
    return op.draft.clip(op.references("self"), 0.0, 6.0)


@CONVERTERS.entry("hardtanh")
def _hardtanh(op: Operation) -> np.ndarray:
    return op.draft.clip(op.references("self"), float(op["min_val"]), float(op["max_val"]))


@CONVERTERS.entry("clamp", "clamp_min", "clamp_max")
def _clamp(op: Operation) -> np.ndarray:
    low, high = (
        infinite if op[name] is None else op.constant(name)
        for name, infinite in (("min", -np.inf), ("max", np.inf))
    )
    return op.draft.clip(op.references("self"), low, high)


@CONVERTERS.entry("maximum", "fmax")
def _maximum(op: Operation) -> np.ndarray:
    x, limit = _and_constant(op)
    return op.draft.clip(x, limit, np.inf)


@CONVERTERS.entry("minimum", "fmin")
def _minimum(op: Operation) -> np.ndarray:
    x, limit = _and_constant(op)
    return op.draft.clip(x, -np.inf, limit)


def _and_constant(op: Operation) -> tuple[np.ndarray, Any]:
    names = ("self", "other")
    tracked = [name for name in names if op.follows(op[name])]
    if len(tracked) == 2:
        raise op.draft.place.error(LARGER_OF_TWO)
    (constant,) = set(names) - set(tracked)
    return op.references(tracked[0]), op.constant(constant)


@CONVERTERS.entry("threshold")
def _threshold(op: Operation) -> np.ndarray:
    if op["threshold"] != 0 or op["value"] != 0:
        return op.draft.failure(advice("threshold"), op["self"].shape)
    return _relu(op)


@CONVERTERS.entry("leaky_relu")
def _leaky_relu(op: Operation) -> np.ndarray:
    if op["negative_slope"] != 0:
        return op.draft.failure(advice("leaky_relu"), op["self"].shape)
    return _relu(op)


@CONVERTERS.entry("_prelu_kernel", "prelu")
def _prelu(op: Operation) -> np.ndarray:
    if np.any(op.array("weight")):
        return op.draft.failure(advice("prelu"), op["self"].shape)
    return _relu(op)


@CONVERTERS.entry("floor", "trunc")
def _floor(op: Operation) -> np.ndarray:
    # of what is clipped from zero up, both are the same; what is not is refused
    return op.draft.floor(op.references("self"))


@CONVERTERS.entry("round")
def _round(op: Operation) -> np.ndarray:
    if op["decimals"]:
        return op.draft.failure("it rounds to decimals.", op["self"].shape)
    return op.draft.floor(op.references("self"), 0.5)


@CONVERTERS.entry("add")
def _add(op: Operation) -> np.ndarray:
    return _sum(op, 1.0, _alpha(op))


@CONVERTERS.entry("sub")
def _sub(op: Operation) -> np.ndarray:
    return _sum(op, 1.0, -_alpha(op))


@CONVERTERS.entry("rsub")
def _rsub(op: Operation) -> np.ndarray:
    return _sum(op, -_alpha(op), 1.0)


def _alpha(op: Operation) -> float:
    return 1.0 if op["alpha"] is None else float(op["alpha"])


def _sum(op: Operation, first: float, second: float) -> np.ndarray:
    terms: list[np.ndarray] = []
    constant: Any = 0.0
    for name, factor in (("self", first), ("other", second)):
        if not op.follows(op[name]):
            constant = op.constant(name) * factor
            continue
        term = op.references(name)
        terms.append(term if factor == 1 else op.draft.affine(term, factor, 0.0))
    if len(terms) == 2:
        return op.draft.add(*terms)
    if np.any(constant):
        return op.draft.affine(terms[0], 1.0, constant)
    return np.broadcast_to(terms[0], np.broadcast_shapes(terms[0].shape, np.shape(constant)))


@CONVERTERS.entry("mul")
def _mul(op: Operation) -> np.ndarray:
    if op.follows(op["self"]) and op.follows(op["other"]):
        return op.draft.failure(PRODUCT, np.broadcast_shapes(
            op["self"].shape, op["other"].shape))  # fmt: skip
    x, constant = _and_constant(op)
    return op.draft.affine(x, constant, 0.0)


@CONVERTERS.entry("div")
def _div(op: Operation) -> np.ndarray:
    if op["rounding_mode"] is not None or op.follows(op["other"]):
        return op.draft.failure(PRODUCT, np.broadcast_shapes(
            op["self"].shape, np.shape(op["other"])))  # fmt: skip
    with np.errstate(divide="ignore"):
        factor = 1 / op.constant("other")
    if not np.isfinite(factor).all():
        raise op.draft.place.error("it divides by zero.")
    return op.draft.affine(op.references("self"), factor, 0.0)


@CONVERTERS.entry("neg")
def _neg(op: Operation) -> np.ndarray:
    return op.draft.affine(op.references("self"), -1.0, 0.0)


@CONVERTERS.entry("fill", "zero")
def _fill(op: Operation) -> np.ndarray:
    if np.any(op.array("value") if "value" in op.arguments else 0):
        return op.draft.failure("constants that are not zero replace values.", op["self"].shape)
    return np.zeros(op["self"].shape, np.int64)


def _window(op: Operation) -> dict[str, Any]:
    """Return what all poolings have of a window."""
    kernel = _pair(op["kernel_size"])
    return {
        "kernel": kernel,
        "stride": _pair(op["stride"], kernel),
        "padding": _pair(op["padding"], 0),
        "ceil_mode": bool(op["ceil_mode"]),
    }


@CONVERTERS.entry("max_pool2d_with_indices", "max_pool2d")
def _max_pool(op: Operation) -> np.ndarray:
    dilation = _pair(op["dilation"], 1)
    return op.draft.map_layer(op.references("self"), MaxPool2d, dilation=dilation, **_window(op))


@CONVERTERS.entry("avg_pool2d")
def _avg_pool(op: Operation) -> np.ndarray:
    return op.draft.map_layer(
        op.references("self"),
        AvgPool2d,
        count_include_pad=bool(op["count_include_pad"]),
        divisor=int(op["divisor_override"] or 0),
        **_window(op),
    )


@CONVERTERS.entry("_adaptive_avg_pool2d", "adaptive_avg_pool2d")
def _adaptive_avg_pool(op: Operation) -> np.ndarray:
    size = _pair(op["output_size"])
    return op.draft.map_layer(op.references("self"), AdaptiveAvgPool2d, output_size=size)


@CONVERTERS.entry("adaptive_max_pool2d")
def _adaptive_max_pool(op: Operation) -> np.ndarray:
    x, size = op.references("self"), _pair(op["output_size"])
    extent = x.shape[-2:]
    if any(n % bins for n, bins in zip(extent, size, strict=True)):
        raise op.draft.place.error(
            f"{extent[0]}x{extent[1]} places are not divided into {size[0]}x{size[1]} equal bins. "
            "Use nn.MaxPool2d."
        )
    kernel = extent[0] // size[0], extent[1] // size[1]
    return op.draft.map_layer(x, MaxPool2d, kernel=kernel, stride=kernel)


@CONVERTERS.entry("mean")
def _mean(op: Operation) -> np.ndarray:
    x = op.references("self")
    return op.draft.mean(x, _axes(op, x), bool(op["keepdim"]))


@CONVERTERS.entry("sum")
def _total(op: Operation) -> np.ndarray:
    x = op.references("self")
    axes = _axes(op, x)
    count = int(np.prod([x.shape[axis] for axis in axes]))
    mean = op.draft.mean(x, axes, bool(op["keepdim"]))
    return mean if mean.min(initial=0) < 0 else op.draft.affine(mean, float(count), 0.0)


@CONVERTERS.entry("amax", "max")
def _amax(op: Operation) -> np.ndarray:
    x = op.references("self")
    return op.draft.maximum(x, _axes(op, x), bool(op["keepdim"]))


def _axes(op: Operation, x: np.ndarray) -> list[int]:
    """Axes of a reduction; all of them, if none are named."""
    dim = op["dim"]
    axes = list(range(x.ndim)) if dim is None or dim == [] else dim
    return [axes] if isinstance(axes, int) else list(axes)


@CONVERTERS.entry("_softmax", "softmax")
def _softmax(op: Operation) -> np.ndarray:
    return op.draft.finish(op.references("self"), "softmax", op["dim"])


@CONVERTERS.entry("_log_softmax", "log_softmax")
def _log_softmax(op: Operation) -> np.ndarray:
    return op.draft.finish(op.references("self"), "log_softmax", op["dim"])


@CONVERTERS.entry("sigmoid")
def _sigmoid(op: Operation) -> np.ndarray:
    return op.draft.finish(op.references("self"), "sigmoid", 1)


@CONVERTERS.entry("empty_like", "zeros_like", "full_like", "ones_like", "rand_like", "randn_like",
           "new_zeros", "new_full", "new_ones", "new_empty", "new_empty_strided", "sym_size",
           "_shape_as_tensor")  # fmt: skip
def _of_its_size(op: Operation) -> Any:
    # a tensor that only has the size of another
    return NOTHING
