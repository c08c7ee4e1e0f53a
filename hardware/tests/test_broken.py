# SPDX-License-Identifier: MIT
"""Deliberately broken blocks: harness and proofs must find what is wrong with them."""

from __future__ import annotations

import dataclasses
import shutil
import sys
from pathlib import Path

import pytest
from build import BUILD, HARDWARE, make_harness, replay, run
from vectors import Shape, frames_for_test, write

TWO_BY_TWO = Shape(map_size=(4, 8), channels=2)
OVERLAP = Shape(window=(3, 3), stride=(1, 1), map_size=(6, 6))


@dataclasses.dataclass(frozen=True)
class Broken:
    """A broken block.

    Parameters
    ----------
    file, old, new
        What is replaced, exactly once.
    proofs
        Tasks that must find a counterexample, the quickest first.
    shape
        Parameters for the harness; None: well-formed frames do not show the fault.
    """

    file: str
    old: str
    new: str
    proofs: tuple[str, ...]
    shape: Shape | None = TWO_BY_TWO


BROKEN = {
    "comparison-reversed": Broken(
        "spike_max_pool_winner.sv",
        "later_potential_i > earlier_potential_i",
        "later_potential_i < earlier_potential_i",
        ("window:w8_2x2", "stream:plain"),
    ),
    "tie-rule": Broken(
        "spike_max_pool_winner.sv",
        "later_potential_i > earlier_potential_i",
        "later_potential_i >= earlier_potential_i",
        ("window:w8_2x2", "stream:plain"),
    ),
    "unsigned-comparison": Broken(
        "spike_max_pool_winner.sv",
        "later_potential_i > earlier_potential_i",
        "$unsigned(later_potential_i) > $unsigned(earlier_potential_i)",
        ("window:w8_2x2", "stream:plain"),
    ),
    "spike-of-the-loser": Broken(
        "spike_max_pool_winner.sv",
        "replace ? later_payload_i : earlier_payload_i",
        "replace ? earlier_payload_i : later_payload_i",
        ("window:w8_2x2", "stream:plain"),
    ),
    "line-buffer-one-entry-short": Broken(
        "spike_max_pool_slide.sv",
        "potential_q   [Lanes];",
        "potential_q   [Lanes > 1 ? Lanes - 1 : 1];",
        ("stream:plain",),
    ),
    "one-line-buffer-short": Broken(
        "spike_max_pool_slide.sv",
        "Lines = (Window - 1 + Stride - 1) / Stride;",
        "Lines = (Window - 2 + Stride - 1) / Stride;",
        ("stream:tall",),
        OVERLAP,
    ),
    "skid-buffer-forgets": Broken(
        "spike_max_pool_skid.sv",
        "skid_valid_d = 1'b1;",
        "skid_valid_d = 1'b0;",
        ("stream:overlap", "stream:plain_long"),
    ),
    "word-changes-while-it-waits": Broken(
        "spike_max_pool_skid.sv",
        "if (!out_valid_q || ready_i) begin",
        "if (!out_valid_q || ready_i || push) begin",
        ("stream:plain",),
    ),
    "window-not-restarted": Broken(
        "spike_max_pool_slide.sv",
        "assign stride_begins = phase_i == '0;",
        "assign stride_begins = 1'b0;",
        ("stream:tall",),
        OVERLAP,
    ),
    "end-of-frame-misplaced": Broken(
        "spike_max_pool_raster.sv",
        "assign last_window_o = lane == LaneWidth'(OutWidth * Channels - 1)",
        "assign last_window_o = lane == '0",
        ("stream:plain",),
    ),
    "error-not-sticky": Broken(
        "spike_max_pool_raster.sv",
        "error_q <= error_q || first_i",
        "error_q <= first_i",
        ("stream:marks",),
        None,
    ),
    "start-does-not-resynchronise": Broken(
        "spike_max_pool_raster.sv",
        "assign lane = first_i ? '0 : lane_q;",
        "assign lane = lane_q;",
        ("stream:marks",),
        None,
    ),
}


def break_block(broken: Broken, folder: Path) -> Path:
    """Copy the block with one replacement.

    Parameters
    ----------
    broken
        What to replace.
    folder
        For the copy.
    """
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(HARDWARE / "rtl", folder)
    source = folder / broken.file
    text = source.read_text()
    assert text.count(broken.old) == 1
    source.write_text(text.replace(broken.old, broken.new))
    return folder


#: One whose words are wrong, one whose words are missing, one whose words change.
FOUND_QUICKLY = ("tie-rule", "skid-buffer-forgets", "word-changes-while-it-waits")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in FOUND_QUICKLY else pytest.mark.long)
        for name in BROKEN
        if BROKEN[name].shape
    ],
)
def test_harness_finds_it(name, tmp_path):
    """Words differ, are missing or are not stable; with the whole block the same frames pass."""
    broken = BROKEN[name]
    rtl = break_block(broken, BUILD / "broken" / name / "rtl")
    program = make_harness(
        broken.shape, BUILD / "broken" / name / "harness", RTL=rtl, WINNER_INDEX=1
    )
    vectors = tmp_path / "frames.vec"
    write(vectors, broken.shape, *frames_for_test(broken.shape, 14))
    process, result = replay(program, vectors, "--stall-in", 0.2, "--stall-out", 0.5)
    assert process.returncode == 1
    wrong = result["words_different"] + result["words_unstable"] + result["words_extra"]
    assert wrong + result["words_expected"] - result["words_compared"] > 0


@pytest.mark.parametrize(
    "shape",
    [
        pytest.param(TWO_BY_TWO, id="two-by-two"),
        pytest.param(OVERLAP, id="overlap", marks=pytest.mark.long),
    ],
)
def test_the_whole_block_passes(shape, tmp_path):
    """What the broken blocks fail at, the block does."""
    program = make_harness(shape, BUILD / "broken" / f"none{shape.window[0]}", WINNER_INDEX=1)
    vectors = tmp_path / "frames.vec"
    write(vectors, shape, *frames_for_test(shape, 14))
    process, _ = replay(program, vectors, "--stall-in", 0.2, "--stall-out", 0.5)
    assert process.returncode == 0, process.stderr


@pytest.mark.parametrize(
    ("name", "task"),
    [
        pytest.param(name, task, marks=pytest.mark.long if number else ())
        for name in BROKEN
        for number, task in enumerate(BROKEN[name].proofs)
    ],
)
def test_proof_finds_it(name, task):
    """The proof ends with a counterexample (not with an error)."""
    build = BUILD / "broken" / name / task.replace(":", "-")
    rtl = break_block(BROKEN[name], build / "rtl")
    process = run(
        [sys.executable, HARDWARE / "formal" / "prove.py", "--build", build, "--rtl", rtl, task]
    )
    assert process.returncode == 1, process.stdout + process.stderr
    assert process.stdout.startswith("FAIL "), process.stdout + process.stderr
