"""Brian2's spikes against the oracle: spike for spike, in float64, on every device."""

from __future__ import annotations

import brian2 as b2
import numpy as np
import pytest
import reference
import torch
from fuzzing import convolutions, examples
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from ttfs_networks import make_model

import bsnn
from bsnn.devices import start, use_device
from bsnn.networks import paper


def kind_name(kind) -> str:
    return f"{kind['form']}-{kind['connectivity']}"


#: Every form of the neuron with every kind of connections.
KINDS = [
    {"form": form, "connectivity": connectivity}
    for form in ("calendar", "event", "trace")
    for connectivity in ("shared", "synapses")
]
#: The fast kind, and where compiling takes its time Brian2's stock kind and one that mixes them.
COMPILED_KINDS = [
    pytest.param(KINDS[number], id=kind_name(KINDS[number]), marks=marks)
    for number, marks in ((0, ()), (3, pytest.mark.long), (4, pytest.mark.long))
]


every_kind = pytest.mark.parametrize("kind", KINDS, ids=kind_name)


def spiking(model) -> list[str]:
    return [name for name in model.populations if model.spikes(name)]


def assert_same_spikes(net, model, images) -> None:
    expected = reference.simulate(model, images)
    assert sum(np.count_nonzero(level) for level in expected.levels.values()) > 0
    for name, level in expected.levels.items():
        found = net.recorded(name)[: len(images)]
        np.testing.assert_array_equal(found, level, err_msg=name)
    found = net.read_potentials()[: len(images)]
    np.testing.assert_allclose(found, expected.potentials, rtol=1e-9, atol=1e-9)


def build_recorded(model, images, **options):
    net = bsnn.build(model, images=images, **options)
    for name in spiking(model):
        net.record(name)
    return net


def run_here(model, images, **options):
    net = build_recorded(model, len(images), **options)
    net.present(images)
    net.network.run(net.duration, namespace={})
    return net


@every_kind
@pytest.mark.parametrize("rounding", [False, True])
@pytest.mark.parametrize("read_out", ["potential", "first-spike"])
@pytest.mark.parametrize("one_at_a_time", [False, True])
def test_numpy_target(small_cnn, numpy_target, kind, rounding, read_out, one_at_a_time):
    model, images = small_cnn(steps=7, rounding=rounding, read_out=read_out)
    net = run_here(model, images[:6], **kind, one_at_a_time=one_at_a_time)
    assert_same_spikes(net, model, images[:6])


