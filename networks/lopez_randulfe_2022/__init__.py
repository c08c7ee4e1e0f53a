"""López-Randulfe, Reeb, Knoll: Conversion of ConvNets to Spiking Neural Networks With Less Than
One Spike per Neuron. Conference on Cognitive Computational Neuroscience, 2022.

A CNN on MNIST whose neurons code a value by the time of their only spike.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["DATASET", "INPUT_SHAPE", "SHIPPED", "reproduce", "train"]

DATASET = "mnist"
INPUT_SHAPE = (1, 28, 28)

_HERE = Path(__file__).parent

#: ``mnist_cnn`` is trained as in the paper, ``mnist_cnn_sparse`` with a penalty on activity.
SHIPPED = {
    "mnist_cnn": _HERE / "mnist_cnn.h5",
    "mnist_cnn_sparse": _HERE / "mnist_cnn_sparse.h5",
}

#: Steps in a window, and training images that the conversion looks at.
STEPS = 16
CALIBRATION_IMAGES = 1000


def train(
    out: str | os.PathLike[str],
    *,
    data: str | os.PathLike[str] | None = None,
    epochs: int = 20,
    seed: int = 1,
    penalty: float = 0.0,
    threads: int = 1,
    device: str = "cpu",
    resume: bool = False,
) -> tuple[Path, dict[str, float]]:
    """Train the CNN, convert it, and write ``mnist_cnn.h5`` into `out`.

    Parameters
    ----------
    out : path
        Folder for the model, the weights, the checkpoint and the log.
    data : path, optional
        Folder with MNIST (see `bsnn.datasets.load`).
    epochs, seed, penalty
        See `bsnn.networks.lopez_randulfe_2022.training.TrainingSettings`.
    threads : int
        CPU threads.
    device : str
        PyTorch's device.
    resume : bool
        Go on from the checkpoint in `out`.

    Returns
    -------
    path : pathlib.Path
        The model.
    accuracies : dict of str to float
        Of the trained network on the test images.
    """
    import bsnn
    from bsnn.errors import torch_is_missing

    from ..evaluation import accuracy

    try:
        import torch

        from . import training
    except ModuleNotFoundError as error:
        raise torch_is_missing("Training") from error

    torch.set_num_threads(threads)
    images = bsnn.datasets.load(DATASET, "train", data)
    settings = training.TrainingSettings(epochs=epochs, seed=seed, penalty=penalty)
    net = training.train(images, out, settings, resume=resume, device=device)
    graph = bsnn.from_torch(net, INPUT_SHAPE)
    model = bsnn.convert_to_ttfs(
        graph,
        images.first(CALIBRATION_IMAGES).images,
        steps=STEPS,
        images_from=DATASET,
        source={
            "source": "bsnn train lopez_randulfe_2022 "
            f"--epochs {epochs} --seed {seed} --penalty {penalty:g} --threads {threads}",
            "torch_version": torch.__version__,
        },
    )
    path = Path(out) / "mnist_cnn.h5"
    model.save(path)
    test = bsnn.datasets.load(DATASET, "test", data)
    return path, {f"the {len(test):,} test images": accuracy(graph, test)}


def reproduce(
    out: str | os.PathLike[str],
    *,
    data: str | os.PathLike[str] | None = None,
    images: int = 10000,
    models: str | os.PathLike[str] | None = None,
    device: str = "cpp",
    console: Console | None = None,
) -> dict[str, Any]:
    """Table 1 and Figure 2 of the paper, and the frontier beyond; see `reproduction.reproduce`."""
    from . import reproduction

    return reproduction.reproduce(
        out, data=data, images=images, models=models, device=device, console=console
    )
