"""Running a PyTorch module on a sample, operation by operation, while a draft is made of it.

The forward pass runs as it is: its sizes are numbers, its flags have their values, its hooks and
what computes its weights take part. What its operations do to the images is kept in a shadow of
each tensor's memory, whose elements are references (see `bsnn.frontends.draft`): views share it as
they share the memory itself, so that a change in place is seen through all of them.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from bsnn.errors import ConversionError, first_line
from bsnn.frontends.draft import LOWEST, SAMPLES, ZERO, Draft, LayoutError, Place
from bsnn.frontends.torch_advice import advice

__all__ = ["NOTHING", "Converter", "Operation", "trace"]

#: What a converter returns whose result does not depend on the values of the images.
NOTHING: Any = object()

_VALUES = (
    "the forward pass depends on the values of tensors here. Replace such an `if`, loop or number "
    "by plain layers; sizes, flags and attributes may be asked for."
)

#: Operations that turn a tensor's values into something that Python sees.
_VALUES_READ = ("_local_scalar_dense", "equal", "is_nonzero", "nonzero", "item")

_THERE = os.path.dirname(torch.__file__) + os.sep
_HERE = os.path.dirname(os.path.abspath(__file__)) + os.sep


class Operation:
    """One operation as it is run.

    Attributes
    ----------
    draft : Draft
        What is made of the network.
    arguments : dict of str to any
        By name, as PyTorch's schema of the operation calls them, with defaults.
    """

    def __init__(self, trace: Trace, func: Any, args: tuple[Any, ...], kwargs: dict) -> None:
        self._trace = trace
        self.draft = trace.draft
        schema = func._schema.arguments
        self.arguments = {a.name: a.default_value for a in schema if a.has_default_value()}
        self.arguments.update(zip((a.name for a in schema), args, strict=False))
        self.arguments.update(kwargs)

    def __getitem__(self, name: str) -> Any:
        return self.arguments.get(name)

    def follows(self, value: Any) -> bool:
        """Say whether a tensor depends on the images."""
        return isinstance(value, torch.Tensor) and self._trace.is_known(value)

    def references(self, name: str) -> np.ndarray:
        """Return the references of an argument that depends on the images."""
        value = self.arguments[name]
        if not self.follows(value):
            raise self.draft.place.error(f"its argument {name!r} does not depend on the images.")
        found = self._trace.references(value)
        self.draft.check(found)
        return found

    def array(self, name: str) -> np.ndarray | None:
        """Return the values of an argument that does not depend on the images; float64."""
        value = self.arguments.get(name)
        if value is None:
            return None
        if self.follows(value):
            raise self.draft.place.error(f"its argument {name!r} depends on the images.")
        return torch.as_tensor(value).detach().to(torch.float64).numpy().copy()

    def constant(self, name: str) -> np.ndarray:
        """Return the values of an argument that must be there (see `array`)."""
        found = self.array(name)
        if found is None:
            raise self.draft.place.error(f"its argument {name!r} is missing.")
        return found


#: What converts an operation: returns the references of its first result.
Converter = Callable[[Operation], np.ndarray]


class Trace(TorchDispatchMode):
    """Keeps references beside the tensors of a forward pass.

    Parameters
    ----------
    draft : Draft
        What is made of the network.
    converters : mapping of str to callable
        By name of an operation, what converts it.
    moves : set of str
        Operations that only move elements.
    """

    def __init__(
        self, draft: Draft, converters: Mapping[str, Converter], moves: frozenset[str]
    ) -> None:
        super().__init__()
        self.draft = draft
        self._converters = converters
        self._moves = moves
        self._paths: list[tuple[str, nn.Module]] = []
        self._function: tuple[str, str] | None = None
        #: where an operation on the images is run that has not ended
        self.running: Place | None = None
        # by memory of the tensors, which must not be used anew: they are kept
        self._shadows: dict[int, torch.Tensor] = {}
        self._kept: list[torch.Tensor] = []

    # Shadows

    def is_known(self, tensor: torch.Tensor) -> bool:
        """Say whether a tensor lies in memory of which references are kept."""
        return tensor.untyped_storage()._cdata in self._shadows

    def references(self, tensor: torch.Tensor) -> np.ndarray:
        """Return the references of a tensor, in its shape."""
        return self._shadow(tensor).numpy().copy()

    def _shadow(self, tensor: torch.Tensor) -> torch.Tensor:
        shadow = self._shadows[tensor.untyped_storage()._cdata]
        return shadow.as_strided(tensor.size(), tensor.stride(), tensor.storage_offset())

    def follow(self, tensor: torch.Tensor, references: np.ndarray) -> None:
        """Keep the references of what has just been written to a tensor."""
        key = tensor.untyped_storage()._cdata
        if key not in self._shadows:
            self._shadows[key] = torch.zeros(_memory(tensor), dtype=torch.int64)
            self._kept.append(tensor)
        self._shadow(tensor).copy_(torch.from_numpy(np.array(references)))

    def _adopt(self, func: Any, operation: Operation) -> None:
        """Follow tensors of which a part is about to be written; the rest must be zero."""
        for argument in func._schema.arguments:
            tensor = operation[argument.name]
            written = argument.alias_info is not None and argument.alias_info.is_write
            if not written or not isinstance(tensor, torch.Tensor) or self.is_known(tensor):
                continue
            size = _memory(tensor)
            whole = torch.as_strided(tensor, (size,), (1,), 0)
            references = np.zeros(size, np.int64)
            if tensor.numel() < size and bool(whole.any()):
                references = self.draft.failure(
                    "it writes into a tensor that has other values than zeros.", (size,)
                )
            self.follow(whole, references)

    def _moved(self, value: Any) -> Any:
        """Return the shadow of an argument of an operation that only moves elements."""
        if not isinstance(value, torch.Tensor):
            return value
        if self.is_known(value):
            if not value.is_floating_point():
                self.draft.check(self.references(value))
                raise self.draft.place.error("its indices depend on the images.")
            return self._shadow(value)
        if value.is_floating_point():
            if value.numel() and bool(value.any()):
                raise self.draft.place.error(
                    "it puts constants that are not zero among the network's values."
                )
            return torch.full(value.shape, ZERO)
        return value

    # What is run

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        name = func._schema.name.split("::")[-1]
        if name in ("_to_copy", "to") and (kwargs.get("dtype") or torch.int8).is_floating_point:
            # all is computed in float64
            kwargs["dtype"] = torch.float64
        leaves = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        if not any(map(self.is_known, leaves)):
            self._refuse_dropout(name)
            return func(*args, **kwargs)
        self.draft.place = self.running = self._place(name)
        if name in _VALUES_READ:
            raise self.draft.place.error(_VALUES)
        if name in ("resize_", "unsqueeze_", "squeeze_", "t_", "transpose_"):
            raise self.draft.place.error(
                "it changes the shape of a tensor in place. Give its result a name of its own."
            )
        operation = Operation(self, func, args, kwargs)
        if func._schema.is_mutable:
            # before its arguments change
            found = self._converted(name, func, operation, args, kwargs)
            self._adopt(func, operation)
            result = func(*args, **kwargs)
        else:
            result = func(*args, **kwargs)
            found = self._converted(name, func, operation, args, kwargs)
        self.running = None
        if found is not NOTHING:
            self._keep(name, result, found)
        return result

    def _converted(
        self, name: str, func: Any, operation: Operation, args: Any, kwargs: dict[str, Any]
    ) -> Any:
        """Return the references of results: an array for the first, or shadows of all of them.

        An error is kept, in case that nobody reads the result.
        """
        name = name.rstrip("_")
        dtype = kwargs.get("dtype")
        try:
            if name == "copy":
                return self._copied(operation)
            if name in self._moves and (dtype is None or dtype.is_floating_point):
                if name == "constant_pad_nd" and operation["value"]:
                    if operation["value"] != -math.inf:
                        raise self.draft.place.error(advice("pad"))
                    args = (*args[:2], LOWEST)
                kwargs = {n: v for n, v in kwargs.items() if n != "dtype"}
                return func(*tree_map(self._moved, args), **tree_map(self._moved, kwargs))
            if name in self._converters:
                return self._converters[name](operation)
            for leaf in tree_leaves((args, kwargs)):
                if operation.follows(leaf):
                    self.draft.check(self.references(leaf))
            function = self._function[0] if self._function is not None else ""
            return self.draft.place.error(advice(f"{name} {function}"))
        except ConversionError as error:
            return error

    def _keep(self, name: str, result: Any, found: Any) -> None:
        """Keep the references of an operation's results."""
        results = [leaf for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]
        if isinstance(found, (torch.Tensor, list, tuple)):
            for tensor, shadow in zip(results, tree_leaves(found), strict=True):
                if not self.is_known(tensor):
                    self.follow(tensor, shadow.numpy())
                if tensor.ndim == 2:
                    self.draft.note_view(self.references(tensor))
            return
        for number, tensor in enumerate(results):
            if isinstance(found, ConversionError):
                references = self.draft.failed(found, tensor.shape)
            elif number == 0:
                references = np.broadcast_to(found, tensor.shape)
            else:
                references = self.draft.failure(f"its result {number} is used.", tensor.shape)
            self.follow(tensor, references)

    def _copied(self, operation: Operation) -> np.ndarray:
        source, target = operation["src"], operation["self"]
        return self._moved(source).broadcast_to(target.shape).numpy().copy()

    def _refuse_dropout(self, name: str) -> None:
        function = "" if self._function is None else self._function[0]
        if name.startswith("bernoulli") and "dropout" in function:
            raise self._place(name).error(
                "this dropout stays active in evaluation. Write F.dropout(x, p, self.training) or "
                "use nn.Dropout."
            )

    # Where it stands

    def _place(self, name: str) -> Place:
        origin = _origin()
        if self._paths:
            path, module = self._paths[-1]
            if path and not _has_parts(module):
                return Place(f"layer {path!r} ({type(module).__name__})", path, True, origin)
        if self._function is None:
            return Place(f"the operation {name}", name, False, origin)
        function, what = self._function
        return Place(what, function.strip("_"), False, origin)

    @contextmanager
    def of_function(self, func: Any) -> Iterator[None]:
        """Note which of PyTorch's functions its user calls."""
        name = getattr(func, "__name__", str(func))
        is_method = getattr(torch.Tensor, name, None) is func
        before = self._function
        if name != "__get__":
            what = name.strip("_") if name.startswith("__") else name
            self._function = (
                what.rstrip("_"), f"the method .{name}()" if is_method and not name.startswith("__")
                else f"the operation {what}",
            )  # fmt: skip
        try:
            yield
        finally:
            self._function = before

    @contextmanager
    def of_modules(self, model: nn.Module) -> Iterator[None]:
        """Note which module of a model is run."""
        with ExitStack() as hooks:
            if not isinstance(model, torch.jit.ScriptModule):
                for path, module in model.named_modules():
                    self._hook(path, module, hooks)
            yield

    def _hook(self, path: str, module: nn.Module, hooks: ExitStack) -> None:
        def enter(module: nn.Module, args: Any) -> None:
            self._paths.append((path, module))

        def leave(module: nn.Module, args: Any, result: Any) -> None:
            self._paths.pop()

        for handle in (
            module.register_forward_pre_hook(enter, prepend=True),
            module.register_forward_hook(leave, always_call=True),
        ):
            hooks.callback(handle.remove)


