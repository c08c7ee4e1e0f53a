"""`bsnn vectors` and `bsnn cosim`: max-pooling in hardware."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.table import Table

import bsnn
from bsnn.analysis.fixed_point_plots import mismatch_figure
from bsnn.analysis.saving import save_figure
from bsnn.cli.groups import group, grouped, option
from bsnn.cli.options import Device, JsonFile, output_file, output_folder
from bsnn.cli.output import console, write_json
from bsnn.cli.shown_options import Shown, shown_options
from bsnn.conversion import AVERAGE, on_grid
from bsnn.conversion.gates import gate_key
from bsnn.cosimulation import PoolRecording, cosimulate, poolings, record_pools
from bsnn.errors import SettingsError

__all__ = ["register"]

_Model = Annotated[Path, typer.Argument(help="A model in rate coding with max-pooling (.h5).")]
# Of the numbers in a file of vectors.
_MOST_BITS = 32

_Seed = Annotated[int, typer.Option(min=0, help="Of the noise of a Poisson input.")]


@dataclasses.dataclass(frozen=True)
class _Block:
    """The part of a network that goes through the block, and its numbers."""

    layer: list[str] | None
    bits: int
    frac: int
    steps: int | None
    gate: str | None
    grid: bool

    def prepared(self, path: Path, shown: Shown) -> tuple[bsnn.SpikingModel, np.ndarray]:
        """Return the network as the block computes it, and the images."""
        if self.frac >= self.bits:
            raise SettingsError(
                f"--frac {self.frac} leaves no bit before the point of --bits {self.bits}."
            )
        model: Any = bsnn.load_model(path)
        changes = {"steps": self.steps, "gate": self.gate}
        changes = {name: value for name, value in changes.items() if value is not None}
        if self.gate is not None and self.gate != AVERAGE:
            gate_key(self.gate)
        poolings(model, self.layer)
        model = dataclasses.replace(model, **changes)
        poolings(model)
        images = shown.load(model).images
        return (on_grid(model, self.frac) if self.grid else model), images


_SHOWN = shown_options(4, "How many test images.")
_BLOCK = group(
    (
        option(
            "layer",
            list[str] | None,
            typer.Option(help="A max-pooling; may be given several times. By default all."),
        ),
        option("bits", int, typer.Option(min=2, max=_MOST_BITS, help="Width of a potential."), 16),
        option("frac", int, typer.Option(min=0, help="Bits of it after the point."), 8),
        option(
            "steps",
            int | None,
            typer.Option(min=1, help="Time steps an image, in place of the model's."),
        ),
        option(
            "gate",
            str | None,
            typer.Option(help="Gate of the max-poolings, in place of the model's."),
        ),
        option(
            "grid",
            bool,
            typer.Option(
                "--grid/--as-converted",
                help="Round the network to the numbers of the block (see bsnn.conversion.on_grid), "
                "so that it and Brian2 agree exactly; or take it as it is.",
            ),
            True,
        ),
    ),
    lambda values: _Block(**values),
)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(grouped(vectors))
    app.command()(grouped(cosim))


def vectors(
    model: _Model,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for the files.", callback=output_folder)
    ],
    block: _Block = _BLOCK,
    shown: Shown = _SHOWN,
    device: Device = "runtime",
    seed: _Seed = 0,
    json: JsonFile = None,
) -> None:
    """Write what goes through max-poolings in Brian2 as vectors for the hardware block.

    For each layer a file of vectors and a plot of how many pooled spikes would differ from Brian2's
    with other numbers of bits.

    Example: bsnn vectors MODEL.h5 --layer pool1 --images 4 --bits 16 --frac 8 --out vectors
    """
    spiking, images = block.prepared(model, shown)
    bits, frac = block.bits, block.frac
    recordings = record_pools(spiking, images, block.layer, device=device, seed=seed)
    content: dict[str, Any] = {"bits": bits, "fraction_bits": frac, "layers": {}}
    table = Table(title=f"Vectors of {len(images)} images, {spiking.steps} steps each",
                  title_justify="left")  # fmt: skip
    for column in ("layer", "frames", "words out", "overflows", "different from Brian2"):
        table.add_column(column, justify="left" if column == "layer" else "right")
    mismatches = {}
    for recording in recordings:
        vectors, overflows = recording.vectors(bits, frac)
        vectors.save(out / f"{recording.name}.vec")
        different = recording.different(bits, frac)
        words = recording.passed.size
        table.add_row(
            recording.name,
            f"{len(recording.passed):,}",
            f"{words:,}",
            f"{overflows:,}",
            f"{different:,} ({100 * different / words:.4f} %)",
        )
        mismatches[recording.name] = _mismatch_by_bits(recording, bits - frac)
        content["layers"][recording.name] = {
            "frames": len(recording.passed),
            "words": words,
            "overflows": overflows,
            "different_from_brian": different,
            "different_by_fraction_bits": mismatches[recording.name],
        }
    console.print(table)
    _print_mismatch(mismatches, bits - frac)
    plot = out / "mismatch.png"
    save_figure(mismatch_figure(mismatches, bits - frac), plot)
    write_json(json, content)
    console.print(f"The vectors are in {out}, the plot is {plot}.", highlight=False)


def cosim(
    model: _Model,
    block: _Block = _BLOCK,
    shown: Shown = _SHOWN,
    device: Device = "runtime",
    seed: _Seed = 0,
    stalls: Annotated[
        float, typer.Option(min=0, max=0.95, help="Probability of a stall, on either side.")
    ] = 0.3,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Keep vectors and builds in this folder.", callback=output_folder
        ),
    ] = None,
    wave: Annotated[
        Path | None,
        typer.Option(help="Write a waveform of the first frame here (.vcd).", callback=output_file),
    ] = None,
    json: JsonFile = None,
) -> None:
    """Simulate a network in Brian2, its max-poolings as a Verilated block, and compare every word.

    Each layer goes through blocks with and without a pipeline register, with and without stalls.
    Exit status 1 if any word differs.

    Example: bsnn cosim MODEL.h5 --images 4 --json cosim.json
    """
    spiking, images = block.prepared(model, shown)
    bits, frac = block.bits, block.frac
    found = cosimulate(
        spiking, images, block.layer, bits=bits, fraction_bits=frac, stalls=stalls, device=device,
        seed=seed, out=out, wave=wave,
    )  # fmt: skip
    table = Table(title="Every word of the block against the integer model", title_justify="left")
    columns = (
        "layer", "frames", "words", "differ", "cycles a frame", "with stalls", "Brian2 differs",
        "overflows",
    )  # fmt: skip
    for column in columns:
        table.add_column(column, justify="left" if column == "layer" else "right")
    for one in found:
        free, stalled = one.replays[0], one.replays[1]
        table.add_row(
            one.name,
            f"{sum(replay.frames for replay in one.replays):,}",
            f"{sum(replay.words_compared for replay in one.replays):,}",
            f"{sum(replay.words_different for replay in one.replays):,}",
            f"{free.cycles / free.frames:,.0f}",
            f"{stalled.cycles / stalled.frames:,.0f}",
            f"{one.different_from_brian:,}",
            f"{one.overflows:,}",
        )
    console.print(table)
    replays = [replay for one in found for replay in one.replays]
    cycles = sum(replay.cycles for replay in replays)
    seconds = sum(replay.cycles / replay.cycles_per_second for replay in replays)
    content = {
        "words_compared": sum(replay.words_compared for replay in replays),
        "words_different": sum(replay.words_different for replay in replays),
        "different_from_brian": sum(one.different_from_brian for one in found),
        "overflows": sum(one.overflows for one in found),
        "layers": {one.name: one.figures() for one in found},
        "frames": sum(replay.frames for replay in replays),
        "cycles": cycles,
        "cycles_per_second": cycles / seconds,
        "bits": bits,
        "fraction_bits": frac,
    }
    write_json(json, content)
    console.print(
        f"{content['words_compared']:,} words compared, {content['words_different']:,} different; "
        f"{content['cycles_per_second'] / 1e6:.2f} million cycles and "
        f"{content['frames'] / seconds:,.0f} frames a second.",
        highlight=False,
    )
    if content["words_different"]:
        raise typer.Exit(1)


def _mismatch_by_bits(recording: PoolRecording, whole_bits: int) -> dict[int, float]:
    """Share of pooled spikes that differ from Brian2's, by bits after the point."""
    words = recording.passed.size
    fractions = (0, 2, 4, 6, 8, 12, 16)
    return {
        f: recording.different(whole_bits + f, f) / words
        for f in fractions
        if whole_bits + f <= _MOST_BITS
    }


def _print_mismatch(mismatches: dict[str, dict[int, float]], whole_bits: int) -> None:
    table = Table(
        title=f"Pooled spikes that differ from Brian2's, in %, by bits after the point "
        f"({whole_bits} before it)",
        title_justify="left",
    )
    table.add_column("layer")
    for fraction in next(iter(mismatches.values())):
        table.add_column(str(fraction), justify="right")
    for name, by_bits in mismatches.items():
        table.add_row(name, *(f"{100 * share:.3f}" for share in by_bits.values()))
    console.print(table)
