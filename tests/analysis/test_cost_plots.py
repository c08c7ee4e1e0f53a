"""Plots of causes, decisions and energy show the numbers that they are given."""

from __future__ import annotations

import numpy as np
import pytest
from rate_networks import ResidualNet, make_rate_model

import bsnn
from bsnn.analysis.cost_plots import draw_causes, draw_decisions, draw_early_exit, draw_energy
from bsnn.analysis.style import new_figure
from bsnn.devices import use_code_target
from bsnn.explain.cost import spiking_cost
from bsnn.explain.latency import decision_times, early_exit


@pytest.fixture(scope="module")
def rate():
    model, images = make_rate_model(ResidualNet(), (2, 6, 5), encoder="regular", steps=20)
    labels = model.graph.forward(images[:6]).argmax(axis=1)
    with use_code_target("numpy"):
        result = bsnn.simulate(model, images[:6], labels, device="runtime", progress=False)
    return model, images[:6], labels, result


@pytest.fixture
def axes():
    return new_figure().add_subplot()


def test_bars_of_causes_add_up_to_the_error_of_each_layer(rate, axes):
    model, images, labels, _ = rate
    comparison = bsnn.compare(model, images, labels, progress=False)
    draw_causes(axes, comparison)
    heights = {}
    for bars in axes.containers:
        for bar in bars:
            place = round(bar.get_x() + bar.get_width() / 2)
            heights[place] = heights.get(place, 0) + bar.get_height()
    expected = [100 * layer.relative_error for layer in comparison.layers.values()]
    assert max(expected) > 1
    np.testing.assert_allclose([heights[k] for k in range(len(expected))], expected, atol=1e-6)


def test_early_exit_and_decisions(rate, axes):
    _, _, _, result = rate
    draw_early_exit(axes, result, label="net")
    found = early_exit(result)
    line, last = axes.get_lines()
    np.testing.assert_allclose(line.get_xdata(), found.mean_steps)
    np.testing.assert_allclose(line.get_ydata(), 100 * found.accuracy)
    assert last.get_ydata()[0] == 100 * result.accuracy
    axes.clear()
    draw_decisions(axes, result)
    stable = axes.get_lines()[0].get_ydata()
    times = decision_times(result)
    assert stable[-1] == 100
    assert stable[9] == pytest.approx(100 * (times.stable <= 10).mean())


def test_energies(rate, axes):
    model, _, _, result = rate
    cost = spiking_cost(model, result)
    draw_energy(axes, cost)
    lines = axes.get_lines()
    for row, energy in enumerate(cost.energies()):
        spiking, trained = lines[2 * row : 2 * row + 2]
        np.testing.assert_allclose(spiking.get_xdata(), 1e6 * np.array(energy.spiking))
        assert trained.get_xdata()[0] == pytest.approx(1e6 * energy.trained[0])
    assert "estimated, not measured" in axes.get_xlabel()
