"""Traces of neurons in rate coding."""

from __future__ import annotations

import numpy as np

from bsnn.conversion import RateModel
from bsnn.conversion.populations import per_channel
from bsnn.explain.tracing import WATCHES, NeuronTrace, Watch

__all__ = ["RateWatch"]


class RateWatch(Watch):
    """The potential after the update of a step, and what a reset leaves of it."""

    @property
    def reached_slot(self) -> dict[str, str | float]:
        if not self.net.model.spikes(self.layer):
            return super().reached_slot
        # after the update, in the same slot as the threshold and just before it
        order = self.net[self.layer].thresholder["spike"].order
        return {"when": "thresholds", "order": order - 0.5}

    def trace(self, neuron: int, start: int, spiked: np.ndarray, **about) -> NeuronTrace:
        net, model, layer = self.net, self.net.model, self.layer
        population, spikes = model.populations[layer], model.spikes(layer)

        def own(values: float | np.ndarray) -> float:
            spread = np.broadcast_to(per_channel(values, population.shape), population.shape)
            return float(net.to_neurons(layer, spread)[neuron])

        scale, unit = own(model.scales[layer]), own(model.unit(layer))
        threshold = unit * own(model.threshold(layer))
        steps = self.stages()
        potential, left = (unit * values for values in self.sampled(neuron, start + steps))
        first = model.initial_potential * threshold if spikes else 0.0
        current = potential - np.concatenate([[first], left[:-1]])
        spiked = spiked[(spiked >= 0) & (spiked < model.steps)]
        if spikes:
            decoded = scale * np.cumsum(np.bincount(spiked, minlength=model.steps)) / (steps + 1)
        else:
            decoded = left / (steps + 1)
        return NeuronTrace(
            steps=steps,
            current=current,
            potential=potential,
            left=left,
            threshold=threshold if spikes else None,
            spikes=spiked,
            stage=model.steps,
            decoded=decoded,
            **about,
        )


WATCHES.add(RateModel.coding, RateWatch)
