"""`bsnn demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import bsnn
from bsnn.cli.options import Device, JsonFile, output_file
from bsnn.cli.output import console, print_result, write_json
from bsnn.cli.runtime import nothing_compiled

__all__ = ["register"]

# Images of the sample that the conversion looks at; the others are simulated.
_CALIBRATION_IMAGES = 100


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(demo)


def demo(
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Where the figure goes.", callback=output_file)
    ] = Path("bsnn_demo.png"),
    device: Device = "cpp",
    json: JsonFile = None,
) -> None:
    """Convert a network that comes with bsnn and simulate it on MNIST images that come with it.

    The CNN of López-Randulfe et al. (2022), trained to be sparse. Nothing is downloaded.
    """
    from bsnn.analysis.plots import overview_figure
    from bsnn.explain.recording import record

    sample = bsnn.datasets.mnist_sample()
    calibration = sample.first(_CALIBRATION_IMAGES)
    test = sample.first(len(sample), start=_CALIBRATION_IMAGES)
    shipped = bsnn.networks.paper("lopez_randulfe_2022").SHIPPED["mnist_cnn_sparse"]
    console.print(
        f"Converting {shipped.name} with {len(calibration)} images (their labels are not used), "
        f"simulating the other {len(test)} …",
        highlight=False,
    )
    model = bsnn.convert_to_ttfs(
        bsnn.load_graph(shipped), calibration.images, images_from="mnist-sample"
    )
    result = bsnn.simulate(model, test.images, test.labels, device=device)
    print_result(result, f"{len(result)} MNIST test images that come with bsnn")
    # one image with the paper's equations
    with nothing_compiled():
        recording = record(model, test.images[:1])
    figure = overview_figure(recording, int(test.labels[0]), result)
    figure.savefig(out, dpi=130)
    console.print(f"The figure is in {out}.", highlight=False)
    write_json(json, result.summary())
