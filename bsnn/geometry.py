"""Which input position each tap of a sliding window sees, along one axis.

Convolution, pooling, connection counts and connectivity all follow from this one table, so that
border effects are the same everywhere.
"""

from __future__ import annotations

import numpy as np

from bsnn.errors import GraphError

__all__ = ["adaptive_bins", "output_size", "tap_positions"]


def output_size(
    size: int,
    kernel: int,
    stride: int,
    padding: tuple[int, int],
    dilation: int = 1,
    ceil_mode: bool = False,
) -> int:
    """Return the number of positions of a window along an axis of ``size`` elements.

    Follows PyTorch; with ``ceil_mode`` a last, incomplete window is added if it starts inside the
    input or the padding before it.
    """
    span = size + sum(padding) - dilation * (kernel - 1) - 1
    if span < 0:
        raise GraphError(
            f"a window of {dilation * (kernel - 1) + 1} elements does not fit an axis of {size} "
            f"elements with padding {padding}"
        )
    count = (-(-span // stride) if ceil_mode else span // stride) + 1
    if ceil_mode and (count - 1) * stride >= size + padding[0]:
        count -= 1
    return count


def tap_positions(
    size: int,
    kernel: int,
    stride: int,
    padding: tuple[int, int],
    dilation: int = 1,
    ceil_mode: bool = False,
) -> np.ndarray:
    """Return the input position that each tap sees at each output position.

    Returns
    -------
    numpy.ndarray
        int64, shape ``(positions, kernel)``. Taps in the padding hold -1.
    """
    count = output_size(size, kernel, stride, padding, dilation, ceil_mode)
    positions = np.arange(count)[:, np.newaxis] * stride - padding[0] + np.arange(kernel) * dilation
    return np.where((positions >= 0) & (positions < size), positions, -1)


def adaptive_bins(size: int, bins: int) -> np.ndarray:
    """Return the input positions of each bin of an adaptive pooling, padded with -1.

    Bin ``i`` covers ``floor(i*size/bins)`` to ``ceil((i+1)*size/bins)``, as in PyTorch.

    Returns
    -------
    numpy.ndarray
        int64, shape ``(bins, widest)``.
    """
    starts = np.arange(bins) * size // bins
    ends = -(-(np.arange(bins) + 1) * size // bins)
    positions = starts[:, np.newaxis] + np.arange((ends - starts).max())
    return np.where(positions < ends[:, np.newaxis], positions, -1)
