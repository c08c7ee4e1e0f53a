"""The code of spike times, scales, and the equations of the paper."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import reference
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from ttfs_networks import make_model

import bsnn
from bsnn.conversion import NORMALISATIONS, rmse_by_scale
from bsnn.conversion.populations import populations
from bsnn.conversion.spiking_form import spiking_form
from bsnn.conversion.time_code import decode, levels, pixel_levels


def continuous_time_layer(weights, x, x_max_in, x_max_out, t_max=0.064):
    """Equations (1) to (4) of the paper in continuous time, as they are printed."""
    t_in = t_max / x_max_in * (x_max_in - x)  # (1)
    order = np.argsort(t_in)
    u, slope, now = np.zeros(len(weights)), np.zeros(len(weights)), 0.0
    for source in order:  # (2): the slope changes by the weight when an input spikes
        u += slope * (t_in[source] - now)
        slope += weights[:, source]
        now = t_in[source]
    u += slope * (t_max - now)
    u_th = t_max * x_max_out / x_max_in
    current = u_th / t_max  # (4)
    t_out = np.clip((u_th - u) / current, 0, t_max)
    return x_max_out * (1 - t_out / t_max)  # (1), read backwards


@given(
    seed=st.integers(0, 1000),
    inputs=st.integers(1, 60),
    x_max_in=st.floats(0.1, 10),
    x_max_out=st.floats(0.1, 10),
)
def test_continuous_time_is_the_clipped_relu(seed, inputs, x_max_in, x_max_out):
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(20, inputs))
    x = x_max_in * rng.random(inputs)
    found = continuous_time_layer(weights, x, x_max_in, x_max_out)
    np.testing.assert_allclose(found, np.clip(weights @ x, 0, x_max_out), atol=1e-9)


def dense(weights: np.ndarray) -> nn.Module:
    """One spiking layer, and a read-out that shows its values."""
    outputs, inputs = weights.shape
    first, last = nn.Linear(inputs, outputs, bias=False), nn.Linear(outputs, outputs, bias=False)
    first.weight.data = torch.from_numpy(weights.astype(np.float32))
    last.weight.data = torch.eye(outputs)
    return nn.Sequential(nn.Flatten(), first, nn.ReLU(), last)


@pytest.mark.parametrize(("rounding", "worst"), [(False, 1.0), (True, 0.5)])
def test_discrete_time_is_within_a_step(rounding, worst):
    """Flooring loses up to a step's value and rounding half of it, if the inputs are exact."""
    rng = np.random.default_rng(3)
    steps = 64
    graph = bsnn.from_torch(dense(rng.normal(size=(80, 50))), (1, 5, 10))
    images = (rng.integers(0, steps + 1, size=(40, 1, 5, 10)) / steps).astype(np.float64)
    model = bsnn.convert_to_ttfs(graph, images, steps=steps, norm="data-based", rounding=rounding)
    exact = np.maximum(graph.activations(images)["fc1"], 0)
    step = model.scales["fc1"] / steps
    value = reference.simulate(model, images).levels["fc1"] * step
    # a step's tolerance: a potential exactly on the border of two levels may fall on either side
    error = (value - exact) / step
    assert np.abs(error).max() <= worst + 1e-6
    assert np.abs(error).max() > 0.9 * worst
    assert abs(error[exact > step].mean()) < 0.05 if rounding else error.mean() < 0


def test_half_a_step_of_charge_is_what_rounding_means(small_cnn):
    floored, _ = small_cnn(steps=8)
    rounded = dataclasses.replace(floored, rounding=True)
    difference = rounded.bias("conv1") - floored.bias("conv1")
    np.testing.assert_allclose(difference, floored.scales["conv1"] / 16)
    np.testing.assert_array_equal(rounded.bias("fc2"), floored.bias("fc2"))


