"""Training of VGG-16 and ResNet-20 on CIFAR-10 by the recipe of Sengupta et al. (2019).

Stochastic gradient descent with momentum 0.9 and weight decay 1e-4, batches of 256 at a learning
rate of 0.05 that is divided by ten at two points of the training, random crops and flips, images
less the mean of each pixel. The paper trains for 200 epochs and divides after 81 and 122; with
fewer epochs the same shares of the training are used.
"""

from __future__ import annotations

import dataclasses
import os
import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from bsnn.datasets import Dataset
from bsnn.errors import SettingsError
from bsnn.networks.keeping import TrainingFolder
from bsnn.networks.sengupta_2019.network import NETWORKS
from bsnn.progress import progress_bar

__all__ = ["TrainingSettings", "normalisation", "train"]

# Shares of the training after which the learning rate is divided by ten: epochs 81 and 122 of 200.
_DECAYS = (81 / 200, 122 / 200)

# The padding from which crops are taken.
_MARGIN = 4


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

    def command(self, threads: int) -> str:
        """Return the command that trains with these settings, where they are not the defaults."""
        words = ["bsnn train sengupta_2019"]
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            option = field.name.replace("_", "-")
            if field.name in ("network", "seed", "epochs") or value != field.default:
                words.append(f"--no-{option}" if value is False else f"--{option} {value}")
        return f"{' '.join(words)} --threads {threads}"

    def build(self) -> nn.Module:
        """Return the untrained network."""
        if self.network not in NETWORKS:
            raise SettingsError(
                f"There is no network {self.network!r}. Known are {', '.join(NETWORKS)}."
            )
        options: dict[str, object] = {} if self.dropout is None else {"dropout": self.dropout}
        if self.network == "resnet20":
            options |= {"junction_relu": self.junction_relu, "preprocessing": self.preprocessing}
        return NETWORKS[self.network](self.width, **options)


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
    """Train a network; after each epoch write a checkpoint and a line of the log.

    Parameters
    ----------
    training : Dataset
        CIFAR-10's training split. No test image is ever seen here.
    out : path
        Folder for ``checkpoint.pt`` (to resume from), ``weights.pt`` (the state dict) and
        ``log.jsonl`` (one line an epoch).
    settings : TrainingSettings, optional
        By default the paper's, for VGG-16.
    resume : bool
        Go on from the checkpoint in `out`, if there is one.
    device : str
        Torch device.
    quiet : bool
        Show no progress bar.

    Returns
    -------
    torch.nn.Module
        The trained network, in evaluation mode, on the CPU; it takes normalised images.

    Raises
    ------
    SettingsError
        The checkpoint was made with other settings, or the loss is no longer a number.
    """
    settings = settings or TrainingSettings()
    torch.manual_seed(settings.seed)
    net = settings.build().to(device, memory_format=torch.channels_last)
    mean, deviation = (torch.from_numpy(a) for a in normalisation(training))
    images = (torch.from_numpy(training.images) - mean) / deviation.view(3, 1, 1)
    images = functional.pad(images, (_MARGIN,) * 4).to(device)
    labels = torch.from_numpy(training.labels).to(device)
    optimiser = torch.optim.SGD(
        net.parameters(), settings.learning_rate, momentum=0.9, weight_decay=1e-4
    )
    decays = [round(share * settings.epochs) for share in _DECAYS]
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, decays)
    # after the seed: a checkpoint brings its own state of the random numbers
    folder = TrainingFolder(out, settings, resume=resume)
    if folder.state is not None:
        net.load_state_dict(folder.state["net"])
        optimiser.load_state_dict(folder.state["optimiser"])
        schedule.load_state_dict(folder.state["schedule"])
    first_epoch = folder.epochs_done
    batches = -(-len(images) // settings.batch_size)
    with progress_bar(disable=quiet) as progress:
        bar = progress.add_task("training", total=settings.epochs * batches)
        progress.advance(bar, first_epoch * batches)
        for epoch in range(first_epoch, settings.epochs):
            started = time.perf_counter()
            losses, correct = [], 0
            net.train()
            for batch in torch.randperm(len(images)).split(settings.batch_size):
                x, y = _augment(images[batch]), labels[batch]
                with torch.autocast(
                    torch.device(device).type,
                    torch.bfloat16,
                    enabled=settings.precision == "bfloat16",
                ):
                    logits = net(x.contiguous(memory_format=torch.channels_last))
                loss = functional.cross_entropy(logits.float(), y)
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                optimiser.step()
                losses.append(loss.item())
                correct += int((logits.argmax(1) == y).sum())
                progress.advance(bar)
            line = {
                "epoch": epoch + 1,
                "loss": float(np.mean(losses)),
                "training_accuracy": correct / len(images),
                "learning_rate": schedule.get_last_lr()[0],
                "seconds": time.perf_counter() - started,
            }
            if not np.isfinite(line["loss"]):
                raise SettingsError(
                    f"The loss is {line['loss']} in epoch {epoch + 1}: the training has diverged. "
                    "Use a smaller learning rate."
                )
            schedule.step()
            state = {
                "net": net.state_dict(),
                "optimiser": optimiser.state_dict(),
                "schedule": schedule.state_dict(),
            }
            folder.keep(line, state)
            progress.update(bar, description=f"training, loss {line['loss']:.4f}")
    net = net.cpu().to(memory_format=torch.contiguous_format).eval()
    folder.finish(net.state_dict())
    return net


def _augment(padded: torch.Tensor) -> torch.Tensor:
    """Crop each image at random from its padding, and flip every second one."""
    count, _, height, width = padded.shape
    rows = torch.randint(2 * _MARGIN + 1, (count, 1)) + torch.arange(height - 2 * _MARGIN)
    columns = torch.randint(2 * _MARGIN + 1, (count, 1)) + torch.arange(width - 2 * _MARGIN)
    flip = torch.rand(count, 1) < 0.5
    columns = torch.where(flip, columns.flip(1), columns)
    index = torch.arange(count).view(-1, 1, 1)
    # indexing puts the channels last
    crops = padded[index, :, rows.unsqueeze(2), columns.unsqueeze(1)]
    return crops.permute(0, 3, 1, 2)
