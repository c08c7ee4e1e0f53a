"""Nguyen, Tran, Dang, Iacopi: spiking max-pooling by membrane potential. IEEE Asia Pacific
Conference on Circuits and Systems (APCCAS) 2020, pages 209-212.

Networks with max-pooling on MNIST and CIFAR-10, and what each way to pool spikes costs. Only the
abstract of the paper could be read: networks, time steps and accuracies of its experiments, and
which potential of a neuron is compared, are ours.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bsnn
from bsnn.graph import as_stored

from ..papers import Paper

__all__ = ["CONVERSION", "INPUT_SHAPES", "PAPER", "SHIPPED", "STEPS", "reproduce", "train"]

#: Shape of an image, by the data set, after which the network is called.
INPUT_SHAPES = {"mnist": (1, 28, 28), "cifar10": (3, 32, 32)}

#: Trained networks, converted with the default gate.
SHIPPED = {name: Path(__file__).parent / f"{name}.h5" for name in INPUT_SHAPES}

#: Time steps for which an image is shown.
STEPS = {"mnist": 64, "cifar10": 256}

#: How the networks are converted, besides what the gates differ in.
CONVERSION = {
    "norm": "percentile",
    "percentile": 99.9,
    "encoder": "constant",
    "reset": "subtract",
    "read_out": "potential",
}

#: Training images that the conversion looks at.
CALIBRATION_IMAGES = 1000


def _convert(
    net: Any, images: bsnn.datasets.Dataset, settings: Any, source: dict[str, str], path: Path
) -> bsnn.Graph:
    from .training import normalisation

    network = settings.network
    colours = dict(zip(("mean", "std"), normalisation(images) or (), strict=False))
    # weights in half precision: the scales are found for what the file will hold
    graph = as_stored(bsnn.from_torch(net, INPUT_SHAPES[network], **colours), "float16")
    bsnn.convert_to_rate(
        graph,
        images.exact().first(CALIBRATION_IMAGES).images,
        steps=STEPS[network],
        images_from=network,
        source=source,
        **CONVERSION,
    ).save(path, "float16")
    return graph


PAPER = Paper(
    "nguyen_2020",
    SHIPPED,
    ("network", "epochs", "seed", "batch_size", "learning_rate", "precision"),
    dataset=lambda settings: settings.network,
    file=lambda settings: settings.network,
    convert=_convert,
    stated=("network", "epochs", "seed", "batch_size", "learning_rate", "precision"),
)
train, reproduce = PAPER.train, PAPER.reproduce
