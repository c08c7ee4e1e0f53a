"""Networks with max-pooling after Nguyen et al. (2020): training, what ships, what gates cost."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from rate_runs import assert_same_spikes, run_here

import bsnn
from bsnn.analysis.waveform_plots import waveform_figure
from bsnn.conversion import AVERAGE, DEFAULT_GATE, GATES
from bsnn.networks import paper
from bsnn.networks.nguyen_2020 import reproduction, training
from bsnn.networks.nguyen_2020.network import NETWORKS
from bsnn.networks.nguyen_2020.toy import pooled_rate_errors

PAPER = paper("nguyen_2020")


@pytest.mark.parametrize(("name", "macs"), [("mnist", 1_411_840), ("cifar10", 38_653_952)])
def test_networks(name, macs):
    net = NETWORKS[name]().eval()
    shape = PAPER.INPUT_SHAPES[name]
    graph = bsnn.from_torch(net, shape)
    assert bsnn.count(graph).macs == macs
    x = torch.rand(2, *shape)
    np.testing.assert_allclose(graph.forward(x.numpy()), net(x).detach().numpy(), atol=1e-5)


@pytest.mark.parametrize("name", PAPER.SHIPPED)
def test_shipped_networks(name):
    model = bsnn.load_model(PAPER.SHIPPED[name])
    assert (model.coding, model.gate, model.steps) == ("rate", DEFAULT_GATE, PAPER.STEPS[name])
    assert {key: getattr(model, key) for key in ("norm", "encoder", "reset", "read_out")} == {
        key: PAPER.CONVERSION[key] for key in ("norm", "encoder", "reset", "read_out")
    }
    assert model.source["source"].startswith(f"bsnn train nguyen_2020 --network {name} ")
    log = PAPER.SHIPPED[name].with_suffix(".train.jsonl").read_text().splitlines()
    assert f"--epochs {len(log)} " in model.source["source"]


def test_the_shipped_network_spike_for_spike(numpy_target):
    model = dataclasses.replace(bsnn.load_model(PAPER.SHIPPED["mnist"]), steps=6)
    images = bsnn.datasets.mnist_sample().images[:1]
    # the read-out does not spike, and the last layers hardly do in six steps
    model = dataclasses.replace(model, initial_potential=0.5)
    assert_same_spikes(run_here(model, images), images)


def test_train_writes_a_model_and_the_command_that_made_it(data_folder, tmp_path, monkeypatch):
    few = bsnn.datasets.load("cifar10", "train", data_folder).first(64)
    monkeypatch.setattr(bsnn.datasets, "load", lambda *_: few)
    path, accuracies = PAPER.train(
        tmp_path, network="cifar10", epochs=1, batch_size=32, learning_rate=0.01
    )
    model = bsnn.load_model(path)
    assert path.name == "cifar10.h5"
    assert model.gate == DEFAULT_GATE
    assert model.source["source"] == (
        "bsnn train nguyen_2020 --network cifar10 --epochs 1 --seed 1 --batch-size 32 "
        "--learning-rate 0.01 --precision float32 --threads 1"
    )
    assert (tmp_path / "curves.png").stat().st_size > 5_000
    (value,) = accuracies.values()
    assert 0 <= value <= 1
    with pytest.raises(bsnn.SettingsError, match="no network 'cifar'"):
        training.train(few, tmp_path, training.TrainingSettings(network="cifar"))


@pytest.mark.parametrize(
    ("noise", "expected"),
    [
        (0.0, {"pre_reset": (0.165, 0.188), "post_reset": (-0.436, 0.465),
               "previous": (0.080, 0.152), "accumulated": (-0.002, 0.002),
               "count": (0.003, 0.020), AVERAGE: (-0.295, 0.317)}),
        pytest.param(0.3, {"pre_reset": (0.164, 0.187), "post_reset": (-0.283, 0.309),
               "previous": (0.048, 0.095), "accumulated": (0.001, 0.020),
               "count": (0.005, 0.022), AVERAGE: (-0.291, 0.313)}, marks=pytest.mark.long),
    ],
)  # fmt: skip
def test_windows_of_four_neurons(noise, expected):
    """Against figures of another program, with other random numbers."""
    found = pooled_rate_errors(noise)
    assert found.keys() == {*GATES, AVERAGE}
    for gate, (mean, rms) in expected.items():
        assert found[gate] == (pytest.approx(mean, abs=0.008), pytest.approx(rms, abs=0.008)), gate


@pytest.mark.long
def test_reproduction_goes_on_after_an_interruption(
    data_folder, tmp_path, numpy_target, monkeypatch
):
    monkeypatch.setattr(reproduction, "STEPS", {"mnist": 4, "cifar10": 2})
    monkeypatch.setattr(reproduction, "_AT_STEPS", (1, 2, 4))
    monkeypatch.setattr(reproduction, "_RATE_IMAGES", {"mnist": 2, "cifar10": 1})
    monkeypatch.setattr(reproduction, "pooled_rate_errors", lambda noise: {"count": (0.0, noise)})
    options = {
        "data": data_folder, "images": 1, "workers": 1, "device": "runtime", "console": None,
    }  # fmt: skip
    first = reproduction.reproduce(tmp_path, **options)
    assert json.loads((tmp_path / "reproduction.json").read_text()) == first
    for figure in ("accuracy_mnist", "accuracy_cifar10", "rate_error"):
        assert (tmp_path / f"{figure}.png").stat().st_size > 10_000
    results = sorted((tmp_path / "results").iterdir())
    assert len(results) == 2 * (len(GATES) + 1)
    before = {path: path.stat().st_mtime_ns for path in results[1:]}
    results[0].unlink()
    again = reproduction.reproduce(tmp_path, **options)
    assert {path: path.stat().st_mtime_ns for path in results[1:]} == before
    for network in ("mnist", "cifar10"):
        assert first[network].keys() == {*GATES, AVERAGE}
        for gate, found in first[network].items():
            assert found["accuracy_at_step"] == again[network][gate]["accuracy_at_step"]
            assert {*found["rate_error"]["pool1"]} == {"1", "2", "4"}


def test_the_shipped_table_holds_what_is_said_of_it():
    """The default gate's error falls as 1/T in each pooling, and is the least."""
    path = PAPER.SHIPPED["mnist"].with_name("reproduction.json")
    found = json.loads(path.read_text())
    for network, loss in (("mnist", 0.001), ("cifar10", 0.01)):
        default = found[network][DEFAULT_GATE]
        assert default["ann_accuracy"] - default["accuracy"] <= loss
        for pool, error in default["rate_error"].items():
            assert error["16"] > 3 * error["64"] > 9 * error["256"], pool
            others = [
                found[network][gate]["rate_error"][pool] for gate in {*GATES} - {DEFAULT_GATE}
            ]
            assert error["256"] <= min(other["256"] for other in others)


def test_a_waveform(tmp_path):
    path = tmp_path / "wave.vcd"
    path.write_text(
        "$scope module top $end\n$var wire 1 ! clk $end\n$var wire 8 # data $end\n"
        "$upscope $end\n$enddefinitions $end\n#0\n0!\nbxxxxxxxx #\n"
        + "".join(f"#{10 * k}\n1!\nb{k:b} #\n#{10 * k + 5}\n0!\n" for k in range(1, 6))
    )
    figure = waveform_figure(path, ["data"], clock="clk", cycles=3)
    shown = [text.get_text() for text in figure.axes[0].texts]
    # what was there before the edge
    assert shown == ["0", "1", "2"]
    with pytest.raises(bsnn.SettingsError, match="no signal valid"):
        waveform_figure(path, ["valid"], clock="clk")
    with pytest.raises(bsnn.SettingsError, match="has 5 cycles"):
        waveform_figure(path, ["data"], clock="clk", first=7)
