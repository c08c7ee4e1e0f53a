"""Brian2's spikes in rate coding against the oracle: spike for spike, in float64."""

from __future__ import annotations

import itertools

import brian2 as b2
import numpy as np
import pytest
import rate_reference
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rate_networks import AverageCnn, ResidualNet, make_rate_model
from torch import nn

import bsnn
from bsnn.brian.devices import start, use_code_target, use_device
from bsnn.conversion import ENCODERS

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

KINDS = [
    {"form": form, "connectivity": connectivity}
    for form in OPTIONS["form"]
    for connectivity in OPTIONS["connectivity"]
]

every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "-".join(kind.values()))
every_encoder = pytest.mark.parametrize("encoder", OPTIONS["encoder"])


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
    told = net.to_layer(
        model.output.name, net.recorded_read_out().reshape(-1, model.output.size)
    ).reshape(net.capacity, model.steps, -1)[: len(images)]
    wanted = rate_reference.read_out(model, expected)
    np.testing.assert_allclose(told, wanted, rtol=1e-9, atol=1e-9)
    return expected


def dense_model(weights, steps: int, biases=None, **options) -> bsnn.RateModel:
    """Dense layers with these weights; scales of one, unless others are named."""
    layers = [nn.Flatten()]
    biases = biases or [None] * len(weights)
    for weight, bias in zip(weights, biases, strict=True):
        weight = torch.tensor(weight, dtype=torch.float32)
        layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
        layer.weight.data = weight
        if bias is not None:
            layer.bias.data = torch.tensor(bias, dtype=torch.float32)
        layers += [layer, nn.ReLU()]
    graph = bsnn.from_torch(nn.Sequential(*layers[:-1]), (1, 1, layers[1].in_features))
    names = [layer.name for layer in graph if layer.kind in ("input", "linear")]
    scales = {**dict.fromkeys(names, 1.0), **options.pop("scales", {})}
    options = {"read_out": "count", "norm": "by hand", "calibration": {}, **options}
    return bsnn.RateModel(graph=graph, steps=steps, scales=scales, **options)


def test_the_oracles_noise_is_splitmix():
    """Against whole numbers without end."""

    def mix(z):
        z %= 2**64
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
        return z ^ (z >> 31)

    gamma = 0x9E3779B97F4A7C15
    for seed, stream, number in itertools.product((0, 5, 2**53 - 1), (0, 77), (0, 10**10)):
        state = mix(mix(seed + gamma) + (stream + 1) * gamma)
        wanted = (mix(state + (number + 1) * gamma) >> 11) / 2**53
        assert rate_reference.splitmix(seed, stream, number) == wanted


def test_cases_cover_each_pair_of_values():
    for (a, first), (b, second) in itertools.combinations(enumerate(OPTIONS.values()), 2):
        met = {(case[a], case[b]) for case in CASES}
        assert met == set(itertools.product(first, second))
    assert set(OPTIONS["encoder"]) == set(ENCODERS)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_average_pools(numpy_target, case):
    """Biases, groups, even kernels, strides, maps that are not square, several images."""
    options, kind = options_of(case)
    model, images = make_rate_model(AverageCnn(), (2, 7, 6), **options)
    net = run_here(model, images[:3], seed=4, **kind)
    assert_same_spikes(net, images[:3], seed=4)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_residual_network(numpy_target, case):
    """Shortcuts: the identity, every second pixel with further channels, and a convolution."""
    options, kind = options_of(case)
    model, images = make_rate_model(ResidualNet(), (2, 6, 5), **options)
    net = run_here(model, images[:3], seed=9, **kind)
    assert_same_spikes(net, images[:3], seed=9)
