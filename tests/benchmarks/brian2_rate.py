"""The same trained network in plain Brian2, as converters that target it build it.

Rate coding: neurons that integrate, fire and subtract the threshold; ordinary `Synapses`, Brian2's
runtime mode, one image after another. Max-pooling becomes average pooling, as those converters do.
Another code, for context.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import brian2 as b2
import numpy as np

from bsnn.benchmark import Case, Outcome, System, run_here
from bsnn.conversion.ties import TIE
from bsnn.graph import AvgPool2d, Graph, MaxPool2d
from bsnn.network.connectivity import neuron_order, projection

__all__ = ["Brian2Rate"]

STEPS = 100


class Brian2Rate(System):
    """Plain Brian2; few images, since one takes seconds."""

    name = "brian2_rate"
    about = f"plain Brian2, runtime mode, rate coding, T = {STEPS}, image after image"
    code = "rate"
    most_images = 5

    def prepare(self, case: Case, folder: Path) -> None:
        model = self._model = case.model
        self._images = case.images
        graph = _with_average_poolings(model.graph)
        clock = b2.Clock(dt=1 * b2.ms)
        self._network = b2.Network()
        self._groups: dict[str, b2.NeuronGroup] = {}
        self._counts: list[tuple[b2.SpikeMonitor, np.ndarray]] = []
        for name, population in model.populations.items():
            spikes = population.role != "read_out"
            group = b2.NeuronGroup(
                population.size,
                "dv/dt = drive/ms : 1\ndrive : 1 (constant)\nv_th : 1 (shared, constant)",
                threshold=f"v >= v_th*(1 - {TIE})" if spikes else None,
                reset="v -= v_th" if spikes else None,
                method="euler",
                clock=clock,
                name=name,
            )
            group.v_th = model.scales[name]
            self._groups[name] = group
            self._network.add(group)
            for path in population.projections:
                source = model.populations[path.source]
                if population.role == "max_pool":
                    path = dataclasses.replace(path, layers=(population.layer,))
                connections = projection(graph, path, source, population)
                weight = connections.weight
                if population.role != "max_pool":
                    order = neuron_order(population.shape)
                    bias = model.bias(name) - model.initial_charge(name)
                    group.drive = bias.reshape(-1)[order]
                synapses = b2.Synapses(
                    self._groups[path.source],
                    group,
                    "w : 1 (constant)",
                    on_pre="v_post += w",
                    clock=clock,
                )
                synapses.connect(i=connections.source, j=connections.target)
                synapses.w = weight * model.scales[path.source]
                monitor = b2.SpikeMonitor(self._groups[path.source], record=False)
                self._network.add(synapses, monitor)
                if population.role != "max_pool":
                    self._counts.append((monitor, connections.fan_out(source.size)))
        self._network.store()
        # generates and compiles all code
        self._present(case.images[0])

    def _present(self, image: np.ndarray) -> tuple[int, int]:
        """Simulate one image; return its class and the synaptic events."""
        model = self._model
        self._network.restore()
        order = neuron_order(model.input.shape)
        self._groups[model.input.name].drive = image.reshape(-1)[order]
        self._network.run(STEPS * b2.ms, namespace={"ms": b2.ms})
        events = sum(int(monitor.count[:].astype(int) @ out) for monitor, out in self._counts)
        return int(np.argmax(self._groups[model.output.name].v[:])), events

    def run(self) -> Outcome:
        found: list[tuple[int, int]] = []
        usage = run_here(lambda: found.extend(self._present(image) for image in self._images))
        predictions, events = zip(*found, strict=True)
        return Outcome(usage, np.array(predictions), sum(events))


def _with_average_poolings(graph: Graph) -> Graph:
    layers = [
        AvgPool2d(
            name=layer.name,
            inputs=layer.inputs,
            kernel=layer.kernel,
            stride=layer.stride,
            padding=layer.padding,
            ceil_mode=layer.ceil_mode,
        )
        if isinstance(layer, MaxPool2d)
        else layer
        for layer in graph
    ]
    return Graph(layers, graph.output)
