"""Files of vectors for the pooling block: what goes in and what must come out.

The format is described in ``hardware/README.md``: a header of 64 bytes, then arrays, little endian.
"""

from __future__ import annotations

import dataclasses
import os
import struct
from pathlib import Path

import numpy as np

from bsnn.cosimulation.fixed_point import integer_pool
from bsnn.errors import StorageError
from bsnn.storage import replacing

__all__ = ["PoolVectors"]

_HEADER = struct.Struct("<8s14I")
_MAGIC = b"BSNNPOOL"
_VERSION = 1


@dataclasses.dataclass(frozen=True, eq=False)
class PoolVectors:
    """Frames for the pooling block; a frame is a time step.

    Attributes
    ----------
    potentials : numpy.ndarray
        int32, shape ``(frames, height, width, channels)``.
    spikes : numpy.ndarray
        uint8, of the same shape.
    window, stride : (int, int)
        Vertical and horizontal.
    bits, fraction_bits : int
        Width of a potential, and how many of its bits stand after the point.
    """

    potentials: np.ndarray
    spikes: np.ndarray
    window: tuple[int, int]
    stride: tuple[int, int]
    bits: int
    fraction_bits: int

    @property
    def parameters(self) -> dict[str, int]:
        """Parameters of the block, by the names that its Makefile has for them."""
        _, height, width, channels = self.potentials.shape
        return {
            "WIDTH": self.bits,
            "WINDOW_HEIGHT": self.window[0],
            "WINDOW_WIDTH": self.window[1],
            "STRIDE_HEIGHT": self.stride[0],
            "STRIDE_WIDTH": self.stride[1],
            "MAP_HEIGHT": height,
            "MAP_WIDTH": width,
            "CHANNELS": channels,
        }

    def expected(self) -> tuple[np.ndarray, np.ndarray]:
        """Return spikes and winners that the block must answer (see `integer_pool`)."""
        return integer_pool(self.potentials, self.spikes, self.window, self.stride)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the file, atomically."""
        path = Path(path)
        frames, height, width, channels = self.potentials.shape
        header = _HEADER.pack(
            _MAGIC, _VERSION, self.bits, self.fraction_bits, *self.window, *self.stride,
            height, width, channels, frames, 0, 0, 0,
        )  # fmt: skip
        passed, winner = self.expected()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"{path} cannot be written: {error}") from error
        with replacing(path) as temporary, temporary.open("wb") as file:
            file.write(header)
            for array, dtype in (
                (self.potentials, "<i4"), (self.spikes, "u1"), (passed, "u1"), (winner, "<u2"),
            ):  # fmt: skip
                file.write(np.ascontiguousarray(array, dtype).tobytes())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> PoolVectors:
        """Read a file.

        Raises
        ------
        StorageError
            The file is missing, has another format, or what must come out is not what the integer
            model says.
        """
        try:
            data = Path(path).read_bytes()
        except OSError as error:
            raise StorageError(f"{path} cannot be read ({error}).") from error
        if len(data) < _HEADER.size or not data.startswith(_MAGIC):
            raise StorageError(f"{path} is no file of vectors for the pooling block.")
        (_, version, bits, fraction, *rest) = _HEADER.unpack_from(data)
        if version != _VERSION:
            raise StorageError(f"{path} has version {version}; version {_VERSION} can be read.")
        window, stride = (rest[0], rest[1]), (rest[2], rest[3])
        height, width, channels, frames = rest[4:8]
        shape = (frames, height, width, channels)
        out = (
            frames,
            (height - window[0]) // stride[0] + 1,
            (width - window[1]) // stride[1] + 1,
            channels,
        )
        arrays, offset = [], _HEADER.size
        for size, dtype in ((shape, "<i4"), (shape, "u1"), (out, "u1"), (out, "<u2")):
            count = int(np.prod(size))
            end = offset + count * np.dtype(dtype).itemsize
            if end > len(data):
                raise StorageError(f"{path} has {len(data)} bytes and ends before its vectors do.")
            arrays.append(np.frombuffer(data, dtype, count, offset).reshape(size))
            offset = end
        if offset != len(data):
            raise StorageError(f"{path} has {len(data) - offset} bytes after its vectors.")
        vectors = cls(arrays[0], arrays[1], window, stride, bits, fraction)
        for found, wanted in zip(arrays[2:], vectors.expected(), strict=True):
            if not np.array_equal(found, wanted):
                raise StorageError(
                    f"{path}: what it says must come out is not what the integer model says."
                )
        return vectors
