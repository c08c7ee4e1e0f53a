"""Small networks for the tests of rate coding."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional

import bsnn


class AverageCnn(nn.Module):
    """Even and odd kernels, groups, strides, and average pools before both kinds of weights."""

    def __init__(self, bias: bool = True) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(2, 4, (3, 2), padding="same", bias=bias)
        self.pool1 = nn.AvgPool2d(2, stride=(2, 1))
        self.conv2 = nn.Conv2d(4, 6, 3, padding=1, stride=(1, 2), groups=2, bias=bias)
        self.pool2 = nn.AvgPool2d(2, padding=1)
        self.fc1 = nn.Linear(6 * 4, 9, bias=bias)
        self.fc2 = nn.Linear(9, 5, bias=bias)

    def forward(self, x):
        x = self.pool1(torch.relu(self.conv1(x)))
        x = self.pool2(torch.relu(self.conv2(x)))
        x = torch.relu(self.fc1(torch.flatten(x, 1)))
        return self.fc2(x)


class MaxCnn(nn.Module):
    """Max-poolings that overlap, with padding, with a rectangular window, and one after another."""

    def __init__(self, bias: bool = True) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(2, 4, 3, padding=1, bias=bias)
        self.pool1 = nn.MaxPool2d((3, 2), stride=(2, 1), padding=(1, 0))
        self.conv2 = nn.Conv2d(4, 5, (2, 3), padding="same", bias=bias)
        self.pool2 = nn.MaxPool2d(2)
        self.fc = nn.Linear(5 * 2 * 3, 5, bias=bias)

    def forward(self, x):
        x = self.pool1(torch.relu(self.conv1(x)))
        # rectified after the pooling: the same values
        x = torch.relu(self.pool2(self.conv2(x)))
        return self.fc(torch.flatten(x, 1))


class Block(nn.Module):
    """Two convolutions and a shortcut: the identity, without weights, or a 1x1 convolution."""

    def __init__(self, inputs: int, outputs: int, shortcut: str, bias: bool) -> None:
        super().__init__()
        stride = 1 if shortcut == "identity" else 2
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=bias)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=bias)
        self.kind, self.further = shortcut, outputs - inputs
        if shortcut == "conv":
            self.shortcut = nn.Conv2d(inputs, outputs, 1, stride=2, bias=bias)

    def forward(self, x):
        y = self.conv2(torch.relu(self.conv1(x)))
        if self.kind == "conv":
            x = self.shortcut(x)
        elif self.kind == "zeros":
            before = self.further // 2
            x = functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, before, self.further - before))
        return torch.relu(x + y)


class ResidualNet(nn.Module):
    """Two plain layers and a block with each kind of shortcut."""

    def __init__(self, bias: bool = True) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 3, 3, padding=1, bias=bias)
        self.stem = nn.Conv2d(3, 3, 3, padding=1, bias=bias)
        self.block1 = Block(3, 3, "identity", bias)
        self.block2 = Block(3, 5, "zeros", bias)
        self.block3 = Block(5, 6, "conv", bias)
        self.fc = nn.Linear(6, 4, bias=bias)

    def forward(self, x):
        x = torch.relu(self.stem(torch.relu(self.first(x))))
        x = self.block3(self.block2(self.block1(x)))
        return self.fc(x.mean((2, 3)))


def random_graph(net: nn.Module, shape: tuple[int, ...], seed: int = 0, **options):
    """Give a network random weights, of which somewhat more are positive, and trace it."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in net.parameters():
        fan_in = parameter[0].numel() if parameter.ndim > 1 else 20
        noise = torch.randn(parameter.shape, generator=generator)
        parameter.data = (noise + 0.25) * fan_in**-0.5
    return bsnn.from_torch(net, shape, **options)


def make_rate_model(net, shape, seed: int = 0, *, mean=None, std=None, **options):
    """Convert a network with random weights; return it with images to present."""
    graph = random_graph(net, shape, seed, mean=mean, std=std)
    rng = np.random.default_rng(seed)
    images = rng.random((48, *shape), dtype=np.float32)
    images[images < 0.2] = 0
    # other images than those to be presented: potentials that reach a threshold to the last bit
    # would be a matter of rounding
    options = {"norm": "percentile", "steps": 30, **options}
    if options["norm"] == "percentile":
        options.setdefault("percentile", 97.0)
    return bsnn.convert_to_rate(graph, images[16:], progress=False, **options), images[:16]


def tiny_dense(**options):
    net = nn.Sequential(nn.Flatten(), nn.Linear(9, 6), nn.ReLU(), nn.Linear(6, 3))
    return make_rate_model(net, (1, 3, 3), **options)
