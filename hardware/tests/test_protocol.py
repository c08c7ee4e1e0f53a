# SPDX-License-Identifier: MIT
"""Runs the protocol tests in Verilator, and in Icarus Verilog where it is installed."""

from __future__ import annotations

import shutil

import pytest
from build import BUILD, HARDWARE, SOURCES
from cocotb_tools.check_results import get_results
from cocotb_tools.runner import get_runner

PARAMETERS = {"Width": 8, "MapHeight": 4, "MapWidth": 6, "Channels": 2, "WinnerIndex": 1}


@pytest.mark.parametrize("pipeline", [0, 1])
@pytest.mark.parametrize("simulator", ["verilator", "icarus"])
def test_protocol(simulator, pipeline):
    """All tests of protocol.py pass, and they were found."""
    if simulator == "icarus" and shutil.which("iverilog") is None:
        pytest.skip("Icarus Verilog (iverilog) is not installed")
    folder = BUILD / "protocol" / f"{simulator}{pipeline}"
    runner = get_runner(simulator)
    runner.build(
        sources=[HARDWARE / "rtl" / name for name in SOURCES],
        hdl_toplevel="spike_max_pool",
        parameters={**PARAMETERS, "Pipeline": pipeline},
        build_args=["-g2012"] if simulator == "icarus" else ["-Wno-fatal", "-CFLAGS", "-O0"],
        build_dir=folder,
        timescale=("1ns", "1ps"),
    )
    results = runner.test(
        hdl_toplevel="spike_max_pool",
        test_module="protocol",
        build_dir=folder,
        test_dir=folder,
        extra_env={"POOL_PIPELINE": str(pipeline)},
        timescale=("1ns", "1ps"),
    )
    tests, failures = get_results(results)
    assert tests == 9
    assert failures == 0
