"""`bsnn report`."""

from __future__ import annotations

import dataclasses
import hashlib
import shlex
import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

import bsnn
from bsnn.cli.options import DataFolder, Device, Steps, TestImages
from bsnn.cli.output import console, machine
from bsnn.cli.run import test_images
from bsnn.cli.runtime import nothing_compiled
from bsnn.storage import file_content

__all__ = ["register"]

# Of a rate-coded image so many steps are recorded, spike by spike.
_RECORDED_STEPS = 64


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(report)


def report(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL.h5|RESULT.h5",
            help="A spiking model that bsnn convert wrote, which is then simulated, or a result "
            "that bsnn run --out wrote.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the page goes.")] = Path(
        "report.html"
    ),
    dataset: TestImages = None,
    data: DataFolder = None,
    images: Annotated[int, typer.Option(min=1, help="How many images are simulated.")] = 200,
    first: Annotated[int, typer.Option(min=0, help="Index of the first image.")] = 0,
    browse: Annotated[
        int,
        typer.Option(
            min=1, help="Of how many images all spikes are in the page, to be stepped through."
        ),
    ] = 4,
    compared: Annotated[
        int,
        typer.Option(
            "--compare",
            min=0,
            help="On how many images the error is split into its causes, which takes some "
            "simulations; 0 leaves it out.",
        ),
    ] = 20,
    device: Device = "cpp",
    steps: Steps = None,
    seed: Annotated[
        int, typer.Option(min=0, help="Of the noise of a Poisson input (rate coding).")
    ] = 0,
) -> None:
    """Write a report on a network as one page of HTML, which needs nothing else to be read.

    Of a result, only what it has in it; options about images and simulation are for models.

    Example: bsnn report MODEL.h5 --dataset mnist -o report.html
    """
    # matplotlib takes a while to import
    from bsnn.analysis.cost import spiking_cost
    from bsnn.analysis.recording import record
    from bsnn.analysis.report import report_html, write_report

    facts = [
        ("command", shlex.join(["bsnn", *sys.argv[1:]])),
        ("file", str(file)),
    ]
    if file_content(file) == "result":
        facts.append(("SHA-256 of the file", _sha256(file)))
        page = report_html(bsnn.load_result(file), title=f"Report on {file.stem}", facts=facts)
        _finish(out, page, write_report)
        return
    model = bsnn.load_model(file)
    facts.append(("SHA-256 of the file", _sha256(file)))
    if steps is not None:
        model = dataclasses.replace(model, steps=steps)
    test = test_images(model, dataset, data, first, images)
    result = bsnn.simulate(
        model,
        test.images,
        test.labels,
        device=device,
        first_image=first,
        **({"seed": seed} if model.coding == "rate" else {}),
    )
    browsed = test.first(browse)
    with nothing_compiled():
        recording = record(
            model,
            browsed.images,
            steps=_RECORDED_STEPS,
            numbers=np.arange(first, first + len(browsed)),
            seed=seed,
        )
    facts += [
        ("images", f"{len(test):,} test images of {test.name}, from number {first}"),
        *([("seed", str(seed))] if model.coding == "rate" else []),
        *((name, str(value)) for name, value in machine().items()),
    ]
    page = report_html(
        result,
        title=f"Report on {file.stem}",
        model=model,
        recording=recording,
        labels=browsed.labels.tolist(),
        classes=test.classes,
        first=first,
        facts=facts,
        comparison=bsnn.compare(
            model,
            test.images[:compared],
            test.labels[:compared],
            first_image=first,
            **({"seed": seed} if model.coding == "rate" else {}),
        )
        if compared
        else None,
        cost=spiking_cost(model, result),
    )
    _finish(out, page, write_report)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _finish(out: Path, page: str, write) -> None:
    write(out, page)
    console.print(f"The report is in {out} ({len(page.encode()) / 1e6:.1f} MB).", highlight=False)
