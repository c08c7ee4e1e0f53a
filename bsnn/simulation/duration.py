"""How long a simulation will take, about."""

from __future__ import annotations

import dataclasses

import numpy as np

from bsnn.conversion import SpikingModel
from bsnn.errors import SimulationError
from bsnn.network import estimate

__all__ = ["DEVICE_COSTS", "DeviceCost", "estimate_seconds"]

# Images whose spikes are counted, in closed form, to know how active the network is.
_PROBE_IMAGES = 20


@dataclasses.dataclass(frozen=True)
class DeviceCost:
    """Seconds that each part of a simulation takes on one core of a common machine of 2024.

    Attributes
    ----------
    build : float
        Connections, code, compilation.
    step, neuron_step : float
        A step, and a neuron in a step.
    operation, operation_from_memory : float
        A synaptic operation whose weight is in the processor's cache, and one whose weight is not.
    """

    build: float
    step: float
    neuron_step: float
    operation: float
    operation_from_memory: float


# Weights of a shared layer that its spikes find in a processor's cache.
_CACHED_WEIGHTS = 1_000_000


#: By device and connectivity, as `tests/benchmarks/device_costs.py` measures them in the form that
#: goes with it; the build is that of a network whose code was not compiled on this machine before.
DEVICE_COSTS = {
    ("runtime", "shared"): DeviceCost(60.0, 2.0e-4, 2e-10, 3.0e-9, 3.5e-9),
    ("runtime", "synapses"): DeviceCost(60.0, 2.6e-4, 3.4e-9, 3.3e-9, 3.3e-9),
    ("cpp", "shared"): DeviceCost(5.0, 1.0e-6, 2.9e-10, 1.6e-10, 1.5e-9),
    ("cpp", "synapses"): DeviceCost(5.0, 1.0e-6, 2.2e-9, 2.5e-9, 2.5e-9),
}


def estimate_seconds(
    model: SpikingModel, images: np.ndarray, device: str, connectivity: str = "shared"
) -> tuple[float, float]:
    """Estimate the time to simulate images that follow one another in each window.

    Returns
    -------
    build_seconds, run_seconds : float
        A rough guide: right within a factor of about two on a machine that is not busy.
    """
    if (device, connectivity) not in DEVICE_COSTS:
        known = ", ".join(f"{d} with {c}" for d, c in DEVICE_COSTS)
        raise SimulationError(
            f"There is no device {device!r} with connectivity {connectivity!r}: {known}."
        )
    cost = DEVICE_COSTS[device, connectivity]
    size = estimate(model)
    probe = images[:_PROBE_IMAGES]
    expected = model.expected_spikes(probe)
    seconds = model.steps * (cost.step + size.neurons * cost.neuron_step)
    for pair, number in size.by_path.items():
        source = pair[0]
        spikes = expected.get(source, 0.0)
        cached = size.weights_by_path.get(pair, 0) <= _CACHED_WEIGHTS
        operation = cost.operation if cached else cost.operation_from_memory
        seconds += operation * spikes * number / model.populations[source].size
    return cost.build, len(images) * seconds
