"""Groups whose neurons cost something when they spike, and next to nothing in other steps.

Brian2's `brian2.NeuronGroup` tests its threshold for every neuron in every step. The groups here
are NeuronGroups in all else, but find their spikes otherwise: `CalendarGroup` plans them once a
window, and `OnePassGroup` updates, tests and resets each neuron in one go.
"""

from __future__ import annotations

import numpy as np

from bsnn.brian.own_spikes import OwnSpikes, SpikeRunner
from bsnn.brian.time_origin import TimeOrigin, add_start_step

__all__ = ["CalendarGroup", "OnePassGroup"]


class CalendarGroup(OwnSpikes):
    """Neurons that plan at the start of each window in which step of it they spike.

    The plan is sorted by step, so that a step costs its spikes only. All neurons plan at once:
    windows follow one another and last `window_steps` steps of the clock.

    Parameters
    ----------
    N : int
        Number of neurons.
    model : str or brian2.Equations
        As for `brian2.NeuronGroup`; must define ``spike_step : integer``.
    at_start_of_window : str
        Statements run for each neuron in the first step of a window. They set ``spike_step`` to
        the step of the window in which the neuron spikes; a number below zero, or of
        `window_steps` or above, is no spike.
    window_steps : int
        Steps in a window.
    origin : TimeOrigin, optional
        Where the first window begins; by default at time zero.
    order : int
        Order in the slot ``thresholds``, in which neurons plan and spike.
    **options
        As for `brian2.NeuronGroup`.
    """

    def __init__(self, N, model, at_start_of_window, *, window_steps,
                 origin: TimeOrigin | None = None, order=0, **options):  # fmt: skip
        super().__init__(N, model, order=order, **options)
        if "spike_step" not in self.variables:
            raise ValueError(
                f"{self.name}: the model of a CalendarGroup defines 'spike_step : integer'."
            )
        for name, size in (
            ("_calendar", N),
            ("_planned", N),
            ("_first_of_step", window_steps + 1),
            # where threads plan side by side: how many spikes of a step have no place yet
            ("_unplaced", window_steps),
        ):
            self.variables.add_array(name, size=size, dtype=np.int32)
        add_start_step(self, self.variables, origin)
        self.find_spikes_by(
            SpikeRunner(self, "spike_calendar", at_start_of_window, window_steps=int(window_steps))
        )


class OnePassGroup(OwnSpikes):
    r"""Neurons whose update, threshold and reset are one pass over their memory.

    Does what a `brian2.NeuronGroup` does that updates by `update`, tests `threshold` and runs
    `reset` one after the other, neuron for neuron, in one slot: nothing else of the step comes
    between a spike and its reset, so that no input that arrives in the step of a spike is lost.

    Parameters
    ----------
    N : int
        Number of neurons.
    model : str or brian2.Equations
        Parameters and subexpressions, as for `brian2.NeuronGroup`. Differential equations are not
        integrated here: say in `update` what a step does.
    update, threshold, reset : str
        Statements, condition and statements.
    order : int
        Order in the slot ``thresholds``.
    **options
        As for `brian2.NeuronGroup`.

    Examples
    --------
    >>> neurons = OnePassGroup(1000, "v : 1\nbias : 1 (constant)", update="v += bias",
    ...                        threshold="v >= 1", reset="v -= 1")  # doctest: +SKIP
    """

    def __init__(self, N, model, *, update, threshold, reset, order=0, **options):
        super().__init__(N, model, order=order, **options)
        if self.equations.diff_eq_names:
            raise ValueError(
                f"{self.name}: a OnePassGroup integrates no differential equation (there is one "
                f"for {', '.join(sorted(self.equations.diff_eq_names))}). Write in update what a "
                "step does, or use brian2.NeuronGroup."
            )
        self.variables.add_auxiliary_variable("_cond", dtype=bool)
        code = {"update": f"{update}\n_cond = {threshold}", "reset": reset}
        self.find_spikes_by(SpikeRunner(self, "one_pass", code))
