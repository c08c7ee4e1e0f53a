"""The graph: forward pass against PyTorch, shapes, costs and errors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch.nn import functional
from ttfs_networks import ResidualCnn, SmallCnn

import bsnn
from bsnn.graph import (
    AdaptiveAvgPool2d,
    Add,
    AvgPool2d,
    Conv2d,
    Flatten,
    Input,
    Linear,
    MaxPool2d,
    Normalise,
    PadChannels,
    ReLU,
    count,
)
from bsnn.networks.lopez_randulfe_2022.network import MnistCnn

pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
sizes = st.tuples(st.integers(1, 4), st.integers(6, 9), st.integers(7, 11))


def images_of(shape, seed=0):
    return np.random.default_rng(seed).normal(size=(3, *shape))


@given(
    shape=sizes,
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=pair,
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    padding=st.tuples(*[st.integers(0, 3)] * 4),
    depthwise=st.booleans(),
    bias=st.booleans(),
)
def test_conv2d_is_torchs(shape, kernel, stride, dilation, padding, depthwise, bias):
    for size, k, d, pad in zip(
        shape[1:], kernel, dilation, (sum(padding[:2]), sum(padding[2:])), strict=True
    ):
        assume(d * (k - 1) < size + pad)
    rng = np.random.default_rng(1)
    groups = shape[0] if depthwise else 1
    weight = rng.normal(size=(2 * groups, shape[0] // groups, *kernel)).astype(np.float32)
    offset = rng.normal(size=2 * groups).astype(np.float32) if bias else None
    layer = Conv2d(
        name="c", inputs=("x",), weight=weight, bias=offset, stride=stride, dilation=dilation,
        padding=padding, groups=groups,
    )  # fmt: skip
    x = images_of(shape)
    top, bottom, left, right = padding
    expected = functional.conv2d(
        functional.pad(torch.from_numpy(x), (left, right, top, bottom)),
        torch.from_numpy(weight).double(),
        None if offset is None else torch.from_numpy(offset).double(),
        stride, 0, dilation, groups,
    ).numpy()  # fmt: skip
    assert layer.output_shape(shape) == expected.shape[1:]
    np.testing.assert_allclose(layer.forward(x), expected, atol=1e-12)
    ones = torch.ones(1, shape[0] // groups, *kernel)
    seen = functional.conv2d(
        functional.pad(torch.ones(1, shape[0] // groups, *shape[1:]), (left, right, top, bottom)),
        ones, None, stride, 0, dilation,
    )  # fmt: skip
    assert layer.connections(shape) == int(seen.sum()) * 2 * groups


@given(
    shape=sizes,
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=pair,
    ceil_mode=st.booleans(),
    pad=st.booleans(),
    include=st.booleans(),
    divisor=st.sampled_from([0, 3]),
)
def test_pools_are_torchs(shape, kernel, stride, ceil_mode, pad, include, divisor):
    padding = (kernel[0] // 2, kernel[1] // 2) if pad else (0, 0)
    x = images_of(shape)
    torch_x = torch.from_numpy(x)
    common = {"kernel": kernel, "stride": stride, "padding": padding, "ceil_mode": ceil_mode}
    pool = MaxPool2d(name="p", inputs=("x",), dilation=(1, 2), **common)
    expected = functional.max_pool2d(torch_x, kernel, stride, padding, (1, 2), ceil_mode)
    assert pool.output_shape(shape) == tuple(expected.shape[1:])
    np.testing.assert_array_equal(pool.forward(x), expected.numpy())
    pool = AvgPool2d(name="p", inputs=("x",), count_include_pad=include, divisor=divisor, **common)
    expected = functional.avg_pool2d(
        torch_x, kernel, stride, padding, ceil_mode, include, divisor or None
    )
    assert pool.output_shape(shape) == tuple(expected.shape[1:])
    np.testing.assert_allclose(pool.forward(x), expected.numpy(), atol=1e-12)


@given(shape=sizes, output=st.tuples(st.integers(1, 5), st.integers(1, 5)))
def test_adaptive_pool_is_torchs(shape, output):
    x = images_of(shape)
    layer = AdaptiveAvgPool2d(name="p", inputs=("x",), output_size=output)
    expected = functional.adaptive_avg_pool2d(torch.from_numpy(x), output).numpy()
    np.testing.assert_allclose(layer.forward(x), expected, atol=1e-12)


@given(shape=sizes, mean=st.tuples(*[st.booleans()] * 3), std=st.tuples(*[st.booleans()] * 3))
def test_normalisation_is_torchs(shape, mean, std):
    """Along each axis of an image, mean and deviation vary or do not."""
    rng = np.random.default_rng(2)
    sizes_of = [
        tuple(size if varies else 1 for size, varies in zip(shape, axes, strict=True))
        for axes in (mean, std)
    ]
    subtract = rng.normal(size=sizes_of[0]).astype(np.float32)
    divide = rng.uniform(0.1, 2, size=sizes_of[1]).astype(np.float32)
    layer = Normalise(name="n", inputs=("x",), mean=subtract, std=divide)
    x = images_of(shape)
    expected = (torch.from_numpy(x) - torch.from_numpy(subtract)) / torch.from_numpy(divide)
    assert layer.output_shape(shape) == shape
    np.testing.assert_array_equal(layer.forward(x), expected.numpy())
    assert layer.forward(x.astype(np.float32)).dtype == np.float32
    assert layer.macs(shape) == layer.connections(shape) == x[0].size


@given(shape=sizes, before=st.integers(0, 3), after=st.integers(0, 3))
def test_channel_padding_is_torchs(shape, before, after):
    layer = PadChannels(name="p", inputs=("x",), before=before, after=after)
    x = images_of(shape)
    expected = functional.pad(torch.from_numpy(x), (0, 0, 0, 0, before, after)).numpy()
    assert layer.output_shape(shape) == expected.shape[1:]
    np.testing.assert_array_equal(layer.forward(x), expected)
    assert layer.connections(shape) == x[0].size


@pytest.mark.parametrize(("net", "shape"), [(SmallCnn(), (1, 9, 8)), (ResidualCnn(), (2, 6, 7))])
def test_network_is_torchs_layer_by_layer(net, shape):
    graph = bsnn.from_torch(net, shape)
    images = np.random.default_rng(0).random((4, *shape))
    found = graph.activations(images)
    modules = {name: module for name, module in net.named_modules() if name in graph}
    seen = {}
    for name, module in modules.items():
        module.register_forward_hook(lambda _m, _i, out, name=name: seen.update({name: out}))
    expected = net.double()(torch.from_numpy(images)).detach().numpy()
    np.testing.assert_allclose(found[graph.output], expected, atol=1e-10)
    assert len(seen) == len(modules) >= 5
    for name, output in seen.items():
        np.testing.assert_allclose(found[name], output.detach().numpy(), atol=1e-10)


def test_large_batches_are_computed_in_parts(monkeypatch):
    graph = bsnn.from_torch(SmallCnn(), (1, 9, 8))
    images = np.random.default_rng(0).random((20, 1, 9, 8))
    whole = graph.forward(images)
    monkeypatch.setattr("bsnn.graph.layers._BUFFER_VALUES", 500)
    np.testing.assert_allclose(graph.forward(images), whole, atol=1e-12)


def test_the_papers_network_costs_what_the_paper_says():
    cost = count(bsnn.from_torch(MnistCnn(), (1, 28, 28)))
    assert cost.flops == 14_316_496
    assert cost.macs == 7_154_312
    assert cost.connections == 1_083_392 + 5_120_000 + 800_000 + 5_000
    assert cost.parameters == 858_374
    assert cost.neurons == 31_998


def normalise(mean, std):
    return chain(
        Normalise(name="n", inputs=("x",), mean=np.array(mean, "f4"), std=np.array(std, "f4"))
    )


def chain(*layers):
    return [Input(name="x", shape=(1, 4, 4)), *layers]


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (chain(ReLU(name="Relu", inputs=("x",))), "no valid layer name"),
        (chain(ReLU(name="r", inputs=("x",)), ReLU(name="r", inputs=("x",))), "two layers"),
        (chain(ReLU(name="r", inputs=("y",))), "not among the layers before it"),
        (chain(ReLU(name="r", inputs=("x", "x"))), "takes 1 input"),
        (chain(ReLU(name="r", inputs=("x",)), ReLU(name="s", inputs=("x",))), "nothing uses"),
        (
            chain(Linear(name="f", inputs=("x",), weight=np.ones((2, 16), "f4"))),
            "does not fit an input of shape",
        ),
        (
            chain(Conv2d(name="c", inputs=("x",), weight=np.ones((2, 1, 5, 5), "f4"))),
            "does not fit an axis",
        ),
        (
            chain(
                Conv2d(
                    name="c",
                    inputs=("x",),
                    weight=np.ones((2, 1, 3, 3), "f4"),
                    bias=np.ones(3, "f4"),
                )
            ),
            "the bias has shape",
        ),
        (
            chain(Flatten(name="f", inputs=("x",)), Add(name="a", inputs=("x", "f"))),
            "cannot be added",
        ),
        ([ReLU(name="r", inputs=())], "takes 1 input"),
        (normalise([0.5], [[[1]]]), r"mean has shape \(1,\), which does not fit an input of shape"),
        (normalise([[[0], [0]]], [[[1]]]), r"mean has shape \(1, 2, 1\)"),
        (normalise([[[0]]], [[[1]], [[1]]]), r"std has shape \(2, 1, 1\)"),
        (normalise([[[np.nan]]], [[[1]]]), "mean has values that are NaN"),
        (normalise([[[0]]], [[[0]]]), "std has values that are not positive"),
        (normalise([[[0]]], [[[-1]]]), "std has values that are not positive"),
        (chain(PadChannels(name="p", inputs=("x",), before=-1, after=2)), "cannot be added"),
        (
            chain(
                Flatten(name="f", inputs=("x",)),
                PadChannels(name="p", inputs=("f",), before=0, after=2),
            ),
            "is expected",
        ),
    ],
)
def test_inconsistent_graphs_are_refused(layers, message):
    with pytest.raises(bsnn.GraphError, match=message):
        bsnn.Graph(layers)


def test_images_of_another_shape_are_refused():
    graph = bsnn.from_torch(SmallCnn(), (1, 9, 8))
    with pytest.raises(bsnn.GraphError, match=r"takes \(n, 1, 9, 8\)"):
        graph.forward(np.zeros((2, 8, 9)))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.full((2, 1, 9, 8), np.nan), "NaN or infinite"),
        (np.ones((2, 1, 9, 8), complex), "complex numbers"),
        (np.ma.masked_all((2, 1, 9, 8)), "masked in 144 places"),
        (np.full((2, 1, 9, 8), 200, np.uint8), "uint8.*up to 200.*by 255"),
        ([[1.0], [1.0, 2.0]], "cannot be read"),
    ],
)
def test_images_that_cannot_be_meant_are_refused(images, message):
    graph = bsnn.from_torch(SmallCnn(), (1, 9, 8))
    with pytest.raises(bsnn.InputError, match=message):
        graph.forward(images)


@pytest.mark.parametrize(
    ("shape", "advice"),
    [
        ((2, 9, 8, 1), "channels first"),
        ((2, 9, 8), "axis for their one channel"),
        ((1, 9, 8), "single image a batch axis"),
        ((2, 72), r"images.reshape\(-1, 1, 9, 8\)"),
        ((2, 1, 8, 8), r"8\)$"),
    ],
)
def test_how_images_of_another_shape_become_those_that_are_taken(shape, advice):
    graph = bsnn.from_torch(SmallCnn(), (1, 9, 8))
    with pytest.raises(bsnn.GraphError, match=advice):
        graph.forward(np.zeros(shape))
