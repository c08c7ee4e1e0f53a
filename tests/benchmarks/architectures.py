"""Which of the classification models of torchvision and timm bsnn converts, and how exactly.

Needs torchvision and timm (pip install torchvision timm), and up to 20 GB for the largest models.
Weights are random and BatchNorm's statistics are those that training might give: nothing is
downloaded. For each model, at its own input size, it prints a line of JSON with the largest
difference from PyTorch's results, relative to the largest of them, of the graph and of the network
that each coding simulates; or why it is refused.

    python tests/benchmarks/architectures.py resnet18 timm:regnetx_002
    python tests/benchmarks/architectures.py torchvision    # all of torchvision
    python tests/benchmarks/architectures.py timm           # the smallest of each family of timm
"""

# pyright: reportMissingImports=false
from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Iterator

import numpy as np
import timm
import torch
import torchvision
from torch import nn

import bsnn


def made(name: str) -> tuple[nn.Module, tuple[int, ...]]:
    """Make a model with statistics, and say which images it takes."""
    torch.manual_seed(0)
    if name.startswith("timm:"):
        net = timm.create_model(name.removeprefix("timm:"))
        shape = tuple(net.default_cfg["input_size"])
    else:
        options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
        net = torchvision.models.get_model(name, weights=None, **options)
        size = 299 if name == "inception_v3" else 224
        shape = (3, size, size)
    for module in net.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats:
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            if module.affine:
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias, 0, 0.1)
    return net.eval(), shape


def smallest_of_each_family() -> Iterator[str]:
    """Name the model with the fewest parameters of each of timm's modules."""
    for family in sorted(timm.list_modules()):
        sizes = {}
        for name in timm.list_models(module=family):
            try:
                with torch.device("meta"):
                    sizes[name] = sum(p.numel() for p in timm.create_model(name).parameters())
            except (NotImplementedError, RuntimeError):
                # what it is made with needs values
                continue
        if sizes:
            yield "timm:" + min(sizes, key=lambda name: sizes[name])


def converted(name: str) -> dict:
    """Convert a model, and compare it with itself in PyTorch."""
    net, shape = made(name)
    start = time.perf_counter()
    found: dict = {"model": name, "shape": shape}
    try:
        graph = bsnn.from_torch(net, shape)
    except bsnn.ConversionError as error:
        return {**found, "refused": str(error)}
    found["layers"] = len(graph)
    images = torch.rand(1, *shape)
    with torch.no_grad():
        expected = net(images).numpy()

    def error(network: bsnn.Graph) -> float:
        difference = np.abs(network.forward(images.numpy()) - expected).max()
        return float(difference / np.abs(expected).max())

    found["graph"] = error(graph)
    for coding in ("ttfs", "rate"):
        try:
            model = bsnn.convert(graph, images.numpy(), coding=coding)
        except bsnn.ConversionError as refusal:
            found[coding] = str(refusal)
        else:
            found[coding] = error(model.graph)
            found["populations"] = len(model.populations)
    return {**found, "seconds": round(time.perf_counter() - start, 1)}


def main() -> None:
    wanted = sys.argv[1:] or ["torchvision", "timm"]
    for what in wanted:
        names = {
            "torchvision": lambda: iter(torchvision.models.list_models(torchvision.models)),
            "timm": smallest_of_each_family,
        }.get(what, lambda what=what: iter([what]))()
        for name in names:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                print(json.dumps(converted(name)), flush=True)


if __name__ == "__main__":
    main()
