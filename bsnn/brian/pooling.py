"""Pooling windows over the map of a group whose neurons are numbered channel last."""

from __future__ import annotations

import dataclasses

import numpy as np

from bsnn.geometry import tap_positions

__all__ = ["AveragePooling", "MaxPooling", "Windows"]

Pair = int | tuple[int, int]


def pair(value: Pair) -> tuple[int, int]:
    """Return a vertical and a horizontal value; one number stands for both."""
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[1]))


@dataclasses.dataclass(frozen=True, eq=False)
class Windows:
    """Windows that each pool some rows and columns of a map, channel by channel.

    Attributes
    ----------
    rows, columns : numpy.ndarray
        Shape ``(windows, size)``: the rows (columns) of the map that each row (column) of windows
        sees; -1 lies in the padding.
    share : numpy.ndarray or None
        What an element counts in the average of each window, shape
        ``(rows of windows, columns of windows)``; None takes the maximum.
    """

    rows: np.ndarray
    columns: np.ndarray
    share: np.ndarray | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of windows."""
        return len(self.rows), len(self.columns)

    def over(self, height: int, width: int) -> Windows:
        """Return the windows themselves, if they fit a map of this size."""
        if self.rows.max() >= height or self.columns.max() >= width:
            raise ValueError(f"The pooling windows reach beyond a map of {height}x{width} neurons.")
        return self

    def most_common(self) -> int:
        """Return the most windows that one place lies in."""
        most = 1
        for table in (self.rows, self.columns):
            most *= int(np.bincount(table[table >= 0]).max())
        return most

    def containing(self, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Say which windows contain each place of a map.

        Returns
        -------
        first, window : numpy.ndarray
            int32. The place at row ``y`` and column ``x``, ``p = y*width + x``, lies in the windows
            ``window[first[p] : first[p + 1]]``, which are numbered row by row.
        """
        (row, of_row), (column, of_column) = map(_elements, (self.rows, self.columns))
        place = np.add.outer(row * width, column).ravel()
        window = np.add.outer(of_row * len(self.columns), of_column).ravel()
        order = np.lexsort((window, place))
        first = np.concatenate([[0], np.cumsum(np.bincount(place, minlength=height * width))])
        return first.astype(np.int32), window[order].astype(np.int32)

    def fan_out(self, channels: int, height: int, width: int) -> np.ndarray:
        """Return the number of windows that each neuron of a map takes part in."""
        return np.repeat(np.diff(self.containing(height, width)[0]), channels)


def _elements(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of an element of an axis and a window that contains it."""
    window, tap = np.nonzero(table >= 0)
    return table[window, tap], window


@dataclasses.dataclass(frozen=True)
class _Pooling:
    size: Pair
    stride: Pair | None = None
    padding: Pair = 0

    def _tables(self, height: int, width: int) -> list[np.ndarray]:
        sizes = pair(self.size)
        strides = sizes if self.stride is None else pair(self.stride)
        return [
            tap_positions(extent, size, stride, (pad, pad))
            for extent, size, stride, pad in zip(
                (height, width), sizes, strides, pair(self.padding), strict=True
            )
        ]


class MaxPooling(_Pooling):
    """The largest of the spikes of a window in a step: one, if any neuron in it spikes.

    Parameters
    ----------
    size : int or (int, int)
        Vertical and horizontal extent of a window.
    stride : int or (int, int), optional
        Distance of neighbouring windows; their size by default.
    padding : int or (int, int)
        Elements added on each side.
    """

    def over(self, height: int, width: int) -> Windows:
        """Return the windows over a map of this size."""
        return Windows(*self._tables(height, width))


class AveragePooling(_Pooling):
    """The mean of the spikes of a window in a step; elements of the padding count as zeros.

    Parameters
    ----------
    size : int or (int, int)
        Vertical and horizontal extent of a window.
    stride : int or (int, int), optional
        Distance of neighbouring windows; their size by default.
    padding : int or (int, int)
        Elements added on each side.
    """

    def over(self, height: int, width: int) -> Windows:
        """Return the windows over a map of this size."""
        rows, columns = self._tables(height, width)
        share = np.full((len(rows), len(columns)), 1 / (rows.shape[1] * columns.shape[1]))
        return Windows(rows, columns, share)
