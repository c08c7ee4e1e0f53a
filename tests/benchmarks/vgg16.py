"""VGG-16 at its full width on images of CIFAR-10's size: what memory and time it takes.

    python tests/benchmarks/vgg16.py --json vgg16.json

The network of Sengupta et al. (2019), 13 convolutions and three dense layers, with random weights:
what is measured depends on sizes and on the number of spikes, which random weights make larger than
training does. Explicit synapses are only estimated. The C++ program for such networks runs too and
says whether the classes are right.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console

import bsnn
from bsnn.benchmark import Case, choose, compare
from bsnn.graph import Conv2d, Flatten, Graph, Input, Layer, Linear, MaxPool2d, ReLU
from bsnn.network import estimate

#: Channels of the convolutions; M is a max-pooling.
PLAN = (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M")
DENSE = (4096, 4096, 10)


def vgg16(rng: np.random.Generator, size: int = 32, width: float = 1.0) -> Graph:
    """Return the network, its weights after He, without biases.

    Parameters
    ----------
    rng : numpy.random.Generator
    size : int
        Height and width of an image, a multiple of 32.
    width : float
        Factor of all channels but the last.
    """

    def weight(*shape: int) -> np.ndarray:
        deviation = np.sqrt(2 / np.prod(shape[1:]))
        return rng.standard_normal(shape, dtype=np.float32) * np.float32(deviation)

    layers: list[Layer] = [Input(name="input", shape=(3, size, size))]

    def add(kind: type[Layer], name: str, **options) -> None:
        layers.append(kind(name=name, inputs=(layers[-1].name,), **options))

    channels = 3
    for number, what in enumerate(PLAN, start=1):
        if what == "M":
            add(MaxPool2d, f"pool{number}", kernel=(2, 2), stride=(2, 2))
            continue
        out_channels = max(1, int(what * width))
        add(
            Conv2d,
            f"conv{number}",
            weight=weight(out_channels, channels, 3, 3),
            padding=(1, 1, 1, 1),
        )
        add(ReLU, f"relu{number}")
        channels = out_channels
    add(Flatten, "flatten")
    values = channels * (size // 32) ** 2
    for number, outputs in enumerate(DENSE, start=1):
        last = number == len(DENSE)
        outputs = outputs if last else max(1, int(outputs * width))
        add(Linear, f"fc{number}", weight=weight(outputs, values))
        if not last:
            add(ReLU, f"fc{number}_relu")
        values = outputs
    return Graph(layers, layers[-1].name)


def main(
    images: Annotated[int, typer.Option(min=1)] = 4,
    steps: Annotated[int, typer.Option(min=1)] = 16,
    rounds: Annotated[int, typer.Option(min=1)] = 1,
    names: Annotated[
        str, typer.Option("--systems")
    ] = "bsnn_shared,bsnn_shared_float32,event_driven_cpp",
    width: Annotated[float, typer.Option(help="Factor of all channels.")] = 1.0,
    seed: int = 0,
    json_file: Annotated[Path | None, typer.Option("--json")] = None,
) -> None:
    """Estimate, measure, print, write JSON."""
    rng = np.random.default_rng(seed)
    graph = vgg16(rng, width=width)
    pixels = rng.random((images, *graph.input.shape), dtype=np.float32)
    model = bsnn.convert_to_ttfs(graph, pixels[:2], steps=steps, images_from="random")
    size = estimate(model)
    console = Console()
    console.print(
        f"{size.neurons:,} neurons, {size.connections:,} connections, "
        f"{graph_weights(graph):,} weights; estimated memory: "
        + ", ".join(f"{kind} {value / 1e9:.2f} GB" for kind, value in size.memory_bytes.items())
    )
    chosen, _ = choose(names.split(","))
    comparison = compare(
        chosen, Case(model, pixels, np.zeros(images, dtype=int)), rounds, console.print
    )
    for row in comparison.rows:
        console.print(
            f"{row.system}: {row.cpu_ms_per_image:,.1f} ms CPU an image, peak {row.peak_mb:,.0f} "
            f"MB, building {row.build_peak_mb:,.0f} MB in {row.build_seconds:,.0f} s; "
            f"{100 * row.same_class:.0f} % of {row.images} images with the class of the closed form"
        )
    for name, reason in comparison.left_out.items():
        console.print(f"{name}: {reason}")
    if json_file is not None:
        content = {
            "neurons": size.neurons,
            "connections": size.connections,
            "weights": graph_weights(graph),
            "estimated_bytes": size.memory_bytes,
            **comparison.summary(),
        }
        json_file.write_text(json.dumps(content, indent=2) + "\n")


def graph_weights(graph: Graph) -> int:
    """Return the number of trained values."""
    return sum(layer.parameters for layer in graph)


if __name__ == "__main__":
    typer.run(main)
