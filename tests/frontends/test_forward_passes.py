"""Forward passes as people write them: exact, whatever the idiom."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional
from torch.nn.utils import prune

import bsnn
from bsnn.graph import ClippedReLU, Normalise


def assert_exact(net, shape, tolerance=1e-5):
    """Compare a graph with its module, in evaluation mode, on images with negative values."""
    torch.manual_seed(2)
    net = net.eval()
    graph = bsnn.from_torch(net, shape)
    images = torch.randn(5, *shape)
    with torch.no_grad():
        expected = net(images).numpy()
    found = graph.forward(images.numpy())
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max())
    return graph


class Net(nn.Module):
    """Three convolutions of four channels, and a dense layer over 4x4 places."""

    def __init__(self, program):
        super().__init__()
        torch.manual_seed(1)
        self.conv, self.a, self.b = (nn.Conv2d(n, 4, 3, padding=1) for n in (1, 4, 4))
        self.fc, self.head = nn.Linear(64, 5), nn.Linear(4, 5)
        self.norm, self.flat_norm = nn.BatchNorm2d(4), nn.BatchNorm1d(64)
        self.top = nn.Parameter(torch.tensor(0.8))
        self.tops = nn.Parameter(torch.tensor([0.2, 0.4, 0.6, 0.9]).reshape(1, 4, 1, 1))
        self.program = program
        for norm in (self.norm, self.flat_norm):
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.3, 2)
            nn.init.uniform_(norm.weight, -1, 2)
            nn.init.normal_(norm.bias)

    def forward(self, x, flag=False, mask=None):
        return self.program(self, x)

    def end(self, x):
        return self.fc(functional.max_pool2d(functional.relu(x), 2).flatten(1))


def checked(x):
    if x.shape[-1] != 8 or len(x.shape) != 4:
        raise ValueError(x.shape)
    assert x.size(1) == 1, "grey images only"
    torch._assert(x.ndim == 4, "a batch")
    return x


SIZES = {
    "unpacked": lambda m, x: (
        s := x.shape, m.fc(functional.max_pool2d(m.conv(x), 2).reshape(s[0], 4 * (s[2] // 2) ** 2))
    )[-1],
    "len": lambda m, x: m.fc(functional.max_pool2d(m.conv(x), 2).view(len(x), -1)),
    "checked": lambda m, x: m.end(m.conv(checked(x))),
    "if": lambda m, x: m.end(m.conv(x) if x.shape[2] > 4 else x),
    "torch.flatten": lambda m, x: m.fc(torch.flatten(functional.max_pool2d(m.conv(x), 2), 1)),
    "unflatten": lambda m, x: m.end(m.conv(x).flatten(2).unflatten(2, (8, 8))),
    "swapped and back": lambda m, x: m.end(m.conv(x).permute(0, 2, 3, 1).permute(0, 3, 1, 2)),
    "channels last": lambda m, x: m.fc(
        functional.max_pool2d(m.conv(x), 2).permute(0, 2, 3, 1).flatten(1)
    ),
    "keywords": lambda m, x: m.end(torch.add(input=m.conv(x), other=m.conv(x), alpha=0.5)),
    "matrix": lambda m, x: functional.max_pool2d(m.conv(x), 2).flatten(1) @ m.fc.weight.t() + m.top,
    "einsum": lambda m, x: torch.einsum(
        "bi,oi->bo", functional.max_pool2d(m.conv(x), 2).flatten(1), m.fc.weight
    ),
    "functional": lambda m, x: m.end(
        functional.conv2d(x, m.conv.weight * 2, m.conv.bias, padding="same")
    ),
    "linear on channels": lambda m, x: m.head(m.conv(x).permute(0, 2, 3, 1)).mean((1, 2)),
}  # fmt: skip


@pytest.mark.parametrize("name", SIZES)
def test_sizes_and_shapes(name):
    assert_exact(Net(SIZES[name]), (1, 8, 8))


POOLS = {
    "mean((2, 3))": lambda x: x.mean((2, 3)),
    "mean(dim=)": lambda x: torch.mean(x, dim=[-1, -2]),
    "mean twice": lambda x: x.mean(-1).mean(-1),
    "mean with keepdim": lambda x: x.mean(2, keepdim=True).mean(3, True).squeeze(),
    "flatten(2).mean(-1)": lambda x: x.flatten(2).mean(-1),
    "view": lambda x: x.view(x.size(0), x.size(1), -1).mean(2),
    "sum": lambda x: x.sum((2, 3)) / (x.shape[2] * x.shape[3]),
    "avg_pool2d(size)": lambda x: functional.avg_pool2d(x, x.size()[2:]).flatten(1),
    "avg_pool2d(kernel_size=)": lambda x: functional.avg_pool2d(x, kernel_size=x.shape[-1])[
        :, :, 0, 0
    ],
    "adaptive, squeeze": lambda x: functional.adaptive_avg_pool2d(x, 1).squeeze(-1).squeeze(-1),
    "adaptive, indexed": lambda x: functional.adaptive_avg_pool2d(x, (1, 1))[..., 0, 0],
    "channels last": lambda x: x.permute(0, 2, 3, 1).mean((1, 2)),
    "amax": lambda x: x.amax((2, 3)),
    "adaptive max": lambda x: functional.adaptive_max_pool2d(x, 1).flatten(1),
    "max_pool2d(size)": lambda x: functional.max_pool2d(x, x.size(3)).flatten(1),
    "one place": lambda x: x[:, :, 3, 2],
}


@pytest.mark.parametrize("name", POOLS)
def test_global_pooling(name):
    pool = POOLS[name]
    assert_exact(Net(lambda m, x: m.head(pool(functional.relu(m.conv(x))))), (1, 6, 6))


class Floored(torch.autograd.Function):
    """A floor whose gradient passes straight through."""

    @staticmethod
    def forward(ctx, x):
        return x.floor()

    @staticmethod
    def backward(ctx, gradient):
        return gradient


def straight_through(x):
    return x + (x.floor() - x).detach()


#: name -> function, clip, levels
CLIPS = {
    "relu6": (lambda m, x: functional.relu6(8 * x), 6, 0),
    "hardtanh": (lambda m, x: functional.hardtanh(x, 0, 0.5), 0.5, 0),
    "clamp": (lambda m, x: x.clamp(0, 0.7), 0.7, 0),
    "clamp of a parameter": (lambda m, x: torch.clamp(x, torch.zeros(()), m.top), 0.8, 0),
    "minimum": (lambda m, x: torch.minimum(functional.relu(x), m.top), 0.8, 0),
    "relu less what is above": (
        lambda m, x: functional.relu(x) - functional.relu(functional.relu(x) - 0.5), None, 0,
    ),
    "a learned clip": (lambda m, x: m.top * torch.clamp(x / m.top, 0, 1), 0.8, 0),
    "a clip for each channel": (
        lambda m, x: torch.min(functional.relu(x), m.tops), 1, 0,
    ),
    "floor": (
        lambda m, x: torch.floor(torch.clamp(x / m.top, 0, 1) * 4 + 0.5) / 4 * m.top, 0.8, 4,
    ),
    "floor of what is not clipped yet": (
        lambda m, x: torch.clamp(torch.floor(x * 8 / m.top + 0.5), 0, 8) / 8 * m.top, 0.8, 8,
    ),
    "gradient of its own": (
        lambda m, x: m.top * Floored.apply(torch.clamp(x / m.top, 0, 1) * 4 + 0.5) / 4, 0.8, 4,
    ),
    "straight through": (
        lambda m, x: m.top * straight_through((x / m.top).clamp(0, 1) * 16 + 0.5) / 16, 0.8, 16,
    ),
    "rounded": (lambda m, x: torch.round(x.clamp(0, 1) * 7) / 7, 1, 7),
    "rounded down": (lambda m, x: torch.floor(x.clamp(0, 1) * 7) / 7, 1, 7),
}  # fmt: skip


@pytest.mark.parametrize("name", CLIPS)
def test_clips(name):
    function, clip, levels = CLIPS[name]
    graph = assert_exact(Net(lambda m, x: m.end(m.a(function(m, m.conv(x))))), (1, 8, 8))
    if clip is None:
        return
    (layer,) = (layer for layer in graph if isinstance(layer, ClippedReLU))
    assert (layer.clip, layer.levels) == (pytest.approx(clip), levels)
    assert layer.offset == (0 if name == "rounded down" else 0.5)
    # what scales before and behind it is in weights
    assert sum(layer.kind == "conv2d" for layer in graph) == 2


@pytest.mark.parametrize("low", [-0.5, 0.2, -np.inf])
def test_limits_from_elsewhere(low):
    assert_exact(Net(lambda m, x: m.end(m.a(m.conv(x).clamp(low, 0.6)))), (1, 8, 8))


RECTIFIERS = [
    lambda x: x.clamp(min=0),
    lambda x: torch.clamp_min(x, 0),
    lambda x: torch.maximum(x, torch.zeros(1)),
    lambda x: functional.threshold(x, 0, 0),
    lambda x: functional.leaky_relu(x, 0.0),
    lambda x: nn.ReLU()(nn.ReLU()(x)),
    lambda x: functional.relu(x.flatten(1)).view_as(x),
]


@pytest.mark.parametrize("rectify", RECTIFIERS)
def test_rectifications(rectify):
    graph = assert_exact(Net(lambda m, x: m.end(m.a(rectify(m.conv(x))))), (1, 8, 8))
    assert [layer.kind for layer in graph].count("relu") == 2


NORMS = {
    "behind a convolution": (lambda m, x: m.end(m.norm(m.conv(x))), 1),
    "behind a pooling": (lambda m, x: m.end(m.norm(functional.avg_pool2d(m.conv(x), 1))), 1),
    "before a convolution": (lambda m, x: m.end(m.a(m.norm(functional.relu(m.conv(x))))), 3),
    "before a dense layer": (
        lambda m, x: m.fc(m.flat_norm(functional.max_pool2d(m.conv(x).relu(), 2).flatten(1))), 1,
    ),
    "twice": (lambda m, x: m.end(m.norm(m.norm(m.conv(x)))), 1),
    "of a sum": (lambda m, x: m.end(m.norm(m.conv(x) + m.a(m.conv(x)))), 4),
    "beside what it normalises": (lambda m, x: (y := m.conv(x), m.end(m.norm(y) + y))[-1], 2),
    "of a concatenation": (
        lambda m, x: (y := m.conv(x), m.end(m.norm(torch.cat([y[:, 2:], m.a(y)[:, :2]], 1))))[-1],
        3,
    ),
    "of images": (lambda m, x: m.end(m.conv((x - 0.45) / 0.22)), 1),
    "of images, by negative numbers": (lambda m, x: m.end(m.conv(1 - x)), 2),
    "functional": (
        lambda m, x: m.end(
            functional.batch_norm(m.conv(x), m.norm.running_mean, m.norm.running_var)
        ),
        1,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NORMS)
def test_normalisations(name):
    program, convolutions = NORMS[name]
    graph = assert_exact(Net(program), (1, 8, 8))
    assert [layer.kind for layer in graph].count("conv2d") == convolutions
    if name == "of images":
        (layer,) = (layer for layer in graph if isinstance(layer, Normalise))
        assert layer.mean == pytest.approx(0.45)
        assert layer.std == pytest.approx(0.22)


def test_a_positive_factor_goes_across_a_max_pooling():
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.MaxPool2d(2), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten()
    )
    nn.init.uniform_(net[2].weight, 0.2, 2)
    nn.init.normal_(net[2].bias)
    graph = assert_exact(net, (1, 8, 8))
    assert [layer.kind for layer in graph] == ["input", "conv2d", "max_pool2d", "relu", "flatten"]
    with torch.no_grad():
        net[2].weight[1] = -1
    assert [layer.kind for layer in assert_exact(net, (1, 8, 8))].count("conv2d") == 2


JOINS = {
    "cat": lambda m, x: (y := m.conv(x), torch.cat([y, m.a(y), y], 1)[:, 3:7])[-1],
    "split": lambda m, x: (y := m.conv(x).split(2, 1), torch.cat([y[1], y[0]], 1))[-1],
    "chunk": lambda m, x: torch.cat(m.conv(x).chunk(2, dim=1)[::-1], dim=1),
    "shuffle": lambda m, x: (
        y := m.conv(x), n := y.size(0), y.view(n, 2, 2, 8, 8).transpose(1, 2).reshape(n, 4, 8, 8)
    )[-1],
    "nn.ChannelShuffle": lambda m, x: nn.ChannelShuffle(2)(m.conv(x)),
    "roll": lambda m, x: m.conv(x).roll(1, 1),
    "stack": lambda m, x: torch.stack([m.conv(x), m.a(m.conv(x))], 1).flatten(1, 2)[:, ::2],
    "index": lambda m, x: m.conv(x)[:, [3, 0, 0, 1]],
    "index_select": lambda m, x: m.conv(x).index_select(1, torch.tensor([3, 1, 2, 0])),
    "zeros": lambda m, x: torch.cat([m.conv(x)[:, :3], torch.zeros(len(x), 1, 8, 8)], 1),
    "padded": lambda m, x: functional.pad(m.conv(x)[:, 1:3], (0, 0, 0, 0, 1, 1)),
    "crop": lambda m, x: functional.pad(m.conv(x)[:, :, 1:-2, 2:], (0, 2, 1, 2)),
    "three terms": lambda m, x: m.conv(x) + m.a(m.conv(x)) + m.b(m.conv(x)) * 0.5 - m.conv(x),
    "weighed": lambda m, x: m.conv(x) * m.tops + m.a(m.conv(x)) / 3 - 0.1,
    "zero padding": lambda m, x: m.a(nn.ZeroPad2d((0, 1, 1, 0))(m.conv(x)))[:, :, 1:, :-1],
    "steps": lambda m, x: functional.pad(m.conv(x)[:, :, ::2, 1::2], (2, 2, 2, 2)),
    "unrectified": lambda m, x: (y := m.conv(x), y + m.a(functional.relu(m.norm(y))))[-1],
}  # fmt: skip


@pytest.mark.parametrize("name", JOINS)
@pytest.mark.parametrize("end", ["neurons", "convolution"])
def test_concatenation_and_sums(name, end):
    join = JOINS[name]
    read = (lambda m, x: m.end(x)) if end == "neurons" else (lambda m, x: m.end(m.b(x)))
    assert_exact(Net(lambda m, x: read(m, join(m, x))), (1, 8, 8))


@pytest.mark.parametrize("pads", [(0, 1, 0, 1), (1, 1, 1, 1), (1, 2, 1, 2), (0, 1, 1, 2)])
@pytest.mark.parametrize("size", [7, 8])
def test_poolings_that_are_padded_with_minus_infinity(pads, size):
    def program(m, x):
        x = functional.pad(m.conv(x), pads, value=float("-inf"))
        return m.b(functional.max_pool2d(x, 3, 2)).mean((2, 3))

    graph = assert_exact(Net(program), (1, size, size))
    assert [layer.kind for layer in graph][:3] == ["input", "conv2d", "max_pool2d"]


FINAL = {
    "softmax": lambda x: x.softmax(-1),
    "log_softmax": lambda x: functional.log_softmax(x, dim=1),
    "sigmoid": lambda x: torch.sigmoid(x),
}


@pytest.mark.parametrize("name", FINAL)
def test_a_function_of_the_logits_is_left_out_and_said_so(name):
    net = Net(lambda m, x: FINAL[name](m.end(m.conv(x)))).eval()
    with pytest.warns(bsnn.ConversionWarning, match=f"The {name} behind the last layer"):
        graph = bsnn.from_torch(net, (1, 8, 8))
    images = torch.randn(4, 1, 8, 8)
    logits = torch.from_numpy(graph.forward(images.numpy()))
    torch.testing.assert_close(FINAL[name](logits), net(images), rtol=0, atol=1e-5)


def test_one_probability_becomes_two_classes():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(9, 4), nn.ReLU(), nn.Linear(4, 1), nn.Sigmoid())
    with torch.no_grad():
        net[3].bias -= net[:4](torch.randn(50, 1, 3, 3)).median()
    with pytest.warns(bsnn.ConversionWarning, match="two classes now: the second"):
        graph = bsnn.from_torch(net.eval(), (1, 3, 3))
    images = torch.randn(50, 1, 3, 3)
    classes = graph.forward(images.numpy()).argmax(1)
    np.testing.assert_array_equal(classes, (net(images)[:, 0] > 0.5).int().numpy())
    assert len(set(classes)) == 2


def test_signals():
    net = nn.Sequential(
        nn.Conv1d(2, 4, 5, stride=2, padding=2, dilation=2), nn.BatchNorm1d(4), nn.ReLU(),
        nn.MaxPool1d(2), nn.Conv1d(4, 4, 3, groups=2), nn.ReLU(), nn.AvgPool1d(2),
        nn.AdaptiveAvgPool1d(2), nn.Flatten(), nn.Linear(8, 3),
    ).eval()  # fmt: skip
    with pytest.warns(bsnn.ConversionWarning, match=r"shape \(2, 1, 40\)"):
        graph = bsnn.from_torch(net, (2, 40), mean=[0.1, 0.2])
    signals = torch.rand(3, 2, 40)
    expected = net(signals - torch.tensor([[0.1], [0.2]])).detach().numpy()
    found = graph.forward(signals.numpy()[:, :, np.newaxis])
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_images_with_channels_last():
    net = Net(lambda m, x: m.end(m.conv(x.permute(0, 3, 1, 2)))).eval()
    with pytest.warns(bsnn.ConversionWarning, match=r"first.*\(1, 8, 8\), not \(8, 8, 1\)"):
        graph = bsnn.from_torch(net, (8, 8, 1))
    images = torch.randn(3, 8, 8, 1)
    found = graph.forward(images.permute(0, 3, 1, 2).numpy())
    np.testing.assert_allclose(found, net(images).detach().numpy(), atol=1e-5)


# Modules as they are kept

PLAIN = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 36, 5)).eval()


class MyConv(nn.Conv2d):
    pass


class Standardised(nn.Conv2d):
    def forward(self, x):
        weight = (self.weight - self.weight.mean((1, 2, 3), keepdim=True)) / self.weight.std()
        return functional.conv2d(x, weight, self.bias, self.stride, self.padding)


class Compiled(nn.Module):
    def __init__(self):
        super().__init__()
        self.part = torch.compile(copy.deepcopy(PLAIN[:3]), backend="eager")
        self.rest = copy.deepcopy(PLAIN[3:])

    def forward(self, x):
        return self.rest(self.part(x))


def parametrised():
    net = copy.deepcopy(PLAIN)
    nn.utils.parametrizations.weight_norm(net[0])
    nn.utils.parametrizations.spectral_norm(net[3])
    return net.eval()


def pruned():
    net = copy.deepcopy(PLAIN)
    prune.l1_unstructured(net[0], "weight", 0.5)
    prune.random_unstructured(net[3], "bias", 0.5)
    return net


def lazy():
    net = nn.Sequential(nn.LazyConv2d(3, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(5))
    net(torch.rand(1, 1, 8, 8))
    return net


def with_weights(conv):
    net = nn.Sequential(conv(1, 3, 3), *copy.deepcopy(PLAIN[1:]))
    net[0].load_state_dict(PLAIN[0].state_dict())
    return net


MODULES = {
    "DataParallel": lambda: nn.DataParallel(PLAIN),
    "torch.compile": lambda: torch.compile(PLAIN, backend="eager"),
    "compiled part": Compiled,
    "script": lambda: torch.jit.script(PLAIN),
    "trace": lambda: torch.jit.trace(PLAIN, torch.rand(1, 1, 8, 8)),
    "fx": lambda: torch.fx.symbolic_trace(PLAIN),
    "parametrised": parametrised,
    "pruned": pruned,
    "lazy": lazy,
    "subclass": lambda: with_weights(MyConv),
    "subclass with a forward pass": lambda: with_weights(Standardised),
    "half": lambda: copy.deepcopy(PLAIN).half(),
    "bfloat16": lambda: copy.deepcopy(PLAIN).bfloat16(),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", MODULES)
def test_modules(name):
    net = MODULES[name]().eval()
    graph = bsnn.from_torch(net, (1, 8, 8))
    images = torch.rand(4, 1, 8, 8)
    with torch.no_grad():
        if name in ("half", "bfloat16"):
            # the weights are theirs, and exact; what is computed is not in their precision
            net = net.float()
        expected = net(images).numpy()
    np.testing.assert_allclose(graph.forward(images.numpy()), expected, atol=1e-5)
    if name not in ("script", "trace"):
        assert [layer.kind for layer in graph] == ["input", "conv2d", "relu", "flatten", "linear"]


def test_a_module_without_values_is_refused():
    with torch.device("meta"):
        net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    with pytest.raises(bsnn.ConversionError, match="'1.weight' is on the meta device.*to_empty"):
        bsnn.from_torch(net.eval(), (1, 2, 2))


def test_values_that_nobody_reads_may_be_anything():
    def program(m, x):
        y = m.conv(x)
        m.seen = (y.abs().max(), y.std(), torch.linalg.norm(y), y.argmax(1))
        return m.end(y)

    assert_exact(Net(program), (1, 8, 8))


def test_an_error_of_the_model_names_its_line():
    def program(m, x):
        raise KeyError("left")

    with pytest.raises(bsnn.ConversionError, match=r"test_forward_passes.py, line \d+.*KeyError"):
        bsnn.from_torch(Net(program).eval(), (1, 8, 8))


def test_a_model_in_a_package_whose_name_begins_with_torch(tmp_path, monkeypatch):
    (tmp_path / "torchmodels").mkdir()
    (tmp_path / "torchmodels" / "__init__.py").write_text(
        "from torch import nn\n\n\nclass Gated(nn.Module):\n    def forward(self, x):\n"
        "        return x * x\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import torchmodels  # pyright: ignore[reportMissingImports]

    with pytest.raises(bsnn.ConversionError, match=r"torchmodels.__init__.py, line 6: "):
        bsnn.from_torch(torchmodels.Gated(), (1, 2, 2))


# Programs by chance

_STEPS = st.tuples(
    st.sampled_from(
        ["conv", "group", "relu", "relu6", "norm", "cat", "choose", "add", "scale", "max", "mean",
         "crop", "pad", "write"]
    ),
    st.integers(0, 9),
    st.integers(0, 9),
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(steps=st.lists(_STEPS, min_size=2, max_size=9), last=st.integers(0, 9))
def test_programs_by_chance(steps, last):
    def program(m, x):
        held = [m.conv(x), m.a(m.conv(x))]
        for name, one, other in steps:
            first, second = held[one % len(held)], held[other % len(held)]
            if name == "conv":
                held.append(m.b(first))
            elif name == "group":
                held.append(functional.conv2d(first, m.b.weight[:, :2], padding=1, groups=2))
            elif name in ("relu", "relu6"):
                held.append(getattr(functional, name)(first))
            elif name == "norm":
                held.append(m.norm(first))
            elif name == "cat":
                held.append(torch.cat([first[:, other % 3 :], second], 1)[:, :4])
            elif name == "choose":
                held.append(first[:, [other % 4, 3, 0, one % 4]])
            elif name == "add":
                held.append(first + second)
            elif name == "scale":
                held.append(first * (other - 4.5) + 0.1)
            elif name == "max":
                held.append(functional.max_pool2d(first, 3, 1, 1))
            elif name == "mean":
                held.append(functional.avg_pool2d(first, 3, 1, 1))
            elif name == "crop":
                held.append(functional.pad(first[:, :, 1:], (0, 0, other % 2, 1 - other % 2)))
            elif name == "pad":
                held.append(m.b(functional.pad(first, (1, 0, 0, 1)))[:, :, :-1, 1:])
            elif name == "write":
                first[:, other % 4] = second[:, one % 4].clone()
        return m.end(held[last % len(held)] + held[-1])

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_exact(Net(program), (1, 8, 8), tolerance=1e-4)
