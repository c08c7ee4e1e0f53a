"""Training the CNN on MNIST, with dropout and augmentation as in the paper, and sparser ones.

The paper names dropout of 0.2 before each dense layer and augmentation by rotation, scaling and
shift. It does not give the optimiser, the schedule or the magnitudes; those here are ours.

Beyond the paper, training may penalise activity. A neuron with activation ``a`` in a layer whose
largest activations are about ``s`` (a running 99.9th percentile) is charged

    fan_out * log(1 + a / (0.1 * s)) / log(1 + 10)

where ``fan_out`` is the number of synapses that its spike would drive. The logarithm counts spikes
rather than their values: its slope is steepest for small activations, which are those that can be
pushed below the smallest value that still makes a spike, and dividing by ``s`` leaves nothing to
gain by merely shrinking all activations.
"""

from __future__ import annotations

import dataclasses
import math
import os
import time

import numpy as np
import torch
from torch.nn import functional

from bsnn.datasets import Dataset
from bsnn.networks.keeping import TrainingFolder
from bsnn.networks.lopez_randulfe_2022.network import MnistCnn
from bsnn.progress import progress_bar

__all__ = ["TrainingSettings", "accuracy", "train"]

# An activation a tenth of the layer's largest counts as half a spike, roughly.
_KNEE = 0.1


@dataclasses.dataclass(frozen=True)
class TrainingSettings:
    """What determines a training run.

    Attributes
    ----------
    epochs : int
        Passes over the training images. The last tenth is without augmentation.
    seed : int
        Seed of weights, order, dropout and augmentation.
    penalty : float
        Weight of the activity penalty, per synaptic operation of an image; 0 trains as the paper.
    batch_size : int
        Images a step.
    learning_rate : float
        Peak of the one-cycle schedule (AdamW).
    rotation : float
        Largest rotation, in degrees.
    scaling : float
        Largest change of size, as a fraction.
    shift : float
        Largest shift, in pixels.
    """

    epochs: int = 20
    seed: int = 1
    penalty: float = 0.0
    batch_size: int = 128
    learning_rate: float = 2e-3
    rotation: float = 10.0
    scaling: float = 0.1
    shift: float = 1.7


