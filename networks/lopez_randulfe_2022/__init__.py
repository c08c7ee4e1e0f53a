"""López-Randulfe, Reeb, Knoll: Conversion of ConvNets to Spiking Neural Networks With Less Than
One Spike per Neuron. Conference on Cognitive Computational Neuroscience, 2022.

A CNN on MNIST whose neurons code a value by the time of their only spike.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bsnn

from ..papers import Paper

__all__ = ["DATASET", "INPUT_SHAPE", "PAPER", "SHIPPED", "reproduce", "train"]

DATASET = "mnist"
INPUT_SHAPE = (1, 28, 28)

#: ``mnist_cnn`` is trained as in the paper, ``mnist_cnn_sparse`` with a penalty on activity.
SHIPPED = {name: Path(__file__).parent / f"{name}.h5" for name in ("mnist_cnn", "mnist_cnn_sparse")}

#: Steps in a window, and training images that the conversion looks at.
STEPS = 16
CALIBRATION_IMAGES = 1000


def _convert(
    net: Any, images: bsnn.datasets.Dataset, settings: Any, source: dict[str, str], path: Path
) -> bsnn.Graph:
    graph = bsnn.from_torch(net, INPUT_SHAPE)
    bsnn.convert_to_ttfs(
        graph,
        images.first(CALIBRATION_IMAGES).images,
        steps=STEPS,
        images_from=DATASET,
        source=source,
    ).save(path)
    return graph


PAPER = Paper(
    "lopez_randulfe_2022",
    SHIPPED,
    ("epochs", "seed", "penalty"),
    dataset=lambda _: DATASET,
    file=lambda _: "mnist_cnn",
    convert=_convert,
    stated=("epochs", "seed", "penalty"),
)
train, reproduce = PAPER.train, PAPER.reproduce
