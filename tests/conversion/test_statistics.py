"""Scales are the same however many images go through the network at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bsnn
from bsnn.conversion import statistics
from bsnn.conversion.populations import populations
from bsnn.conversion.statistics import ActivationStatistics, _Top, batches
from bsnn.graph import Conv2d, Flatten, Graph, Input, Linear, MaxPool2d, ReLU


def network():
    rng = np.random.default_rng(0)
    shapes = {"conv": (4, 1, 3, 3), "conv2": (3, 4, 2, 2), "fc": (3, 12)}
    weights = {n: rng.normal(0.1, 1, size=s).astype(np.float32) for n, s in shapes.items()}
    return Graph([
        Input(name="input", shape=(1, 8, 8)),
        Conv2d(name="conv", inputs=("input",), weight=weights["conv"]),
        ReLU(name="relu", inputs=("conv",)),
        MaxPool2d(name="pool", inputs=("relu",), kernel=(2, 2), stride=(2, 2)),
        Conv2d(name="conv2", inputs=("pool",), weight=weights["conv2"]),
        ReLU(name="relu2", inputs=("conv2",)),
        Flatten(name="flat", inputs=("relu2",)),
        Linear(name="fc", inputs=("flat",), weight=weights["fc"]),
    ])  # fmt: skip


IMAGES = np.random.default_rng(1).random((23, 1, 8, 8)).astype(np.float32)


@given(
    parts=st.lists(st.lists(st.floats(-5, 5, width=32), max_size=30), min_size=1, max_size=6),
    percentile=st.sampled_from([0.5, 10, 50, 90, 99, 99.9, 100]),
)
def test_percentiles_are_those_of_numpy(parts, percentile):
    arrays = [np.array(part, np.float32) for part in parts]
    together = np.concatenate(arrays)
    top = _Top(together.size, percentile)
    for array in arrays:
        top.add(array)
    positive = together[together > 0]
    positive = positive.astype(np.float64)
    expected = float(np.percentile(positive, percentile)) if positive.size else 0.0
    assert top.percentile() == pytest.approx(expected, rel=1e-12)
    assert len(top._values) <= np.ceil((1 - percentile / 100) * together.size) + 2


@pytest.mark.parametrize("values", [1, 400, 2000, 10**9])
@pytest.mark.parametrize("percentile", [50, 99.9])
def test_statistics_do_not_depend_on_batches(values, percentile, monkeypatch):
    monkeypatch.setattr(statistics, "_VALUES", values)
    graph = network()
    found = ActivationStatistics(graph, IMAGES, populations(graph), percentile, channels=True)
    exact = graph.activations(IMAGES)
    for name, layer in (("conv", "relu"), ("conv2", "relu2")):
        active = exact[layer]
        np.testing.assert_allclose(found.all(name), active, rtol=1e-6, atol=1e-6)
        assert found.largest(name) == pytest.approx(active.max())
        assert found.percentile(name) == pytest.approx(
            np.percentile(active[active > 0], percentile)
        )
        for channel, value in enumerate(found.percentile(name, channels=True)):
            own = active[:, channel]
            own = own[own > 0]
            assert value == pytest.approx(np.percentile(own, percentile) if own.size else 0)
    assert found.extent("fc") == pytest.approx(np.abs(exact["fc"]).max())


@pytest.mark.parametrize("options", [
    {"coding": "ttfs", "norm": "min-rmse"},
    {"coding": "ttfs", "norm": "min-rmse", "rounding": True},
    {"coding": "ttfs", "norm": "percentile", "percentile": 90.0},
    {"coding": "rate", "norm": "percentile", "channels": True},
    {"coding": "rate", "norm": "data-based"},
])  # fmt: skip
def test_scales_do_not_depend_on_batches(options, monkeypatch):
    whole = bsnn.convert(network(), IMAGES, **options)
    monkeypatch.setattr(statistics, "_VALUES", 1000)
    assert len(list(batches(network(), len(IMAGES)))) > 5
    parts = bsnn.convert(network(), IMAGES, **options)
    for name, scale in whole.scales.items():
        np.testing.assert_allclose(parts.scales[name], scale, rtol=1e-6)


def test_least_error_is_found_for_what_spikes_have_told():
    """The rule of the paper, written down plainly: all images at once."""
    graph, steps = network(), 8
    model = bsnn.convert_to_ttfs(graph, IMAGES, steps=steps, norm="min-rmse")
    exact = graph.activations(IMAGES)

    def told(values, scale):
        return np.clip(np.floor(values / scale * steps + 1e-6), 0, steps) * scale / steps

    known = {"input": told(IMAGES, 1.0)}
    for name, layer in (("conv", "relu"), ("conv2", "relu2")):
        potentials = graph.evaluate(name, known)
        fractions = np.linspace(0.01, 1, 100) * exact[layer].max()
        errors = [np.square(told(potentials, s) - exact[layer]).mean() for s in fractions]
        assert model.scales[name] == pytest.approx(fractions[np.argmin(errors)], rel=1e-5)
        known[layer] = told(potentials, model.scales[name])
