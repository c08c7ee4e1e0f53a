"""Whether a graph computes what the PyTorch module computes that it was made from.

What tracing does not see, such as hooks and state, shows in the numbers. Both are computed in
float64, in which rounding is far below whatever else may differ, however small or large the outputs
are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import torch
from torch import nn

from bsnn.errors import ConversionError, first_line
from bsnn.frontends.images import Results
from bsnn.graph import Graph, Layer, Normalise, ReLU

__all__ = ["check"]

# The largest differences, by the size of an output or of the terms that it is the sum of. Weights
# that the model computes (as with spectral_norm) are in float32 in the graph, and so is, for the
# second number, what BatchNorm was folded into.
_ROUNDING = 1e-6
_FOLDED_ROUNDING = 1e-3

# How much of the terms of the layers before counts, where sums may have cancelled to nothing.
_CARRIED = 1e-5


def check(graph: Graph, exact: Graph, model: nn.Module, results: Results) -> None:
    """Compare a graph with the model on images of several kinds, output by output.

    Parameters
    ----------
    graph : Graph
        With arrays in float32.
    exact : Graph
        The same, with arrays that were not rounded to float32 after BatchNorm was folded into them.
    model : torch.nn.Module
        The model in float64 and in evaluation mode.
    results : Results
        How its results differ.

    Raises
    ------
    ConversionError
        Their results differ, or rounding to float32 changes them.
    """
    images = dict(_images(results.layout.shape))
    kinds = list(images)
    # two batches of different sizes, and one image again, alone
    batches = [kinds[:3], kinds[3:], kinds[:1]]
    outputs = [_run(model, [images[kind] for kind in batch]) for batch in batches]
    pairs = [
        (kind, result)
        for batch, rows in zip(batches, outputs, strict=True)
        for kind, result in zip(batch, rows, strict=True)
    ]
    for kind, result in pairs:
        different = _different(exact, images[kind], result, results, _ROUNDING)
        if different:
            once, again = pairs[0][1], pairs[-1][1]
            changing = not np.allclose(once, again, rtol=0, atol=1e-6 * np.abs(once).max())
            raise ConversionError(
                f"The converted network does not compute what the model does: for {kind}, "
                f"{different}. {_reason(model, changing)}"
            )
    kind, result = pairs[0]
    different = _different(graph, images[kind], result, results, _FOLDED_ROUNDING)
    if different:
        raise ConversionError(
            "The weights into which BatchNorm was folded cannot be kept in float32: for "
            f"{kind}, {different}. A weight or running_var of BatchNorm is far too small or large."
        )


def _images(shape: tuple[int, ...]) -> Iterator[tuple[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    yield "an image of values from 0 to 1", rng.random(shape)
    yield "an image of normal values", rng.normal(size=shape)
    yield "an image with few values that are not 0", rng.random(shape) * (rng.random(shape) < 0.1)
    yield "an image of values from -100 to 100", rng.uniform(-100, 100, shape)
    yield "an image of zeros", np.zeros(shape)


def _run(model: nn.Module, images: list[np.ndarray]) -> np.ndarray:
    # a model may change the images that it is given
    batch = torch.from_numpy(np.stack(images))
    try:
        with torch.no_grad():
            result = model(batch).detach().numpy()
    except Exception as error:
        reason = first_line(error)
        raise ConversionError(
            f"The model was traced, but cannot process {len(images)} image(s) in float64 "
            f"({reason}). {_reason(model, changing=False)}"
        ) from error
    # a squeeze of all axes takes the axis of a single image, too
    return result[np.newaxis] if len(images) == 1 != len(result) else result


def _different(
    graph: Graph, image: np.ndarray, expected: np.ndarray, results: Results, tolerance: float
) -> str:
    """Say where the result for an image is not what is expected; nothing if it is."""
    with np.errstate(all="ignore"):
        values = graph.activations(results.raw_images(graph, image[np.newaxis]))
        found = results.of_model(values[graph.output])[0]
        if found.shape != expected.shape:
            return f"the result has the shape {found.shape} instead of {expected.shape}"
        differences = np.abs(found - expected)
        right = differences <= tolerance * np.abs(expected)
        if not right.all():
            # sums that cancel are rounded by the size of their terms
            terms = _terms(graph, values)[0]
            if results.final is None:
                right |= differences <= tolerance * terms
            else:
                # a probability is as wrong as its logit, in proportion
                right |= differences <= tolerance * (1 + terms.max()) * (1 + np.abs(expected))
    if right.all():
        return ""
    place = np.unravel_index(np.argmax(~right), right.shape)
    return (
        f"output {', '.join(map(str, place))} is {found[place]:.8g} instead of "
        f"{expected[place]:.8g}"
    )


def _terms(graph: Graph, values: dict[str, np.ndarray]) -> np.ndarray:
    """Return for each output the sum of the absolute terms that it is the sum of."""
    terms: dict[str, np.ndarray] = {}
    for layer in graph:
        if not layer.inputs:
            terms[layer.name] = np.abs(values[layer.name])
        elif isinstance(layer, ReLU):
            terms[layer.name] = terms[layer.inputs[0]]
        elif not layer.arrays:
            terms[layer.name] = layer.forward(*(terms[source] for source in layer.inputs))
        else:
            (source,) = layer.inputs
            inputs = np.abs(values[source]) + _CARRIED * terms[source]
            terms[layer.name] = _absolute(layer).forward(inputs)
    return terms[graph.output]


def _absolute(layer: Layer) -> Layer:
    """Return a layer that adds up what another weighs and sums."""
    if isinstance(layer, Normalise):
        return dataclasses.replace(layer, mean=-np.abs(layer.mean))
    return dataclasses.replace(layer, **{name: np.abs(a) for name, a in layer.arrays.items()})


def _reason(model: nn.Module, changing: bool) -> str:
    """Say what may be in the model that tracing does not show, and what to do."""
    if changing:
        return (
            "The model gives another result for the same image a second time, alone: its forward "
            "pass is random, changes the model or mixes images. Let it depend on one image alone."
        )
    hooked = [
        repr(name) if name else "the whole model"
        for name, module in model.named_modules()
        if module._forward_hooks or module._forward_pre_hooks
    ]
    if hooked:
        return (
            f"There are hooks on {', '.join(hooked)}, and what hooks do is not converted: remove "
            "those that change anything (handle.remove())."
        )
    return (
        "Its forward pass may depend on what tracing does not show: on attributes that it changes, "
        "on the number of images, or on values of tensors. If it does not, please report this "
        "model as a bug of bsnn."
    )
