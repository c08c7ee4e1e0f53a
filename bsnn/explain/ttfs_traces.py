"""Traces of neurons in time-to-first-spike coding."""

from __future__ import annotations

import numpy as np

from bsnn.conversion import TtfsModel
from bsnn.explain.tracing import WATCHES, NeuronTrace, Watch

__all__ = ["TtfsWatch"]


class TtfsWatch(Watch):
    """The potential of the two-stage neuron, and its slope, which is what drives it."""

    @property
    def variables(self) -> list[str]:
        return [self.net.code.potential, "slope"]

    def trace(self, neuron: int, start: int, spiked: np.ndarray, **about) -> NeuronTrace:
        model, layer = self.net.model, self.layer
        window, depth, spikes = model.steps, model.populations[layer].depth, model.spikes(layer)
        steps = self.stages()
        potential, left = self.sampled(neuron, start + steps)
        current = np.array(self._left[neuron].slope)[self.rows(start + steps)]
        decoded = np.zeros(len(steps))
        spiked = spiked[(spiked >= depth * window) & (spiked <= steps[-1])]
        if spikes:
            for step in spiked:
                level = (depth + 1) * window - step
                decoded[steps >= step] = level * model.scales[layer] / window
        else:
            # once it was read, nothing drives it any more
            current[-1] = 0
            left = potential.copy()
            decoded[-1] = potential[-1] - model.initial_charge(layer)
        return NeuronTrace(
            steps=steps,
            current=current,
            potential=potential,
            left=left,
            threshold=float(model.scales[layer]) if spikes else None,
            spikes=spiked,
            stage=window,
            decoded=decoded,
            **about,
        )


WATCHES.add(TtfsModel.coding, TtfsWatch)
