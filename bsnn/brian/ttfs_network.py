"""A network in time-to-first-spike coding as Brian2 objects."""

from __future__ import annotations

from typing import Any

import brian2 as b2
import numpy as np

from bsnn.brian.connectivity import neuron_order
from bsnn.brian.network import SpikingNetwork
from bsnn.brian.neurons import NeuronForm
from bsnn.conversion import TtfsModel
from bsnn.conversion.time_code import check_pixels, pixel_levels
from bsnn.errors import SimulationError

__all__ = ["TtfsNetwork"]


class TtfsNetwork(SpikingNetwork):
    """A `SpikingNetwork` whose neurons spike at most once in a window.

    Attributes
    ----------
    neuron_form : NeuronForm
        Equations of the neurons.
    pixel_levels : brian2.TimedArray
        The images in spike times, one row an image.
    interval : int
        Windows from one image to the next.
    """

    model: TtfsModel
    monitor_slot = "before_thresholds"

    def __init__(
        self, model: TtfsModel, neuron_form: NeuronForm, interval: int, **options: Any
    ) -> None:
        super().__init__(model, form=neuron_form.name, **options)
        self.neuron_form = neuron_form
        self.interval = interval
        blank = np.zeros((self.capacity, model.input.size))
        window = model.steps * self.clock.dt
        self.pixel_levels = b2.TimedArray(blank, dt=interval * window, name="pixel_levels")

    @property
    def windows(self) -> int:
        """Windows in one run: until the last image was read out, and its first step after."""
        return (self.capacity - 1) * self.interval + self.model.output.depth + 1

    @property
    def duration(self) -> b2.Quantity:
        return self.windows * self.model.steps * self.clock.dt

    def presentation(
        self, images: np.ndarray, numbers: np.ndarray | None = None
    ) -> dict[b2.TimedArray, np.ndarray]:
        return {self.pixel_levels: self.encode(images)}

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
            float64, shape ``(capacity, inputs)``; rows without an image are zero.
        """
        images = self.model.graph.check_images(images)
        scale = self.model.scales[self.model.input.name]
        check_pixels(images, scale)
        return self.input_rows(pixel_levels(images, scale, self.model.steps, self.model.rounding))

    def recorded_levels(self, name: str) -> np.ndarray:
        """Return the level of every spike of the last run, from the monitor of ``"spikes"``.

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
        return self.layer_levels(name, *self.recorded_spikes(name), self.capacity)

    def recorded_spikes(self, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return image, neuron and level of each spike of the last run, image after image.

        See `recorded_levels`, which has them as one array.
        """
        neurons, window, step = self._events(self.monitors[name]["spikes"])
        image, remainder = np.divmod(window - self.model.populations[name].depth, self.interval)
        if (remainder != 0).any() or (image < 0).any() or (image >= self.capacity).any():
            raise SimulationError(f"Neurons of {name!r} spiked outside their windows.")
        return image, neurons, self.model.steps - step

    def layer_levels(
        self, name: str, image: np.ndarray, neurons: np.ndarray, levels: np.ndarray, images: int
    ) -> np.ndarray:
        """Return spikes for the first `images` images as levels in the layout of the layer."""
        shape = self.model.populations[name].shape
        layer = np.zeros((images, self.model.populations[name].size), dtype=np.float32)
        layer[image, neuron_order(shape)[neurons]] = levels
        if np.count_nonzero(layer) != len(neurons):
            raise SimulationError(f"Neurons of {name!r} spiked more than once for an image.")
        return layer.reshape(images, *shape)

    def read_potentials(self) -> np.ndarray:
        """Return the potentials of the last layer for each image of the last run.

        They stand for the logits, in the units of the trained network; float64, shape
        ``(capacity, outputs)``.

        Raises
        ------
        SimulationError
            The run was stopped before all images were read out.
        """
        population = self.model.output
        monitor = self.monitors[population.name]["read_out"]
        neurons, window, _ = self._events(monitor)
        if len(neurons) != self.capacity * population.size:
            raise SimulationError(
                f"The last layer was read out for {len(neurons) // population.size} of "
                f"{self.capacity} images: the run ended before its time. Run the network for its "
                "whole duration."
            )
        image = (window - population.depth) // self.interval
        potential = np.zeros((self.capacity, population.size))
        potential[image, neurons] = getattr(monitor, self.neuron_form.potential)
        potential -= self.model.initial_charge(population.name)
        return self.to_layer(population.name, potential)

    def _events(self, monitor: b2.EventMonitor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Neuron, window and step within the window of each event that was recorded."""
        steps = np.rint(monitor.t_[:] / self.clock.dt_).astype(np.int64)
        return monitor.i[:], *np.divmod(steps, self.model.steps)
