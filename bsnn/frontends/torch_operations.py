"""What becomes of each operation of a traced PyTorch module.

A kind of module, function or method is one entry in `MODULES`, `FUNCTIONS` or `METHODS`: a function
that appends the layers that mean the same.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import fx, nn
from torch.fx.node import map_arg
from torch.nn import functional

from bsnn.errors import ConversionError, GraphError, InputError
from bsnn.frontends.batch_norm import BatchNorm
from bsnn.frontends.torch_trace import Execution, reject
from bsnn.graph import (
    AdaptiveAvgPool2d,
    Add,
    AvgPool2d,
    Conv2d,
    Flatten,
    Input,
    Layer,
    Linear,
    MaxPool2d,
    Normalise,
    PadChannels,
    ReLU,
    as_numbers,
)

__all__ = ["FUNCTIONS", "METHODS", "MODULES", "Draft"]


class Draft:
    """The layers as they are found, with BatchNorm still among them."""

    def __init__(
        self,
        model: nn.Module,
        execution: Execution,
        shape: tuple[int, ...],
        mean: ArrayLike | None,
        std: ArrayLike | None,
    ) -> None:
        self.layers: list[Layer] = []
        self.model = model
        self.values = execution.values
        self._execution = execution
        self._superseded: set[str] = set()
        self._names: dict[fx.Node, str] = {}
        self._used: set[str] = set()
        self._kinds: dict[str, int] = {}
        self._normalisation: Normalise | None = None
        for node in execution.values:
            self._visit(node, shape, mean, std)
        self._remove_superseded()

    def _visit(
        self,
        node: fx.Node,
        shape: tuple[int, ...],
        mean: ArrayLike | None,
        std: ArrayLike | None,
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
            self.output = self._names[result]
        elif isinstance(self.values[node], torch.Tensor):
            self._visit_tensor(node)
        elif node.op != "get_attr" and not self._is_shape_arithmetic(node):
            raise reject(node, "its result is not a tensor. Return a single tensor.")

    def _is_shape_arithmetic(self, node: fx.Node) -> bool:
        """Say whether a node only handles sizes, which are fixed by `input_shape`."""
        value = self.values[node]
        sizes = value if isinstance(value, (tuple, list)) else (value,)
        return all(isinstance(size, int) for size in sizes)

    def _visit_tensor(self, node: fx.Node) -> None:
        if node.op == "get_attr":
            raise reject(
                node,
                "a tensor of the model is used directly. Use a layer (nn.Conv2d, nn.Linear, "
                "nn.BatchNorm2d) instead.",
            )
        if node.op == "call_module":
            module = self.model.get_submodule(str(node.target))
            convert = MODULES.get(type(module))
            arguments: Any = module
        else:
            table: dict[Any, _Converter] = FUNCTIONS if node.op == "call_function" else METHODS
            convert = table.get(node.target)
            arguments = node
        if convert is None:
            raise reject(node, _advice(node, self.model))
        if node in self._execution.written:
            self._write(node, convert, arguments)
        else:
            convert(self, node, arguments)

    # Operations in place

    def _write(self, node: fx.Node, convert: _Converter, arguments: Any) -> None:
        """Convert an operation in place, and give its result to all who read the tensor later.

        Layers that have read the tensor before keep what they have read. What has the same elements
        in the same shape has the new value at once; views that are read later are taken anew.
        """
        run = self._execution
        target = run.target(node)
        if target not in self._names:
            raise reject(
                node,
                "it changes a tensor in place that is not its result. If a hook does so, remove "
                "it; otherwise write it so that it makes a new tensor.",
            )
        aliases = [other for other in run.aliases(node) if other in self._names]
        self._superseded.update(self._names[other] for other in aliases)
        needed = {other for other in aliases if run.is_read_after(other, node)}
        if all(run.is_view(other, target) for other in needed):
            changed = target
            convert(self, node, arguments)
        else:
            # a view was written, and what it is a view of is read: for an operation on each element
            # by itself, the whole may change first, and the view be taken then
            changed = aliases[0]
            if convert is not _convert_relu or not self._is_all_of(target, changed):
                raise reject(
                    node,
                    "it changes in place a part of a tensor, or a tensor in another shape, that is "
                    "read again later. Write it so that it makes a new tensor, such as "
                    "x = F.relu(x) or x = x + y.",
                )
            self.append(node, ReLU, (self._names[changed],))
            if run.is_read_after(node, node):
                needed.add(target)
        value = self._names[node]
        for other in reversed(aliases):
            if other in needed and not run.same_elements(other, changed):
                viewed = run.viewed(other)
                assert viewed is not None
                needed.add(viewed)
        for other in aliases:
            if run.same_elements(other, changed):
                self._names[other] = value
            elif other in needed:
                if other in run.written:
                    written = run.target(other)
                    assert written is not None
                    self._names[other] = self._names[written]
                else:
                    self._visit_tensor(other)
        self._names[node] = self._names[target]

    def _is_all_of(self, view: fx.Node, whole: fx.Node) -> bool:
        return self.values[view].numel() == self.values[whole].numel()

    def _remove_superseded(self) -> None:
        """Remove what has made values that were changed in place before anybody has read them."""
        read = {self.output}
        for layer in reversed(self.layers):
            if layer.name in self._superseded and layer.name not in read:
                self.layers.remove(layer)
            else:
                read.update(layer.inputs)

    # What the converters below use

    def value(self, node: fx.Node, position: int) -> Any:
        """Value of an argument of a node that is a node itself."""
        argument: Any = node.args[position]
        return self.values[argument]

    def source(self, node: fx.Node, position: int = 0) -> str:
        """Name of the layer behind an argument of a node."""
        argument = node.args[position] if position < len(node.args) else None
        argument = node.kwargs.get("input") if argument is None and position == 0 else argument
        if not isinstance(argument, fx.Node) or argument not in self._names:
            raise reject(node, f"argument {position} ({argument!r}) is not a layer's output.")
        return self._names[argument]

    def pass_on(self, node: fx.Node) -> None:
        """Give a node's input as its output."""
        self._names[node] = self.source(node)

    def add(self, node: fx.Node, layer_type: type[Layer], **fields: Any) -> None:
        """Append a layer that reads the node's first argument."""
        self.append(node, layer_type, (self.source(node),), **fields)

    def append(
        self,
        node: fx.Node,
        layer_type: type[Layer],
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
        self, source: str, shape: tuple[int, ...], mean: ArrayLike | None, std: ArrayLike | None
    ) -> str:
        if mean is None and std is None:
            return source
        layer = Normalise(
            name=self._unique("normalise"),
            inputs=(source,),
            mean=_per_value("mean", np.zeros(shape[0]) if mean is None else mean, shape),
            std=_per_value("std", np.ones(shape[0]) if std is None else std, shape),
        )
        try:
            layer.output_shape(shape)
        except GraphError as error:
            raise ConversionError(f"mean and std do not fit: {error}.") from error
        self.layers.append(layer)
        self._normalisation = layer
        return layer.name

    def raw_images(self, images: np.ndarray) -> np.ndarray:
        """Images that the graph takes, in float64, for images that the model takes."""
        if self._normalisation is None:
            return images
        mean, std = (array.astype(np.float64) for array in self._normalisation.arrays.values())
        return images * std + mean