def train(
    training: Dataset,
    out: str | os.PathLike[str],
    settings: TrainingSettings | None = None,
    *,
    resume: bool = False,
    device: str = "cpu",
    quiet: bool = False,
) -> MnistCnn:
    """Train the network; after each epoch write a checkpoint and a line of the log.

    Parameters
    ----------
    training : Dataset
        MNIST's training split. No test image is ever seen here.
    out : path
        Folder for ``checkpoint.pt`` (to resume from), ``weights.pt`` (the state dict) and
        ``log.jsonl`` (one line an epoch).
    settings : TrainingSettings, optional
        Defaults to `TrainingSettings`'s defaults.
    resume : bool
        Go on from the checkpoint in `out`, if there is one.
    device : str
        Torch device.
    quiet : bool
        Show no progress bar.

    Returns
    -------
    MnistCnn
        The trained network, in evaluation mode, on the CPU.

    Raises
    ------
    SettingsError
        The checkpoint was made with other settings.
    """
    settings = settings or TrainingSettings()
    torch.manual_seed(settings.seed)
    net = MnistCnn().to(device, memory_format=torch.channels_last)
    images = torch.from_numpy(training.images).to(device)
    labels = torch.from_numpy(training.labels).to(device)
    steps = math.ceil(len(images) / settings.batch_size)
    optimiser = torch.optim.AdamW(net.parameters(), lr=settings.learning_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, settings.learning_rate, total_steps=settings.epochs * steps
    )
    activity = _ActivityPenalty(net)
    # after the seed: a checkpoint brings its own state of the random numbers
    folder = TrainingFolder(out, settings, resume=resume)
    if folder.state is not None:
        net.load_state_dict(folder.state["net"])
        optimiser.load_state_dict(folder.state["optimiser"])
        schedule.load_state_dict(folder.state["schedule"])
        activity.scales = folder.state["scales"]
    first_epoch = folder.epochs_done
    # the last tenth of the epochs sees the images as they are
    clean_from = settings.epochs - max(1, settings.epochs // 10)
    with progress_bar(disable=quiet) as progress:
        bar = progress.add_task("training", total=settings.epochs * steps)
        progress.advance(bar, first_epoch * steps)
        for epoch in range(first_epoch, settings.epochs):
            started = time.perf_counter()
            losses, costs, correct = [], [], 0
            net.train()
            for batch in torch.randperm(len(images)).split(settings.batch_size):
                x, y = images[batch], labels[batch]
                if epoch < clean_from:
                    x = _augment(x, settings)
                logits, cost = activity(x.contiguous(memory_format=torch.channels_last))
                loss = functional.cross_entropy(logits, y)
                optimiser.zero_grad(set_to_none=True)
                (loss + settings.penalty * cost).backward()
                optimiser.step()
                schedule.step()
                losses.append(loss.item())
                costs.append(cost.item())
                correct += int((logits.argmax(1) == y).sum())
                progress.advance(bar)
            line = {
                "epoch": epoch + 1,
                "loss": float(np.mean(losses)),
                "activity_cost": float(np.mean(costs)),
                "training_accuracy": correct / len(images),
                "seconds": time.perf_counter() - started,
            }
            state = {
                "net": net.state_dict(),
                "optimiser": optimiser.state_dict(),
                "schedule": schedule.state_dict(),
                "scales": activity.scales,
            }
            folder.keep(line, state)
            progress.update(bar, description=f"training, loss {line['loss']:.4f}")
    net = net.cpu().to(memory_format=torch.contiguous_format).eval()
    folder.finish(net.state_dict())
    return net


@torch.no_grad()
def accuracy(net: MnistCnn, dataset: Dataset) -> float:
    """Return the fraction of images that the network classifies correctly."""
    net.eval()
    images = torch.from_numpy(dataset.images)
    guesses = torch.cat([net(batch).argmax(1) for batch in images.split(500)])
    return float((guesses.numpy() == dataset.labels).mean())


class _ActivityPenalty:
    """Run a network and charge each activation for the synaptic operations of its spike."""

    def __init__(self, net: MnistCnn) -> None:
        self._net = net
        self.scales: dict[str, float] = {}
        # how many of conv2's outputs each pixel of pool1 drives: fewer at the border
        taps = torch.nn.functional.conv_transpose2d(
            torch.ones(1, 1, 10, 10), torch.ones(1, 1, 5, 5)
        )
        self._fan_out = {
            "conv1": torch.tensor(1.0),
            "pool1": taps * net.conv2.out_channels,
            "conv2": torch.tensor(1.0),
            "pool2": torch.tensor(float(net.fc1.out_features)),
            "fc1": torch.tensor(float(net.fc2.out_features)),
        }

    def __call__(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        net = self._net
        spiking = {}
        spiking["conv1"] = functional.relu(net.conv1(x))
        spiking["pool1"] = net.pool1(spiking["conv1"])
        spiking["conv2"] = functional.relu(net.conv2(spiking["pool1"]))
        spiking["pool2"] = net.pool2(spiking["conv2"])
        flat = torch.flatten(spiking["pool2"], 1)
        spiking["fc1"] = functional.relu(net.fc1(net.dropout(flat)))
        logits = net.fc2(net.dropout(spiking["fc1"]))
        return logits, sum(self._cost(name, a) for name, a in spiking.items())

    def _cost(self, name: str, activation: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            sample = activation.flatten()[:: max(1, activation.numel() // 20000)]
            sample = sample[sample > 0]
            if len(sample) > 100:
                large = torch.quantile(sample, 0.999).item()
                self.scales[name] = 0.99 * self.scales.get(name, large) + 0.01 * large
        knee = _KNEE * self.scales.get(name, 1.0)
        spikes = torch.log1p(activation / knee) / math.log1p(1 / _KNEE)
        return (spikes * self._fan_out[name].to(activation.device)).sum() / len(activation)


def _augment(x: torch.Tensor, settings: TrainingSettings) -> torch.Tensor:
    """Rotate, scale and shift each image by a random amount."""
    count, _, height, width = x.shape
    angle = (torch.rand(count) * 2 - 1) * math.radians(settings.rotation)
    scale = 1 + (torch.rand(count) * 2 - 1) * settings.scaling
    shift = (torch.rand(count, 2) * 2 - 1) * settings.shift * 2 / torch.tensor([width, height])
    rotation = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], 1).view(-1, 2, 2)
    affine = torch.cat([rotation * scale.view(-1, 1, 1), shift.unsqueeze(2)], 2).to(x.device)
    grid = functional.affine_grid(affine, list(x.shape), align_corners=False)
    return functional.grid_sample(x, grid, align_corners=False)
