"""What all commands print and write alike."""

from __future__ import annotations

import json
import os
import platform
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bsnn.errors import ConversionWarning
from bsnn.simulation import Result
from bsnn.storage import replacing

__all__ = [
    "console",
    "facts_table",
    "machine",
    "noted",
    "print_notes",
    "print_result",
    "scale_text",
    "short",
    "write_json",
]

console = Console()


def facts_table(title: str, rows: list[tuple[str, str]]) -> Table:
    """Return a table of descriptions and values."""
    table = Table(title=title, show_header=False, title_justify="left", min_width=len(title))
    table.add_column(style="bold")
    table.add_column(justify="right")
    for row in rows:
        table.add_row(*row)
    return table


@contextmanager
def noted() -> Iterator[None]:
    """Print what a conversion warns of as notes."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConversionWarning)
        yield
    notes = [one for one in caught if issubclass(one.category, ConversionWarning)]
    print_notes([str(note.message) for note in notes])
    for other in caught:
        if other not in notes:
            warnings.warn_explicit(other.message, other.category, other.filename, other.lineno)


def print_notes(notes: Iterable[str]) -> None:
    """Print what a user should know of what was done."""
    for note in notes:
        console.print(f"[yellow]Note:[/] {escape(note)}", highlight=False, soft_wrap=True)


def print_result(result: Result, title: str) -> None:
    """Print the figures of a result, and those of its layers."""
    console.print(facts_table(title, result.rows()))
    layers = Table(title="For each image, by layer", title_justify="left")
    layers.add_column("layer")
    for column in ("neurons", "spikes", "operations", "RMSE"):
        layers.add_column(column, justify="right")
    for name, population in result.populations.items():
        layers.add_row(
            name,
            f"{population.neurons:,}",
            "silent" if population.spikes is None else f"{population.spikes.mean():,.1f}",
            "-" if population.operations is None else f"{population.operations.mean():,.0f}",
            f"{population.rmse:.4f}",
        )
    console.print(layers)


def scale_text(scale: float | np.ndarray) -> str:
    """Return a scale, or the range of those of the channels."""
    if not np.ndim(scale):
        return f"{scale:.4f}"
    return f"{np.min(scale):.4f} to {np.max(scale):.4f} ({np.size(scale)} channels)"


def write_json(path: Path | None, content: dict[str, Any]) -> None:
    """Write JSON to a file, atomically, or print it for ``-``; nothing without a path."""
    if path is None:
        return
    if str(path) == "-":
        print(json.dumps(content, indent=2, default=np.ndarray.tolist))
        return
    with replacing(path) as temporary, temporary.open("w") as file:
        json.dump(content, file, indent=2, default=np.ndarray.tolist)
        file.write("\n")
    console.print(f"Figures are in {path}.", highlight=False)


def short(value: float) -> str:
    """Three digits, more before the point if there are more."""
    return f"{value:.3g}" if value < 100 else f"{value:,.0f}"


def machine() -> dict[str, str | int | None]:
    """What is known of the machine without asking for rights."""
    processor = platform.processor() or platform.machine()
    described = Path("/proc/cpuinfo")
    if described.exists():
        for line in described.read_text().splitlines():
            if line.startswith("model name"):
                processor = line.partition(":")[2].strip()
                break
    return {"processor": processor, "cores": os.cpu_count(), "system": platform.system()}
