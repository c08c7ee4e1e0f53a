"""Images side by side, against one after the other and against Synapses."""

from __future__ import annotations

import itertools

import brian2 as b2
import numpy as np
import pytest
import test_max_pooling
import test_shared_connections
import torch
from brian2 import ms
from fuzzing import examples
from hypothesis import assume, given
from hypothesis import strategies as st
from test_max_pooling import expected_winners
from test_shared_connections import channel_last, dyadic, pooled
from torch.nn import functional

from bsnn.brian import AveragePooling, Convolution, Dense, GatedPool, MaxPooling, Windows
from bsnn.devices import use_code_target
from bsnn.graph import MaxPool2d

STEPS = 12
DT = 0.1 * ms
MAPS = (2, 4, 5)


def spiking_at_random(rng, neurons: int, **options) -> tuple[b2.NeuronGroup, np.ndarray]:
    """A group that spikes in each step with some of its neurons, and the spikes."""
    raster = rng.random((STEPS, neurons)) < 0.2
    group = b2.NeuronGroup(
        neurons,
        "spiking = raster(t, i) > 0.5 : boolean\nlabel : integer (constant)",
        threshold="spiking",
        reset="",
        namespace={"raster": b2.TimedArray(raster.astype(float), dt=DT)},
        **options,
    )
    group.label = "i % 7"
    return group, raster


def images_of(raster: np.ndarray, shape) -> torch.Tensor:
    """The spikes of a batch as maps ``(steps * images, channels, height, width)``."""
    channels, height, width = shape
    maps = torch.from_numpy(raster.astype(float)).reshape(-1, height, width, channels)
    return maps.permute(0, 3, 1, 2)


def parts(group, batch: int, first: int, size: int) -> list:
    """The images of a batch that begins at a neuron."""
    return [group[first + b * size : first + (b + 1) * size] for b in range(batch)]


def assert_same_spikes(monitors) -> None:
    """Compare spikes, in the order in which the groups list them."""
    found, expected = monitors
    np.testing.assert_array_equal(found.i, expected.i)
    np.testing.assert_array_equal(found.t / ms, expected.t / ms)


