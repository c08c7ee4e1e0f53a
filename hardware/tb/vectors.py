# SPDX-License-Identifier: MIT
"""Vector files of the pooling block: format, a model in numpy, patterns for tests.

The model is written from the definition (a loop over windows, numpy.argmax), not from the block.
"""

from __future__ import annotations

import argparse
import dataclasses
import struct
from pathlib import Path

import numpy as np

MAGIC = b"BSNNPOOL"
VERSION = 1
HEADER = struct.Struct("<8s14I")


@dataclasses.dataclass(frozen=True)
class Shape:
    """Parameters of the block that a vector file is for.

    Parameters
    ----------
    width
        Bits of the signed potential.
    window, stride, map_size
        Height and width each, in pixels.
    channels
        Interleaved channels.
    """

    width: int = 16
    window: tuple[int, int] = (2, 2)
    stride: tuple[int, int] = (2, 2)
    map_size: tuple[int, int] = (28, 28)
    channels: int = 1

    @property
    def out_size(self) -> tuple[int, int]:
        """Height and width of what goes out."""
        height, width = (
            (size - window) // stride + 1
            for size, window, stride in zip(self.map_size, self.window, self.stride, strict=True)
        )
        return height, width

    def make_variables(self) -> list[str]:
        """Variables that tell the Makefile to build a harness for this shape."""
        values = [self.width, *self.window, *self.stride, *self.map_size, self.channels]
        names = "WIDTH WINDOW_HEIGHT WINDOW_WIDTH STRIDE_HEIGHT STRIDE_WIDTH MAP_HEIGHT MAP_WIDTH"
        return [
            f"{name}={value}"
            for name, value in zip([*names.split(), "CHANNELS"], values, strict=True)
        ]


def pool(shape: Shape, potentials: np.ndarray, spikes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pool frames by definition.

    Parameters
    ----------
    shape
        Parameters of the block.
    potentials, spikes
        [frame, row, column, channel].

    Returns
    -------
    spikes, winners
        The winner's spike and its row-major index in each window.
    """
    out_height, out_width = shape.out_size
    out_shape = (len(potentials), out_height, out_width, shape.channels)
    out_spikes = np.zeros(out_shape, np.uint8)
    out_winners = np.zeros(out_shape, np.uint16)
    for row in range(out_height):
        for column in range(out_width):
            top, left = row * shape.stride[0], column * shape.stride[1]
            window = np.s_[:, top : top + shape.window[0], left : left + shape.window[1]]
            size = (len(potentials), shape.window[0] * shape.window[1], shape.channels)
            keys, values = potentials[window].reshape(size), spikes[window].reshape(size)
            # the first of several maxima
            winners = keys.argmax(axis=1)
            out_winners[:, row, column] = winners
            out_spikes[:, row, column] = np.take_along_axis(values, winners[:, None], axis=1)[:, 0]
    return out_spikes, out_winners


def write(
    path: Path,
    shape: Shape,
    potentials: np.ndarray,
    spikes: np.ndarray,
    expected: tuple[np.ndarray, np.ndarray] | None = None,
) -> None:
    """Write a vector file.

    Parameters
    ----------
    path
        File to write.
    shape
        Parameters of the block.
    potentials, spikes
        [frame, row, column, channel].
    expected
        Spikes and winners that must go out; by default those of :func:`pool`.
    """
    out_spikes, out_winners = expected or pool(shape, potentials, spikes)
    header = HEADER.pack(
        MAGIC,
        VERSION,
        shape.width,
        0,
        *shape.window,
        *shape.stride,
        *shape.map_size,
        shape.channels,
        len(potentials),
        0,
        0,
        0,
    )
    with Path(path).open("wb") as file:
        file.write(header)
        file.write(potentials.astype("<i4").tobytes())
        file.write(spikes.astype("u1").tobytes())
        file.write(out_spikes.astype("u1").tobytes())
        file.write(out_winners.astype("<u2").tobytes())


def read_shape(path: Path) -> Shape:
    """Read the parameters that a vector file is for.

    Parameters
    ----------
    path
        Vector file.
    """
    with Path(path).open("rb") as file:
        header = file.read(HEADER.size)
    if len(header) < HEADER.size or not header.startswith(MAGIC):
        raise SystemExit(f"{path}: no vector file (it does not begin with {MAGIC.decode()})")
    _, version, width, _, *sizes = HEADER.unpack(header)
    if version != VERSION:
        raise SystemExit(f"{path}: format version {version}, expected {VERSION}")
    window, stride, map_size = tuple(sizes[0:2]), tuple(sizes[2:4]), tuple(sizes[4:6])
    return Shape(width, window, stride, map_size, sizes[6])


def frames_for_test(shape: Shape, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Frames that are random, full of ties, at the ends of the range, all equal, with all spikes.

    Parameters
    ----------
    shape
        Parameters of the block.
    count
        Number of frames.
    seed
        Of the random numbers.

    Returns
    -------
    potentials, spikes
        [frame, row, column, channel].
    """
    random = np.random.default_rng(seed)
    size = (*shape.map_size, shape.channels)
    low, high = -(2 ** (shape.width - 1)), 2 ** (shape.width - 1) - 1
    patterns = [
        lambda: random.integers(low, high, size, endpoint=True),
        lambda: random.integers(-2, 1, size, endpoint=True),
        lambda: random.choice([low, low + 1, -1, 0, 1, high - 1, high], size),
        lambda: random.choice([low, high], size),
        lambda: np.full(size, random.choice([low, -1, 0, high])),
        lambda: np.arange(np.prod(size)).reshape(size) % (2 * high) - high,
        lambda: -(np.arange(np.prod(size)).reshape(size) % (2 * high) - high),
    ]
    rates = [0.5, 0.1, 0.9, 0.0, 1.0]
    potentials = np.stack([patterns[i % len(patterns)]() for i in range(count)])
    spikes = np.stack([random.random(size) < rates[i % len(rates)] for i in range(count)])
    return potentials.astype(np.int32), spikes.astype(np.uint8)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("parameters", help="variables for make from a vector file")
    command.add_argument("vectors", type=Path)
    print(*read_shape(parser.parse_args().vectors).make_variables())


if __name__ == "__main__":
    main()
