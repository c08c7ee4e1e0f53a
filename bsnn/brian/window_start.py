"""Statements for the first step of each time window."""

from __future__ import annotations

from brian2.core.variables import Variables

from bsnn.brian.targets import TemplateRunner
from bsnn.brian.time_origin import TimeOrigin, add_start_step

__all__ = ["WindowStart"]


class WindowStart(TemplateRunner):
    """Runs statements for each neuron of a group in the first step of each time window.

    In the other steps one comparison of whole numbers is made.

    Parameters
    ----------
    group : brian2.Group
        The neurons; windows are counted in steps of its clock.
    code : str
        Statements, as for `brian2.Group.run_regularly`; they write no shared variables.
    window_steps : int
        Steps in a window.
    origin : TimeOrigin, optional
        Where the first window begins; by default at time zero.
    when, order : str, int
        Scheduling slot and order in it; by default the slot ``start``, before all thresholds.
    name : str, optional
        Unique name.

    Examples
    --------
    >>> clear = WindowStart(neurons, "v = 0", window_steps=100)  # doctest: +SKIP
    """

    def __init__(self, group, code, *, window_steps, origin: TimeOrigin | None = None,
                 when="start", order=0, name=None) -> None:  # fmt: skip
        if window_steps < 1:
            raise ValueError(f"A window has at least one step, not {window_steps}.")
        super().__init__(
            group,
            "window_start",
            code=code,
            user_code=code,
            clock=group.clock,
            when=when,
            order=order,
            name=name or f"{group.name}_window_start*",
            template_kwds={"_g": {"window_steps": int(window_steps)}},
        )
        self.add_dependency(group)
        # Brian2 keeps a weak reference, and nobody else a subgroup made on the spot
        self.source = group
        # beside those of the group, which the statements use
        self.variables = Variables(self)
        add_start_step(self, self.variables, origin)
