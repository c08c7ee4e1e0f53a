"""Tracing a PyTorch module with `torch.fx`, and saying where in its source an operation stands."""

from __future__ import annotations

import os
import re
import traceback
from collections.abc import Container
from typing import Any

import torch
from torch import fx, nn

from bsnn.errors import ConversionError

__all__ = ["describe", "origin", "reject", "run", "trace"]


class _Tracer(fx.Tracer):
    """Records where in the model's source each operation stands."""

    def __init__(self, leaves: Container[type[nn.Module]]) -> None:
        super().__init__()
        self.record_stack_traces = True
        self._leaves = leaves

    def is_leaf_module(self, module: nn.Module, qualified_name: str) -> bool:
        return type(module) in self._leaves or super().is_leaf_module(module, qualified_name)


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
                f"{origin(node)}the model cannot process an image of shape {self._shape}: "
                f"{describe(node)} fails ({reason}). Is input_shape right? It is "
                "(channels, height, width), without the batch axis."
            ) from error
        self.values[node] = value
        return value


def run(traced: fx.GraphModule, sample: torch.Tensor, shape: tuple[int, ...]) -> dict[fx.Node, Any]:
    """Run a sample through a traced module and return the value of every node.

    Parameters
    ----------
    traced : torch.fx.GraphModule
        From `trace`.
    sample : torch.Tensor
        A batch of images.
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
    return runner.values


def _is_torch_file(file_name: str) -> bool:
    return file_name.startswith(os.path.dirname(torch.__file__))


def origin(node: fx.Node) -> str:
    """Return ``"file, line n: "`` of the operation in the model, or nothing if unknown."""
    places = re.findall(r'File "([^"]+)", line (\d+)', node.stack_trace or "")
    own = [place for place in places if not _is_torch_file(place[0])]
    return f"{own[-1][0]}, line {own[-1][1]}: " if own else ""


def describe(node: fx.Node) -> str:
    """Return an operation's name, as its user would call it."""
    if node.op == "call_module":
        module = node.graph.owning_module.get_submodule(node.target)
        return f"layer {node.target!r} ({type(module).__name__})"
    if node.op == "call_method":
        return f"the method .{node.target}()"
    name = getattr(node.target, "__name__", str(node.target))
    return f"the operation {name}" if callable(node.target) else f"{node.op} {node.target}"


def reject(node: fx.Node, reason: str) -> ConversionError:
    """Return the error for an operation that cannot be converted, and why."""
    return ConversionError(f"{origin(node)}{describe(node)} cannot be converted: {reason}")
