"""Values of neurons in one step of each time window."""

from __future__ import annotations

from typing import Any

import numpy as np
from brian2.core.variables import Variables
from brian2.groups.group import VariableOwner

from bsnn.brian.targets import TemplateRunner
from bsnn.brian.time_origin import TimeOrigin, add_start_step

__all__ = ["WindowRecorder"]


class WindowRecorder(VariableOwner, TemplateRunner):
    """Records an expression of each neuron of a group in one step of each time window.

    In the other steps one comparison of whole numbers is made. The values have their place before
    the run begins, so that nothing grows while it lasts, on a GPU either.

    Parameters
    ----------
    group : brian2.Group
        The neurons; windows are counted in steps of its clock.
    expression : str
        A variable or an expression without units, such as ``"spike_count"`` or ``"v/v_th"``.
    window_steps : int
        Steps in a window, from one record to the next; 1 records every step.
    windows : int
        Number of windows that are recorded, the first ones.
    first_step : int, optional
        The step of the first record; by default the last one of the first window.
    origin : TimeOrigin, optional
        Where the first window begins, and steps are counted from; by default at time zero.
    dtype : dtype
        Type of the values; by default that of Python's float.
    when, order : str, int
        Scheduling slot and order in it; by default at the end of the step.
    name : str, optional
        Unique name.

    Examples
    --------
    >>> counts = WindowRecorder(
    ...     neurons, "spike_count", window_steps=100, windows=10, dtype=np.int32
    ... )  # doctest: +SKIP
    """

    #: Name of the variable that holds what was recorded.
    recorded = "_rows"

    def __init__(self, group, expression, *, window_steps, windows, first_step=None,
                 origin: TimeOrigin | None = None, dtype: Any = float, name=None, when="end",
                 order=0) -> None:  # fmt: skip
        if window_steps < 1 or windows < 1:
            raise ValueError(
                f"There is at least one window of at least one step, not {windows} of "
                f"{window_steps}."
            )
        first_step = window_steps - 1 if first_step is None else first_step
        if first_step < 0:
            raise ValueError(f"The first step is step 0; there is no step {first_step}.")
        geometry = {
            "window_steps": int(window_steps),
            "windows": int(windows),
            "first_step": int(first_step),
        }
        code = f"_recorded = {expression}"
        TemplateRunner.__init__(
            self,
            group,
            "window_recorder",
            code=code,
            user_code=code,
            clock=group.clock,
            when=when,
            order=order,
            name=name or f"{group.name}_window_recorder*",
            template_kwds={"_g": geometry},
        )
        self.add_dependency(group)
        # Brian2 keeps a weak reference, and nobody else a subgroup made on the spot
        self.source = group
        self.window_steps, self.first_step = int(window_steps), int(first_step)
        self._shape = (int(windows), len(group))
        # beside those of the group, in which the expression is read
        self.variables = Variables(self)
        self.variables.add_array("_rows", size=int(windows) * len(group), dtype=dtype)
        self.variables.add_auxiliary_variable("_recorded", dtype=dtype)
        add_start_step(self, self.variables, origin)

    @property
    def values(self) -> np.ndarray:
        """A row for each window, a column for each neuron; 0 where nothing was recorded yet."""
        return np.reshape(self.variables["_rows"].get_value(), self._shape).copy()

    def clear(self) -> None:
        """Forget what was recorded, before windows are counted anew."""
        self.variables["_rows"].set_value(0)

    @property
    def recorded_type(self) -> type:
        """Type of what was recorded."""
        return self.variables["_rows"].dtype
