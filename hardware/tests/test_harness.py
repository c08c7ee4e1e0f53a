# SPDX-License-Identifier: MIT
"""Every word of the block against the definition, over parameter sets, with and without stalls."""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from build import BUILD, HARDWARE, make_harness, replay, run
from vectors import Shape, frames_for_test, pool, write

SMALL = Shape(map_size=(6, 8), channels=2)

# shape, pipeline, winner index
SETS = {
    "mnist": (Shape(), 0, 0),
    "mnist-pipeline": (Shape(), 1, 0),
    "mnist-index": (Shape(), 1, 1),
    "narrow": (Shape(width=2, map_size=(4, 6), channels=2), 0, 1),
    "byte": (Shape(width=8, map_size=(8, 8), channels=8), 1, 0),
    "full-word": (Shape(width=32, map_size=(6, 6), channels=3), 1, 1),
    "odd-width-rest": (Shape(width=11, map_size=(7, 9), channels=3), 0, 1),
    "overlap-3-2": (Shape(12, (3, 3), (2, 2), (13, 13), 4), 0, 1),
    "overlap-3-2-rest": (Shape(12, (3, 3), (2, 2), (10, 14), 2), 1, 1),
    "dense-3-1": (Shape(10, (3, 3), (1, 1), (7, 6), 2), 0, 1),
    "dense-2-1": (Shape(16, (2, 2), (1, 1), (5, 5), 1), 1, 0),
    "overlap-5-2": (Shape(9, (5, 5), (2, 2), (12, 13), 2), 1, 1),
    "oblong": (Shape(16, (2, 3), (3, 2), (11, 10), 3), 0, 1),
    "oblong-long": (Shape(14, (4, 1), (1, 2), (9, 7), 2), 1, 1),
    "gap": (Shape(16, (2, 2), (3, 4), (12, 15), 2), 0, 1),
    "row-window": (Shape(16, (1, 4), (1, 3), (1, 16), 1), 1, 1),
    "whole-map": (Shape(16, (4, 4), (4, 4), (4, 4), 5), 0, 1),
    "one-pixel": (Shape(16, (1, 1), (1, 1), (3, 3), 2), 1, 1),
    "one-beat": (Shape(8, (1, 1), (1, 1), (1, 1), 1), 0, 0),
}
#: Each value of each parameter, each pair of pipeline and index, overlap, gaps, rest, both ends.
FEW = ("mnist", "narrow", "byte", "full-word", "overlap-3-2-rest", "dense-3-1", "oblong",
       "row-window", "one-beat")  # fmt: skip


