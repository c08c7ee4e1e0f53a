"""The networks of the papers: what ships, and how it was made."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import json

import numpy as np
import pytest
import torch
from torch import nn
from ttfs_networks import make_model

import bsnn
from bsnn.networks import PAPERS, paper
from bsnn.networks.lopez_randulfe_2022 import training
from bsnn.networks.lopez_randulfe_2022.network import MnistCnn
from bsnn.networks.lopez_randulfe_2022.training import TrainingSettings
from bsnn.training import random_affine

SHIPPED = paper("lopez_randulfe_2022").SHIPPED


@pytest.fixture
def few(data_folder):
    return bsnn.datasets.load("mnist", "train", data_folder).first(256)


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_models(name):
    path = SHIPPED[name]
    assert path.stat().st_size < 5_000_000
    model = bsnn.load_model(path)
    cost = bsnn.count(model.graph)
    assert (cost.flops, cost.connections) == (14_316_496, 7_008_392)
    assert model.calibration["images_from"] == "mnist"
    assert model.source["source"].startswith("bsnn train lopez_randulfe_2022 ")
    log = path.with_suffix(".train.jsonl").read_text().splitlines()
    assert len(log) == 20
    assert json.loads(log[-1])["epoch"] == 20


@pytest.mark.long
@pytest.mark.parametrize(("name", "least"), [("mnist_cnn", 0.995), ("mnist_cnn_sparse", 0.995)])
def test_accuracy_on_the_whole_test_set(name, least, mnist_test):
    """ANN and closed form of the SNN (which the simulation equals spike for spike)."""
    model = bsnn.load_model(SHIPPED[name])
    images, labels = mnist_test.images, mnist_test.labels
    ann = snn = 0
    for first in range(0, len(images), 500):
        part = slice(first, first + 500)
        ann += (model.graph.forward(images[part]).argmax(1) == labels[part]).sum()
        potentials = model.code(images[part]).potentials["fc2"]
        snn += (potentials.argmax(1) == labels[part]).sum()
    assert ann / len(labels) >= least
    assert (ann - snn) / len(labels) <= 0.0005


@pytest.mark.long
def test_the_sparse_network_beats_the_paper(tmp_path, mnist_test):
    """All three of the paper's numbers, on 1,000 images spread over the test set, in Brian2."""
    model = bsnn.load_model(SHIPPED["mnist_cnn_sparse"])
    chosen = slice(None, None, 10)
    result = bsnn.simulate(
        model, mnist_test.images[chosen], mnist_test.labels[chosen], device="cpp",
        directory=tmp_path, progress=False,
    )  # fmt: skip
    assert result.spikes_per_neuron <= 0.10
    assert result.operations_per_mac <= 0.10
    assert result.synaptic_operations <= 1_015_015
    assert result.accuracy >= 0.9944 - 0.003  # a thousand images: one standard error is 0.0022


def settings(**changes) -> TrainingSettings:
    return dataclasses.replace(TrainingSettings(epochs=2, batch_size=64), **changes)


def test_training_can_be_resumed(few, tmp_path, check_resuming):
    check_resuming(training.train, few, settings(penalty=1e-7))
    with pytest.raises(ValueError, match="other settings"):
        training.train(few, tmp_path / "parts", settings(seed=9), resume=True, quiet=True)


def test_training_repeats_with_a_seed_and_learns(few, tmp_path):
    first = training.train(few, tmp_path / "a", settings(epochs=3), quiet=True)
    again = training.train(few, tmp_path / "b", settings(epochs=3), quiet=True)
    other = training.train(few, tmp_path / "c", settings(epochs=3, seed=2), quiet=True)
    assert torch.equal(first.fc1.weight, again.fc1.weight)
    assert not torch.equal(first.fc1.weight, other.fc1.weight)
    lines = [json.loads(line) for line in (tmp_path / "a" / "log.jsonl").read_text().splitlines()]
    assert lines[-1]["loss"] < lines[0]["loss"]


