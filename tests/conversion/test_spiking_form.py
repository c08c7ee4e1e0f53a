"""Concatenations, clips and unrectified sums in spikes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

import bsnn
from bsnn.conversion.spiking_form import spiking_form
from bsnn.graph import ClippedReLU, Concat, Conv2d, Flatten, Graph, Input, Linear, ReLU


class Branches(nn.Module):
    """Branches that are concatenated, split, dealt out, clipped, summed and pooled."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(1, 3, 1)
        self.deep, self.each = nn.Conv2d(7, 6, 3, padding=1), nn.Conv2d(7, 14, 3, groups=7)
        self.norm, self.dense = nn.BatchNorm2d(7), nn.Linear(56, 5)
        self.norm.running_mean.uniform_(-0.3, 0.3)
        self.norm.running_var.uniform_(0.5, 2)

    def forward(self, x):
        x = torch.cat([torch.relu(self.a(x)), functional.relu6(20 * self.b(x))], 1)
        y = functional.avg_pool2d(torch.relu(self.norm(x)), 2)
        x = functional.max_pool2d(x, 2)[:, [0, 2, 4, 6, 1, 3, 5]]
        shortcut = functional.pad(self.deep(y), (0, 0, 0, 0, 0, 8))[:, :, :-2, 1:-1]
        z = functional.max_pool2d(torch.relu(self.each(x + y) + shortcut), 2)
        z = functional.pad(z, (0, 1, 1, 0))
        return self.dense(torch.cat([z[:, 3:], z[:, :3]], 1).flatten(1))


