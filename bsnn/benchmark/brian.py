"""bsnn itself as a system under test: C++ standalone mode, with either kind of connectivity."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import brian2 as b2
import numpy as np

from bsnn.benchmark.system import Case, Outcome, System
from bsnn.benchmark.usage import launch_command, read_usage
from bsnn.brian.pooling import Windows
from bsnn.devices import start, use_device
from bsnn.network import SpikingNetwork, build

__all__ = ["BrianSystem"]

# Images in one run of the binary, as in `bsnn.simulate`.
_CHUNK = 1000


class BrianSystem(System):
    """A network built by `bsnn.build`, as a generated program.

    Parameters
    ----------
    name, about : str
        See `System`.
    **options
        For `bsnn.build`: ``connectivity``, ``form``, ``precision``.
    """

    def __init__(self, name: str, about: str, **options: Any) -> None:
        self.name = name
        self.about = about
        self._options = options
        self._open = ExitStack()

    def missing(self) -> str | None:
        if shutil.which("g++") is None or shutil.which("make") is None:
            return "g++ and make are not installed"
        return None

    def prepare(self, case: Case, folder: Path) -> None:
        self._case = case
        self._report = folder / "usage.jsonl"
        directory = self._open.enter_context(use_device("cpp", folder / "code"))
        self._net: Any = build(
            case.model, images=min(_CHUNK, len(case.images)), name="", **self._options
        )
        self._fan_out = _weighted_fan_out(self._net)
        for name in self._fan_out:
            self._net.monitor(name, "count")
        self._runner = start(self._net, directory)
        # what the binary uses is told apart from what this process does for it
        b2.prefs["devices.cpp_standalone.run_cmd_unix"] = [
            *launch_command(self._report), "./main",
        ]  # fmt: skip

    def run(self) -> Outcome:
        net, images = self._net, self._case.images
        predictions = np.empty(len(images), dtype=np.int64)
        events = 0
        for first in range(0, len(images), net.capacity):
            part = images[first : first + net.capacity]
            self._runner.run(part, np.arange(first, first + len(part)))
            potentials = net.read_potentials()[: len(part)]
            predictions[first : first + len(part)] = potentials.reshape(len(part), -1).argmax(1)
            for name, fan_out in self._fan_out.items():
                events += int(net.monitors[name]["count"].count[:].astype(np.int64) @ fan_out)
        return Outcome(read_usage(self._report), predictions, events)


def _weighted_fan_out(net: SpikingNetwork) -> dict[str, np.ndarray]:
    """Connections with weights of each neuron, by population that has any."""
    model = net.model
    found = {name: fan_out.copy() for name, fan_out in net.fan_out.items()}
    for population in model.populations.values():
        if population.role == "max_pool":
            source = model.populations[population.projections[0].source]
            windows = Windows(*model.graph[population.layer].taps(*source.shape[1:]))
            found[source.name] -= windows.fan_out(*source.shape)
    return {name: fan_out for name, fan_out in found.items() if fan_out.any()}