def _memory(tensor: torch.Tensor) -> int:
    """How many elements the memory has in which a tensor lies."""
    return tensor.untyped_storage().nbytes() // tensor.element_size()


class _Functions(TorchFunctionMode):
    def __init__(self, trace: Trace) -> None:
        super().__init__()
        self._trace = trace

    def __torch_function__(self, func, types, args=(), kwargs=None):
        with self._trace.of_function(func):
            return func(*args, **(kwargs or {}))


def trace(
    model: nn.Module,
    draft: Draft,
    shape: tuple[int, ...],
    converters: Mapping[str, Converter],
    moves: frozenset[str],
) -> None:
    """Run a module on a sample and make a draft of it.

    Parameters
    ----------
    model : torch.nn.Module
        In float64 and in evaluation mode; the forward pass may change it.
    draft : Draft
        Filled in.
    shape : tuple of int
        Of one image, as the model takes it.
    converters, moves
        See `Trace`.

    Raises
    ------
    ConversionError
        It cannot be run on such images, or does what has no spiking form.
    """
    generator = torch.Generator().manual_seed(0)
    sample = torch.rand((SAMPLES, *shape), generator=generator, dtype=torch.float64)
    run = Trace(draft, converters, moves)
    run.follow(sample, draft.images())
    with torch.no_grad(), run.of_modules(model), _float64():
        try:
            with _Functions(run), run:
                result = model(sample)
        except (ConversionError, LayoutError):
            raise
        except Exception as error:
            raise _failed(error, run.running, shape) from error
    if not isinstance(result, torch.Tensor):
        raise ConversionError(
            f"The model returns a {type(result).__name__}; one tensor, the logits, is needed. Wrap "
            "it in a module that returns only these."
        )
    draft.place = Place("the result", "result")
    if not run.is_known(result):
        raise ConversionError("The model's result does not depend on the images.")
    draft.finish_with(run.references(result))


