"""Measuring networks on a GPU: generated CUDA, and PyTorch step by step on the same GPU."""

from __future__ import annotations

import dataclasses
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import brian2 as b2
import numpy as np

import bsnn
from bsnn.benchmark.registry import checkout_module
from bsnn.conversion import SpikingModel
from bsnn.devices import start, use_device
from bsnn.devices.cuda.usage import MemoryWatch
from bsnn.errors import SettingsError
from bsnn.network import build
from bsnn.registry import Registry
from bsnn.simulation.reader import Reader

__all__ = ["GPU_NETWORKS", "GpuNetwork", "GpuRow", "measure_on_gpu"]

_MIB = 2**20

# Objects whose times are reported, those that take most.
_LONGEST = 8

# Thresholds of VGG-16 over those that its activations give: its neurons then spike about nine times
# in 2,500 steps, as those of a trained network do.
_ACTIVITY = 16.0

# Images from which the thresholds of a network with random weights are taken.
_CALIBRATION = 16


@dataclasses.dataclass(frozen=True, eq=False)
class GpuNetwork:
    """A network to be measured.

    Attributes
    ----------
    name, about : str
        In the table, and in a sentence.
    model : SpikingModel
        What is simulated.
    images : numpy.ndarray
        Shape ``(n, *input_shape)``.
    labels : numpy.ndarray or None
        True classes; None where weights or images are random.
    """

    name: str
    about: str
    model: SpikingModel
    images: np.ndarray
    labels: np.ndarray | None


@dataclasses.dataclass(frozen=True)
class GpuRow:
    """The figures of one network with one program.

    Attributes
    ----------
    network, program : str
        Names.
    images, batch, steps : int
        Images of a round, those side by side, and steps of each.
    build_seconds : float or None
        Generation and compilation; None if there is none.
    seconds : float
        Median over the rounds, of all images: for bsnn from the start of the program to its end.
    images_per_second : float
        From `seconds`.
    gpu_mb : float
        Most memory of the GPU, in MiB; 0 if the driver does not tell.
    accuracy : float or None
        Fraction of images classified as labelled.
    longest : dict of str to float
        Seconds that the objects took which took most, in a run in which the host waited for each
        (Brian2's ``profile=True``): where the time goes, more than how much it is.
    """

    network: str
    program: str
    images: int
    batch: int
    steps: int
    build_seconds: float | None
    seconds: float
    images_per_second: float
    gpu_mb: float
    accuracy: float | None
    longest: dict[str, float]


def _mnist(shipped: Path, data: Path | None, images: int) -> GpuNetwork:
    model = bsnn.load_model(shipped)
    test = (
        bsnn.datasets.mnist_sample() if data is None else bsnn.datasets.load("mnist", "test", data)
    )
    test = test.first(images)
    model = dataclasses.replace(model, steps=32)
    return GpuNetwork("mnist", "CNN of López-Randulfe et al., time to first spike", model,
                      test.images, test.labels)  # fmt: skip


def _resnet20(shipped: Path, data: Path | None, images: int) -> GpuNetwork:
    model = bsnn.load_model(shipped)
    return GpuNetwork("resnet20", "ResNet-20 of Sengupta et al., rate coding", model,
                      *_cifar10(data, images))  # fmt: skip


def _vgg16(_: None, data: Path | None, images: int) -> GpuNetwork:
    module = checkout_module("rate_vgg16")
    if module is None:
        raise SettingsError("its weights are made by bsnn's source checkout, with PyTorch")
    shown = _cifar10(data, images)[0]
    model = bsnn.convert_to_rate(
        module.random_vgg16(1.0, 0), shown[:_CALIBRATION], norm="data-based", encoder="poisson",
        reset="zero", steps=2500,
    )  # fmt: skip
    scales = {
        name: scale * (1 if name == model.input.name else _ACTIVITY)
        for name, scale in model.scales.items()
    }
    model = dataclasses.replace(model, scales=scales)
    about = "VGG-16 at full width, random weights, rate coding"
    return GpuNetwork("vgg16", about, model, shown, None)


def _cifar10(data: Path | None, images: int) -> tuple[np.ndarray, np.ndarray | None]:
    if data is None:
        rng = np.random.default_rng(0)
        return rng.random((images, 3, 32, 32), dtype=np.float32), None
    test = bsnn.datasets.load("cifar10", "test", data).exact().first(images)
    return test.images, test.labels


#: By name, the function that makes a network (of the file of a converted one, or None; the folder
#: with data sets, or None; and the number of images), and how many images are measured by default.
GPU_NETWORKS: Registry[tuple[Callable[[Any, Path | None, int], GpuNetwork], int]] = Registry(
    "network to measure",
    {
        "mnist": (_mnist, 10_000),
        "resnet20": (_resnet20, 1000),
        "vgg16": (_vgg16, 500),
    },
)


