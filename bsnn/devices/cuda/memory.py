"""Memory that a network takes on a GPU."""

from __future__ import annotations

from typing import Any

import brian2 as b2
import numpy as np
from brian2.core.variables import DynamicArrayVariable

from bsnn.devices.cuda.gpu import NoGpu, find_gpu
from bsnn.errors import BuildError

__all__ = ["check_gpu_memory", "gpu_memory"]

# Of an explicit synapse: indices, weight and its place in the lists of a pathway.
_BYTES_PER_SYNAPSE = 32

# What a process takes before it has an array of its own, and the heap that Brian2CUDA sets aside
# for its monitors.
_BASE_BYTES = 600 * 2**20


def gpu_memory(synapses: int = 0) -> int:
    """Return the bytes that what the active device was made to run will take on the GPU.

    Exact for arrays, about right for the `synapses` connections of `brian2.Synapses`, and without
    what a `brian2.SpikeMonitor` or `brian2.StateMonitor` records.
    """
    device: Any = b2.get_device()
    arrays = sum(
        variable.size * np.dtype(variable.dtype).itemsize
        for variable in device.arrays
        if not isinstance(variable, DynamicArrayVariable)
    )
    images = sum(timed.values.nbytes for timed in device.timed_arrays)
    return _BASE_BYTES + arrays + images + synapses * _BYTES_PER_SYNAPSE


def check_gpu_memory(synapses: int = 0) -> None:
    """Refuse a network that the memory of the GPU cannot hold; see `gpu_memory`.

    Raises
    ------
    BuildError
        With the numbers.
    """
    try:
        found = find_gpu(b2.prefs.devices.cuda_standalone.cuda_backend.gpu_id)
    except NoGpu:
        # the run will say so
        return
    needed = gpu_memory(synapses)
    if needed > found.free_memory:
        raise BuildError(
            f"The network needs about {needed / 1e9:.1f} GB on the GPU; of the "
            f"{found.memory / 1e9:.1f} GB of the {found.name} {found.free_memory / 1e9:.1f} GB are "
            "free. Simulate fewer images side by side (batch, chunk), or in precision float32."
        )
