"""What a simulation costs on each device: the figures behind the estimates of `--dry-run`.

    python tests/benchmarks/device_costs.py --json device_costs.json

Simulates the MNIST network that is trained as in the paper and the one trained to be sparse, on the
images that come with bsnn, in interleaved rounds, and prints medians: time for building and for an
image, and the peak memory of the processes. From the two networks, which differ in their spikes
only, follow the costs of a synaptic operation and of a neuron in a step.
"""

from __future__ import annotations

import json
import multiprocessing
import resource
import statistics
import time
from pathlib import Path
from typing import Annotated

import brian2 as b2
import typer
from rich.console import Console
from rich.table import Table

import bsnn
from bsnn.network import estimate
from bsnn.networks import paper
from bsnn.simulation.duration import DEVICE_COSTS

MODELS = ("mnist_cnn", "mnist_cnn_sparse")


def measure(
    name: str, device: str, connectivity: str, images: int, results: multiprocessing.Queue
) -> None:
    """Simulate once, in a process of its own, and report time and peak memory."""
    model = bsnn.load_model(paper("lopez_randulfe_2022").SHIPPED[name])
    sample = bsnn.datasets.mnist_sample().first(images)
    started = time.perf_counter()
    result = bsnn.simulate(
        model,
        sample.images,
        sample.labels,
        device=device,
        connectivity=connectivity,
        form="calendar" if connectivity == "shared" else "event",
        progress=False,
    )
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    results.put(
        {
            "model": name,
            "device": device,
            "connectivity": connectivity,
            "target": b2.prefs.codegen.target if device == "runtime" else "cpp",
            "images": images,
            "build_seconds": result.build_seconds,
            "ms_per_image": 1e3 * result.run_seconds / images,
            "cpu_ms_per_image": 1e3 * sum(u.ru_utime + u.ru_stime for u in usage) / images,
            "operations_per_image": result.synaptic_operations,
            "total_seconds": time.perf_counter() - started,
            "python_peak_mb": usage[0].ru_maxrss / 1024,
            "binary_or_compiler_peak_mb": usage[1].ru_maxrss / 1024,
            "accuracy": result.accuracy,
        }
    )


def main(
    rounds: Annotated[int, typer.Option(min=1)] = 3,
    images: Annotated[int, typer.Option(min=1, max=500)] = 500,
    runtime_images: Annotated[int, typer.Option(min=1, max=500)] = 50,
    json_file: Annotated[Path | None, typer.Option("--json")] = None,
) -> None:
    """Measure, print a table, write JSON."""
    context = multiprocessing.get_context("spawn")
    rows = []
    for _ in range(rounds):
        for device, connectivity in DEVICE_COSTS:
            count = images if device == "cpp" else runtime_images
            for name in MODELS:
                results = context.Queue()
                process = context.Process(
                    target=measure, args=(name, device, connectivity, count, results)
                )
                process.start()
                rows.append(results.get())
                process.join()
    table = Table(title=f"Medians of {rounds} interleaved rounds", title_justify="left")
    for column in (
        "device",
        "connectivity",
        "network",
        "build s",
        "ms an image",
        "operations",
        "peak MB",
    ):
        table.add_column(column, justify="right")
    size = estimate(bsnn.load_model(paper("lopez_randulfe_2022").SHIPPED[MODELS[0]]))
    costs = {}
    for device, connectivity in DEVICE_COSTS:
        median = {}
        for name in MODELS:
            wanted = (device, connectivity, name)
            mine = [r for r in rows if (r["device"], r["connectivity"], r["model"]) == wanted]
            median[name] = {
                key: statistics.median(row[key] for row in mine)
                for key in ("build_seconds", "ms_per_image", "operations_per_image")
            }
            peak = max(
                max(row["python_peak_mb"], row["binary_or_compiler_peak_mb"]) for row in mine
            )
            table.add_row(
                *wanted, *(f"{value:,.1f}" for value in median[name].values()), f"{peak:,.0f}"
            )
        dense, sparse = (median[name] for name in MODELS)
        operation = (
            1e-3
            * (dense["ms_per_image"] - sparse["ms_per_image"])
            / (dense["operations_per_image"] - sparse["operations_per_image"])
        )
        rest = 1e-3 * sparse["ms_per_image"] - operation * sparse["operations_per_image"]
        costs[f"{device} {connectivity}"] = {
            "operation_ns": 1e9 * operation,
            "step_us": 1e6 * rest / 16,
            "neuron_step_ns": 1e9 * rest / 16 / size.neurons,
            "build_seconds": dense["build_seconds"],
        }
    console = Console()
    console.print(table)
    console.print(costs)
    if json_file is not None:
        json_file.write_text(json.dumps({"rows": rows, "costs": costs}, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
