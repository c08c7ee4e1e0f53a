"""Tracing a PyTorch module with `torch.fx`, and saying where in its source an operation stands."""

from __future__ import annotations

import dataclasses
import operator
import os
import re
import traceback
from collections.abc import Container
from typing import Any

import torch
from torch import fx, nn

from bsnn.errors import ConversionError

__all__ = ["Execution", "describe", "origin", "reject", "run", "trace"]


class _Proxy(fx.Proxy):
    """Keeps ``x += y`` apart from ``x = x + y``: it changes the tensor that others may hold too."""


def _in_place(name: str) -> None:
    function = getattr(operator, f"i{name}")

    def method(self: _Proxy, other: Any) -> fx.Proxy:
        # named as torch.fx names it, which knows no difference
        return self.tracer.create_proxy("call_function", function, (self, other), {}, name=name)

    setattr(_Proxy, f"__i{name}__", method)


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul"):
    _in_place(_name)


class _Tracer(fx.Tracer):
    """Records where in the model's source each operation stands."""

    def __init__(self, leaves: Container[type[nn.Module]]) -> None:
        super().__init__()
        self.record_stack_traces = True
        self._leaves = leaves

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Proxy(node, self)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return type(m) in self._leaves or super().is_leaf_module(m, module_qualified_name)


def trace(model: nn.Module, leaves: Container[type[nn.Module]]) -> fx.GraphModule:
    """Trace a module; those of the types in `leaves` are not looked into.

    Raises
    ------
    ConversionError
        The forward pass depends on the values of tensors.
    """
    try:
        return fx.GraphModule(model, _Tracer(leaves).trace(model))
    except Exception as error:
        frames = [
            frame
            for frame in traceback.extract_tb(error.__traceback__)
            if _is_of_user(frame.filename)
        ]
        where = f"{frames[-1].filename}, line {frames[-1].lineno}: " if frames else ""
        raise ConversionError(
            f"{where}the model cannot be traced ({error}). Its forward pass must not depend on the "
            "values of tensors: replace such an `if` or loop by plain layers."
        ) from error


@dataclasses.dataclass(frozen=True)
class Execution:
    """What a traced module did with a sample.

    Attributes
    ----------
    values : dict of torch.fx.Node to any
        The value of every node, in the order of execution.
    written : dict of torch.fx.Node to list of torch.fx.Node
        By node that has changed tensors in place, the nodes among its arguments that gave them.
    """

    values: dict[fx.Node, Any]
    written: dict[fx.Node, list[fx.Node]]

    def aliases(self, node: fx.Node) -> list[fx.Node]:
        """Return the nodes before this one whose tensors lie in the memory of its tensor."""
        memory = _memory(self.values[node])
        found = []
        for other, value in self.values.items():
            if other is node:
                break
            if isinstance(value, torch.Tensor) and _memory(value) == memory:
                found.append(other)
        return found

    def same_elements(self, one: fx.Node, other: fx.Node) -> bool:
        """Say whether aliases have the same elements in the same shape."""
        return _layout(self.values[one]) == _layout(self.values[other])

    def target(self, node: fx.Node) -> fx.Node | None:
        """Return the node whose tensor a node has changed in place and then returned.

        None if there is no such node, or if something else was changed too.
        """
        written = self.written[node]
        if not set(written) <= set(self.aliases(node)):
            return None
        return next((target for target in written if self.same_elements(target, node)), None)

    def viewed(self, node: fx.Node) -> fx.Node | None:
        """Return the node whose tensor, or a view of it, a node has returned."""
        if node in self.written:
            return self.target(node)
        aliases = self.aliases(node)
        return next((source for source in node.all_input_nodes if source in aliases), None)

    def is_view(self, node: fx.Node | None, base: fx.Node) -> bool:
        """Say whether a node has the elements of another, as a view or as they are."""
        while node is not None and not self.same_elements(node, base):
            node = self.viewed(node)
        return node is not None

    def is_read_after(self, node: fx.Node, moment: fx.Node) -> bool:
        """Say whether a tensor's elements, not only its size, are read after another node."""
        place = {n: number for number, n in enumerate(self.values)}
        return any(
            place[user] > place[moment]
            and (user.op == "output" or isinstance(self.values[user], torch.Tensor))
            for user in node.users
        )


