"""Training of VGG-16 and ResNet-20 on CIFAR-10 by the recipe of Sengupta et al. (2019).

Stochastic gradient descent with momentum 0.9 and weight decay 1e-4, batches of 256 at a learning
rate of 0.05 that is divided by ten at two points of the training, random crops and flips, images
less the mean of each pixel. The paper trains for 200 epochs and divides after 81 and 122; with
fewer epochs the same shares of the training are used.
"""

from __future__ import annotations

import dataclasses
import os

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from bsnn.datasets import Dataset
from bsnn.training.augmentation import crop_and_flip, pad_for_crops
from bsnn.training.fitting import Outcome, fit, on_device

from .network import NETWORKS

__all__ = ["TrainingSettings", "normalisation", "train"]

# Shares of the training after which the learning rate is divided by ten: epochs 81 and 122 of 200.
_DECAYS = (81 / 200, 122 / 200)


@dataclasses.dataclass(frozen=True)
class TrainingSettings:
    """What determines a training run; the defaults are the paper's.

    Attributes
    ----------
    network : str
        A name in `bsnn.networks.sengupta_2019.network.NETWORKS`.
    width : float
        Factor of all numbers of channels.
    epochs : int
        Passes over the training images.
    seed : int
        Seed of weights, order, dropout and augmentation.
    batch_size : int
        Images a step.
    learning_rate : float
        At the start.
    dropout : float
        For VGG-16 a factor of the rates of the full network, for ResNet-20 the rate.
    junction_relu : bool
        ResNet-20: rectify at the junctions (constraint 1).
    preprocessing : int
        ResNet-20: plain convolutions at the input (constraint 3: two).
    precision : str
        ``"float32"``, or ``"bfloat16"`` for the convolutions (weights stay float32).
    """

    network: str = "vgg16"
    width: float = 1.0
    epochs: int = 200
    seed: int = 1
    batch_size: int = 256
    learning_rate: float = 0.05
    dropout: float | None = None
    junction_relu: bool = True
    preprocessing: int = 2
    precision: str = "float32"

    def build(self) -> nn.Module:
        """Return the untrained network."""
        make = NETWORKS[self.network]
        options: dict[str, object] = {} if self.dropout is None else {"dropout": self.dropout}
        if self.network == "resnet20":
            options |= {"junction_relu": self.junction_relu, "preprocessing": self.preprocessing}
        return make(self.width, **options)


def normalisation(training: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean of each pixel and the deviation of each channel over training images.

    float32, shapes ``(3, 32, 32)`` and ``(3,)``, in units of pixels from 0 to 1.
    """
    mean = training.pixels.mean(axis=0, dtype=np.float64) / 255
    squares = np.square(training.pixels, dtype=np.float64).mean(axis=(0, 2, 3)) / 255**2
    plain = training.pixels.mean(axis=(0, 2, 3), dtype=np.float64) / 255
    return mean.astype(np.float32), np.sqrt(squares - plain**2).astype(np.float32)


def train(
    training: Dataset,
    out: str | os.PathLike[str],
    settings: TrainingSettings | None = None,
    *,
    resume: bool = False,
    device: str = "cpu",
    quiet: bool = False,
) -> nn.Module:
    """Train a network on CIFAR-10's training split; no test image is ever seen here.

    The other arguments are those of `bsnn.training.fit`, whose outcome it returns: in evaluation
    mode, on the CPU; it takes normalised images.
    """
    settings = settings or TrainingSettings()
    torch.manual_seed(settings.seed)
    net = on_device(settings.build(), device)
    mean, deviation = (torch.from_numpy(a) for a in normalisation(training))
    images = (torch.from_numpy(training.images) - mean) / deviation.view(3, 1, 1)
    images = pad_for_crops(images).to(device)
    labels = torch.from_numpy(training.labels).to(device)
    optimiser = torch.optim.SGD(
        net.parameters(), settings.learning_rate, momentum=0.9, weight_decay=1e-4
    )
    batches = -(-len(images) // settings.batch_size)
    decays = [round(share * settings.epochs) * batches for share in _DECAYS]

    def forward(epoch: int, batch: torch.Tensor) -> Outcome:
        x, y = crop_and_flip(images[batch]), labels[batch]
        lower = settings.precision == "bfloat16"
        with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=lower):
            logits = net(x.contiguous(memory_format=torch.channels_last))
        return Outcome(functional.cross_entropy(logits.float(), y), logits, y)

    return fit(
        net,
        out,
        settings,
        forward=forward,
        images=len(images),
        optimiser=optimiser,
        schedule=torch.optim.lr_scheduler.MultiStepLR(optimiser, decays),
        resume=resume,
        quiet=quiet,
    )
