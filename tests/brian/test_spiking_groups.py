"""Groups that cost something when they spike only, against Brian2's own NeuronGroup."""

from __future__ import annotations

import brian2 as b2
import numpy as np
import pytest
from brian2 import ms
from targets import RUNTIME_TARGETS

from bsnn.brian import FIRST_SPIKE, CalendarGroup, GatedPool, OnePassGroup, TimeOrigin, Windows
from bsnn.geometry import tap_positions
from bsnn.network import NEURON_FORMS

MODEL = """
v : 1
bias : 1 (constant)
threshold : 1 (shared, constant)
gain : 1 (shared, constant)
"""
UPDATE = "v += gain*bias"
RESETS = {"zero": "v = 0", "subtract": "v -= threshold", "several": "v -= threshold\nv *= gain/2"}


def fill(group, seed=0):
    group.bias = np.random.default_rng(seed).integers(-20, 60, len(group)) / 64
    group.threshold = 1
    group.gain = 1


def one_pass_and_stock(reset, size=700):
    """The same neurons, as a `OnePassGroup` and as Brian2 has them."""
    one = OnePassGroup(size, MODEL, update=UPDATE, threshold="v >= threshold", reset=reset)
    stock = b2.NeuronGroup(size, MODEL, threshold="v >= threshold", reset=reset)
    update = stock.run_regularly(UPDATE)
    for group in (one, stock):
        fill(group)
    monitors = [b2.SpikeMonitor(group) for group in (one, stock)]
    return b2.Network(one, stock, update, *monitors), one, stock, monitors


def assert_same(one, stock, monitors):
    assert monitors[0].num_spikes > 300
    np.testing.assert_array_equal(monitors[0].i, monitors[1].i)
    np.testing.assert_array_equal(monitors[0].t / ms, monitors[1].t / ms)
    np.testing.assert_array_equal(one.v, stock.v)


@pytest.mark.parametrize("reset", RESETS.values(), ids=RESETS)
def test_one_pass_is_update_threshold_and_reset(numpy_target, reset):
    network, *objects = one_pass_and_stock(reset)
    network.run(3 * ms)
    assert_same(*objects)


@pytest.mark.long
def test_one_pass_in_cython(cython_target):
    network, *objects = one_pass_and_stock(RESETS["several"])
    network.run(3 * ms)
    assert_same(*objects)


def test_one_pass_in_cpp_standalone(cpp_standalone):
    """Blocks of neurons with and without spikes, the last one not full."""
    network, *objects = one_pass_and_stock(RESETS["several"])
    network.run(3 * ms)
    cpp_standalone()
    assert_same(*objects)


def test_one_pass_loses_no_input_in_the_step_of_a_spike(numpy_target):
    """DESIGN: u = v + input; a spike subtracts the threshold from u, or sets it to zero."""
    found = {}
    for reset in ("zero", "subtract"):
        source = b2.SpikeGeneratorGroup(1, [0, 0, 0], [0, 0.1, 0.2] * ms)
        neuron = OnePassGroup(
            1, "v : 1", update="", threshold="v >= 1", reset=RESETS[reset].replace("threshold", "1")
        )
        synapse = b2.Synapses(source, neuron, on_pre="v_post += 1.5", delay=0 * ms)
        synapse.connect()
        synapse.pre.when, synapse.pre.order = "thresholds", -1
        source.order = -2
        count = b2.SpikeMonitor(neuron)
        network = b2.Network(source, neuron, synapse, count)
        network.run(0.5 * ms)
        found[reset] = (count.num_spikes, neuron.v[0])
    assert found == {"zero": (3, 0), "subtract": (4, 0.5)}


def test_one_pass_refuses_differential_equations(numpy_target):
    with pytest.raises(ValueError, match="integrates no differential equation .*for v"):
        OnePassGroup(3, "dv/dt = -v/ms : 1", update="", threshold="v > 1", reset="v = 0")


def test_one_pass_refuses_a_refractory_period(numpy_target):
    with pytest.raises(NotImplementedError, match="OnePassGroup has no refractory period"):
        OnePassGroup(3, "v : 1", update="", threshold="v > 1", reset="v = 0", refractory=2 * ms)


def test_float32(numpy_target):
    group = OnePassGroup(10, MODEL, update=UPDATE, threshold="v >= threshold", reset="v = 0",
                         dtype=np.float32)  # fmt: skip
    assert group.v[:].dtype == np.float32


def calendar(size, steps, name="planned*"):
    group = CalendarGroup(
        size,
        "spike_step : integer\nwish : integer\nplanned : integer",
        "spike_step = wish\nplanned += 1",
        window_steps=steps,
        name=name,
    )
    group.wish = np.random.default_rng(3).integers(-steps, 2 * steps, size)
    return group


def check_calendar(group, monitor, steps, windows):
    wish = np.array(group.wish)
    neurons = np.flatnonzero((wish >= 0) & (wish < steps))
    expected = {(int(n), int(w * steps + wish[n])) for n in neurons for w in range(windows)}
    found = list(zip(map(int, monitor.i), np.rint(monitor.t / (0.1 * ms)).astype(int), strict=True))
    assert len(found) == len(expected)
    assert set(found) == expected
    # in the order in which Brian2 lists the spikes of a step
    assert found == sorted(found, key=lambda spike: (spike[1], spike[0]))
    assert (np.array(group.planned) == windows).all(), "planned once a window"