@pytest.fixture(scope="session")
def small_harness():
    """Harness of a small block with winner index."""
    # processes that share the tests have one each
    name = f"small{os.environ.get('PYTEST_XDIST_WORKER', '')}"
    return make_harness(SMALL, BUILD / "harness" / name, WINNER_INDEX=1)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in FEW else pytest.mark.long) for name in SETS]
)
def test_every_word_is_right(name, tmp_path):
    """Zero differences, and a beat a cycle as long as nobody stalls."""
    shape, pipeline, index = SETS[name]
    program = make_harness(shape, BUILD / "harness" / name, PIPELINE=pipeline, WINNER_INDEX=index)
    beats = int(np.prod(shape.map_size)) * shape.channels
    frames = max(35, 40_000 // beats)
    vectors = tmp_path / "frames.vec"
    write(vectors, shape, *frames_for_test(shape, frames))
    words = frames * int(np.prod(shape.out_size)) * shape.channels

    for stalls in [(0, 0), (0.5, 0), (0, 0.5), (0.4, 0.4), (0.1, 0.9)]:
        process, result = replay(
            program, vectors, "--stall-in", stalls[0], "--stall-out", stalls[1], "--seed", 7
        )
        assert process.returncode == 0, process.stderr
        assert result["words_compared"] == words
        assert result["words_different"] == 0
        if stalls == (0, 0):
            assert result["cycles"] <= frames * beats + pipeline + 66
    assert result["build"]["pipeline"] == pipeline
    assert result["build"]["winner_index"] == index


def test_windows_computed_by_hand(small_harness, tmp_path):
    """Largest potential, first of equals, negative ones; the spike is the winner's alone."""
    potentials = np.zeros((1, 6, 8, 2), np.int32)
    spikes = np.zeros((1, 6, 8, 2), np.uint8)
    potentials[0, 0:2, 0:2, 0] = [[1, 5], [3, 2]]  # winner 1 spikes
    spikes[0, 0:2, 0:2, 0] = [[0, 1], [0, 0]]
    potentials[0, 0:2, 2:4, 0] = [[1, 2], [2, 0]]  # tie of 1 and 2, only 2 spikes
    spikes[0, 0:2, 2:4, 0] = [[0, 0], [1, 0]]
    potentials[0, 0:2, 0:2, 1] = [[-9, -8], [-7, -32768]]  # winner 2, others spike
    spikes[0, 0:2, 0:2, 1] = [[1, 1], [0, 1]]
    potentials[0, 4:6, 6:8, 1] = [[-1, 32766], [-32768, 32767]]  # last window, winner 3
    spikes[0, 4:6, 6:8, 1] = [[0, 0], [0, 1]]
    out_spikes = np.zeros((1, 3, 4, 2), np.uint8)
    winners = np.zeros((1, 3, 4, 2), np.uint16)
    out_spikes[0, 0, 0, 0], winners[0, 0, 0, 0] = 1, 1
    out_spikes[0, 0, 1, 0], winners[0, 0, 1, 0] = 0, 1
    out_spikes[0, 0, 0, 1], winners[0, 0, 0, 1] = 0, 2
    out_spikes[0, 2, 3, 1], winners[0, 2, 3, 1] = 1, 3

    vectors = tmp_path / "hand.vec"
    write(vectors, SMALL, potentials, spikes, (out_spikes, winners))
    process, result = replay(small_harness, vectors)
    assert process.returncode == 0, process.stderr
    assert result["words_compared"] == 24
    for got, want in zip(pool(SMALL, potentials, spikes), (out_spikes, winners), strict=True):
        np.testing.assert_array_equal(got, want)


def test_a_wrong_word_is_found(small_harness, tmp_path):
    """A wrong expectation is reported at its place; index and spike are both compared."""
    potentials, spikes = frames_for_test(SMALL, 9)
    vectors = tmp_path / "wrong.vec"
    for which in (0, 1):
        expected = pool(SMALL, potentials, spikes)
        expected[which][6, 2, 1, 1] ^= 1
        write(vectors, SMALL, potentials, spikes, expected)
        process, result = replay(small_harness, vectors)
        assert process.returncode == 1
        assert result["words_different"] == 1
        assert "frame 6 row 2 column 1 channel 1: got spike" in process.stderr


def test_nothing_compared_is_a_failure(small_harness, tmp_path):
    """A file without frames does not pass."""
    vectors = tmp_path / "empty.vec"
    empty = np.zeros((0, 6, 8, 2), np.int32)
    write(vectors, SMALL, empty, empty)
    process, result = replay(small_harness, vectors)
    assert process.returncode == 1
    assert result["words_compared"] == 0
    assert "nothing was compared" in process.stderr


def broken_files():
    """Vector files that must be refused, with what the message must say."""
    potentials, spikes = frames_for_test(SMALL, 2)
    other = dataclasses.replace(SMALL, width=12)

    def edit(offset, value):
        def apply(data):
            data[offset : offset + len(value)] = value
            return data

        return apply

    return {
        "magic": (SMALL, edit(0, b"X"), "no vector file"),
        "version": (SMALL, edit(8, b"\x07"), "format version 7"),
        "short": (SMALL, lambda data: data[:-1], "its header asks for"),
        "long": (SMALL, lambda data: data + b"\0", "its header asks for"),
        "parameters": (other, lambda data: data, "build a harness with WIDTH=12"),
        "reserved": (SMALL, edit(60, b"\x01"), "reserved"),
        "range": (SMALL, edit(64, b"\x00\x80\x00\x00"), "potential 32768 of frame 0"),
        "spike": (SMALL, edit(64 + 4 * potentials.size, b"\x02"), "a spike of value 2"),
    }, (potentials, spikes)


@pytest.mark.parametrize("name", broken_files()[0])
def test_bad_files_are_refused(name, small_harness, tmp_path):
    """A file for other parameters, or one that is damaged, is refused with the reason."""
    files, (potentials, spikes) = broken_files()
    shape, damage, message = files[name]
    vectors = tmp_path / "bad.vec"
    write(vectors, shape, potentials % 1000, spikes)
    vectors.write_bytes(damage(bytearray(vectors.read_bytes())))
    process, _ = replay(small_harness, vectors)
    assert process.returncode == 2
    assert message in process.stderr


def test_waveform_on_request(small_harness, tmp_path):
    """A build with waveform writes one; a build without it says how to get one."""
    vectors = tmp_path / "frames.vec"
    write(vectors, SMALL, *frames_for_test(SMALL, 4))
    wave = tmp_path / "pool.vcd"
    process, _ = replay(small_harness, vectors, "--wave", wave)
    assert process.returncode == 2
    assert "TRACE=1" in process.stderr

    options = {"WINNER_INDEX": 1, "TRACE": 1, "CXXFLAGS": "-O0"}
    program = make_harness(SMALL, BUILD / "harness" / "trace", **options)
    process, _ = replay(program, vectors, "--wave", wave, "--wave-frames", 1)
    assert process.returncode == 0, process.stderr
    assert "m_axis_tdata" in wave.read_text()


def test_replay_builds_what_a_file_asks_for(tmp_path):
    """``make replay`` reads the parameters from the file; a file that is not there is an error."""
    vectors = tmp_path / "frames.vec"
    write(vectors, SMALL, *frames_for_test(SMALL, 5))
    command = ["make", "--no-print-directory", "-s", "-C", HARDWARE, "replay"]
    command += [f"BIN={Path(sys.executable).parent}", f"BUILD={BUILD / 'replay'}"]
    command += [f"RUNTIME={BUILD / 'runtime'}"]
    process = run([*command, f"VECTORS={vectors}"])
    assert process.returncode == 0, process.stdout + process.stderr
    assert process.stdout.count("pass: 120 of 120 words compared, 0 different") == 4
    process = run([*command, f"VECTORS={tmp_path / 'none.vec'}"])
    assert process.returncode != 0
    assert "name a vector file that is there" in process.stderr
