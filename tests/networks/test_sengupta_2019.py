"""VGG-16 and residual networks of Sengupta et al. (2019): shapes, training, what ships."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from torch import nn

import bsnn
from bsnn.graph import Add, ReLU
from bsnn.networks import paper
from bsnn.networks.sengupta_2019 import reproduction, residual_architectures, training
from bsnn.networks.sengupta_2019.network import BasicBlock, Vgg16, resnet20, resnet34
from bsnn.networks.sengupta_2019.training import TrainingSettings
from bsnn.training import crop_and_flip, pad_for_crops

PAPER = paper("sengupta_2019")

# multiply-accumulates of each layer and numbers of neurons, from the architecture on paper
VGG16_MACS = [
    1769472, 37748736, 18874368, 37748736, 18874368, 37748736, 37748736, 18874368, 37748736,
    37748736, 9437184, 9437184, 9437184, 262144, 5120,
]  # fmt: skip


def weighted(net: nn.Module) -> list[nn.Module]:
    return [layer for layer in net.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]


def test_vgg16_is_the_papers():
    net = Vgg16()
    cost = bsnn.count(bsnn.from_torch(net, (3, 32, 32)))
    assert [layer.macs for layer in cost.layers if layer.macs] == VGG16_MACS
    assert cost.neurons == 277_002
    assert all(layer.bias is None for layer in weighted(net))
    kinds = [type(layer).__name__ for layer in net.features]
    # dropout after each rectification that no pooling follows, 0.3 after the first
    after_relu = [kinds[k + 1] for k, kind in enumerate(kinds) if kind == "ReLU"]
    assert after_relu.count("AvgPool2d") == 5
    assert after_relu.count("Dropout") == 8
    rates = [layer.p for layer in net.modules() if isinstance(layer, nn.Dropout)]
    assert rates == [0.3, *[0.4] * 7, 0.5, 0.5]


@pytest.mark.parametrize(
    ("preprocessing", "macs", "neurons"), [(0, 40_551_040, 188_426), (2, 45_269_632, 221_194)]
)
def test_resnet20_is_the_papers(preprocessing, macs, neurons):
    net = resnet20(preprocessing=preprocessing)
    cost = bsnn.count(bsnn.from_torch(net, (3, 32, 32)))
    assert cost.macs == macs
    assert cost.neurons == neurons
    assert len(weighted(net)) == 20 + preprocessing
    assert all(layer.bias is None for layer in weighted(net))


def test_shortcuts_are_of_type_a():
    """Every second row and column, and zeros in the channels that are new."""
    block = BasicBlock(2, 4, 2, 0.0, junction_relu=True).eval()
    for conv in (block.conv1, block.conv2):
        nn.init.zeros_(conv.weight)
    x = torch.rand(1, 2, 6, 6)
    expected = torch.cat([x[:, :, ::2, ::2], torch.zeros(1, 2, 3, 3)], 1)
    assert torch.equal(block(x), expected)


def test_resnet34_for_imagenet():
    net = resnet34(0.125)
    assert len(weighted(net)) == 34 + 2
    graph = bsnn.from_torch(net, (3, 224, 224))
    assert graph.shapes[graph.output] == (1000,)
    junctions = [graph.shapes[layer.name] for layer in graph if isinstance(layer, Add)]
    assert junctions[0] == (8, 56, 56)
    assert junctions[-1] == (64, 7, 7)


def test_weights_are_drawn_as_in_the_paper():
    torch.manual_seed(0)
    net = resnet20()
    plain, residual = net.stem[2].weight, net.blocks[4].conv2.weight
    assert plain.std().item() == pytest.approx((2 / (9 * 16)) ** 0.5, rel=0.05)
    assert residual.std().item() == pytest.approx(2**0.5 / (9 * 32), rel=0.05)


@pytest.fixture(scope="module")
def few(data_folder):
    return bsnn.datasets.load("cifar10", "train", data_folder).first(96)


def settings(**changes) -> TrainingSettings:
    small = TrainingSettings(network="resnet20", width=0.125, epochs=2, batch_size=32)
    return dataclasses.replace(small, **changes)


def test_training_can_be_resumed(few, tmp_path, check_resuming):
    check_resuming(training.train, few, settings())
    with pytest.raises(bsnn.SettingsError, match="other settings"):
        training.train(few, tmp_path / "parts", settings(seed=9), resume=True, quiet=True)


def test_a_training_that_diverges_says_so(few, tmp_path):
    with pytest.raises(bsnn.SettingsError, match="smaller learning rate"):
        training.train(few, tmp_path, settings(learning_rate=1e6, epochs=5), quiet=True)


def test_the_learning_rate_falls_where_the_papers_does(few, tmp_path):
    training.train(few, tmp_path, settings(epochs=10, width=0.0625), quiet=True)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    rates = [line["learning_rate"] for line in lines]
    # after epochs 81 and 122 of 200: 4 and 6 of 10
    assert rates == pytest.approx([0.05] * 4 + [0.005] * 2 + [0.0005] * 4)


def test_augmentation_crops_and_flips():
    image = torch.arange(32 * 32.0).reshape(1, 1, 32, 32)
    padded = nn.functional.pad(image, (4,) * 4, value=-1)
    assert pad_for_crops(image).shape == padded.shape
    torch.manual_seed(0)
    crops = crop_and_flip(padded.expand(200, 1, 40, 40))
    assert crops.shape == (200, 1, 32, 32)
    # every crop is a window of the padded image, as it is or mirrored
    mirrored = 0
    for crop in crops[:, 0]:
        first = next(row for row in crop if (row >= 0).any())
        flipped = bool((first[1:] < first[:-1]).sum() > (first[1:] > first[:-1]).sum())
        mirrored += flipped
        plain = crop.flip(1) if flipped else crop
        assert any(
            torch.equal(plain, padded[0, 0, y : y + 32, x : x + 32])
            for y in range(9)
            for x in range(9)
        )
    assert 60 < mirrored < 140


def test_normalisation_is_that_of_the_training_images(few):
    mean, deviation = training.normalisation(few)
    np.testing.assert_allclose(mean, few.images.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(deviation, few.images.std(axis=(0, 2, 3)), atol=1e-6)


def test_train_writes_a_model_and_the_command_that_made_it(few, tmp_path, monkeypatch):
    monkeypatch.setattr(bsnn.datasets, "load", lambda *_: few)
    monkeypatch.setattr(PAPER, "STEPS", 150)
    path, accuracies = PAPER.train(
        tmp_path, network="resnet20", width=0.0625, epochs=1, batch_size=32, calibration_images=4
    )
    model = bsnn.load_model(path)
    assert (model.norm, model.reset, model.encoder) == ("spike-norm", "zero", "poisson")
    assert model.residual == "one"
    assert model.source["source"] == (
        "bsnn train sengupta_2019 --network resnet20 --width 0.0625 --epochs 1 --seed 1 "
        "--batch-size 32 --threads 1 --calibration-images 4"
    )
    assert (tmp_path / "curves.png").stat().st_size > 5_000
    (value,) = accuracies.values()
    assert 0 <= value <= 1
    basic, _ = PAPER.train(
        tmp_path / "basic", network="resnet20", width=0.0625, epochs=1, batch_size=32,
        junction_relu=False, preprocessing=0,
    )  # fmt: skip
    with pytest.raises(bsnn.StorageError, match="not converted"):
        bsnn.load_model(basic)


def test_junction_relus_can_be_put_in():
    graph = bsnn.from_torch(resnet20(0.0625, junction_relu=False), (3, 32, 32))
    rectified = residual_architectures.with_junction_relus(graph)
    for layer in rectified:
        if isinstance(layer, Add):
            (reader,) = rectified.consumers[layer.name]
            assert isinstance(rectified[reader], ReLU)
    again = residual_architectures.with_junction_relus(rectified)
    assert [layer.name for layer in again] == [layer.name for layer in rectified]


@pytest.mark.parametrize(("name", "macs"), [("vgg16", 15), ("resnet20", 22)])
def test_shipped_networks(name, macs):
    model = bsnn.load_model(PAPER.SHIPPED[name])
    assert len([layer for layer in model.graph if layer.kind in ("conv2d", "linear")]) == macs
    assert (model.norm, model.reset, model.encoder) == ("spike-norm", "zero", "poisson")
    assert model.steps == 2500
    assert model.source["source"].startswith(f"bsnn train sengupta_2019 --network {name} ")
    log = PAPER.SHIPPED[name].with_suffix(".train.jsonl").read_text().splitlines()
    assert f"--epochs {len(log)} " in model.source["source"]
    assert sum(path.stat().st_size for path in PAPER.SHIPPED.values()) < 32e6


@pytest.mark.long
def test_reproduction_goes_on_after_an_interruption(
    data_folder, tmp_path, numpy_target, monkeypatch
):
    # a few images to look at activations, and two of the rows about latency
    monkeypatch.setattr(reproduction, "_DATA_BASED_IMAGES", 8)
    monkeypatch.setattr(residual_architectures, "_SPIKE_NORM_IMAGES", 2)
    rows = list(reproduction._LOW_LATENCY.items())
    monkeypatch.setattr(reproduction, "_LOW_LATENCY", dict((rows[0], rows[-1])))
    options = {
        "data": data_folder, "images": 2, "steps": 3, "seeds": 2, "workers": 1,
        "device": "runtime", "console": None,
    }  # fmt: skip
    first = reproduction.reproduce(tmp_path, **options)
    assert set(first) >= {"vgg16", "resnet20", "low_latency"}
    assert len(first["vgg16"]["spike-norm"]) == 2
    for figure in ("figure_4", "figure_5", "thresholds_vgg16", "thresholds_resnet20"):
        assert (tmp_path / f"{figure}.png").stat().st_size > 10_000
    results = sorted((tmp_path / "results").glob("*.h5"))
    results[0].unlink()
    before = {path: path.stat().st_mtime_ns for path in results[1:]}
    again = reproduction.reproduce(tmp_path, **options)
    assert {path: path.stat().st_mtime_ns for path in results[1:]} == before
    for network in ("vgg16", "resnet20"):
        for norm, runs in first[network].items():
            for run, repeated in zip(runs, again[network][norm], strict=True):
                assert run["accuracy_at_step"] == repeated["accuracy_at_step"]
