"""What happens once in each time window: statements at its start, values at its end."""

from __future__ import annotations

import brian2 as b2
import numpy as np
import pytest
from brian2.core.base import BrianObjectException
from brian2.units import ms, mV
from targets import RUNTIME_TARGETS

from bsnn.brian import OnePassGroup, SpikeStepRecorder, WindowRecorder, WindowStart
from bsnn.devices import use_code_target
from bsnn.errors import SimulationError

SIZE, WINDOW_STEPS, STEPS = 23, 7, 31
WINDOWS = STEPS // WINDOW_STEPS
DT = 0.1 * ms


@pytest.fixture(params=RUNTIME_TARGETS)
def runtime_target(request):
    before = b2.prefs.codegen.target
    b2.prefs.codegen.target = request.param
    yield
    b2.prefs.codegen.target = before


def make():
    """Neurons that count their spikes; a window begins with `start` in all of them."""
    neurons = OnePassGroup(
        SIZE,
        """
        v : 1
        bias : 1 (constant)
        first : 1 (constant)
        v_th : 1 (constant)
        spike_count : integer
        windows_begun : integer
        excess = v/v_th - gain : 1
        """,
        update="v += bias",
        threshold="v >= v_th",
        reset="v -= v_th; spike_count += 1",
        name="neurons",
        namespace={"gain": 0.25},
    )
    start = WindowStart(
        neurons[:],
        "v = first*v_th\nspike_count = 0\nwindows_begun += 1",
        window_steps=WINDOW_STEPS,
        name="clear",
    )
    counts = WindowRecorder(
        neurons, "spike_count", window_steps=WINDOW_STEPS, windows=WINDOWS, dtype=np.int32,
        name="counts",
    )  # fmt: skip
    others = {
        "v": WindowRecorder(neurons, "v", window_steps=WINDOW_STEPS, windows=WINDOWS),
        "excess": WindowRecorder(
            neurons, "excess + 2*i + t_in_timesteps", window_steps=WINDOW_STEPS, windows=WINDOWS
        ),
        "small": WindowRecorder(
            neurons, "v", window_steps=WINDOW_STEPS, windows=WINDOWS, dtype=np.float32
        ),
        # before the neurons' last step of the window
        "early": WindowRecorder(
            neurons, "v", window_steps=WINDOW_STEPS, windows=WINDOWS, when="start", order=1
        ),
        "part": WindowRecorder(
            neurons[5:12], "v - i", window_steps=WINDOW_STEPS, windows=WINDOWS, name="part"
        ),
        "few": WindowRecorder(neurons, "v", window_steps=WINDOW_STEPS, windows=2),
        "step": WindowRecorder(neurons, "t/dt", window_steps=WINDOW_STEPS, windows=WINDOWS),
    }
    neurons.bias, neurons.first, neurons.v_th = constants()
    return b2.Network(neurons, start, counts, *others.values()), neurons, counts, others


def constants(seed=2):
    rng = np.random.default_rng(seed)
    return (
        rng.integers(-10, 60, SIZE) / 64,
        rng.integers(0, 48, SIZE) / 64,
        rng.integers(32, 65, SIZE) / 32,
    )


def expected(steps=STEPS, seed=2):
    """The same in plain numpy: what is recorded, and what the neurons end with."""
    bias, first, v_th = constants(seed)
    rows = {name: [] for name in ("counts", "v", "excess", "early", "part", "step")}
    v, count = np.zeros(SIZE), np.zeros(SIZE, dtype=int)
    for step in range(steps):
        if step % WINDOW_STEPS == 0:
            v, count = first * v_th, np.zeros(SIZE, dtype=int)
        before = v
        v = v + bias
        spikes = v >= v_th
        v, count = v - spikes * v_th, count + spikes
        if step % WINDOW_STEPS == WINDOW_STEPS - 1:
            rows["counts"].append(count)
            rows["v"].append(v)
            rows["excess"].append(v / v_th - 0.25 + 2 * np.arange(SIZE) + step)
            rows["early"].append(before)
            rows["part"].append(v[5:12] - np.arange(7))
            rows["step"].append(np.full(SIZE, step))
    return {name: np.array(row) for name, row in rows.items()}, v, count


