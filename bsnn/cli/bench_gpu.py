"""`bsnn bench --device cuda`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from rich.table import Table

import bsnn
from bsnn.benchmark.gpu import GpuRow, measure_on_gpu
from bsnn.cli.output import console, machine, short, write_json
from bsnn.devices.cuda import find_gpu
from bsnn.errors import SimulationError
from bsnn.progress import progress_bar
from bsnn.storage import versions

__all__ = ["bench_on_gpu"]


def bench_on_gpu(
    networks: list[str],
    data: Path | None,
    images: int | None,
    batch: int | None,
    rounds: int,
    json: Path | None,
) -> None:
    """Measure networks on the GPU of this machine, print a table, write JSON."""
    shipped = {
        "mnist": bsnn.networks.paper("lopez_randulfe_2022").SHIPPED["mnist_cnn"],
        "resnet20": bsnn.networks.paper("sengupta_2019").SHIPPED["resnet20"],
    }
    with progress_bar() as bar:
        task = bar.add_task("starting", total=None)
        rows, left_out = measure_on_gpu(
            networks,
            shipped=shipped,
            data=data,
            images=images,
            batch=batch,
            rounds=rounds,
            report=lambda doing: bar.update(task, description=doing),
        )
    if not rows:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in left_out.items())
        raise SimulationError(f"Nothing could be measured. {reasons}")
    gpu = find_gpu()
    console.print(_table(rows, f"On one {gpu.name}, medians of {rounds} rounds"))
    console.print(_longest(rows))
    for name, reason in left_out.items():
        console.print(f"[yellow]Left out:[/] {name} ({reason})", highlight=False)
    write_json(
        json,
        {
            "gpu": dataclasses.asdict(gpu),
            "rounds": rounds,
            "rows": [dataclasses.asdict(row) for row in rows],
            "left_out": left_out,
            "data": "none" if data is None else data.name,
            "machine": machine(),
            "versions": versions(),
        },
    )


def _table(rows: list[GpuRow], title: str) -> Table:
    table = Table(title=title, title_justify="left", min_width=len(title))
    for column in ("network", "program"):
        table.add_column(column)
    for column in ("images", "batch", "steps", "build s", "s", "images/s", "GPU MB", "acc. %"):
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(
            row.network,
            row.program,
            f"{row.images:,}",
            f"{row.batch:,}",
            f"{row.steps:,}",
            "-" if row.build_seconds is None else short(row.build_seconds),
            short(row.seconds),
            short(row.images_per_second),
            f"{row.gpu_mb:,.0f}" if row.gpu_mb else "-",
            "-" if row.accuracy is None else f"{100 * row.accuracy:.2f}",
        )
    return table


def _longest(rows: list[GpuRow]) -> Table:
    title = "Where the time goes: seconds of one batch, when the host waits for each object"
    table = Table(title=title, title_justify="left")
    table.add_column("network")
    table.add_column("object")
    table.add_column("s", justify="right")
    for row in rows:
        for number, (name, seconds) in enumerate(row.longest.items()):
            table.add_row("" if number else row.network, name, short(seconds))
    return table
