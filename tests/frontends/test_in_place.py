"""Operations that change a tensor in place: who reads it before has the old values, who reads it
afterwards, through whatever view, the new ones."""

from __future__ import annotations

import operator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

import bsnn


class Net(nn.Module):
    """Three convolutions that keep a map's shape, a dense layer, and a forward pass of the test's.

    `gain` makes the outputs small, and the errors too.
    """

    def __init__(self, program, gain=1.0):
        super().__init__()
        self.program = program
        self.a, self.b, self.c = (nn.Conv2d(2, 2, 3, padding=1) for _ in range(3))
        self.relu = nn.ReLU(inplace=True)
        self.fc = nn.Linear(2 * 16, 3)
        with torch.no_grad():
            self.fc.weight *= gain
            self.fc.bias *= gain

    def forward(self, x):
        return self.program(self, x)

    def end(self, x):
        return self.fc(torch.flatten(x, 1))


def convert(program, gain=1.0):
    """Convert the net, and compare the graph with it, each output by the size of the outputs."""
    torch.manual_seed(1)
    net = Net(program, gain).eval()
    graph = bsnn.from_torch(net, (2, 4, 4))
    images = torch.randn(6, 2, 4, 4)
    with torch.no_grad():
        expected = net(images.clone()).numpy()
    found = graph.forward(images.numpy())
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    return graph


def read_after(change):
    """A block that changes the input of its own shortcut."""

    def program(m, x):
        x = m.a(x)
        y = m.b(change(m, x))
        return m.end(x + y)

    return program


def read_before(change):
    def program(m, x):
        x = m.a(x)
        y = m.b(x)
        change(m, x)
        return m.end(x + m.c(y))

    return program


def result_unused(change):
    def program(m, x):
        x = m.a(x)
        change(m, x)
        return m.end(m.b(x))

    return program


def returned(change):
    def program(m, x):
        x = m.end(m.a(x))
        change(m, x)
        return x

    return program


def changed_input(change):
    def program(m, x):
        change(m, x)
        return m.end(x + m.a(x))

    return program


def alias_by_module(change):
    def program(m, x):
        x = m.a(x)
        same = functional.dropout(x, 0.5, m.training).contiguous()
        change(m, same)
        return m.end(m.b(x) + same)

    return program


RELUS = [
    lambda m, x: m.relu(x),
    lambda m, x: functional.relu(x, inplace=True),
    lambda m, x: functional.relu(x, True),
    lambda m, x: functional.relu_(x),
    lambda m, x: torch.relu_(x),
    lambda m, x: x.relu_(),
]


@pytest.mark.parametrize("gain", [1, 1e-3, 1e-7])
@pytest.mark.parametrize("change", RELUS)
def test_a_shortcut_that_reads_after_a_relu_in_place(change, gain):
    convert(read_after(change), gain)


@pytest.mark.parametrize(
    "program", [read_before, result_unused, returned, changed_input, alias_by_module]
)
@pytest.mark.parametrize("change", RELUS[::3])
def test_who_reads_what(program, change):
    convert(program(change))


def plus_equal(x, y):
    x += y
    return x


ADDITIONS = [
    plus_equal,
    operator.iadd,
    lambda x, y: x.add_(y),
    lambda x, y: x.add_(other=y),
    lambda x, y: torch.add(x, y, out=x),
    lambda x, y: torch.add(y, x, out=x),
]


@pytest.mark.parametrize("add", ADDITIONS)
def test_additions_in_place(add):
    def program(m, x):
        x = m.a(x)
        y = m.b(x)
        same = x
        total = add(x, y)
        return m.end(same + m.c(y) + total)

    convert(program)


def test_what_a_tensor_was_is_added_to_itself():
    def program(m, x):
        x = m.a(x)
        x += x
        x += m.b(x)
        return m.end(x)

    convert(program)


def test_a_result_put_into_another_tensor():
    def program(m, x):
        x, y = m.a(x), m.b(x)
        z = m.c(x)
        torch.add(x, y, out=z)
        return m.end(z + x)

    convert(program)


@pytest.mark.parametrize(
    "program",
    [
        # views that were taken before, and are read after
        lambda m, x, y: (y := x.flatten(1), x.relu_(), m.fc(y))[-1],
        lambda m, x, y: (y := x.view(x.size(0), -1), m.relu(x), m.fc(y) + m.end(m.b(x)))[-1],
        lambda m, x, y: (y := x[:, :, ::1, ::1], x.relu_(), m.end(y + m.b(x)))[-1],
        lambda m, x, y: (y := x.view(-1, 32).view(-1, 32), x.relu_(), m.fc(y))[-1],
        # twice, with readers in between
        lambda m, x, y: (
            y := x.flatten(1),
            x.add_(m.b(x)),
            z := m.fc(y),
            x.relu_(),
            functional.relu(z) + m.fc(y),
        )[-1],
        # the view is changed, and the map read
        lambda m, x, y: (y := x.flatten(1), y.relu_(), m.end(m.b(x)))[-1],
        lambda m, x, y: (y := x.flatten(1), y.relu_(), m.end(m.b(x)) + m.fc(y))[-1],
        lambda m, x, y: (y := x.flatten(1), z := m.relu(y), m.end(m.b(x)) + m.fc(z) + m.fc(y))[-1],
        lambda m, x, y: (
            y := x.flatten(1),
            y.relu_(),
            x.add_(m.b(x)),
            m.fc(y) + m.end(x),
        )[-1],
    ],
)  # fmt: skip
def test_views(program):
    convert(lambda m, x: program(m, m.a(x), None))


