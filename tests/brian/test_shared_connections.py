"""`Convolution` and `Dense` in plain Brian2 scripts: against PyTorch and against Synapses."""

from __future__ import annotations

import brian2 as b2
import numpy as np
import pytest
import torch
from brian2 import ms, mV, nS
from fuzzing import examples
from hypothesis import given
from hypothesis import strategies as st
from targets import RUNTIME_TARGETS
from torch.nn import functional

import bsnn
from bsnn.brian import AveragePooling, Convolution, Dense, MaxPooling

STEPS = 12


def channel_last(values: torch.Tensor) -> np.ndarray:
    """Bring maps ``(n, channels, height, width)`` to the order of neurons."""
    return values.permute(0, 2, 3, 1).reshape(len(values), -1).numpy()


def pooled(maps: torch.Tensor, pool) -> torch.Tensor:
    if pool is None:
        return maps
    take = functional.max_pool2d if isinstance(pool, MaxPooling) else functional.avg_pool2d
    return take(maps, pool.size, pool.stride, pool.padding)


def torch_matrix(convolve, shape) -> np.ndarray:
    """The weight of each pair ``(source, target)`` of a linear map, in the order of neurons."""
    size = int(np.prod(shape))
    sources = torch.eye(size, dtype=torch.float64)
    maps = sources.reshape(size, shape[1], shape[2], shape[0]).permute(0, 3, 1, 2)
    return channel_last(convolve(maps))


def dyadic(rng, shape) -> np.ndarray:
    """Weights whose sums are exact in any order."""
    return rng.integers(-16, 17, size=shape) / 32


def spikes_at_random(rng, neurons: int, probability: float = 0.2):
    """A group that spikes in each step with some of its neurons, and the spikes."""
    raster = rng.random((STEPS, neurons)) < probability
    step, neuron = np.nonzero(raster)
    return b2.SpikeGeneratorGroup(neurons, neuron, step * 0.1 * ms), raster


@st.composite
def geometries(draw):
    pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
    groups = draw(st.integers(1, 3))
    kernel = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    pool = draw(st.sampled_from([None, MaxPooling, AveragePooling]))
    if pool is not None:
        size = draw(st.sampled_from([1, 2, (2, 1), (4, 2)]))
        pool = pool(size, draw(st.sampled_from([None, 1, (2, 1)])), 0 if size == 1 else (1, 0))
        if pool.size == (2, 1):
            pool = type(pool)((2, 1), pool.stride, 0)
    return {
        "shape": (groups * draw(st.integers(1, 2)), *draw(st.tuples(*[st.integers(6, 9)] * 2))),
        "kernel": (groups * draw(st.integers(1, 3)), kernel),
        "stride": draw(pair),
        "padding": (draw(st.integers(0, 3)), draw(st.integers(0, 3))),
        "dilation": draw(pair),
        "groups": groups,
        "pool": pool,
        "delay": draw(st.integers(0, 4)),
        "seed": draw(st.integers(0, 99)),
    }  # fmt: skip


