"""Simulating many images: results, their independence of chunks, and interruption."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import brian2 as b2
import numpy as np
import pytest
import reference

import bsnn
from bsnn.networks import paper
from bsnn.simulation.duration import estimate_seconds

pytestmark = pytest.mark.usefixtures("numpy_target")


def simulate(model, images, labels=None, **options):
    return bsnn.simulate(model, images, labels, progress=False, **options)


def test_figures_are_the_oracles(small_cnn):
    model, images = small_cnn(steps=7)
    labels = np.arange(12) % 5
    result = simulate(model, images[:12], labels, chunk=5)
    expected = reference.simulate(model, images[:12])
    np.testing.assert_allclose(result.potentials, expected.potentials, atol=1e-9)
    np.testing.assert_array_equal(result.predictions, expected.potentials.argmax(axis=1))
    exact = model.graph.activations(images[:12])
    layers = {"conv1": "relu", "pool1": "pool1", "fc1": "relu_1"}
    assert set(layers.values()) <= set(exact)
    for name, level in expected.levels.items():
        population = result.populations[name]
        np.testing.assert_array_equal(
            population.spikes, np.count_nonzero(level.reshape(12, -1), axis=1)
        )
        value = level * model.scales[name] / model.steps
        wanted = exact[model.populations[name].layer]
        assert population.rmse == pytest.approx(np.sqrt(np.mean((value - wanted) ** 2)), rel=1e-5)
    logits = exact[model.graph.output]
    rmse = np.sqrt(np.mean((expected.potentials - logits) ** 2))
    assert result.layer_rmse["fc2"] == pytest.approx(rmse, rel=1e-5)
    assert result.correct == (result.predictions == labels).sum()
    assert result.accuracy == result.correct / 12
    assert result.ann_accuracy == (logits.argmax(axis=1) == labels).mean()


def test_operations_are_spikes_times_true_fan_out(small_cnn):
    model, images = small_cnn(steps=7)
    result = simulate(model, images[:3])
    level = reference.simulate(model, images[:3]).levels
    # fc1's neurons drive all five outputs; a pixel of pool2 drives all nine neurons of fc1
    assert (result.populations["fc1"].operations == 5 * (level["fc1"] > 0).sum(axis=1)).all()
    pooled = (level["pool2"] > 0).reshape(3, -1).sum(axis=1)
    assert (result.populations["pool2"].operations == 9 * pooled).all()
    # conv1 has a 3x2 kernel and four channels: a pixel in a corner drives fewer
    fan_out = np.zeros((9, 8))
    for y in range(9):
        for x in range(8):
            rows = [y - dy for dy in (-1, 0, 1) if 0 <= y - dy < 9]
            columns = [x - dx for dx in (0, 1) if 0 <= x - dx < 8]
            fan_out[y, x] = 4 * len(rows) * len(columns)
    expected = ((level["input"] > 0)[:, 0] * fan_out).sum(axis=(1, 2))
    np.testing.assert_array_equal(result.populations["input"].operations, expected)
    total = sum(
        p.operations.mean() for p in result.populations.values() if p.operations is not None
    )
    assert result.synaptic_operations == pytest.approx(total)
    assert result.operations_per_mac == pytest.approx(total / result.ann_macs)


def test_spikes_per_neuron(small_cnn):
    model, images = small_cnn(steps=7)
    result = simulate(model, images[:4])
    spikes = {name: p.spikes.mean() for name, p in result.populations.items() if name != "fc2"}
    neurons = {name: p.neurons for name, p in result.populations.items()}
    own = ("conv1", "conv2", "fc1")
    assert result.spikes_per_neuron == pytest.approx(
        sum(spikes[n] for n in own) / sum(neurons[n] for n in own)
    )
    pooled = (*own, "pool1", "pool2")
    assert result.spikes_per_neuron_with_pools == pytest.approx(
        sum(spikes[n] for n in pooled) / sum(neurons[n] for n in pooled)
    )


@pytest.mark.parametrize("read_out", ["potential", "first-spike"])
def test_results_do_not_depend_on_the_chunk(small_cnn, read_out):
    model, images = small_cnn(steps=6, read_out=read_out)
    results = [simulate(model, images[:9], chunk=chunk) for chunk in (1, 4, 9, 100)]
    for other in results[1:]:
        np.testing.assert_array_equal(other.potentials, results[0].potentials)
        np.testing.assert_array_equal(other.predictions, results[0].predictions)
        for name, population in other.populations.items():
            np.testing.assert_array_equal(population.spikes, results[0].populations[name].spikes)
            assert population.rmse == pytest.approx(results[0].populations[name].rmse)


def test_first_spike_read_out(small_cnn):
    model, images = small_cnn(steps=9, read_out="first-spike")
    result = simulate(model, images[:10])
    expected = reference.simulate(model, images[:10])
    for image in range(10):
        level = expected.levels["fc2"][image]
        candidates = np.flatnonzero(level == level.max())
        best = candidates[expected.potentials[image][candidates].argmax()]
        assert result.predictions[image] == best
    assert result.populations["fc2"].spikes is not None


def test_a_network_of_ones_own_is_run_as_it_is(small_cnn):
    model, images = small_cnn(steps=6)
    net = bsnn.build(model, images=4, form="trace", monitors={"conv1": "u"})
    result = simulate(net, images[:6])
    np.testing.assert_allclose(result.potentials, simulate(model, images[:6]).potentials, atol=1e-9)
    assert result.form == "trace"
    with pytest.raises(bsnn.SimulationError, match="built on the device 'runtime', not on 'cpp'"):
        simulate(net, images[:1], device="cpp")


@pytest.mark.parametrize(
    "options",
    [
        {"form": "trace"},
        {"connectivity": "shared"},
        {"precision": "float64"},
        {"neuron": "two-stage"},
        {"perturbations": {"noise": 3.0}},
        {"synapses": {}},
        {"chunk": 4},
        {"batch": 1},
        {"seed": 0},
        {"seed": 3, "perturbations": {}},
    ],
)
def test_what_a_network_is_made_of_is_not_said_when_it_is_made(small_cnn, options):
    model, images = small_cnn(steps=6)
    net = bsnn.build(model, images=4)
    with pytest.raises(bsnn.SimulationError, match="built already.*Give bsnn.build") as caught:
        simulate(net, images[:1], **options)
    for name in options:
        assert name in str(caught.value)


def test_code_that_is_not_generated_goes_nowhere(small_cnn, tmp_path):
    model, images = small_cnn(steps=6)
    for network in (model, bsnn.build(model)):
        with pytest.raises(bsnn.SimulationError, match="'runtime' generates no project"):
            simulate(network, images[:1], directory=tmp_path / "code")
    assert not (tmp_path / "code").exists()


def test_save_and_load(small_cnn, tmp_path):
    model, images = small_cnn(steps=6)
    for labels in (None, np.zeros(4, dtype=int)):
        result = simulate(model, images[:4], labels)
        result.save(tmp_path / "result.h5")
        found = bsnn.load_result(tmp_path / "result.h5")
        assert found.summary() == result.summary()
        assert str(found) == str(result)
        np.testing.assert_array_equal(found.potentials, result.potentials)
    with pytest.raises(bsnn.StorageError, match="holds a result; a model is needed"):
        bsnn.load_model(tmp_path / "result.h5")


def test_interruption_keeps_what_is_done(small_cnn, monkeypatch):
    model, images = small_cnn(steps=6)
    run = b2.Network.run
    calls = []

    def third_chunk_interrupted(self, *args, **kwargs):
        calls.append(1)
        if len(calls) == 4:  # one to compile, then one a chunk
            raise KeyboardInterrupt
        return run(self, *args, **kwargs)

    monkeypatch.setattr(b2.Network, "run", third_chunk_interrupted)
    with pytest.raises(bsnn.Interrupted) as caught:
        simulate(model, images[:9], np.zeros(9, dtype=int), chunk=3)
    result = caught.value.result
    assert len(result) == 6
    monkeypatch.undo()
    whole = simulate(model, images[:6])
    np.testing.assert_array_equal(result.predictions, whole.predictions)


INTERRUPTED = """
import sys
import bsnn
from bsnn.networks import paper

