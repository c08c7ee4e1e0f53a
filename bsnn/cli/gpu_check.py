"""`bsnn gpu-check`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.markup import escape
from rich.table import Table

import bsnn
from bsnn.cli.options import output_file
from bsnn.cli.output import console, write_json
from bsnn.gpu_check import CHECKS, Report, TrainedNetwork, check_gpu, equipment
from bsnn.progress import progress_bar

__all__ = ["register"]

#: Trained networks that are compared: their paper, their name, and how many images they are shown.
NETWORKS = (("lopez_randulfe_2022", "mnist_cnn", 100), ("nguyen_2020", "mnist", 20))

_VERDICTS = {True: "[green]pass[/]", False: "[bold red]FAIL[/]", None: ""}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="gpu-check")(gpu_check)


def gpu_check(
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="Write the report to this file.", callback=output_file),
    ] = Path("gpu_check.json"),
    build_dir: Annotated[Path | None, typer.Option(help="Keep the generated code here.")] = None,
) -> None:
    """Check that CUDA on this machine computes what C++ computes, spike for spike.

    Small networks of every kind are compared with C++ and with themselves, and trained networks
    on images that come with bsnn. It takes some minutes, most of them for compilers, and needs no
    network. CUDA_VISIBLE_DEVICES says which GPU. Exit status 1 if a line fails.

    Example: bsnn gpu-check --out gpu_check.json
    """
    networks = [
        TrainedNetwork(f"{name} ({of})", bsnn.networks.paper(of).SHIPPED[name], images)
        for of, name, images in NETWORKS
    ]
    found = equipment()
    report = Report()
    try:
        with progress_bar() as bar:
            task = bar.add_task("starting", total=len(CHECKS))
            check_gpu(
                found,
                report,
                networks,
                build_dir,
                lambda doing, done: bar.update(task, description=doing, completed=done),
            )
            bar.update(task, description="done", completed=len(CHECKS))
    finally:
        # those of an interrupted check are worth having too
        if report.lines:
            _print(report)
            write_json(out, report.to_dict())
    if report.failed:
        raise typer.Exit(1)


def _print(report: Report) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("check", no_wrap=True)
    table.add_column("")
    table.add_column("", no_wrap=True)
    table.add_column("found")
    table.add_column("detail")
    before = None
    for line in report.lines:
        if before not in (None, line.check):
            table.add_section()
        table.add_row(
            "" if line.check == before else line.check,
            escape(line.name),
            _VERDICTS[line.passed],
            escape(line.found),
            escape(line.detail),
        )
        before = line.check
    console.print(table, highlight=False)
    ended = "" if report.complete else "; the check has not come to its end"
    console.print(f"{report.passed} lines pass, {report.failed} fail{ended}.", highlight=False)
