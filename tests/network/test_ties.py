"""A neuron that gets exactly its threshold spikes, whatever the rounding of numbers."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

import bsnn
from bsnn.conversion.rate_dynamics import RateDynamics
from bsnn.graph import Flatten, Graph, Input, Linear, ReLU

STEPS = 12
SIZE = 40
ONES = np.ones((1, 1, 1, SIZE), np.float32)

every_precision = pytest.mark.parametrize("precision", ["float64", "float32"])
every_connectivity = pytest.mark.parametrize("connectivity", ["shared", "synapses"])


def graph() -> Graph:
    """Two layers whose weights, no two of which are alike, are positive."""
    rng = np.random.default_rng(0)
    first, second = (rng.random((n, SIZE), np.float32) + np.float32(0.1) for n in (SIZE, 3))
    # all neurons of a layer get the same in exact numbers, each in an order of its own
    first, second = (
        np.array([rng.permutation(weight[0]) for _ in weight]) for weight in (first, second)
    )
    return Graph(
        [
            Input(name="pixels", shape=ONES.shape[1:]),
            Flatten(name="flat", inputs=("pixels",)),
            Linear(name="first", inputs=("flat",), weight=first),
            ReLU(name="relu", inputs=("first",)),
            Linear(name="last", inputs=("relu",), weight=second),
        ]
    )


def spikes_of(result) -> np.ndarray:
    return np.stack([result.populations[name].spikes[0] for name in ("first", "last")])


@pytest.mark.usefixtures("numpy_target")
@pytest.mark.parametrize("reset", ["subtract", "zero"])
@pytest.mark.parametrize("form", ["one-pass", "neuron-group"])
@every_connectivity
@every_precision
def test_all_weights_at_once(reset, form, connectivity, precision):
    """The model-based scale is the sum of the positive weights: a spike of all in each step."""
    model = bsnn.convert_to_rate(
        graph(), ONES, norm="model-based", steps=STEPS, reset=reset, read_out="count"
    )
    options = {"form": form, "connectivity": connectivity, "precision": precision}
    result = bsnn.simulate(model, ONES, progress=False, **options)
    np.testing.assert_array_equal(spikes_of(result), [SIZE * STEPS, 3 * STEPS])


@pytest.mark.usefixtures("numpy_target")
@every_precision
def test_thresholds_of_spike_norm(precision):
    """They are the largest inputs that neurons have got, of which those get as much again."""
    options = {"encoder": "constant", "read_out": "count", "balance": "thresholds"}
    model = bsnn.convert_to_rate(
        graph(), ONES, norm="spike-norm", steps=STEPS, progress=False, **options
    )
    result = bsnn.simulate(model, ONES, precision=precision, progress=False)
    np.testing.assert_array_equal(spikes_of(result), [SIZE * STEPS, 3 * STEPS])


@pytest.mark.usefixtures("numpy_target")
@every_precision
def test_little_by_little(precision):
    """What reaches the threshold after some steps, as exact fractions say."""
    parts = np.array([3, 6, 7, 9, 10, 11], np.float32)
    net = Graph(
        [
            Input(name="pixels", shape=(len(parts), 1, 1)),
            Flatten(name="flat", inputs=("pixels",)),
            Linear(name="last", inputs=("flat",), weight=np.diag(1 / parts.astype(float))),
        ]
    )
    images = np.ones((1, len(parts), 1, 1), np.float32)
    model = bsnn.convert_to_rate(net, images, norm="data-based", steps=1000, read_out="count")
    model.scales["last"] = 1.0
    dynamics, found = RateDynamics(model, images), np.zeros(len(parts))
    for _ in range(model.steps):
        found += dynamics.step()["last"][0]
    expected = [int(Fraction(model.steps, int(part))) for part in parts]
    np.testing.assert_array_equal(found, expected)
    result = bsnn.simulate(model, images, precision=precision, progress=False)
    assert result.populations["last"].spikes[0] == sum(expected)


@pytest.mark.usefixtures("numpy_target")
@pytest.mark.parametrize("form", ["calendar", "event", "trace"])
@every_connectivity
@every_precision
def test_one_spike_at_once(form, connectivity, precision):
    """In the worst case, for which the scale is, neurons spike in the first step."""
    model = bsnn.convert_to_ttfs(
        graph(), ONES, norm="model-based", steps=STEPS, read_out="first-spike"
    )
    options = {"form": form, "connectivity": connectivity, "precision": precision}
    net = bsnn.build(model, **options)
    for name in ("first", "last"):
        net.record(name)
    net.present(ONES)
    net.network.run(net.duration, namespace={})
    for name in ("first", "last"):
        np.testing.assert_array_equal(net.recorded(name), STEPS)
        np.testing.assert_array_equal(model.code(ONES).levels[name], STEPS)


def test_fixed_point_is_exact(numpy_target):
    """Whoever is short of the threshold by the least that there is does not spike."""
    least = 2.0**-20
    weight = np.array([[1.0], [1 - least]])
    exact = Graph(
        [
            Input(name="pixels", shape=(1, 1, 1)),
            Flatten(name="flat", inputs=("pixels",)),
            Linear(name="last", inputs=("flat",), weight=weight),
        ]
    )
    image = np.ones((1, 1, 1, 1), np.float32)
    model = bsnn.convert_to_rate(
        exact, image, norm="model-based", steps=1, read_out="count", reset="zero"
    )
    model = bsnn.conversion.on_grid(model, 20)
    net = bsnn.build(model, monitors={"last": "count"})
    net.present(image)
    net.network.run(net.duration, namespace={})
    np.testing.assert_array_equal(net.monitors["last"]["count"].count, [1, 0])
    np.testing.assert_array_equal(RateDynamics(model, image).step()["last"], [[1, 0]])
