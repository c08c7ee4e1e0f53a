"""From a PyTorch module to a `Graph`, by running it on a sample.

Only operations whose meaning is kept exactly are converted; everything else is a
`ConversionError` that names the operation, where the model uses it, and what to write instead.
What becomes of each operation is in `bsnn.frontends.torch_operations`.
"""

from __future__ import annotations

import copy
import operator
import warnings
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import nn

from bsnn.errors import ConversionError, ConversionWarning, GraphError, first_line
from bsnn.frontends.draft import Draft, Layout, drafted
from bsnn.frontends.folding import as_type, fold
from bsnn.frontends.images import Results, normalisation, notes
from bsnn.frontends.torch_check import check
from bsnn.frontends.torch_operations import CONVERTERS, MOVES
from bsnn.frontends.torch_trace import trace
from bsnn.graph import Graph

__all__ = ["from_torch"]


def from_torch(
    model: nn.Module,
    input_shape: Sequence[int],
    *,
    mean: ArrayLike | None = None,
    std: ArrayLike | None = None,
) -> Graph:
    """Convert a trained PyTorch module to a graph.

    Parameters
    ----------
    model : torch.nn.Module
        The network; left as it is. Its forward pass may be written in any way; it is run as it
        is, hooks included. BatchNorm is folded, Dropout and Identity are dropped, and a final
        softmax or sigmoid is left out. What ``torch.compile`` and ``DataParallel`` wrap is taken
        out.
    input_shape : sequence of int
        Shape of one image, such as ``(1, 28, 28)``. A signal, ``(channels, length)``, becomes a
        map of one row, ``(channels, 1, length)``, if it is convolved or pooled.
    mean, std : array_like, optional
        What was subtracted from the images, and what they were divided by, before they entered
        `model`: one number a channel, or an array of the shape of an image. They become the
        graph's first layer, a `Normalise`, so that it takes plain images.

    Returns
    -------
    Graph

    Raises
    ------
    ConversionError
        An operation has no counterpart, a weight is not finite, BatchNorm is in training mode,
        `input_shape`, `mean` or `std` does not fit, or the model gives other results when it is
        run again.

    Warns
    -----
    ConversionWarning
        A function of the results was left out.
    """
    shape = _check_input_shape(input_shape)
    if not isinstance(model, nn.Module):
        raise ConversionError(f"A torch.nn.Module is needed, not {type(model).__name__}.")
    model = _unwrapped(model)
    _check_parameters(model)
    _check_mode(model)
    model = _copied(model)

    def make(layout: Layout) -> Draft:
        normalise = normalisation(layout.graph_shape, mean, std)
        draft = Draft(layout, normalise)
        # a forward pass may change the model: all but the weights, which are large, is copied
        weights = {id(weight): weight for weight in model.parameters()}
        trace(copy.deepcopy(model, weights), draft, shape, CONVERTERS, MOVES)
        return draft

    draft, layout = drafted(shape, make)
    try:
        folded = fold(draft.layers, draft.output)
        graph = Graph(as_type(folded.layers, np.float32), folded.output)
        exact = Graph(folded.layers, folded.output)
    except GraphError as error:
        raise ConversionError(f"The traced network is not consistent: {error}.") from error
    normalised = mean is not None or std is not None
    check(graph, exact, model, Results(layout, folded.final, folded.two_classes, normalised))
    for note in notes(layout, folded):
        warnings.warn(note, ConversionWarning, stacklevel=2)
    return graph


def _unwrapped(model: nn.Module) -> nn.Module:
    """Take out what is wrapped for training on several devices, or by ``torch.compile``."""
    wrappers = (nn.DataParallel, nn.parallel.DistributedDataParallel)
    while True:
        inner = getattr(model, "_orig_mod", None)
        if inner is None and isinstance(model, wrappers):
            inner = model.module
        if not isinstance(inner, nn.Module):
            return model
        model = inner


def _copied(model: nn.Module) -> nn.Module:
    """Return a copy on the CPU, in float64, in which every value of a smaller type is exact."""
    # tensors that were computed, as by pruning, cannot be copied by themselves
    known = {
        id(value): value.detach().clone()
        for module in model.modules()
        for value in vars(module).values()
        if isinstance(value, torch.Tensor) and not value.is_leaf
    }
    try:
        copied = copy.deepcopy(model, known).cpu().eval().double()
    except Exception as error:
        reason = first_line(error)
        raise ConversionError(
            f"The model cannot be copied, or turned into float64 on the CPU ({reason})."
        ) from error
    for name, part in list(copied.named_modules()):
        if hasattr(part, "_orig_mod") and name:
            parent, _, child = name.rpartition(".")
            setattr(copied.get_submodule(parent), child, part._orig_mod)
    return copied


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
        if tensor.is_meta:
            raise ConversionError(
                f"{name!r} is on the meta device, which has no values. Load the weights first, "
                "with model.to_empty(device='cpu') and model.load_state_dict(...)."
            )
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
