"""The CNN of López-Randulfe, Reeb and Knoll (2022) in PyTorch.

The paper gives its kind and order of layers, its number of floating-point operations and no more.
The widths below are the ones that yield exactly the 14,316,496 operations of its Table 1 (two a
multiply-accumulate with the zero padding counted, and one for each output of a pooling layer);
see the page "What the papers leave open" in this folder's README.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

__all__ = ["MnistCnn"]


class MnistCnn(nn.Module):
    """Two convolutions with max-pooling, two dense layers; dropout of 0.2 before each dense layer.

    Takes images of shape ``(batch, 1, 28, 28)`` with values in [0, 1]; returns ten logits.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, kernel_size=7, padding="same")
        self.pool1 = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(32, 64, kernel_size=5)
        self.pool2 = nn.MaxPool2d(2)
        self.dropout = nn.Dropout(0.2)
        self.fc1 = nn.Linear(1600, 500)
        self.fc2 = nn.Linear(500, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.pool1(functional.relu(self.conv1(x)))
        x = self.pool2(functional.relu(self.conv2(x)))
        x = self.dropout(torch.flatten(x, 1))
        x = self.dropout(functional.relu(self.fc1(x)))
        return self.fc2(x)
