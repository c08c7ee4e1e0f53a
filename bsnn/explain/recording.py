"""Every spike of a few images, and the potentials of some neurons."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from contextlib import ExitStack
from typing import NamedTuple

import numpy as np

from bsnn.conversion import SpikingModel
from bsnn.conversion.populations import per_channel
from bsnn.devices import start, use_device
from bsnn.explain.tracing import NeuronTrace, Watch, trace_form, watch
from bsnn.network import SpikingNetwork, build

__all__ = ["Recording", "Spikes", "read_recording", "record", "telling_neurons"]


class Spikes(NamedTuple):
    """Spikes of a population for one image, by step and then by neuron.

    `neurons` are numbered in the layer's own layout (channel, row, column); `steps` count from the
    image's first.
    """

    neurons: np.ndarray
    steps: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Recording:
    """What a network did with a few images, spike by spike.

    Attributes
    ----------
    model : SpikingModel
        The network.
    images : numpy.ndarray
        Shape ``(n, *input_shape)``.
    steps : int
        Time steps of an image, until the result is decoded from the last layer.
    spikes : dict of str to list of Spikes
        By population that spikes, for each image.
    output : numpy.ndarray
        What the class is read from, step by step, shape ``(n, steps, classes)``: potentials of the
        last layer, or, where it is read in each step, the value decoded so far. NaN before the last
        layer's stage.
    traces : dict of str to list of NeuronTrace
        By population with a membrane, some neurons' potentials during the first image.
    """

    model: SpikingModel
    images: np.ndarray
    steps: int
    spikes: dict[str, list[Spikes]]
    output: np.ndarray
    traces: dict[str, list[NeuronTrace]]

    def values(self, name: str) -> np.ndarray:
        """Return what the spikes of a population stand for; shape ``(n, *shape)``.

        In the units of the trained network.
        """
        model, population = self.model, self.model.populations[name]
        recorded = np.zeros((len(self.images), population.size), np.int64)
        for row, spikes in zip(recorded, self.spikes[name], strict=True):
            steps = spikes.steps - model.schedule().first_step(name)
            np.add.at(row, spikes.neurons, model.spike_worth(steps))
        recorded = recorded.reshape(len(recorded), *population.shape)
        found = model.decode(name, recorded.astype(np.float64))
        if population.role == "input":
            # its spikes may carry a sign
            found = found * np.sign(model.encode(self.images))
        return found


def record(
    model: SpikingModel,
    images: np.ndarray,
    *,
    device: str | None = None,
    numbers: np.ndarray | None = None,
    seed: int = 0,
) -> Recording:
    """Simulate a few images and record every spike.

    Parameters
    ----------
    model : SpikingModel
        The network.
    images : numpy.ndarray
        Shape ``(n, *input_shape)``.
    device : str, optional
        ``"runtime"`` or ``"cpp"`` (C++ standalone). By default the one that is active, which must
        be the runtime device.
    numbers : numpy.ndarray, optional
        Numbers of the images, on which noise depends; by default 0, 1, ...
    seed : int
        Of the noise.
    """
    images = model.check_images(images)
    with ExitStack() as stack:
        folder = None if device is None else stack.enter_context(use_device(device))
        net, watches = watched_network(model, images, seed=seed)
        start(net, folder).run(images, numbers)
        return read_recording(net, images, watches)


def watched_network(
    model: SpikingModel, images: np.ndarray, seed: int = 0
) -> tuple[SpikingNetwork, dict[str, Watch]]:
    """Build a network in which all spikes and the potentials of telling neurons are recorded."""
    net = build(
        model,
        name="",
        images=len(images),
        form=trace_form(model),
        one_at_a_time=model.pipelined,
        seed=seed,
    )
    for name in model.populations:
        if model.spikes(name):
            net.monitor(name, "spikes")
    watches = {
        name: watch(net, name, neurons) for name, neurons in telling_neurons(net, images[0]).items()
    }
    if model.read_each_step:
        net.record_read_out()
    return net, watches


def telling_neurons(net: SpikingNetwork, image: np.ndarray) -> dict[str, list[int]]:
    """Choose neurons of each population with a membrane that are worth looking at.

    Those of the largest, of a middling and of the lowest value in the trained network; of the last
    layer all.
    """
    exact = net.model.graph.activations(image[np.newaxis])
    chosen = {}
    for name, population in net.model.populations.items():
        if population.role == "read_out":
            chosen[name] = list(range(population.size))
        elif population.role == "neurons":
            values = net.to_neurons(name, exact[population.potential_layer][0])
            largest_decoded = min(float(np.max(net.model.scales[name])), float(values.max()))
            typical = np.abs(values - 0.5 * largest_decoded).argmin()
            chosen[name] = list(
                dict.fromkeys(int(n) for n in (values.argmax(), typical, values.argmin()))
            )
    return chosen


def read_recording(
    net: SpikingNetwork, images: np.ndarray, watches: Mapping[str, Watch]
) -> Recording:
    """Read what `watched_network` has recorded, after a run that presented `images`."""
    model, count = net.model, len(images)
    spikes = {name: _spikes(net, name, count) for name in model.populations if model.spikes(name)}
    traces = {name: watch.traces(images[0]) for name, watch in watches.items()}
    if model.read_each_step:
        output = net.recorded_read_out()[:count]
    else:
        output = _race(images, watches[model.output.name], model)
    return Recording(model, images, output.shape[1], spikes, output, traces)


def _spikes(net: SpikingNetwork, name: str, count: int) -> list[Spikes]:
    neurons, steps = net.recorded_spikes(name)
    places = net.to_neurons(name, np.arange(net.model.populations[name].size))
    number, step = np.divmod(steps, net.schedule.image_steps)
    found = []
    for image in range(count):
        own = number == image
        order = np.lexsort((places[neurons[own]], step[own]))
        found.append(Spikes(places[neurons[own]][order], step[own][order]))
    return found


def _race(images: np.ndarray, watch: Watch, model: SpikingModel) -> np.ndarray:
    """Potentials of the last layer, which is read once."""
    by_image = []
    for number, image in enumerate(images):
        traces = sorted(watch.traces(image, number), key=lambda trace: trace.position)
        steps = traces[0].steps
        output = np.full((steps[-1] + 1, len(traces)), np.nan)
        output[steps] = np.transpose([trace.potential for trace in traces])
        by_image.append(output)
    scale = np.broadcast_to(
        per_channel(model.read_out_scale, model.output.shape), model.output.shape
    )
    return (np.array(by_image) - model.read_out_offset) * scale.ravel()
