"""`bsnn convert`."""

from __future__ import annotations

import dataclasses
import inspect
from pathlib import Path
from typing import Annotated

import typer

import bsnn
from bsnn.cli import rate_options, ttfs_options  # noqa: F401, their options are registered
from bsnn.cli.conversion_options import ConversionOptions, conversion_options
from bsnn.cli.groups import group, grouped, option
from bsnn.cli.model_source import TRAINED, Trained
from bsnn.cli.options import output_file
from bsnn.cli.output import console, facts_table, scale_text
from bsnn.cli.shown_options import SOURCE_OPTIONS, SOURCES_HELP, load_data
from bsnn.conversion import (
    CODINGS,
    CONVERTERS,
    DEFAULT_PERCENTILE,
    FIRST_CODING,
    NORMALISATIONS,
    RATE_NORMALISATIONS,
    RATE_READ_OUTS,
    READ_OUTS,
)
from bsnn.datasets import Dataset
from bsnn.errors import ConversionError
from bsnn.graph.files import ARRAY_TYPES, as_stored
from bsnn.registry import check_name

__all__ = ["register"]


@dataclasses.dataclass(frozen=True)
class _Calibration:
    """Training images to calibrate with."""

    dataset: str
    data: Path | None
    image_size: str | None
    images: int

    def load(self, shape: tuple[int, ...]) -> Dataset:
        found = load_data(self.dataset, "train", self.data, self.image_size, shape)
        return found.exact().first(self.images)


_CALIBRATION = group(
    (
        option(
            "dataset",
            str,
            typer.Option(help=f"Calibration images, of the training set: {SOURCES_HELP}"),
            "mnist",
        ),
        *SOURCE_OPTIONS,
        option(
            "images",
            int,
            typer.Option(min=1, help="How many training images to calibrate with."),
            1000,
        ),
    ),
    lambda values: _Calibration(**values),
)
_OWN = conversion_options()


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(grouped(convert))


def convert(
    source: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="FILE.py:NAME (a function or class that makes the PyTorch module), an .onnx file, "
            "or an .h5 file of bsnn's whose network is converted anew.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write.", callback=output_file)],
    trained: Trained = TRAINED,
    calibration: _Calibration = _CALIBRATION,
    coding: Annotated[
        str,
        typer.Option(
            help=" or ".join(f"{name} ({kind.title})" for name, kind in CODINGS.items()) + "."
        ),
    ] = FIRST_CODING,
    steps: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Time steps: in a window (ttfs; 16 by default), or for which an image is shown "
            "(rate; 100).",
        ),
    ] = None,
    norm: Annotated[
        str,
        typer.Option(
            help="How the largest coded value of a layer is found. "
            f"ttfs: {', '.join(NORMALISATIONS)}; rate: {', '.join(RATE_NORMALISATIONS)}."
        ),
    ] = "percentile",
    percentile: Annotated[
        float | None,
        typer.Option(help=f"For that normalisation; by default {DEFAULT_PERCENTILE}."),
    ] = None,
    read_out: Annotated[
        str | None,
        typer.Option(
            help=f"How the class is read. ttfs: {', '.join(READ_OUTS)}; rate: "
            f"{', '.join(RATE_READ_OUTS)}."
        ),
    ] = None,
    scale: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="Scale of a population that is known, and not to be found; for several, again.",
        ),
    ] = None,
    own: ConversionOptions = _OWN,
    array_type: Annotated[
        str, typer.Option(help=f"Of the weights in the file: {', '.join(ARRAY_TYPES)}.")
    ] = "float32",
) -> None:
    """Convert a trained network to a spiking one.

    Example: bsnn convert my_model.py:make_net --weights net.pt --input-shape 1,28,28 -o model.h5

    Rate coding as in Sengupta et al. (2019): --coding rate --norm spike-norm --reset zero
    --input poisson --images 256 --steps 2500
    """
    check_name(coding, CONVERTERS, "coding")
    scales = _scales(scale) if scale else None
    chosen = {
        "steps": steps, "percentile": percentile, "read_out": read_out, "scales": scales,
        **own.of(coding),
    }  # fmt: skip
    graph, origin = trained.graph(source)
    # scales are found for the weights as the file will hold them
    graph = as_stored(graph, array_type)
    dataset, training = calibration.dataset, calibration.load(graph.input.shape)
    known = inspect.signature(CONVERTERS[coding]).parameters
    record = {"images_from": dataset, "source": origin}
    model = bsnn.convert(
        graph,
        training.images,
        coding=coding,
        norm=norm,
        **{name: value for name, value in record.items() if name in known},
        **{name: value for name, value in chosen.items() if value is not None},
    )
    model.save(out, array_type)
    rows = [(name, scale_text(value)) for name, value in model.scales.items()]
    console.print(facts_table(f"Scales ({norm}, {len(training)} images of {dataset})", rows))
    console.print(
        f"The spiking model is in {out}. Simulate it: bsnn run {out} --dataset {dataset}",
        highlight=False,
    )


def _scales(texts: list[str]) -> dict[str, float]:
    scales = {}
    for text in texts:
        name, _, value = text.partition("=")
        try:
            scales[name] = float(value)
        except ValueError:
            raise ConversionError(
                f"--scale {text!r}: a population and a number are needed, such as conv1=2.5."
            ) from None
    return scales
