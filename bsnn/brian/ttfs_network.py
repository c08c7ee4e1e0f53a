"""A network in time-to-first-spike coding as Brian2 objects."""

from __future__ import annotations

from typing import Any

import brian2 as b2
import numpy as np

from bsnn.brian.network import SpikingNetwork
from bsnn.brian.neurons import NeuronForm
from bsnn.brian.spike_step_recorder import SpikeStepRecorder
from bsnn.brian.window_recorder import WindowRecorder
from bsnn.conversion import TtfsModel
from bsnn.conversion.time_code import pixel_levels
from bsnn.errors import SimulationError

__all__ = ["TtfsNetwork"]


class TtfsNetwork(SpikingNetwork):
    """A `SpikingNetwork` whose neurons spike at most once in a window.

    Attributes
    ----------
    neuron_form : NeuronForm
        Equations of the neurons.
    pixel_levels : brian2.TimedArray
        The images in spike times, one row an image (or batch).
    interval : int
        Windows from one image (or batch) to the next.
    recorders : dict of str to SpikeStepRecorder
        By population that `record_levels` was called for.
    read_out : WindowRecorder
        Potentials of the last layer.
    """

    model: TtfsModel
    monitor_slot = "before_thresholds"

    def __init__(
        self, model: TtfsModel, neuron_form: NeuronForm, interval: int, **options: Any
    ) -> None:
        super().__init__(model, form=neuron_form.name, **options)
        self.neuron_form = neuron_form
        self.interval = interval
        blank = np.zeros((self.rounds, self.batch * model.input.size))
        window = model.steps * self.clock.dt
        self.pixel_levels = b2.TimedArray(
            blank, dt=interval * window, name=self.label(f"{model.input.name}_pixel_levels")
        )
        self.image_numbers = b2.TimedArray(
            np.zeros((self.rounds, self.batch)),
            dt=interval * window,
            name=self.label(f"{model.input.name}_image_numbers"),
        )

    @property
    def draws_random_numbers(self) -> bool:
        """Whether anything depends on the numbers of the images."""
        return any("noise_stream" in group.variables for group in self.groups.values())

    @property
    def windows(self) -> int:
        """Windows in one run: until the last image was read out, and its first step after."""
        return (self.rounds - 1) * self.interval + self.model.output.depth + 1

    @property
    def duration(self) -> b2.Quantity:
        return self.windows * self.model.steps * self.clock.dt

    def presentation(
        self, images: np.ndarray, numbers: np.ndarray | None = None
    ) -> dict[b2.TimedArray, np.ndarray]:
        values = {self.pixel_levels: self.encode(images)}
        if self.draws_random_numbers:
            values[self.image_numbers] = self.number_rows(images, numbers)
        return values

    def encode(self, images: np.ndarray) -> np.ndarray:
        """Return images as rows of levels in the order of the input neurons.

        Parameters
        ----------
        images : numpy.ndarray
            Shape ``(n, *input_shape)``, at most `capacity` of them; values from 0 to the input's
            scale.

        Returns
        -------
        numpy.ndarray
            float64, a row for each image (or batch); zero where there is no image.
        """
        images = self.model.check_images(images)
        scale = self.model.scales[self.model.input.name]
        return self.input_rows(pixel_levels(images, scale, self.model.steps, self.model.rounding))

    def record_levels(self, name: str) -> None:
        """Record in which step each neuron of a population spikes for each image."""
        recorder = SpikeStepRecorder(
            self[name],
            window_steps=self.model.steps,
            windows=self.rounds,
            first_step=self.model.populations[name].depth * self.model.steps,
            interval=self.interval,
            origin=self.origin,
            name=self.label(f"{name}_levels"),
        )
        self.recorders[name] = recorder
        self.network.add(recorder)

    def recorded_levels(self, name: str) -> np.ndarray:
        """Return the level of every spike for the images presented last.

        `record_levels` must have been called before their run.

        Returns
        -------
        numpy.ndarray
            float32, shape ``(capacity, *shape)``; 0 where there was no spike.

        Raises
        ------
        SimulationError
            A neuron spiked twice for one image or outside its windows, which only altered
            equations can make it do.
        """
        levels = self.by_image(self.recorders[name].steps_left)
        return self.to_layer(name, levels.astype(np.float32))

    def record_read_out(self) -> None:
        """Record the potentials of the last layer in the first step after its silent stage."""
        model, population = self.model, self.model.output
        self.read_out = WindowRecorder(
            self[population.name],
            self.neuron_form.potential,
            window_steps=self.interval * model.steps,
            windows=self.rounds,
            first_step=population.depth * model.steps,
            origin=self.origin,
            when="after_thresholds",
            name=self.label(f"{population.name}_read_out"),
        )
        self.network.add(self.read_out)

    def read_potentials(self) -> np.ndarray:
        """Return the potentials of the last layer for each of the images presented last.

        They stand for the logits, in the units of the trained network; float64, shape
        ``(capacity, outputs)``.

        Raises
        ------
        SimulationError
            They are not run yet, or not to the end, and some were not read out.
        """
        population = self.model.output
        done = self.origin.steps - population.depth * self.model.steps
        read = -(-done // (self.interval * self.model.steps))
        if read < self.rounds:
            raise SimulationError(
                f"The last layer was read out for {max(0, read) * self.batch} of {self.capacity} "
                "images: the run ended before its time. Run the network for its whole duration."
            )
        potential = self.by_image(self.read_out.values)
        potential -= self.read_out_offset()
        return self.to_layer(population.name, potential)

    def read_out_scale(self) -> np.ndarray:
        """Return, for each neuron of the last layer, what a recorded 1 stands for."""
        return np.ones(self.model.output.size)

    def read_out_offset(self) -> float:
        """Return what is recorded where the last layer has told nothing."""
        return self.model.initial_charge(self.model.output.name)