_SHORT_NAMES = {
    "conv2d": "conv",
    "linear": "fc",
    "max_pool2d": "pool",
    "avg_pool2d": "pool",
    "adaptive_avg_pool2d": "pool",
    "batch_norm": "norm",
}


def _per_value(name: str, values: ArrayLike, shape: tuple[int, ...]) -> np.ndarray:
    """Return a mean or a deviation with the axes of an image."""
    try:
        array = as_numbers(values, f"values of {name}").astype(np.float32)
    except InputError as error:
        raise ConversionError(f"The network cannot be converted: {error}") from error
    per_channel = (shape[0], *(1,) * (len(shape) - 1))
    if array.shape == shape[:1]:
        array = array.reshape(per_channel)
    if array.shape not in (shape, per_channel):
        raise ConversionError(
            f"{name} has the shape {array.shape}. One number is needed for each of the {shape[0]} "
            f"channels of an image of shape {shape}, or one for each of its pixels."
        )
    return array


def _array(tensor: torch.Tensor | None) -> np.ndarray | None:
    return None if tensor is None else tensor.detach().to(torch.float32).numpy().copy()


def _pair(value: Any) -> tuple[int, int]:
    first, second = (value, value) if isinstance(value, int) else tuple(value)
    return int(first), int(second)


def _convert_conv2d(draft: Draft, node: fx.Node, module: nn.Conv2d) -> None:
    if module.padding_mode != "zeros":
        raise reject(
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


def _convert_linear(draft: Draft, node: fx.Node, module: nn.Linear) -> None:
    if draft.values[node].ndim != 2:
        raise reject(
            node,
            f"it is applied to a map of shape {tuple(draft.value(node, 0).shape[1:])}. "
            "Flatten its input first.",
        )
    draft.add(node, Linear, weight=_array(module.weight), bias=_array(module.bias))


def _convert_batch_norm(draft: Draft, node: fx.Node, module: nn.BatchNorm2d) -> None:
    if module.running_mean is None or module.running_var is None:
        raise reject(
            node, "it keeps no running statistics. Train it with track_running_stats=True."
        )
    scale = 1 / torch.sqrt(module.running_var.double() + module.eps)
    if module.weight is not None:
        scale = scale * module.weight.double()
    shift = -module.running_mean.double() * scale
    if module.bias is not None:
        shift = shift + module.bias.double()
    draft.add(node, BatchNorm, scale=scale.detach().numpy(), shift=shift.detach().numpy())


def _convert_max_pool(draft: Draft, node: fx.Node, arguments: Any) -> None:
    options = _pool_options(node, arguments, ("padding", "dilation", "ceil_mode"))
    if options.get("return_indices"):
        raise reject(node, "return_indices=True. Spikes carry no indices: leave it out.")
    dilation = _pair(options.get("dilation", 1))
    draft.add(node, MaxPool2d, dilation=dilation, **_window_fields(options))


def _convert_avg_pool(draft: Draft, node: fx.Node, arguments: Any) -> None:
    order = ("padding", "ceil_mode", "count_include_pad", "divisor_override")
    options = _pool_options(node, arguments, order)
    draft.add(
        node,
        AvgPool2d,
        count_include_pad=bool(options.get("count_include_pad", True)),
        divisor=int(options.get("divisor_override") or 0),
        **_window_fields(options),
    )


def _pool_options(node: fx.Node, arguments: Any, order: tuple[str, ...]) -> dict[str, Any]:
    """Settings of a pooling by name, from a module's attributes or a call's arguments.

    `order` names a function's arguments after the kernel and the stride.
    """
    if isinstance(arguments, nn.Module):
        return vars(arguments)
    names = ("kernel_size", "stride", *order)
    return {**dict(zip(names, node.args[1:], strict=False)), **node.kwargs}


def _window_fields(options: dict[str, Any]) -> dict[str, Any]:
    kernel = _pair(options["kernel_size"])
    stride = options.get("stride")
    return {
        "kernel": kernel,
        "stride": kernel if stride is None or stride == [] else _pair(stride),
        "padding": _pair(options.get("padding", 0)),
        "ceil_mode": bool(options.get("ceil_mode", False)),
    }


def _convert_adaptive(draft: Draft, node: fx.Node, arguments: Any) -> None:
    output_size = tuple(draft.values[node].shape[2:])
    if draft.values[node].ndim != 4:
        raise reject(node, "its input is not a batch of maps.")
    draft.add(node, AdaptiveAvgPool2d, output_size=tuple(int(size) for size in output_size))


def _convert_mean(draft: Draft, node: fx.Node, _: Any) -> None:
    """``x.mean((2, 3))``, the global average of residual networks."""
    before = draft.value(node, 0)
    axes: Any = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else ())
    axes = {axis % before.ndim for axis in ((axes,) if isinstance(axes, int) else axes)}
    if before.ndim != 4 or axes != {2, 3}:
        raise reject(node, "only the mean over both axes of a map, x.mean((2, 3)), has a form.")
    draft.add(node, AdaptiveAvgPool2d, output_size=(1, 1))
    if draft.values[node].ndim == 2:
        pooled = draft._names[node]
        draft.append(node, Flatten, (pooled,))


