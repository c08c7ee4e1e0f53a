"""A spiking model as Brian2 objects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import brian2 as b2
import numpy as np

from bsnn.brian.connectivity import neuron_order
from bsnn.brian.neurons import NeuronForm
from bsnn.brian.shared import SharedConnections
from bsnn.conversion import SpikingModel
from bsnn.conversion.time_code import check_pixels, pixel_levels
from bsnn.errors import BuildError, SimulationError

__all__ = ["SpikingNetwork"]


class SpikingNetwork:
    """Brian2 groups, synapses and monitors by layer; made by `bsnn.build`.

    The raw `brian2.Network` is `network`: add objects of your own to it and run it with plain
    Brian2. Neurons are numbered channel last (row, column, channel); `neuron_index` translates.

    Attributes
    ----------
    model : SpikingModel
        What was built.
    form : NeuronForm
        Equations of the neurons.
    network : brian2.Network
        Holds all objects.
    clock : brian2.Clock
        Clock of all objects; give it to objects that you add.
    groups : dict of str to brian2.NeuronGroup
        By population.
    synapses : dict of str to Convolution, Dense or brian2.Synapses
        By object name, ``<source>_to_<target>``.
    monitors : dict of str to dict
        By population, then by what was asked for (``"count"``, ``"spikes"`` or a variable).
    fan_out : dict of str to numpy.ndarray
        By population, the number of connections that each neuron drives.
    pixel_levels : brian2.TimedArray
        The images in spike times, one row an image.
    capacity : int
        Images that one run presents.
    interval : int
        Windows from one image to the next.
    connectivity, precision : str
        As given to `bsnn.build`.
    """

    def __init__(
        self,
        model: SpikingModel,
        form: NeuronForm,
        clock: b2.Clock,
        capacity: int,
        interval: int,
        connectivity: str,
        precision: str,
    ) -> None:
        self.model = model
        self.form = form
        self.clock = clock
        self.capacity = capacity
        self.interval = interval
        self.connectivity = connectivity
        self.precision = precision
        self.network = b2.Network()
        self.groups: dict[str, b2.NeuronGroup] = {}
        self.synapses: dict[str, SharedConnections | b2.Synapses] = {}
        self.monitors: dict[str, dict[str, b2.BrianObject]] = {}
        self.fan_out: dict[str, np.ndarray] = {}
        blank = np.zeros((capacity, model.input.size))
        window = model.steps * clock.dt
        self.pixel_levels = b2.TimedArray(blank, dt=interval * window, name="pixel_levels")

    def __getitem__(self, name: str) -> b2.NeuronGroup:
        try:
            return self.groups[name]
        except KeyError:
            raise KeyError(f"no population {name!r}; there are {', '.join(self.groups)}") from None

    def __repr__(self) -> str:
        neurons = sum(len(group) for group in self.groups.values())
        return (
            f"<SpikingNetwork of {len(self.groups)} populations, {neurons} neurons, "
            f"{self.connections} connections ({self.connectivity})>"
        )

    @property
    def connections(self) -> int:
        """Number of connections, whether they are stored or not."""
        return int(sum(fan_out.sum() for fan_out in self.fan_out.values()))

    @property
    def windows(self) -> int:
        """Windows in one run: until the last image was read out, and its first step after."""
        return (self.capacity - 1) * self.interval + self.model.output.depth + 1

    @property
    def duration(self) -> b2.Quantity:
        """Simulated time of one run."""
        return self.windows * self.model.steps * self.clock.dt

    def neuron_index(self, name: str, *position: int) -> int:
        """Return the number of the neuron at ``(channel, row, column)`` of a population.

        Examples
        --------
        >>> net.neuron_index("conv1", 3, 14, 14)  # doctest: +SKIP
        12995
        """
        flat = np.ravel_multi_index(position, self.model.populations[name].shape)
        return int(np.flatnonzero(neuron_order(self.model.populations[name].shape) == flat)[0])

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
        if len(images) > self.capacity:
            raise SimulationError(
                f"{len(images)} images were given to a network built for {self.capacity} a run. "
                "Build it with images=... or present them in several runs."
            )
        check_pixels(images, scale)
        level = pixel_levels(images, scale, self.model.steps, self.model.rounding)
        rows = np.zeros((self.capacity, self.model.input.size))
        order = neuron_order(self.model.input.shape)
        rows[: len(images)] = level.reshape(len(images), -1)[:, order]
        return rows

    def present(self, images: np.ndarray) -> None:
        """Choose the images that the next run presents.

        In standalone mode this holds for the build; later runs of the same binary take theirs by
        ``run_args={net.pixel_levels: net.encode(images)}``.
        """
        self.pixel_levels.values[:] = self.encode(images)

    def monitor(self, name: str, what: str, record: bool | Iterable[int] = True) -> b2.BrianObject:
        """Add a monitor to a population and return it.

        Parameters
        ----------
        name : str
            The population.
        what : str
            ``"count"`` (spikes of each neuron over the run), ``"spikes"`` (each spike), or the
            name of a variable. Variables are sampled after their update in a step and before the
            spikes of that step, so that the first sample of the spiking stage is the potential
            that the silent stage has reached.
        record : bool or sequence of int
            For a variable: which neurons.
        """
        group = self[name]
        if what in ("count", "spikes"):
            if not self.model.spikes(name):
                raise BuildError(
                    f"The population {name!r} is read out by its potential and does not spike: "
                    "monitor a variable of it."
                )
            monitor: b2.BrianObject = b2.SpikeMonitor(
                group, record=what == "spikes", name=f"{name}_{what}"
            )
        elif what in group.variables:
            monitor = b2.StateMonitor(
                group, what, record=record, name=f"{name}_{what}", when="before_thresholds"
            )
        else:
            known = sorted(set(group.equations.names) | {"count", "spikes"})
            raise BuildError(
                f"The population {name!r} has no variable {what!r} to monitor. There are "
                f"{', '.join(known)}."
            )
        self.monitors.setdefault(name, {})[what] = monitor
        self.network.add(monitor)
        return monitor

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
        potential[image, neurons] = getattr(monitor, self.form.potential)
        potential -= self.model.initial_charge(population.name)
        return self.to_layer(population.name, potential)

    def _events(self, monitor: b2.EventMonitor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Neuron, window and step within the window of each event that was recorded."""
        steps = np.rint(monitor.t_[:] / self.clock.dt_).astype(np.int64)
        return monitor.i[:], *np.divmod(steps, self.model.steps)

    def to_layer(self, name: str, values: np.ndarray) -> np.ndarray:
        """Bring values from the order of neurons, ``(n, neurons)``, to that of the layer."""
        shape = self.model.populations[name].shape
        layer = np.empty_like(values)
        layer[:, neuron_order(shape)] = values
        return layer.reshape(len(values), *shape)

    def initial_values(self, values: Mapping[str, np.ndarray], name: str) -> None:
        """Set variables of a population from arrays of the layer's shape."""
        order = neuron_order(self.model.populations[name].shape)
        for variable, array in values.items():
            setattr(self[name], variable, np.asarray(array).reshape(-1)[order])
