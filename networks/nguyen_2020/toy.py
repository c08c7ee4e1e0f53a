"""Windows of four neurons with known currents: which rate does each gate pass?

The smallest network that tells gates apart. Each window has four integrate-and-fire neurons with
constant currents, or currents with noise; a max-pooling should pass the largest of their rates.
"""

from __future__ import annotations

import brian2 as b2
import numpy as np

from bsnn.brian import GatedPool, MaxPooling
from bsnn.conversion import GATES

__all__ = ["pooled_rate_errors"]

# All quantities that gates compare, as in the networks that `bsnn.build` makes.
_MODEL = """
v : 1
v_before : 1
v_reached : 1
v_removed : 1
spiked : integer
spike_count : integer
since_first_spike : integer
current : 1 (constant)
noise : 1 (shared, constant)
"""
_UPDATE = """
spiked = 0
since_first_spike += int(spike_count > 0)
v += current + noise*randn()
v_reached = v
"""
_RESET = """
spiked = 1
v -= 1
v_removed += 1
spike_count += 1
since_first_spike += int(spike_count == 1)
"""


def pooled_rate_errors(
    noise: float, *, windows: int = 4000, steps: int = 256, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """Return by gate the mean and the root mean square of the error of the pooled rate.

    Parameters
    ----------
    noise : float
        Standard deviation of what is added to the current in each step.
    windows, steps : int
        Number of windows of two by two neurons, and of time steps.
    seed : int
        Of currents (uniform from -0.3 to 0.8 thresholds) and noise.
    """
    b2.seed(seed)
    rng = np.random.default_rng(seed)
    clock = b2.Clock(dt=1 * b2.ms)
    neurons = b2.NeuronGroup(
        4 * windows, _MODEL, threshold="v >= 1", reset=_RESET, clock=clock, name="pooled_neurons"
    )
    # on their own: in one block numpy would let v_before be another name for v, and change with it
    neurons.run_regularly("v_before = v", when="thresholds", order=-2)
    neurons.run_regularly(_UPDATE, when="thresholds", order=-1)
    neurons.resetter["spike"].when, neurons.resetter["spike"].order = "thresholds", 1
    neurons.noise = noise
    # a map of two columns: its rows, two by two, are the windows
    current = rng.uniform(-0.3, 0.8, (windows, 4))
    neurons.current = current.ravel()
    pools = {
        gate: GatedPool(
            neurons, (1, 2 * windows, 2), MaxPooling(2), key=key, model="passed : integer",
            reset="passed += 1", order=2, clock=clock, name=f"pool_{gate}",
        )
        for gate, key in GATES.items()
    }  # fmt: skip
    b2.Network(neurons, *pools.values()).run(steps * clock.dt, namespace={})
    rates = {gate: pool.passed[:] / steps for gate, pool in pools.items()}
    rates["average"] = neurons.spike_count[:].reshape(windows, 4).mean(axis=1) / steps
    wanted = np.clip(current.max(axis=1), 0, 1)
    return {
        gate: (float((rate - wanted).mean()), float(np.sqrt(((rate - wanted) ** 2).mean())))
        for gate, rate in rates.items()
    }
