"""A rate-coded network as Brian2 objects."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import brian2 as b2
import numpy as np

from bsnn.brian.network import SpikingNetwork
from bsnn.brian.random_numbers import noise_seed
from bsnn.brian.window_recorder import WindowRecorder
from bsnn.conversion import RateModel
from bsnn.conversion.rate import per_channel
from bsnn.errors import SimulationError

__all__ = ["RateNetwork"]

# The most that an integer of Brian2's holds.
_FOR_EVER = 2**31 - 1


class RateNetwork(SpikingNetwork):
    """A `SpikingNetwork` of integrate-and-fire neurons; images follow one after another.

    Attributes
    ----------
    image_values : brian2.TimedArray
        The values that input neurons tell, one row an image (or batch).
    recorders : dict of str to WindowRecorder
        By population that `record_counts` was called for.
    read_out : WindowRecorder
        What the class is read from, in each step, after `record_read_out`.
    """

    model: RateModel
    monitor_slot = "end"

    def __init__(self, model: RateModel, **options: Any) -> None:
        super().__init__(model, **options)
        duration = model.steps * self.clock.dt
        blank = np.zeros((self.rounds, self.batch * model.input.size))
        self.image_values = b2.TimedArray(
            blank, dt=duration, name=self.label(f"{model.input.name}_image_values")
        )
        self.image_numbers = b2.TimedArray(
            np.zeros((self.rounds, self.batch)),
            dt=duration,
            name=self.label(f"{model.input.name}_image_numbers"),
        )

    @property
    def input_flows(self) -> bool:
        """Whether the image enters as a constant current, and not in spikes."""
        return self.source is None and not self.model.spikes(self.model.input.name)

    @property
    def clear_steps(self) -> int:
        """Steps from one clearing of all state to the next; more than there are for only once."""
        return _FOR_EVER if self.continuous else self.model.steps

    @property
    def duration(self) -> b2.Quantity:
        return self.rounds * self.model.steps * self.clock.dt

    def presentation(
        self, images: np.ndarray, numbers: np.ndarray | None = None
    ) -> dict[b2.TimedArray, np.ndarray]:
        rows = self.input_rows(self.model.encode(images))
        return {
            self.image_values: rows,
            self.image_numbers: self.number_rows(images, numbers),
        }

    def by_neuron(self, name: str, values: float | np.ndarray) -> np.ndarray:
        """Spread one value, or one for each channel, over the neurons of an image."""
        shape = self.model.populations[name].shape
        return self.to_neurons(name, np.broadcast_to(per_channel(values, shape), shape))

    def seed_random_numbers(self, group: b2.NeuronGroup, name: str, random: Iterable[str]) -> None:
        """Set what the random numbers of a population's group or axon depend on."""
        group.image_steps = self.clear_steps
        for number in random:
            setattr(group, f"seed_{number}", noise_seed(self.seed, name, number))

    def record_counts(self, name: str) -> None:
        """Record how often each neuron of a population spikes for each image."""
        recorder = WindowRecorder(
            self[name],
            "spike_count",
            window_steps=self.model.steps,
            windows=self.rounds,
            origin=self.origin,
            dtype=np.int32,
            name=self.label(f"{name}_counts"),
        )
        self.recorders[name] = recorder
        self.network.add(recorder)

    def recorded_counts(self, name: str) -> np.ndarray:
        """Return spikes for the images presented last.

        `record_counts` must have been called before their run. int32, a row an image, in the order
        of neurons.
        """
        return self.by_image(self.recorders[name].values)

    def record_read_out(self) -> None:
        """Record in each step what the class is read from."""
        name = self.model.output.name
        self.read_out = WindowRecorder(
            self[name],
            "spike_count" if self.model.spikes(name) else "v",
            window_steps=1,
            windows=self.rounds * self.model.steps,
            origin=self.origin,
            name=self.label(f"{name}_read_out"),
        )
        self.network.add(self.read_out)

    def recorded_read_out(self) -> np.ndarray:
        """Return what the class is read from, in the units of the trained network.

        The value that the last layer has told up to each step: its potential, or its spikes times
        its scale, divided by the number of steps.

        Returns
        -------
        numpy.ndarray
            float64, shape ``(capacity, steps, outputs)``.

        Raises
        ------
        SimulationError
            The images are not run yet, or not to the end, and some were not read out.
        """
        model = self.model
        done = self.origin.steps
        wanted = self.rounds * model.steps
        if done < wanted:
            raise SimulationError(
                f"The last layer was read out in {done} of {wanted} steps: the run ended before "
                "its time. Run the network for its whole duration."
            )
        values = self.read_out.values.reshape(self.rounds, model.steps, self.batch, -1)
        values = values.swapaxes(1, 2).reshape(self.capacity, model.steps, -1)
        values *= self.read_out_scale()
        return values / np.arange(1, model.steps + 1)[:, np.newaxis]

    def read_out_scale(self) -> np.ndarray:
        """Return, for each neuron of the last layer, what a recorded 1 stands for."""
        model, name = self.model, self.model.output.name
        scale = model.scales[name] if model.spikes(name) else model.unit(name)
        return self.by_neuron(name, scale)

    def read_out_offset(self) -> float:
        """Return what is recorded where the last layer has told nothing."""
        return 0.0
