"""The PyTorch front end: what it converts exactly, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

import bsnn
from bsnn.graph import Conv2d, Normalise


def assert_exact(net: nn.Module, shape, **options) -> bsnn.Graph:
    net = net.eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    graph = bsnn.from_torch(net, shape, **options)
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name]), "the user's model was changed"
    images = torch.rand(5, *shape)
    inside = images
    if options:
        mean, std = (
            torch.tensor(options.get(name, [default] * shape[0]))
            for name, default in (("mean", 0.0), ("std", 1.0))
        )
        mean, std = (a if a.ndim == 3 else a.view(-1, 1, 1) for a in (mean, std))
        inside = (images - mean) / std
    expected = net(inside).detach().numpy()
    np.testing.assert_allclose(graph.forward(images.numpy()), expected, atol=2e-5)
    return graph


class Forms(nn.Module):
    """The ways in which people write the same operations."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3, padding="same", padding_mode="zeros")
        self.second = nn.Conv2d(3, 3, (2, 4), padding="same", bias=False)
        self.act = nn.ReLU(inplace=True)
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(3 * 2 * 2, 4)

    def forward(self, x):
        x = functional.relu(functional.max_pool2d(self.conv(x), 2, stride=1))
        x = functional.max_pool2d(x, kernel_size=(2, 1), ceil_mode=True)
        x = self.act(self.second(x))
        y = torch.relu(self.second(x))
        x = torch.add(x, y).relu()
        x += y
        x = functional.dropout(x, 0.3, self.training)
        x = functional.adaptive_avg_pool2d(x, 2).contiguous()
        x = self.drop(x).view(x.size(0), -1)
        return self.fc(x.reshape(x.shape[0], -1))


def test_functional_forms_and_layers_used_twice():
    graph = assert_exact(Forms(), (2, 7, 6))
    assert sum(layer.name.startswith("second") for layer in graph) == 2


@pytest.mark.parametrize(
    "flatten",
    [nn.Flatten(), lambda x: torch.flatten(x, 1), lambda x: x.flatten(1), lambda x: x.view(-1, 32)],
)
def test_flattening(flatten):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(32, 2)
            if isinstance(flatten, nn.Module):
                self.flat = flatten

        def forward(self, x):
            return self.fc(self.flat(x) if hasattr(self, "flat") else flatten(x))

    assert_exact(Net(), (2, 4, 4))


def test_names_in_a_sequential():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2 * 9, 2))
    graph = assert_exact(net, (1, 5, 5))
    assert [layer.name for layer in graph] == ["input", "conv1", "relu1", "flatten1", "fc1"]


def randomise(net):
    for module in net.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            module.running_mean.normal_()
            module.running_var.uniform_(0.2, 2)
            if module.affine:
                nn.init.normal_(module.weight)
                nn.init.normal_(module.bias)
    return net


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_batch_norm_is_folded(affine, bias):
    net = nn.Sequential(
        nn.Conv2d(2, 3, 3, bias=bias), nn.Identity(), nn.BatchNorm2d(3, affine=affine), nn.ReLU(),
        nn.Flatten(), nn.Linear(27, 4, bias=bias), nn.BatchNorm1d(4, affine=affine), nn.ReLU(),
        nn.Linear(4, 2),
    )  # fmt: skip
    graph = assert_exact(randomise(net), (2, 5, 5))
    assert [layer.kind for layer in graph].count("conv2d") == 1
    assert len(graph) == 7


def test_batch_norm_is_not_folded_into_a_shared_convolution():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1, 2, 3, padding=1)
            self.norm = nn.BatchNorm2d(2)

        def forward(self, x):
            x = self.conv(x)
            return torch.flatten(functional.relu(self.norm(x)) + functional.relu(x), 1)

    graph = assert_exact(randomise(Net()), (1, 4, 4))
    norm = graph["norm"]
    assert isinstance(norm, Conv2d)
    assert norm.groups == 2


