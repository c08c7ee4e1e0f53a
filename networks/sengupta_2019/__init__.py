"""Sengupta, Ye, Wang, Liu, Roy: Going Deeper in Spiking Neural Networks: VGG and Residual
Architectures. Frontiers in Neuroscience 13:95, 2019.

VGG-16 and residual networks on CIFAR-10 as integrate-and-fire neurons, normalised by Spike-Norm.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bsnn
from bsnn.graph import as_stored, save_graph

from ..papers import Paper

__all__ = [
    "ARCHITECTURES",
    "AT_STEPS",
    "DATASET",
    "INPUT_SHAPE",
    "PAPER",
    "SHIPPED",
    "convert",
    "reproduce",
    "train",
]

DATASET = "cifar10"
INPUT_SHAPE = (3, 32, 32)

#: ``vgg16`` and ``resnet20`` as the paper has them, but for their widths and training (README).
SHIPPED = {name: Path(__file__).parent / f"{name}.h5" for name in ("vgg16", "resnet20")}

#: ResNet-20 without the two plain layers (Figure 3): as trained without ReLUs at the junctions, and
#: with them, converted with thresholds of one.
ARCHITECTURES = {
    name: Path(__file__).parent / f"{name}.h5" for name in ("resnet20_basic", "resnet20_plain")
}

#: Time steps for which the paper shows an image, and for which Spike-Norm shows one.
STEPS = 2500

#: Steps at which accuracies are printed.
AT_STEPS = (16, 32, 64, 128, 256, 512, 1024, 2500)

#: Training images that the paper's Spike-Norm looks at.
CALIBRATION_IMAGES = 256


def convert(graph: Any, images: Any, **options: Any) -> Any:
    """Convert a network as the paper does.

    Signed Bernoulli input, reset to zero, thresholds by Spike-Norm (in residual networks for the
    plain layers; one from there on), 2,500 steps, the class that spikes most often.

    Parameters
    ----------
    graph : bsnn.Graph
        The trained network.
    images : numpy.ndarray
        Training images.
    **options
        In place of the paper's; see `bsnn.convert_to_rate`.

    Returns
    -------
    bsnn.RateModel
    """
    papers = {
        "norm": "spike-norm",
        "residual": "one",
        "reset": "zero",
        "encoder": "poisson",
        "balance": "thresholds",
        "steps": STEPS,
    }
    settings = papers | options
    if settings["norm"] == "spike-norm":
        settings = {"seed": 1} | settings
    return bsnn.convert_to_rate(graph, images, images_from=DATASET, **settings)


def _convert(
    net: Any,
    images: bsnn.datasets.Dataset,
    settings: Any,
    source: dict[str, str],
    path: Path,
    *,
    calibration_images: int,
) -> bsnn.Graph:
    from .training import normalisation

    mean, deviation = normalisation(images)
    graph = bsnn.from_torch(net, INPUT_SHAPE, mean=mean, std=deviation)
    # weights in half precision: the thresholds are found for what the file will hold
    graph = as_stored(graph, "float16")
    if settings.junction_relu:
        calibration = images.exact().first(calibration_images).images
        convert(graph, calibration, source=source).save(path, "float16")
    else:
        # cannot be converted, and is written as trained
        save_graph(graph, path, source, dtype="float16")
    return graph


PAPER = Paper(
    "sengupta_2019",
    SHIPPED,
    (
        "network", "width", "epochs", "seed", "batch_size", "learning_rate", "dropout",
        "junction_relu", "preprocessing", "precision",
    ),
    dataset=lambda _: DATASET,
    file=lambda settings: settings.network,
    convert=_convert,
    further={"calibration_images": CALIBRATION_IMAGES},
)  # fmt: skip
train, reproduce = PAPER.train, PAPER.reproduce
