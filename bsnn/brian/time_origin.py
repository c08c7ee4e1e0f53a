"""The step from which steps are counted: the first one of the last presentation."""

from __future__ import annotations

import brian2 as b2
import numpy as np
from brian2.core.variables import Variables

from bsnn.errors import BuildError

__all__ = ["MIDDLE_OF_STEP", "STEP", "TimeOrigin", "add_start_step"]

#: For strings of groups that are linked to an origin: the number of the step, of 64 bits, and the
#: middle of it, in which timed arrays are read, as no rounding of the time matters there.
STEP = "(t_in_timesteps - start_step)"
MIDDLE_OF_STEP = f"{STEP}*dt + 0.5*dt"

# In the place of a step that is not known yet.
_NEXT_RUN = -1


class TimeOrigin(b2.Group):
    """The step of a clock from which others count theirs: the first one of a run.

    It is that of the first run, and after each `reset` that of the next one. Groups that are linked
    to it know it as ``start_step``; objects that work in time windows (`WindowStart`,
    `WindowRecorder`, `SpikeStepRecorder`, `CalendarGroup`) begin them there.
    `brian2.Network.store` keeps it.

    Parameters
    ----------
    clock : brian2.Clock
        Whose steps are counted; that of all objects that count from here.
    name : str, optional
        Unique name.

    Examples
    --------
    >>> origin = TimeOrigin(neurons.clock)                                  # doctest: +SKIP
    >>> clear = WindowStart(neurons, "v = 0", window_steps=100, origin=origin)  # doctest: +SKIP
    >>> net = Network(neurons, origin, clear)                               # doctest: +SKIP
    >>> net.run(130*ms); origin.reset(); net.run(100*ms)                    # doctest: +SKIP
    """

    def __init__(self, clock: b2.Clock, name: str = "time_origin*") -> None:
        super().__init__(clock=clock, when="start", name=name)
        self.variables = Variables(self)
        self.variables.add_constant("N", 1)
        # not constant, so that no code object keeps the value of an earlier run
        self.variables.add_array("start_step", size=1, dtype=np.int64, scalar=True, read_only=True)
        self._enable_group_attributes()
        self.reset()

    def __len__(self) -> int:
        return 1

    def reset(self) -> None:
        """Let steps be counted from the first one of the next run on."""
        self.variables["start_step"].set_value(_NEXT_RUN)

    def before_run(self, run_namespace):
        # the clock has the time of the network that runs, whatever it has run in before
        if self.start is None:
            self.variables["start_step"].set_value(_value(self.clock, "timestep"))
        super().before_run(run_namespace)

    @property
    def start(self) -> int | None:
        """The step; None if no run has begun since the last `reset`."""
        step = _value(self, "start_step")
        return None if step == _NEXT_RUN else step

    @property
    def steps(self) -> int:
        """Steps that have passed since the origin; 0 if no run has begun."""
        start = self.start
        return 0 if start is None else _value(self.clock, "timestep") - start

    def link(self, group: b2.Group) -> None:
        """Let strings of a group use ``start_step``.

        Raises
        ------
        BuildError
            The group has another variable of this name.
        """
        own = self.variables["start_step"]
        if group.variables.get("start_step", own) is not own:
            raise BuildError(
                f"{group.name!r} has a variable start_step of its own; in a network it is the step "
                "in which a presentation begins. Give the variable another name."
            )
        group.variables.add_reference("start_step", self)
        group.add_dependency(self)


def add_start_step(runner, variables: Variables, origin: TimeOrigin | None) -> None:
    """Add what a template counts steps from, ``_start_step``: time zero without an origin."""
    if origin is None:
        variables.add_array("_start_step", size=1, dtype=np.int64, scalar=True, read_only=True)
    else:
        variables.add_reference("_start_step", origin, "start_step")
        runner.add_dependency(origin)


def _value(owner: b2.Group | b2.Clock, name: str) -> int:
    return int(owner.variables[name].get_value()[0])
