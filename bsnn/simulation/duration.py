"""How long a simulation will take, about."""

from __future__ import annotations

import dataclasses

import numpy as np

from bsnn.brian import estimate
from bsnn.conversion import SpikingModel
from bsnn.errors import SimulationError

__all__ = ["DEVICE_COSTS", "DeviceCost", "estimate_seconds"]

# Images whose spikes are counted, in closed form, to know how active the network is.
_PROBE_IMAGES = 20


@dataclasses.dataclass(frozen=True)
class DeviceCost:
    """Seconds that each part of a simulation takes on one core of a common machine of 2024."""

    build: float
    step: float
    neuron_step: float
    operation: float


#: By device and connectivity, as `tests/benchmarks/device_costs.py` measures them in the form that
#: goes with it; the build is that of a network whose code was not compiled on this machine before.
DEVICE_COSTS = {
    ("runtime", "shared"): DeviceCost(60.0, step=4.5e-4, neuron_step=3.4e-9, operation=2.7e-9),
    ("runtime", "synapses"): DeviceCost(60.0, step=4.5e-4, neuron_step=3.4e-9, operation=2.7e-9),
    ("cpp", "shared"): DeviceCost(10.0, step=1.0e-6, neuron_step=3.4e-9, operation=2.3e-9),
    ("cpp", "synapses"): DeviceCost(10.0, step=1.0e-6, neuron_step=3.4e-9, operation=2.3e-9),
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
    coded = model.code(probe)
    operations = 0.0
    for (source, _), number in size.by_path.items():
        spikes = np.count_nonzero(coded.levels[source]) / len(probe)
        operations += spikes * number / model.populations[source].size
    seconds = model.steps * (cost.step + size.neurons * cost.neuron_step)
    return cost.build, len(images) * (seconds + operations * cost.operation)
