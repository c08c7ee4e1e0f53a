"""A data set in memory."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

__all__ = ["Dataset"]


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Images with their labels.

    Attributes
    ----------
    name, split : str
        Such as ``"mnist"`` and ``"test"``.
    pixels : numpy.ndarray
        Shape ``(n, channels, height, width)``: the images as published, uint8 if they are.
    labels : numpy.ndarray or None
        int64, shape ``(n,)``; None if they are not known.
    classes : tuple of str
        Name of each class, if they are known.
    approximate : numpy.ndarray
        Indices of images whose pixels are known not to be the published ones, in increasing
        order; empty for an exact copy.
    """

    name: str
    split: str
    pixels: np.ndarray
    labels: Any
    classes: tuple[str, ...]
    approximate: np.ndarray

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def images(self) -> np.ndarray:
        """float32 images, whole numbers divided by their largest: ``(n, channels, height, width)``.

        Floats are as they are.
        """
        kind = self.pixels.dtype
        white = np.iinfo(kind).max if kind.kind in "iu" else 1
        return self.pixels.astype(np.float32) / np.float32(white)

    def exact(self) -> Dataset:
        """Leave out the images whose pixels are approximate."""
        keep = np.setdiff1d(np.arange(len(self)), self.approximate)
        return self._take(keep)

    def first(self, count: int, start: int = 0) -> Dataset:
        """Take ``count`` images, from index ``start`` on."""
        return self._take(np.arange(start, min(start + count, len(self))))

    def _take(self, indices: np.ndarray) -> Dataset:
        return dataclasses.replace(
            self,
            pixels=self.pixels[indices],
            labels=None if self.labels is None else self.labels[indices],
            approximate=np.flatnonzero(np.isin(indices, self.approximate)),
        )
