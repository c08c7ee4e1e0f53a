# SPDX-License-Identifier: MIT
"""Protocol of the block, run by cocotb in the simulator (see test_protocol.py).

The block here is 2x2 windows on a 4x6 map of two channels, 8 bits, with winner index.
"""

from __future__ import annotations

import os
import random

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, Timer
from vectors import Shape, frames_for_test, pool

SHAPE = Shape(width=8, map_size=(4, 6), channels=2)
BEATS = 4 * 6 * 2
WORDS = 2 * 3 * 2
PIPELINE = int(os.environ["POOL_PIPELINE"])


class Bench:
    """Sender, receiver and monitor of one block.

    Inputs change and outputs are read at the falling edge; transfers take place at the rising one.

    Parameters
    ----------
    dut
        The block.
    seed
        Of the pauses.
    """

    def __init__(self, dut, seed: int = 0):
        self.dut = dut
        self.random = random.Random(seed)
        self.pause_in = 0.0
        self.pause_out = 0.0
        self.words: list[tuple[int, int, int]] = []
        # cycle in which each beat was taken and each word became valid
        self.taken: list[int] = []
        self.valid_since: list[int] = []
        self.to_send: list[tuple[int, int, int]] = []
        self.task = None

    async def start(self) -> None:
        """Start the clock, reset, and let sender and receiver run."""
        cocotb.start_soon(Clock(self.dut.clk_i, 10, unit="ns").start())
        await self.restart()

    async def restart(self) -> None:
        """Hold reset for three cycles, then let sender and receiver run from a clean slate."""
        if self.task is not None:
            self.task.cancel()
        self.words.clear()
        self.taken.clear()
        self.valid_since.clear()
        self.to_send.clear()
        self.dut.rst_ni.value = 0
        self.dut.s_axis_tvalid.value = 0
        self.dut.s_axis_tdata.value = 0
        self.dut.s_axis_tuser.value = 0
        self.dut.s_axis_tlast.value = 0
        self.dut.m_axis_tready.value = 0
        await self.cycles(3)
        assert self.dut.s_axis_tready.value == 0
        assert self.dut.m_axis_tvalid.value == 0
        assert self.dut.error_o.value == 0
        self.dut.rst_ni.value = 1
        self.task = cocotb.start_soon(self._run())

    async def _run(self) -> None:
        dut = self.dut
        cycle = 0
        offered = False
        waiting = None
        while True:
            if not offered:
                offered = bool(self.to_send) and self.random.random() >= self.pause_in
                if offered:
                    data, user, last = self.to_send[0]
                    dut.s_axis_tdata.value = data
                    dut.s_axis_tuser.value = user
                    dut.s_axis_tlast.value = last
            ready = self.random.random() >= self.pause_out
            dut.s_axis_tvalid.value = int(offered)
            dut.m_axis_tready.value = int(ready)

            # the outputs are registers: what they are now holds at the coming edge
            if offered and dut.s_axis_tready.value == 1:
                self.to_send.pop(0)
                self.taken.append(cycle)
                offered = False
            if dut.m_axis_tvalid.value == 1:
                word = (
                    int(dut.m_axis_tdata.value),
                    int(dut.m_axis_tuser.value),
                    int(dut.m_axis_tlast.value),
                )
                if waiting is None:
                    self.valid_since.append(cycle)
                assert waiting in (None, word), "the word changed before it was taken"
                waiting = None if ready else word
                if ready:
                    self.words.append(word)
            else:
                assert waiting is None, "the word vanished before it was taken"
            cycle += 1
            await FallingEdge(dut.clk_i)

    def send(self, frames: tuple[np.ndarray, np.ndarray]) -> list[tuple[int, int, int]]:
        """Queue frames.

        Parameters
        ----------
        frames
            Potentials and spikes [frame, row, column, channel].

        Returns
        -------
        words
            What must come out: data, first, last.
        """
        potentials, spikes = frames
        for potential, spike in zip(potentials, spikes, strict=True):
            data = (potential.ravel() & 0xFF) | spike.ravel().astype(int) << 8
            for i, value in enumerate(data):
                self.to_send.append((int(value), int(i == 0), int(i == BEATS - 1)))
        out_spikes, winners = pool(SHAPE, potentials, spikes)
        data = (winners.astype(int) << 1 | out_spikes).reshape(len(potentials), WORDS)
        return [
            (int(value), int(i == 0), int(i == WORDS - 1))
            for frame in data
            for i, value in enumerate(frame)
        ]

    async def cycles(self, count: int) -> None:
        """Wait.

        Parameters
        ----------
        count
            Cycles.
        """
        for _ in range(count):
            await FallingEdge(self.dut.clk_i)

    async def drain(self) -> None:
        """Wait until everything was sent and what it gives must have come out."""
        while self.to_send:
            await FallingEdge(self.dut.clk_i)
        self.pause_out = 0.0
        await self.cycles(10)


@cocotb.test()
async def reset_is_synchronous(dut):
    """Without an edge of the clock reset does nothing; with it the block is quiet."""
    bench = Bench(dut)
    await bench.start()
    await bench.cycles(2)
    assert dut.s_axis_tready.value == 1
    dut.rst_ni.value = 0
    await Timer(2, "ns")
    assert dut.s_axis_tready.value == 1
    await FallingEdge(dut.clk_i)
    assert dut.s_axis_tready.value == 0
    await bench.restart()


