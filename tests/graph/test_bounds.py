"""What values of a network can be at most, and what of it no image makes active."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import bsnn
from bsnn.cli.app import app
from bsnn.graph import bounds, dead_parts


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.branch = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.hidden, self.fc = nn.Linear(64, 6), nn.Linear(6, 3)

    def forward(self, x):
        x = torch.relu(self.stem(x))
        x = torch.relu(x + self.branch(x))
        return self.fc(torch.relu(self.hidden(nn.functional.max_pool2d(x, 2).flatten(1))))


def graph_of(change=lambda net: None):
    net = Block().eval()
    with torch.no_grad():
        # no unit at the border is dead by chance
        net.stem.bias[:] = 0.2
        change(net)
    return bsnn.from_torch(net, (1, 8, 8))


def test_no_image_leaves_the_bounds():
    graph = graph_of()
    rng = np.random.default_rng(0)
    images = np.concatenate([rng.random((50, 1, 8, 8)), rng.integers(0, 2, (50, 1, 8, 8))])
    known = {"input": (np.zeros((1, 1, 8, 8)), np.ones((1, 1, 8, 8)))}
    values = graph.activations(images)
    for layer in graph:
        low, high = bounds(graph, known, layer.name)
        assert (values[layer.name] >= low - 1e-9).all()
        assert (values[layer.name] <= high + 1e-9).all()
    # for a layer by itself they are reached
    low, high = bounds(graph, known, "stem")
    best = (graph["stem"].weight[0, 0] > 0).astype(float)
    image = np.zeros((1, 1, 8, 8))
    image[0, 0, 2:5, 2:5] = best
    assert graph.activations(image)["stem"][0, 0, 3, 3] == pytest.approx(high[0, 0, 3, 3])


def test_what_is_alive_is_not_called_dead():
    found = dead_parts(graph_of())
    assert (found.layers, found.branches, found.sentences()) == ((), {}, [])


def test_dead_units_layers_and_branches():
    def kill(net):
        net.stem.weight[1] = -1
        net.stem.bias[1] = 0
        net.branch.weight[:] = 0
        net.hidden.weight[:] = -net.hidden.weight.abs()
        net.hidden.bias[:] = -0.1

    graph = graph_of(kill)
    found = dead_parts(graph)
    assert found.units == {"relu": 64, "relu_2": 6}
    assert found.layers == ("relu_2",)
    assert found.branches == {"add": ("branch",)}
    text = " ".join(found.sentences())
    assert "64 units of relu can never spike" in text
    assert "The layer relu_2 is dead" in text
    assert "The branch branch of the sum add is dead" in text
    # no image shows the opposite
    images = np.random.default_rng(0).random((200, 1, 8, 8))
    assert graph.activations(images)["relu_2"].max() == 0


def test_info_and_compare_say_so(tmp_path):
    def kill(net):
        net.stem.weight[1] = -1
        net.stem.bias[1] = 0
        net.branch.weight[:] = 0

    images = np.random.default_rng(0).random((20, 1, 8, 8), np.float32)
    model = bsnn.convert_to_ttfs(graph_of(kill), images)
    path, figures = tmp_path / "model.h5", tmp_path / "info.json"
    model.save(path)
    shown = CliRunner().invoke(app, ["info", str(path), "--json", str(figures)])
    assert shown.exit_code == 0, shown.output
    assert "64 units of relu can never spike" in shown.output
    assert json.loads(figures.read_text())["dead"]["branches"] == {"add": ["branch"]}
    comparison = bsnn.compare(model, images)
    # and those that these images happen to leave out
    assert comparison.layers["stem"].dead >= 64
    assert "The branch branch of the sum add is dead" in " ".join(comparison.diagnosis())
    assert comparison.summary()["dead"]["units"]["relu"] == 64