@given(
    values=st.lists(st.floats(-2, 3), min_size=1),
    scale=st.floats(0.1, 2),
    steps=st.integers(1, 300),
)
def test_levels(values, scale, steps):
    x = np.array(values)
    floored, rounded = levels(x, scale, steps, False), levels(x, scale, steps, True)
    inside = np.clip(x, 0, scale)
    assert (np.abs(decode(floored, scale, steps) - inside) <= scale / steps * 1.0001).all()
    assert (np.abs(decode(rounded, scale, steps) - inside) <= scale / steps * 0.5001).all()
    assert (decode(floored, scale, steps) <= inside * 1.0001 + 1e-12).all()
    assert (floored[x <= 0] == 0).all(), "negative and zero values give no spike"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_pixels_on_the_grid_keep_their_level(dtype):
    """Pixels of 8 bits in 5, 15, 51 or 255 steps, and k/N in N steps, must not fall below."""
    pixels = np.arange(256, dtype=np.uint8)
    x = pixels.astype(dtype) / dtype(255)
    for steps in (5, 15, 51, 255):
        expected = pixels.astype(int) * steps // 255
        np.testing.assert_array_equal(pixel_levels(x, 1.0, steps, False), expected)
    for steps in range(1, 300):
        grid = np.arange(steps + 1).astype(dtype) / dtype(steps)
        np.testing.assert_array_equal(pixel_levels(grid, 1.0, steps, False), np.arange(steps + 1))


def test_bias_is_an_initial_potential(small_cnn):
    """Without any input spike the potentials are what the trained network gives for black."""
    model, images = small_cnn()
    black = np.zeros_like(images[:1], dtype=np.float64)
    expected = model.graph.activations(black)["conv1"][0]
    np.testing.assert_allclose(model.bias("conv1"), expected, atol=1e-12)


@pytest.mark.parametrize("rule", NORMALISATIONS)
def test_every_rule_gives_a_model_that_agrees_with_the_oracle(small_cnn, rule):
    model, images = small_cnn(norm=rule, steps=12)
    expected = reference.simulate(model, images[:8])
    coded = model.code(images[:8].astype(np.float64))
    for name, level in expected.levels.items():
        np.testing.assert_array_equal(coded.levels[name], level, err_msg=name)


def test_max_clips_nothing_and_percentile_clips_little(small_cnn):
    largest, _ = small_cnn(norm="data-based")
    most, _ = small_cnn(norm="percentile", percentile=90.0)
    calibration = np.random.default_rng(0).random((64, 1, 9, 8), dtype=np.float32)
    calibration[calibration < 0.3] = 0
    exact = np.maximum(largest.graph.activations(calibration[32:])["conv1"], 0)
    assert largest.scales["conv1"] == pytest.approx(exact.max())
    assert (exact > most.scales["conv1"]).sum() == pytest.approx(0.1 * (exact > 0).sum(), abs=2)
    assert largest.scales["pool1"] == largest.scales["conv1"]


def test_worst_case_is_equation_5():
    """One layer without biases: the positive weights times the largest input."""
    weights = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    graph = bsnn.from_torch(dense(weights), (1, 2, 2))
    model = bsnn.convert_to_ttfs(graph, np.ones((1, 1, 2, 2)), norm="model-based")
    assert model.scales["fc1"] == pytest.approx(np.maximum(weights, 0).sum(axis=1).max())


def test_worst_case_is_never_exceeded(residual_cnn):
    model, images = residual_cnn(norm="model-based", steps=64)
    rng = np.random.default_rng(1)
    extreme = (rng.random((200, *images.shape[1:])) > 0.5).astype(np.float64)
    for name, potential in model.code(extreme).potentials.items():
        assert potential.max() <= model.scales[name]


