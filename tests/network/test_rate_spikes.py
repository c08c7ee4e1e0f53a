"""Brian2's spikes in rate coding against the oracle: spike for spike, in float64."""

from __future__ import annotations

import dataclasses
import itertools

import brian2 as b2
import numpy as np
import pytest
import rate_reference
import torch
from fuzzing import convolutions, examples
from hypothesis import given
from hypothesis import strategies as st
from rate_networks import AverageCnn, ResidualNet, make_rate_model, tiny_dense
from rate_runs import (
    CASES,
    OPTIONS,
    assert_same_spikes,
    options_of,
    run_here,
    spikes_of,
    spiking,
)
from torch import nn

import bsnn
from bsnn.conversion import ENCODERS
from bsnn.devices import start, use_code_target, use_device

KINDS = [
    {"form": form, "connectivity": connectivity}
    for form in OPTIONS["form"]
    for connectivity in OPTIONS["connectivity"]
]

every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "-".join(kind.values()))
every_encoder = pytest.mark.parametrize("encoder", OPTIONS["encoder"])


def dense_model(weights, steps: int, biases=None, **options) -> bsnn.RateModel:
    """Dense layers with these weights; scales of one, unless others are named."""
    layers = [nn.Flatten()]
    biases = biases or [None] * len(weights)
    for weight, bias in zip(weights, biases, strict=True):
        weight = torch.tensor(weight, dtype=torch.float32)
        layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
        layer.weight.data = weight
        if bias is not None:
            layer.bias.data = torch.tensor(bias, dtype=torch.float32)
        layers += [layer, nn.ReLU()]
    graph = bsnn.from_torch(nn.Sequential(*layers[:-1]), (1, 1, layers[1].in_features))
    names = [layer.name for layer in graph if layer.kind in ("input", "linear")]
    scales = {**dict.fromkeys(names, 1.0), **options.pop("scales", {})}
    options = {"read_out": "count", "norm": "by hand", "calibration": {}, **options}
    return bsnn.RateModel(graph=graph, steps=steps, scales=scales, **options)


def test_the_oracles_noise_is_splitmix():
    """Against whole numbers without end."""

    def mix(z):
        z %= 2**64
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
        return z ^ (z >> 31)

    gamma = 0x9E3779B97F4A7C15
    for seed, stream, number in itertools.product((0, 5, 2**53 - 1), (0, 77), (0, 10**10)):
        state = mix(mix(seed + gamma) + (stream + 1) * gamma)
        wanted = (mix(state + (number + 1) * gamma) >> 11) / 2**53
        assert rate_reference.splitmix(seed, stream, number) == wanted


def test_cases_cover_each_pair_of_values():
    for (a, first), (b, second) in itertools.combinations(enumerate(OPTIONS.values()), 2):
        met = {(case[a], case[b]) for case in CASES}
        assert met == set(itertools.product(first, second))
    assert set(OPTIONS["encoder"]) == set(ENCODERS)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_average_pools(numpy_target, case):
    """Biases, groups, even kernels, strides, maps that are not square, several images."""
    options, kind = options_of(case)
    model, images = make_rate_model(AverageCnn(), (2, 7, 6), **options)
    net = run_here(model, images[:3], seed=4, **kind)
    assert_same_spikes(net, images[:3], seed=4)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_residual_network(numpy_target, case):
    """Shortcuts: the identity, every second pixel with further channels, and a convolution."""
    options, kind = options_of(case)
    model, images = make_rate_model(ResidualNet(), (2, 6, 5), **options)
    net = run_here(model, images[:3], seed=9, **kind)
    assert_same_spikes(net, images[:3], seed=9)


