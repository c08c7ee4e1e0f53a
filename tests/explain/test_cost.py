"""Cost, energy and latency of results, against counts made by hand."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from rate_networks import ResidualNet, make_rate_model

import bsnn
from bsnn.explain.cost import BREAK_EVEN_SPIKES, ENERGY_MODELS, spiking_cost
from bsnn.explain.latency import decision_times, early_exit
from bsnn.networks import paper


@pytest.fixture
def ttfs(small_cnn, numpy_target):
    model, images = small_cnn(steps=6)
    return model, bsnn.simulate(model, images[:5], device="runtime", progress=False)


def test_counts_of_a_chain(ttfs):
    model, result = ttfs
    cost = spiking_cost(model, result)
    assert cost.operations == pytest.approx(result.synaptic_operations)
    assert cost.macs == result.ann_macs
    found = {population.name: population for population in cost.populations}
    conv1, source = found["conv1"], result.populations["input"]
    # a chain: what one layer drives arrives at the next
    assert conv1.operations == pytest.approx(source.operations.mean())
    assert conv1.spikes_per_neuron == result.populations["conv1"].spikes.mean() / conv1.neurons
    # two windows of six steps; potential and slope
    assert conv1.updates == conv1.neurons * 12
    assert conv1.state_words == 2 * conv1.neurons
    bits = int(np.ceil(np.log2(conv1.neurons)))
    assert conv1.bits_moved == pytest.approx(
        32 * (3 * conv1.operations + 2 * conv1.updates) + bits * conv1.spikes
    )
    pool = next(p for p in cost.populations if p.role == "max_pool")
    assert (pool.updates, pool.state_words, pool.weights, pool.macs) == (0, 0, 0, 0)
    assert cost.spikes_per_neuron <= 1 < BREAK_EVEN_SPIKES


def test_operations_where_branches_meet(numpy_target):
    """A source that feeds two populations: all of its operations arrive, at one or the other."""
    model, images = make_rate_model(ResidualNet(), (2, 6, 5), encoder="regular", steps=15)
    result = bsnn.simulate(model, images[:3], device="runtime", progress=False)
    cost = spiking_cost(model, result)
    assert cost.operations == pytest.approx(result.synaptic_operations)
    assert cost.macs == result.ann_macs
    neurons = [p for p in cost.populations if p.role == "neurons"]
    assert all(p.updates == 15 * p.neurons and p.state_words == p.neurons for p in neurons)


def test_energy_of_arithmetic_is_that_of_the_papers_network():
    """López-Randulfe et al.: 7.154 M multiply-accumulates, 1.015 M additions: 32.9 and 0.913 uJ."""
    model = bsnn.load_model(paper("lopez_randulfe_2022").SHIPPED["mnist_cnn"])
    images = bsnn.datasets.mnist_sample().images[:2]
    result = bsnn.simulate(model, images, device="runtime", progress=False)
    cost = spiking_cost(model, result)
    papers = dataclasses.replace(
        cost,
        populations=tuple(
            dataclasses.replace(p, operations=1_015_015 * (p.name == "conv2"))
            for p in cost.populations
        ),
    )
    energy = ENERGY_MODELS["arithmetic in float32"]("name", papers)
    assert energy.trained == pytest.approx((32.9e-6, 32.9e-6), rel=1e-3)
    assert energy.spiking[0] == pytest.approx(0.913e-6, rel=1e-3)
    assert energy.ratio[1] == pytest.approx(36, rel=0.01)
    # a clock that updates every neuron in every step takes more than all spikes
    assert energy.spiking[1] == pytest.approx(0.913e-6 + 0.9e-12 * cost.updates, rel=1e-3)
    assert energy.ratio[0] < energy.ratio[1]


def test_energy_with_memory(ttfs):
    """A memory of 8 kB and less takes 5 pJ a word, one of 1 MB 50 pJ, and none is free."""
    from bsnn.explain.cost import _word

    assert _word(1) == _word(2048) == 5
    assert _word(8192) == pytest.approx(10)
    assert _word(2**18) == pytest.approx(50)
    assert _word(2**19) > 50
    sizes = [_word(2**power) for power in range(24)]
    assert sizes == sorted(sizes)
    model, result = ttfs
    energies = {energy.name: energy for energy in spiking_cost(model, result).energies()}
    memory, plain = energies["with memory and addresses"], energies["arithmetic in int32"]
    assert memory.spiking[0] > plain.spiking[0]
    assert memory.trained[0] > plain.trained[0]
    for energy in energies.values():
        assert energy.spiking[0] <= energy.spiking[1]
        assert "2014" in energy.source
        assert "estimated, not measured" in str(energy)


def test_the_summary_is_complete(ttfs):
    model, result = ttfs
    cost = spiking_cost(model, result)
    summary = json.loads(json.dumps(cost.summary()))
    assert summary["operations"] == cost.operations
    assert [p["name"] for p in summary["populations"]] == list(model.populations)
    assert len(summary["energies"]) == len(ENERGY_MODELS)
    rows = dict(cost.rows())
    assert "below the break-even of 1.72" in rows["spikes a neuron"]


def test_another_networks_result_is_refused(ttfs):
    _, result = ttfs
    other = bsnn.load_model(paper("lopez_randulfe_2022").SHIPPED["mnist_cnn"])
    with pytest.raises(bsnn.SimulationError, match="another network"):
        spiking_cost(other, result)


# -------------------------------------------------------------------- latency


def over_time(classes, labels=None, margins=None):
    """Return as much of a result as latency needs."""
    classes = np.array(classes, np.int16)
    model, images = make_rate_model(ResidualNet(), (2, 6, 5), steps=classes.shape[1])
    result = bsnn.simulate(model, images[: len(classes)], device="runtime", progress=False)
    return dataclasses.replace(
        result,
        predictions=classes[:, -1],
        predictions_at_step=classes,
        margins_at_step=None if margins is None else np.array(margins, np.float32),
        labels=None if labels is None else np.array(labels),
    )


def test_decision_times(numpy_target):
    result = over_time([[0, 1, 1, 1], [2, 2, 2, 2], [3, 0, 3, 0]], labels=[1, 0, 3])
    times = decision_times(result)
    np.testing.assert_array_equal(times.stable, [2, 1, 4])
    np.testing.assert_array_equal(times.first_correct, [2, 0, 1])
    np.testing.assert_array_equal(times.stable_correct, [2, 0, 0])
    times = decision_times(dataclasses.replace(result, labels=None))
    assert times.first_correct is None
    assert times.stable_correct is None


def test_early_exit(numpy_target):
    result = over_time(
        [[0, 1, 1, 1], [2, 2, 0, 0]], labels=[1, 0],
        margins=[[0.5, 0.2, 1.0, 2.0], [0.0, 0.5, 1.5, 3.0]],
    )  # fmt: skip
    found = early_exit(result, np.array([0, 0.5, 1, 2.5, 9]))
    # no lead is no decision; 2.5 is not reached by the first image, 9 by none
    np.testing.assert_array_equal(found.mean_steps, [1.5, 1.5, 3, 4, 4])
    np.testing.assert_array_equal(found.accuracy, [0, 0, 1, 1, 1])
    assert len(early_exit(result).margins) > 3


def test_margins_of_a_simulation(numpy_target, tmp_path):
    """Those of the last step are the differences of the potentials, and survive a file."""
    model, images = make_rate_model(ResidualNet(), (2, 6, 5), encoder="regular", steps=15)
    result = bsnn.simulate(model, images[:4], device="runtime", progress=False)
    ordered = np.sort(result.potentials, axis=1)
    lead = (ordered[:, -1] - ordered[:, -2]) * 15
    np.testing.assert_allclose(result.margins_at_step[:, -1], lead, rtol=1e-6)
    result.save(tmp_path / "result.h5")
    loaded = bsnn.load_result(tmp_path / "result.h5")
    np.testing.assert_array_equal(loaded.margins_at_step, result.margins_at_step)


def test_latency_needs_a_class_in_each_step(ttfs):
    _, result = ttfs
    with pytest.raises(bsnn.SettingsError, match="rate coding only"):
        decision_times(result)
    with pytest.raises(bsnn.SettingsError, match="rate coding only"):
        early_exit(result)