def _convert_relu(draft: Draft, node: fx.Node, _: Any) -> None:
    draft.add(node, ReLU)


def _convert_reshape(draft: Draft, node: fx.Node, _: Any) -> None:
    before, after = draft.value(node, 0).shape, draft.values[node].shape
    if after == before:
        draft.pass_on(node)
    elif after == (before[0], int(np.prod(before[1:]))):
        draft.add(node, Flatten)
    else:
        raise reject(
            node,
            f"it turns one image of shape {tuple(before[1:])} into {tuple(after[1:])}. Only "
            "flattening to one row an image has a counterpart: use nn.Flatten().",
        )


def _convert_pad(draft: Draft, node: fx.Node, _: Any) -> None:
    """``F.pad(x, (0, 0, 0, 0, before, after))``, as residual networks widen their shortcuts."""
    named = dict(zip(("input", "pad", "mode", "value"), node.args, strict=False)) | node.kwargs
    given: Any = map_arg(named, lambda size: draft.values[size])
    sides = [int(size) for size in given["pad"]]
    if given.get("mode", "constant") != "constant" or (given.get("value") or 0) != 0:
        raise reject(node, "it does not pad with zeros. Only zero padding has a spiking form.")
    if not any(sides):
        draft.pass_on(node)
        return
    # in the order of the arguments: left, right, top, bottom, first channels, last channels
    if any(sides[:4]) or draft.values[node].ndim != 4:
        raise reject(
            node,
            f"it pads by {tuple(sides)}. Only channels can be padded, by (0, 0, 0, 0, before, "
            "after): rows and columns are padded by the `padding` of the nn.Conv2d after them.",
        )
    before, after, *others = sides[4:]
    if min(before, after) < 0 or any(others):
        raise reject(node, f"it pads by {tuple(sides)}. Channels can only be added.")
    draft.add(node, PadChannels, before=before, after=after)