def test_batch_norm_at_the_end():
    net = nn.Sequential(nn.Flatten(), nn.Linear(9, 3), nn.BatchNorm1d(3))
    graph = assert_exact(randomise(net), (1, 3, 3))
    assert graph.output == "fc1"


def test_batch_norm_twice_and_on_the_input():
    net = nn.Sequential(nn.BatchNorm2d(2), nn.Conv2d(2, 2, 3), nn.BatchNorm2d(2), nn.BatchNorm2d(2))
    assert_exact(randomise(net), (2, 4, 4))


PER_PIXEL = np.random.default_rng(0).uniform(0.2, 0.8, size=(2, 4, 5)).astype(np.float32)


@pytest.mark.parametrize("mean", [None, [0.4, 0.5], PER_PIXEL])
@pytest.mark.parametrize("std", [None, [0.2, 0.3], PER_PIXEL])
@pytest.mark.parametrize("norm_first", [False, True])
def test_normalisation_becomes_the_first_layer(mean, std, norm_first):
    """Nothing else is put into it: its values are the images on which the network was trained."""
    first = [nn.BatchNorm2d(2)] if norm_first else []
    net = randomise(nn.Sequential(*first, nn.Conv2d(2, 3, 3, padding=1), nn.ReLU()))
    options = {k: v for k, v in (("mean", mean), ("std", std)) if v is not None}
    graph = assert_exact(net, (2, 4, 5), **options)
    assert ("normalise" in graph) == bool(options)
    if options:
        layer = list(graph)[1]
        assert isinstance(layer, Normalise)
        for name, default in (("mean", 0.0), ("std", 1.0)):
            given = np.asarray(options.get(name, [default] * 2), np.float32)
            expected = given if given.ndim == 3 else given[:, None, None]
            np.testing.assert_array_equal(layer.arrays[name], expected)


def test_a_small_deviation_beside_a_large_mean():
    net = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.ReLU())
    graph = bsnn.from_torch(net, (1, 4, 4), mean=[0.7], std=[1e-6])
    assert graph["normalise"].std == np.float32(1e-6)


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        (
            [0.5],
            None,
            r"mean has the shape \(1,\)\. One number is needed for each of the 2 channels",
        ),
        (None, [[1.0, 1.0]], r"std has the shape \(1, 2\)"),
        (None, PER_PIXEL[:, :, :4], r"std has the shape \(2, 4, 4\)"),
        (None, [0.2, 0.0], "std has values that are not positive"),
        (None, [0.2, 1e-60], "std has values that are not positive"),
        ([0.2, float("nan")], None, "mean has values that are NaN"),
        (["0.2", "0.3"], None, "values of mean are text"),
        ("0.2", None, "values of mean are text"),
        ([0.2, None], None, "values of mean are a NoneType"),
        ([0.2, 0.3j], None, "values of mean are complex numbers"),
        ([[0.2], [0.3, 0.4]], None, "values of mean cannot be read"),
        (None, np.ma.masked_array([0.2, 0.3], [0, 1]), "values of std are masked"),
        (None, {0: 0.2, 1: 0.3}, "values of std are a dict"),
    ],
)
def test_a_normalisation_that_does_not_fit_is_refused(mean, std, message):
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU())
    with pytest.raises(bsnn.ConversionError, match=message):
        bsnn.from_torch(net, (2, 4, 5), mean=mean, std=std)


class Shortcut(nn.Module):
    """A block whose shortcut is an operation of the test's choice."""

    def __init__(self, shortcut, channels, stride=1):
        super().__init__()
        self.conv = nn.Conv2d(2, channels, 3, stride, padding=1)
        self.shortcut = shortcut

    def forward(self, x):
        return functional.relu(self.conv(x) + self.shortcut(x))


