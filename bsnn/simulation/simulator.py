"""Presenting many images to a spiking network and collecting what it did."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

from bsnn.brian.builder import build
from bsnn.brian.devices import active_device, start, use_device
from bsnn.brian.network import SpikingNetwork
from bsnn.conversion import SpikingModel
from bsnn.conversion.time_code import decode
from bsnn.errors import SimulationError
from bsnn.graph import count
from bsnn.progress import progress_bar
from bsnn.simulation.result import PopulationResult, Result
from bsnn.storage import versions

__all__ = ["Interrupted", "simulate"]

# Images for which all activations of the trained network are in memory at once.
_ANN_BATCH = 50


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during a simulation.

    Attributes
    ----------
    result : Result or None
        Of the images that were done; None if there were none.
    """

    def __init__(self, result: Result | None) -> None:
        super().__init__("simulation interrupted")
        self.result = result


def simulate(
    network: SpikingModel | SpikingNetwork,
    images: np.ndarray,
    labels: np.ndarray | None = None,
    *,
    device: str | None = None,
    form: str = "event",
    chunk: int = 500,
    directory: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> Result:
    """Simulate a spiking network on images and compare it with the trained network.

    Parameters
    ----------
    network : SpikingModel or SpikingNetwork
        A model is built here, on `device`. A network that you have built yourself, and perhaps
        changed, is run as it is on the device that it was built on.
    images : numpy.ndarray
        Shape ``(n, *input_shape)``, values from 0 to the input's scale.
    labels : numpy.ndarray, optional
        True classes, shape ``(n,)``.
    device : str, optional
        ``"runtime"`` or ``"cpp"`` (C++ standalone). By default the one that is active.
    form : str
        Form of the neuron, if a model is built here.
    chunk : int
        Images in one run, if a model is built here. It bounds the memory for recorded spikes and
        does not change results.
    directory : path, optional
        Where generated code goes; kept, so that a later build of the same network is short. By
        default a temporary folder.
    progress : bool
        Show a progress bar.

    Returns
    -------
    Result

    Raises
    ------
    SimulationError
        The images or labels do not fit the network.
    BuildError
        The network cannot be built or compiled.
    Interrupted
        On Ctrl-C; holds the result of the images that were done.
    """
    images = np.asarray(images)
    if not len(images):
        raise SimulationError("There are no images to simulate.")
    if labels is not None and len(labels) != len(images):
        raise SimulationError(f"There are {len(images)} images but {len(labels)} labels.")
    folder = None if directory is None else Path(directory)
    with ExitStack() as stack:
        stack.enter_context(_interrupts_at_once())
        started = time.perf_counter()
        if isinstance(network, SpikingNetwork):
            net = network
            if device not in (None, active_device()):
                raise SimulationError(
                    f"The network was built on the device {active_device()!r}, not on {device!r}. "
                    "Give the model instead, or leave device out."
                )
        else:
            if device is not None:
                folder = stack.enter_context(use_device(device, folder)) or folder
            net = build(network, images=min(chunk, len(images)), form=form)
        for name in net.model.populations:
            if net.model.spikes(name) and "spikes" not in net.monitors.get(name, {}):
                net.monitor(name, "spikes")
        runner = start(net, folder)
        collected = _Collected(net, images, labels)
        collected.build_seconds = time.perf_counter() - started
        with progress_bar(disable=not progress) as bar:
            task = bar.add_task("simulating", total=len(images))
            try:
                for first in range(0, len(images), net.capacity):
                    part = images[first : first + net.capacity]
                    started = time.perf_counter()
                    runner.run(part)
                    collected.run_seconds += time.perf_counter() - started
                    collected.add(part)
                    bar.advance(task, len(part))
            except KeyboardInterrupt:
                raise Interrupted(collected.result() if collected.done else None) from None
        return collected.result()


@contextmanager
def _interrupts_at_once() -> Iterator[None]:
    """Let Ctrl-C raise KeyboardInterrupt for the duration of a block.

    Brian2 takes it as the wish to end the run in progress early and to go on after it. Among many
    runs that would leave the images of one with results of half a run.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class _Collected:
    """Sums up chunk after chunk."""

    def __init__(self, net: SpikingNetwork, images: np.ndarray, labels: np.ndarray | None) -> None:
        self._net = net
        self._labels = labels
        self.done = 0
        self.build_seconds = self.run_seconds = 0.0
        outputs = net.model.output.size
        self._potentials = np.zeros((len(images), outputs))
        self._predictions = np.zeros(len(images), dtype=np.int64)
        self._ann_predictions = np.zeros(len(images), dtype=np.int64)
        spiking = [name for name in net.model.populations if net.model.spikes(name)]
        self._spikes = {name: np.zeros(len(images), dtype=np.int64) for name in spiking}
        self._operations = {name: np.zeros(len(images), dtype=np.int64) for name in spiking}
        self._squared_error = dict.fromkeys(net.model.populations, 0.0)

    def add(self, images: np.ndarray) -> None:
        """Read the monitors after a run that presented `images`."""
        net, model = self._net, self._net.model
        here = slice(self.done, self.done + len(images))
        potentials = net.read_potentials()[: len(images)].reshape(len(images), -1)
        self._potentials[here] = potentials
        found: dict[str, np.ndarray] = {}
        for name in self._spikes:
            level = net.recorded_levels(name)[: len(images)]
            spiked = level.reshape(len(images), -1) > 0
            fan_out = net.to_layer(name, net.fan_out.get(name, np.zeros(spiked.shape[1]))[None])
            self._spikes[name][here] = spiked.sum(axis=1)
            self._operations[name][here] = spiked @ fan_out.reshape(-1).astype(np.int64)
            found[name] = decode(level, model.scales[name], model.steps)
        output = model.output.name
        self._predictions[here] = _classes(potentials, found.get(output))
        found.setdefault(output, potentials.reshape(-1, *model.output.shape))
        self._compare(images, found, here)
        self.done += len(images)

    def _compare(self, images: np.ndarray, found: dict[str, np.ndarray], here: slice) -> None:
        model = self._net.model
        for first in range(0, len(images), _ANN_BATCH):
            batch = slice(first, first + _ANN_BATCH)
            exact = model.graph.activations(images[batch])
            for name, population in model.populations.items():
                # a read-out's potentials are compared before a last rectification
                is_potential = not model.spikes(name)
                layer = population.potential_layer if is_potential else population.layer
                wanted = exact[layer]
                if population.role == "read_out" and not is_potential:
                    wanted = np.maximum(wanted, 0)
                error = found[name][batch] - wanted
                self._squared_error[name] += float(np.square(error, dtype=np.float64).sum())
            logits = exact[model.output.potential_layer]
            self._ann_predictions[here][batch] = logits.reshape(len(logits), -1).argmax(axis=1)

    def result(self) -> Result:
        """Return the result of the images that are done."""
        net, model, done = self._net, self._net.model, self.done
        cost = count(model.graph)
        populations = {
            name: PopulationResult(
                role=population.role,
                neurons=population.size,
                spikes=self._spikes[name][:done] if name in self._spikes else None,
                operations=self._operations[name][:done] if name in self._operations else None,
                rmse=float(np.sqrt(self._squared_error[name] / (done * population.size))),
            )
            for name, population in model.populations.items()
        }
        return Result(
            predictions=self._predictions[:done],
            ann_predictions=self._ann_predictions[:done],
            labels=None if self._labels is None else np.asarray(self._labels)[:done],
            potentials=self._potentials[:done],
            populations=populations,
            steps_per_window=model.steps,
            ann_macs=cost.macs,
            ann_flops=cost.flops,
            device=active_device(),
            form=net.form.name,
            build_seconds=self.build_seconds,
            run_seconds=self.run_seconds,
            versions=versions(),
        )


def _classes(potentials: np.ndarray, spikes: np.ndarray | None) -> np.ndarray:
    """Class with the earliest spike; among equals, or without spikes, that of most potential."""
    if spikes is None:
        return potentials.argmax(axis=1)
    values = spikes.reshape(len(spikes), -1)
    earliest = values == values.max(axis=1, keepdims=True)
    return np.where(earliest, potentials, -np.inf).argmax(axis=1)
