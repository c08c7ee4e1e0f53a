# SPDX-License-Identifier: MIT
"""Builds and runs of the tools, for the tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from vectors import Shape

HARDWARE = Path(__file__).parents[1]
BUILD = Path(os.environ.get("POOL_BUILD", HARDWARE / "build"))
SOURCES = [
    "spike_max_pool_winner.sv",
    "spike_max_pool_slide.sv",
    "spike_max_pool_skid.sv",
    "spike_max_pool_raster.sv",
    "spike_max_pool.sv",
]


def run(command: list, **options) -> subprocess.CompletedProcess:
    """Run a command and keep what it prints.

    Parameters
    ----------
    command
        Program and arguments.
    options
        Passed on to :func:`subprocess.run`.
    """
    return subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False, **options
    )


def make_harness(shape: Shape, folder: Path, **variables) -> Path:
    """Build a harness.

    Parameters
    ----------
    shape
        Parameters of the block.
    folder
        For the build.
    variables
        Further variables of the Makefile.

    Returns
    -------
    program
        The harness.
    """
    result = run(
        [
            "make",
            "--no-print-directory",
            "-s",
            "-C",
            HARDWARE,
            "harness",
            f"BIN={Path(sys.executable).parent}",
            f"BUILD={folder}",
            f"RUNTIME={BUILD / 'runtime'}",
            *shape.make_variables(),
            *(f"{name}={value}" for name, value in variables.items()),
        ]
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return folder / "pool_harness"


def replay(program: Path, vectors: Path, *options) -> tuple[subprocess.CompletedProcess, dict]:
    """Replay a vector file.

    Parameters
    ----------
    program
        The harness.
    vectors
        Vector file.
    options
        Further arguments.

    Returns
    -------
    process, result
        The finished process and its JSON, empty if it refused the file.
    """
    report = vectors.with_suffix(".json")
    report.unlink(missing_ok=True)
    process = run([program, vectors, "--json", report, *options])
    return process, json.loads(report.read_text()) if report.exists() else {}
