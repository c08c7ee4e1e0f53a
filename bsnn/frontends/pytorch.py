"""From a PyTorch module to a `Graph`, by symbolic tracing with `torch.fx`.

Only operations whose meaning is kept exactly are converted; everything else is a
`ConversionError` that names the operation, where the model uses it, and what to write instead.
What becomes of each operation is in `bsnn.frontends.torch_operations`.
"""

from __future__ import annotations

import copy
import operator
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import nn

from bsnn.errors import ConversionError, GraphError
from bsnn.frontends.batch_norm import fold
from bsnn.frontends.torch_check import check
from bsnn.frontends.torch_operations import MODULES, Draft
from bsnn.frontends.torch_trace import run, trace
from bsnn.graph import Graph

__all__ = ["from_torch"]

# Images in the sample that is run through model and graph: any number but one, to tell the
# batch axis from others.
_SAMPLES = 3


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
        The network; left as it is. Layers may be modules or functions (``F.relu``, ``x.relu()``,
        ``torch.flatten``, ``x.view``, ``+``), in place or not, and may be used more than once.
        BatchNorm is folded, Dropout and Identity are dropped.
    input_shape : sequence of int
        Shape of one image, such as ``(1, 28, 28)``.
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
        `input_shape`, `mean` or `std` does not fit, or the model's results are not those of what
        was traced: because of a hook, say.
    """
    shape = _check_input_shape(input_shape)
    if not isinstance(model, nn.Module):
        raise ConversionError(f"A torch.nn.Module is needed, not {type(model).__name__}.")
    _check_mode(model)
    model = copy.deepcopy(model).cpu().eval()
    _check_parameters(model)
    # a copy of its own, because a forward pass may change the model
    reference = copy.deepcopy(model)
    traced = trace(model, MODULES)
    generator = torch.Generator().manual_seed(0)
    sample = torch.rand((_SAMPLES, *shape), generator=generator)
    draft = Draft(model, run(traced, sample, shape), shape, mean, std)
    try:
        graph = Graph(*fold(draft.layers, draft.output))
        exact = Graph(*fold(draft.layers, draft.output, np.float64))
    except GraphError as error:
        raise ConversionError(f"The traced network is not consistent: {error}.") from error
    check(graph, exact, reference, draft.raw_images)
    return graph


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