@given(geometries())
@examples(60)
def test_any_geometry_against_torch(geometry):
    """The sum of what has arrived is the convolution of the spikes, exactly."""
    rng = np.random.default_rng(geometry["seed"])
    shape, groups, pool = geometry["shape"], geometry["groups"], geometry["pool"]
    outputs, size = geometry["kernel"]
    kernel = dyadic(rng, (outputs, shape[0] // groups, *size))
    options = {name: geometry[name] for name in ("stride", "padding", "dilation", "groups")}
    source, raster = spikes_at_random(rng, int(np.prod(shape)))
    maps = torch.from_numpy(raster.astype(float)).reshape(STEPS, shape[1], shape[2], shape[0])
    try:
        arriving = functional.conv2d(
            pooled(maps.permute(0, 3, 1, 2), pool), torch.from_numpy(kernel), **options
        )
    except RuntimeError:
        return  # PyTorch says that the kernel does not fit
    delay = geometry["delay"]
    expected = channel_last(arriving[: STEPS - delay]).sum(axis=0)
    before = b2.prefs.codegen.target
    b2.prefs.codegen.target = "numpy"
    try:
        target = b2.NeuronGroup(len(expected), "total : 1")
        conv = Convolution(source, target, kernel, "total_post += w", source_shape=shape,
                           pool=pool, delay=delay * 0.1 * ms, **options)  # fmt: skip
        assert conv.target_shape == tuple(arriving.shape[1:])
        np.testing.assert_array_equal(conv.kernel, kernel)
        b2.Network(source, target, conv).run(STEPS * 0.1 * ms)
    finally:
        b2.prefs.codegen.target = before
    # a mean over a window is not dyadic unless its size is
    np.testing.assert_allclose(target.total, expected, atol=1e-12)


LIF = """
dv/dt = (rest - v + drive)/(8*ms) : volt (unless refractory)
dg/dt = -g/(3*ms) : siemens
drive = g*resistance : volt
resistance : volt/siemens
gain : 1
factor : 1 (shared)
heard : integer
"""

ON_PRE = """
effect = scaled(w)*factor_post
g_post += effect*gain_post
v += 0.25*mV*w/nS
heard_post += 1
"""

CASES = {
    "plain": {"padding": 1},
    "strided": {"stride": 2, "padding": (2, 1)},
    "groups": {"groups": 2, "dilation": 2, "padding": 2},
    "depthwise": {"groups": 4, "stride": (1, 2)},
    "late": {"delay": 0.7 * ms},
    "averaged": {"pool": AveragePooling(2, 2), "padding": 1},
    "averaged_overlapping": {"pool": AveragePooling((3, 2), 1, (1, 1)), "delay": 0.3 * ms},
}


@b2.implementation("cpp", "double scaled(double x) { return 2*x; }")
@b2.implementation("cython", "cdef double scaled(double x):\n    return 2*x")
@b2.check_units(x=b2.siemens, result=b2.siemens)
def scaled(x):
    return 2 * x


def lif(name, size):
    group = b2.NeuronGroup(
        size, LIF, threshold="v > -52*mV", reset="v = rest", refractory=0.4 * ms, method="euler",
        namespace={"rest": -60 * mV}, name=name,
    )  # fmt: skip
    group.v = -60 * mV
    group.resistance = 30 * mV / (1 * nS)
    group.gain = np.linspace(0.5, 1.5, size)
    group.factor = 0.5
    return group


def test_same_spikes_as_synapses_in_a_script_of_the_users(run):
    """LIF neurons with units and refractoriness, statements with a function of the user's."""
    rng = np.random.default_rng(5)
    shape = (4, 7, 6)
    size = int(np.prod(shape))
    step, neuron = np.nonzero(rng.random((200, size)) < 0.08)
    source = b2.SpikeGeneratorGroup(size, neuron, step * 0.1 * ms)
    kernels, matrices = {}, {}
    for name, case in CASES.items():
        options = {key: value for key, value in case.items() if key not in ("pool", "delay")}
        kernels[name] = rng.normal(size=(8, 4 // case.get("groups", 1), 3, 2))

        pool = case.get("pool")

        def convolve(maps, kernel=kernels[name], options=options, pool=pool):
            return functional.conv2d(pooled(maps, pool), torch.from_numpy(kernel), **options)

        matrices[name] = torch_matrix(convolve, shape)
    # all cases end in one group each way, one beside the other: few objects to compile
    ends = np.cumsum([matrix.shape[1] for matrix in matrices.values()])
    shared_lif, explicit_lif = lif("shared_lif", ends[-1]), lif("explicit_lif", ends[-1])
    spikes = [b2.SpikeMonitor(group) for group in (shared_lif, explicit_lif)]
    network = b2.Network(source, shared_lif, explicit_lif, *spikes)
    where = {}
    for (name, case), end in zip(CASES.items(), ends, strict=True):
        matrix = matrices[name]
        where[name] = slice(end - matrix.shape[1], end)
        network.add(
            Convolution(source, shared_lif[where[name]], kernels[name] * nS, ON_PRE,
                        source_shape=shape, namespace={"scaled": scaled}, **case)
        )  # fmt: skip
        explicit = b2.Synapses(
            source, explicit_lif[where[name]], "w : siemens", on_pre=ON_PRE,
            delay=case.get("delay", 0 * ms), namespace={"scaled": scaled},
        )  # fmt: skip
        i, j = np.nonzero(matrix)
        explicit.connect(i=i, j=j)
        explicit.w = matrix[i, j] * nS
        network.add(explicit)
    run(network, 20 * ms)
    shared, explicit = spikes
    np.testing.assert_array_equal(shared.i, explicit.i)
    np.testing.assert_array_equal(shared.t / ms, explicit.t / ms)
    # -ffast-math lets the compiler order the products of a statement as it likes
    np.testing.assert_allclose(shared_lif.g / nS, explicit_lif.g / nS, atol=1e-9)
    for name, case in where.items():
        assert np.isin(shared.i, np.arange(case.start, case.stop)).sum() > 30, name
        if "overlapping" not in name:
            np.testing.assert_array_equal(shared_lif.heard[case], explicit_lif.heard[case])


def test_max_pooling_at_the_source(run):
    """Each window of neurons counts once in a step, whatever lies in it."""
    rng = np.random.default_rng(2)
    shape, pool = (3, 6, 7), MaxPooling((3, 2), (2, 1), (1, 0))
    source, raster = spikes_at_random(rng, int(np.prod(shape)))
    maps = torch.from_numpy(raster.astype(float)).reshape(STEPS, 6, 7, 3).permute(0, 3, 1, 2)
    kernel = dyadic(rng, (5, 3, 2, 3))
    arriving = functional.conv2d(pooled(maps, pool), torch.from_numpy(kernel), padding=1)
    expected = channel_last(arriving).sum(axis=0)
    target = b2.NeuronGroup(len(expected), "total : 1")
    conv = Convolution(source, target, kernel, "total += w", source_shape=shape, pool=pool,
                       padding=1)  # fmt: skip
    weights = dyadic(rng, (4, int(np.prod(conv.pooled_shape))))
    judge = b2.NeuronGroup(4, "total : 1")
    dense = Dense(source, judge, weights, "total += w", source_shape=shape, pool=pool)
    run(b2.Network(source, target, judge, conv, dense), STEPS * 0.1 * ms)
    np.testing.assert_array_equal(target.total, expected)
    np.testing.assert_array_equal(judge.total, weights @ channel_last(pooled(maps, pool)).sum(0))


def test_dense_between_subgroups_and_custom_events(run):
    """Subgroups of both groups, an event that is no spike, a delay, a float32 matrix."""
    rng = np.random.default_rng(4)
    source = b2.NeuronGroup(
        30, "x = (i*7 + t_in_timesteps*11) % 13 : integer", threshold="x == 1",
        reset="", events={"odd": "x == 3 or x == 8"},
    )  # fmt: skip
    target = b2.NeuronGroup(20, "spiked : 1\nodd : 1\nweighted : 1")
    weights = dyadic(rng, (6, 12))
    parts = source[5:17], target[9:15]
    network = b2.Network(
        source,
        target,
        Dense(*parts, weights, "spiked += w", dtype=np.float32),
        Dense(*parts, weights, "odd += w*(1 + j)", on_event="odd", delay=0.4 * ms),
        Dense(*parts, weights, "weighted += w*i*x_pre", model="unused : 1 (shared)"),
    )
    run(network, STEPS * 0.1 * ms)
    x = (np.arange(30) * 7 + np.arange(STEPS)[:, None] * 11) % 13
    spikes, odd = (x == 1)[:, 5:17], ((x == 3) | (x == 8))[: STEPS - 4, 5:17]
    expected = np.zeros((3, 20))
    expected[0, 9:15] = weights @ spikes.sum(axis=0)
    expected[1, 9:15] = weights @ odd.sum(axis=0) * (1 + np.arange(6))
    expected[2, 9:15] = weights @ (spikes * np.arange(12)).sum(axis=0)
    np.testing.assert_array_equal([target.spiked, target.odd, target.weighted], expected)


def test_a_group_connected_to_itself(run):
    rng = np.random.default_rng(0)
    group = b2.NeuronGroup(48, "v : 1\nbias : 1 (constant)", threshold="v > 1", reset="v = 0")
    twin = b2.NeuronGroup(48, "v : 1\nbias : 1 (constant)", threshold="v > 1", reset="v = 0")
    kernel = dyadic(rng, (3, 3, 3, 3))
    matrix = torch_matrix(
        lambda maps: functional.conv2d(maps, torch.from_numpy(kernel), padding=1), (3, 4, 4)
    )
    conv = Convolution(group, group, kernel, "v_post += w", source_shape=(3, 4, 4), padding=1)
    synapses = b2.Synapses(twin, twin, "w : 1", on_pre="v_post += w")
    i, j = np.nonzero(matrix)
    synapses.connect(i=i, j=j)
    synapses.w = matrix[i, j]
    objects = [group, twin, conv, synapses]
    for neurons in (group, twin):
        neurons.bias = np.linspace(0.05, 0.3, 48)
        objects.append(neurons.run_regularly("v += bias"))
    monitors = [b2.SpikeMonitor(neurons) for neurons in (group, twin)]
    run(b2.Network(*objects, *monitors), 5 * ms)
    assert monitors[0].num_spikes > 100
    np.testing.assert_array_equal(monitors[0].i, monitors[1].i)
    np.testing.assert_array_equal(monitors[0].t / ms, monitors[1].t / ms)


@pytest.fixture
def groups(numpy_target):
    """A source of 2x4x5 neurons, and a target of 3x4x5."""
    source = b2.NeuronGroup(40, "v : 1", threshold="v > 1", reset="v = 0", name="eye")
    return source, b2.NeuronGroup(60, "v : 1\ng : siemens\ns : 1 (shared)", name="brain")


def convolution(pair, on_pre="v_post += w", kernel=None, **options):
    kernel = np.ones((3, 2, 3, 3)) if kernel is None else kernel
    return Convolution(
        *pair, kernel, on_pre, **{"source_shape": (2, 4, 5), "padding": 1, **options}
    )


def test_what_it_does_not_offer_names_synapses(groups):
    for options in (
        {"on_pre": "w += 0.1"},
        {"on_pre": "v_post += w\nw = clip(w, 0, 1)"},
        {"on_pre": "v_pre = 0"},
        {"on_pre": "n += 1", "model": "n : integer (shared)"},
        {"model": "trace : 1"},
        {"model": "dtrace/dt = -trace/ms : 1"},
        {"on_post": "w += 1"},
        {"delay": [1, 2] * ms},
    ):
        with pytest.raises(NotImplementedError, match="connectivity='synapses'"):
            convolution(groups, **options)


def test_bad_input(groups):
    with pytest.raises(ValueError, match="'brain' has 60 neurons; the connections reach 18"):
        convolution(groups, padding=0)
    with pytest.raises(ValueError, match="'eye' has 40 neurons; source_shape="):
        convolution(groups, source_shape=(2, 4, 4))
    with pytest.raises(ValueError, match="takes 4 channels, the source has 2"):
        convolution(groups, kernel=np.ones((3, 4, 3, 3)))
    with pytest.raises(ValueError, match="kernel has shape"):
        convolution(groups, kernel=np.ones((3, 2, 3)))
    with pytest.raises(ValueError, match="do not divide into 2 groups"):
        convolution(groups, groups=2)
    with pytest.raises(ValueError, match="no event 'spark'"):
        convolution(groups, on_event="spark")
    with pytest.raises(ValueError, match="negative"):
        convolution(groups, delay=-1 * ms)
    with pytest.raises(b2.DimensionMismatchError, match="units of seconds"):
        convolution(groups, delay=1 * mV)
    with pytest.raises(TypeError, match="pool is 2"):
        convolution(groups, pool=2)
    with pytest.raises(ValueError, match="stands for a window"):
        convolution(groups, "v_post += w*v_pre", pool=MaxPooling(1))
    with pytest.raises(ValueError, match="weights take 39 inputs, but the source has 40"):
        Dense(*groups, np.ones((60, 39)), "v += w")
    with pytest.raises(ValueError, match="needs source_shape"):
        Dense(*groups, np.ones((60, 40)), "v += w", pool=MaxPooling(2))
    with pytest.raises(ValueError, match="weights have shape"):
        Dense(*groups, np.ones(40), "v += w")


def test_units_are_checked_at_the_run(groups):
    conv = convolution(groups, "g_post += w", name="mismatch")
    with pytest.raises(b2.BrianObjectException) as error:
        b2.Network(*groups, conv).run(0 * ms)
    assert isinstance(error.value.__cause__, b2.DimensionMismatchError)
    conv = convolution(groups, "g_post += w", kernel=np.ones((3, 2, 3, 3)) * nS)
    b2.Network(*groups, conv).run(0 * ms)
    assert conv.w.dim is b2.siemens.dim


def test_it_looks_like_brian2(groups):
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(3, 2, 3, 3))
    conv = convolution(groups, "v_post += w*boost", kernel=kernel, name="retina", delay=0.2 * ms,
                       model="boost : 1 (shared)")  # fmt: skip
    assert repr(conv) == (
        "<Convolution 'retina' with 3x3 kernels from 'eye' (2x4x5) to 'brain' (3x4x5), on_pre "
        "'v_post += w*boost'>"
    )
    assert conv.delay == 0.2 * ms
    assert len(conv.w) == kernel.size == conv.N
    assert (conv.pre.when, conv.pre.order) == ("synapses", -1)
    assert {"retina", "retina_pre"} <= {
        obj.name for obj in b2.Network(*groups, conv).sorted_objects
    }
    conv.w = 2 * conv.w[:]
    np.testing.assert_array_equal(conv.kernel, 2 * kernel)
    conv.kernel = kernel
    assert conv.w[0] == kernel[0, 0, 0, -1]
    with pytest.raises(ValueError, match="kernel has shape"):
        conv.kernel = kernel[:2]
    dense = Dense(*groups, rng.normal(size=(60, 40)), "v += w", name="retina_dense")
    assert "from 'eye' (40) to 'brain' (60)" in repr(dense)
    dense.matrix = np.arange(2400).reshape(60, 40)
    assert list(dense.w[:3]) == [0, 40, 80]


def test_connections_lists_what_synapses_would_store(groups):
    kernel = np.random.default_rng(0).normal(size=(3, 2, 3, 3))
    conv = convolution(groups, kernel=kernel)
    i, j, k = conv.connections()
    matrix = np.zeros((40, 60))
    np.add.at(matrix, (i, j), conv.w[:][k])
    expected = torch_matrix(
        lambda maps: functional.conv2d(maps, torch.from_numpy(kernel), padding=1), (2, 4, 5)
    )
    np.testing.assert_array_equal(matrix, expected)
    assert (np.diff(i) >= 0).all()


def test_namespace_of_the_run_and_magic(groups):
    """As in any Brian2 script: names are looked up where the run is started."""
    source, target = groups
    source.v = 2
    conv = convolution(groups, "v_post += w*strength")
    strength = 0.5
    b2.Network(source, target, conv).run(0.1 * ms)
    assert target.v[:].max() == 18 * strength
    b2.start_scope()
    eye = b2.NeuronGroup(40, "v : 1", threshold="v > 1", reset="v = 0")
    seen = b2.NeuronGroup(60, "v : 1")
    dense = Dense(eye, seen, np.ones((60, 40)), "v += w*strength")
    eye.v = 2
    b2.run(0.1 * ms)
    assert (seen.v[:] == 20).all()
    assert dense.active


def test_inactive_objects_pass_nothing_on(groups):
    source, target = groups
    source.v = 2
    conv = convolution(groups)
    conv.active = False
    network = b2.Network(source, target, conv)
    network.run(0.1 * ms)
    assert (target.v[:] == 0).all()
    conv.active = True
    source.v = 2
    network.run(0.1 * ms)
    assert target.v[:].max() == 18


def test_the_slot_can_be_chosen(groups):
    """In the slot of the thresholds, after the source's and before the target's own."""
    source, _ = groups
    target = b2.NeuronGroup(60, "v : 1", threshold="v >= 18", reset="v = 0", order=5)
    source.v = 2
    conv = Convolution(source, target, np.ones((3, 2, 3, 3)), "v += w", source_shape=(2, 4, 5),
                       padding=1, when="thresholds", order=1)  # fmt: skip
    monitor = b2.SpikeMonitor(target)
    b2.Network(source, target, conv, monitor).run(0.1 * ms)
    assert monitor.num_spikes == 3 * 2 * 3


@pytest.mark.parametrize("target", RUNTIME_TARGETS)
def test_store_and_restore_with_spikes_on_their_way(target):
    before = b2.prefs.codegen.target
    b2.prefs.codegen.target = target
    try:
        rng = np.random.default_rng(1)
        source, _ = spikes_at_random(rng, 40)
        seen = b2.NeuronGroup(60, "total : 1")
        conv = convolution((source, seen), "total += w", kernel=dyadic(rng, (3, 2, 3, 3)),
                           delay=0.5 * ms)  # fmt: skip
        network = b2.Network(source, seen, conv)
        network.store("fresh")
        network.run(0.4 * ms)
        network.store("on their way")
        network.run(0.8 * ms)
        once = np.array(seen.total)
        assert np.count_nonzero(once)
        for moment, rest in (("on their way", 0.8), ("fresh", 1.2), ("on their way", 0.8)):
            network.restore(moment)
            network.run(rest * ms)
            np.testing.assert_array_equal(seen.total, once, err_msg=moment)
    finally:
        b2.prefs.codegen.target = before


def test_delays_are_whole_steps(groups):
    network = b2.Network(*groups, convolution(groups, delay=0.25 * ms))
    with pytest.raises(b2.BrianObjectException) as error:
        network.run(0 * ms)
    assert "not a whole number of steps of 100. us" in str(error.value.__cause__)


def test_another_step_with_spikes_on_their_way_is_refused():
    clock = b2.Clock(dt=0.1 * ms)
    source = b2.NeuronGroup(4, "v : 1", threshold="v > 1", reset="", clock=clock)
    target = b2.NeuronGroup(3, "v : 1", clock=clock)
    dense = Dense(source, target, np.ones((3, 4)), "v += w", delay=0.4 * ms)
    network = b2.Network(source, target, dense)
    network.run(0 * ms)
    clock.dt = 0.2 * ms
    with pytest.raises(b2.BrianObjectException) as error:
        network.run(0 * ms)
    assert "step of the simulation has changed" in str(error.value.__cause__)


def test_float32_within_its_rounding(numpy_target):
    rng = np.random.default_rng(3)
    source, raster = spikes_at_random(rng, 40)
    weights = rng.normal(size=(30, 40))
    target = b2.NeuronGroup(30, "total : 1", dtype=np.float32)
    dense = Dense(source, target, weights, "total += w", dtype=np.float32)
    b2.Network(source, target, dense).run(STEPS * 0.1 * ms)
    assert dense.w[:].dtype == np.float32
    np.testing.assert_allclose(target.total, weights @ raster.sum(axis=0), atol=1e-4)


def test_weights_by_run_args(cpp_standalone):
    """One binary, two kernels, two results; and the first again."""
    rng = np.random.default_rng(6)
    kernels = [dyadic(rng, (3, 2, 3, 3)) for _ in range(2)]
    source, raster = spikes_at_random(rng, 40)
    target = b2.NeuronGroup(60, "total : 1")
    conv = convolution((source, target), "total += w", kernel=kernels[0])
    b2.Network(source, target, conv).run(STEPS * 0.1 * ms)
    cpp_standalone(run=False)
    counts = torch.from_numpy(raster.sum(axis=0, dtype=float)).reshape(1, 4, 5, 2)
    for kernel in (*kernels, kernels[0]):
        b2.device.run(with_output=False, run_args={conv.w: conv.in_memory_order(kernel)})
        expected = functional.conv2d(
            counts.permute(0, 3, 1, 2), torch.from_numpy(kernel), padding=1
        )
        np.testing.assert_array_equal(target.total, channel_last(expected)[0])


def test_a_target_without_templates_is_named(groups, monkeypatch):
    class Other(bsnn.brian.targets.b2.get_device().code_object_class()):
        templater = b2.codegen.runtime.numpy_rt.NumpyCodeObject.templater.derive(
            "brian2.codegen.runtime.numpy_rt", extension=".other"
        )

    monkeypatch.setattr("bsnn.brian.targets._stock_class", lambda: Other)
    with pytest.raises(b2.BrianObjectException) as error:
        b2.Network(*groups, convolution(groups)).run(0 * ms)
    assert "no template 'convolution' for the target Other" in str(error.value.__cause__)
