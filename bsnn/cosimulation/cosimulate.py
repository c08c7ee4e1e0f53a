"""From a network in Brian2 to its max-poolings in a Verilated block, and back."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bsnn.conversion import SpikingModel
from bsnn.cosimulation.harness import Harness, Replay
from bsnn.cosimulation.recording import PoolRecording, record_pools
from bsnn.progress import progress_bar

__all__ = ["LayerCosimulation", "cosimulate"]


@dataclasses.dataclass(frozen=True)
class LayerCosimulation:
    """A max-pooling in Brian2, in whole numbers, and in the Verilated block.

    Attributes
    ----------
    name : str
        The max-pooling.
    words : int
        Words that pass it: windows times channels times frames.
    overflows : int
        Keys beyond the range of the block's numbers; they were saturated.
    different_from_brian : int
        Words in which the whole numbers decide otherwise than Brian2.
    replays : tuple of Replay
        Runs of the block, with and without stalls.
    """

    name: str
    words: int
    overflows: int
    different_from_brian: int
    replays: tuple[Replay, ...]

    def figures(self) -> dict[str, Any]:
        """Return everything for a JSON file."""
        return dataclasses.asdict(self)


def cosimulate(
    model: SpikingModel,
    images: np.ndarray,
    names: Sequence[str] | None = None,
    *,
    bits: int = 16,
    fraction_bits: int = 8,
    stalls: float = 0.3,
    pipelines: Sequence[bool] = (False, True),
    device: str = "runtime",
    seed: int = 0,
    out: str | os.PathLike[str] | None = None,
    wave: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> list[LayerCosimulation]:
    """Run a network in Brian2, its max-poolings in the block, and compare every word.

    Parameters
    ----------
    model : SpikingModel
        The network. If it is on the grid of the block's numbers (`bsnn.conversion.on_grid`), Brian2
        and the block agree exactly.
    images : numpy.ndarray
        Shape ``(n, *input_shape)``.
    names : sequence of str, optional
        Which max-poolings; by default all.
    bits, fraction_bits : int
        Width of a potential, and how many of its bits stand after the point.
    stalls : float
        Probability of a stall in a cycle, on either side, in the second run of each block.
    pipelines : sequence of bool
        Blocks to build: without and with a register in the comparison.
    device : str
        Where to simulate the network.
    seed : int
        Of the encoder's noise, and of the stalls.
    out : path, optional
        Keep vectors and builds here.
    wave : path, optional
        Write a waveform of the first frame of the first max-pooling here (VCD).
    progress : bool
        Show a progress bar.

    Returns
    -------
    list of LayerCosimulation
    """
    with (
        tempfile.TemporaryDirectory(prefix="bsnn_cosim_") as temporary,
        progress_bar(disable=not progress) as bar,
    ):
        folder = Path(out if out is not None else temporary)
        task = bar.add_task("simulating in Brian2", total=None)
        recordings = record_pools(model, images, names, device=device, seed=seed)
        bar.update(task, total=len(recordings) * len(pipelines))
        found = []
        for number, recording in enumerate(recordings):
            found.append(
                _layer(
                    recording, folder, bits, fraction_bits, stalls, pipelines, seed,
                    Path(wave) if wave is not None and number == 0 else None,
                    lambda what: bar.update(task, description=what, advance=1),
                )
            )  # fmt: skip
    return found


def _layer(
    recording: PoolRecording,
    folder: Path,
    bits: int,
    fraction_bits: int,
    stalls: float,
    pipelines: Sequence[bool],
    seed: int,
    wave: Path | None,
    report: Any,
) -> LayerCosimulation:
    vectors, overflows = recording.vectors(bits, fraction_bits)
    path = folder / f"{recording.name}.vec"
    vectors.save(path)
    passed, _ = vectors.expected()
    replays = []
    for pipeline in pipelines:
        wanted = wave if pipeline == pipelines[0] else None
        harness = Harness(
            folder / f"build_{recording.name}_{int(pipeline)}",
            vectors.parameters,
            pipeline=pipeline,
            trace=wanted is not None,
        )
        replays.append(harness.replay(path, seed=seed + 1, wave=wanted))
        replays.append(harness.replay(path, stalls=stalls, seed=seed + 1))
        report(f"{recording.name} in the Verilated block")
    different = int((passed != recording.passed).sum())
    return LayerCosimulation(recording.name, passed.size, overflows, different, tuple(replays))
