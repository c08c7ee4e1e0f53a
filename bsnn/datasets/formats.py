"""Readers of the file formats in which the data sets are published."""

from __future__ import annotations

import gzip
import lzma
import struct
from pathlib import Path

import numpy as np

from bsnn.errors import DatasetError

__all__ = ["PACKINGS", "read_bytes", "read_cifar_batch", "read_idx"]

#: How a file may be packed, by the ending added to its published name.
PACKINGS = {"": open, ".gz": gzip.open, ".xz": lzma.open}

_CIFAR_RECORD = 1 + 3 * 32 * 32


def read_bytes(path: Path) -> bytes:
    """Read a file that may be packed with gzip or xz, after its ending."""
    opener = PACKINGS.get(path.suffix, open)
    try:
        with opener(path, "rb") as file:
            return file.read()
    except (EOFError, lzma.LZMAError, gzip.BadGzipFile, OSError) as error:
        raise DatasetError(
            f"{path} cannot be read ({error or type(error).__name__}). The file is damaged or "
            "incomplete: delete it and fetch it again."
        ) from error


def read_idx(path: Path) -> np.ndarray:
    """Read a file of unsigned bytes in the IDX format of MNIST.

    Returns
    -------
    numpy.ndarray
        uint8, with the shape that the file's header names.
    """
    content = read_bytes(path)
    if len(content) < 4 or content[:3] != b"\x00\x00\x08" or len(content) < 4 + 4 * content[3]:
        raise DatasetError(
            f"{path} is not an IDX file of unsigned bytes (it starts with {content[:4].hex()!r}). "
            "Check that the file is the published one."
        )
    rank = content[3]
    shape = struct.unpack(f">{rank}I", content[4 : 4 + 4 * rank])
    body = np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * rank)
    if body.size != int(np.prod(shape)):
        raise DatasetError(
            f"{path} announces an array of shape {shape} but holds {body.size} values. The file is "
            "truncated or damaged: delete it and fetch it again."
        )
    return body.reshape(shape)


def read_cifar_batch(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read one file of the binary version of CIFAR-10.

    Returns
    -------
    pixels : numpy.ndarray
        uint8, shape ``(n, 3, 32, 32)``.
    labels : numpy.ndarray
        int64, shape ``(n,)``.
    """
    content = read_bytes(path)
    if not content or len(content) % _CIFAR_RECORD:
        raise DatasetError(
            f"{path} holds {len(content)} bytes, which is no whole number of records of "
            f"{_CIFAR_RECORD} bytes. The file is truncated or not in CIFAR-10's binary version."
        )
    records = np.frombuffer(content, dtype=np.uint8).reshape(-1, _CIFAR_RECORD)
    return records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0].astype(np.int64)
