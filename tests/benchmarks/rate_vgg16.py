"""Rate coding at real size: VGG-16 at full width, 2,500 steps, beside PyTorch step by step.

    python tests/benchmarks/rate_vgg16.py --data path/to/data --json rate_vgg16.json

The network of Sengupta et al. (2019) with random weights, on test images of CIFAR-10, with signed
Bernoulli input and reset to zero. What it costs to simulate depends on how often neurons spike:
thresholds from the data are multiplied by each of several factors, which divides the rates. Both
programs compute in single precision on one thread. PyTorch shows a batch of images for fewer steps,
each of which takes as long as any other, and its time is multiplied up to the steps of bsnn.
"""

from __future__ import annotations

import dataclasses
import json
import os
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table

import bsnn
from bsnn.benchmark import checkout_module
from bsnn.benchmark.usage import launch_command, peak_mb, read_usage
from bsnn.conversion import RateModel
from bsnn.networks.sengupta_2019.network import Vgg16

#: Images that PyTorch simulates at once.
BATCH = 16


def random_vgg16(width: float, seed: int) -> bsnn.Graph:
    """Return VGG-16 with random weights that keep the size of activations from layer to layer."""
    torch.manual_seed(seed)
    net = Vgg16(width)
    with torch.no_grad():
        for parameter in net.parameters():
            fan_in = parameter[0].numel()
            parameter.normal_(0, np.sqrt(2 / fan_in))
    return bsnn.from_torch(net, (3, 32, 32), mean=(0.49, 0.48, 0.45), std=(0.25, 0.24, 0.26))


def measure_torch(model: RateModel, images: np.ndarray, steps: int, of_steps: int) -> float:
    """Return CPU seconds for an image of `of_steps` steps."""
    batch = np.resize(images, (BATCH, *images.shape[1:]))
    program = checkout_module("torch_rate").TorchRate(model)
    program.run(batch, 2)
    started = time.process_time()
    program.run(batch, steps)
    return (time.process_time() - started) / BATCH * of_steps / steps


def measure_bsnn(model: RateModel, images: np.ndarray, folder: Path) -> dict[str, float]:
    """Return CPU seconds an image and the peak memory of building and of the binary."""
    import brian2 as b2

    report = folder / "usage.jsonl"
    before = b2.prefs["devices.cpp_standalone.run_cmd_unix"]
    b2.prefs["devices.cpp_standalone.run_cmd_unix"] = [*launch_command(report), "./main"]
    try:
        result = bsnn.simulate(
            model,
            images,
            device="cpp",
            precision="float32",
            chunk=len(images),
            directory=folder / "code",
            progress=False,
        )
    finally:
        b2.prefs["devices.cpp_standalone.run_cmd_unix"] = before
    usage = read_usage(report)
    return {
        "cpu_seconds": usage.cpu_seconds / len(images),
        "peak_mb": usage.peak_mb,
        "spikes_per_neuron": result.spikes_per_neuron,
        "operations": result.synaptic_operations,
        "operations_per_mac": result.operations_per_mac,
    }


def main(
    data: Annotated[Path | None, typer.Option(help="Folder with CIFAR-10.")] = None,
    images: Annotated[int, typer.Option(min=1)] = 2,
    steps: Annotated[int, typer.Option(min=1)] = 2500,
    torch_steps: Annotated[int, typer.Option(min=1)] = 10,
    factors: Annotated[str, typer.Option(help="Of the thresholds.")] = "0.25,1,4,16,64",
    width: Annotated[float, typer.Option(help="Factor of all channels.")] = 1.0,
    seed: int = 0,
    json_file: Annotated[Path | None, typer.Option("--json")] = None,
) -> None:
    """Measure, print, write JSON."""
    import tempfile

    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
    console = Console(width=110)
    graph = random_vgg16(width, seed)
    test = bsnn.datasets.load("cifar10", "test", data).exact().first(images).images
    base = bsnn.convert_to_rate(
        graph, test, norm="data-based", encoder="poisson", reset="zero", steps=steps
    )
    torch_seconds = measure_torch(base, test, torch_steps, steps)
    rows = []
    for factor in map(float, factors.split(",")):
        scales = {
            name: scale * (1 if name == base.input.name else factor)
            for name, scale in base.scales.items()
        }
        with tempfile.TemporaryDirectory() as folder:
            found = measure_bsnn(dataclasses.replace(base, scales=scales), test, Path(folder))
        rows.append({"factor": factor, **found, "ratio": torch_seconds / found["cpu_seconds"]})
        console.print(f"thresholds times {factor:g}: {found['cpu_seconds']:.2f} s an image")
    table = Table(
        title=f"VGG-16, width {width:g}, {steps:,} steps, one thread: CPU seconds an image "
        f"(PyTorch {torch_seconds:.1f} s at any rate), peak memory of the simulation",
        title_justify="left",
    )
    for column in (
        "thresholds times", "spikes a neuron", "a neuron and step", "operations per MAC", "bsnn s",
        "PyTorch / bsnn", "peak MB",
    ):  # fmt: skip
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(
            f"{row['factor']:g}",
            f"{row['spikes_per_neuron']:.1f}",
            f"{row['spikes_per_neuron'] / steps:.4f}",
            f"{row['operations_per_mac']:.2f}",
            f"{row['cpu_seconds']:.2f}",
            f"{row['ratio']:.1f}",
            f"{row['peak_mb']:,.0f}",
        )
    console.print(table)
    whole = peak_mb()
    console.print(f"Peak of this process, with conversion, building and PyTorch: {whole:,.0f} MB")
    if json_file is not None:
        content = {
            "width": width,
            "steps": steps,
            "torch_cpu_seconds": torch_seconds,
            "peak_mb_of_everything": whole,
            "rows": rows,
        }
        json_file.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