class PreActivation(nn.Module):
    """Residual blocks whose sums are not rectified, and a dense block."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.stem = nn.Conv2d(2, 4, 3, padding=1)
        self.norms = nn.ModuleList(nn.BatchNorm2d(4) for _ in range(3))
        self.convs = nn.ModuleList(nn.Conv2d(4, 4, 3, padding=1) for _ in range(3))
        self.grow, self.dense = nn.Conv2d(4, 2, 3, padding=1), nn.Linear(6, 3)

    def forward(self, x):
        x = self.stem(x)
        for norm, conv in zip(self.norms, self.convs, strict=True):
            x = x + conv(torch.relu(norm(x)))
        x = torch.cat([x, self.grow(torch.relu(x))], 1)
        return self.dense(torch.relu(x).mean((2, 3)))


NETWORKS = {"branches": (Branches, (1, 10, 10)), "pre-activation": (PreActivation, (2, 6, 6))}
TTFS = {"steps": 300, "norm": "data-based", "rounding": True}
RATE = {"steps": 300, "norm": "data-based", "read_out": "potential", "initial_potential": 0.5}


@pytest.fixture(scope="module", params=NETWORKS)
def network(request):
    make, shape = NETWORKS[request.param]
    net = make().eval()
    images = torch.rand(6, *shape)
    graph = bsnn.from_torch(net, shape)
    return graph, images.numpy(), net(images).detach().numpy()


def test_the_spiking_form_computes_the_same(network):
    graph, images, expected = network
    form = spiking_form(graph)
    assert not any(isinstance(layer, Concat) for layer in form)
    np.testing.assert_allclose(form.forward(images), expected, atol=1e-5)
    # layers with weights keep their names and values
    before, after = graph.activations(images), form.activations(images)
    for name in before.keys() & after.keys():
        np.testing.assert_allclose(after[name], before[name], atol=1e-5)
    assert [layer.name for layer in spiking_form(form)] == [layer.name for layer in form]


@pytest.mark.parametrize("coding", ["ttfs", "rate"])
def test_potentials_of_the_spiking_network(network, coding):
    graph, images, expected = network
    model = bsnn.convert(graph, images, coding=coding, **(TTFS if coding == "ttfs" else RATE))
    found = model.reference(images).values[model.output.name].reshape(expected.shape)
    assert np.abs(found - expected).max() < 0.05 * np.ptp(expected)


@pytest.mark.parametrize("connectivity", ["shared", "synapses"])
@pytest.mark.parametrize("coding", ["ttfs", "rate"])
def test_spikes_are_those_of_the_reference(network, coding, connectivity, numpy_target):
    graph, images, _ = network
    options = {**(TTFS if coding == "ttfs" else RATE), "steps": 24}
    model = bsnn.convert(graph, images, coding=coding, **options)
    result = bsnn.simulate(
        model, images, batch=3, device="runtime", connectivity=connectivity, progress=False
    )
    expected = model.reference(images).values
    np.testing.assert_allclose(
        result.potentials, expected[model.output.name].reshape(6, -1), atol=1e-9
    )


def clipped(clip, levels=0, offset=0.5):
    rng = np.random.default_rng(3)
    weights = [
        rng.normal(size=shape).astype(np.float32) for shape in ((4, 1, 3, 3), (3, 64), (64,))
    ]
    return Graph([
        Input(name="input", shape=(1, 6, 6)),
        Conv2d(name="conv", inputs=("input",), weight=weights[0]),
        ClippedReLU(name="act", inputs=("conv",), clip=clip, levels=levels, offset=offset),
        Flatten(name="flat", inputs=("act",)),
        Linear(name="fc", inputs=("flat",), weight=weights[1]),
    ])  # fmt: skip


@pytest.mark.parametrize("norm", ["data-based", "percentile", "model-based"])
@pytest.mark.parametrize("coding", ["ttfs", "rate"])
def test_a_clip_is_the_scale(coding, norm):
    graph, images = clipped(0.75), np.random.default_rng(0).random((5, 1, 6, 6), np.float32)
    model = bsnn.convert(graph, images, coding=coding, norm=norm, steps=400)
    assert model.scales["conv"] == 0.75
    values = model.reference(images).values["conv"]
    exact = graph.activations(images)["act"]
    assert values.max() == 0.75
    assert np.abs(values - exact).max() < 0.01


def test_spike_norm_leaves_clips_alone():
    graph, images = clipped(0.75), np.random.default_rng(0).random((5, 1, 6, 6), np.float32)
    model = bsnn.convert_to_rate(graph, images, norm="spike-norm", steps=20, progress=False)
    assert model.scales["conv"] == 0.75
    assert model.scales["fc"] > 0.75


@pytest.mark.parametrize(("offset", "rounding"), [(0.5, True), (0.0, False)])
@pytest.mark.parametrize("levels", [4, 7])
def test_as_many_levels_as_steps_are_exact(levels, offset, rounding):
    graph = clipped(1.25, levels, offset)
    # pixels that as many steps tell
    images = np.random.default_rng(0).integers(0, levels + 1, (40, 1, 6, 6)) / levels
    # a potential that misses a level only by rounding has it in spikes, and not here
    reached = graph.activations(images)["conv"] * levels / 1.25 + offset
    near = np.abs(reached - np.round(reached)).min(axis=(1, 2, 3)) < 1e-4
    images = images[~near]
    assert len(images) > 20
    model = bsnn.convert_to_ttfs(graph, images, steps=levels, rounding=rounding)
    expected = graph.forward(images)
    found = model.reference(images).values["fc"].reshape(expected.shape)
    np.testing.assert_allclose(found, expected, atol=1e-6 * np.abs(expected).max())
    # and in rates, with half a threshold at the beginning for what rounds to the nearest
    rates = bsnn.convert_to_rate(
        graph, images, steps=levels, initial_potential=offset, read_out="potential"
    )
    found = rates.reference(images).values["fc"].reshape(expected.shape)
    np.testing.assert_allclose(found, expected, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize("coding", ["ttfs", "rate"])
def test_scales_of_ones_own(coding):
    graph = clipped(0.75)
    images = np.random.default_rng(0).random((5, 1, 6, 6), np.float32)
    plain = Graph([
        ReLU(name="act", inputs=("conv",)) if layer.name == "act" else layer for layer in graph
    ])  # fmt: skip
    model = bsnn.convert(plain, images, coding=coding, scales={"conv": 2.5})
    found = bsnn.convert(plain, images, coding=coding)
    assert model.scales["conv"] == 2.5 != found.scales["conv"]
    if coding == "rate":
        each = bsnn.convert(plain, images, coding=coding, scales={"conv": [1, 2, 3, 4]})
        np.testing.assert_array_equal(each.scales["conv"], [1, 2, 3, 4])
    for scales, message in (
        ({"conv": 0}, "'conv' is 0; a positive number"),
        ({"conv": float("nan")}, "a positive number"),
        ({"input": 2.0}, "population with a scale of its own"),
        ({"cnov": 2.0}, "conv"),
        ({"conv": [1.0, 2.0]}, "'conv' is 2 numbers; one is needed"),
    ):
        with pytest.raises(bsnn.BsnnError, match=message):
            bsnn.convert(plain, images, coding=coding, scales=scales)
    with pytest.raises(bsnn.ConversionError, match="clip 0.75, which is its scale"):
        bsnn.convert(graph, images, coding=coding, scales={"conv": 1.0})


def test_a_last_layer_that_does_not_spike_may_be_negative():
    graph, images = clipped(0.75), np.random.default_rng(0).random((5, 1, 6, 6), np.float32)
    low = Graph([
        Linear(name="fc", inputs=("flat",), weight=-np.abs(layer.weight))
        if layer.name == "fc" else layer for layer in graph
    ])  # fmt: skip
    assert low.forward(images).max() < 0
    for options in ({"coding": "ttfs"}, {"coding": "rate", "read_out": "potential"}):
        model = bsnn.convert(low, images, **options)
        found = model.reference(images).values["fc"]
        assert np.abs(found - low.forward(images)).max() < 0.2 * np.abs(low.forward(images)).max()
    with pytest.raises(bsnn.ConversionError, match="'fc' is not active"):
        bsnn.convert(low, images, coding="rate", read_out="count")


#: What is done to two maps of four channels, with two numbers.
OPERATIONS = {
    "conv": lambda m, x, y, i, j: m.conv(x),
    "group": lambda m, x, y, i, j: m.group(x),
    "each": lambda m, x, y, i, j: m.each(x)[:, j % 4 :: 2][:, [0, 1, 0, 1]],
    "relu": lambda m, x, y, i, j: torch.relu(x),
    "clip": lambda m, x, y, i, j: x.clamp(0, 0.5),
    "cat": lambda m, x, y, i, j: torch.cat([x[:, j % 4 :], y], 1)[:, :4],
    "choose": lambda m, x, y, i, j: x[:, [j % 4, 3, i % 4, 0]],
    "add": lambda m, x, y, i, j: x + y,
    "max": lambda m, x, y, i, j: functional.max_pool2d(x, 3, 1, 1),
    "mean": lambda m, x, y, i, j: functional.avg_pool2d(x, 3, 1, 1),
    "norm": lambda m, x, y, i, j: m.norm(x),
}
_STEPS = st.tuples(st.sampled_from(list(OPERATIONS)), st.integers(0, 7), st.integers(0, 7))


@settings(max_examples=25, deadline=None)
@given(steps=st.lists(_STEPS, min_size=3, max_size=9))
def test_networks_by_chance(steps):
    """Whatever is concatenated, its spiking form is the same network, without concatenations."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(5)
            self.first, self.conv = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
            self.group = nn.Conv2d(4, 4, 3, padding=1, groups=2)
            self.each = nn.Conv2d(4, 8, 3, padding=1, groups=4)
            self.norm, self.end = nn.BatchNorm2d(4), nn.Linear(4 * 25, 3)
            nn.init.normal_(self.norm.bias)

        def forward(self, x):
            held = [torch.relu(self.first(x)), self.first(x)]
            for name, one, other in steps:
                first, second = held[one % len(held)], held[other % len(held)]
                held.append(OPERATIONS[name](self, first, second, one, other))
            return self.end((held[-1] + held[len(held) // 2]).flatten(1))

    net = Net().eval()
    graph = bsnn.from_torch(net, (1, 5, 5))
    form = spiking_form(graph)
    assert not any(isinstance(layer, Concat) for layer in form)
    images = torch.randn(4, 1, 5, 5)
    expected = net(images).detach().numpy()
    np.testing.assert_allclose(
        form.forward(images.numpy()), expected, rtol=0, atol=1e-4 * np.abs(expected).max()
    )


def test_nir_keeps_concatenations_sums_and_clips(network):
    graph, images, _ = network
    model = bsnn.convert_to_rate(graph, images, steps=50, gate="average", reset="zero")
    again = bsnn.from_nir(bsnn.to_nir(model))
    assert again.notes == ()
    found, expected = (m.reference(images).values for m in (again.model, model))
    np.testing.assert_allclose(found[again.model.output.name], expected[model.output.name])
    clips = [
        [layer.clip for layer in m.graph if isinstance(layer, ClippedReLU)]
        for m in (again.model, model)
    ]
    assert clips[0] == clips[1]


def test_a_clip_on_the_grid():
    graph, images = clipped(0.75), np.random.default_rng(0).random((5, 1, 6, 6), np.float32)
    model = bsnn.conversion.on_grid(bsnn.convert_to_rate(graph, images, steps=50), 12)
    layer = model.graph["act"]
    assert layer.clip == model.scales["conv"] == 1
    exact = graph.activations(images)["act"] / 0.75
    np.testing.assert_allclose(model.graph.activations(images)["act"], exact, atol=2e-3)


class Unrectified(nn.Module):
    """Max-poolings of what is not rectified, one over the other, in a branch and at the end."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.a, self.b = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.norm, self.dense = nn.BatchNorm2d(4), nn.Linear(4 * 9, 5)
        nn.init.uniform_(self.norm.weight, -1.5, 1.5)

    def forward(self, x):
        x = self.a(x)
        y = functional.max_pool2d(functional.max_pool2d(x, 3, 1, 1), 2)
        z = self.norm(functional.avg_pool2d(torch.relu(x), 2)) + functional.max_pool2d(x - 0.2, 2)
        x = torch.relu(self.b(y)) + z
        return self.dense(functional.max_pool2d(x, 2).flatten(1))


@pytest.mark.parametrize("coding", ["ttfs", "rate"])
def test_max_poolings_of_what_is_not_rectified(coding, numpy_target):
    net = Unrectified().eval()
    images = torch.rand(12, 1, 12, 12)
    graph, expected = bsnn.from_torch(net, (1, 12, 12)), net(images).detach().numpy()
    model = bsnn.convert(
        graph, images.numpy(), coding=coding, **(TTFS if coding == "ttfs" else RATE)
    )
    np.testing.assert_allclose(model.graph.forward(images.numpy()), expected, atol=1e-5)
    found = model.reference(images.numpy()).values[model.output.name].reshape(expected.shape)
    assert np.abs(found - expected).max() < 0.06 * np.ptp(expected)
    # images that were not seen
    others = torch.rand(100, 1, 12, 12)
    np.testing.assert_allclose(
        model.graph.forward(others.numpy()), net(others).detach().numpy(), atol=1e-5
    )
    result = bsnn.simulate(model, images.numpy(), batch=4, device="runtime", progress=False)
    np.testing.assert_allclose(result.potentials, found, atol=1e-9)
