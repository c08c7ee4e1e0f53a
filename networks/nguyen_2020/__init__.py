"""Nguyen, Tran, Dang, Iacopi: spiking max-pooling by membrane potential. IEEE Asia Pacific
Conference on Circuits and Systems (APCCAS) 2020, pages 209-212.

Networks with max-pooling on MNIST and CIFAR-10, and what each way to pool spikes costs. Only the
abstract of the paper could be read: networks, time steps and accuracies of its experiments, and
which potential of a neuron is compared, are ours.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["CONVERSION", "INPUT_SHAPES", "SHIPPED", "STEPS", "reproduce", "train"]

#: Shape of an image, by the data set, after which the network is called.
INPUT_SHAPES = {"mnist": (1, 28, 28), "cifar10": (3, 32, 32)}

_HERE = Path(__file__).parent

#: Trained networks, converted with the default gate.
SHIPPED = {name: _HERE / f"{name}.h5" for name in INPUT_SHAPES}

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


def train(
    out: str | os.PathLike[str],
    *,
    data: str | os.PathLike[str] | None = None,
    network: str = "mnist",
    epochs: int = 20,
    seed: int = 1,
    batch_size: int = 128,
    learning_rate: float = 0.05,
    precision: str = "float32",
    threads: int = 1,
    device: str = "cpu",
    resume: bool = False,
) -> tuple[Path, dict[str, float]]:
    """Train a network, convert it, and write ``mnist.h5`` or ``cifar10.h5`` into `out`.

    Parameters
    ----------
    out : path
        Folder for the model, the weights, the checkpoint, the log and ``curves.png``.
    data : path, optional
        Folder with the data set (see `bsnn.datasets.load`).
    network, epochs, seed, batch_size, learning_rate, precision
        See `bsnn.networks.nguyen_2020.training.TrainingSettings`.
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
    from bsnn.analysis.saving import save_figure
    from bsnn.errors import torch_is_missing
    from bsnn.graph.files import as_stored

    from ..evaluation import accuracy

    try:
        import torch

        from ..keeping import curves_figure
        from . import training
    except ModuleNotFoundError as error:
        raise torch_is_missing("Training") from error

    torch.set_num_threads(threads)
    settings = training.TrainingSettings(
        network=network,
        epochs=epochs,
        seed=seed,
        batch_size=batch_size,
        learning_rate=learning_rate,
        precision=precision,
    )
    images = bsnn.datasets.load(network, "train", data)
    net = training.train(images, out, settings, resume=resume, device=device)
    save_figure(curves_figure({network: Path(out) / "log.jsonl"}), Path(out) / "curves.png")
    colours = dict(zip(("mean", "std"), training.normalisation(images) or (), strict=False))
    # weights in half precision: the scales are found for what the file will hold
    graph = as_stored(bsnn.from_torch(net, INPUT_SHAPES[network], **colours), "float16")
    model = bsnn.convert_to_rate(
        graph,
        images.exact().first(CALIBRATION_IMAGES).images,
        steps=STEPS[network],
        images_from=network,
        source={
            "source": f"bsnn train nguyen_2020 --network {network} --epochs {epochs} "
            f"--seed {seed} --batch-size {batch_size} --learning-rate {learning_rate:g} "
            f"--precision {precision} --threads {threads}",
            "torch_version": torch.__version__,
        },
        **CONVERSION,
    )
    path = Path(out) / f"{network}.h5"
    model.save(path, "float16")
    test = bsnn.datasets.load(network, "test", data).exact()
    return path, {f"the {len(test):,} exact test images": accuracy(graph, test)}


def reproduce(
    out: str | os.PathLike[str],
    *,
    data: str | os.PathLike[str] | None = None,
    images: int | None = None,
    workers: int = 1,
    device: str = "cpp",
    console: Console | None = None,
) -> dict[str, Any]:
    """What each gate costs in accuracy and in error of the rates; see `reproduction.reproduce`."""
    from . import reproduction

    return reproduction.reproduce(
        out, data=data, images=images, workers=workers, device=device, console=console
    )
