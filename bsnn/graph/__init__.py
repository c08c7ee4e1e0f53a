"""The trained network as plain data: layers, shapes, weights, and the forward pass in numpy."""

from bsnn.graph.arrays import are_counts, as_numbers, image_batch, images_and_labels, slices
from bsnn.graph.bounds import Dead, bounds, dead_parts
from bsnn.graph.cost import GraphCost, LayerCost, count
from bsnn.graph.files import ARRAY_TYPES, as_stored, load_graph, save_graph
from bsnn.graph.graph import Graph, needed_layers
from bsnn.graph.layers import (
    LAYER_KINDS,
    AdaptiveAvgPool2d,
    Add,
    AvgPool2d,
    ClippedReLU,
    Concat,
    Conv2d,
    Flatten,
    Input,
    Layer,
    Linear,
    MaxPool2d,
    Normalise,
    PadChannels,
    PartSum,
    ReLU,
    SelectChannels,
)
from bsnn.graph.weights import with_scaled_outputs, without_groups

__all__ = [
    "ARRAY_TYPES",
    "LAYER_KINDS",
    "AdaptiveAvgPool2d",
    "Add",
    "AvgPool2d",
    "ClippedReLU",
    "Concat",
    "Conv2d",
    "Dead",
    "Flatten",
    "Graph",
    "GraphCost",
    "Input",
    "Layer",
    "LayerCost",
    "Linear",
    "MaxPool2d",
    "Normalise",
    "PadChannels",
    "PartSum",
    "ReLU",
    "SelectChannels",
    "are_counts",
    "as_numbers",
    "as_stored",
    "bounds",
    "count",
    "dead_parts",
    "image_batch",
    "images_and_labels",
    "load_graph",
    "needed_layers",
    "save_graph",
    "slices",
    "with_scaled_outputs",
    "without_groups",
]