@every_kind
@pytest.mark.parametrize(("read_out", "batch"), [("potential", 2), ("first-spike", 4)])
def test_images_side_by_side(small_cnn, numpy_target, kind, read_out, batch):
    """Six images, two or four at once: in the second case two places stay empty."""
    model, images = small_cnn(steps=7, read_out=read_out)
    net = run_here(model, images[:6], **kind, batch=batch)
    assert net.capacity == {2: 6, 4: 8}[batch]
    assert len(net["conv1"]) == batch * model.populations["conv1"].size
    windows = (-(-6 // batch) - 1) * net.schedule.interval + model.output.depth + 1
    assert net.duration == windows * model.steps * b2.ms
    assert_same_spikes(net, model, images[:6])


@every_kind
def test_residual_network(residual_cnn, numpy_target, kind):
    """Branches of different depth meet in the same window; average pools have no neurons."""
    model, images = residual_cnn(steps=9)
    assert any(path.delay for path in model.populations["add"].projections)
    assert_same_spikes(run_here(model, images[:5], **kind), model, images[:5])


@pytest.mark.parametrize("kind", COMPILED_KINDS)
def test_cython_target(small_cnn, cython_target, kind):
    model, images = small_cnn(steps=5)
    assert_same_spikes(run_here(model, images[:4], **kind), model, images[:4])


@pytest.mark.parametrize("kind", COMPILED_KINDS)
def test_cpp_standalone_past_64_seconds(small_cnn, tmp_path, kind):
    """Comparing times in seconds goes wrong from 64 s on; steps are counted instead."""
    model, images = small_cnn(steps=6, rounding=kind["form"] == "trace")
    many = np.concatenate([images] * 20)
    with use_device("cpp", tmp_path):
        net = build_recorded(model, len(many), **kind, dt=30 * b2.ms)
        assert net.duration > 100 * b2.second
        runner = start(net, tmp_path)
        runner.run(many)
        assert_same_spikes(net, model, many)
        # the same binary, other images: the inputs of a run are really replaced
        runner.run(many[::-1])
        assert_same_spikes(net, model, many[::-1])


@pytest.mark.parametrize("batch", [1, 3])
def test_cpp_standalone_residual(residual_cnn, tmp_path, batch):
    model, images = residual_cnn(steps=8)
    with use_device("cpp", tmp_path):
        net = build_recorded(model, len(images), batch=batch)
        start(net, tmp_path).run(images)
        assert_same_spikes(net, model, images)


def test_runtime_past_64_seconds(small_cnn, numpy_target):
    model, images = small_cnn(steps=4)
    many = np.concatenate([images] * 3)
    net = run_here(model, many, dt=0.3 * b2.second)
    assert net.duration > 100 * b2.second
    assert_same_spikes(net, model, many)


def test_shipped_network_in_cpp_standalone(tmp_path):
    """The paper's network, trained on MNIST, on 200 real test images."""
    model = bsnn.load_model(paper("lopez_randulfe_2022").SHIPPED["mnist_cnn"])
    images = bsnn.datasets.mnist_sample().images[:200]
    with use_device("cpp", tmp_path):
        net = build_recorded(model, len(images))
        start(net, tmp_path).run(images)
        assert_same_spikes(net, model, images)


@st.composite
def networks(draw):
    """A convolution and a pooling of any geometry, on maps that are not square."""
    channels = draw(st.integers(1, 3))
    shape = (channels, draw(st.integers(5, 8)), draw(st.integers(5, 8)))
    conv = draw(convolutions(channels))
    size = draw(st.integers(1, 2))
    pool_type = draw(st.sampled_from([nn.MaxPool2d, nn.AvgPool2d]))
    pool = pool_type(
        size, stride=draw(st.integers(1, 2)), padding=size // 2, ceil_mode=draw(st.booleans())
    )
    relu_first = pool_type is nn.AvgPool2d or draw(st.booleans())
    middle = [nn.ReLU(), pool] if relu_first else [pool, nn.ReLU()]
    layers = [conv, *middle, nn.Flatten()]
    outputs = nn.Sequential(*layers)(torch.zeros(1, *shape)).shape[1]
    net = nn.Sequential(*layers, nn.Linear(outputs, 4))
    return net, shape, draw(st.integers(1, 9)), draw(st.integers(0, 99))


@given(networks(), st.sampled_from(KINDS), st.booleans())
@examples(25)
def test_any_geometry(network, kind, rounding):
    net, shape, steps, seed = network
    try:
        model, images = make_model(net, shape, seed=seed, steps=steps, rounding=rounding)
    except bsnn.ConversionError as error:
        assert "is not active" in str(error)  # noqa: PT017  (all weights happened to be negative)
        return
    before = b2.prefs.codegen.target
    b2.prefs.codegen.target = "numpy"
    try:
        expected = reference.simulate(model, images[:3])
        built = run_here(model, images[:3], **kind)
        for name, level in expected.levels.items():
            np.testing.assert_array_equal(built.recorded(name), level, err_msg=name)
    finally:
        b2.prefs.codegen.target = before


@every_kind
@pytest.mark.parametrize("mean", ["channel", "pixel"])
@pytest.mark.parametrize("std", ["channel", "pixel"])
def test_normalisation_in_front(numpy_target, kind, mean, std):
    """Subtracted means become potentials, which at the border differ from those inside."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    by_name = {
        "mean": {"channel": [0.4, 0.5], "pixel": rng.uniform(0.3, 0.6, size=(2, 5, 5))},
        "std": {"channel": [0.2, 0.3], "pixel": rng.uniform(0.2, 0.4, size=(2, 5, 5))},
    }
    net = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(75, 4))
    graph = bsnn.from_torch(net, (2, 5, 5), mean=by_name["mean"][mean], std=by_name["std"][std])
    images = rng.random((8, 2, 5, 5), dtype=np.float32)
    model = bsnn.convert_to_ttfs(graph, images, steps=11)
    rest = model.bias("conv1")
    assert not np.allclose(rest[:, 0, 0], rest[:, 2, 2])
    built = run_here(model, images[:4], **kind)
    assert_same_spikes(built, model, images[:4])
    explicit = isinstance(built.synapses["input_to_conv1"], b2.Synapses)
    assert explicit == (kind["connectivity"] == "synapses" or std == "pixel")


@every_kind
def test_shortcut_without_weights(numpy_target, kind):
    """Every second row and column, and further channels of zeros."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Conv2d(1, 3, 3, padding=1)
            self.branch = nn.Conv2d(3, 5, 3, stride=2, padding=1)
            self.dense = nn.Linear(5 * 9, 4)

        def forward(self, x):
            x = torch.relu(self.stem(x))
            shortcut = nn.functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 1, 1))
            return self.dense(torch.relu(self.branch(x) + shortcut).flatten(1))

    model, images = make_model(Net(), (1, 5, 6), steps=9)
    built = run_here(model, images[:4], **kind)
    assert_same_spikes(built, model, images[:4])
    assert len(built.synapses) == 4


