"""Training the networks with max-pooling on MNIST and CIFAR-10.

Stochastic gradient descent with momentum and a one-cycle schedule; MNIST is rotated, scaled and
shifted, CIFAR-10 cropped and flipped, but for the last tenth of the epochs.
"""

from __future__ import annotations

import dataclasses
import os

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from bsnn.datasets import Dataset
from bsnn.training.augmentation import crop_and_flip, pad_for_crops, random_affine
from bsnn.training.fitting import Outcome, fit, on_device

from .network import NETWORKS

__all__ = ["TrainingSettings", "normalisation", "train"]

# Largest rotation in degrees, change of size, and shift in pixels, of MNIST.
_AFFINE = (10.0, 0.1, 1.7)


@dataclasses.dataclass(frozen=True)
class TrainingSettings:
    """What determines a training run.

    Attributes
    ----------
    network : str
        A name in `bsnn.networks.nguyen_2020.network.NETWORKS`, which is that of a data set.
    epochs : int
        Passes over the training images.
    seed : int
        Seed of weights, order, dropout and augmentation.
    batch_size : int
        Images a step.
    learning_rate : float
        Peak of the one-cycle schedule.
    precision : str
        ``"float32"``, or ``"bfloat16"`` for the convolutions (weights stay float32).
    """

    network: str = "mnist"
    epochs: int = 20
    seed: int = 1
    batch_size: int = 128
    learning_rate: float = 0.05
    precision: str = "float32"


def normalisation(training: Dataset) -> tuple[np.ndarray, np.ndarray] | None:
    """Return mean and deviation of each channel of CIFAR-10's images; MNIST's enter as they are."""
    if training.images.shape[1] == 1:
        return None
    pixels = training.images.astype(np.float64)
    mean, deviation = pixels.mean(axis=(0, 2, 3)), pixels.std(axis=(0, 2, 3))
    return mean.astype(np.float32), deviation.astype(np.float32)


def train(
    training: Dataset,
    out: str | os.PathLike[str],
    settings: TrainingSettings | None = None,
    *,
    resume: bool = False,
    device: str = "cpu",
    quiet: bool = False,
) -> nn.Module:
    """Train a network on the data set's training split; no test image is ever seen here.

    The other arguments are those of `bsnn.training.fit`, whose outcome it returns: in evaluation
    mode, on the CPU; it takes normalised images.
    """
    settings = settings or TrainingSettings()
    make = NETWORKS[settings.network]
    torch.manual_seed(settings.seed)
    net = on_device(make(), device)
    images = torch.from_numpy(training.images)
    colours = normalisation(training)
    if colours is not None:
        mean, deviation = (torch.from_numpy(a).view(-1, 1, 1) for a in colours)
        images = (images - mean) / deviation
    images, labels = images.to(device), torch.from_numpy(training.labels).to(device)
    padded = None if colours is None else pad_for_crops(images)
    optimiser = torch.optim.SGD(
        net.parameters(), settings.learning_rate, momentum=0.9, weight_decay=5e-4, nesterov=True
    )
    batches = -(-len(images) // settings.batch_size)
    # the last tenth of the epochs sees the images as they are
    plain_from = settings.epochs - max(1, settings.epochs // 10)

    def forward(epoch: int, batch: torch.Tensor) -> Outcome:
        if epoch >= plain_from:
            x = images[batch]
        elif padded is None:
            x = random_affine(images[batch], *_AFFINE)
        else:
            x = crop_and_flip(padded[batch])
        lower = settings.precision == "bfloat16"
        with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=lower):
            logits = net(x.contiguous(memory_format=torch.channels_last))
        y = labels[batch]
        return Outcome(functional.cross_entropy(logits.float(), y), logits, y)

    return fit(
        net,
        out,
        settings,
        forward=forward,
        images=len(images),
        optimiser=optimiser,
        schedule=torch.optim.lr_scheduler.OneCycleLR(
            optimiser, settings.learning_rate, total_steps=settings.epochs * batches
        ),
        resume=resume,
        quiet=quiet,
    )