def _convert_index(draft: Draft, node: fx.Node, _: Any) -> None:
    """``x[:, :, ::2, ::2]``, as residual networks halve their shortcuts."""
    index = map_arg(node.args[1], lambda size: draft.values[size])
    steps = [_step(part) for part in index] if isinstance(index, tuple) else []
    if len(steps) != 4 or None in steps or steps[:2] != [1, 1]:
        raise reject(
            node,
            "a part of a tensor is taken. Only every n-th row and column, x[:, :, ::n, ::n], has a "
            "counterpart.",
        )
    draft.add(node, AvgPool2d, kernel=(1, 1), stride=(steps[2], steps[3]))


def _step(index: Any) -> int | None:
    """Step of a slice that goes from one end of an axis to the other; None for anything else."""
    if not isinstance(index, slice) or index.start not in (None, 0) or index.stop is not None:
        return None
    return 1 if index.step is None else index.step


def _convert_add(draft: Draft, node: fx.Node, _: Any) -> None:
    terms: Any = node.args if len(node.args) == 2 else (node.args[0], node.kwargs.get("other"))
    first, second = terms
    if node.kwargs.get("alpha", 1) != 1:
        raise reject(node, "alpha is not 1. Put the factor into the weights.")
    if not all(isinstance(arg, fx.Node) and arg in draft._names for arg in (first, second)):
        raise reject(node, "something is added that is no layer's output. Use a layer's bias.")
    shapes = {tuple(draft.values[arg].shape) for arg in (first, second)}
    if len(shapes) != 1:
        raise reject(node, f"shapes {shapes} are added. Give both branches one shape.")
    draft.append(node, Add, (draft._names[first], draft._names[second]))


def _convert_nothing(draft: Draft, node: fx.Node, _: Any) -> None:
    draft.pass_on(node)


def _convert_dropout(draft: Draft, node: fx.Node, _: Any) -> None:
    training = node.kwargs.get("training", node.args[2] if len(node.args) > 2 else True)
    if training:
        raise reject(
            node,
            "this dropout stays active in evaluation. Write F.dropout(x, p, self.training) or use "
            "nn.Dropout.",
        )
    draft.pass_on(node)


_Converter = Callable[[Draft, fx.Node, Any], None]

MODULES: dict[type[nn.Module], _Converter] = {
    nn.Conv2d: _convert_conv2d,
    nn.Linear: _convert_linear,
    nn.BatchNorm1d: _convert_batch_norm,
    nn.BatchNorm2d: _convert_batch_norm,
    nn.ReLU: _convert_relu,
    nn.MaxPool2d: _convert_max_pool,
    nn.AvgPool2d: _convert_avg_pool,
    nn.AdaptiveAvgPool2d: _convert_adaptive,
    nn.Flatten: _convert_reshape,
    nn.Dropout: _convert_nothing,
    nn.Dropout1d: _convert_nothing,
    nn.Dropout2d: _convert_nothing,
    nn.AlphaDropout: _convert_nothing,
    nn.Identity: _convert_nothing,
}

FUNCTIONS: dict[Any, _Converter] = {
    functional.relu: _convert_relu,
    functional.relu_: _convert_relu,
    torch.relu: _convert_relu,
    torch.relu_: _convert_relu,
    functional.max_pool2d: _convert_max_pool,
    torch.max_pool2d: _convert_max_pool,
    functional.avg_pool2d: _convert_avg_pool,
    functional.adaptive_avg_pool2d: _convert_adaptive,
    functional.dropout: _convert_dropout,
    functional.dropout2d: _convert_dropout,
    functional.pad: _convert_pad,
    torch.flatten: _convert_reshape,
    torch.reshape: _convert_reshape,
    torch.add: _convert_add,
    torch.mean: _convert_mean,
    operator.add: _convert_add,
    operator.iadd: _convert_add,
    operator.getitem: _convert_index,
}

METHODS: dict[str, _Converter] = {
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
    "pad": "Use the `padding` of the nn.Conv2d after it.",
    "interpolate": "Use a strided nn.Conv2d or a pooling layer.",
}
for _name in ("tanh", "gelu", "silu", "elu", "leaky", "hardtanh", "hardswish", "relu6", "softplus"):
    _ADVICE[_name] = _ADVICE["sigmoid"]


def _advice(node: fx.Node, model: nn.Module) -> str:
    """What to write instead of an operation that has no counterpart."""
    if node.op == "call_module":
        name = type(model.get_submodule(str(node.target))).__name__
    else:
        name = getattr(node.target, "__name__", str(node.target))
    for part, advice in _ADVICE.items():
        if part in name.lower():
            return advice
    known = sorted({module.__name__ for module in MODULES})
    return f"Use one of {', '.join(known)}, or their functional forms."
