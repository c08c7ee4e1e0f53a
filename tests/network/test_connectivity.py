"""Connections against PyTorch: the same map, for any geometry, and the true fan-out."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import bsnn
from bsnn.brian.pooling import Windows
from bsnn.conversion import Population, Projection
from bsnn.graph import Conv2d
from bsnn.network.connectivity import neuron_order, projection
from bsnn.network.shared_projection import shared_projection
from bsnn.network.size import estimate

pair = st.tuples(st.integers(1, 3), st.integers(1, 3))


def population(name, shape) -> Population:
    return Population(name, name, name, "neurons", shape, 0)


def assert_same_map(net: nn.Module, shape) -> None:
    """Carry random values along the connections, and along the network."""
    graph = bsnn.from_torch(net, shape)
    names = tuple(layer.name for layer in graph)[1:]
    source = population("input", shape)
    target = population("out", graph.shapes[graph.output])
    found = projection(graph, Projection("input", "input", names), source, target)
    x = np.random.default_rng(0).normal(size=shape)
    values = np.zeros(target.size)
    np.add.at(values, found.target, found.weight * x.ravel()[neuron_order(shape)][found.source])
    expected = net.double()(torch.from_numpy(x)[None]).detach().numpy().ravel()
    np.testing.assert_allclose(values, expected[neuron_order(target.shape)], atol=1e-6)
    assert (np.diff(found.source) >= 0).all(), "sorted by source"


@given(
    shape=st.tuples(st.integers(1, 4), st.integers(5, 8), st.integers(6, 9)),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=pair,
    dilation=st.integers(1, 2),
    padding=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    depthwise=st.booleans(),
)
def test_convolution(shape, kernel, stride, dilation, padding, depthwise):
    if any(dilation * (k - 1) >= size for k, size in zip(kernel, shape[1:], strict=True)):
        dilation = 1
    groups = shape[0] if depthwise else 1
    conv = nn.Conv2d(shape[0], 2 * groups, kernel, stride, padding, dilation, groups, bias=False)
    assert_same_map(nn.Sequential(conv), shape)


def test_even_kernel_with_same_padding():
    assert_same_map(nn.Sequential(nn.Conv2d(2, 3, (2, 4), padding="same", bias=False)), (2, 5, 6))


@given(
    shape=st.tuples(st.integers(1, 3), st.integers(4, 7), st.integers(5, 8)),
    kernel=pair,
    stride=pair,
    ceil_mode=st.booleans(),
    include=st.booleans(),
)
def test_average_pool(shape, kernel, stride, ceil_mode, include):
    padding = (kernel[0] // 2, kernel[1] // 2)
    pool = nn.AvgPool2d(kernel, stride, padding, ceil_mode, include)
    assert_same_map(nn.Sequential(pool), shape)


def test_chains_are_multiplied_out():
    net = nn.Sequential(
        nn.AvgPool2d(2), nn.Conv2d(2, 3, 3, padding=1, bias=False), nn.AdaptiveAvgPool2d((2, 3)),
        nn.Flatten(), nn.Linear(18, 4, bias=False),
    )  # fmt: skip
    assert_same_map(net, (2, 9, 7))


@given(
    shape=st.tuples(st.integers(1, 3), st.integers(4, 7), st.integers(5, 8)),
    kernel=pair,
    stride=pair,
    ceil_mode=st.booleans(),
)
def test_max_pool_windows(shape, kernel, stride, ceil_mode):
    padding = (kernel[0] // 2, kernel[1] // 2)
    net = nn.MaxPool2d(kernel, stride, padding, ceil_mode=ceil_mode)
    graph = bsnn.from_torch(nn.Sequential(net), shape)
    windows = Windows(*graph["pool1"].taps(*shape[1:]))
    first, window = windows.containing(*shape[1:])
    x = np.random.default_rng(0).normal(size=shape)
    largest = np.full((shape[0], np.prod(windows.shape)), -np.inf)
    place = np.repeat(np.arange(shape[1] * shape[2]), np.diff(first))
    for channel in range(shape[0]):
        np.maximum.at(largest[channel], window, x[channel].ravel()[place])
    expected = net(torch.from_numpy(x)[None]).numpy()[0]
    np.testing.assert_array_equal(largest.reshape(expected.shape), expected)
    assert windows.fan_out(*shape).sum() == shape[0] * len(window)


@given(
    shape=st.tuples(st.integers(1, 3), st.integers(2, 5), st.integers(2, 5)),
    before=st.integers(0, 2),
    after=st.integers(1, 3),
)
def test_channel_padding(shape, before, after):
    class Net(nn.Module):
        def forward(self, x):
            return nn.functional.pad(x, (0, 0, 0, 0, before, after))

    assert_same_map(Net(), shape)


MEANS = np.random.default_rng(0).normal(size=(4, 6, 8)).astype(np.float32)
DEVIATIONS = np.random.default_rng(1).uniform(0.1, 2, size=(4, 6, 8)).astype(np.float32)


@given(
    mean=st.sampled_from([None, MEANS[:, 0, 0], MEANS]),
    std=st.sampled_from(
        [None, DEVIATIONS[:, 0, 0], DEVIATIONS, np.full((4, 6, 8), 0.3, np.float32)]
    ),
    pool=st.booleans(),
    last=st.sampled_from(["conv", "depthwise", "grouped", "dense", "nothing"]),
)
def test_normalisation_is_in_the_weights(mean, std, pool, last):
    """As explicit synapses and, where weights can hold it, as shared connections: PyTorch's map."""
    layers = [nn.AvgPool2d((2, 1))] if pool else []
    if last == "dense":
        layers += [nn.Flatten(), nn.Linear(4 * (3 if pool else 6) * 8, 5, bias=False)]
    elif last != "nothing":
        groups = {"conv": 1, "depthwise": 4, "grouped": 2}[last]
        layers.append(nn.Conv2d(4, 8, (3, 2), (1, 2), (1, 0), groups=groups, bias=False))
    net = nn.Sequential(*layers).double()
    shape = (4, 6, 8)
    graph = bsnn.from_torch(copy.deepcopy(net).float(), shape, mean=mean, std=std)
    names = tuple(layer.name for layer in graph)[1:]
    source, target = population("input", shape), population("out", graph.shapes[graph.output])
    path = Projection("input", "input", names)
    explicit = projection(graph, path, source, target)
    found = np.zeros((target.size, source.size))
    found[explicit.target, explicit.source] = explicit.weight
    divide = torch.ones(shape) if std is None else torch.from_numpy(std)
    divide = (divide if divide.ndim == 3 else divide[:, None, None]).double()

    def matrix_of(function):
        one_by_one = torch.eye(source.size, dtype=torch.float64).reshape(-1, *shape)
        rows = function(one_by_one).detach().reshape(source.size, -1).numpy()
        return rows[neuron_order(shape)][:, neuron_order(target.shape)].T

    expected = matrix_of(lambda images: net(images / divide))
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)
    shared = shared_projection(graph, path, source, target)
    per_pixel = std is DEVIATIONS
    assert (shared is None) == (per_pixel and (pool or last != "dense"))
    if shared is None:
        return
    weight = torch.from_numpy(shared.layer.weight).double()
    pooling = nn.AvgPool2d((2, 1)) if pool else nn.Identity()
    if last == "dense":
        carried = matrix_of(lambda images: pooling(images).flatten(1) @ weight.T)
    else:
        conv = shared.layer
        padding = (conv.padding[0], conv.padding[2])
        carried = matrix_of(
            lambda images: nn.functional.conv2d(
                pooling(images), weight, None, conv.stride, padding, groups=conv.groups
            )
        )
    if pool:
        np.testing.assert_allclose(carried, found, rtol=1e-12)
    else:
        np.testing.assert_array_equal(carried, found)
    np.testing.assert_array_equal(shared.fan_out(), explicit.fan_out(source.size))


