"""`bsnn report`."""

from __future__ import annotations

import hashlib
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

import bsnn
from bsnn.cli.groups import grouped
from bsnn.cli.options import Device, Steps, output_file, refuse_given
from bsnn.cli.output import console, machine
from bsnn.cli.runtime import nothing_compiled
from bsnn.cli.shown_options import Shown, shown_options
from bsnn.storage import file_content, located

__all__ = ["register"]

# A comparison runs a rate-coded network about so often, in numpy, for each image; a neuron's step
# takes about so long. More than these seconds are for those who ask for them.
_COMPARED_RUNS = 11
_SECONDS_OF_A_NEURON = 5e-8
_COMPARISON_SECONDS = 120
_MOST_COMPARED = 20

# What takes longer in numpy is compiled to be recorded.
_INTERPRETED_SECONDS = 20


_SHOWN = shown_options(200, "How many images are simulated.")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(grouped(report))


def report(
    context: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL.h5|RESULT.h5",
            help="A spiking model that bsnn convert wrote, which is then simulated, or a result "
            "that bsnn run --out wrote.",
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Where the page goes.", callback=output_file)
    ] = Path("report.html"),
    shown: Shown = _SHOWN,
    browse: Annotated[
        int,
        typer.Option(
            min=1, help="Of how many images all spikes are in the page, to be stepped through."
        ),
    ] = 4,
    compared: Annotated[
        int | None,
        typer.Option(
            "--compare",
            min=0,
            help="On how many images the error is split into its causes, which takes a dozen "
            "simulations in numpy; by default at most 20, and so many as take two minutes.",
        ),
    ] = None,
    device: Device = "cpp",
    steps: Steps = None,
    seed: Annotated[
        int, typer.Option(min=0, help="Of the noise of a Poisson input (rate coding).")
    ] = 0,
) -> None:
    """Write a report on a network as one page of HTML, which needs nothing else to be read.

    Of a result, only what it has in it: options about images and simulation are for models.

    Example: bsnn report MODEL.h5 --dataset mnist -o report.html
    """
    facts = [
        ("command", shlex.join(["bsnn", *sys.argv[1:]])),
        ("file", str(file)),
    ]
    file = located(file)
    holds = file_content(file)
    facts.append(("SHA-256 of the file", hashlib.sha256(file.read_bytes()).hexdigest()))
    if holds == "result":
        refuse_given(
            context,
            ("dataset", "data", "images", "first", "browse", "compared", "device", "steps", "seed"),
            f"{file} holds a result, and nothing is simulated for a report on it. Leave it out, or "
            "name the model.",
        )
        _write(out, bsnn.load_result(file), title=f"Report on {file.stem}", facts=facts)
        return
    model, test = shown.with_model(file, steps)
    first = shown.first
    result = bsnn.simulate(
        model, test.images, test.labels, device=device, first_image=first, seed=seed
    )
    browsed = test.first(browse)
    # matplotlib takes a while to import
    from bsnn.explain.cost import spiking_cost
    from bsnn.explain.recording import record

    long = len(browsed) * _seconds_of_a_run(model) > _INTERPRETED_SECONDS
    with nothing_compiled():
        recording = record(
            model,
            browsed.images,
            device="cpp" if long and device != "runtime" else None,
            numbers=np.arange(first, first + len(browsed)),
            seed=seed,
        )
    facts += [
        ("images", f"{len(test):,} test images of {test.name}, from number {first}"),
        *([] if model.timed else [("seed", str(seed))]),
        *((name, str(value)) for name, value in machine().items()),
    ]
    if compared is None:
        compared = _affordable(model)
        if not compared:
            console.print(
                "The split of the error into its causes is left out, as it would take several "
                "minutes: --compare 1 makes it."
            )
    comparison = None
    if compared:
        looked_at = test.first(compared)
        comparison = bsnn.compare(
            model, looked_at.images, looked_at.labels, seed=seed, first_image=first
        )
    _write(
        out,
        result,
        title=f"Report on {file.stem}",
        model=model,
        recording=recording,
        labels=None if browsed.labels is None else browsed.labels.tolist(),
        # of images of one's own they may not be known
        classes=test.classes if len(test.classes) == model.output.size else None,
        first=first,
        facts=facts,
        comparison=comparison,
        cost=spiking_cost(model, result),
    )


def _affordable(model: bsnn.SpikingModel) -> int:
    """Return on how many images a comparison takes two minutes, at most 20."""
    if not model.read_each_step:
        return _MOST_COMPARED
    seconds = _COMPARED_RUNS * _seconds_of_a_run(model)
    return min(_MOST_COMPARED, int(_COMPARISON_SECONDS / seconds))


def _seconds_of_a_run(model: bsnn.SpikingModel) -> float:
    """Return about how long a simulation of one image takes in numpy."""
    neurons = sum(population.size for population in model.populations.values())
    return model.steps * neurons * _SECONDS_OF_A_NEURON


def _write(out: Path, result: bsnn.Result, **content: Any) -> None:
    from bsnn.analysis.report import report_html, write_report

    page = report_html(result, **content)
    write_report(out, page)
    console.print(f"The report is in {out} ({len(page.encode()) / 1e6:.1f} MB).", highlight=False)
