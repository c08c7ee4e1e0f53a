# SPDX-License-Identifier: MIT
"""Parameters that make no block are refused while it is elaborated."""

from __future__ import annotations

import shutil

import pytest
from build import HARDWARE, SOURCES, run

BAD = {
    "Width=1": ("Width must be", "parameter_error_width"),
    "Width=65": ("Width must be", "parameter_error_width"),
    "WindowWidth=0": ("WindowHeight and WindowWidth", "parameter_error_window"),
    "StrideHeight=0": ("StrideHeight and StrideWidth", "parameter_error_stride"),
    "MapHeight=1": ("must hold one window", "parameter_error_map"),
    "Channels=0": ("Channels must be", "parameter_error_channels"),
    "Pipeline=2": ("Pipeline and WinnerIndex", "parameter_error_pipeline_or_winner_index"),
    "WinnerIndex=-1": ("Pipeline and WinnerIndex", "parameter_error_pipeline_or_winner_index"),
}
FILES = [HARDWARE / "rtl" / name for name in SOURCES]
TOP = "spike_max_pool"


@pytest.mark.parametrize("parameter", BAD)
def test_verilator_refuses(parameter):
    """Verilator stops with the reason."""
    command = ["sh", HARDWARE / "tools" / "verilator", "--lint-only", f"-G{parameter}"]
    process = run([*command, "--top-module", TOP, *FILES])
    assert process.returncode != 0
    assert BAD[parameter][0] in process.stderr


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="iverilog is not installed")
@pytest.mark.parametrize("parameter", [None, *BAD])
def test_icarus_refuses(parameter, tmp_path):
    """Icarus Verilog stops at a module whose name says the reason, and takes the defaults."""
    override = [] if parameter is None else [f"-P{TOP}.{parameter}"]
    process = run(
        ["iverilog", "-g2012", "-Wall", "-s", TOP, *override, "-o", tmp_path / "a", *FILES]
    )
    if parameter is None:
        assert process.returncode == 0, process.stderr
    else:
        assert process.returncode != 0
        assert f"Unknown module type: {BAD[parameter][1]}" in process.stderr
