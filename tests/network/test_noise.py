"""Random numbers that are a function of a seed, a stream and a number."""

from __future__ import annotations

import contextlib

import brian2 as b2
import numpy as np
import pytest
from targets import RUNTIME_TARGETS

from bsnn.brian import spike_noise
from bsnn.splitmix import splitmix_uniform

LARGEST = 2**53 - 1


GAMMA = 0x9E3779B97F4A7C15


def mix(z: int) -> int:
    """SplitMix64, in whole numbers without end."""
    z %= 2**64
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
    return z ^ (z >> 31)


def by_hand(seed: int, stream: int, number: int) -> float:
    state = mix(mix(seed + GAMMA) + (stream + 1) * GAMMA)
    return (mix(state + (number + 1) * GAMMA) >> 11) / 2**53


def test_the_reference_is_splitmix():
    """Its first numbers from the state 1234567, as other implementations list them."""
    listed = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert [mix(1234567 + k * GAMMA) for k in (1, 2, 3)] == listed


CASES = [
    (seed, stream, number)
    for seed in (0, 1, 77, LARGEST)
    for stream in (0, 3, 10**9, LARGEST)
    for number in (0, 1, 2**31, LARGEST)
]


@pytest.mark.parametrize("dtype", [np.int64, np.uint64, np.float64])
def test_arrays_of_any_type(dtype):
    found = splitmix_uniform(*np.array(CASES).T.astype(dtype))
    assert found.dtype == np.float64
    assert found.tolist() == [by_hand(*case) for case in CASES]


def test_single_numbers_and_broadcasting():
    assert splitmix_uniform(5, 6, 7) == by_hand(5, 6, 7)
    table = splitmix_uniform(3, np.arange(4)[:, None], np.arange(5, dtype=np.int32))
    assert table.tolist() == [[by_hand(3, s, n) for n in range(5)] for s in range(4)]


@pytest.mark.parametrize("along", [0, 1, 2])
def test_they_look_random_along_each_argument(along):
    """Bands of 5 standard deviations of independent uniform numbers."""
    count = 10**6
    arguments = [11, 22, 33]
    arguments[along] = np.arange(count)
    u = splitmix_uniform(*arguments)
    assert u.min() >= 0
    assert u.max() < 1
    assert abs(u.mean() - 1 / 2) < 5 * np.sqrt(1 / 12 / count)
    assert abs(u.var() - 1 / 12) < 5 * np.sqrt(1 / 180 / count)
    assert len(np.unique(u)) > count - 5
    centred = u - u.mean()
    for lag in (1, 2, 7, 28, 784):
        correlation = np.mean(centred[lag:] * centred[:-lag]) / u.var()
        assert abs(correlation) < 5 / np.sqrt(count - lag), lag
    # equally many in each of a hundred parts: chi-squared with 99 degrees of freedom
    parts = np.bincount((u * 100).astype(int), minlength=100)
    assert abs(((parts - count / 100) ** 2).sum() / (count / 100) - 99) < 5 * np.sqrt(2 * 99)


def test_neighbouring_streams_and_seeds_are_independent():
    count = 10**6
    n = np.arange(count)
    first = splitmix_uniform(1, 1, n) - 0.5
    # a swap or a sum of the arguments gives other numbers as well
    for seed, stream, shift in ((1, 2, 0), (2, 1, 0), (1, 2, 1), (2, 1, 1), (1, 0, 1), (0, 1, 1)):
        other = splitmix_uniform(seed, stream, n + shift) - 0.5
        assert abs(np.mean(first * other)) < 5 / 12 / np.sqrt(count), (seed, stream, shift)


@contextlib.contextmanager
def codegen_target(name):
    before = b2.prefs.codegen.target
    b2.prefs.codegen.target = name
    try:
        yield
    finally:
        b2.prefs.codegen.target = before


def noisy_neurons(name="noisy"):
    """Arguments of each type, in an equation, a reset and statements of every step."""
    cases = np.array(CASES)
    group = b2.NeuronGroup(
        len(cases),
        """
        real : 1 (constant)
        wide : 1 (constant)
        now = spike_noise(7, i, t_in_timesteps) : 1
        all_real : 1
        all_whole : 1
        often : 1
        sum_of_now : 1
        """,
        threshold="now > 0.5",
        reset="often += spike_noise(8, i, often)",
        name=name,
        namespace={"spike_noise": spike_noise},
    )
    group.real, group.wide = cases[:, 0], cases[:, 2]
    group.run_regularly("all_real = spike_noise(real, i, wide)")
    group.run_regularly("all_whole = spike_noise(3, i + N*t_in_timesteps, 2147483647)")
    group.run_regularly("sum_of_now += now")
    return group


STEPS = 9


def check(group, monitor):
    i = np.arange(len(CASES))
    real, _, wide = np.array(CASES).T
    np.testing.assert_array_equal(group.all_real, splitmix_uniform(real, i, wide))
    assert group.all_whole[5] == by_hand(3, 5 + len(i) * (STEPS - 1), 2**31 - 1)
    assert len(np.unique(group.all_whole)) == len(i)
    now = splitmix_uniform(7, i, np.arange(STEPS)[:, None])
    np.testing.assert_array_equal(group.sum_of_now, sum(now))
    steps, neurons = np.nonzero(now > 0.5)
    np.testing.assert_array_equal(np.rint(monitor.t / b2.defaultclock.dt), steps)
    np.testing.assert_array_equal(monitor.i, neurons)
    # the fraction of an argument is cut off
    often = np.zeros(len(i))
    for neuron in neurons:
        often[neuron] += splitmix_uniform(8, neuron, often[neuron])
    np.testing.assert_array_equal(group.often, often)


@pytest.mark.parametrize("target", RUNTIME_TARGETS)
def test_in_equations(target):
    with codegen_target(target):
        group = noisy_neurons()
        monitor = b2.SpikeMonitor(group)
        network = b2.Network(group, monitor)
        # neither the number of runs nor the seed of Brian2 matters
        b2.seed(4)
        network.run(4 * b2.defaultclock.dt)
        network.run((STEPS - 4) * b2.defaultclock.dt)
        check(group, monitor)


def test_in_cpp_standalone(cpp_standalone):
    group = noisy_neurons()
    monitor = b2.SpikeMonitor(group)
    b2.Network(group, monitor).run(STEPS * b2.defaultclock.dt)
    cpp_standalone()
    check(group, monitor)


def test_brian_computes_it_once_if_nothing_differs_between_neurons(numpy_target):
    group = b2.NeuronGroup(3, "x : 1\nk : integer (shared)")
    update = group.run_regularly("x += spike_noise(1, 2, k)")
    b2.Network(group).run(b2.defaultclock.dt)
    code = update.codeobj.code.run
    assert code.index("spike_noise(") < code.index("# vector code")
    np.testing.assert_array_equal(group.x, by_hand(1, 2, 0))
