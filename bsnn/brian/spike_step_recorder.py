"""The step of each neuron's spike in each time window."""

from __future__ import annotations

import numpy as np
from brian2.core.variables import Variables
from brian2.groups.group import VariableOwner

from bsnn.brian.targets import TemplateRunner
from bsnn.brian.time_origin import TimeOrigin, add_start_step
from bsnn.errors import SimulationError

__all__ = ["SpikeStepRecorder"]


class SpikeStepRecorder(VariableOwner, TemplateRunner):
    """Records in which step of each time window each neuron of a group spikes.

    For neurons that spike at most once in a window. A step costs its spikes, and each spike has
    its place before the run begins: a byte for each neuron and window (four if a window has more
    than 255 steps), where a `brian2.SpikeMonitor` takes twelve for each spike, and grows. On a GPU
    nothing waits for the host.

    Parameters
    ----------
    group : brian2.Group
        The neurons.
    window_steps : int
        Steps in a window.
    windows : int
        Number of windows that are recorded.
    first_step : int
        The step in which the first window begins.
    interval : int
        One window is recorded, and the ``interval - 1`` after it are not.
    origin : TimeOrigin, optional
        Where steps are counted from; by default time zero.
    name : str, optional
        Unique name.

    Examples
    --------
    >>> recorder = SpikeStepRecorder(neurons, window_steps=16, windows=100)  # doctest: +SKIP
    >>> recorder.values                                                 # doctest: +SKIP
    """

    #: Name of the variable that holds what was recorded.
    recorded = "_levels"

    def __init__(self, group, *, window_steps, windows, first_step=0, interval=1,
                 origin: TimeOrigin | None = None, name=None) -> None:  # fmt: skip
        if min(window_steps, windows, interval) < 1 or first_step < 0:
            raise ValueError(
                f"There is at least one window of at least one step, from step 0 on: {windows} "
                f"windows of {window_steps} steps, from step {first_step} on, each "
                f"{interval}th of them, cannot be recorded."
            )
        size = len(group)
        # bool is Brian2's only type of one byte
        self._in_bytes = window_steps < 256
        geometry = {
            "in_bytes": self._in_bytes,
            "window_steps": int(window_steps),
            "windows": int(windows),
            "first_step": int(first_step),
            "interval": int(interval),
            # a subgroup has the spikes of the whole group
            "start": group.start,
            "size": size,
            "eventspace_size": group.variables["_spikespace"].size,
        }
        TemplateRunner.__init__(
            self,
            group,
            "spike_step_recorder",
            clock=group.clock,
            when="after_thresholds",
            name=name or f"{group.name}_spike_step_recorder*",
            template_kwds={"_g": geometry},
        )
        self.add_dependency(group)
        # Brian2 keeps a weak reference, and nobody else a subgroup made on the spot
        self.source = group
        self._shape = (int(windows), size)
        self.variables = Variables(self)
        self.variables.add_array(
            "_levels", size=int(windows) * size, dtype=bool if self._in_bytes else np.int32
        )
        # whether a neuron has spiked outside of its windows, and twice in one
        self.variables.add_array("_misplaced", size=2, dtype=np.int32)
        add_start_step(self, self.variables, origin)

    @property
    def values(self) -> np.ndarray:
        """Steps that each window had left when a neuron spiked, this step counted; 0: no spike.

        A row for each window, a column for each neuron.

        Raises
        ------
        SimulationError
            A neuron has spiked twice in a window, or outside of those that are recorded.
        """
        outside, again = self.variables["_misplaced"].get_value()
        if outside:
            raise SimulationError(f"Neurons of {self.source.name!r} spiked outside their windows.")
        if again:
            raise SimulationError(
                f"Neurons of {self.source.name!r} spiked more than once in a window."
            )
        levels = self.variables["_levels"].get_value()
        return np.array(levels).view(self.recorded_type).reshape(self._shape)

    def clear(self) -> None:
        """Forget what was recorded, before windows are counted anew."""
        self.variables["_levels"].set_value(0)
        self.variables["_misplaced"].set_value(0)

    @property
    def recorded_type(self) -> type:
        """Type of what was recorded."""
        return np.uint8 if self._in_bytes else np.int32
