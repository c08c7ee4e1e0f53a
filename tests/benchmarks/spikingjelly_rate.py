"""The same trained network converted by SpikingJelly to rate coding: another code, for context."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np

from bsnn.benchmark import Case, Outcome, System, run_here
from bsnn.errors import BuildError
from bsnn.graph import Conv2d, Flatten, Graph, Linear, MaxPool2d, ReLU

__all__ = ["SpikingJellyRate"]

STEPS = 100
BATCH = 50
# Images, without labels, from which SpikingJelly takes the scale of each layer.
CALIBRATION_IMAGES = 100


def torch_module(graph: Graph):
    """Return a chain of layers as a PyTorch module."""
    import torch
    from torch import nn

    modules: list[nn.Module] = []
    for layer in list(graph)[1:]:
        if isinstance(layer, Conv2d):
            top, bottom, left, right = layer.padding
            if (top, left) != (bottom, right):
                raise BuildError(
                    f"SpikingJelly converts no padding of its own, which {layer.name!r} would need "
                    "for different numbers of zeros on opposite sides."
                )
            out_channels, group_channels, *kernel = layer.weight.shape
            modules.append(
                nn.Conv2d(
                    group_channels * layer.groups, out_channels, tuple(kernel), layer.stride,
                    (top, left), layer.dilation, layer.groups, layer.bias is not None,
                )
            )  # fmt: skip
        elif isinstance(layer, Linear):
            outputs, inputs = layer.weight.shape
            modules.append(nn.Linear(inputs, outputs, bias=layer.bias is not None))
        elif isinstance(layer, MaxPool2d):
            modules.append(
                nn.MaxPool2d(
                    layer.kernel, layer.stride, layer.padding, layer.dilation,
                    ceil_mode=layer.ceil_mode,
                )
            )  # fmt: skip
        elif isinstance(layer, (ReLU, Flatten)):
            modules.append(nn.ReLU() if isinstance(layer, ReLU) else nn.Flatten())
        else:
            raise BuildError(f"No PyTorch module is known for {layer.name!r} ({layer.kind}).")
        for name, array in layer.arrays.items():
            getattr(modules[-1], name).data = torch.from_numpy(np.array(array))
    return nn.Sequential(*modules).eval()


class SpikingJellyRate(System):
    """SpikingJelly's conversion, simulated on batches with one thread."""

    name = "spikingjelly_rate"
    about = f"SpikingJelly ann2snn, rate coding, T = {STEPS}, batches of {BATCH}, 1 thread"
    code = "rate"
    most_images = 200

    def missing(self) -> str | None:
        for package in ("torch", "spikingjelly"):
            if importlib.util.find_spec(package) is None:
                return f"{package} is not installed"
        return None

    def prepare(self, case: Case, folder: Path) -> None:
        import torch
        from spikingjelly.activation_based import ann2snn

        torch.set_num_threads(1)
        self._images = torch.from_numpy(case.images)
        calibration = self._images[:CALIBRATION_IMAGES].split(BATCH)
        recipe = ann2snn.RateCodingRecipe(dataloader=calibration, mode="99.9%")
        self._network = ann2snn.FXConverter(recipe=recipe).convert(torch_module(case.model.graph))

    def run(self) -> Outcome:
        import torch
        from spikingjelly.activation_based import functional

        predictions: list[np.ndarray] = []

        def simulate() -> None:
            with torch.inference_mode():
                for batch in self._images.split(BATCH):
                    functional.reset_net(self._network)
                    total = self._network(batch)
                    for _ in range(STEPS - 1):
                        total = total + self._network(batch)
                    predictions.append(total.argmax(dim=1).numpy())

        usage = run_here(simulate)
        return Outcome(usage, np.concatenate(predictions))
