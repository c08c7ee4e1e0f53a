"""The converted network as data: weights, biases and thresholds as neurons get them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from rate_networks import AverageCnn, make_rate_model

from bsnn.conversion.populations import per_channel
from bsnn.graph import Graph


def reached(model, name, spikes):
    """Return what the neurons of a chain reach with the weights that they get, and no factor."""
    drive, graph = model.projections[name], model.spiking_graph
    (linear,) = drive.maps
    changes = {"weight": linear.weights()}
    if linear.layer.bias is not None:
        changes["bias"] = np.zeros_like(linear.layer.bias)
    layers = [
        dataclasses.replace(layer, **changes) if layer is linear.layer else layer for layer in graph
    ]
    known = {linear.path.source_layer: spikes[linear.path.source]}
    return Graph(layers, graph.output).evaluate(linear.path.layers[-1], known) + drive.bias


@pytest.mark.parametrize("options", [
    {},
    {"channels": True, "initial_potential": 0.5},
    {"balance": "thresholds", "mean": [0.4, 0.5], "std": [0.3, 0.2]},
])  # fmt: skip
def test_potentials_in_the_neurons_own_units(options):
    model, _ = make_rate_model(AverageCnn(), (2, 6, 5), **options)
    rng = np.random.default_rng(1)
    spikes = {
        name: rng.integers(0, 2, (1, *population.shape)).astype(float)
        for name, population in model.populations.items()
    }
    for name, drive in model.projections.items():
        population = model.populations[name]
        (path,) = population.projections
        scale = per_channel(model.scales[path.source], model.populations[path.source].shape)
        exact = model.spiking_graph.evaluate(
            population.potential_layer, {path.source_layer: spikes[path.source] * scale}
        )
        unit = per_channel(model.unit(name), population.shape)
        np.testing.assert_allclose(reached(model, name, spikes), exact / unit, rtol=1e-6, atol=1e-6)
        # who reaches the scale of its layer has reached its threshold
        np.testing.assert_allclose(drive.threshold * model.unit(name), model.scales[name])


@pytest.mark.parametrize("rounding", [False, True])
def test_potentials_in_spike_times(small_cnn, rounding):
    """They are in the units of the trained network; rounding is half a step's charge."""
    model, _ = small_cnn(rounding=rounding)
    for name, drive in model.projections.items():
        population = model.populations[name]
        silence = {
            path.source_layer: np.zeros((1, *model.populations[path.source].shape))
            for path in population.projections
        }
        exact = model.graph.evaluate(population.potential_layer, silence)[0]
        charge = 0.5 * model.scales[name] / model.steps if rounding and model.spikes(name) else 0
        np.testing.assert_allclose(drive.bias, exact + charge, atol=1e-12)
        for linear in drive.maps:
            np.testing.assert_array_equal(
                linear.weights(),
                linear.layer.weight.astype(np.float64) * model.scales[linear.path.source],
            )
