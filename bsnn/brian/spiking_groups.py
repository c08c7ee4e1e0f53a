"""Groups whose neurons cost something when they spike, and next to nothing in other steps.

Brian2's `brian2.NeuronGroup` tests its threshold for every neuron in every step. The groups here
are NeuronGroups in all else, but find their spikes otherwise: `CalendarGroup` plans them once a
window, `FirstSpikePool` follows the spikes of its source, and `OnePassGroup` updates, tests and
resets each neuron in one go.

The spikes of a step are listed in the order of the neurons; on CUDA, as Brian2CUDA's own are, in
any order.
"""

from __future__ import annotations

import brian2 as b2
import numpy as np
from brian2.groups.group import CodeRunner

from bsnn.brian.pooling import Windows
from bsnn.brian.targets import TemplateRunner

__all__ = ["CalendarGroup", "FirstSpikePool", "OnePassGroup"]


class _OwnSpikes(b2.NeuronGroup):
    """A NeuronGroup in which another object takes the place of the test of the threshold."""

    def __init__(self, N, model, *, events=None, refractory=False, **options):
        if refractory is not False:
            raise NotImplementedError(
                f"A {type(self).__name__} has no refractory period. Say in its statements when a "
                "neuron may spike, or use brian2.NeuronGroup."
            )
        # a group has spikes if it has the event; the test for this one is taken out below
        super().__init__(N, model, events={**(events or {}), "spike": "False"}, **options)

    def _find_spikes_by(self, runner: CodeRunner) -> None:
        self.contained_objects.remove(self.thresholder["spike"])
        self.thresholder["spike"] = runner
        self.contained_objects.append(runner)


class CalendarGroup(_OwnSpikes):
    """Neurons that plan at the start of each window in which step of it they spike.

    The plan is sorted by step, so that a step costs its spikes only. All neurons plan at once:
    windows begin at time zero and last `window_steps` steps of the clock.

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
    order : int
        Order in the slot ``thresholds``, in which neurons plan and spike.
    **options
        As for `brian2.NeuronGroup`.
    """

    def __init__(self, N, model, at_start_of_window, *, window_steps, order=0, **options):
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
        self._find_spikes_by(
            _Runner(self, "spike_calendar", at_start_of_window, window_steps=int(window_steps))
        )


class FirstSpikePool(_OwnSpikes):
    """Max-pooling of times to first spike: the first spike of each window of neurons passes.

    It passes in the same step, and costs what the spikes of the source do. Neurons of both groups
    are numbered channel last (row, column, channel).

    Parameters
    ----------
    source : brian2.NeuronGroup
        The neurons that are pooled, ``channels`` maps of ``height x width``.
    source_shape : (int, int, int)
        Channels, height and width of the source.
    windows : Windows
        Which rows and columns each neuron pools.
    window_steps : int
        A neuron passes one spike in each time window of this many steps.
    model : str
        Further equations; ``passed_window``, the number of the time window in which the neuron
        last passed a spike, is defined.
    order : int
        Order in the slot ``thresholds``; must be above the source's.
    **options
        As for `brian2.NeuronGroup`.
    """

    def __init__(self, source, source_shape, windows: Windows, *, window_steps, model="", order,
                 **options):  # fmt: skip
        channels, height, width = source_shape
        rows, columns = windows.over(height, width).shape
        if len(source) != channels * height * width:
            raise ValueError(
                f"The source {source.name!r} has {len(source)} neurons, not {source_shape}."
            )
        super().__init__(
            rows * columns * channels, model + "\npassed_window : integer", order=order, **options
        )
        self.passed_window = -1
        first, window = windows.containing(height, width)
        self._fan_out = np.repeat(np.diff(first), channels)
        for name, values in (("_first_window", first), ("_windows", window)):
            self.variables.add_array(
                name, size=len(values), values=values, dtype=np.int32, constant=True, read_only=True
            )
        # a bit a neuron, for those that a step's spikes have reached
        words = -(-len(self) // 64)
        self.variables.add_array("_reached", size=words, dtype=np.int64)
        self.variables.add_reference("_source_spikespace", source, "_spikespace")
        self._find_spikes_by(
            _Runner(
                self,
                "first_spike_pool",
                "",
                window_steps=int(window_steps),
                pooled_channels=channels,
                source_size=len(source),
            )
        )

    def fan_out(self) -> np.ndarray:
        """Return the number of windows that each neuron of the source takes part in."""
        return self._fan_out


class OnePassGroup(_OwnSpikes):
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
        self._find_spikes_by(_Runner(self, "one_pass", code))


class _Runner(TemplateRunner):
    """Writes the spikes of a group into its spike space, with a template."""

    def __init__(self, group: b2.NeuronGroup, template: str, code, **geometry) -> None:
        super().__init__(
            group,
            template,
            code=code,
            user_code=code,
            clock=group.clock,
            when="thresholds",
            order=group.order,
            name=f"{group.name}_{template}",
            # under one name, which no variable can have
            template_kwds={"_g": geometry},
        )
