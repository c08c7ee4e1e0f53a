"""VGG-16 and the residual networks of Sengupta et al. (2019), as PyTorch modules.

None has a bias or batch normalisation, dropout is the only regulariser, and pooling is by average
(section 3 of the paper). Channels can be scaled by a width: the layers stay the paper's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch.nn import functional

from bsnn.registry import Registry

__all__ = ["NETWORKS", "BasicBlock", "ResNet", "Vgg16", "resnet20", "resnet34"]

# Channels of VGG-16's convolutions by stage; an average pooling ends each stage.
_VGG_STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))

# Dropout after the rectifications that no pooling follows: 0.3 after the first, 0.4 from then on,
# 0.5 around the dense layers. The paper says where; the rates are those of the implementation
# that it follows.
_VGG_DROPOUT = (0.3, 0.4, 0.5)


class Vgg16(nn.Module):
    """VGG-16: 13 convolutions, each 3x3, and dense layers.

    For CIFAR-10 there are two dense layers of 512 and 10 (15 layers with weights; the paper calls
    the network VGG-16 all the same), for ImageNet three of 4096, 4096 and 1000.

    Parameters
    ----------
    width : float
        Factor of all numbers of channels and of hidden dense neurons.
    classes : int
        Outputs.
    hidden : sequence of int
        Sizes of hidden dense layers at width 1.
    image_size : int
        Height and width of the images, a multiple of 32.
    dropout : float
        Factor of the rates of dropout; a narrow network needs less.
    """

    def __init__(
        self,
        width: float = 1.0,
        *,
        classes: int = 10,
        hidden: Sequence[int] = (512,),
        image_size: int = 32,
        dropout: float = 1.0,
    ) -> None:
        super().__init__()
        first, middle, last = (dropout * rate for rate in _VGG_DROPOUT)
        layers: list[nn.Module] = []
        channels = 3
        for stage in _VGG_STAGES:
            for number, size in enumerate(stage):
                out = round(size * width)
                layers += [_conv(channels, out), nn.ReLU()]
                if number < len(stage) - 1:
                    layers.append(nn.Dropout(first if channels == 3 else middle))
                channels = out
            layers.append(nn.AvgPool2d(2))
        self.features = nn.Sequential(*layers)
        size = channels * (image_size // 2 ** len(_VGG_STAGES)) ** 2
        layers = [nn.Flatten(), nn.Dropout(last)]
        for neurons in hidden:
            out = round(neurons * width)
            layers += [nn.Linear(size, out, bias=False), nn.ReLU(), nn.Dropout(last)]
            size = out
        self.classifier = nn.Sequential(*layers, nn.Linear(size, classes, bias=False))
        _initialise(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(x))


class BasicBlock(nn.Module):
    """Two convolutions and a shortcut of type A, added and rectified.

    The shortcut has no weights: where the block halves the map it takes every second row and
    column, and where it has more channels the further ones are zero.

    Parameters
    ----------
    channels_in, channels : int
        Channels before and after.
    stride : int
        Of the first convolution and of the shortcut.
    dropout : float
        Rate, on the way that is not the identity only.
    junction_relu : bool
        Rectify the sum (the paper's constraint 1).
    """

    def __init__(
        self, channels_in: int, channels: int, stride: int, dropout: float, junction_relu: bool
    ) -> None:
        super().__init__()
        self.conv1 = _conv(channels_in, channels, stride)
        self.relu1 = nn.ReLU()
        self.dropout = nn.Dropout(dropout)
        self.conv2 = _conv(channels, channels)
        self.relu2 = nn.ReLU() if junction_relu else nn.Identity()
        self.subsample = nn.AvgPool2d(1, stride) if stride > 1 else nn.Identity()
        self.more_channels = channels - channels_in

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        branch = self.conv2(self.dropout(self.relu1(self.conv1(x))))
        shortcut = self.subsample(x)
        if self.more_channels:
            shortcut = functional.pad(shortcut, (0, 0, 0, 0, 0, self.more_channels))
        return self.relu2(branch + shortcut)


class ResNet(nn.Module):
    """Residual network of basic blocks.

    Parameters
    ----------
    stem : sequence of (int, int)
        Channels (at width 1) and stride of the plain convolutions at the input.
    stages : sequence of (int, int)
        Channels (at width 1) and number of blocks; each stage but the first halves the map.
    classes : int
        Outputs.
    width : float
        Factor of all numbers of channels.
    pool : int
        Window of an average pooling after the stem; 1 for none.
    dropout : float
        Rate within the blocks.
    junction_relu : bool
        Rectify at the junctions.
    """

    def __init__(
        self,
        stem: Sequence[tuple[int, int]],
        stages: Sequence[tuple[int, int]],
        *,
        classes: int,
        width: float = 1.0,
        pool: int = 1,
        dropout: float = 0.0,
        junction_relu: bool = True,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for size, stride in stem:
            out = round(size * width)
            layers += [_conv(channels, out, stride), nn.ReLU()]
            channels = out
        if pool > 1:
            layers.append(nn.AvgPool2d(pool))
        self.stem = nn.Sequential(*layers)
        blocks: list[nn.Module] = []
        for stage, (size, count) in enumerate(stages):
            for number in range(count):
                stride = 2 if stage > 0 and number == 0 else 1
                out = round(size * width)
                blocks.append(BasicBlock(channels, out, stride, dropout, junction_relu))
                channels = out
        self.blocks = nn.Sequential(*blocks)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.dense = nn.Linear(channels, classes, bias=False)
        _initialise(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.dense(self.flatten(self.pool(self.blocks(self.stem(x)))))


def resnet20(
    width: float = 1.0,
    *,
    preprocessing: int = 2,
    junction_relu: bool = True,
    dropout: float = 0.0,
) -> ResNet:
    """Return ResNet-20 for CIFAR-10: nine blocks of 16, 32 and 64 channels.

    Parameters
    ----------
    width, junction_relu, dropout
        See `ResNet`.
    preprocessing : int
        Plain convolutions before the one with which the residual network begins (the paper's
        constraint 3 is two).
    """
    return ResNet(
        [(16, 1)] * (preprocessing + 1),
        [(16, 3), (32, 3), (64, 3)],
        classes=10,
        width=width,
        dropout=dropout,
        junction_relu=junction_relu,
    )


def resnet34(width: float = 1.0, *, dropout: float = 0.0) -> ResNet:
    """Return ResNet-34 for ImageNet (224x224).

    Its first layers are three 3x3 convolutions in place of one of 7x7, the first two of them
    the pre-processing layers, and an average pooling; the paper does not give their widths.
    """
    return ResNet(
        [(64, 2), (64, 1), (64, 1)],
        [(64, 3), (128, 4), (256, 6), (512, 3)],
        classes=1000,
        width=width,
        pool=2,
        dropout=dropout,
    )


#: Networks for CIFAR-10 by name.
NETWORKS: Registry[Callable[..., nn.Module]] = Registry(
    "network", {"vgg16": Vgg16, "resnet20": resnet20}
)


def _conv(channels_in: int, channels_out: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels_out, 3, stride, padding=1, bias=False)


@torch.no_grad()
def _initialise(net: nn.Module) -> None:
    """Draw weights as the paper does: smaller ones in residual blocks, which have no batch norm.

    The deviation is ``sqrt(2 / (k**2 n))`` for a plain convolution with kernel ``k`` and ``n``
    outputs, ``sqrt(2) / (k**2 n)`` for one in a block.
    """
    residual = {
        id(conv)
        for block in net.modules()
        if isinstance(block, BasicBlock)
        for conv in (block.conv1, block.conv2)
    }
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d):
            spread = layer.kernel_size[0] ** 2 * layer.out_channels
            deviation = math.sqrt(2) / spread if id(layer) in residual else math.sqrt(2 / spread)
            layer.weight.normal_(0, deviation)
        elif isinstance(layer, nn.Linear):
            layer.weight.normal_(0, math.sqrt(1 / layer.in_features))
