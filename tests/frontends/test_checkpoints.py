"""Weights in the files that training loops write give the module's own logits."""

from __future__ import annotations

import argparse
import json
import re
import struct

import numpy as np
import pytest
import torch
from torch import nn

import bsnn
from bsnn.frontends.checkpoints import load_weights


class Net(nn.Module):
    def __init__(self, hidden: int = 6) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2)
        )
        self.classifier = nn.Sequential(nn.Linear(36, hidden), nn.ReLU(), nn.Linear(hidden, 3))

    def forward(self, x):
        return self.classifier(self.features(x).flatten(1))


class Task(nn.Module):
    """As training frameworks wrap a network, with something of their own beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Net()
        self.criterion = nn.CrossEntropyLoss(weight=torch.ones(3))

    def forward(self, x):
        return self.model(x)


@pytest.fixture(scope="module")
def trained() -> Net:
    torch.manual_seed(3)
    net = Net().eval()
    net.features[1].running_mean.uniform_(-0.2, 0.2)
    net.features[1].running_var.uniform_(0.5, 2)
    return net


def prefixed(state, prefix):
    return {prefix + key: value for key, value in state.items()}


def another(state):
    return {key: torch.rand_like(value.float()) for key, value in state.items()}


#: By name: what is saved, made of the state dict, and what is said of it.
FILES = {
    "plain": (lambda s: s, []),
    "DataParallel": (lambda s: prefixed(s, "module."), ["without 'module.'"]),
    "compiled": (lambda s: prefixed(s, "_orig_mod."), ["without '_orig_mod.'"]),
    "compiled, parallel": (
        lambda s: prefixed(s, "_orig_mod.module."),
        ["without 'module.' and '_orig_mod.'"],
    ),
    "a part parallel": (
        lambda s: {k.replace("features.", "features.module."): v for k, v in s.items()},
        ["without 'module.'"],
    ),
    "in a loop": (
        lambda s: {"epoch": 12, "state_dict": s, "optimizer": {"state": {}}, "best": 0.9},
        ["under 'state_dict'"],
    ),
    "in a loop, deeper": (
        lambda s: {"args": {"lr": 0.1}, "checkpoint": {"model": prefixed(s, "module.")}},
        ["under 'checkpoint.model'", "without 'module.'"],
    ),
    "Lightning": (
        lambda s: {
            "state_dict": {**prefixed(s, "model."), "criterion.weight": torch.ones(3)},
            "pytorch-lightning_version": "2.4",
        },
        ["under 'state_dict'", "without 'model.'", "left out criterion.weight"],
    ),
    "with averages": (
        lambda s: {"model_ema": another(s), "model": s},
        ["under 'model'", "averaged weights too, under 'model_ema'"],
    ),
    "averages only": (
        lambda s: {"n_averaged": torch.tensor(7), **prefixed(s, "module.")},
        ["without 'module.'"],
    ),
    "no counters": (
        lambda s: {k: v for k, v in s.items() if "num_batches" not in k},
        [],
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_wrapped_weights(tmp_path, trained, name):
    content, notes = FILES[name]
    torch.save(content(trained.state_dict()), tmp_path / "net.pt")
    loaded = Net().eval()
    said = load_weights(loaded, tmp_path / "net.pt")
    assert len(said) == len(notes), said
    for sentence, part in zip(said, notes, strict=True):
        assert part in sentence
    x = torch.rand(3, 1, 8, 8)
    assert torch.equal(loaded(x), trained(x))


def test_a_module_that_wraps_the_network(tmp_path, trained):
    """Plain weights go into a task's module, and what a converter sees is the network."""
    state = trained.state_dict()
    torch.save(state, tmp_path / "net.pt")
    task = nn.Sequential(Net()).eval()
    assert "'0.' before them" in load_weights(task, tmp_path / "net.pt")[0]
    x = torch.rand(3, 1, 8, 8)
    assert torch.equal(task(x), trained(x))
    found = bsnn.from_torch(task, (1, 8, 8)).forward(x.numpy())
    np.testing.assert_allclose(found, trained(x).detach().numpy(), atol=1e-6)


def test_half_precision_is_kept(tmp_path, trained):
    torch.save({k: v.half() for k, v in trained.state_dict().items()}, tmp_path / "net.pt")
    loaded = Net()
    load_weights(loaded, tmp_path / "net.pt")
    assert torch.equal(loaded.classifier[0].weight, trained.classifier[0].weight.half().float())


def test_safetensors(tmp_path, trained):
    """The format is written by hand, after its specification, and under another ending."""
    header, data = {}, b""
    for key, value in trained.state_dict().items():
        raw = value.numpy().tobytes()
        kind = {torch.float32: "F32", torch.int64: "I64"}[value.dtype]
        header[key] = {
            "dtype": kind,
            "shape": list(value.shape),
            "data_offsets": [len(data), len(data) + len(raw)],
        }
        data += raw
    text = json.dumps(header).encode()
    for name in ("net.safetensors", "net.bin"):
        (tmp_path / name).write_bytes(struct.pack("<Q", len(text)) + text + data)
        loaded = Net().eval()
        assert load_weights(loaded, tmp_path / name) == []
        x = torch.rand(3, 1, 8, 8)
        assert torch.equal(loaded(x), trained(x))
    (tmp_path / "broken.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data[:-4])
    with pytest.raises(bsnn.StorageError, match="cannot be read as safetensors"):
        load_weights(Net(), tmp_path / "broken.safetensors")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            lambda s: {k.replace("classifier", "head"): v for k, v in s.items()},
            r"not hold the weights of Net\.\nThe file lacks classifier\.0\.weight, "
            r"classifier\.0\.bias, classifier\.2\.weight and 1 more\.\n"
            r"It has head\.0\.weight, head\.0\.bias, head\.2\.weight and 1 more instead\.",
        ),
        (
            lambda s: Net(hidden=9).state_dict(),
            r"Of another shape: classifier\.0\.weight \(9, 36\) instead of \(6, 36\), ",
        ),
        (lambda s: {**s, "more": torch.zeros(2)}, r"It has more\."),
        (lambda s: {"epoch": 3}, "holds a dictionary with epoch, and no state dict"),
        (lambda s: [1, 2], "holds a list, and no state dict"),
        (lambda s: {"args": argparse.Namespace(lr=1), "model": s}, r"\(argparse\.Namespace\)"),
        (lambda s: nn.Linear(2, 2), "run code that the file names, and bsnn does not"),
    ],
)  # fmt: skip
def test_what_does_not_fit(tmp_path, trained, content, message):
    torch.save(content(trained.state_dict()), tmp_path / "net.pt")
    net = Net()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    with pytest.raises(bsnn.StorageError, match=message) as caught:
        load_weights(net, tmp_path / "net.pt")
    assert not re.search("weights_only", str(caught.value))
    # nothing was loaded in part
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())


def test_files_that_are_none(tmp_path):
    (tmp_path / "text.pt").write_text("no tensors")
    with pytest.raises(bsnn.StorageError, match="A state dict is needed|besides tensors"):
        load_weights(Net(), tmp_path / "text.pt")
    with pytest.raises(bsnn.StorageError, match="do not exist"):
        load_weights(Net(), tmp_path / "nowhere.pt")


def test_lightning_into_the_task_itself(tmp_path):
    """The keys of a task fit the task: nothing is taken off."""
    task = Task()
    torch.save({"state_dict": task.state_dict()}, tmp_path / "net.ckpt")
    said = load_weights(Task(), tmp_path / "net.ckpt")
    assert said == ["net.ckpt: the weights are those under 'state_dict'."]