@every_encoder
@every_kind
def test_normalised_images(numpy_target, kind, encoder):
    """Values of both signs, pixel by pixel: a spike carries the sign of its pixel."""
    mean = np.random.default_rng(0).uniform(0.3, 0.6, (2, 5, 4))
    net = nn.Sequential(nn.Conv2d(2, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(36, 4))
    model, images = make_rate_model(
        net, (2, 5, 4), mean=mean, std=[0.25, 0.2], encoder=encoder, channels=True
    )
    built = run_here(model, images[:3], seed=2, **kind)
    expected = assert_same_spikes(built, images[:3], seed=2)
    if encoder != "constant":
        assert set(np.unique(expected.spikes[model.input.name])) == {-1, 0, 1}


@st.composite
def networks(draw):
    """A convolution and an average pooling of any geometry, on maps that are not square."""
    channels = draw(st.integers(1, 3))
    shape = (channels, draw(st.integers(5, 7)), draw(st.integers(5, 7)))
    conv = draw(convolutions(channels))
    size = draw(st.integers(1, 2))
    pool = nn.AvgPool2d(
        size,
        stride=draw(st.integers(1, 2)),
        padding=size // 2,
        ceil_mode=draw(st.booleans()),
        count_include_pad=draw(st.booleans()),
    )
    second = nn.Conv2d(conv.out_channels, 3, 2, padding=1, bias=draw(st.booleans()))
    layers = [conv, nn.ReLU(), pool, second, nn.ReLU(), nn.Flatten()]
    outputs = nn.Sequential(*layers)(torch.zeros(1, *shape)).shape[1]
    return nn.Sequential(*layers, nn.Linear(outputs, 3)), shape, draw(st.integers(0, 99))


@given(networks(), st.sampled_from(CASES))
@examples(15)
def test_any_geometry(network, case):
    net, shape, seed = network
    options, kind = options_of(case)
    try:
        model, images = make_rate_model(net, shape, seed=seed, **{**options, "steps": 15})
    except bsnn.ConversionError as error:
        assert "is not active" in str(error)  # noqa: PT017  (all weights happened to be negative)
        return
    with use_code_target("numpy"):
        built = run_here(model, images[:2], seed=seed, **kind)
    expected = rate_reference.simulate(model, images[:2], seed)
    for name, spikes in expected.spikes.items():
        np.testing.assert_array_equal(spikes_of(built, name), np.abs(spikes), err_msg=name)


@every_kind
@pytest.mark.parametrize(
    ("reset", "spikes", "rest"),
    [
        # 0.75, 1.5, 1.25, 1.0, 0.75, ...: what is above the threshold is kept
        ("subtract", [0, 1, 1, 1, 0, 1, 1, 1], [0.75, 0.5, 0.25, 0, 0.75, 0.5, 0.25, 0]),
        # 0.75, 1.5, 0.75, 1.5, ...: a quarter of each spike's two inputs is lost
        ("zero", [0, 1, 0, 1, 0, 1, 0, 1], [0.75, 0, 0.75, 0, 0.75, 0, 0.75, 0]),
    ],
)
def test_the_step_of_a_spike_by_hand(numpy_target, kind, reset, spikes, rest):
    """A neuron that gets 0.75 in each step, also in that of its spike, and one that reads it."""
    model = dense_model([[[0.75]], [[1.0]]], 8, encoder="regular", reset=reset)
    net = bsnn.build(model, monitors={"fc1": ("spikes", "v"), "fc2": ("spikes", "v")}, **kind)
    net.present(np.ones((1, 1, 1, 1)))
    net.network.run(net.duration, namespace={})
    np.testing.assert_array_equal(spikes_of(net, "fc1").ravel(), spikes)
    np.testing.assert_array_equal(net.monitors["fc1"]["v"].v[0], rest)
    # a spike crosses the network in one step
    np.testing.assert_array_equal(spikes_of(net, "fc2").ravel(), spikes)
    np.testing.assert_array_equal(net.monitors["fc2"]["v"].v[0], 0)


@every_kind
@pytest.mark.parametrize("encoder", ["constant", "poisson"])
def test_subtraction_loses_no_input(numpy_target, kind, encoder):
    """What has come in is what spikes have taken out and what is left."""
    model, images = make_rate_model(AverageCnn(), (2, 7, 6), encoder=encoder, initial_potential=0.3)
    monitors = {"conv2": "spikes", "fc1": ("spikes", "v")}
    net = bsnn.build(model, images=2, seed=1, monitors=monitors, **kind)
    net.present(images[:2])
    net.network.run(net.duration, namespace={})
    pooled = spikes_of(net, "conv2").sum(axis=1) * model.scales["conv2"]
    layers = [layer for layer in model.graph if layer.name in ("pool2", "flatten", "fc1")]
    for layer in layers:
        pooled = layer.forward(pooled)
    bias = model.graph["fc1"].bias
    came_in = 0.3 * model.scales["fc1"] + pooled + bias * (model.steps - 1)
    left = net.monitors["fc1"]["v"].v[:, [model.steps - 1, 2 * model.steps - 1]].T
    taken = spikes_of(net, "fc1").sum(axis=1)
    np.testing.assert_allclose(came_in, (taken + left) * model.scales["fc1"], atol=1e-5)


@pytest.mark.parametrize("kind", [KINDS[0], KINDS[3]], ids=lambda kind: "-".join(kind.values()))
@every_encoder
def test_images_do_not_leak_into_each_other(numpy_target, kind, encoder):
    """An image gives the spikes that it gives alone, if its noise is the same."""
    model, images = make_rate_model(AverageCnn(), (2, 7, 6), encoder=encoder, steps=20)
    image = images[:1]
    around = np.concatenate([np.ones_like(image), image, np.zeros_like(image), image])
    alone = run_here(model, image, [7], **kind)
    among = run_here(model, around, [1, 7, 2, 7], **kind)
    for name in spiking(model):
        one, many = spikes_of(alone, name), spikes_of(among, name)
        np.testing.assert_array_equal(many[1], one[0], err_msg=name)
        np.testing.assert_array_equal(many[3], one[0], err_msg=name)
        assert not np.array_equal(many[0], one[0])


def test_noise_of_any_seed_and_number(numpy_target):
    model, images = make_rate_model(AverageCnn(), (2, 7, 6), encoder="poisson", steps=10)
    numbers = [10**9, 0, 2**53 - 1]
    for seed in (0, 2**31, 2**53 - 1):
        net = run_here(model, images[:3], numbers, seed=seed)
        assert_same_spikes(net, images[:3], seed, numbers)
    for seed in (-1, 2**53, 0.5):
        with pytest.raises(bsnn.BuildError, match="whole number from 0 to below"):
            bsnn.build(model, seed=seed)


@every_encoder
def test_past_64_seconds(numpy_target, encoder):
    """Comparing times in seconds goes wrong from 64 s on; steps are counted instead."""
    model, images = make_rate_model(AverageCnn(), (2, 7, 6), encoder=encoder)
    net = run_here(model, images[:9], dt=0.3 * b2.second)
    assert net.duration > 80 * b2.second
    assert_same_spikes(net, images[:9])


def test_cpp_standalone_past_64_seconds(tmp_path):
    """80,000 steps; then other images and other noise, in the same binary."""
    model, images = tiny_dense(encoder="poisson", steps=2000)
    many = np.concatenate([images] * 3)[:40]
    with use_device("cpp", tmp_path):
        net = bsnn.build(model, images=40, seed=3, monitors=spiking(model))
        net.record_read_out()
        assert net.duration == 80 * b2.second
        runner = start(net, tmp_path)
        runner.run(many, np.arange(40))
        assert_same_spikes(net, many, 3)
        runner.run(many[::-1], np.arange(100, 140))
        assert_same_spikes(net, many[::-1], 3, np.arange(100, 140))


def test_cpp_standalone_residual(tmp_path):
    options, _ = options_of(CASES[6])
    model, images = make_rate_model(ResidualNet(), (2, 6, 5), **options)
    with use_device("cpp", tmp_path):
        net = bsnn.build(
            model, images=3, monitors=spiking(model), form="neuron-group", connectivity="synapses"
        )
        net.record_read_out()
        start(net, tmp_path).run(images[:3])
        assert_same_spikes(net, images[:3])


def test_cython_target(cython_target):
    model, images = tiny_dense(
        encoder="poisson", channels=True, potential_floor=-0.5, initial_potential=0.5
    )
    net = run_here(model, images[:4], seed=3)
    assert_same_spikes(net, images[:4], seed=3)


@every_kind
def test_float32_within_a_spike(numpy_target, kind):
    """Rounding moves a spike now and then; the input's spikes are the same."""
    reset = "zero" if kind["form"] == "one-pass" else "subtract"
    model, images = make_rate_model(ResidualNet(), (2, 6, 5), encoder="poisson", reset=reset)
    net = run_here(model, images[:3], precision="float32", **kind)
    expected = rate_reference.simulate(model, images[:3])
    for name, spikes in expected.spikes.items():
        found, spikes = spikes_of(net, name), np.abs(spikes)
        assert (found != spikes).mean() <= (0 if name == model.input.name else 1e-3), name
        assert np.abs(found.sum(axis=1) - spikes.sum(axis=1)).max() <= 1


def simulate(model, images, labels=None, **options):
    return bsnn.simulate(model, images, labels, progress=False, **options)


def assert_same_results(one, other) -> None:
    for name in ("predictions", "ann_predictions", "predictions_at_step", "potentials"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    for name, population in one.populations.items():
        found = other.populations[name]
        np.testing.assert_array_equal(population.spikes, found.spikes, err_msg=name)
        np.testing.assert_array_equal(population.operations, found.operations, err_msg=name)
        assert population.rmse == pytest.approx(found.rmse)


def fan_out(model, name: str) -> np.ndarray:
    """Neurons that a spike of each neuron reaches, along each path."""
    shape = model.populations[name].shape
    each = torch.eye(int(np.prod(shape)), dtype=torch.float64).reshape(-1, *shape)
    total = np.zeros(shape)
    for population in model.populations.values():
        for path in population.projections:
            if path.source == name:
                reached = rate_reference.along(model.graph, path, each) != 0
                total += reached.flatten(1).sum(dim=1).numpy().reshape(shape)
    return total


@pytest.mark.parametrize(
    ("network", "encoder"),
    [(AverageCnn, encoder) for encoder in OPTIONS["encoder"]] + [(ResidualNet, "poisson")],
)
@pytest.mark.parametrize("read_out", ["count", "potential"])
def test_figures_are_the_oracles(numpy_target, network, encoder, read_out):
    shape = (2, 7, 6) if network is AverageCnn else (2, 6, 5)
    model, images = make_rate_model(
        network(), shape, encoder=encoder, read_out=read_out, channels=network is AverageCnn,
        mean=[0.1, 0.2], std=[1.0, 1.1],
    )  # fmt: skip
    labels = np.arange(5) % 3
    result = simulate(model, images[:5], labels, seed=6, first_image=10, chunk=3)
    expected = rate_reference.simulate(model, images[:5], 6, np.arange(10, 15))
    by_step = rate_reference.read_out(model, expected)
    np.testing.assert_array_equal(result.predictions_at_step, by_step.argmax(axis=2))
    np.testing.assert_array_equal(result.predictions, by_step[:, -1].argmax(axis=1))
    np.testing.assert_allclose(result.potentials, by_step[:, -1], atol=1e-9)
    hits = by_step.argmax(axis=2) == labels[:, None]
    np.testing.assert_allclose(result.accuracy_at_step, hits.mean(axis=0))
    assert result.accuracy == result.accuracy_at_step[-1]
    exact = model.graph.activations(images[:5].astype(np.float64))
    assert result.ann_accuracy == (exact[model.graph.output].argmax(axis=1) == labels).mean()
    for name, population in model.populations.items():
        found = result.populations[name]
        if name not in expected.spikes:
            assert found.spikes is None
            assert found.operations is None
            continue
        spikes = expected.spikes[name]
        sums = (np.abs(spikes) * fan_out(model, name)).reshape(5, -1).sum(axis=1)
        np.testing.assert_array_equal(found.spikes, np.abs(spikes).reshape(5, -1).sum(axis=1))
        np.testing.assert_array_equal(found.operations, sums, err_msg=name)
        told = spikes.mean(axis=1) * rate_reference.spread(model.scales[name], population.shape)
        wanted = exact[population.layer]
        wanted = np.maximum(wanted, 0) if population.role == "read_out" else wanted
        assert found.rmse == pytest.approx(np.sqrt(np.mean((told - wanted) ** 2)), rel=1e-4)
    if read_out == "potential":
        error = by_step[:, -1] - exact[model.graph.output]
        rmse = result.layer_rmse[model.output.name]
        assert rmse == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-4)


def test_results_depend_on_neither_chunks_nor_parts(numpy_target):
    model, images = tiny_dense(encoder="poisson")
    whole = simulate(model, images[:7], seed=1, first_image=5)
    for chunk in (3, 100):
        assert_same_results(simulate(model, images[:7], seed=1, first_image=5, chunk=chunk), whole)
    parts = [
        simulate(model, images[first:last], seed=1, first_image=5 + first)
        for first, last in ((0, 3), (3, 7))
    ]
    joined = np.concatenate([part.potentials for part in parts])
    np.testing.assert_array_equal(joined, whole.potentials)
    # a network that was built before, and presents one image at a time
    own = bsnn.build(model, images=1, seed=1, form="neuron-group", connectivity="synapses")
    assert_same_results(simulate(own, images[:7], first_image=5), whole)


def test_results_do_not_depend_on_workers(numpy_target):
    model, images = tiny_dense(encoder="poisson")
    found = simulate(model, images[:6], seed=1, first_image=5, workers=2, chunk=2)
    assert found.workers == 2
    assert_same_results(found, simulate(model, images[:6], seed=1, first_image=5))


def test_a_seed_repeats_exactly_and_others_differ(numpy_target):
    model, images = tiny_dense(encoder="poisson")
    first = simulate(model, images[:4], seed=1)
    b2.seed(0)
    assert_same_results(simulate(model, images[:4], seed=1), first)
    for other in ({"seed": 2}, {"seed": 1, "first_image": 1}):
        found = simulate(model, images[:4], **other)
        assert (found.populations["input"].spikes != first.populations["input"].spikes).any()
    regular, _ = tiny_dense(encoder="regular")
    assert_same_results(
        simulate(regular, images[:2], seed=1), simulate(regular, images[:2], seed=2)
    )


def test_an_interrupted_simulation_goes_on(numpy_target, monkeypatch, tmp_path):
    model, images = tiny_dense(encoder="poisson")
    path, run, calls = tmp_path / "checkpoint.h5", b2.Network.run, []

    def third_chunk_interrupted(self, *args, **kwargs):
        calls.append(1)
        if len(calls) == 4:  # one to compile, then one a chunk
            raise KeyboardInterrupt
        return run(self, *args, **kwargs)

    options = {"seed": 1, "first_image": 3, "checkpoint": path}
    monkeypatch.setattr(b2.Network, "run", third_chunk_interrupted)
    with pytest.raises(bsnn.Interrupted) as caught:
        simulate(model, images[:8], chunk=2, **options)
    monkeypatch.undo()
    assert len(caught.value.result) == 4
    for differing in ({"seed": 2}, {"first_image": 0}):
        with pytest.raises(bsnn.SimulationError, match="other settings: (seed|first image)"):
            simulate(model, images[:8], resume=True, **{**options, **differing})
    resumed = simulate(model, images[:8], resume=True, chunk=3, **options)
    assert_same_results(resumed, simulate(model, images[:8], seed=1, first_image=3))


def test_a_rate_result_survives_a_file(numpy_target, tmp_path):
    model, images = tiny_dense(encoder="poisson")
    for labels in (None, np.zeros(3, dtype=int)):
        result = simulate(model, images[:3], labels)
        result.save(tmp_path / "result.h5")
        found = bsnn.load_result(tmp_path / "result.h5")
        assert_same_results(found, result)
        assert found.summary() == result.summary()
        assert (result.accuracy_at_step is None) == (labels is None)


def test_rates_of_poisson_input(numpy_target):
    """Bernoulli spikes: means and variances within 5 standard deviations of the binomial ones."""
    values = np.linspace(0, 1, 120).reshape(1, 10, 12)
    # a pixel tells the values from -0.5 to 0.5, a scale of 0.5 makes them rates from -1 to 1
    mean, steps, images = np.full((1, 10, 12), 0.5), 400, 6
    net = nn.Sequential(nn.Flatten(), nn.Linear(120, 2))
    model, _ = make_rate_model(net, (1, 10, 12), mean=mean, std=[1.0], encoder="poisson")
    model = dataclasses.replace(model, steps=steps)
    assert model.scales[model.input.name] == 0.5
    built = run_here(model, np.repeat(values[None], images, axis=0), seed=11)
    spikes = spikes_of(built, model.input.name)
    p, tries = np.abs(2 * values - 1), images * steps
    band = 5 * np.sqrt(tries * p * (1 - p)) + 1e-6
    assert (np.abs(spikes.sum(axis=(0, 1)) - tries * p) <= band).all()
    # neither steps nor neurons nor images are alike: sums vary as those of independent spikes do
    for axes in ((0, 1), (1, 2, 3, 4), (0, 2, 3, 4)):
        sums = spikes.sum(axis=axes)
        count = spikes.size / sums.size
        mean_p = np.broadcast_to(p, spikes.shape).mean(axis=axes)
        spread = np.broadcast_to(p * (1 - p), spikes.shape).mean(axis=axes)
        z = (sums - count * mean_p)[spread > 0] / np.sqrt(count * spread[spread > 0])
        assert abs((z**2).mean() - 1) < 5 * np.sqrt(2 / len(z))