def check(neurons, counts, others, seed=2):
    rows, v, count = expected(seed=seed)
    assert len(rows["counts"]) == WINDOWS
    assert len(np.unique(rows["counts"])) > 4
    np.testing.assert_array_equal(counts.values, rows["counts"])
    assert counts.values.dtype == np.int32
    for name in ("v", "early", "part"):
        np.testing.assert_array_equal(others[name].values, rows[name], err_msg=name)
    np.testing.assert_array_equal(others["few"].values, rows["v"][:2])
    np.testing.assert_array_equal(others["small"].values, rows["v"].astype(np.float32))
    assert others["small"].values.dtype == np.float32
    for name in ("excess", "step"):
        np.testing.assert_allclose(others[name].values, rows[name], rtol=1e-12, err_msg=name)
    np.testing.assert_array_equal(neurons.v, v)
    np.testing.assert_array_equal(neurons.spike_count, count)
    np.testing.assert_array_equal(neurons.windows_begun, WINDOWS + 1)


def test_at_runtime(runtime_target):
    """In pieces that end within windows; and again from a stored state."""
    network, *objects = make()
    network.store()
    for _ in range(2):
        network.run(WINDOW_STEPS * DT)
        assert objects[1].values[1:].any() == 0, "windows that have not ended are zero"
        network.run(3 * DT)
        network.run((STEPS - WINDOW_STEPS - 3) * DT)
        check(*objects)
        network.restore()
        assert not objects[1].values.any()


def test_in_cpp_standalone(cpp_standalone):
    network, *objects = make()
    network.run(STEPS * DT)
    cpp_standalone()
    check(*objects)
    neurons, counts, _ = objects
    first = counts.values
    for seed in (3, 2):
        given = zip((neurons.bias, neurons.first, neurons.v_th), constants(seed), strict=True)
        b2.device.run(run_args=dict(given))
        check(*objects, seed=seed)
        assert (counts.values == first).all() == (seed == 2)


def test_what_is_read_is_a_copy(numpy_target):
    network, _, counts, _ = make()
    network.run(WINDOW_STEPS * DT)
    counts.values[:] = -1
    np.testing.assert_array_equal(counts.values[0], expected(WINDOW_STEPS)[0]["counts"][0])


def test_windows_of_one_step(numpy_target):
    group = b2.NeuronGroup(2, "x : 1")
    start = WindowStart(group, "x += i + 1", window_steps=1)
    recorder = WindowRecorder(group, "x", window_steps=1, windows=3)
    b2.Network(group, start, recorder).run(3 * DT)
    assert recorder.values.tolist() == [[1, 2], [2, 4], [3, 6]]


def test_windows_are_counted_in_steps_of_the_clock_of_the_group(numpy_target):
    """Past 64 s of time, where times in seconds no longer tell the steps apart."""
    group = b2.NeuronGroup(1, "x : 1", dt=300 * ms)
    group.run_regularly("x += 1", when="groups")
    start = WindowStart(group, "x = 0", window_steps=10)
    recorder = WindowRecorder(group, "x", window_steps=10, windows=90)
    assert start.clock is recorder.clock is group.clock
    b2.Network(group, start, recorder).run(900 * 300 * ms)
    np.testing.assert_array_equal(recorder.values, 10)


def test_the_namespace_of_the_run(numpy_target):
    group = b2.NeuronGroup(2, "x : volt")
    start = WindowStart(group, "x = level", window_steps=2)
    recorder = WindowRecorder(group, "x/scale > 1.5", window_steps=2, windows=2, dtype=bool)
    namespace = {"level": 3 * mV, "scale": 1 * mV}
    b2.Network(group, start, recorder).run(4 * DT, namespace=namespace)
    assert recorder.values.dtype == bool
    assert recorder.values.all()


def test_names(numpy_target):
    group = b2.NeuronGroup(2, "x : 1", name="cells")
    named = WindowStart(group, "x = 0", window_steps=2, name="mine")
    recorder = WindowRecorder(group, "x", window_steps=2, windows=2, name="yours")
    assert (named.name, recorder.name) == ("mine", "yours")
    unnamed = [WindowStart(group, "x = 0", window_steps=2) for _ in range(2)]
    assert [start.name for start in unnamed] == ["cells_window_start", "cells_window_start_1"]
    assert WindowRecorder(group, "x", window_steps=2, windows=2).name == "cells_window_recorder"
    assert b2.Network(group, named, recorder)["yours"] is recorder