model = bsnn.load_model(paper("lopez_randulfe_2022").SHIPPED["mnist_cnn"])
images = bsnn.datasets.mnist_sample().images
try:
    # making explicit synapses takes each binary a second: time to interrupt it
    slow = {"form": "event", "connectivity": "synapses"}
    bsnn.simulate(model, images, device="cpp", chunk=20, directory=sys.argv[1], **slow)
except bsnn.Interrupted as interrupted:
    interrupted.result.save(sys.argv[1] + "/partial.h5")
    sys.exit(130)
"""


def test_ctrl_c_in_the_middle_of_a_binary(tmp_path):
    """The signal reaches Python and the binary, which ends early: its chunk must not count."""
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(tmp_path)],
        start_new_session=True,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(3000):
            if list(tmp_path.glob("results/*fc2_read_out__rows*")) or process.poll() is not None:
                break
            time.sleep(0.1)
        # the first chunk is done, a later one is under way
        time.sleep(2.5)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(timeout=60) == 130
    finally:
        process.kill()
    result = bsnn.load_result(tmp_path / "partial.h5")
    assert 0 < len(result) < 500
    assert len(result) % 20 == 0
    model = bsnn.load_model(paper("lopez_randulfe_2022").SHIPPED["mnist_cnn"])
    images = bsnn.datasets.mnist_sample().images[: len(result)].astype(np.float64)
    np.testing.assert_allclose(result.potentials, model.code(images).potentials["fc2"], atol=1e-9)


def test_a_run_that_ends_early_is_noticed(small_cnn):
    model, images = small_cnn(steps=6)
    net = bsnn.build(model, images=3)
    net.present(images[:3])
    net.network.run(net.duration - 6 * b2.ms)
    with pytest.raises(bsnn.SimulationError, match="read out for 2 of 3 images"):
        net.read_potentials()


def test_wrong_arguments(small_cnn):
    model, images = small_cnn()
    with pytest.raises(bsnn.SimulationError, match="no images"):
        simulate(model, images[:0])
    with pytest.raises(bsnn.SimulationError, match="3 images but 2 labels"):
        simulate(model, images[:3], np.zeros(2))


def test_time_estimate_grows_with_the_work(small_cnn):
    model, images = small_cnn()
    few = estimate_seconds(model, images[:4], "cpp")
    many = estimate_seconds(model, np.concatenate([images] * 4), "cpp")
    assert many[1] > 10 * few[1]
    with pytest.raises(bsnn.SimulationError, match="no device"):
        estimate_seconds(model, images, "gpu")
