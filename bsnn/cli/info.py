"""`bsnn info`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.table import Table

import bsnn
from bsnn.cli.options import JsonFile, output_file, refuse_given
from bsnn.cli.output import console, facts_table, print_notes, scale_text, write_json
from bsnn.cli.shown_options import SOURCES_HELP, load_data
from bsnn.conversion.model import model_from_tree
from bsnn.explain import Forecast, forecast
from bsnn.graph import dead_parts
from bsnn.graph.files import graph_from_tree
from bsnn.network import estimate
from bsnn.storage import read_tree, shipped_models

__all__ = ["register"]

_ADVICE = "with --advise"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(info)


def info(
    context: typer.Context,
    model: Annotated[
        Path | None,
        typer.Argument(
            metavar="MODEL.h5",
            help="A file of bsnn's, or the name of a model that comes with it; without one, these "
            "are listed.",
        ),
    ] = None,
    json: JsonFile = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            help="Write a figure of how Spike-Norm has found the thresholds here.",
            callback=output_file,
        ),
    ] = None,
    advise: Annotated[
        bool,
        typer.Option(
            "--advise",
            help="Say how many steps the model needs to agree with the trained network, and what "
            "they cost.",
        ),
    ] = False,
    dataset: Annotated[
        str | None,
        typer.Option(
            help=f"Training images that --advise looks at: {SOURCES_HELP} By default those of the "
            "data set that the model was calibrated on.",
            rich_help_panel=_ADVICE,
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Folder with the data set's files; otherwise BSNN_DATA, or a download.",
            rich_help_panel=_ADVICE,
        ),
    ] = None,
    image_size: Annotated[
        str | None,
        typer.Option(
            metavar="HEIGHT,WIDTH",
            help="To which the images of a folder are brought.",
            rich_help_panel=_ADVICE,
        ),
    ] = None,
    images: Annotated[
        int, typer.Option(min=1, help="How many images.", rich_help_panel=_ADVICE)
    ] = 100,
    agreement: Annotated[
        float,
        typer.Option(
            help="Fraction of images that should have the same class in both networks.",
            rich_help_panel=_ADVICE,
        ),
    ] = 0.99,
    steps: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Up to how many steps to look; by default four times the model's.",
            rich_help_panel=_ADVICE,
        ),
    ] = None,
) -> None:
    """Show what is in a file: layers, cost, scales, and where it came from.

    Example: bsnn info MODEL.h5 --advise --dataset mnist --agreement 0.99
    """
    if model is None:
        _list_shipped()
        return
    if not advise:
        refuse_given(
            context,
            ("dataset", "data", "image_size", "images", "agreement", "steps"),
            "only with --advise.",
        )
    tree = read_tree(model, "model")
    graph = graph_from_tree(tree, model)
    cost = bsnn.count(graph)
    table = Table(title=str(model), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("layer", "kind", "reads"):
        table.add_column(column, overflow="fold")
    for column in ("shape", "values", "MACs", "connections"):
        table.add_column(column, justify="right")
    for layer in cost.layers:
        table.add_row(
            layer.name,
            layer.kind,
            ", ".join(graph[layer.name].inputs),
            "x".join(map(str, layer.shape)),
            f"{layer.parameters:,}",
            f"{layer.macs:,}",
            f"{layer.connections:,}",
        )
    console.print(table)
    rows = [
        ("neurons (rectified units and outputs)", f"{cost.neurons:,}"),
        ("parameters", f"{cost.parameters:,}"),
        ("connections, border-exact", f"{cost.connections:,}"),
        ("MACs", f"{cost.macs:,}"),
        ("FLOPs", f"{cost.flops:,}"),
    ]
    console.print(facts_table("The trained network, for an image", rows))
    content: dict[str, Any] = {
        "neurons": cost.neurons,
        "parameters": cost.parameters,
        "connections": cost.connections,
        "macs": cost.macs,
        "flops": cost.flops,
        "layers": [
            {
                "name": layer.name,
                "kind": layer.kind,
                "shape": layer.shape,
                "parameters": layer.parameters,
                "macs": layer.macs,
                "flops": layer.flops,
                "connections": layer.connections,
            }
            for layer in cost.layers
        ],
    }
    dead = dead_parts(graph)
    print_notes(dead.sentences())
    content["dead"] = dataclasses.asdict(dead)
    content["provenance"] = tree["provenance"]
    if "conversion" in tree:
        spiking = model_from_tree(tree, model)
        size = estimate(spiking)
        rows = [
            *_conversion_rows(spiking),
            *((f"calibration: {name}", _short(text)) for name, text in spiking.calibration.items()),
            *((f"scale of {name}", scale_text(value)) for name, value in spiking.scales.items()),
            *(
                (f"threshold of {name}, fitted", f"times {factor:.4f}")
                for name, factor in getattr(spiking, "threshold_factors", {}).items()
            ),
            *(
                (f"memory, connectivity {name}", f"about {memory / 1e9:.2f} GB")
                for name, memory in size.memory_bytes.items()
            ),
        ]
        console.print(facts_table("The spiking model", rows))
        content["conversion"] = tree["conversion"]
    provenance = [(name, _short(text)) for name, text in tree["provenance"].items()]
    console.print(facts_table("Where it came from", provenance))
    if advise:
        spiking = model_from_tree(tree, model)
        found = _forecast(spiking, dataset, data, image_size, images, agreement, steps)
        console.print(facts_table("Steps and their cost", found.rows()))
        content["advice"] = found.summary()
    write_json(json, content)
    if plot is not None:
        # matplotlib takes a while to import
        from bsnn.analysis.rate_plots import threshold_trace_figure
        from bsnn.analysis.saving import save_figure

        save_figure(threshold_trace_figure(model_from_tree(tree, model)), plot)
        console.print(f"The figure is in {plot}.", highlight=False)


def _list_shipped() -> None:
    """Show the models that come with bsnn: any command takes their names for files."""
    table = Table(title="Models that come with bsnn", title_justify="left", box=box.SIMPLE_HEAD,
                  pad_edge=False)  # fmt: skip
    for column in ("name", "paper", "coding", "steps", "calibrated on"):
        table.add_column(column)
    for name, path in shipped_models().items():
        if "/" not in name:
            tree = read_tree(path, "model")
            if "conversion" in tree:
                spiking = model_from_tree(tree, path)
                facts = spiking.coding, str(spiking.steps), spiking.calibration["images_from"]
            else:
                facts = "a trained network", "", ""
            table.add_row(name, path.parent.name, *facts)
    console.print(table)
    console.print("Look at one: bsnn info NAME; simulate it: bsnn run NAME.", highlight=False)


def _forecast(
    spiking: bsnn.SpikingModel,
    name: str | None,
    data: Path | None,
    size: str | None,
    images: int,
    agreement: float,
    steps: int | None,
) -> Forecast:
    # those that a conversion may be chosen with: test images are for judging it
    chosen = load_data(
        name or spiking.calibration.get("images_from", ""),
        "train",
        data,
        size,
        spiking.graph.input.shape,
    )
    return forecast(spiking, chosen.exact().first(images).images, agreement, steps=steps)


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:16]}…"


def _conversion_rows(spiking: bsnn.SpikingModel) -> list[tuple[str, str]]:
    rows = [("coding", spiking.coding), ("read-out", spiking.read_out), ("norm", spiking.norm)]
    return [*rows, *spiking.facts()]
