"""Runs of rate-coded networks in Brian2, and their comparison with the oracle."""

from __future__ import annotations

import numpy as np
import rate_reference

import bsnn

OPTIONS = {
    "encoder": ("constant", "poisson", "regular"),
    "potential_floor": (None, 0.0, -0.5),
    "reset": ("subtract", "zero"),
    "balance": ("weights", "thresholds"),
    "channels": (False, True),
    "initial_potential": (0.0, 0.5),
    "read_out": ("count", "potential"),
    "form": ("one-pass", "neuron-group"),
    "connectivity": ("shared", "synapses"),
}

#: Values of `OPTIONS` in their order, so chosen that each pair of values meets in a case.
CASES = [
    ("poisson", 0.0, "zero", "weights", True, 0.0, "potential", "neuron-group", "synapses"),
    ("constant", 0.0, "subtract", "thresholds", False, 0.5, "count", "one-pass", "shared"),
    ("regular", None, "zero", "thresholds", True, 0.0, "count", "one-pass", "synapses"),
    ("regular", -0.5, "zero", "weights", False, 0.5, "potential", "neuron-group", "shared"),
    ("poisson", -0.5, "subtract", "thresholds", False, 0.0, "count", "neuron-group", "synapses"),
    ("constant", None, "subtract", "weights", False, 0.0, "potential", "neuron-group", "shared"),
    ("poisson", -0.5, "subtract", "weights", True, 0.5, "potential", "one-pass", "shared"),
    ("constant", -0.5, "zero", "thresholds", True, 0.5, "potential", "neuron-group", "synapses"),
    ("regular", 0.0, "subtract", "weights", True, 0.0, "count", "one-pass", "shared"),
    ("poisson", None, "zero", "weights", False, 0.5, "count", "neuron-group", "synapses"),
]


def options_of(case) -> tuple[dict, dict]:
    """Arguments for the conversion, and for the building."""
    options = dict(zip(OPTIONS, case, strict=True))
    return options, {name: options.pop(name) for name in ("form", "connectivity")}


def spiking(model) -> dict[str, str]:
    return {name: "spikes" for name in model.populations if model.spikes(name)}


def run_here(model, images, numbers=None, **options):
    net = bsnn.build(model, images=len(images), monitors=spiking(model), **options)
    net.record_read_out()
    net.present(images, numbers)
    net.network.run(net.duration, namespace={})
    return net


def spikes_of(net, name: str) -> np.ndarray:
    """Spikes of a population, shape ``(n, steps, *shape)``, in the layout of its layer."""
    population, monitor = net.model.populations[name], net.monitors[name]["spikes"]
    step = np.rint(np.asarray(monitor.t / net.clock.dt)).astype(int)
    by_step = np.zeros((net.capacity * net.model.steps, population.size))
    np.add.at(by_step, (step, np.asarray(monitor.i)), 1)
    shape = (net.capacity, net.model.steps, *population.shape)
    return net.to_layer(name, by_step).reshape(shape)


def assert_same_spikes(net, images, seed=0, numbers=None) -> rate_reference.RateRun:
    model = net.model
    expected = rate_reference.simulate(model, images, seed, numbers)
    assert set(expected.spikes) == set(spiking(model))
    for name, spikes in expected.spikes.items():
        found = spikes_of(net, name)[: len(images)]
        np.testing.assert_array_equal(found, np.abs(spikes), err_msg=name)
        assert spikes.any(), name
        assert not spikes.all(), name
    told = net.recorded_read_out()[: len(images)]
    wanted = rate_reference.read_out(model, expected)
    np.testing.assert_allclose(told, wanted, rtol=1e-9, atol=1e-9)
    return expected