@pytest.mark.parametrize("target", RUNTIME_TARGETS)
def test_calendar(target):
    before = b2.prefs.codegen.target
    b2.prefs.codegen.target = target
    try:
        group = calendar(301, 9)
        monitor = b2.SpikeMonitor(group)
        network = b2.Network(group, monitor)
        network.run(2.7 * ms)
        check_calendar(group, monitor, 9, 3)
        # a run that ends within a window goes on where it ended
        network.run(0.4 * ms)
        network.run(0.5 * ms)
        check_calendar(group, monitor, 9, 4)
    finally:
        b2.prefs.codegen.target = before


def test_calendar_in_cpp_standalone(cpp_standalone):
    """More neurons than fit a block, whose last one is not full."""
    group = calendar(2500, 9)
    monitor = b2.SpikeMonitor(group)
    b2.Network(group, monitor).run(2.7 * ms)
    cpp_standalone()
    check_calendar(group, monitor, 9, 3)


def told(form, u, threshold, steps, dtype=np.float64):
    """Steps in which two-stage neurons spike that have reached `u`, `steps` for no spike."""
    equations = NEURON_FORMS[form].equations
    options = {"dtype": dtype, "method": "euler", "name": f"{form}{len(u)}*"}
    objects = [TimeOrigin(b2.defaultclock)]
    model = equations.parsed()
    if equations.plan:
        plan = f"{equations.latch}\n{equations.plan}"
        group = CalendarGroup(len(u), model, plan, window_steps=steps, **options)
    else:
        group = b2.NeuronGroup(
            len(u), model, threshold=equations.threshold, reset=equations.reset, **options
        )
        objects.append(group.run_regularly(equations.every_step, when="after_groups"))
    objects[0].link(group)
    group.window_steps, group.image_interval, group.image_count = steps, 1, 1
    group.u_th, group.share_of_step = threshold, 1 / steps
    group.u = u
    monitor = b2.SpikeMonitor(group)
    b2.Network(group, monitor, *objects).run(steps * 0.1 * ms)
    found = np.full(len(u), steps)
    found[monitor.i] = np.rint(monitor.t / (0.1 * ms))
    assert monitor.num_spikes == np.count_nonzero(found < steps)
    return found


@pytest.mark.parametrize("form", ["calendar", "event"])
@pytest.mark.parametrize(("steps", "threshold"), [(8, 1.0), (5, 0.7), (100, 3.3), (7, 1 / 3)])
def test_potentials_on_a_step_and_next_to_it(numpy_target, form, steps, threshold):
    """The comparison of eq. 4 decides, to the last bit, on either side of each step."""
    exact = threshold * np.arange(-2, 2 * steps + 1) / steps
    u = np.concatenate([exact, np.nextafter(exact, -np.inf), np.nextafter(exact, np.inf), [1e6]])
    level = (u[:, None] * steps >= threshold * np.arange(1, steps + 1)).sum(axis=1)
    np.testing.assert_array_equal(told(form, u, threshold, steps), steps - level)


def test_calendar_needs_the_step_of_the_spike(numpy_target):
    with pytest.raises(ValueError, match="defines 'spike_step : integer'"):
        CalendarGroup(3, "v : 1", "v = 0", window_steps=4)


@pytest.mark.parametrize("padding", [0, 1])
def test_the_first_spike_of_a_window_passes(cpp_standalone, padding):
    """Overlapping windows on maps that are not square, over several time windows."""
    shape, steps = (3, 7, 6), 8
    tables = [
        tap_positions(extent, 3, stride, (padding, padding))
        for extent, stride in zip(shape[1:], (2, 1), strict=True)
    ]
    source = calendar(3 * 7 * 6, steps, name=f"source{padding}")
    # these say a step before the window if they do not spike
    key = "-(spike_step + 1e9*int(spike_step < 0))"
    pool = GatedPool(source, shape, Windows(*tables), key=key, order=1)
    monitor = b2.SpikeMonitor(pool)
    b2.Network(source, pool, monitor).run(3 * steps * 0.1 * ms)
    cpp_standalone()
    wish = np.random.default_rng(3).integers(-steps, 2 * steps, 3 * 7 * 6).reshape(7, 6, 3)
    wish = np.where(wish < 0, 10**6, wish)
    first = np.full((len(tables[0]), len(tables[1]), 3), 10**6)
    for y, rows in enumerate(tables[0]):
        for x, columns in enumerate(tables[1]):
            window = wish[np.ix_(rows[rows >= 0], columns[columns >= 0])]
            first[y, x] = window.reshape(-1, 3).min(axis=0)
    neurons = np.flatnonzero(first.ravel() < steps)
    expected = sorted((w * steps + first.ravel()[n], n) for n in neurons for w in range(3))
    found = list(zip(np.rint(monitor.t / (0.1 * ms)).astype(int), monitor.i, strict=True))
    assert len(found) > 60
    assert found == expected
    counts = [(table >= 0).sum() for table in tables]
    assert pool.fan_out().sum() == 3 * counts[0] * counts[1]


def test_a_pool_fits_its_source(numpy_target):
    source = calendar(10, 4)
    windows = Windows(tap_positions(4, 2, 2, (0, 0)), tap_positions(4, 2, 2, (0, 0)))
    with pytest.raises(ValueError, match="has 10 neurons, not"):
        GatedPool(source, (1, 4, 4), windows, key=FIRST_SPIKE, order=1)
    with pytest.raises(ValueError, match="reach beyond a map of 3x3"):
        GatedPool(source, (1, 3, 3), windows, key=FIRST_SPIKE, order=1)