@pytest.mark.parametrize("kind", ["start", "recorder"])
def test_the_group_has_to_be_in_the_network(numpy_target, kind):
    group = b2.NeuronGroup(2, "x : 1", name="forgotten")
    if kind == "start":
        added = WindowStart(group, "x = 0", window_steps=2)
    else:
        added = WindowRecorder(group, "x", window_steps=2, windows=2)
    with pytest.raises(ValueError, match="not the object on which it depends"):
        b2.Network(added).run(DT)


def test_values_have_no_units(numpy_target):
    group = b2.NeuronGroup(2, "x : volt")
    recorder = WindowRecorder(group, "x", window_steps=2, windows=2)
    with pytest.raises(BrianObjectException) as error:
        b2.Network(group, recorder).run(DT)
    assert isinstance(error.value.__cause__, b2.DimensionMismatchError)


@pytest.fixture(params=RUNTIME_TARGETS)
def code_target(request):
    with use_code_target(request.param):
        yield


@pytest.mark.usefixtures("code_target")
def test_the_first_step_is_chosen():
    group = b2.NeuronGroup(2, "x : 1")
    group.run_regularly("x = t_in_timesteps*10 + i")
    recorder = WindowRecorder(group, "x", window_steps=4, windows=3, first_step=6)
    every = WindowRecorder(group, "x", window_steps=1, windows=3)
    b2.Network(group, recorder, every).run(18 * DT)
    np.testing.assert_array_equal(recorder.values, [[60, 61], [100, 101], [140, 141]])
    np.testing.assert_array_equal(every.values, [[0, 1], [10, 11], [20, 21]])
    with pytest.raises(ValueError, match="no step -1"):
        WindowRecorder(group, "x", window_steps=4, windows=3, first_step=-1)


def spiking(steps_of_spikes):
    """Neurons that spike at two steps each, given as a row; -1 is none."""
    group = b2.NeuronGroup(
        len(steps_of_spikes), "one : integer\nother : integer", name="spiking", reset="",
        threshold="t_in_timesteps == one or t_in_timesteps == other",
    )  # fmt: skip
    group.one, group.other = np.transpose(steps_of_spikes)
    return group


@pytest.mark.usefixtures("code_target")
@pytest.mark.parametrize("window_steps", [5, 300])
def test_steps_of_spikes(window_steps):
    """Windows of 5 steps are kept in bytes, those of 300 are not; every second one is recorded."""
    n = window_steps
    group = spiking([[3, 3 + 2 * n], [3 + n - 1, -1], [-1, -1], [-1, 3 + 2 * n + 4]])
    whole = SpikeStepRecorder(
        group, window_steps=n, windows=2, first_step=3, interval=2, name="whole"
    )
    part = SpikeStepRecorder(group[1:], window_steps=n, windows=2, first_step=3, interval=2)
    b2.Network(group, whole, part).run((3 + 3 * n) * DT)
    expected = [[n, 1, 0, 0], [n, 0, 0, n - 4]]
    np.testing.assert_array_equal(whole.values, expected)
    np.testing.assert_array_equal(part.values, np.array(expected)[:, 1:])
    assert whole.values.dtype == (np.uint8 if window_steps < 256 else np.int32)


@pytest.mark.usefixtures("code_target")
@pytest.mark.parametrize(
    ("steps", "message"),
    [([3, 6], "more than once"), ([1, -1], "outside"), ([9, -1], "outside"), ([30, -1], "outside")],
)
def test_spikes_that_have_no_place_are_noticed(steps, message):
    """Windows of 5 steps from step 3 on, of which the second is not recorded, and two are."""
    group = spiking([steps])
    recorder = SpikeStepRecorder(group, window_steps=5, windows=2, first_step=3, interval=2)
    b2.Network(group, recorder).run(40 * DT)
    with pytest.raises(SimulationError, match=message):
        _ = recorder.values


def test_lengths_are_checked(numpy_target):
    group = b2.NeuronGroup(2, "x : 1")
    with pytest.raises(ValueError, match="at least one step, not 0"):
        WindowStart(group, "x = 0", window_steps=0)
    with pytest.raises(ValueError, match="not 0 of 5"):
        WindowRecorder(group, "x", window_steps=5, windows=0)
    with pytest.raises(ValueError, match="not 2 of 0"):
        WindowRecorder(group, "x", window_steps=0, windows=2)
    with pytest.raises(ValueError, match="cannot be recorded"):
        SpikeStepRecorder(spiking([[1, -1]]), window_steps=2, windows=2, interval=0)