def _memory(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _layout(tensor: torch.Tensor) -> tuple[Any, ...]:
    strides = zip(tensor.shape, tensor.stride(), strict=True)
    return (
        tensor.storage_offset(),
        tuple(tensor.shape),
        tuple(stride for size, stride in strides if size > 1),
    )


class _Runner(fx.Interpreter):
    """Keeps the value of every node; says where it failed."""

    def __init__(self, traced: fx.GraphModule, shape: tuple[int, ...]) -> None:
        super().__init__(traced, garbage_collect_values=False)
        self.extra_traceback = False
        self.execution = Execution({}, {})
        self._shape = shape

    def run_node(self, n: fx.Node) -> Any:
        node = n
        values = self.execution.values
        tensors = [each for each in node.all_input_nodes if isinstance(values[each], torch.Tensor)]
        # torch counts the changes of a tensor, for all views of it together
        before = {each: (values[each]._version, _layout(values[each])) for each in tensors}
        try:
            value = super().run_node(node)
        except Exception as error:
            reason = str(error).splitlines()[0]
            raise ConversionError(
                f"{origin(node)}the model cannot process an image of shape {self._shape}: "
                f"{describe(node)} fails ({reason}). Is input_shape right? It is "
                "(channels, height, width), without the batch axis."
            ) from error
        values[node] = value
        for each, (_, layout) in before.items():
            if _layout(values[each]) != layout:
                raise reject(
                    node,
                    "it changes the shape of a tensor in place. Give its result a name of its own.",
                )
        written = [
            each for each, (version, _) in before.items() if values[each]._version != version
        ]
        if written:
            self.execution.written[node] = written
        return value


def run(traced: fx.GraphModule, sample: torch.Tensor, shape: tuple[int, ...]) -> Execution:
    """Run a sample through a traced module and return what it did.

    Parameters
    ----------
    traced : torch.fx.GraphModule
        From `trace`.
    sample : torch.Tensor
        A batch of images; the module may change it in place.
    shape : tuple of int
        Shape of one of them, as the user gave it, for errors.

    Raises
    ------
    ConversionError
        The module takes several inputs, or the sample does not fit.
    """
    placeholders = [node for node in traced.graph.nodes if node.op == "placeholder"]
    needed = [node for node in placeholders if not node.args]
    if len(needed) != 1:
        raise ConversionError(
            f"The model's forward pass takes {len(needed)} inputs; one, the images, is needed."
        )
    runner = _Runner(traced, shape)
    with torch.no_grad():
        runner.run(sample)
    return runner.execution


def _is_of_user(file_name: str) -> bool:
    return file_name != __file__ and not file_name.startswith(os.path.dirname(torch.__file__))


def origin(node: fx.Node) -> str:
    """Return ``"file, line n: "`` of the operation in the model, or nothing if unknown."""
    places = re.findall(r'File "([^"]+)", line (\d+)', node.stack_trace or "")
    own = [place for place in places if _is_of_user(place[0])]
    return f"{own[-1][0]}, line {own[-1][1]}: " if own else ""


def describe(node: fx.Node) -> str:
    """Return an operation's name, as its user would call it."""
    if node.op == "call_module":
        owner: Any = node.graph.owning_module
        module = owner.get_submodule(node.target)
        return f"layer {node.target!r} ({type(module).__name__})"
    if node.op == "call_method":
        return f"the method .{node.target}()"
    name = getattr(node.target, "__name__", str(node.target))
    return f"the operation {name}" if callable(node.target) else f"{node.op} {node.target}"


def reject(node: fx.Node, reason: str) -> ConversionError:
    """Return the error for an operation that cannot be converted, and why."""
    return ConversionError(f"{origin(node)}{describe(node)} cannot be converted: {reason}")