def test_fan_out_is_clipped_at_the_border():
    """A pixel in the corner drives 4x4 of the 7x7 taps of the paper's first convolution."""
    weight = np.zeros((32, 1, 7, 7), dtype=np.float32)
    conv = Conv2d(name="c", inputs=("x",), weight=weight, padding=(3, 3, 3, 3))
    graph = bsnn.Graph([bsnn.graph.Input(name="x", shape=(1, 28, 28)), conv])
    found = projection(
        graph, Projection("x", "x", ("c",)), population("x", (1, 28, 28)),
        population("c", (32, 28, 28)),
    )  # fmt: skip
    fan_out = found.fan_out(784).reshape(28, 28)
    assert fan_out[0, 0] == 16 * 32
    assert fan_out[14, 14] == 49 * 32
    assert fan_out.sum() == conv.connections((1, 28, 28)) == 1_083_392


def test_neurons_are_numbered_channel_last():
    order = neuron_order((3, 2, 2))
    values = np.arange(12).reshape(3, 2, 2)
    np.testing.assert_array_equal(values.ravel()[order].reshape(2, 2, 3), values.transpose(1, 2, 0))


@pytest.mark.parametrize("which", ["small_cnn", "residual_cnn"])
def test_estimate_is_what_is_built(which, request, numpy_target):
    model, _ = request.getfixturevalue(which)()
    size = estimate(model)
    net = bsnn.build(model)
    assert size.neurons == sum(len(group) for group in net.groups.values())
    built = net.connections
    assert size.connections + size.pool_connections == pytest.approx(built, rel=0.1)
    if which == "small_cnn":
        assert size.connections + size.pool_connections == built
