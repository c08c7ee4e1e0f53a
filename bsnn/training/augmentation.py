"""Random changes of training images."""

from __future__ import annotations

import math

import torch
from torch.nn import functional

__all__ = ["crop_and_flip", "pad_for_crops", "random_affine"]

# Rows and columns of zeros around an image, from which crops are taken.
_MARGIN = 4


def random_affine(x: torch.Tensor, rotation: float, scaling: float, shift: float) -> torch.Tensor:
    """Rotate, scale and shift each image by a random amount.

    Parameters
    ----------
    x : torch.Tensor
        Shape ``(n, channels, height, width)``.
    rotation : float
        Largest rotation, in degrees.
    scaling : float
        Largest change of size, as a fraction.
    shift : float
        Largest shift, in pixels.
    """
    count, _, height, width = x.shape
    angle = (torch.rand(count) * 2 - 1) * math.radians(rotation)
    scale = 1 + (torch.rand(count) * 2 - 1) * scaling
    offset = (torch.rand(count, 2) * 2 - 1) * shift * 2 / torch.tensor([width, height])
    turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], 1).view(-1, 2, 2)
    affine = torch.cat([turn * scale.view(-1, 1, 1), offset.unsqueeze(2)], 2).to(x.device)
    grid = functional.affine_grid(affine, list(x.shape), align_corners=False)
    return functional.grid_sample(x, grid, align_corners=False)


def pad_for_crops(images: torch.Tensor) -> torch.Tensor:
    """Surround images with zeros, as `crop_and_flip` takes them."""
    return functional.pad(images, (_MARGIN,) * 4)


def crop_and_flip(padded: torch.Tensor) -> torch.Tensor:
    """Crop each image at random from its padding, and flip every second one, by chance."""
    count, _, height, width = padded.shape
    rows = torch.randint(2 * _MARGIN + 1, (count, 1)) + torch.arange(height - 2 * _MARGIN)
    columns = torch.randint(2 * _MARGIN + 1, (count, 1)) + torch.arange(width - 2 * _MARGIN)
    flip = torch.rand(count, 1) < 0.5
    columns = torch.where(flip, columns.flip(1), columns)
    index = torch.arange(count).view(-1, 1, 1)
    # indexing puts the channels last
    crops = padded[index, :, rows.unsqueeze(2), columns.unsqueeze(1)]
    return crops.permute(0, 3, 1, 2)
