"""Networks whose potentials are whole multiples of one number, as in hardware with fixed point."""

from __future__ import annotations

import dataclasses

import numpy as np

from bsnn.conversion.populations import per_channel
from bsnn.conversion.rate import RateModel
from bsnn.errors import ConversionError
from bsnn.graph import (
    ClippedReLU,
    Conv2d,
    Flatten,
    Graph,
    Input,
    Layer,
    Linear,
    MaxPool2d,
    Normalise,
    ReLU,
)

__all__ = ["on_grid"]

# Layers through which multiples stay multiples.
_OFFERED = (Input, Normalise, Conv2d, Linear, ReLU, MaxPool2d, Flatten)


def on_grid(model: RateModel, fraction_bits: int) -> RateModel:
    """Round a network so that each potential is a multiple of ``2**-fraction_bits``.

    The scales go into the weights, thresholds are one, and weights, biases and the currents of
    constant inputs are rounded to the grid. All sums are exact then, in Brian2 as in a circuit with
    that many bits after the point: both decide alike.

    Parameters
    ----------
    model : RateModel
        A chain of convolutions, dense layers and max-poolings.
    fraction_bits : int
        Bits after the binary point.

    Returns
    -------
    RateModel
        Its graph is the rounded network, in units of the scales.

    Raises
    ------
    ConversionError
        The network has a layer that leaves the grid, or a weight does not fit single precision.
    """
    if not 1 <= fraction_bits <= 20:
        raise ConversionError(
            f"fraction_bits is {fraction_bits}; from 1 to 20 bits after the point are offered."
        )
    if model.threshold_factors:
        raise ConversionError(
            "The network's thresholds were fitted to neurons that are not those of the hardware "
            "(bsnn refit). Round the network as it was converted."
        )
    graph = model.spiking_graph
    for layer in graph:
        if not isinstance(layer, _OFFERED):
            raise ConversionError(
                f"The layer {layer.name!r} ({layer.kind}) leaves the grid: it passes on no "
                "multiples of the step. Networks of convolutions, dense layers and max-poolings "
                "can be rounded."
            )
    layers: list[Layer] = []
    #: by layer, the value of one in the rounded network, for each of its values
    unit: dict[str, np.ndarray] = {}
    own = {p.layer: model.scales[name] for name, p in model.populations.items()}
    own[model.output.potential_layer] = model.scales[model.output.name]
    for layer in graph:
        shape = graph.shapes[layer.name]
        # of the input's own values, if no normalisation follows
        before = unit[layer.inputs[0]] if layer.inputs else np.full(shape, own.get(layer.name, 1.0))
        unit[layer.name] = before
        if isinstance(layer, Normalise):
            scale = per_channel(own[layer.name], shape)
            layer = dataclasses.replace(layer, std=(layer.std * scale).astype(np.float32))
            unit[layer.name] = np.broadcast_to(scale, shape)
        elif isinstance(layer, (Conv2d, Linear)):
            scale = _scale_after(graph, layer.name, own)
            layer = _rounded(layer, before, np.broadcast_to(scale, shape[:1]), fraction_bits)
            unit[layer.name] = np.broadcast_to(per_channel(scale, shape), shape)
        elif isinstance(layer, Flatten):
            unit[layer.name] = before.reshape(shape)
        elif isinstance(layer, (ReLU, MaxPool2d)):
            channels = before[:, :1, :1] if before.ndim == 3 else before
            unit[layer.name] = np.broadcast_to(channels, shape)
            if isinstance(layer, ClippedReLU):
                # a clip is the scale, which is one
                layer = dataclasses.replace(layer, clip=layer.clip / float(before.flat[0]))
        layers.append(layer)
    if model.input.layer == graph.input.name and model.scales[model.input.name] != 1:
        layers = _scaled_input(layers, graph, model.scales[model.input.name])
    rounded = dataclasses.replace(
        model,
        graph=Graph(layers, graph.output),
        balance="weights",
        fraction_bits=fraction_bits,
        trace={},
        scales={},
    )
    rounded.scales.update(dict.fromkeys(rounded.populations, 1.0))
    rounded.check()
    return rounded


def _scale_after(graph: Graph, name: str, own: dict) -> float | np.ndarray:
    """Scale of the neurons that a layer with weights drives."""
    while name not in own:
        (name,) = graph.consumers[name]
    return own[name]


def _rounded(
    layer: Conv2d | Linear, before: np.ndarray, scale: np.ndarray, bits: int
) -> Conv2d | Linear:
    weight = layer.weight.astype(np.float64)
    if isinstance(layer, Linear):
        weight = weight * before
    else:
        sources = before[:, 0, 0].reshape(layer.groups, 1, -1)
        of_output = np.repeat(sources, len(weight) // layer.groups, axis=1)
        weight = weight * of_output.reshape(len(weight), -1)[:, :, np.newaxis, np.newaxis]
    arrays: dict[str, np.ndarray] = {"weight": weight / scale.reshape(-1, *[1] * (weight.ndim - 1))}
    if layer.bias is not None:
        arrays["bias"] = layer.bias / scale
    for name, array in arrays.items():
        steps = np.rint(array * 2.0**bits)
        if np.abs(steps).max() >= 2**24:
            raise ConversionError(
                f"The {name} of layer {layer.name!r} has values up to {np.abs(array).max():.4g} "
                f"thresholds, which with {bits} bits after the point do not fit single precision. "
                "Take fewer bits."
            )
        arrays[name] = (steps / 2.0**bits).astype(np.float32)
    return dataclasses.replace(layer, **arrays)


def _scaled_input(layers: list[Layer], graph: Graph, scale: float) -> list[Layer]:
    """Divide images by the scale of the input, in a layer of their own."""
    name = f"{graph.input.name}_scaled"
    ones = np.ones((1,) * len(graph.input.shape), np.float32)
    divide = Normalise(
        name=name, inputs=(graph.input.name,), mean=0 * ones, std=np.float32(scale) * ones
    )
    moved = [
        dataclasses.replace(
            layer, inputs=tuple(name if s == graph.input.name else s for s in layer.inputs)
        )
        for layer in layers[1:]
    ]
    return [layers[0], divide, *moved]
