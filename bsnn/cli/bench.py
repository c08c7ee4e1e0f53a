"""`bsnn bench`."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.table import Table

import bsnn
from bsnn.benchmark import (
    CHECKOUT_SYSTEMS,
    OWN_SYSTEMS,
    Case,
    Comparison,
    checkout_folder,
    choose,
    compare,
)
from bsnn.benchmark.gpu import GPU_NETWORKS
from bsnn.cli.bench_gpu import bench_on_gpu
from bsnn.cli.options import JsonFile, refuse_given
from bsnn.cli.output import console, facts_table, machine, short, write_json
from bsnn.cli.shown_options import Shown
from bsnn.datasets import DATA_VARIABLE
from bsnn.errors import SettingsError, SimulationError
from bsnn.progress import progress_bar
from bsnn.registry import check_name
from bsnn.storage import versions

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(bench)


def bench(
    context: typer.Context,
    model: Annotated[
        Path | None,
        typer.Argument(
            metavar="MODEL.h5",
            help="A spiking model for MNIST; by default the paper's CNN that comes with bsnn.",
        ),
    ] = None,
    names: Annotated[
        str | None,
        typer.Option(
            "--systems",
            help="Systems to compare, with commas between them: "
            f"{', '.join((*OWN_SYSTEMS, *CHECKOUT_SYSTEMS))}. By default all that can run here.",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Folder with MNIST's files; otherwise BSNN_DATA, or the sample."),
    ] = None,
    images: Annotated[
        int | None,
        typer.Option(min=1, help="How many images; by default 1,000, on CUDA as the network is."),
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps in a window (C++).")] = 32,
    device: Annotated[
        str,
        typer.Option(
            help="cpp: several systems simulate one network on one core. cuda: several networks on "
            "this machine's GPU, beside PyTorch."
        ),
    ] = "cpp",
    networks: Annotated[
        str,
        typer.Option(help="On CUDA: which networks, with commas between them."),
    ] = ",".join(GPU_NETWORKS),
    batch: Annotated[
        int | None, typer.Option(min=1, help="On CUDA: images side by side; by default 500.")
    ] = None,
    rounds: Annotated[
        int, typer.Option(min=1, help="How often each system simulates all images, in turns.")
    ] = 3,
    json: JsonFile = None,
) -> None:
    """Measure bsnn against other ways to simulate the same network on the same images.

    With --device cuda: generated CUDA on this machine's GPU, for time-to-first-spike coding of
    MNIST and for ResNet-20 and VGG-16 in rate coding, beside PyTorch on the same GPU.

    The images are MNIST's test images: those of --data or BSNN_DATA, or else the 500 that come
    with bsnn. tutorials/benchmarks.md explains the figures.

    Example: bsnn bench --systems bsnn_shared,event_driven_cpp --images 500 --json bench.json
    """
    if device == "cuda":
        refuse_given(
            context,
            ("model", "names", "steps"),
            "on CUDA the networks and programs are those of --networks. Leave it out.",
        )
        folder = data or os.environ.get(DATA_VARIABLE)
        bench_on_gpu(
            [name.strip() for name in networks.split(",")],
            None if folder is None else Path(folder),
            images,
            batch,
            rounds,
            json,
        )
        return
    check_name(device, ("cpp", "cuda"), "device to measure")
    refuse_given(context, ("networks", "batch"), "only with --device cuda.")
    path = model or bsnn.networks.paper("lopez_randulfe_2022").SHIPPED["mnist_cnn"]
    spiking = dataclasses.replace(bsnn.load_model(path), steps=steps)
    if spiking.read_out != "potential":
        raise SettingsError(
            f"{path} is read out by {spiking.read_out}; the benchmark compares potentials. Convert "
            "the network with --read-out potential."
        )
    has_mnist = data is not None or os.environ.get(DATA_VARIABLE) is not None
    shown = Shown(
        dataset="mnist" if has_mnist else "mnist-sample",
        data=data,
        image_size=None,
        images=images or 1000,
        first=0,
        split="test",
    )
    test = shown.load(spiking)
    chosen, left_out = choose(None if names is None else [n.strip() for n in names.split(",")])
    with progress_bar() as bar:
        turns = len(chosen) * (rounds + 1)
        task = bar.add_task("starting", total=turns, completed=-1)
        comparison = compare(
            chosen,
            Case(spiking, test.images, test.labels),
            rounds,
            lambda doing: bar.update(task, description=doing, advance=1),
        )
        bar.update(task, description="done", completed=turns)
    if not comparison.rows:
        reasons = "; ".join(f"{name} {reason}" for name, reason in comparison.left_out.items())
        raise SimulationError(f"No system could be measured: {reasons}")
    comparison.left_out.update(left_out)
    title = (
        f"For an image: {path.name}, {steps} steps, {len(test):,} images of {test.name}, "
        f"medians of {rounds}"
    )
    _print(comparison, title)
    write_json(
        json,
        {
            "network": path.name,
            "steps": steps,
            "dataset": test.name,
            "rounds": rounds,
            **comparison.summary(),
            "machine": machine(),
            "versions": versions(),
        },
    )


def _print(comparison: Comparison, title: str) -> None:
    table = Table(
        title=title,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        min_width=len(title),
    )
    table.add_column("", no_wrap=True)
    for column in ("CPU ms", "ms", "events/s", "build s", "MB", "acc. %", "images"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in comparison.rows:
        table.add_row(
            row.system if row.code is None else f"{row.system} *",
            short(row.cpu_ms_per_image),
            short(row.ms_per_image),
            "-" if row.events_per_second is None else f"{row.events_per_second / 1e9:.2g} G",
            short(row.build_seconds),
            f"{row.peak_mb:,.0f}",
            f"{100 * row.accuracy:.1f}",
            f"{row.images:,}",
        )
    console.print(table)
    if any(row.code is not None for row in comparison.rows):
        console.print("* another code than time to first spike: other work, for context only")
    if comparison.ratios:
        rows = [(name, f"{value:.2f}") for name, value in comparison.ratios.items()]
        console.print(facts_table("Ratios", rows))
    for name, reason in comparison.left_out.items():
        console.print(f"[yellow]Left out:[/] {name} ({reason})", highlight=False)
    if checkout_folder() is None:
        console.print(
            "The systems to compare with come with bsnn's source: install it with pip install -e."
        )