def _failed(error: Exception, running: Place | None, shape: tuple[int, ...]) -> ConversionError:
    reason = first_line(error)
    last = error.__traceback__
    where = ""
    while last is not None:
        name = last.tb_frame.f_code.co_filename
        if _is_of_user(name):
            where = f"{name}, line {last.tb_lineno}: "
        last = last.tb_next
    what = type(error).__name__ if running is None else f"{running.what} fails"
    return ConversionError(
        f"{where}the model cannot process an image of shape {shape}: {what} "
        f"({reason}). Is input_shape right? It is (channels, height, width), without the batch "
        f"axis. (The model is run on a batch of {SAMPLES} images.)"
    )


@contextmanager
def _float64() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _has_parts(module: nn.Module) -> bool:
    return any(name != "parametrizations" for name, _ in module.named_children())


def _is_of_user(file_name: str) -> bool:
    return not file_name.startswith((_THERE, _HERE, "<"))


def _origin() -> str:
    """Return ``"file, line n: "`` of the innermost line that is not PyTorch's; or nothing."""
    frame = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        if code.co_filename == __file__ and code.co_name == "trace":
            return ""
        if _is_of_user(code.co_filename) and "contextlib" not in code.co_filename:
            return f"{code.co_filename}, line {frame.f_lineno}: "
        frame = frame.f_back
    return ""