@given(
    geometry=test_shared_connections.geometries(),
    batch=st.integers(2, 4),
    offsets=st.tuples(st.integers(0, 5), st.integers(0, 5)),
    dense=st.booleans(),
)
@examples(40)
def test_any_geometry_is_that_of_each_image(geometry, batch, offsets, dense):
    """Spikes and values of a batch, a part of each group, are those of as many objects."""
    rng = np.random.default_rng(geometry["seed"])
    shape, pool = geometry["shape"], geometry["pool"]
    outputs, size = geometry["kernel"]
    weights = dyadic(rng, (outputs, shape[0] // geometry["groups"], *size))
    options = {name: geometry[name] for name in ("stride", "padding", "dilation", "groups")}
    maps = pooled(torch.zeros((1, *shape), dtype=torch.float64), pool)
    try:
        reached = functional.conv2d(maps, torch.from_numpy(weights), **options).numel()
    except RuntimeError:
        assume(False)  # PyTorch says that the kernel does not fit
    if dense:
        options, reached = {}, outputs
        weights = dyadic(rng, (outputs, maps.numel()))
    options |= {"source_shape": shape, "pool": pool, "delay": geometry["delay"] * DT}
    # after max-pooling no neuron of the source is meant
    effect = "w" if isinstance(pool, MaxPooling) else "w*(1 + label_pre)"
    on_pre = f"v_post += {effect}; n_post += 1 + j % {reached}"
    neurons = int(np.prod(shape))
    with use_code_target("numpy"):
        source, _ = spiking_at_random(rng, batch * neurons + sum(offsets))
        targets = [
            b2.NeuronGroup(
                batch * reached + sum(offsets), "v : 1\nn : 1", threshold="v > 2", reset="v = -1"
            )
            for _ in range(2)
        ]
        kind = Dense if dense else Convolution
        together, apart = (
            [
                kind(*ends, weights, on_pre, batch=count, **options)
                for ends in zip(
                    parts(source, batch // count, offsets[0], count * neurons),
                    parts(target, batch // count, offsets[1], count * reached),
                    strict=True,
                )
            ]
            for count, target in zip((batch, 1), targets, strict=True)
        )
        monitors = [b2.SpikeMonitor(target) for target in targets]
        b2.Network(source, *targets, *together, *apart, *monitors).run(STEPS * DT)
    assert_same_spikes(monitors)
    np.testing.assert_array_equal(targets[0].v, targets[1].v)
    np.testing.assert_array_equal(targets[0].n, targets[1].n)
    assert len(together[0].w) == weights.size


CASES = {
    "strided": {"stride": (1, 2), "padding": (2, 1), "delay": 3 * DT},
    "groups": {"groups": 2, "dilation": (1, 2), "padding": 2},
    # shares of 1/8, which are exact
    "averaged": {"pool": AveragePooling((4, 2), 1, (1, 0)), "padding": 1, "delay": DT},
}


def test_same_spikes_as_synapses(run):
    """Statements with numbers and values of both neurons."""
    rng = np.random.default_rng(5)
    shape, batch = (4, 5, 4), 3
    source, _ = spiking_at_random(rng, batch * 80)
    kernels, ends = {}, [5]
    for name, case in CASES.items():
        kernels[name] = dyadic(rng, (6, 4 // case.get("groups", 1), 2, 3))
        options = {key: value for key, value in case.items() if key not in ("pool", "delay")}
        maps = pooled(torch.zeros((batch, *shape), dtype=torch.float64), case.get("pool"))
        convolved = functional.conv2d(maps, torch.from_numpy(kernels[name]), **options)
        ends.append(ends[-1] + convolved.numel())
    # all cases end in one group each way, one beside the other: few objects to compile
    targets = [
        b2.NeuronGroup(ends[-1], "v : 1\ntold : 1", threshold="v > 0.5", reset="v = 0")
        for _ in range(2)
    ]
    monitors = [b2.SpikeMonitor(target) for target in targets]
    net = b2.Network(source, *targets, *monitors)
    for (name, case), (begin, end) in zip(CASES.items(), itertools.pairwise(ends), strict=True):
        on_pre = "v_post += w; told_post += (i + 2*j)*label_pre"
        conv = Convolution(source, targets[0][begin:end], kernels[name], on_pre, batch=batch,
                           source_shape=shape, **case)  # fmt: skip
        synapses = b2.Synapses(
            source, targets[1][begin:end], "w : 1", on_pre=on_pre, delay=case.get("delay", 0 * ms)
        )
        i, j, k = conv.connections()
        synapses.connect(i=i, j=j)
        synapses.w = conv.in_memory_order(kernels[name])[k] * (1 / 8 if "pool" in case else 1)
        net.add(conv, synapses)
    run(net, STEPS * DT)
    for begin, end in itertools.pairwise(ends):
        assert np.isin(monitors[0].i, np.arange(begin, end)).sum() > 50
    assert_same_spikes(monitors)
    np.testing.assert_array_equal(targets[0].v, targets[1].v)
    np.testing.assert_array_equal(targets[0].told, targets[1].told)


def test_connections_are_those_of_each_image(numpy_target):
    rng = np.random.default_rng(0)
    of_image, of_batch = (
        Convolution(
            b2.NeuronGroup(batch * 40, "v : 1", threshold="v > 1"),
            b2.NeuronGroup(batch * 18, "v : 1"),
            dyadic(rng, (3, 2, 2, 2)),
            "v_post += w",
            source_shape=MAPS,
            pool=MaxPooling(2, 1),
            batch=batch,
        ).connections()
        for batch in (1, 3)
    )
    for found, expected, size in zip(of_batch, of_image, (40, 18, 0), strict=True):
        assert found.dtype == np.int32
        np.testing.assert_array_equal(
            found, np.concatenate([expected + image * size for image in range(3)])
        )


def test_max_pooling_at_the_source(run):
    """Each window counts once in a step, in its own image; windows overlap."""
    rng = np.random.default_rng(2)
    shape, pool, batch = (3, 6, 7), MaxPooling((3, 2), (2, 1), (1, 0)), 3
    kernel = dyadic(rng, (5, 3, 2, 3))
    source, raster = spiking_at_random(rng, 4 + batch * 126)
    maps = pooled(images_of(raster[:, 4:], shape), pool)
    arriving = functional.conv2d(maps, torch.from_numpy(kernel), padding=1)
    expected = channel_last(arriving).reshape(STEPS, -1)
    weights = dyadic(rng, (4, maps[0].numel()))
    judged = (channel_last(maps) @ weights.T).reshape(STEPS, -1)
    target = b2.NeuronGroup(expected.shape[1], "total : 1")
    judge = b2.NeuronGroup(4 * batch, "total : 1")
    options = {"source_shape": shape, "pool": pool, "batch": batch}
    conv = Convolution(source[4:], target, kernel, "total += w", padding=1, **options)
    dense = Dense(source[4:], judge, weights, "total += w", delay=2 * DT, **options)
    run(b2.Network(source, target, judge, conv, dense), STEPS * DT)
    np.testing.assert_array_equal(target.total, expected.sum(axis=0))
    np.testing.assert_array_equal(judge.total, judged[:-2].sum(axis=0))


def test_dense_between_subgroups_and_custom_events(run):
    """Subgroups of both groups, an event that is no spike, a delay, a float32 matrix."""
    rng = np.random.default_rng(4)
    source = b2.NeuronGroup(
        30, "x = (i*7 + t_in_timesteps*11) % 13 : integer", threshold="x == 1",
        reset="", events={"odd": "x == 3 or x == 8"},
    )  # fmt: skip
    target = b2.NeuronGroup(20, "spiked : 1\nodd : 1\nweighted : 1")
    weights = dyadic(rng, (4, 6))
    ends = source[5:23], target[7:19]
    net = b2.Network(
        source,
        target,
        Dense(*ends, weights, "spiked += w", dtype=np.float32, batch=3),
        Dense(*ends, weights, "odd += w*(1 + j)", on_event="odd", delay=4 * DT, batch=3),
        Dense(*ends, weights, "weighted += w*i*x_pre", batch=3),
    )
    run(net, STEPS * DT)
    x = ((np.arange(30) * 7 + np.arange(STEPS)[:, None] * 11) % 13)[:, 5:23]
    spikes, odd = x == 1, ((x == 3) | (x == 8))[: STEPS - 4]
    of_image = [
        (spikes.sum(axis=0), 1),
        (odd.sum(axis=0), 1 + np.arange(12)),
        ((spikes * np.arange(18)).sum(axis=0), 1),
    ]
    expected = np.zeros((3, 20))
    for row, (counts, factor) in zip(expected, of_image, strict=True):
        row[7:19] = (counts.reshape(3, 6) @ weights.T).ravel() * factor
    np.testing.assert_array_equal([target.spiked, target.odd, target.weighted], expected)


# -------------------------------------------------------------------- pools


def pools_over(phase: np.ndarray, key: np.ndarray, layer: MaxPool2d):
    """Pools with two keys over one source; arrays are ``(images, height, width, channels)``.

    Returns a network, and the monitor of each pool.
    """
    batch, height, width, channels = phase.shape
    shape, windows = (channels, height, width), Windows(*layer.taps(height, width))
    source = b2.NeuronGroup(
        phase.size, "phase : integer\nkey : integer", reset="",
        threshold="(phase + 5*t_in_timesteps) % 7 == 0",
    )  # fmt: skip
    source.phase, source.key = phase.ravel(), key.ravel()
    pools = (
        # always the same neurons
        GatedPool(source, shape, windows, key="-phase", batch=batch, order=1),
        # whole numbers, with many ties
        GatedPool(source, shape, windows, key="(key + t_in_timesteps) % 4", batch=batch, order=1),
    )
    monitors = [b2.SpikeMonitor(pool) for pool in pools]
    return b2.Network(source, *pools, *monitors), monitors


def in_order(monitor, first: int = 0) -> list[tuple[int, int]]:
    """Steps and neurons of spikes, as the group listed them; neurons are counted from a number."""
    steps = np.rint(monitor.t / DT).astype(int)
    return list(zip(steps, np.asarray(monitor.i) + first, strict=True))


def phases_and_keys(seed: int, batch: int, shape) -> np.ndarray:
    channels, height, width = shape
    return np.random.default_rng(seed).integers(0, 7, (2, batch, height, width, channels))


@given(geometry=test_max_pooling.geometries(), batch=st.integers(2, 4))
@examples(40)
def test_any_pool_is_that_of_each_image(geometry, batch):
    values = phases_and_keys(geometry["seed"], batch, geometry["shape"])
    with use_code_target("numpy"):
        net, together = pools_over(*values, geometry["layer"])
        apart = []
        for image in range(batch):
            of_image, monitors = pools_over(*values[:, image : image + 1], geometry["layer"])
            net.add(of_image.objects)
            apart.append(monitors)
        net.run(6 * DT)
    for monitor, of_images in zip(together, zip(*apart, strict=True), strict=True):
        size = len(monitor.source) // batch
        expected = [
            spike for image, of in enumerate(of_images) for spike in in_order(of, image * size)
        ]
        assert in_order(monitor) == sorted(expected)


def test_pools(run):
    """Windows that overlap and lie in the padding; torch says what each of them passes."""
    layer = MaxPool2d(name="pool", inputs=("relu",), kernel=(3, 2), stride=(2, 1), padding=(1, 1))
    phase, key = phases_and_keys(3, 3, (3, 7, 6))
    net, monitors = pools_over(phase, key, layer)
    run(net, 9 * DT)
    fixed, gated = [], []
    for step in range(9):
        # maps of each image, channels first
        spiking, keys = (np.moveaxis(values, -1, 1) for values in (phase, (key + step) % 4))
        spiking = (spiking + 5 * step) % 7 == 0
        size = len(monitors[0].source) // 3
        constant = -np.moveaxis(phase, -1, 1)
        for found, key_of in ((fixed, constant), (gated, keys)):
            for image in range(3):
                winners = expected_winners(key_of[image], spiking[image], layer)
                found += [(step, image * size + neuron) for neuron in winners]
    for monitor, expected in zip(monitors, (fixed, gated), strict=True):
        assert in_order(monitor) == expected
        assert len(expected) > 100


@pytest.fixture
def groups(numpy_target):
    """Two images of 2x4x5 neurons, and of 3x4x5."""
    source = b2.NeuronGroup(80, "v : 1", threshold="v > 1", reset="v = 0", name="eye")
    return source, b2.NeuronGroup(120, "v : 1", name="brain")


def test_there_is_room_for_each_image(groups):
    """Memory that only compiled code uses: what lies beyond its end, a run need not show."""
    source, target = groups[0], b2.NeuronGroup(2 * 12, "v : 1")
    conv = Convolution(source, target, np.ones((3, 2, 1, 1)), "v += w", source_shape=MAPS,
                       pool=MaxPooling(2), delay=3 * DT, batch=2)  # fmt: skip
    b2.Network(source, target, conv).run(0 * ms)
    gate = GatedPool(source, MAPS, MaxPooling(2), key="v", batch=2, order=1).thresholder["spike"]
    sizes = {"_window_passed": 16, "_window_spikes": 17, "_waiting_spikes": 4 * 81}
    assert {name: conv.variables[name].size for name in sizes} == sizes
    assert gate.variables["_spiking"].size == 80
    # tables and weights are those of an image
    assert (conv.variables["_first_window"].size, len(conv.w)) == (21, 6)


# -------------------------------------------------------------------- what is refused


def convolution(pair, **options):
    options = {"source_shape": MAPS, "padding": 1, "batch": 2, **options}
    return Convolution(*pair, np.ones((3, 2, 3, 3)), "v += w", name="conv", **options)


def test_a_batch_that_does_not_fit_a_pool(groups):
    windows = MaxPooling(2).over(4, 5)
    with pytest.raises(ValueError, match="The GatedPool of 'eye': batch is 0; a whole"):
        GatedPool(groups[0], MAPS, windows, batch=0, order=1, key="v")
    with pytest.raises(ValueError, match=r"'eye' has 80 neurons, not 3 images of \(2, 4, 5\)"):
        GatedPool(groups[0], MAPS, windows, batch=3, order=1, key="v")
    source = b2.NeuronGroup(2**20, "v : 1", threshold="v > 1")
    # each neuron is an image, and lies in 2048 windows
    windows = Windows(np.zeros((64, 1), int), np.zeros((32, 1), int))
    with pytest.raises(ValueError, match="list of its spikes would need an array of 2147483649"):
        GatedPool(source, (1, 1, 1), windows, batch=2**20, order=1, key="v")


@pytest.mark.parametrize("batch", [0, -1, 2.0, "2", None, True])
def test_a_batch_is_a_whole_number(groups, batch):
    found = f"batch is {batch!r}; a whole number of images, 1 or more, is expected"
    with pytest.raises(ValueError, match=f"conv: {found}"):
        convolution(groups, batch=batch)


def test_a_batch_that_does_not_fit(groups):
    with pytest.raises(ValueError, match=r"'eye' has 80 neurons; 3 images of \(2, 4, 5\) take 120"):
        convolution(groups, batch=3)
    with pytest.raises(ValueError, match=r"'eye' has 80 neurons; source_shape=.* takes 40"):
        convolution(groups, batch=1)
    with pytest.raises(
        ValueError, match=r"'brain' has 120 neurons; .* reach 2 images of \(3, 2, 3\), which are 36"
    ):
        convolution(groups, padding=0)
    with pytest.raises(ValueError, match="weights take 2 images of 30 inputs, .* source has 80"):
        Dense(*groups, np.ones((60, 30)), "v += w", batch=2)
    with pytest.raises(ValueError, match="pooling has 16"):
        Dense(*groups, np.ones((60, 40)), "v += w", batch=2, source_shape=MAPS, pool=MaxPooling(2))
    with pytest.raises(ValueError, match="'brain' has 120 .* reach 2 images of 50, which are 100"):
        Dense(*groups, np.ones((50, 40)), "v += w", batch=2)


def test_it_says_how_many_images(groups):
    assert "from 'eye' (2 images of 2x4x5) to 'brain' (2 images of 3x4x5)" in repr(
        convolution(groups)
    )
    dense = Dense(*groups, np.ones((60, 40)), "v += w", batch=np.int64(2))
    assert "from 'eye' (2 images of 40) to 'brain' (2 images of 60)" in repr(dense)
    pool = GatedPool(groups[0], MAPS, MaxPooling(2), key="v", batch=2, order=1)
    assert (len(pool), len(pool.fan_out())) == (16, 40)


def test_what_int32_cannot_number(numpy_target, monkeypatch):
    source = b2.NeuronGroup(2**20, "v : 1", threshold="v > 1", name="eye")
    target = b2.NeuronGroup(2**20, "v : 1", name="brain")
    # each neuron is an image, and lies in 2048 windows
    windows = Windows(np.zeros((64, 1), int), np.zeros((32, 1), int))
    options = {"batch": 2**20, "source_shape": (1, 1, 1)}
    with pytest.raises(ValueError, match="spikes of the pooled source would need .* 2147483649"):
        Dense(source, target, np.ones((1, 2048)), "v += w", pool=windows, **options)
    net = b2.Network(
        source, target, Dense(source, target, np.ones((1, 1)), "v += w", delay=2048 * DT, **options)
    )
    for _ in range(2):
        with pytest.raises(b2.BrianObjectException) as error:
            net.run(0 * ms)
        assert "spikes that wait for their delay" in str(error.value.__cause__)
    monkeypatch.setattr("bsnn.brian.batch.MOST", 2**20)
    with pytest.raises(ValueError, match="the spikes of 'eye' would need an array of 1048577"):
        Dense(source, target, np.ones((1, 1)), "v += w", **options)
    monkeypatch.setattr("bsnn.brian.batch.MOST", 2**20 - 1)
    with pytest.raises(ValueError, match="the target 'brain' would need an array of 1048576"):
        Dense(source[:4], target, np.ones((2**18, 1)), "v += w", batch=4)


def test_one_image_costs_no_division(cpp_standalone):
    """What is generated without a batch knows of none."""
    for batch, found in ((1, False), (2, True)):
        source = b2.NeuronGroup(batch * 40, "v : 1", threshold="v > 1")
        made = [
            Dense(source, b2.NeuronGroup(3 * batch, "v : 1"), np.ones((3, 40)), "v += w",
                  batch=batch),
            GatedPool(source, MAPS, MaxPooling(2), key="v", batch=batch, order=1),
        ]  # fmt: skip
        b2.Network(source, made[0].target, *made).run(DT, namespace={})
        for runner in (made[0].pre, made[1].thresholder["spike"]):
            assert ("_image" in runner.codeobj.code.cpp_file) == found