def test_the_penalty_charges_the_true_fan_out():
    """pool1's fan-out in the penalty is that of the synapses that are built."""
    penalty = training._ActivityPenalty(MnistCnn())
    graph = bsnn.from_torch(MnistCnn(), (1, 28, 28))
    model = bsnn.convert_to_ttfs(graph, np.random.default_rng(0).random((2, 1, 28, 28)))
    net = bsnn.build(model)
    for name in ("conv1", "pool1", "conv2", "pool2", "fc1"):
        built = net.to_layer(name, net.fan_out[name][None].astype(float))[0]
        charged = penalty._fan_out[name].numpy()
        np.testing.assert_array_equal(np.broadcast_to(charged, (1, *built.shape))[0], built)


def test_the_penalty_does_not_change_by_scaling_activations():
    torch.manual_seed(0)
    net = MnistCnn().eval()
    x = torch.rand(8, 1, 28, 28)
    _, cost = training._ActivityPenalty(net)(x)
    with torch.no_grad():
        for layer in (net.conv1, net.conv2, net.fc1):
            layer.bias.zero_()
    _, before = training._ActivityPenalty(net)(x)
    with torch.no_grad():
        net.conv1.weight *= 0.1
    _, after = training._ActivityPenalty(net)(x)
    assert cost > 0
    assert after.item() == pytest.approx(before.item(), rel=1e-3)


def test_augmentation_moves_images_and_keeps_their_size():
    torch.manual_seed(0)
    x = torch.from_numpy(bsnn.datasets.mnist_sample().images[:64])
    moved = random_affine(x, 10.0, 0.1, 1.7)
    assert moved.shape == x.shape
    assert not torch.allclose(moved, x)
    same = random_affine(x, 0, 0, 0)
    torch.testing.assert_close(same, x, atol=1e-5, rtol=0)
    assert moved.min() >= 0
    assert moved.max() <= 1


@pytest.mark.long
def test_reproduction(tmp_path, data_folder, monkeypatch):
    """Tables and figures are made, and an interrupted frontier goes on where it stopped."""
    from bsnn.networks.lopez_randulfe_2022 import reproduction

    torch.manual_seed(1)
    small = nn.Sequential(nn.Conv2d(1, 4, 7, stride=3), nn.ReLU(), nn.Flatten(), nn.Linear(256, 10))
    model, _ = make_model(small, (1, 28, 28))
    extra = tmp_path / "models"
    extra.mkdir()
    model.save(extra / "small.h5")
    monkeypatch.setattr(reproduction, "FRONTIER_SETTINGS", ((4, False), (4, True)))
    measured = []
    simulate = bsnn.simulate
    monkeypatch.setattr(bsnn, "simulate", lambda *a, **k: measured.append(1) or simulate(*a, **k))
    import brian2 as b2

    target = b2.prefs.codegen.target
    b2.prefs.codegen.target = "numpy"
    try:
        options = {"data": data_folder, "images": 3, "models": extra, "device": "runtime"}
        found = reproduction.reproduce(tmp_path / "out", **options)
        first = len(measured)
        again = reproduction.reproduce(tmp_path / "out", **options)
    finally:
        b2.prefs.codegen.target = target
    assert first == 2 + 3 * 2
    assert len(measured) - first == 2, "points of the frontier are not measured twice"
    assert again["frontier"] == found["frontier"]
    assert {point["model"] for point in found["frontier"]} == {*SHIPPED, "small"}
    for name in ("figure_2.png", "frontier.png", "reproduction.json"):
        assert (tmp_path / "out" / name).stat().st_size > 1000
    rmse = {int(steps): np.array(errors) for steps, errors in found["figure_2"]["rmse"].items()}
    for errors in rmse.values():
        best = errors.argmin()
        assert best > 0, "clipping on the left"
        assert errors[-1] > errors[best], "lost resolution on the right"
    assert rmse[512].min() < rmse[64].min() < rmse[8].min()


@pytest.mark.parametrize("name", PAPERS)
def test_what_the_commands_do_not_give_has_a_default(name):
    found = paper(name).PAPER
    inspect.signature(found.reproduction).bind("folder", data=None, device="cpp", console=None)
    settings = importlib.import_module(f"bsnn.networks.{name}.training").TrainingSettings
    assert set(found.settings) <= {field.name for field in dataclasses.fields(settings)}
