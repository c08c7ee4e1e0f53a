"""The same network in PyTorch, simulated step by step on batches of images.

What one writes without Brian2 and without events: in every step of every window each layer is
applied to the spikes of that step, whether there are many or none.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import numpy as np

from bsnn.benchmark import Case, Outcome, System, run_here
from bsnn.conversion import Population, SpikingModel
from bsnn.conversion.time_code import pixel_levels, reached_scale
from bsnn.errors import BuildError
from bsnn.graph import Conv2d, Flatten, Linear

__all__ = ["TimeStepped", "TorchTimeStepped"]

# PyTorch needs most time an image with much smaller batches, and with larger ones that leave the
# caches.
BATCH = 50


class TimeStepped:
    """A chain of convolutions, max-poolings and dense layers, in float32.

    Parameters
    ----------
    model : SpikingModel
        Read out by potential.
    device : str
        Of PyTorch, such as ``"cpu"`` or ``"cuda"``.

    Attributes
    ----------
    events : int
        Synaptic events of all batches so far.

    Raises
    ------
    BuildError
        The model is another kind of network.
    """

    def __init__(self, model: SpikingModel, device: str = "cpu") -> None:
        import torch

        self._torch = torch
        self._device = torch.device(device)
        self._model = model
        if model.read_out != "potential":
            raise BuildError("The time-stepped network is read out by potential only.")
        self.events = 0
        #: for each window: the poolings that the spikes pass, the neurons and their linear layers
        self._windows: list[tuple[list, Population, list]] = []
        pools: list = []
        before = model.input.name
        for population in list(model.populations.values())[1:]:
            if [path.source for path in population.projections] != [before]:
                raise BuildError(
                    f"The time-stepped network is a chain; {population.name!r} does not read "
                    f"{before!r} only."
                )
            before = population.name
            if population.role == "max_pool":
                pools.append(model.graph[population.layer])
            else:
                path = population.projections[0]
                linear = [self._linear(model.graph[name]) for name in path.layers]
                self._windows.append((pools, population, linear))
                pools = []
        self._rest = {
            name: self._tensor(model.bias(name).astype(np.float32))
            for name, population in model.populations.items()
            if population.role in ("neurons", "read_out")
        }
        self._fan_out = {
            path.source: self._tensor(_fan_out(model, path.layers, path.source))
            for population in model.populations.values()
            for path in population.projections
            if path.layers
        }

    def _tensor(self, array: np.ndarray):
        return self._torch.from_numpy(np.ascontiguousarray(array)).to(self._device)

    def _linear(self, layer):
        """Return a layer without its bias as a function of a tensor."""
        functional = self._torch.nn.functional
        if isinstance(layer, Conv2d):
            weight = self._tensor(layer.weight)
            top, bottom, left, right = layer.padding
            if (top, left) == (bottom, right):
                padding = (top, left)
                return lambda x: functional.conv2d(
                    x, weight, None, layer.stride, padding, layer.dilation, layer.groups
                )
            sides = (left, right, top, bottom)
            return lambda x: functional.conv2d(
                functional.pad(x, sides), weight, None, layer.stride, 0, layer.dilation,
                layer.groups,
            )  # fmt: skip
        if isinstance(layer, Linear):
            weight = self._tensor(layer.weight)
            return lambda x: functional.linear(x, weight)
        if isinstance(layer, Flatten):
            return lambda x: x.flatten(1)
        raise BuildError(f"The time-stepped network has no rule for {layer.name!r} ({layer.kind}).")

    def run(self, images: np.ndarray) -> np.ndarray:
        """Simulate one batch; return the potentials of the last layer."""
        with self._torch.inference_mode():
            return self._run(images)

    def _run(self, images: np.ndarray) -> np.ndarray:
        torch, model = self._torch, self._model
        functional, steps = torch.nn.functional, model.steps
        scale = model.scales[model.input.name]
        # a pixel charges its neuron like a potential
        charge = self._tensor(pixel_levels(images, scale, steps, model.rounding))
        threshold = float(steps)
        for pools, population, linear in self._windows:
            u = self._rest[population.name].expand(len(images), *population.shape).clone()
            slope = torch.zeros_like(u)
            spiked = None
            for step in range(steps):
                # a constant current reaches the threshold from zero in one window: after `step`
                # steps, what has the rest of the threshold has spiked
                now = (charge >= threshold * ((steps - step) / steps)).float()
                for pool in pools:
                    now = functional.max_pool2d(
                        now, pool.kernel, pool.stride, pool.padding, pool.dilation, pool.ceil_mode
                    )
                spikes = now if spiked is None else now - spiked
                spiked = now
                for apply in linear:
                    spikes = apply(spikes)
                slope += spikes
                u.add_(slope, alpha=scale / steps)
            fan_out = self._fan_out[population.projections[0].source]
            self.events += int((spiked.double() * fan_out).sum())
            charge = u
            scale = model.scales[population.name]
            threshold = reached_scale(scale)
        return charge.cpu().numpy()


def _fan_out(model: SpikingModel, layers: tuple[str, ...], source: str) -> np.ndarray:
    """Connections of each neuron of a population to the next layer with weights."""
    shape = model.populations[source].shape
    (layer,) = (model.graph[name] for name in layers if not isinstance(model.graph[name], Flatten))
    if isinstance(layer, Linear):
        return np.full(shape, float(len(layer.weight)))
    rows, columns = (
        np.bincount(taps[taps >= 0], minlength=size)
        for taps, size in zip(layer.taps(*shape[1:]), shape[1:], strict=True)
    )
    targets = len(layer.weight) // layer.groups
    return np.broadcast_to(np.outer(rows, columns) * float(targets), shape).copy()


class TorchTimeStepped(System):
    """The time-stepped network as a system under test.

    Parameters
    ----------
    name, about : str
        See `System`.
    threads : int
    """

    def __init__(self, name: str, about: str, threads: int) -> None:
        self.name = name
        self.about = about
        self._threads = threads

    def missing(self) -> str | None:
        if importlib.util.find_spec("torch") is None:
            return "PyTorch is not installed (pip install 'bsnn[torch]')"
        return None

    def prepare(self, case: Case, folder: Path) -> None:
        import torch

        torch.set_num_threads(self._threads)
        self._case = case
        self._network = TimeStepped(case.model)
        # the first batch makes PyTorch choose its kernels
        self._network.run(case.images[:BATCH])

    def run(self) -> Outcome:
        images = self._case.images
        potentials: list[np.ndarray] = []
        self._network.events = 0

        def simulate() -> None:
            for first in range(0, len(images), BATCH):
                potentials.append(self._network.run(images[first : first + BATCH]))

        usage = run_here(simulate)
        return Outcome(usage, np.concatenate(potentials).argmax(axis=1), self._network.events)


SYSTEMS = (
    TorchTimeStepped("torch_time_stepped", "PyTorch, step by step, batches of 50, 1 thread", 1),
    TorchTimeStepped(
        "torch_all_threads",
        "the same, as many threads as cores",
        os.cpu_count() or 1,
    ),
)
