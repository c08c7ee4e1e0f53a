"""Sengupta, Ye, Wang, Liu, Roy: Going Deeper in Spiking Neural Networks: VGG and Residual
Architectures. Frontiers in Neuroscience 13:95, 2019.

VGG-16 and residual networks on CIFAR-10 as integrate-and-fire neurons, normalised by Spike-Norm.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

__all__ = [
    "ARCHITECTURES",
    "AT_STEPS",
    "DATASET",
    "INPUT_SHAPE",
    "SHIPPED",
    "convert",
    "reproduce",
    "train",
]

DATASET = "cifar10"
INPUT_SHAPE = (3, 32, 32)

_HERE = Path(__file__).parent

#: ``vgg16`` and ``resnet20`` as the paper has them, but for their widths and training (README).
SHIPPED = {name: _HERE / f"{name}.h5" for name in ("vgg16", "resnet20")}

#: ResNet-20 without the two plain layers (Figure 3): as trained without ReLUs at the junctions, and
#: with them, converted with thresholds of one.
ARCHITECTURES = {name: _HERE / f"{name}.h5" for name in ("resnet20_basic", "resnet20_plain")}

#: Time steps for which the paper shows an image, and for which Spike-Norm shows one.
STEPS = 2500

#: Steps at which accuracies are printed.
AT_STEPS = (16, 32, 64, 128, 256, 512, 1024, 2500)

#: Training images that the paper's Spike-Norm looks at.
CALIBRATION_IMAGES = 256

#: What a training depends on.
SETTINGS = (
    "network", "width", "epochs", "seed", "batch_size", "learning_rate", "dropout",
    "junction_relu", "preprocessing", "precision",
)  # fmt: skip


def train(
    out: str | os.PathLike[str],
    *,
    data: str | os.PathLike[str] | None = None,
    calibration_images: int = CALIBRATION_IMAGES,
    threads: int = 1,
    device: str = "cpu",
    resume: bool = False,
    **settings: Any,
) -> tuple[Path, dict[str, float]]:
    """Train a network, convert it as the paper does, and write it into `out`.

    The file is called after the network. One without junction ReLUs cannot be converted, and is
    written as trained.

    Parameters
    ----------
    out : path
        Folder for the model, the weights, the checkpoint, the log and ``curves.png``.
    data : path, optional
        Folder with CIFAR-10 (see `bsnn.datasets.load`).
    calibration_images : int
        Training images that Spike-Norm looks at.
    threads : int
        CPU threads.
    device : str
        PyTorch's device.
    resume : bool
        Go on from the checkpoint in `out`.
    **settings
        Of `SETTINGS`; see `bsnn.networks.sengupta_2019.training.TrainingSettings`.

    Returns
    -------
    path : pathlib.Path
        The model.
    accuracies : dict of str to float
        Of the trained network on the test images.
    """
    import bsnn
    from bsnn.analysis.saving import save_figure
    from bsnn.errors import torch_is_missing
    from bsnn.graph.files import as_stored, save_graph

    from ..evaluation import accuracy

    try:
        import torch

        from ..keeping import curves_figure
        from . import training
    except ModuleNotFoundError as error:
        raise torch_is_missing("Training") from error

    torch.set_num_threads(threads)
    chosen = training.TrainingSettings(**settings)
    network = chosen.network
    images = bsnn.datasets.load(DATASET, "train", data)
    net = training.train(images, out, chosen, resume=resume, device=device)
    save_figure(curves_figure({network: Path(out) / "log.jsonl"}), Path(out) / "curves.png")
    mean, deviation = training.normalisation(images)
    graph = bsnn.from_torch(net, INPUT_SHAPE, mean=mean, std=deviation)
    # weights in half precision: the thresholds are found for what the file will hold
    graph = as_stored(graph, "float16")
    source = {
        "source": f"{chosen.command(threads)} --calibration-images {calibration_images}",
        "torch_version": torch.__version__,
    }
    path = Path(out) / f"{network}.h5"
    if chosen.junction_relu:
        calibration = images.exact().first(calibration_images).images
        convert(graph, calibration, source=source).save(path, "float16")
    else:
        save_graph(graph, path, source, dtype="float16")
    test = bsnn.datasets.load(DATASET, "test", data).exact()
    return path, {f"the {len(test):,} exact test images": accuracy(graph, test)}


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
    import bsnn

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


def reproduce(
    out: str | os.PathLike[str],
    *,
    data: str | os.PathLike[str] | None = None,
    images: int = 1000,
    steps: int = STEPS,
    seeds: int = 1,
    workers: int = 1,
    device: str = "cpp",
    console: Console | None = None,
) -> dict[str, Any]:
    """The paper's tables and figures on CIFAR-10; see `reproduction.reproduce`."""
    from . import reproduction

    return reproduction.reproduce(
        out,
        data=data,
        images=images,
        steps=steps,
        seeds=seeds,
        workers=workers,
        device=device,
        console=console,
    )