@pytest.mark.parametrize("pixels", [False, True])
def test_worst_case_behind_a_normalisation(pixels):
    """The largest potential that any image of black and white pixels causes, by trying all."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    shape = (2, 2, 2)
    mean, std = rng.uniform(0.2, 0.8, (2, *(shape if pixels else (2,)))).astype(np.float32)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(2, 3, 2, padding=1)
            self.dense = nn.Linear(4 * 9, 2)

        def forward(self, x):
            x = nn.functional.pad(self.conv(x), (0, 0, 0, 0, 1, 0))
            return self.dense(nn.functional.relu(x).flatten(1))

    net = Net()
    graph = bsnn.from_torch(net, shape, mean=mean, std=std)
    corners = np.array(list(itertools.product((0.0, 1.0), repeat=8)), np.float32)
    corners = corners.reshape(-1, *shape)
    model = bsnn.convert_to_ttfs(graph, corners, norm="model-based")
    axes = (...,) if pixels else (slice(None), None, None)
    potentials = net.conv(torch.from_numpy((corners - mean[axes]) / std[axes]))
    assert model.scales["conv"] == pytest.approx(potentials.max().item(), rel=1e-5)


def test_least_rmse_is_least(small_cnn):
    model, _ = small_cnn(norm="min-rmse", steps=6)
    images = np.random.default_rng(0).random((64, 1, 9, 8), dtype=np.float32)
    images[images < 0.3] = 0
    images = images[32:]
    exact = np.maximum(model.graph.activations(images)["conv1"], 0)
    potentials = model.code(images).potentials["conv1"]
    best = model.scales["conv1"]
    candidates = exact.max() * np.arange(1, 101) / 100
    errors = [
        np.sqrt(np.mean((decode(levels(potentials, scale, 6, False), scale, 6) - exact) ** 2))
        for scale in candidates
    ]
    assert best == pytest.approx(candidates[np.argmin(errors)])
    found = rmse_by_scale(potentials, exact, candidates, 6, False)
    np.testing.assert_allclose(found, errors, rtol=1e-5)


def test_a_relu_after_a_pool_is_moved_before_it():
    net = nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.MaxPool2d(2), nn.MaxPool2d(2), nn.ReLU(), nn.Flatten(),
        nn.Linear(3, 2),
    )  # fmt: skip
    graph = bsnn.from_torch(net, (1, 7, 7))
    moved = spiking_form(graph)
    assert [layer.kind for layer in moved][1:5] == ["conv2d", "relu", "max_pool2d", "max_pool2d"]
    images = np.random.default_rng(0).random((3, 1, 7, 7))
    np.testing.assert_array_equal(moved.forward(images), graph.forward(images))


def test_a_network_that_ends_in_a_relu_is_read_out_before_it():
    net = nn.Sequential(nn.Flatten(), nn.Linear(9, 4), nn.ReLU())
    model, images = make_model(net, (1, 3, 3))
    assert model.output.potential_layer == "fc1"
    assert (model.code(images).potentials["fc1"] < 0).any()


def test_a_network_that_ends_in_a_pool_has_a_read_out_of_its_own(numpy_target):
    net = nn.Sequential(nn.Conv2d(1, 3, 2), nn.ReLU(), nn.MaxPool2d(2))
    model, images = make_model(net, (1, 3, 3), steps=5)
    result = bsnn.simulate(model, images[:3], progress=False)
    expected = model.code(images[:3]).values["pool1"].reshape(3, -1)
    np.testing.assert_allclose(result.potentials, expected, atol=1e-6)


def test_max_pool_without_spikes_is_refused():
    """A conversion puts neurons there; in a model that was made otherwise there are none."""
    net = nn.Sequential(nn.Conv2d(1, 2, 2), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(2, 2))
    graph = bsnn.from_torch(net, (1, 3, 3))
    with pytest.raises(bsnn.ConversionError, match="'pool1' follows 'conv1'.*ReLU between"):
        populations(graph)
    assert "pool1_shift" in make_model(net, (1, 3, 3))[0].populations


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "at least one step"),
        ({"percentile": 101.0}, "between 0 and 100"),
        ({"norm": "min-rmse", "percentile": 99.9}, "'min-rmse' looks at none"),
        ({"input_scale": 0.0}, "must be positive"),
        ({"input_scale": 0.5}, "values from 0 to 1"),
    ],
)
def test_arguments_out_of_range(small_cnn, options, message):
    with pytest.raises(bsnn.ConversionError, match=message.replace("to 1", "to 0.9")):
        small_cnn(**options)


def test_names_that_are_not_there(small_cnn):
    with pytest.raises(bsnn.UnknownNameError, match="spike times 'best'. Known are data-based"):
        small_cnn(norm="best")
    with pytest.raises(bsnn.UnknownNameError, match="no read-out 'spike'.* mean 'first-spike'"):
        small_cnn(read_out="spike")


def test_negative_pixels_are_refused(small_cnn):
    model, images = small_cnn()
    with pytest.raises(bsnn.ConversionError, match="name mean and std"):
        bsnn.convert_to_ttfs(model.graph, images - 0.5)


def test_no_images(small_cnn):
    model, images = small_cnn()
    with pytest.raises(bsnn.ConversionError, match="No calibration images"):
        bsnn.convert_to_ttfs(model.graph, images[:0])


def test_a_dead_layer_is_refused():
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    net[1].weight.data.fill_(-1)
    net[1].bias.data.fill_(0)
    graph = bsnn.from_torch(net, (1, 2, 2))
    with pytest.raises(bsnn.ConversionError, match="'relu1' is not active for any of the 5"):
        bsnn.convert_to_ttfs(graph, np.ones((5, 1, 2, 2)))


def test_calibration_is_on_record(small_cnn):
    model, _ = small_cnn()
    other, _ = small_cnn(seed=1)
    assert model.calibration["images"] == 32
    assert len(model.calibration["images_sha256"]) == 64
    assert model.calibration["images_sha256"] != other.calibration["images_sha256"]