def measure_on_gpu(
    names: Sequence[str],
    *,
    shipped: Mapping[str, Path],
    data: Path | None = None,
    images: int | None = None,
    batch: int | None = None,
    rounds: int = 3,
    report: Callable[[str], None] = lambda _: None,
) -> tuple[list[GpuRow], dict[str, str]]:
    """Measure networks on the GPU of this machine.

    Parameters
    ----------
    names : sequence of str
        From `GPU_NETWORKS`.
    shipped : mapping
        Files of converted networks by name: ``mnist`` and ``resnet20``.
    data : path, optional
        Folder with MNIST and CIFAR-10; without it the MNIST images that come with bsnn are shown,
        and noise in place of CIFAR-10.
    images, batch : int, optional
        Images of each network, and those side by side; by default as in `GPU_NETWORKS`, and 500.
    rounds : int
        How often all images are simulated.
    report : callable, optional
        Is told what is being done.

    Returns
    -------
    rows : list of GpuRow
    left_out : dict of str to str
        What could not be measured, and why.

    Raises
    ------
    SettingsError
        There is no such network.
    BuildError
        There is no GPU, or something that CUDA needs is missing.
    """
    rows: list[GpuRow] = []
    left_out: dict[str, str] = {}
    for name in names:
        make, usual = GPU_NETWORKS[name]
        report(f"{name}: making the network")
        try:
            network = make(shipped.get(name), data, images or usual)
        except SettingsError as error:
            left_out[name] = str(error)
            continue
        count = min(batch or 500, len(network.images))
        report(f"{name}: bsnn")
        rows.append(_measure_bsnn(network, count, rounds))
        report(f"{name}: PyTorch")
        try:
            rows.append(_measure_torch(network, count, rounds))
        except SettingsError as error:
            left_out[f"{name}, PyTorch step by step"] = str(error)
    return rows, left_out


def _measure_bsnn(network: GpuNetwork, batch: int, rounds: int) -> GpuRow:
    count, model = len(network.images), network.model
    numbers = np.arange(count)
    with tempfile.TemporaryDirectory(prefix="bsnn_bench_") as folder:
        with use_device("cuda", Path(folder) / "code") as directory:
            net = build(model, images=batch, batch=batch, precision="float32", name="")
            read = Reader(net)
            runner = start(net, directory)
            seconds, predictions = [], []
            with MemoryWatch() as watch:
                for number in range(rounds):
                    started = time.perf_counter()
                    for first in range(0, count, batch):
                        part = slice(first, min(first + batch, count))
                        runner.run(network.images[part], numbers[part])
                        if number == 0:
                            predictions.append(read.predictions(part.stop - first))
                    seconds.append(time.perf_counter() - started)
        with use_device("cuda", Path(folder) / "profiled") as directory:
            net = build(model, images=batch, batch=batch, precision="float32", name="")
            Reader(net)
            profiled = start(net, directory, profile=True)
            profiled.run(network.images[:batch], numbers[:batch])
            longest = sorted(net.network.profiling_info, key=lambda entry: -float(entry[1]))
    return _row(
        network,
        "bsnn, CUDA, float32",
        batch,
        seconds,
        np.concatenate(predictions),
        build_seconds=runner.build_seconds,
        gpu_mb=(watch.of_processes or watch.rise) / _MIB,
        longest={name: float(spent / b2.second) for name, spent in longest[:_LONGEST]},
    )


def _measure_torch(network: GpuNetwork, batch: int, rounds: int) -> GpuRow:
    module = checkout_module("torch_on_gpu")
    if module is None:
        raise SettingsError("it comes with bsnn's source checkout, and needs PyTorch")
    if not module.has_gpu():
        raise SettingsError("PyTorch is installed without CUDA, or sees no GPU")
    program = module.PROGRAMS[type(network.model)](network.model)
    parts = [network.images[k : k + batch] for k in range(0, len(network.images), batch)]
    seconds, predictions = [], np.empty(0, np.int64)
    # the first run chooses kernels
    module.run(program, parts[:1])
    for _ in range(rounds):
        started = time.perf_counter()
        predictions = np.concatenate(module.run(program, parts))
        seconds.append(time.perf_counter() - started)
    return _row(
        network,
        "PyTorch, step by step, float32",
        batch,
        seconds,
        predictions,
        build_seconds=None,
        gpu_mb=module.peak_bytes() / _MIB,
        longest={},
    )


def _row(
    network: GpuNetwork,
    program: str,
    batch: int,
    seconds: list[float],
    predictions: np.ndarray,
    **measured: Any,
) -> GpuRow:
    count, median = len(network.images), statistics.median(seconds)
    accuracy = None
    if network.labels is not None:
        accuracy = float((predictions == network.labels).mean())
    return GpuRow(
        network=network.name,
        program=program,
        images=count,
        batch=batch,
        steps=network.model.steps,
        seconds=median,
        images_per_second=count / median,
        accuracy=accuracy,
        **measured,
    )
