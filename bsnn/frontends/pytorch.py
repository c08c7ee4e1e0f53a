"""From a PyTorch module to a `Graph`, by symbolic tracing with `torch.fx`.

Only operations whose meaning is kept exactly are converted; everything else is a
`ConversionError` that names the operation, where the model uses it, and what to write instead.
A kind of module, function or method is one entry in a table below.
"""

from __future__ import annotations

import copy
import operator
import os
import re
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import fx, nn
from torch.nn import functional

from bsnn.errors import ConversionError, GraphError
from bsnn.frontends.batch_norm import BatchNorm, fold
from bsnn.graph import (
    AdaptiveAvgPool2d,
    Add,
    AvgPool2d,
    Conv2d,
    Flatten,
    Graph,
    Input,
    Layer,
    Linear,
    MaxPool2d,
    ReLU,
)

__all__ = ["from_torch"]

# Images in the sample that is run through model and graph: any number but one, to tell the
# batch axis from others.
_SAMPLES = 3


def from_torch(
    model: nn.Module,
    input_shape: Sequence[int],
    *,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> Graph:
    """Convert a trained PyTorch module to a graph.

    Parameters
    ----------
    model : torch.nn.Module
        The network; left as it is. Layers may be modules or functions (``F.relu``, ``x.relu()``,
        ``torch.flatten``, ``x.view``, ``+``), and may be used more than once. BatchNorm is folded,
        Dropout and Identity are dropped.
    input_shape : sequence of int
        Shape of one image, such as ``(1, 28, 28)``.
    mean, std : sequence of float, optional
        Per channel: what was subtracted from the images, and what they were divided by, before
        they entered `model`. They become the graph's first layer, so that it takes plain images.

    Returns
    -------
    Graph

    Raises
    ------
    ConversionError
        An operation has no counterpart, a weight is not finite, BatchNorm is in training mode, or
        `input_shape` does not fit.
    """
    shape = _check_input_shape(input_shape)
    if not isinstance(model, nn.Module):
        raise ConversionError(f"A torch.nn.Module is needed, not {type(model).__name__}.")
    _check_mode(model)
    model = copy.deepcopy(model).cpu().eval()
    _check_parameters(model)
    traced = _trace(model)
    generator = torch.Generator().manual_seed(0)
    sample = torch.rand((_SAMPLES, *shape), generator=generator)
    values = _run(traced, sample, shape)
    draft = _Draft(model, traced, values, shape, mean, std)
    try:
        layers, output = fold(draft.layers, draft.output)
        graph = Graph(layers, output=output)
    except GraphError as error:
        raise ConversionError(f"The traced network is not consistent: {error}.") from error
    _compare(graph, draft.raw_sample(sample), values[draft.result])
    return graph


# ------------------------------------------------------------------------------------------------
# Checks before tracing


def _check_input_shape(input_shape: Sequence[int]) -> tuple[int, ...]:
    try:
        shape = tuple(operator.index(size) for size in input_shape)
    except TypeError:
        shape = ()
    if not shape or min(shape) < 1:
        raise ConversionError(
            f"input_shape is {input_shape!r}; the shape of one image is needed, without the batch "
            "axis, such as (1, 28, 28)."
        )
    return shape


def _check_mode(model: nn.Module) -> None:
    for name, module in model.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training:
            raise ConversionError(
                f"The BatchNorm layer {name!r} is in training mode, where its result depends on "
                "the batch. Call model.eval() before the conversion."
            )


def _check_parameters(model: nn.Module) -> None:
    tensors = [*model.named_parameters(), *model.named_buffers()]
    for name, tensor in tensors:
        if not tensor.is_floating_point():
            continue
        if tensor.dtype == torch.float64:
            raise ConversionError(
                f"{name!r} is in float64, which bsnn's files do not keep. Call model.float() and "
                "check that its accuracy is still right."
            )
        bad = int((~torch.isfinite(tensor)).sum())
        if bad:
            raise ConversionError(
                f"{name!r} has {bad} of {tensor.numel()} values that are NaN or infinite. The "
                "training diverged, or the wrong weights were loaded."
            )


# ------------------------------------------------------------------------------------------------
# Tracing


class _Tracer(fx.Tracer):
    """Records where in the model's source each operation stands."""

    def __init__(self) -> None:
        super().__init__()
        self.record_stack_traces = True

    def is_leaf_module(self, module: nn.Module, qualified_name: str) -> bool:
        return type(module) in _MODULES or super().is_leaf_module(module, qualified_name)


def _trace(model: nn.Module) -> fx.GraphModule:
    try:
        return fx.GraphModule(model, _Tracer().trace(model))
    except Exception as error:
        frames = [
            frame
            for frame in traceback.extract_tb(error.__traceback__)
            if not _is_torch_file(frame.filename) and frame.filename != __file__
        ]
        where = f"{frames[-1].filename}, line {frames[-1].lineno}: " if frames else ""
        raise ConversionError(
            f"{where}the model cannot be traced ({error}). Its forward pass must not depend on the "
            "values of tensors: replace such an `if` or loop by plain layers."
        ) from error


class _Runner(fx.Interpreter):
    """Keeps the value of every node; says where it failed."""

    def __init__(self, traced: fx.GraphModule, shape: tuple[int, ...]) -> None:
        super().__init__(traced, garbage_collect_values=False)
        self.extra_traceback = False
        self.values: dict[fx.Node, Any] = {}
        self._shape = shape

    def run_node(self, node: fx.Node) -> Any:
        try:
            value = super().run_node(node)
        except Exception as error:
            reason = str(error).splitlines()[0]
            raise ConversionError(
                f"{_origin(node)}the model cannot process an image of shape {self._shape}: "
                f"{_describe(node)} fails ({reason}). Is input_shape right? It is "
                "(channels, height, width), without the batch axis."
            ) from error
        self.values[node] = value
        return value


def _run(
    traced: fx.GraphModule, sample: torch.Tensor, shape: tuple[int, ...]
) -> dict[fx.Node, Any]:
    placeholders = [node for node in traced.graph.nodes if node.op == "placeholder"]
    needed = [node for node in placeholders if not node.args]
    if len(needed) != 1:
        raise ConversionError(
            f"The model's forward pass takes {len(needed)} inputs; one, the images, is needed."
        )
    runner = _Runner(traced, shape)
    with torch.no_grad():
        runner.run(sample)
    return runner.values


def _is_torch_file(file_name: str) -> bool:
    return file_name.startswith(os.path.dirname(torch.__file__))


def _origin(node: fx.Node) -> str:
    """Return ``"file, line n: "`` of the operation in the model, or nothing if unknown."""
    places = re.findall(r'File "([^"]+)", line (\d+)', node.stack_trace or "")
    own = [place for place in places if not _is_torch_file(place[0])]
    return f"{own[-1][0]}, line {own[-1][1]}: " if own else ""


def _describe(node: fx.Node) -> str:
    if node.op == "call_module":
        module = node.graph.owning_module.get_submodule(node.target)
        return f"layer {node.target!r} ({type(module).__name__})"
    if node.op == "call_method":
        return f"the method .{node.target}()"
    name = getattr(node.target, "__name__", str(node.target))
    return f"the operation {name}" if callable(node.target) else f"{node.op} {node.target}"


def _reject(node: fx.Node, reason: str) -> ConversionError:
    return ConversionError(f"{_origin(node)}{_describe(node)} cannot be converted: {reason}")


# ------------------------------------------------------------------------------------------------
# From nodes to layers


class _Draft:
    """The layers as they are found, with BatchNorm still among them."""

    def __init__(
        self,
        model: nn.Module,
        traced: fx.GraphModule,
        values: dict[fx.Node, Any],
        shape: tuple[int, ...],
        mean: Sequence[float] | None,
        std: Sequence[float] | None,
    ) -> None:
        self.layers: list[Layer] = []
        self.model = model
        self.values = values
        self._names: dict[fx.Node, str] = {}
        self._used: set[str] = set()
        self._kinds: dict[str, int] = {}
        self._mean = self._std = None
        for node in traced.graph.nodes:
            self._visit(node, shape, mean, std)

    def _visit(
        self,
        node: fx.Node,
        shape: tuple[int, ...],
        mean: Sequence[float] | None,
        std: Sequence[float] | None,
    ) -> None:
        if node.op == "placeholder":
            if not node.args:
                name = self._unique("input")
                self.layers.append(Input(name=name, shape=shape))
                self._names[node] = self._normalise(name, shape, mean, std)
        elif node.op == "output":
            (result,) = node.args
            if not isinstance(result, fx.Node) or result not in self._names:
                raise ConversionError(
                    f"The model returns {result}; one tensor, the logits, is needed."
                )
            self.result = result
            self.output = self._names[result]
        elif isinstance(self.values[node], torch.Tensor):
            self._visit_tensor(node)
        elif node.op != "get_attr" and not self._is_shape_arithmetic(node):
            raise _reject(node, "its result is not a tensor. Return a single tensor.")

    def _is_shape_arithmetic(self, node: fx.Node) -> bool:
        """Whether a node only handles sizes, which are fixed by `input_shape`."""
        value = self.values[node]
        sizes = value if isinstance(value, (tuple, list)) else (value,)
        return all(isinstance(size, int) for size in sizes)

    def _visit_tensor(self, node: fx.Node) -> None:
        if node.op == "get_attr":
            raise _reject(
                node,
                "a tensor of the model is used directly. Use a layer (nn.Conv2d, nn.Linear, "
                "nn.BatchNorm2d) instead.",
            )
        if node.op == "call_module":
            module = self.model.get_submodule(node.target)
            convert = _MODULES.get(type(module))
            arguments: Any = module
        else:
            table = _FUNCTIONS if node.op == "call_function" else _METHODS
            convert = table.get(node.target)
            arguments = node
        if convert is None:
            raise _reject(node, _advice(node, self.model))
        convert(self, node, arguments)

    # What the converters below use

    def source(self, node: fx.Node, position: int = 0) -> str:
        """Name of the layer behind an argument of a node."""
        argument = node.args[position] if position < len(node.args) else None
        argument = node.kwargs.get("input") if argument is None and position == 0 else argument
        if not isinstance(argument, fx.Node) or argument not in self._names:
            raise _reject(node, f"argument {position} ({argument!r}) is not a layer's output.")
        return self._names[argument]

    def pass_on(self, node: fx.Node) -> None:
        """Give a node's input as its output."""
        self._names[node] = self.source(node)

    def add(self, node: fx.Node, layer_type: Callable[..., Layer], **fields: Any) -> None:
        """Append a layer that reads the node's first argument."""
        self.append(node, layer_type, (self.source(node),), **fields)

    def append(
        self,
        node: fx.Node,
        layer_type: Callable[..., Layer],
        inputs: tuple[str, ...],
        **fields: Any,
    ) -> None:
        """Append a layer, named after the module or the operation."""
        base = str(node.target) if node.op == "call_module" else node.name
        name = self._unique(self._readable(base, layer_type.kind))
        self.layers.append(layer_type(name=name, inputs=inputs, **fields))
        self._names[node] = name

    def _readable(self, base: str, kind: str) -> str:
        """Turn ``features.0`` into ``features_0``, and the ``0`` of a Sequential into ``conv1``."""
        name = re.sub(r"[^0-9a-z_]", "_", base.lower())
        if name[0].isalpha():
            return name
        short = _SHORT_NAMES.get(kind, kind)
        self._kinds[short] = self._kinds.get(short, 0) + 1
        return f"{short}{self._kinds[short]}"

    def _unique(self, base: str) -> str:
        name, number = base, 1
        while name in self._used:
            number += 1
            name = f"{base}_use{number}"
        self._used.add(name)
        return name

    def _normalise(
        self,
        source: str,
        shape: tuple[int, ...],
        mean: Sequence[float] | None,
        std: Sequence[float] | None,
    ) -> str:
        if mean is None and std is None:
            return source
        channels = shape[0]
        subtract = np.zeros(channels) if mean is None else np.asarray(mean, dtype=float)
        divide = np.ones(channels) if std is None else np.asarray(std, dtype=float)
        if len(shape) != 3 or subtract.shape != (channels,) or divide.shape != (channels,):
            raise ConversionError(
                f"mean {mean} and std {std} need one number for each of the {channels} channels "
                f"of an image of shape {shape}."
            )
        if not (divide > 0).all():
            raise ConversionError(f"std {std} must be positive.")
        self._mean, self._std = subtract, divide
        name = self._unique("normalise")
        self.layers.append(
            Conv2d(
                name=name,
                inputs=(source,),
                weight=(1 / divide).astype(np.float32).reshape(-1, 1, 1, 1),
                bias=(-subtract / divide).astype(np.float32),
                groups=channels,
            )
        )
        return name

    def raw_sample(self, sample: torch.Tensor) -> np.ndarray:
        """Images that the graph takes, for a sample that the model takes."""
        images = sample.numpy()
        if self._std is None:
            return images
        axes = (slice(None), np.newaxis, np.newaxis)
        return images * self._std[axes].astype("f4") + self._mean[axes].astype("f4")


_SHORT_NAMES = {
    "conv2d": "conv",
    "linear": "fc",
    "max_pool2d": "pool",
    "avg_pool2d": "pool",
    "adaptive_avg_pool2d": "pool",
    "batch_norm": "norm",
}


def _array(tensor: torch.Tensor | None) -> np.ndarray | None:
    return None if tensor is None else tensor.detach().to(torch.float32).numpy().copy()


def _pair(value: Any) -> tuple[int, int]:
    first, second = (value, value) if isinstance(value, int) else tuple(value)
    return int(first), int(second)


def _convert_conv2d(draft: _Draft, node: fx.Node, module: nn.Conv2d) -> None:
    if module.padding_mode != "zeros":
        raise _reject(
            node, f"padding_mode={module.padding_mode!r}. Only zero padding has a spiking form."
        )
    dilation = _pair(module.dilation)
    if module.padding == "same":
        # as PyTorch does: of an odd total, the larger part goes to the lower right
        totals = [d * (k - 1) for d, k in zip(dilation, module.kernel_size, strict=True)]
        padding = tuple(side for total in totals for side in (total // 2, total - total // 2))
    elif module.padding == "valid":
        padding = (0, 0, 0, 0)
    else:
        vertical, horizontal = _pair(module.padding)
        padding = (vertical, vertical, horizontal, horizontal)
    draft.add(
        node,
        Conv2d,
        weight=_array(module.weight),
        bias=_array(module.bias),
        stride=_pair(module.stride),
        padding=padding,
        dilation=dilation,
        groups=module.groups,
    )


def _convert_linear(draft: _Draft, node: fx.Node, module: nn.Linear) -> None:
    if draft.values[node].ndim != 2:
        raise _reject(
            node,
            f"it is applied to a map of shape {tuple(draft.values[node.args[0]].shape[1:])}. "
            "Flatten its input first.",
        )
    draft.add(node, Linear, weight=_array(module.weight), bias=_array(module.bias))


def _convert_batch_norm(draft: _Draft, node: fx.Node, module: nn.BatchNorm2d) -> None:
    if module.running_mean is None or module.running_var is None:
        raise _reject(
            node, "it keeps no running statistics. Train it with track_running_stats=True."
        )
    scale = 1 / torch.sqrt(module.running_var.double() + module.eps)
    if module.weight is not None:
        scale = scale * module.weight.double()
    shift = -module.running_mean.double() * scale
    if module.bias is not None:
        shift = shift + module.bias.double()
    draft.add(node, BatchNorm, scale=scale.detach().numpy(), shift=shift.detach().numpy())


def _convert_pool(draft: _Draft, node: fx.Node, arguments: Any) -> None:
    """Max- and average-pooling, as a module or as a function."""
    options = _options(node, arguments)
    kernel = _pair(options["kernel_size"])
    stride = options.get("stride")
    fields: dict[str, Any] = {
        "kernel": kernel,
        "stride": kernel if stride is None or stride == [] else _pair(stride),
        "padding": _pair(options.get("padding", 0)),
        "ceil_mode": bool(options.get("ceil_mode", False)),
    }
    if isinstance(arguments, nn.MaxPool2d) or "max" in str(getattr(node.target, "__name__", "")):
        if options.get("return_indices"):
            raise _reject(node, "return_indices=True. Spikes carry no indices: leave it out.")
        draft.add(node, MaxPool2d, dilation=_pair(options.get("dilation", 1)), **fields)
    else:
        draft.add(
            node,
            AvgPool2d,
            count_include_pad=bool(options.get("count_include_pad", True)),
            divisor=int(options.get("divisor_override") or 0),
            **fields,
        )


_MAX_POOL_ORDER = ("padding", "dilation", "ceil_mode")
_AVG_POOL_ORDER = ("padding", "ceil_mode", "count_include_pad", "divisor_override")


def _options(node: fx.Node, arguments: Any) -> dict[str, Any]:
    """Settings of a pooling by name, from a module's attributes or a call's arguments."""
    if isinstance(arguments, nn.Module):
        return vars(arguments)
    is_max = "max" in getattr(node.target, "__name__", "")
    order = ("kernel_size", "stride", *(_MAX_POOL_ORDER if is_max else _AVG_POOL_ORDER))
    return {**dict(zip(order, node.args[1:], strict=False)), **node.kwargs}


def _convert_adaptive(draft: _Draft, node: fx.Node, arguments: Any) -> None:
    output_size = tuple(draft.values[node].shape[2:])
    if draft.values[node].ndim != 4:
        raise _reject(node, "its input is not a batch of maps.")
    draft.add(node, AdaptiveAvgPool2d, output_size=tuple(int(size) for size in output_size))


def _convert_mean(draft: _Draft, node: fx.Node, _: Any) -> None:
    """``x.mean((2, 3))``, the global average of residual networks."""
    before = draft.values[node.args[0]]
    axes = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else ())
    axes = {axis % before.ndim for axis in ((axes,) if isinstance(axes, int) else axes)}
    if before.ndim != 4 or axes != {2, 3}:
        raise _reject(node, "only the mean over both axes of a map, x.mean((2, 3)), has a form.")
    draft.add(node, AdaptiveAvgPool2d, output_size=(1, 1))
    if draft.values[node].ndim == 2:
        pooled = draft._names[node]
        draft.append(node, Flatten, (pooled,))


def _convert_relu(draft: _Draft, node: fx.Node, _: Any) -> None:
    draft.add(node, ReLU)


def _convert_reshape(draft: _Draft, node: fx.Node, _: Any) -> None:
    before, after = draft.values[node.args[0]].shape, draft.values[node].shape
    if after == before:
        draft.pass_on(node)
    elif after == (before[0], int(np.prod(before[1:]))):
        draft.add(node, Flatten)
    else:
        raise _reject(
            node,
            f"it turns one image of shape {tuple(before[1:])} into {tuple(after[1:])}. Only "
            "flattening to one row an image has a counterpart: use nn.Flatten().",
        )


def _convert_add(draft: _Draft, node: fx.Node, _: Any) -> None:
    first, second = node.args if len(node.args) == 2 else (node.args[0], node.kwargs.get("other"))
    if node.kwargs.get("alpha", 1) != 1:
        raise _reject(node, "alpha is not 1. Put the factor into the weights.")
    if not all(isinstance(arg, fx.Node) and arg in draft._names for arg in (first, second)):
        raise _reject(node, "something is added that is no layer's output. Use a layer's bias.")
    shapes = {tuple(draft.values[arg].shape) for arg in (first, second)}
    if len(shapes) != 1:
        raise _reject(node, f"shapes {shapes} are added. Give both branches one shape.")
    draft.append(node, Add, (draft._names[first], draft._names[second]))


def _convert_nothing(draft: _Draft, node: fx.Node, _: Any) -> None:
    draft.pass_on(node)


def _convert_dropout(draft: _Draft, node: fx.Node, _: Any) -> None:
    training = node.kwargs.get("training", node.args[2] if len(node.args) > 2 else True)
    if training is True:
        raise _reject(
            node,
            "this dropout stays active in evaluation. Write F.dropout(x, p, self.training) or use "
            "nn.Dropout.",
        )
    draft.pass_on(node)


_Converter = Callable[[_Draft, fx.Node, Any], None]

_MODULES: dict[type[nn.Module], _Converter] = {
    nn.Conv2d: _convert_conv2d,
    nn.Linear: _convert_linear,
    nn.BatchNorm1d: _convert_batch_norm,
    nn.BatchNorm2d: _convert_batch_norm,
    nn.ReLU: _convert_relu,
    nn.MaxPool2d: _convert_pool,
    nn.AvgPool2d: _convert_pool,
    nn.AdaptiveAvgPool2d: _convert_adaptive,
    nn.Flatten: _convert_reshape,
    nn.Dropout: _convert_nothing,
    nn.Dropout1d: _convert_nothing,
    nn.Dropout2d: _convert_nothing,
    nn.AlphaDropout: _convert_nothing,
    nn.Identity: _convert_nothing,
}

_FUNCTIONS: dict[Any, _Converter] = {
    functional.relu: _convert_relu,
    functional.relu_: _convert_relu,
    torch.relu: _convert_relu,
    torch.relu_: _convert_relu,
    functional.max_pool2d: _convert_pool,
    torch.max_pool2d: _convert_pool,
    functional.avg_pool2d: _convert_pool,
    functional.adaptive_avg_pool2d: _convert_adaptive,
    functional.dropout: _convert_dropout,
    functional.dropout2d: _convert_dropout,
    torch.flatten: _convert_reshape,
    torch.reshape: _convert_reshape,
    torch.add: _convert_add,
    torch.mean: _convert_mean,
    operator.add: _convert_add,
    operator.iadd: _convert_add,
}

_METHODS: dict[str, _Converter] = {
    "relu": _convert_relu,
    "relu_": _convert_relu,
    "flatten": _convert_reshape,
    "view": _convert_reshape,
    "reshape": _convert_reshape,
    "add": _convert_add,
    "add_": _convert_add,
    "mean": _convert_mean,
    "contiguous": _convert_nothing,
}

_ADVICE = {
    "sigmoid": "Spiking neurons here compute max(0, x): train the network with ReLU.",
    "softmax": "Return the logits: the largest of them is the largest probability too.",
    "cat": "Branches can only be joined by addition.",
    "conv2d": "Use the layer nn.Conv2d, which owns its weights.",
    "linear": "Use the layer nn.Linear, which owns its weights.",
    "batch_norm": "Use the layer nn.BatchNorm2d, which owns its statistics.",
    "adaptivemaxpool": "Use nn.MaxPool2d with the window that this size implies.",
    "conv1d": "Use nn.Conv2d with a kernel of height one.",
    "interpolate": "Use a strided nn.Conv2d or a pooling layer.",
}
for _name in ("tanh", "gelu", "silu", "elu", "leaky", "hardtanh", "hardswish", "relu6", "softplus"):
    _ADVICE[_name] = _ADVICE["sigmoid"]


def _advice(node: fx.Node, model: nn.Module) -> str:
    """What to write instead of an operation that has no counterpart."""
    if node.op == "call_module":
        name = type(model.get_submodule(node.target)).__name__
    else:
        name = getattr(node.target, "__name__", str(node.target))
    for part, advice in _ADVICE.items():
        if part in name.lower():
            return advice
    known = sorted({module.__name__ for module in _MODULES})
    return f"Use one of {', '.join(known)}, or their functional forms."


def _compare(graph: Graph, images: np.ndarray, expected: torch.Tensor) -> None:
    """Check the graph against the model on a sample: a conversion is exact or it is an error."""
    found = graph.forward(images)
    reference = expected.numpy()
    tolerance = 1e-4 * max(1.0, float(np.abs(reference).max()))
    difference = float(np.abs(found - reference).max())
    if not difference <= tolerance:
        raise ConversionError(
            f"The converted network differs from the model by {difference:.3g} on a random image, "
            "more than rounding can explain. Please report this model as a bug of bsnn."
        )