def test_pool_of_pool(numpy_target):
    """Poolings in a row all pass a spike in the step in which it is emitted."""
    net = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.MaxPool2d(2, stride=1), nn.Flatten(),
        nn.Linear(2 * 4, 3),
    )  # fmt: skip
    model, images = make_model(net, (1, 8, 8), steps=6)
    assert [p.role for p in model.populations.values()].count("max_pool") == 2
    assert_same_spikes(run_here(model, images[:4]), model, images[:4])


@every_kind
def test_images_do_not_leak_into_each_other(small_cnn, numpy_target, kind):
    """An image gives the same spikes alone as between a black and a white one."""
    model, images = small_cnn(steps=6)
    image = images[:1]
    around = np.concatenate([np.ones_like(image), image, np.zeros_like(image), image])
    alone = run_here(model, image, **kind)
    among = run_here(model, around, **kind)
    for name in spiking(model):
        one, many = alone.recorded(name), among.recorded(name)
        np.testing.assert_array_equal(one[0], many[1], err_msg=name)
        np.testing.assert_array_equal(one[0], many[3], err_msg=name)


def test_at_most_one_spike_and_none_in_the_silent_stage(small_cnn, numpy_target):
    model, images = small_cnn(steps=8, norm="percentile", percentile=60.0)
    monitors = dict.fromkeys(spiking(model), "spikes")
    net = run_here(model, images[:5], form="trace", monitors=monitors)
    for name in spiking(model):
        depth = model.populations[name].depth
        neurons, steps = net.recorded_spikes(name)
        assert (np.diff(steps) >= 0).all()
        assert (np.diff(neurons)[np.diff(steps) == 0] > 0).all()
        window = steps // model.steps
        assert ((window - depth) % net.schedule.interval == 0).all()
        assert len(window) == np.count_nonzero(net.recorded(name))
    # with a scale this small the silent stage itself crosses the threshold, and must not fire
    net = bsnn.build(model, form="trace", one_at_a_time=True, monitors={"conv1": ["u", "spikes"]})
    net.present(images[:1])
    net.network.run(net.duration, namespace={})
    assert (net.monitors["conv1"]["u"].u[:, :8] > model.scales["conv1"]).any()
    assert (np.asarray(net.monitors["conv1"]["spikes"].t / net.clock.dt) >= 7.5).all()


def test_potential_looks_like_the_papers(small_cnn, numpy_target):
    """Silent stage: slope changes only. Spiking stage: one constant slope, u_th in a window."""
    model, images = small_cnn(steps=10)
    net = bsnn.build(model, form="trace", one_at_a_time=True, monitors={"conv1": ["u", "spikes"]})
    net.present(images[:1])
    net.network.run(net.duration, namespace={})
    u = net.monitors["conv1"]["u"].u
    silent = model.code(images[:1].astype(np.float64)).potentials["conv1"]
    at_end = u[:, 10]
    np.testing.assert_allclose(net.to_layer("conv1", at_end[None]), silent, atol=1e-12)
    quiet = np.setdiff1d(np.arange(len(u)), net.monitors["conv1"]["spikes"].i)
    ramp = np.diff(u[quiet, 10:20], axis=1)
    # for rounding, the threshold is a little below the scale
    threshold = net["conv1"].u_th[:]
    np.testing.assert_allclose(threshold, model.scales["conv1"] * (1 - 2**-17), rtol=1e-12)
    np.testing.assert_allclose(ramp, threshold / 10, atol=1e-12)
    rest = net.to_layer("conv1", u[:, 20][None])[0]
    np.testing.assert_allclose(rest, model.bias("conv1"), atol=1e-12)


@pytest.mark.parametrize("steps", [16, 50])
def test_continuous_spike_time_is_the_clipped_relu(small_cnn, numpy_target, steps):
    """For inputs on the grid of steps nothing but the spike's own time is discrete.

    The potential that Brian2 reaches is exact, and so is the moment at which the ramp crosses the
    threshold; the spike comes in the step that follows it.
    """
    model, images = small_cnn(steps=steps, norm="percentile", percentile=95.0)
    image = np.round(images[:1].astype(np.float64) * steps) / steps
    net = bsnn.build(model, form="trace", one_at_a_time=True, monitors={"conv1": ["u", "spikes"]})
    net.present(image)
    net.network.run(net.duration, namespace={})
    scale = model.scales["conv1"]
    u = net.monitors["conv1"]["u"].u[:, steps]
    crossing = np.clip(1 - u / scale, 0, 1)  # eq. 1 to 4, in windows after the silent stage
    value = net.to_layer("conv1", (scale * (1 - crossing))[None])
    exact = np.clip(model.graph.activations(image)["conv1"], 0, scale)
    assert (exact == scale).any()
    assert (exact == 0).any()
    np.testing.assert_allclose(value, exact, atol=1e-9)
    monitor = net.monitors["conv1"]["spikes"]
    late = np.asarray(monitor.t / net.clock.dt) - steps - steps * crossing[np.asarray(monitor.i)]
    assert (late > -1e-6).all()
    assert (late < 1).all()