@cocotb.test()
async def one_beat_a_cycle(dut):
    """Without pauses a beat is taken in every cycle, over several frames."""
    bench = Bench(dut)
    await bench.start()
    expected = bench.send(frames_for_test(SHAPE, 7))
    await bench.drain()
    assert bench.words == expected
    assert bench.taken[-1] - bench.taken[0] == 7 * BEATS - 1


@cocotb.test()
async def latency(dut):
    """A word is valid 1 + Pipeline cycles after the beat that completes its window was taken."""
    bench = Bench(dut)
    await bench.start()
    bench.send(frames_for_test(SHAPE, 1))
    await bench.drain()
    completing = [
        (row * 6 + column) * 2 + channel
        for row in (1, 3)
        for column in (1, 3, 5)
        for channel in (0, 1)
    ]
    expected = [bench.taken[beat] + 1 + PIPELINE for beat in completing]
    assert bench.valid_since == expected


@cocotb.test()
async def back_pressure_stops_the_sender(dut):
    """With a receiver that never is ready nothing gets lost, and little is taken."""
    bench = Bench(dut)
    await bench.start()
    bench.pause_out = 1.0
    expected = bench.send(frames_for_test(SHAPE, 3, seed=1))
    await bench.cycles(4 * BEATS)
    assert dut.s_axis_tready.value == 0
    assert dut.m_axis_tvalid.value == 1
    assert bench.words == []
    # up to the second word, and with the register stage one beat more
    assert len(bench.taken) == 16 + PIPELINE
    bench.pause_out = 0.0
    await bench.drain()
    assert bench.words == expected


@cocotb.test()
async def ready_does_not_depend_on_ready(dut):
    """A change of m_axis_tready within a cycle does not reach s_axis_tready."""
    bench = Bench(dut)
    await bench.start()
    bench.pause_out = 1.0
    bench.send(frames_for_test(SHAPE, 2))
    await bench.cycles(2 * BEATS)
    assert dut.s_axis_tready.value == 0
    assert dut.m_axis_tvalid.value == 1
    bench.task.cancel()
    dut.m_axis_tready.value = 1
    await Timer(2, "ns")
    assert dut.s_axis_tready.value == 0
    await FallingEdge(dut.clk_i)
    assert dut.s_axis_tready.value == 1


@cocotb.test()
async def random_pauses(dut):
    """Every word is right, and stable while it waits, whatever both sides do."""
    bench = Bench(dut)
    await bench.start()
    for seed, pauses in enumerate([(0.5, 0.0), (0.0, 0.5), (0.3, 0.7)]):
        bench.pause_in, bench.pause_out = pauses
        bench.words.clear()
        expected = bench.send(frames_for_test(SHAPE, 6, seed))
        await bench.drain()
        assert bench.words == expected
        assert dut.error_o.value == 0


@cocotb.test()
async def misplaced_marks_set_the_error(dut):
    """Each kind of wrong mark sets the error, which stays until reset."""

    def flip(beat, user, last):
        def apply(beats):
            data, old_user, old_last = beats[beat]
            beats[beat] = (data, old_user ^ user, old_last ^ last)

        return apply

    def drop(beat):
        return lambda beats: beats.pop(beat)

    damages = [
        flip(0, 1, 0),  # no start
        flip(5, 1, 0),  # start within a frame
        flip(BEATS - 1, 0, 1),  # no end
        flip(7, 0, 1),  # end within a frame
        flip(0, 0, 1),  # end at the start
        drop(9),  # a beat is lost
    ]
    bench = Bench(dut)
    await bench.start()
    for damage in damages:
        bench.send(frames_for_test(SHAPE, 1))
        damage(bench.to_send)
        # the beat behind the frame shows that one is missing
        bench.send(frames_for_test(SHAPE, 1))
        await bench.drain()
        assert dut.error_o.value == 1
        bench.send(frames_for_test(SHAPE, 1))
        await bench.drain()
        assert dut.error_o.value == 1
        await bench.restart()


@cocotb.test()
async def a_start_puts_the_block_into_step(dut):
    """After a cut frame the next one, which begins with its mark, is pooled right."""
    bench = Bench(dut)
    await bench.start()
    bench.send(frames_for_test(SHAPE, 1))
    del bench.to_send[29:]
    await bench.drain()
    # all windows of the first two rows and no more
    assert len(bench.words) == WORDS // 2
    bench.words.clear()
    expected = bench.send(frames_for_test(SHAPE, 3, seed=5))
    await bench.drain()
    assert bench.words == expected
    assert dut.error_o.value == 1


@cocotb.test()
async def reset_within_a_frame(dut):
    """After reset the next beat is the first of a frame, and nothing of the old one comes out."""
    bench = Bench(dut)
    await bench.start()
    bench.pause_out = 1.0
    bench.send(frames_for_test(SHAPE, 1, seed=2))
    await bench.cycles(40)
    assert dut.m_axis_tvalid.value == 1
    bench.pause_out = 0.0
    await bench.restart()
    expected = bench.send(frames_for_test(SHAPE, 2, seed=3))
    await bench.drain()
    assert bench.words == expected
    assert dut.error_o.value == 0
