"""A spiking model as Brian2 objects."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import brian2 as b2
import numpy as np
from brian2.devices.device import RuntimeDevice

from bsnn.brian.noise import spike_noise
from bsnn.brian.shared import SharedConnections
from bsnn.brian.spike_step_recorder import SpikeStepRecorder
from bsnn.brian.targets import runs_in_parallel
from bsnn.brian.time_origin import TimeOrigin
from bsnn.brian.window_recorder import WindowRecorder
from bsnn.conversion import SpikingModel
from bsnn.conversion.populations import per_channel
from bsnn.devices.device import DEFAULT_STEP
from bsnn.errors import BuildError, SimulationError
from bsnn.network.connectivity import neuron_order
from bsnn.network.names import keep_quiet_about, unused_name
from bsnn.network.neuron_models import NeuronModel
from bsnn.network.random_numbers import noise_seed
from bsnn.network.synapse_models import SynapseModel

if TYPE_CHECKING:
    from bsnn.network.neural_code import NeuralCode

__all__ = ["SpikingNetwork"]


class SpikingNetwork:
    """Brian2 groups, synapses and monitors by layer; made by `bsnn.build`.

    The raw `brian2.Network` is `network`: add objects of your own to it and run it with plain
    Brian2. Neurons are numbered channel last (row, column, channel); `neuron_index` translates.
    A batch of images has the neurons of each image one after another in each group.

    Attributes
    ----------
    model : SpikingModel
        What was built.
    name : str
        What the names of Brian2 objects begin with, see `label`.
    neuron : NeuronModel
        What the neurons are.
    source : brian2.Group or None
        The group of the user's that is the input, if there is one.
    continuous : bool
        Whether one image, or time window, goes over into the next.
    perturbations : mapping of str to float
        What is disturbed, and how strongly.
    form : str
        Form of the neurons, as given to `bsnn.build`.
    seed : int
        Of all that is random.
    code : NeuralCode
        What its coding makes of Brian2 objects.
    schedule : Schedule
        When an image is in which population.
    image_values : brian2.TimedArray
        The images as the input encodes them, one row an image (or batch).
    image_numbers : brian2.TimedArray
        Their numbers, on which what is random depends, one row an image (or batch).
    network : brian2.Network
        Holds all objects.
    clock : brian2.Clock
        Clock of all objects; give it to objects that you add.
    origin : TimeOrigin
        The step in which what was presented last begins; ``start_step`` in strings.
    groups : dict of str to brian2.NeuronGroup
        By population.
    synapses : dict of str to Convolution, Dense or brian2.Synapses
        By name, ``<source>_to_<target>``.
    synapse_models : mapping of str to SynapseModel
        By name, what the synapses do; others are static.
    delay_lines : dict of str to brian2.NeuronGroup
        By population whose spikes are disturbed on their way: what passes them on.
    monitors : dict of str to dict
        By population, then by what was asked for (``"count"``, ``"spikes"`` or a variable).
    fan_out : dict of str to numpy.ndarray
        By population, the number of connections that each neuron of an image drives.
    stored_connections : int
        Connections that are a row of a `brian2.Synapses`.
    capacity : int
        Images that one run presents, a multiple of `batch`.
    batch : int
        Images that are simulated side by side.
    rounds : int
        How many batches follow one another in a run.
    connectivity, precision : str
        As given to `bsnn.build`.
    recorders : dict of str to WindowRecorder or SpikeStepRecorder
        By population that `record` was called for.
    read_out : WindowRecorder
        What the class is read from, after `record_read_out`.
    """

    def __init__(
        self,
        model: SpikingModel,
        code: NeuralCode,
        *,
        neuron: NeuronModel,
        perturbations: Mapping[str, float],
        form: str,
        seed: int,
        dt: b2.Quantity | None,
        images: int,
        batch: int,
        connectivity: str,
        precision: str,
        name: str | None = None,
        synapse_models: Mapping[str, SynapseModel] | None = None,
        source: Any = None,
        continuous: bool = False,
        one_at_a_time: bool = False,
    ) -> None:
        self.model = model
        self.code = code
        self.name = unused_name(self, name)
        self.synapse_models = synapse_models or {}
        self.source = source
        self.continuous = continuous
        self.neuron = neuron
        self.perturbations = perturbations
        self.form = form
        self.seed = seed
        self.clock = network_clock(dt) if source is None else source_clock(source, dt, model.steps)
        self.batch = batch
        self.rounds = -(-images // batch)
        self.capacity = self.rounds * batch
        self.connectivity = connectivity
        self.precision = precision
        self.origin = TimeOrigin(self.clock, name=self.label(f"{model.input.name}_time_origin"))
        self.network = b2.Network(self.origin)
        self.groups: dict[str, b2.NeuronGroup] = {}
        self.delay_lines: dict[str, b2.NeuronGroup] = {}
        self.synapses: dict[str, SharedConnections | b2.Synapses] = {}
        self.monitors: dict[str, dict[str, Any]] = {}
        self.recorders: dict[str, WindowRecorder | SpikeStepRecorder] = {}
        self.read_out: WindowRecorder | None = None
        self.fan_out: dict[str, np.ndarray] = {}
        self.stored_connections = 0
        interval = code.shortest_interval(self)
        if one_at_a_time:
            interval = max(interval, model.output.depth + 1)
        self.schedule = model.schedule(interval)
        self.image_values = self._by_batch("image_values", model.input.size)
        self.image_numbers = self._by_batch("image_numbers", 1)

    def _by_batch(self, name: str, size: int) -> b2.TimedArray:
        return b2.TimedArray(
            np.zeros((self.rounds, self.batch * size)),
            dt=self.schedule.image_steps * self.clock.dt,
            name=self.label(f"{self.model.input.name}_{name}"),
        )

    def __getitem__(self, name: str) -> b2.NeuronGroup:
        try:
            return self.groups[name]
        except KeyError:
            raise KeyError(f"no population {name!r}; there are {', '.join(self.groups)}") from None

    def label(self, name: str) -> str:
        """Return the name of a Brian2 object: that of the network, if it has one, and its own."""
        return f"{self.name}_{name}" if self.name else name

    def sender(self, name: str) -> b2.NeuronGroup:
        """Return the group whose spikes reach the next populations: its delay line, if any."""
        return self.delay_lines.get(name, self[name])

    def __repr__(self) -> str:
        neurons = sum(len(group) for group in self.groups.values())
        return (
            f"<{type(self).__name__} of {len(self.groups)} populations, {neurons} neurons, "
            f"{self.connections} connections ({self.connectivity})>"
        )

    @property
    def connections(self) -> int:
        """Number of connections, whether they are stored or not."""
        return self.batch * int(sum(fan_out.sum() for fan_out in self.fan_out.values()))

    def group_size(self, name: str) -> int:
        """Return the number of neurons of a population's group, all images of a batch together."""
        return self.batch * self.model.populations[name].size

    @property
    def dtype(self) -> type:
        """Type of the neurons' variables and of shared weights."""
        return PRECISIONS[self.precision]

    @property
    def clear_steps(self) -> int:
        """Steps from one clearing of all state to the next; more than there are for only once."""
        return _FOR_EVER if self.continuous else self.schedule.image_steps

    @property
    def input_flows(self) -> bool:
        """Say whether the image enters as a constant current, and not in spikes."""
        return self.source is None and not self.model.spikes(self.model.input.name)

    @property
    def duration(self) -> Any:
        """Simulated time in which what is presented is shown and read out.

        It may be run in several parts. Run for longer, the network is shown nothing more.
        """
        return self.schedule.total_steps(self.rounds) * self.clock.dt

    def presentation(
        self, images: np.ndarray, numbers: np.ndarray | None = None
    ) -> dict[b2.TimedArray, np.ndarray]:
        """Return what a run must be given so that it presents images.

        Parameters
        ----------
        images : numpy.ndarray
            Shape ``(n, *input_shape)``, at most `capacity` of them.
        numbers : numpy.ndarray, optional
            A whole number for each image, on which its noise depends, if there is any; by default
            0, 1, ...

        Returns
        -------
        dict
            Values of timed arrays, as ``run_args`` of `brian2.device.run` takes them.
        """
        values = {self.image_values: self.input_rows(self.model.encode(images))}
        if any("noise_stream" in group.variables for group in self.groups.values()):
            values[self.image_numbers] = self.number_rows(images, numbers)
        return values

    def present(self, images: np.ndarray, numbers: np.ndarray | None = None) -> None:
        """Choose the images that the next run presents (see `presentation`).

        They begin with the first step of that run, whatever the time is by then, and what the
        readers of this network return is theirs. So it may be called before each run of a loop.
        Images whose run has not ended are dropped, with all that is under way; monitors, as
        Brian2's do, go on. The images are no part of what `brian2.Network.store` keeps: after
        ``restore`` present them again, if others were presented since.

        In standalone mode a program presents one set of images, those that are chosen before its
        run is set up; later runs of the same binary take theirs by
        ``run_args=net.presentation(images)``.

        Raises
        ------
        SimulationError
            The images do not fit, or a group of the user's is the input, or, in standalone mode,
            the run was set up already.

        Examples
        --------
        >>> for image in images:                                       # doctest: +SKIP
        ...     net.present(image[np.newaxis])
        ...     net.network.run(net.duration)
        ...     print(net.read_potentials())
        """
        if self.source is not None:
            raise SimulationError(
                f"The input of this network is the group {self.source.name!r}: it is what there "
                "is to see, and no images are presented. Run the network as it is, or build it "
                "without source=..."
            )
        presentation = self.presentation(images, numbers)
        if self.origin.start is not None:
            self._begin_anew()
        for timed_array, values in presentation.items():
            timed_array.values[:] = values

    def _begin_anew(self) -> None:
        if not isinstance(b2.get_device(), RuntimeDevice):
            raise SimulationError(
                "A run of this network is set up already, and in standalone mode a program "
                "presents one set of images. Present all images at once (build the network with "
                "images=...), or run the built program again with others: "
                "device.run(run_args=net.presentation(images)). For another program, call "
                "device.reinit() and device.activate(), and build the network again."
            )
        for recorder in (*self.recorders.values(), self.read_out):
            if recorder is not None:
                recorder.clear()
        self.origin.reset()

    def neuron_index(self, name: str, *position: int) -> int:
        """Return the number of the neuron at ``(channel, row, column)`` of a population.

        It is that of the first image of a batch; add the size of the population for each later one.

        Examples
        --------
        >>> net.neuron_index("conv1", 3, 14, 14)  # doctest: +SKIP
        12995
        """
        flat = np.ravel_multi_index(position, self.model.populations[name].shape)
        return int(np.flatnonzero(neuron_order(self.model.populations[name].shape) == flat)[0])

    def neuron_position(self, name: str, neuron: int) -> tuple[int, ...]:
        """Return the ``(channel, row, column)`` of a neuron of a population, by its number.

        The inverse of `neuron_index`; in a batch the position is that in the neuron's image.

        Raises
        ------
        IndexError
            The population has no such neuron.
        """
        shape = self.model.populations[name].shape
        if not 0 <= neuron < self.group_size(name):
            raise IndexError(
                f"the population {name!r} has {self.group_size(name)} neurons, and no {neuron}"
            )
        order = neuron_order(shape)
        return tuple(int(at) for at in np.unravel_index(order[neuron % len(order)], shape))

    def monitor(self, name: str, what: str, record: bool | Iterable[int] = True) -> b2.BrianObject:
        """Add a monitor to a population and return it.

        Parameters
        ----------
        name : str
            The population.
        what : str
            ``"count"`` (spikes of each neuron over the run), ``"spikes"`` (each spike), or the
            name of a variable. In time-to-first-spike coding variables are sampled after their
            update in a step and before the spikes of that step, so that the first sample of the
            spiking stage is the potential that the silent stage has reached; in rate coding at the
            end of the step.
        record : bool or sequence of int
            For a variable: which neurons.
        """
        group = self[name]
        if what in ("count", "spikes"):
            if not (self.model.spikes(name) or group is self.source):
                raise BuildError(
                    f"The population {name!r} does not spike: monitor a variable of it."
                )
            monitor: b2.BrianObject = b2.SpikeMonitor(
                group, record=what == "spikes", name=self.label(f"{name}_{what}")
            )
        elif what in group.variables:
            monitor = b2.StateMonitor(
                group,
                what,
                record=record,
                name=self.label(f"{name}_{what}"),
                when=self.code.monitor_slot,
            )
        else:
            known = sorted(set(group.equations.names) | {"count", "spikes"})
            raise BuildError(
                f"The population {name!r} has no variable {what!r} to monitor. There are "
                f"{', '.join(known)}."
            )
        self.monitors.setdefault(name, {})[what] = monitor
        self.network.add(monitor)
        keep_quiet_about(self.network)
        return monitor

    def recorded_spikes(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Return what a monitor of ``"spikes"`` has recorded since the images were presented.

        It is in the same order on every device; on CUDA the spikes of a step are in the monitor in
        any order.

        Returns
        -------
        neurons, steps : numpy.ndarray
            Of each spike, sorted by step and then by neuron; steps count from the first image's
            first.
        """
        monitor, start = self.monitors[name]["spikes"], self.origin.start
        steps = np.rint(monitor.t_[:] / self.clock.dt_).astype(np.int64)
        neurons = np.asarray(monitor.i[:])
        order = np.lexsort((neurons, steps))
        # none yet, if the images are still to be shown
        order = order[:0] if start is None else order[steps[order] >= start]
        return neurons[order], steps[order] - (start or 0)

    def to_neurons(self, name: str, values: Any) -> np.ndarray:
        """Bring values of one image from the layout of a population to the order of its neurons."""
        order = neuron_order(self.model.populations[name].shape)
        return np.asarray(values).reshape(-1)[order]

    def to_layer(self, name: str, values: np.ndarray) -> np.ndarray:
        """Bring values of n images, ``(n, neurons)``, from the order of neurons to the layer's."""
        shape = self.model.populations[name].shape
        layer = np.empty_like(values)
        layer[:, neuron_order(shape)] = values
        return layer.reshape(len(values), *shape)

    def by_neuron(self, name: str, values: float | np.ndarray) -> np.ndarray:
        """Spread one value, or one for each channel, over the neurons of an image."""
        shape = self.model.populations[name].shape
        return self.to_neurons(name, np.broadcast_to(per_channel(values, shape), shape))

    def initial_values(self, values: Mapping[str, np.ndarray], name: str) -> None:
        """Set variables of a population from arrays of the layer's shape."""
        for variable, array in values.items():
            setattr(self[name], variable, np.tile(self.to_neurons(name, array), self.batch))

    def noise_namespace(self, name: str) -> dict[str, Any]:
        """Return what the strings of a population's neurons need to draw random numbers."""
        return {
            "image_numbers": self.image_numbers,
            "spike_noise": spike_noise,
            "image_size": self.model.populations[name].size,
        }

    def seed_random_numbers(self, group: b2.NeuronGroup, name: str, random: Iterable[str]) -> None:
        """Set what the random numbers of a population's group or delay line depend on."""
        group.image_steps = self.clear_steps
        for number in random:
            setattr(group, f"seed_{number}", noise_seed(self.seed, name, number))

    def number_rows(self, images: np.ndarray, numbers: np.ndarray | None) -> np.ndarray:
        """Return the numbers of images as rows, 0, 1, ... for None.

        Raises
        ------
        SimulationError
            There are not as many numbers as images.
        """
        if numbers is None:
            numbers = np.arange(len(images))
        if len(numbers) != len(images):
            raise SimulationError(f"There are {len(images)} images but {len(numbers)} numbers.")
        padded = np.zeros(self.capacity)
        padded[: len(numbers)] = numbers
        return padded.reshape(self.rounds, self.batch)

    def input_rows(self, values: np.ndarray) -> np.ndarray:
        """Return a row for each batch of a run, in the order of input neurons; zero without images.

        Raises
        ------
        SimulationError
            There are more images than a run presents.
        """
        if len(values) > self.capacity:
            raise SimulationError(
                f"{len(values)} images were given to a network built for {self.capacity} a run. "
                "Build it with images=... or present them in several runs."
            )
        rows = np.zeros((self.capacity, self.model.input.size))
        order = neuron_order(self.model.input.shape)
        rows[: len(values)] = values.reshape(len(values), -1)[:, order]
        return rows.reshape(self.rounds, -1)

    def record(self, name: str) -> None:
        """Record for each image the spikes of each neuron of a population."""
        self.recorders[name] = self.code.recorder(self, name)
        self.network.add(self.recorders[name])

    def recorded(self, name: str) -> np.ndarray:
        """Return what the spikes of a population are for the images presented last.

        `record` must have been called before their run. In rate coding this is the number of a
        neuron's spikes; in time-to-first-spike coding the level of its spike (the steps that the
        window had left), 0 if there was none.

        Returns
        -------
        numpy.ndarray
            Whole numbers, shape ``(capacity, *shape)``.

        Raises
        ------
        SimulationError
            Where a neuron spikes at most once: one spiked twice for an image or outside its
            windows, which only altered equations can make it do.
        """
        values = self.recorders[name].values
        # with a sign, so that differences are right
        values = values.astype(np.promote_types(values.dtype, np.int16), copy=False)
        return self.to_layer(name, values.reshape(self.capacity, -1))

    def record_read_out(self) -> None:
        """Record what the class is read from: in each step, or once an image."""
        name = self.model.output.name
        self.read_out = self.code.read_out(self, name, self.label(f"{name}_read_out"))
        self.network.add(self.read_out)

    def recorded_read_out(self) -> np.ndarray:
        """Return what the class of each image presented last was read from.

        In rate coding the value that the last layer has reached up to each step: its potential, or
        its spikes times its scale, divided by the number of steps. In time-to-first-spike coding
        its potential at the end of its silent stage.

        Returns
        -------
        numpy.ndarray
            float64, in the units of the trained network; shape ``(capacity, steps, outputs)`` or
            ``(capacity, 1, outputs)``, in the order of the layer.

        Raises
        ------
        SimulationError
            The images are not run yet, or not to the end, and some were not read out.
        """
        model, recorder = self.model, self.read_out
        if recorder is None:
            raise SimulationError(
                "Nothing is kept of the last layer: call record_read_out() before the run."
            )
        reads = model.steps if model.read_each_step else 1
        done = (self.origin.steps - recorder.first_step - 1) // recorder.window_steps + 1
        if done < self.rounds * reads:
            raise SimulationError(
                f"The last layer was read out for {max(done, 0) // reads * self.batch} of "
                f"{self.capacity} images: the run ended before its time. Run the network for its "
                "whole duration."
            )
        values = recorder.values.reshape(self.rounds, reads, self.batch, -1)
        values = values.swapaxes(1, 2).reshape(self.capacity, reads, -1)
        values -= model.read_out_offset
        values *= self.by_neuron(model.output.name, model.read_out_scale)
        # the mean of what each step adds
        values /= np.arange(1, reads + 1)[:, np.newaxis]
        name = model.output.name
        return self.to_layer(name, values.reshape(-1, model.output.size)).reshape(values.shape)

    def read_potentials(self) -> np.ndarray:
        """Return what the last layer has reached for each of the images presented last.

        The logits, in the units of the trained network; float64, shape
        ``(capacity, *output_shape)``; see `recorded_read_out`.
        """
        return self.recorded_read_out()[:, -1].reshape(self.capacity, *self.model.output.shape)


def network_clock(dt: b2.Quantity | None) -> b2.Clock:
    """Return the clock of a network's objects; see `bsnn.build`.

    Raises
    ------
    BuildError
        The active device is Brian2CUDA's, whose synapses know `brian2.defaultclock` only, and this
        has another step.
    """
    if not runs_in_parallel():
        return b2.Clock(dt=DEFAULT_STEP if dt is None else dt, name="window_clock*")
    if dt is not None and b2.defaultclock.dt != dt:
        raise BuildError(
            f"On CUDA the network runs on Brian2's defaultclock, whose step is "
            f"{b2.defaultclock.dt}, not {dt}. Write defaultclock.dt = {dt!r} before the build, or "
            "leave dt out."
        )
    clock: Any = b2.defaultclock
    return clock


def source_clock(source: Any, dt: b2.Quantity | None, steps: int) -> b2.Clock:
    """Return the clock of a group of the user's, on which the network runs that it drives.

    Raises
    ------
    BuildError
        Another step was asked for.
    """
    clock = source.clock
    if dt is not None and clock.dt != dt:
        raise BuildError(
            f"The source {source.name!r} has steps of {clock.dt}, and dt={dt} was given. Make it "
            f"with dt={dt!r}, or leave dt out: the network runs on the clock of its source."
        )
    if runs_in_parallel() and clock is not b2.defaultclock:
        raise BuildError(
            f"On CUDA the network runs on Brian2's defaultclock, and the source {source.name!r} "
            "has a clock of its own: make it without dt, and set defaultclock.dt before."
        )
    if dt is None and clock.dt != DEFAULT_STEP:
        warnings.warn(
            f"The source {source.name!r} has steps of {clock.dt}, and so has the network: an image "
            f"lasts {steps} of these, and time constants act on steps of that length. Give "
            f"dt={clock.dt!r} if that is meant, or the source dt={DEFAULT_STEP!r}.",
            stacklevel=4,
        )
    return clock


# The most that an integer of Brian2's holds.
_FOR_EVER = 2**31 - 1

#: Floating-point types by the name of a precision.
PRECISIONS: dict[str, type] = {"float64": np.float64, "float32": np.float32}