@pytest.mark.parametrize(
    ("pad", "before", "after"),
    [
        (lambda x: functional.pad(x, (0, 0, 0, 0, 1, 2)), 1, 2),
        (lambda x: functional.pad(x, [0, 0, 0, 0, 0, 3, 0, 0], "constant", 0), 0, 3),
        (lambda x: functional.pad(x, pad=(0, 0, 0, 0, 3, 0), value=0.0), 3, 0),
        (lambda x: functional.pad(x, (0, 0, 0, 0, x.size(1) // 2, x.shape[1])), 1, 2),
    ],
)
def test_channels_are_padded(pad, before, after):
    graph = assert_exact(Shortcut(pad, 5), (2, 4, 5))
    (layer,) = (layer for layer in graph if layer.kind == "pad_channels")
    assert (layer.before, layer.after) == (before, after)


def test_padding_by_nothing_is_left_out():
    graph = assert_exact(Shortcut(lambda x: functional.pad(x, (0, 0, 0, 0, 0, 0)), 2), (2, 4, 5))
    assert [layer.kind for layer in graph] == ["input", "conv2d", "add", "relu"]


@given(
    stride=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    size=st.tuples(st.integers(3, 9), st.integers(3, 9)),
)
def test_every_nth_row_and_column(stride, size):
    rows, columns = stride
    graph = assert_exact(Shortcut(lambda x: x[:, :, ::rows, 0::columns], 2, stride), (2, *size))
    # a step of one is none, and neither is a longer one over less
    pools = [layer for layer in graph if layer.kind == "avg_pool2d"]
    assert [layer.kernel for layer in pools] == [(1, 1)] * (stride != (1, 1))


def test_global_average_by_mean():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1, 3, 3)

        def forward(self, x):
            return functional.relu(self.conv(x)).mean([-2, -1])

    assert_exact(Net(), (1, 6, 5))


class Model(nn.Module):
    """A convolution, and an operation of the test's choice after it."""

    def __init__(self, operation, module=None):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
        self.operation = operation
        if module is not None:
            self.module = module

    def forward(self, x):
        return self.operation(self, self.conv(x))

    def end(self, x):
        return x.flatten(1)


@pytest.mark.parametrize(
    ("operation", "module", "named", "advice"),
    [
        (lambda m, x: m.end(torch.sigmoid(x)), None, "sigmoid", "ReLU"),
        (lambda m, x: torch.sigmoid(x), None, "sigmoid", "behind the last layer"),
        (lambda m, x: functional.leaky_relu(x), None, "leaky_relu", "ReLU"),
        (lambda m, x: functional.leaky_relu(x, inplace=True), None, "leaky_relu", "ReLU"),
        (lambda m, x: m.module(x), nn.GELU(), "GELU", "ReLU"),
        (lambda m, x: m.module(x), nn.PReLU(), "PReLU", "ReLU"),
        (lambda m, x: x.abs(), None, "abs", "ReLU"),
        (lambda m, x: m.end(x).softmax(1) * 2, None, "softmax", "behind the last layer"),
        (lambda m, x: functional.softmax(m.end(x), 0), None, "softmax", "behind the last layer"),
        (lambda m, x: x * x.mean((2, 3), keepdim=True), None, "mul", "multiplied by each other"),
        (lambda m, x: x * x, None, "mul", "multiplied by each other"),
        (lambda m, x: x / x, None, "div", "multiplied by each other"),
        (lambda m, x: torch.maximum(x, 1 - x), None, "maximum", "max-pooling"),
        (lambda m, x: torch.linalg.norm(x, dim=1), None, "linalg_norm", "image"),
        (lambda m, x: m.module(x), nn.GroupNorm(1, 2), "GroupNorm", "BatchNorm2d"),
        (lambda m, x: m.module(x), nn.LayerNorm(2), "LayerNorm", "BatchNorm2d"),
        (lambda m, x: m.module(x), nn.Upsample(scale_factor=2), "Upsample", "strided"),
        (lambda m, x: m.module(x), nn.ConvTranspose2d(2, 2, 2), "ConvTranspose2d", "transposed"),
        (lambda m, x: m.module(x), nn.Linear(2, 2), "Linear", "Flatten"),
        (lambda m, x: functional.dropout(x, 0.5), None, "dropout", "self.training"),
        (lambda m, x: functional.pad(x, (0, 0, 0, 0, 0, 1), value=1.0), None, "pad", "zeros"),
        (lambda m, x: functional.pad(x, (1,) * 4, "reflect"), None, "pad", "zeros"),
        (lambda m, x: functional.conv2d(x.flip(3), x.new_ones(1, 2, 1, 1)), None, "", "cut off"),
        (lambda m, x: x[0], None, "", "images of a batch"),
        (lambda m, x: x.sum(0, keepdim=True) + x, None, "sum", "images of a batch"),
        (lambda m, x: x.view(x.size(0), 2, -1), None, "", "logits"),
        (lambda m, x: torch.round(x), None, "round", "clip"),
        (lambda m, x: torch.floor(x.clamp(-1, 1) * 4), None, "floor", "clip"),
        (lambda m, x: x.clamp(1, 1), None, "clamp", "nothing lies between"),
        (lambda m, x: x + torch.rand_like(x), None, "add", "between images"),
        (lambda m, x: x + torch.tensor([[[[1.0, 2.0]]]]), None, "add", "each place"),
        (lambda m, x: (x, x), None, "", "one tensor, the logits"),
        (lambda m, x: {"logits": x}, None, "", "one tensor, the logits"),
        (lambda m, x: x.new_ones(2, 3), None, "", "does not depend on the images"),
        (lambda m, x: x if x.sum() > 0 else -x, None, "", "values of tensors"),
        (lambda m, x: x * x.max().item(), None, "", "values of tensors"),
        (lambda m, x: x.unsqueeze_(0), None, "", "shape of a tensor in place"),
    ],
)  # fmt: skip
def test_what_cannot_be_converted_is_refused(operation, module, named, advice):
    net = Model(operation, module).eval()
    with pytest.raises(bsnn.ConversionError) as caught:
        bsnn.from_torch(net, (1, 4, 4))
    message = str(caught.value)
    assert named in message
    assert advice.lower() in message.lower()
    if named and "each place" not in message:
        assert "test_pytorch.py, line " in message


def test_padding_that_is_not_zero_is_refused():
    net = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect"))
    with pytest.raises(bsnn.ConversionError, match="layer '0' .*does not pad with zeros"):
        bsnn.from_torch(net, (1, 4, 4))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(value):
    net = nn.Sequential(nn.Conv2d(1, 1, 3))
    net[0].weight.data[0, 0, 0, 0] = value
    with pytest.raises(bsnn.ConversionError, match="'0.weight' has 1 of 9 values"):
        bsnn.from_torch(net, (1, 4, 4))


def test_batch_norm_in_training_mode_is_refused():
    net = nn.Sequential(nn.Conv2d(1, 1, 3), nn.BatchNorm2d(1))
    with pytest.raises(bsnn.ConversionError, match=r"'1' is in training mode.*model.eval\(\)"):
        bsnn.from_torch(net, (1, 4, 4))


def test_batch_norm_without_statistics_is_refused():
    net = nn.Sequential(nn.Conv2d(1, 1, 3), nn.BatchNorm2d(1, track_running_stats=False)).eval()
    with pytest.raises(bsnn.ConversionError, match="running statistics"):
        bsnn.from_torch(net, (1, 4, 4))


@pytest.mark.parametrize("shape", [(3, 4, 4), (1, 2, 2), (4, 4)])
def test_a_wrong_input_shape_is_refused(shape):
    net = nn.Sequential(nn.Conv2d(1, 1, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4, 2))
    with pytest.raises(bsnn.ConversionError, match="Is input_shape right"):
        bsnn.from_torch(net, shape)


@pytest.mark.parametrize("shape", [(), (0, 4, 4), "1,28,28", 7])
def test_a_malformed_input_shape_is_refused(shape):
    with pytest.raises(bsnn.ConversionError, match="input_shape is"):
        bsnn.from_torch(nn.Flatten(), shape)


def test_double_precision_is_refused():
    with pytest.raises(bsnn.ConversionError, match=r"model.float\(\)"):
        bsnn.from_torch(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)).double(), (1, 2, 2))
