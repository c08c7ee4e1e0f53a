"""Statements for the first step of each time window."""

from __future__ import annotations

from bsnn.brian.targets import TemplateRunner

__all__ = ["WindowStart"]


class WindowStart(TemplateRunner):
    """Runs statements for each neuron of a group in the first step of each time window.

    Windows begin at time zero. In the other steps one comparison of whole numbers is made.

    Parameters
    ----------
    group : brian2.Group
        The neurons; windows are counted in steps of its clock.
    code : str
        Statements, as for `brian2.Group.run_regularly`; they write no shared variables.
    window_steps : int
        Steps in a window.
    when, order : str, int
        Scheduling slot and order in it; by default the slot ``start``, before all thresholds.
    name : str, optional
        Unique name.

    Examples
    --------
    >>> clear = WindowStart(neurons, "v = 0", window_steps=100)  # doctest: +SKIP
    """

    def __init__(self, group, code, *, window_steps, when="start", order=0, name=None) -> None:
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
