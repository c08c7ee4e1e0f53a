"""The event-driven C++ program: its input written, itself compiled and run, its output read."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
from pathlib import Path

import numpy as np

from bsnn.benchmark import Case, Outcome, System, Usage, run_program
from bsnn.conversion import Population, SpikingModel
from bsnn.conversion.time_code import pixel_levels, reached_scale
from bsnn.errors import BuildError, SimulationError
from bsnn.graph import Conv2d, Flatten, Linear

__all__ = ["EventDrivenCpp", "EventDrivenRun", "Simulation"]

SOURCE = Path(__file__).with_name("event_driven.cpp")
FLAGS = ("-O3", "-march=native", "-std=c++17")

_ROLES = {"input": 0, "convolution": 1, "dense": 2, "max_pool": 3}


@dataclasses.dataclass(frozen=True)
class EventDrivenRun:
    """What the program found.

    Attributes
    ----------
    usage : Usage
        Of the whole process, reading and writing included.
    loop_cpu_seconds, loop_wall_seconds : float
        Of the simulation alone, by the program's own clock.
    potentials : numpy.ndarray
        Of the last layer, shape ``(images, classes)``, float32.
    spikes, operations : dict of str to numpy.ndarray
        By population, for each image.
    """

    usage: Usage
    loop_cpu_seconds: float
    loop_wall_seconds: float
    potentials: np.ndarray
    spikes: dict[str, np.ndarray]
    operations: dict[str, np.ndarray]


class Simulation:
    """A model written for the program, and the program compiled.

    Parameters
    ----------
    model : SpikingModel
        A chain of convolutions (without dilation or groups), max-poolings and dense layers, read
        out by potential.
    folder : path
        Where files go.

    Raises
    ------
    BuildError
        The model is another kind of network, or the compiler failed.
    """

    def __init__(self, model: SpikingModel, folder: Path) -> None:
        self._model = model
        self._network = folder / "network.bin"
        self._images = folder / "images.bin"
        self._results = folder / "results.bin"
        self._report = folder / "usage.jsonl"
        self._program = folder / "event_driven"
        self._network.write_bytes(_network_bytes(model))
        found = subprocess.run(
            ["g++", *FLAGS, str(SOURCE), "-o", str(self._program)],
            capture_output=True,
            text=True,
            check=False,
        )
        if found.returncode:
            raise BuildError(f"{SOURCE.name} does not compile:\n{found.stderr}")

    def present(self, images: np.ndarray) -> None:
        """Choose the images of the next runs."""
        model = self._model
        levels = pixel_levels(
            model.graph.check_images(images),
            model.scales[model.input.name],
            model.steps,
            model.rounding,
        )
        self._count = len(images)
        pixels = _channel_last(levels).astype("<u2")
        self._images.write_bytes(np.int32(len(images)).tobytes() + pixels.tobytes())

    def run(self) -> EventDrivenRun:
        """Simulate the images in a process of its own."""
        usage = run_program(
            [self._program, self._network, self._images, self._results], self._report
        )
        model, count = self._model, self._count
        names = list(model.populations)
        outputs = model.output.size
        content = self._results.read_bytes()
        sizes = [16, 4 * count * outputs, 8 * count * len(names), 8 * count * len(names)]
        if len(content) != sum(sizes):
            raise SimulationError(
                f"{self._results} has {len(content)} bytes; {sum(sizes)} are expected."
            )
        ends = np.cumsum(sizes)
        times, potentials, spikes, operations = (
            np.frombuffer(content[end - size : end], kind)
            for end, size, kind in zip(ends, sizes, ("<f8", "<f4", "<i8", "<i8"), strict=True)
        )
        return EventDrivenRun(
            usage=usage,
            loop_cpu_seconds=float(times[0]),
            loop_wall_seconds=float(times[1]),
            potentials=potentials.reshape(count, outputs),
            spikes=dict(zip(names, spikes.reshape(count, -1).T, strict=True)),
            operations=dict(zip(names, operations.reshape(count, -1).T, strict=True)),
        )


def _network_bytes(model: SpikingModel) -> bytes:
    if model.read_out != "potential":
        raise BuildError(
            "event_driven.cpp reads out potentials; convert with read_out='potential'."
        )
    if model.steps > 65535:
        raise BuildError(f"event_driven.cpp counts up to 65535 steps; the model has {model.steps}.")
    parts = [np.array([model.steps, len(model.populations)], "<i4").tobytes()]
    before = None
    for name, population in model.populations.items():
        parts.append(_population_bytes(model, population, before))
        before = name
    return b"".join(parts)


def _population_bytes(model: SpikingModel, population: Population, before: str | None) -> bytes:
    name = population.name
    if [path.source for path in population.projections] != ([] if before is None else [before]):
        raise BuildError(f"event_driven.cpp simulates chains; {name!r} does not read {before!r}.")
    layer = None if population.role == "input" else _weighted_layer(model, population)
    kinds = {Conv2d: "convolution", Linear: "dense"}
    role = population.role if population.role in _ROLES else kinds[type(layer)]
    channels, height, width = population.shape if len(population.shape) == 3 else (
        population.size, 1, 1,
    )  # fmt: skip
    if max(channels, height * width) > 65536:
        raise BuildError(f"event_driven.cpp numbers 65536 channels or positions; see {name!r}.")
    spikes = model.spikes(name)
    raise_, lower = (
        (model.steps / reached_scale(model.scales[name]), model.scales[name] / model.steps)
        if spikes
        else (0, 0)
    )
    parts = [
        np.array([_ROLES[role], height, width, channels, spikes], "<i4"),
        np.array([raise_, lower], "<f4"),
    ]
    if role in ("convolution", "max_pool"):
        pad = (layer.padding[0], layer.padding[2]) if role == "convolution" else layer.padding
        parts.append(np.array([*layer.kernel, *layer.stride, *pad], "<i4"))
    if role in ("convolution", "dense"):
        rest = model.bias(name).reshape(channels, -1)
        source = model.populations[population.projections[0].source]
        weight = _taps(layer) if role == "convolution" else _by_source(layer, source)
        # a convolution's bias is that of its channel
        parts += [rest[:, 0].astype("<f4"), np.ascontiguousarray(weight, "<f4")]
    return b"".join(part.tobytes() for part in parts)


def _weighted_layer(model: SpikingModel, population: Population):
    if population.role == "max_pool":
        layer = model.graph[population.layer]
        if layer.dilation != (1, 1):
            raise BuildError(f"event_driven.cpp has no dilation, which {layer.name!r} has.")
        return layer
    layers = [model.graph[name] for name in population.projections[0].layers]
    weighted = [layer for layer in layers if not isinstance(layer, Flatten)]
    if len(weighted) != 1 or not isinstance(weighted[0], (Conv2d, Linear)):
        kinds = ", ".join(layer.kind for layer in layers)
        raise BuildError(
            f"event_driven.cpp knows one convolution or dense layer between two populations; "
            f"before {population.name!r} there are: {kinds or 'none'}."
        )
    (layer,) = weighted
    if isinstance(layer, Conv2d) and (layer.dilation != (1, 1) or layer.groups != 1):
        raise BuildError(f"event_driven.cpp has no dilation or groups, which {layer.name!r} has.")
    return layer


def _taps(layer: Conv2d) -> np.ndarray:
    """Kernel as [source channel][row][column][channel], its taps in the order of their targets.

    A source position uses every stride-th tap; those of one phase lie together, the last first.
    """
    weight = layer.weight.transpose(1, 2, 3, 0)
    for axis, stride in zip((1, 2), layer.stride, strict=True):
        order = [
            tap
            for phase in range(stride)
            for tap in reversed(range(phase, weight.shape[axis], stride))
        ]
        weight = weight.take(order, axis=axis)
    return weight


def _by_source(layer: Linear, source: Population) -> np.ndarray:
    """Weights as [source neuron, channel last][channel]."""
    by_value = layer.weight.reshape(-1, *source.shape)
    return np.moveaxis(_channel_last(by_value), 0, -1)


def _channel_last(values: np.ndarray) -> np.ndarray:
    return np.moveaxis(values, 1, -1) if values.ndim == 4 else values


class EventDrivenCpp(System):
    """The program as a system under test."""

    name = "event_driven_cpp"
    about = "event-driven C++ written for such networks, one core"

    def missing(self) -> str | None:
        return None if shutil.which("g++") else "g++ is not installed"

    def prepare(self, case: Case, folder: Path) -> None:
        self._simulation = Simulation(case.model, folder)
        self._simulation.present(case.images)

    def run(self) -> Outcome:
        found = self._simulation.run()
        events = sum(int(operations.sum()) for operations in found.operations.values())
        return Outcome(found.usage, found.potentials.argmax(axis=1), events)
