"""Max-pooling of values that are not rectified.

A gate chooses among spikes, which stand for no negative values. The largest of a window stays the
largest when a number is added to all of them: neurons in between stand for the values plus a shift,
one for each channel, at which none of the calibration images has a negative one, and the shift is
taken away behind the pooling. The result differs only for an image of which a whole window is below
all that the channel has for all calibration images.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from bsnn.conversion.spiking_form import joined
from bsnn.conversion.statistics import batches
from bsnn.graph import Conv2d, Graph, Input, Layer, MaxPool2d, ReLU, needed_layers

__all__ = ["with_shifted_poolings"]


def with_shifted_poolings(graph: Graph, images: np.ndarray) -> Graph:
    """Return a network with the same results whose max-poolings are all of rectified values.

    Parameters
    ----------
    graph : Graph
        A network in its spiking form.
    images : numpy.ndarray
        Calibration images, shape ``(n, *input_shape)``.
    """
    poolings = _unrectified(graph)
    if not poolings:
        return graph
    shifts = _shifts(graph, images, {graph[name].inputs[0] for name in poolings})
    layers: dict[str, Layer] = {}
    renamed: dict[str, str] = {}
    for layer in graph:
        inputs = tuple(renamed.get(source, source) for source in layer.inputs)
        if layer.name not in poolings:
            layers[layer.name] = dataclasses.replace(layer, inputs=inputs)
            continue
        (source,) = inputs
        shift = shifts[layer.inputs[0]]
        before, rectified, behind = (f"{layer.name}_{end}" for end in ("shift", "relu", "back"))
        for new in (
            joined(layers[source], _shifted(before, source, shift)),
            ReLU(name=rectified, inputs=(before,)),
            dataclasses.replace(layer, inputs=(rectified,)),
            _shifted(behind, layer.name, -shift),
        ):
            layers[new.name] = new
        renamed[layer.name] = behind
    output = renamed.get(graph.output, graph.output)
    return Graph(needed_layers(layers.values(), output), output)


def _unrectified(graph: Graph) -> set[str]:
    """Names of the max-poolings that read what is not coded in spikes.

    Nor is what they give, behind which the shift is taken away.
    """
    coded: set[str] = set()
    found: set[str] = set()
    for layer in graph:
        if isinstance(layer, (Input, ReLU)):
            coded.add(layer.name)
        elif isinstance(layer, MaxPool2d):
            (coded if layer.inputs[0] in coded else found).add(layer.name)
    return found


def _shifts(graph: Graph, images: np.ndarray, names: set[str]) -> dict[str, np.ndarray]:
    lowest = {name: np.zeros(graph.shapes[name][0]) for name in names}
    for batch in batches(graph, len(images)):
        values = graph.activations(images[batch])
        for name in names:
            lowest[name] = np.minimum(lowest[name], values[name].min(axis=(0, 2, 3)))
    return {name: -low for name, low in lowest.items()}


def _shifted(name: str, source: str, shift: np.ndarray) -> Conv2d:
    return Conv2d(
        name=name,
        inputs=(source,),
        weight=np.ones((len(shift), 1, 1, 1), np.float32),
        bias=shift.astype(np.float32),
        groups=len(shift),
    )
