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

import torch
from torch.nn import functional

from bsnn.datasets import Dataset
from bsnn.training.augmentation import random_affine
from bsnn.training.fitting import Outcome, fit, on_device

from .network import MnistCnn

__all__ = ["TrainingSettings", "train"]

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
    """Train a network on MNIST's training split; no test image is ever seen here.

    The other arguments are those of `bsnn.training.fit`, whose outcome it returns: in evaluation
    mode, on the CPU; it takes normalised images.
    """
    settings = settings or TrainingSettings()
    torch.manual_seed(settings.seed)
    net = on_device(MnistCnn(), device)
    images = torch.from_numpy(training.images).to(device)
    labels = torch.from_numpy(training.labels).to(device)
    batches = math.ceil(len(images) / settings.batch_size)
    optimiser = torch.optim.AdamW(net.parameters(), lr=settings.learning_rate, weight_decay=0.01)
    activity = _ActivityPenalty(net)
    # the last tenth of the epochs sees the images as they are
    clean_from = settings.epochs - max(1, settings.epochs // 10)

    def forward(epoch: int, batch: torch.Tensor) -> Outcome:
        x, y = images[batch], labels[batch]
        if epoch < clean_from:
            x = random_affine(x, settings.rotation, settings.scaling, settings.shift)
        logits, cost = activity(x.contiguous(memory_format=torch.channels_last))
        loss = functional.cross_entropy(logits, y)
        return Outcome(
            loss, logits, y, loss + settings.penalty * cost, further={"activity_cost": cost}
        )

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
        memory={"scales": activity.scales},
        resume=resume,
        quiet=quiet,
    )


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
        costs = torch.stack([self._cost(name, a) for name, a in spiking.items()])
        return logits, costs.sum()

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
