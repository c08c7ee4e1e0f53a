"""Small networks for the tests of time-to-first-spike coding."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

import bsnn


class SmallCnn(nn.Module):
    """Every kind of layer of the paper's network, on 1x9x8 images."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 4, (3, 2), padding="same")
        self.pool1 = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(4, 6, 3, padding=1, stride=(1, 2))
        self.pool2 = nn.MaxPool2d(3, stride=2, padding=1)
        self.fc1 = nn.Linear(6 * 2, 9)
        self.fc2 = nn.Linear(9, 5)

    def forward(self, x):
        x = self.pool1(torch.relu(self.conv1(x)))
        x = self.pool2(self.conv2(x).relu())
        x = torch.relu(self.fc1(torch.flatten(x, 1)))
        return self.fc2(x)


class ResidualCnn(nn.Module):
    """A residual block, an average pooling before a convolution, and a global average."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, padding=1)
        self.left = nn.Conv2d(4, 4, 3, padding=1, groups=2)
        self.right = nn.Conv2d(4, 4, 3, padding=1)
        self.down = nn.AvgPool2d(2)
        self.wide = nn.Conv2d(4, 6, 3, dilation=2, padding=1)
        self.fc = nn.Linear(6, 4)

    def forward(self, x):
        x = torch.relu(self.stem(x))
        y = self.right(torch.relu(self.left(x)))
        x = torch.relu(x + y)
        x = torch.relu(self.wide(self.down(x)))
        return self.fc(x.mean((2, 3)))


def make_model(net: nn.Module, shape: tuple[int, ...], seed: int = 0, **options):
    """Convert a network with random weights; return it with images to present."""
    torch.manual_seed(seed)
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.35)
    rng = np.random.default_rng(seed)
    images = rng.random((64, *shape), dtype=np.float32)
    images[images < 0.3] = 0
    graph = bsnn.from_torch(net, shape)
    return bsnn.convert_to_ttfs(graph, images[32:], **options), images[:32]
