"""What drives one neuron, and what it makes of it, step by step."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import brian2 as b2
import numpy as np

from bsnn.brian import SpikingNetwork, build
from bsnn.conversion import RateModel, SpikingModel
from bsnn.conversion.populations import per_channel
from bsnn.errors import SettingsError
from bsnn.registry import check_name

__all__ = ["NeuronTrace", "Watch", "trace_form", "trace_neuron"]

#: Forms of the neurons whose potentials are worth looking at, by coding.
_FORMS = {"ttfs": "trace", "rate": "neuron-group"}


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
        ``"ttfs"`` or ``"rate"``.
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
    threshold : float or None
        None for a read-out that does not spike.
    spikes : numpy.ndarray
        Steps of the neuron's spikes.
    stage : int
        Steps in a stage; in rate coding all steps.
    ann_value : float
        What the neuron's unit in the trained network computes, before a rectification.
    told : numpy.ndarray
        In each step the value that the neuron has told so far, by its spikes or its potential.
    """

    layer: str
    position: tuple[int, ...]
    coding: str
    steps: np.ndarray
    current: np.ndarray
    potential: np.ndarray
    left: np.ndarray
    threshold: float | None
    spikes: np.ndarray
    stage: int
    ann_value: float
    told: np.ndarray


def trace_form(model: SpikingModel) -> str:
    """Return the form in which a network must be built for its potentials to be traced."""
    return _FORMS[model.coding]


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
    further = {"one_at_a_time": True} if model.coding == "ttfs" else {"seed": seed}
    net = build(model, form=trace_form(model), **further)
    watch = Watch(net, layer, [net.neuron_index(layer, *position)])
    net.present(image[np.newaxis], np.array([number]))
    net.network.run(net.duration, namespace={})
    return watch.traces(image)[0]


def check_membrane(model: SpikingModel, layer: str) -> None:
    """Refuse populations without a membrane, with a `SettingsError`."""
    known = [n for n, p in model.populations.items() if p.role in ("neurons", "read_out")]
    check_name(layer, known, "population with a membrane")


class Watch:
    """Monitors of some neurons' potentials, in a network that is still to be run.

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
        group = net[layer]
        self._potential = "u" if net.model.coding == "ttfs" else "v"
        variables = ["u", "slope"] if net.model.coding == "ttfs" else ["v"]
        slot = {"when": net.code.monitor_slot}
        if net.model.coding == "rate" and net.model.spikes(layer):
            # after the update, in the same slot as the threshold and just before it
            slot = {"when": "thresholds", "order": group.thresholder["spike"].order - 0.5}
        self._reached = b2.StateMonitor(
            group, self._potential, record=record, name=f"{layer}_reached", **slot
        )
        self._left = b2.StateMonitor(
            group, variables, record=record, name=f"{layer}_left", when="end"
        )
        net.network.add(self._reached, self._left)
        if net.model.spikes(layer) and "spikes" not in net.monitors.get(layer, {}):
            net.monitor(layer, "spikes")

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
        of_model = self._rate if isinstance(model, RateModel) else self._ttfs
        start = number * net.schedule.image_steps
        return [
            of_model(
                neuron,
                start,
                np.sort(spiked[1][spiked[0] == neuron]) - start,
                layer=layer,
                coding=model.coding,
                ann_value=float(values[neuron]),
                position=tuple(int(p) for p in np.unravel_index(places[neuron], population.shape)),
            )
            for neuron in self.neurons
        ]

    def _sampled(self, neuron: int, steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows = self._rows(steps)
        return tuple(
            np.asarray(getattr(monitor[neuron], self._potential))[rows]
            for monitor in (self._reached, self._left)
        )

    def _rows(self, steps: np.ndarray) -> np.ndarray:
        """Return where monitors, which may have seen earlier images, have steps of these."""
        net = self.net
        return net.origin.start + steps - round(self._left.t_[0] / net.clock.dt_)

    def _ttfs(self, neuron: int, start: int, spiked: np.ndarray, **about) -> NeuronTrace:
        model, layer = self.net.model, self.layer
        window, depth, spikes = model.steps, model.populations[layer].depth, model.spikes(layer)
        # a silent read-out is read in the first step after its stage
        end = (depth + 1) * window if spikes else depth * window + 1
        steps = np.arange((depth - 1) * window, end)
        potential, left = self._sampled(neuron, start + steps)
        current = np.array(self._left[neuron].slope)[self._rows(start + steps)]
        told = np.zeros(len(steps))
        spiked = spiked[(spiked >= depth * window) & (spiked < end)]
        if spikes:
            for step in spiked:
                level = (depth + 1) * window - step
                told[steps >= step] = level * model.scales[layer] / window
        else:
            # once it was read, nothing drives it any more
            current[-1] = 0
            left = potential.copy()
            told[-1] = potential[-1] - model.initial_charge(layer)
        return NeuronTrace(
            steps=steps,
            current=current,
            potential=potential,
            left=left,
            threshold=float(model.scales[layer]) if spikes else None,
            spikes=spiked,
            stage=window,
            told=told,
            **about,
        )

    def _rate(self, neuron: int, start: int, spiked: np.ndarray, **about) -> NeuronTrace:
        net, model, layer = self.net, self.net.model, self.layer
        population, spikes = model.populations[layer], model.spikes(layer)

        def own(values: float | np.ndarray) -> float:
            spread = np.broadcast_to(per_channel(values, population.shape), population.shape)
            return float(net.to_neurons(layer, spread)[neuron])

        scale, unit = own(model.scales[layer]), own(model.unit(layer))
        threshold = unit * own(model.threshold(layer))
        steps = np.arange(model.steps)
        potential, left = (unit * values for values in self._sampled(neuron, start + steps))
        first = model.initial_potential * threshold if spikes else 0.0
        current = potential - np.concatenate([[first], left[:-1]])
        spiked = spiked[(spiked >= 0) & (spiked < model.steps)]
        if spikes:
            told = scale * np.cumsum(np.bincount(spiked, minlength=model.steps)) / (steps + 1)
        else:
            told = left / (steps + 1)
        return NeuronTrace(
            steps=steps,
            current=current,
            potential=potential,
            left=left,
            threshold=threshold if spikes else None,
            spikes=spiked,
            stage=model.steps,
            told=told,
            **about,
        )
