"""NeuronGroups in which another object takes the place of the test of the threshold.

The spikes of a step are listed in the order of the neurons; on CUDA, as Brian2CUDA's own are, in
any order.
"""

from __future__ import annotations

import brian2 as b2
from brian2.groups.group import CodeRunner

from bsnn.brian.targets import TemplateRunner

__all__ = ["OwnSpikes", "SpikeRunner"]


class OwnSpikes(b2.NeuronGroup):
    """A `brian2.NeuronGroup` whose spikes are found by something else than a threshold.

    Parameters
    ----------
    N : int
        Number of neurons.
    model : str or brian2.Equations
        As for `brian2.NeuronGroup`.
    **options
        As for `brian2.NeuronGroup`, without a refractory period.
    """

    def __init__(self, N, model, *, events=None, refractory=False, **options):
        if refractory is not False:
            raise NotImplementedError(
                f"A {type(self).__name__} has no refractory period. Say in its statements when a "
                "neuron may spike, or use brian2.NeuronGroup."
            )
        # a group has spikes if it has the event; the test for this one is taken out below
        super().__init__(N, model, events={**(events or {}), "spike": "False"}, **options)

    def find_spikes_by(self, runner: CodeRunner) -> None:
        """Let an object write the spikes of each step."""
        self.contained_objects.remove(self.thresholder["spike"])
        self.thresholder["spike"] = runner
        self.contained_objects.append(runner)


class SpikeRunner(TemplateRunner):
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
