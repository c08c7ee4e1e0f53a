"""What drives one neuron, and what it makes of it, step by step."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import brian2 as b2
import numpy as np

from bsnn.conversion import SpikingModel
from bsnn.errors import SettingsError
from bsnn.network import NEURAL_CODES, SpikingNetwork, build
from bsnn.registry import Registry, check_name

__all__ = ["WATCHES", "NeuronTrace", "Watch", "trace_form", "trace_neuron", "watch"]


@dataclasses.dataclass(frozen=True, eq=False)
class NeuronTrace:
    """One neuron during one image; all potentials in the units of the trained network.

    Attributes
    ----------
    layer : str
        The population.
    position : tuple of int
        ``(channel, row, column)``, or the number in a flat population.
    coding : str
        Name of the coding.
    steps : numpy.ndarray
        Time steps, counted from the image's first. In time-to-first-spike coding those of the
        silent and the spiking stage (without spikes: of the silent stage and the one after it).
    current : numpy.ndarray
        What drives the potential in each step. In time-to-first-spike coding the current that
        flows at the end of the step, in potential a window: the weights of the spikes that have
        arrived, then the constant charge of the spiking stage. In rate coding what the step adds
        to the potential: arriving spikes, a constant input and the bias.
    potential : numpy.ndarray
        In each step what is compared with the threshold.
    left : numpy.ndarray
        What is left at the end of the step, after a reset.
    spiking : bool
        Whether the neuron spikes; a read-out by potential does not.
    threshold : float or None
        None where nothing is known of one, and for a read-out that does not spike.
    spikes : numpy.ndarray
        Steps of the neuron's spikes.
    stage : int
        Steps in a stage; all steps, where there is one stage only.
    ann_value : float
        What the neuron's unit in the trained network computes, before a rectification.
    decoded : numpy.ndarray
        In each step the value that the neuron's spikes, or its potential, stand for so far.
    """

    layer: str
    position: tuple[int, ...]
    coding: str
    steps: np.ndarray
    current: np.ndarray
    potential: np.ndarray
    left: np.ndarray
    spiking: bool
    threshold: float | None
    spikes: np.ndarray
    stage: int
    ann_value: float
    decoded: np.ndarray

    @property
    def silent_stage(self) -> bool:
        """Say whether the neuron integrates in a stage in which it does not spike."""
        return len(self.steps) > self.stage


def trace_form(model: SpikingModel) -> str | None:
    """Return the form in which a network must be built for its potentials to be traced."""
    return NEURAL_CODES[model.coding].traced_form


def trace_neuron(
    model: SpikingModel,
    image: np.ndarray,
    layer: str,
    position: int | Sequence[int],
    *,
    number: int = 0,
    seed: int = 0,
) -> NeuronTrace:
    """Simulate one image and trace one neuron.

    Runs on the active device, which must be the runtime device.

    Parameters
    ----------
    model : SpikingModel
        The network.
    image : numpy.ndarray
        Of the network's input shape.
    layer : str
        A population of neurons, or the read-out.
    position : int or sequence of int
        ``(channel, row, column)``, or the number in a flat population.
    number, seed : int
        In rate coding what the noise depends on: the number of the image, and the seed.

    Raises
    ------
    SettingsError
        There is no such neuron, or it has no membrane.
    """
    position = tuple(int(p) for p in np.atleast_1d(position))
    check_membrane(model, layer)
    shape = model.populations[layer].shape
    if len(position) != len(shape) or not all(
        0 <= p < size for p, size in zip(position, shape, strict=True)
    ):
        raise SettingsError(
            f"The population {layer!r} has the shape {shape}; there is no neuron {position}."
        )
    (image,) = model.check_images([image])
    net = build(model, form=trace_form(model), one_at_a_time=model.pipelined, seed=seed, name="")
    watched = watch(net, layer, [net.neuron_index(layer, *position)])
    net.present(image[np.newaxis], np.array([number]))
    net.network.run(net.duration, namespace={})
    return watched.traces(image)[0]


def check_membrane(model: SpikingModel, layer: str) -> None:
    """Refuse populations without a membrane, with a `SettingsError`."""
    known = [n for n, p in model.populations.items() if p.role in ("neurons", "read_out")]
    check_name(layer, known, "population with a membrane")


class Watch:
    """Monitors of some neurons' potentials, in a network that is still to be run.

    What is said here holds for any coding: a potential is what it is at the end of a step. A coding
    of which more is known has a class of its own in `WATCHES`.

    Parameters
    ----------
    net : SpikingNetwork
        Of the form that `trace_form` says, which presents images one at a time.
    layer : str
        A population of neurons, or the read-out.
    neurons : sequence of int
        Numbers of neurons in their group.
    """

    def __init__(self, net: SpikingNetwork, layer: str, neurons: Sequence[int]) -> None:
        check_membrane(net.model, layer)
        self.net = net
        self.layer = layer
        self.neurons = list(neurons)
        record = sorted(set(self.neurons))
        self._left = b2.StateMonitor(
            net[layer], self.variables, record=record, name=f"{layer}_left", when="end"
        )
        slot: dict[str, Any] = dict(self.reached_slot)
        self._reached = b2.StateMonitor(
            net[layer],
            net.code.potential,
            record=record,
            name=f"{layer}_reached",
            **slot,
        )
        net.network.add(self._reached, self._left)
        if net.model.spikes(layer) and "spikes" not in net.monitors.get(layer, {}):
            net.monitor(layer, "spikes")

    @property
    def variables(self) -> list[str]:
        """What is sampled at the end of each step."""
        return [self.net.code.potential]

    @property
    def reached_slot(self) -> dict[str, str | float]:
        """Where in a step the potential is what is compared with the threshold."""
        return {"when": self.net.code.monitor_slot}

    def traces(self, image: np.ndarray, number: int = 0) -> list[NeuronTrace]:
        """Return the traces of the neurons, in the order given; `image` is the run's `number`-th.

        The trained network's values are computed in float64.
        """
        net, model, layer = self.net, self.net.model, self.layer
        population = model.populations[layer]
        exact = model.graph.activations(np.asarray(image, np.float64)[np.newaxis])
        values = net.to_neurons(layer, exact[population.potential_layer][0])
        places = net.to_neurons(layer, np.arange(population.size))
        spiked = net.recorded_spikes(layer) if model.spikes(layer) else (np.zeros(0, np.int64),) * 2
        start = number * net.schedule.image_steps
        return [
            self.trace(
                neuron,
                start,
                np.sort(spiked[1][spiked[0] == neuron]) - start,
                layer=layer,
                coding=model.coding,
                spiking=model.spikes(layer),
                ann_value=float(values[neuron]),
                position=tuple(int(p) for p in np.unravel_index(places[neuron], population.shape)),
            )
            for neuron in self.neurons
        ]

    def stages(self) -> np.ndarray:
        """Return the steps of an image in which the neurons integrate, spike or are read out."""
        model, first = self.net.model, self.net.schedule.first_step(self.layer)
        if not model.pipelined:
            return np.arange(model.steps)
        # a silent read-out is read in the first step after its stage
        after = model.steps if model.spikes(self.layer) else 1
        return np.arange(first - model.steps, first + after)

    def sampled(self, neuron: int, steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the potential that was reached in each step, and what was left of it."""
        rows = self.rows(steps)
        reached, left = (
            np.asarray(getattr(monitor[neuron], self.net.code.potential))[rows]
            for monitor in (self._reached, self._left)
        )
        return reached, left

    def rows(self, steps: np.ndarray) -> np.ndarray:
        """Return where monitors, which may have seen earlier images, have steps of these."""
        net = self.net
        return net.origin.start + steps - round(self._left.t_[0] / net.clock.dt_)

    def trace(self, neuron: int, start: int, spiked: np.ndarray, **about) -> NeuronTrace:
        """Return the trace of a neuron.

        Parameters
        ----------
        neuron : int
            Its number.
        start : int
            First step of the image.
        spiked : numpy.ndarray
            Steps of its spikes, counted from there.
        **about
            Fields of the trace.
        """
        net, model, layer = self.net, self.net.model, self.layer
        steps, first = self.stages(), net.schedule.first_step(layer)
        potential, left = self.sampled(neuron, start + steps)
        spiked = spiked[(spiked >= first) & (spiked <= steps[-1])]
        decoded = np.zeros(len(steps))
        recorded = np.zeros((1, *model.populations[layer].shape), np.int64)
        for step in spiked:
            recorded[0][about["position"]] += model.spike_worth(step - first)
            decoded[steps >= step] = model.decode(layer, recorded)[0][about["position"]]
        if not model.spikes(layer):
            scale = net.by_neuron(layer, model.read_out_scale)[neuron]
            reached = (potential - model.read_out_offset) * scale
            if model.read_each_step:
                # the mean of what each step adds
                decoded = reached / (steps + 1)
            else:
                decoded[-1] = reached[-1]
        return NeuronTrace(
            steps=steps,
            current=potential - np.concatenate([potential[:1], left[:-1]]),
            potential=potential,
            left=left,
            threshold=None,
            spikes=spiked,
            stage=model.steps,
            decoded=decoded,
            **about,
        )


#: Kinds of `Watch` by coding.
WATCHES: Registry[type[Watch]] = Registry("coding")


def watch(net: SpikingNetwork, layer: str, neurons: Sequence[int]) -> Watch:
    """Watch some neurons of a network as its coding asks for; see `Watch`."""
    return WATCHES.get(net.model.coding, Watch)(net, layer, neurons)
