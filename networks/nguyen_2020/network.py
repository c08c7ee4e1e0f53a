"""Convolutional networks with max-pooling, in the manner of Nguyen et al. (2020).

Of the paper's own networks nothing is published: its text names MNIST and CIFAR-10 and no layers.
For MNIST the network is that of Diehl et al. (2015), on which conversion is often shown, with
max-pooling in place of its average pooling; for CIFAR-10 six convolutions, two before each of three
poolings.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from torch import nn

from bsnn.registry import Registry

__all__ = ["NETWORKS", "cifar10_cnn", "mnist_cnn"]


def mnist_cnn() -> nn.Sequential:
    """28x28-12c5-2s-64c5-2s-10o; takes images of shape ``(batch, 1, 28, 28)`` from 0 to 1."""
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(1, 12, 5),
            relu1=nn.ReLU(),
            pool1=nn.MaxPool2d(2),
            conv2=nn.Conv2d(12, 64, 5),
            relu2=nn.ReLU(),
            pool2=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            dropout=nn.Dropout(0.5),
            fc=nn.Linear(1024, 10),
        )
    )


def cifar10_cnn() -> nn.Sequential:
    """Three times two convolutions and a max-pooling; takes normalised images of 3x32x32."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    before = 3
    for stage, channels in enumerate((32, 64, 128), start=1):
        for part in "ab":
            number = f"{stage}{part}"
            layers[f"conv{number}"] = nn.Conv2d(before, channels, 3, padding=1, bias=False)
            layers[f"norm{number}"] = nn.BatchNorm2d(channels)
            layers[f"relu{number}"] = nn.ReLU()
            before = channels
        layers[f"pool{stage}"] = nn.MaxPool2d(2)
    layers |= {"flatten": nn.Flatten(), "dropout": nn.Dropout(0.3), "fc": nn.Linear(2048, 10)}
    return nn.Sequential(layers)


#: Networks by the data set that they are for.
NETWORKS: Registry[Callable[[], nn.Sequential]] = Registry(
    "network", {"mnist": mnist_cnn, "cifar10": cifar10_cnn}
)
