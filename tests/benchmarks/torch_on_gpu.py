"""The time-stepped networks in PyTorch on a GPU, as `bsnn bench --device cuda` runs them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from bsnn.conversion import RateModel, SpikingModel, TtfsModel

from .torch_rate import TorchRate
from .torch_time_stepped import TimeStepped

__all__ = ["PROGRAMS", "has_gpu", "peak_bytes", "run"]

_DEVICE = "cuda"


def _ttfs(model: TtfsModel) -> Callable[[np.ndarray], np.ndarray]:
    return TimeStepped(model, _DEVICE).run


def _rate(model: RateModel) -> Callable[[np.ndarray], np.ndarray]:
    program = TorchRate(model, _DEVICE)
    return lambda images: program.run(images, model.steps)


#: By kind of model, the function that makes a program: from images to the values of its outputs.
PROGRAMS: dict[type[SpikingModel], Callable] = {TtfsModel: _ttfs, RateModel: _rate}


def has_gpu() -> bool:
    """Return whether PyTorch can use a GPU."""
    return torch.cuda.is_available()


def run(program: Callable, parts: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return the classes of images, part by part; single precision in tensor cores is allowed."""
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.allow_tf32 = True
    found = [program(images).reshape(len(images), -1).argmax(axis=1) for images in parts]
    torch.cuda.synchronize()
    return found


def peak_bytes() -> int:
    """Return the most memory that tensors have taken."""
    return torch.cuda.max_memory_allocated()