def test_a_copy_that_was_taken_before_keeps_its_values():
    class Part(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.fc, self.part = nn.Conv2d(1, 2, 3), nn.Linear(8, 3), nn.Linear(2, 3)

        def forward(self, x):
            x = self.conv(x)
            # not contiguous: reshape copies
            part = x[:, :, ::2, ::2].reshape(x.shape[0], -1)
            x.relu_()
            return self.fc(x.flatten(1)) + self.part(part)

    net = Part().eval()
    images = torch.randn(5, 1, 4, 4)
    graph = bsnn.from_torch(net, (1, 4, 4))
    expected = net(images).detach().numpy()
    np.testing.assert_allclose(graph.forward(images.numpy()), expected, atol=1e-5)


@pytest.mark.parametrize(
    "program",
    [
        # a part of what is read as a whole
        lambda m, x: (x[:, :, ::2, ::2].relu_(), m.end(x))[-1],
        lambda m, x: (x[:, 1].zero_(), m.end(x))[-1],
        lambda m, x: (operator.setitem(x, (slice(None), 0), 0.0), m.end(x))[-1],
        lambda m, x: (operator.setitem(x, (slice(None), 0), m.b(x)[:, 1]), m.end(x))[-1],
        # another shape of it, and no operation on each element
        lambda m, x: (y := x.flatten(1), y.add_(m.b(x).flatten(1)), m.end(x))[-1],
        lambda m, x: (x.mul_(2), m.end(x))[-1],
        lambda m, x: (operator.imul(x, 2), m.end(x))[-1],
        lambda m, x: (x.clamp_(min=0), m.end(x))[-1],
        lambda m, x: (x.add_(1), m.end(x))[-1],
        lambda m, x: (x.data.relu_(), m.end(x))[-1],
        lambda m, x: (x.copy_(m.b(x)), m.end(x))[-1],
        # into a tensor of zeros
        lambda m, x: (y := torch.zeros_like(x), y[:, :1].copy_(x[:, 1:]), m.end(m.b(x) + y))[-1],
    ],
)
def test_operations_in_place_on_parts_and_others(program):
    convert(lambda m, x: program(m, m.a(x)))


@pytest.mark.parametrize(
    "program",
    [
        lambda m, x: (torch.mul(x, x, out=x), m.end(x))[-1],
        lambda m, x: (x.unsqueeze_(0), m.end(x))[-1],
        lambda m, x: (x.exp_(), m.end(x))[-1],
        lambda m, x: (y := torch.ones_like(x), y[:, :1].copy_(x[:, 1:]), m.end(m.b(x) + y))[-1],
    ],
)
def test_other_operations_in_place_are_refused(program):
    with pytest.raises(bsnn.ConversionError, match=r"test_in_place.py, line \d+"):
        convert(lambda m, x: program(m, m.a(x)))


def test_ordinary_use_makes_the_layers_that_it_has_always_made():
    def block(m, x):
        out = m.relu(m.a(x))
        out = m.b(out)
        out += x
        out = m.relu(out)
        out = out.view(out.size(0), -1)
        return m.fc(m.relu(out))

    graph = convert(block)
    assert [layer.name for layer in graph] == [
        "input", "a", "relu", "b", "add", "relu_use2", "view", "fc",
    ]  # fmt: skip
    assert [layer.inputs for layer in graph][1:] == [
        ("input",), ("a",), ("relu",), ("b", "input"), ("add",), ("relu_use2",), ("view",),
    ]  # fmt: skip


_STEPS = st.tuples(
    st.sampled_from(["conv", "relu", "relu_", "add", "add_", "same", "flat", "slice"]),
    st.integers(0, 9),
    st.integers(0, 9),
)


@settings(max_examples=30)
@given(steps=st.lists(_STEPS, min_size=2, max_size=7), last=st.integers(0, 9))
def test_programs_by_chance(steps, last):
    """All are accepted, and right."""

    def program(m, x):
        # each with whether it is flat
        held = [(m.a(x), False), (m.b(x), False)]
        for name, one, other in steps:
            (first, flat), (second, also_flat) = held[one % len(held)], held[other % len(held)]
            if name == "conv" and not flat:
                held.append((m.c(first), False))
            elif name == "relu":
                held.append((functional.relu(first), flat))
            elif name == "relu_":
                held.append((m.relu(first), flat))
            elif name == "add" and flat == also_flat:
                held.append((first + second, flat))
            elif name == "add_" and flat == also_flat:
                first += second
            elif name == "same":
                held.append((first, flat))
            elif name == "flat":
                held.append((first.flatten(1), True))
            elif name == "slice" and not flat:
                held.append((first[:, :, ::1, ::1], False))
        total = m.end(held[last % len(held)][0])
        for tensor, _ in held:
            total = total + m.end(tensor)
        return total

    convert(program)
