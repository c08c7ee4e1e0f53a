"""Conversion to rate coding: scales, thresholds, residual rules, files and errors."""

from __future__ import annotations

import dataclasses
import itertools

import h5py
import numpy as np
import pytest
import rate_reference
import torch
from rate_networks import AverageCnn, ResidualNet, make_rate_model, random_graph, tiny_dense
from rate_runs import CASES, options_of, run_here, spikes_of, spiking
from torch import nn

import bsnn
from bsnn.conversion import RATE_NORMALISATIONS, RateDynamics
from bsnn.graph.files import as_stored
from bsnn.networks import paper
from bsnn.storage import _write_seal

every_norm = pytest.mark.parametrize("norm", RATE_NORMALISATIONS)


def dense_graph(*weights, biases=None) -> bsnn.Graph:
    """Dense layers with these weights, rectified but for the last."""
    layers = []
    for number, weight in enumerate(weights):
        weight = torch.tensor(weight, dtype=torch.float32)
        layer = nn.Linear(weight.shape[1], weight.shape[0], bias=biases is not None)
        layer.weight.data = weight
        if biases is not None:
            layer.bias.data = torch.tensor(biases[number], dtype=torch.float32)
        layers += [layer, nn.ReLU()]
    net = nn.Sequential(nn.Flatten(), *layers[:-1])
    return bsnn.from_torch(net, (1, 1, layers[0].in_features))


def pixels(*rows) -> np.ndarray:
    return np.array(rows, np.float32).reshape(len(rows), 1, 1, -1)


def convert(graph, images, **options):
    return bsnn.convert_to_rate(graph, images, progress=False, **options)


def residual_model(**options):
    return make_rate_model(ResidualNet(), (2, 6, 5), **{"encoder": "poisson", **options})


#: For each junction of `ResidualNet` the populations that meet there.
MEETING = {
    "add": ("stem", "block1_conv1"),
    "add_1": ("add", "block2_conv1"),
    "add_2": ("add_1", "block3_conv1"),
}


def test_the_papers_example_of_lost_evidence():
    """Inputs of 0.5 and 1: the activation is 1.5, but in half of the steps two spikes arrive."""
    graph, images = dense_graph([[1.0, 1.0]], [[1.0]]), pixels([0.5, 1.0])
    options = {"encoder": "poisson", "reset": "zero", "steps": 50, "balance": "thresholds"}
    trained = convert(graph, images, norm="data-based", **options)
    spiking_ = convert(graph, images, norm="spike-norm", **options)
    assert trained.threshold("fc1") == 1.5
    assert spiking_.threshold("fc1") == 2.0
    assert set(spiking_.trace["fc1"]) <= {1.0, 2.0}
    # a spike of a neuron with the threshold 2 adds 2 in the next layer
    assert spiking_.scales["fc2"] == 2.0
    # what is lost: with a threshold of 1.5 each second of the sums (2, or 1 and then 1 or 2)
    for model in (trained, spiking_):
        many = dataclasses.replace(model, steps=4000)
        run = rate_reference.simulate(many, images)
        rate = run.spikes["fc1"].mean()
        told = rate * model.scales["fc1"]
        # zero reset, threshold 1.5: 2, 1+1 or 1+2 give a spike: a rate of 1/(1 + 1/2)
        # threshold 2: the same sums, but a spike stands for more
        assert rate == pytest.approx(2 / 3, abs=0.03)
        assert told == pytest.approx({1.5: 1.0, 2.0: 4 / 3}[model.scales["fc1"]], abs=0.05)


def test_diehls_factors_by_hand():
    weights = [[0.5, -2.0], [1.0, 0.5]], [[1.0, -1.0], [-0.5, 2.0]]
    images = pixels([1.0, 0.0], [0.5, 1.0])
    # fc1: (0.5, 1) and (0, 1), fc2: (-0.5, 1.75) and (-1, 2)
    model = convert(dense_graph(*weights), images, norm="data-based", balance="thresholds")
    assert model.scales == {"input": 1.0, "fc1": 1.0, "fc2": 2.0}
    assert [model.threshold(name) for name in ("fc1", "fc2")] == [1.0, 2.0]
    # model-based: positive weights add up to 0.5 and 1.5, then to 1 * 1.5 and 2 * 1.5
    bound = convert(dense_graph(*weights), images, norm="model-based", balance="thresholds")
    assert bound.scales == {"input": 1.0, "fc1": 1.5, "fc2": 3.0}
    assert [bound.threshold(name) for name in ("fc1", "fc2")] == [1.5, 2.0]
    # applied to the weights, Diehl's factor of a layer is divided by that of the layer before
    other = dataclasses.replace(bound, balance="weights")
    assert [other.threshold(name) for name in ("fc1", "fc2")] == [1.0, 1.0]
    for name, factor in (("fc1", 1.5), ("fc2", 2.0)):
        population = other.populations[name]
        assert other.weight_factor(population.projections[0], population) == 1 / factor
    # values of both signs: the negative weight counts, too
    signed = convert(dense_graph(*weights), np.concatenate([images, -images]), norm="model-based")
    assert signed.scales["fc1"] == 2.5
    biases = [[0.25, 0.0], [0.0, -1.0]]
    biased = convert(dense_graph(*weights, biases=biases), images, norm="model-based")
    assert biased.scales == {"input": 1.0, "fc1": 1.5, "fc2": 2.0}
    np.testing.assert_array_equal(biased.bias("fc1"), np.array([0.25, 0.0]) / 1.5)
    np.testing.assert_array_equal(biased.bias("fc2"), [0.0, -0.5])


def test_percentile_by_hand():
    """Of the activations that are not zero, in Rueckauer et al.'s way."""
    graph = dense_graph([[10.0], [-1.0]], [[1.0, 1.0]])
    images = pixels(*[[value] for value in (0.0, 0.0, 0.1, 0.2, 0.3, 0.4, 0.5)])
    model = convert(graph, images, percentile=50.0)
    assert model.scales["fc1"] == pytest.approx(3.0)
    assert convert(graph, images, percentile=75.0).scales["fc1"] == pytest.approx(4.0)
    assert convert(graph, images, percentile=100.0).scales["fc1"] == pytest.approx(5.0)


@pytest.mark.parametrize("norm", ["data-based", "percentile"])
def test_scales_by_channel(norm):
    """Of the values of a channel; one that is never active has the scale of the layer."""
    graph = random_graph(AverageCnn(), (2, 7, 6))
    graph["conv1"].weight[2], graph["conv1"].bias[2] = -1, 0
    images = np.random.default_rng(0).random((20, 2, 7, 6), dtype=np.float32)
    percentile = {"percentile": 90.0} if norm == "percentile" else {}
    model = convert(graph, images, norm=norm, channels=True, **percentile)
    exact = np.maximum(graph.activations(images)["conv1"], 0)

    def wanted(values):
        return values.max() if norm == "data-based" else np.percentile(values[values > 0], 90)

    for channel in (0, 1, 3):
        assert model.scales["conv1"][channel] == pytest.approx(wanted(exact[:, channel]))
    assert model.scales["conv1"][2] == pytest.approx(wanted(exact))
    assert model.scales["fc1"].shape == (9,)
    assert model.scales["fc2"].shape == (5,)


def test_input_scale_is_the_largest_value_of_a_pixel():
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    mean = np.array([[[0.1, 0.9], [0.5, 0.5]]])
    model, _ = make_rate_model(net, (1, 2, 2), mean=mean, std=[0.5])
    assert model.scales[model.input.name] == pytest.approx(1.8)
    plain, _ = make_rate_model(net, (1, 2, 2))
    assert plain.scales["input"] == 1.0
    given, images = make_rate_model(net, (1, 2, 2), input_scale=2.0)
    np.testing.assert_array_equal(given.encode(images), images.astype(np.float64) / 2)


@every_norm
@pytest.mark.parametrize("channels", [False, True])
def test_both_balances_give_the_same_spikes(numpy_target, norm, channels):
    options = {"encoder": "poisson", "norm": norm, "channels": channels, "steps": 20}
    weights, images = tiny_dense(**options, balance="weights")
    thresholds, _ = tiny_dense(**options, balance="thresholds")
    before = 1.0
    for name, population in list(weights.populations.items())[1:]:
        (path,) = population.projections
        assert np.all(weights.threshold(name) == 1)
        scale = thresholds.scales[name]
        np.testing.assert_array_equal(scale, weights.scales[name])
        np.testing.assert_allclose(thresholds.threshold(name), scale / np.max(before))
        if not channels:
            assert thresholds.weight_factor(path, population) == 1
        before = scale
    one, other = run_here(weights, images[:5]), run_here(thresholds, images[:5])
    for name in spiking(weights):
        assert spikes_of(one, name).any()
        np.testing.assert_array_equal(spikes_of(one, name), spikes_of(other, name))


def found_scales(norm, **options) -> dict:
    """What a normalisation finds by itself."""
    model, _ = residual_model(norm=norm, residual="unequal", **options)
    return model.scales


@every_norm
def test_equal_scales_where_branches_meet(norm):
    model, _ = residual_model(norm=norm, residual="equal", balance="thresholds")
    if norm == "spike-norm":
        found = {name: trace[-1] for name, trace in model.trace.items()}
    elif norm == "model-based":
        # bounds depend on the scales before them: only those of the first block are alone
        found = dict(list(found_scales(norm).items())[:4])
    else:
        found = found_scales(norm)
    for junction, sources in MEETING.items():
        assert {path.source for path in model.populations[junction].projections} == set(sources)
        first, second = (model.scales[source] for source in sources)
        assert first == second
        if set(sources) <= found.keys():
            assert first == pytest.approx(max(found[source] for source in sources))
    together = set().union(*MEETING.values())
    for name in found.keys() - together - {model.input.name}:
        assert model.scales[name] == pytest.approx(found[name])
    # all other thresholds are found, too; one is that of a neuron that shares its source's scale
    for name in ("first", "stem", "add", "add_1", "add_2", "fc"):
        assert model.threshold(name) != 1, name


@every_norm
@pytest.mark.parametrize("channels", [False, True])
def test_thresholds_of_one_in_the_blocks(norm, channels):
    model, _ = residual_model(norm=norm, residual="one", balance="thresholds", channels=channels)
    blocks = {*MEETING, *itertools.chain(*MEETING.values())}
    assert len(blocks) == 7
    for name in blocks:
        assert model.threshold(name) == 1, name
    for name in model.populations.keys() - blocks - {model.input.name}:
        assert np.all(model.threshold(name) != 1), name
    if not channels:
        # spikes count alike, with the weights as they were trained
        for name in blocks:
            for path in model.populations[name].projections:
                assert model.weight_factor(path, model.populations[name]) == 1


class Bottleneck(nn.Module):
    """A block with three layers."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.reduce = nn.Conv2d(4, 2, 1)
        self.middle = nn.Conv2d(2, 2, 3, padding=1)
        self.expand = nn.Conv2d(2, 4, 1)
        self.dense = nn.Linear(4 * 9, 3)

    def forward(self, x):
        x = torch.relu(self.stem(x))
        y = torch.relu(self.middle(torch.relu(self.reduce(x))))
        return self.dense(torch.relu(x + self.expand(y)).flatten(1))


def test_thresholds_of_one_in_a_longer_block():
    options = {"residual": "one", "norm": "spike-norm", "encoder": "poisson"}
    model, _ = make_rate_model(Bottleneck(), (1, 3, 3), balance="thresholds", **options)
    for name in ("stem", "reduce", "middle", "add"):
        assert model.threshold(name) == 1, name
    assert model.threshold("dense") != 1


@pytest.mark.parametrize("norm", ["data-based", "percentile", "spike-norm"])
def test_unequal_scales_count_alike(norm):
    model, _ = residual_model(norm=norm, residual="unequal", balance="thresholds")
    if norm == "spike-norm":
        assert model.scales == {model.input.name: 1.0} | {
            name: trace[-1] for name, trace in model.trace.items()
        }
    stem, branch = (model.scales[name] for name in MEETING["add"])
    assert stem != branch
    add = model.populations["add"]
    assert [model.weight_factor(path, add) for path in add.projections] == [1, 1]
    assert model.threshold("add") == model.scales["add"] / branch


def slow_spike_norm(model, images, seed=0) -> tuple[dict, dict]:
    """Algorithm 1 with the oracle: all layers before are simulated anew for each layer."""
    scales, traces = {model.input.name: model.scales[model.input.name]}, {}
    for name, population in model.populations.items():
        if population.role == "input":
            continue
        so_far = dataclasses.replace(model, scales=scales)
        told = {model.input.name: rate_reference.encode(so_far, images, seed, range(len(images)))}
        for before in list(traces):
            plan = model.populations[before]
            current = rate_reference.weighted_input(so_far, plan, told)
            told[before], _ = rate_reference.integrate(so_far, plan, current, True)
        current = rate_reference.weighted_input(so_far, population, told)
        by_step = current.max(axis=tuple(k for k in range(current.ndim) if k != 1))
        traces[name] = np.maximum(np.maximum.accumulate(by_step), 0)
        scales = {**scales, name: traces[name][-1]}
        together = {name, *next((m for m in model_meeting(model) if name in m), ())}
        if model.residual == "equal":
            together &= traces.keys()
            largest = max(traces[other][-1] for other in together)
            scales = {**scales, **dict.fromkeys(together, largest)}
    return scales, traces


def model_meeting(model) -> list[set]:
    return [
        {path.source for path in population.projections}
        for population in model.populations.values()
        if len({path.source for path in population.projections}) > 1
    ]


@pytest.mark.parametrize(
    ("network", "shape", "options"),
    [
        (AverageCnn, (2, 7, 6), {"encoder": "poisson", "reset": "zero"}),
        (AverageCnn, (2, 7, 6), {"encoder": "constant", "initial_potential": 0.5}),
        (AverageCnn, (2, 7, 6), {"encoder": "regular", "potential_floor": 0.0, "norm_steps": 9}),
        (ResidualNet, (2, 6, 5), {"encoder": "poisson", "residual": "equal"}),
        (ResidualNet, (2, 6, 5), {"encoder": "poisson", "residual": "unequal"}),
        (Bottleneck, (1, 3, 3), {"encoder": "poisson", "residual": "equal", "reset": "zero"}),
    ],
)
def test_spike_norm_is_algorithm_1(network, shape, options):
    graph = random_graph(network(), shape)
    # more images than are simulated at once
    images = np.random.default_rng(0).random((70, *shape), dtype=np.float32)
    options = {"steps": 12, "norm": "spike-norm", "seed": 3, **options}
    model = convert(graph, images, **options)
    steps = options.get("norm_steps", 12)
    scales, traces = slow_spike_norm(dataclasses.replace(model, steps=steps), images, seed=3)
    assert model.scales == pytest.approx(scales, rel=1e-5)
    assert model.trace.keys() == traces.keys()
    for name, trace in traces.items():
        np.testing.assert_allclose(model.trace[name], trace, rtol=1e-5, err_msg=name)
        assert (np.diff(model.trace[name]) >= 0).all()
        assert len(model.trace[name]) == steps
    assert model.steps == 12
    assert model.calibration["seed"] == 3
    assert model.calibration["steps"] == steps


def test_a_longer_block_gets_the_spikes_of_a_changed_scale():
    """The largest input of the last layer of a block, after the scale of its first has grown."""
    graph = random_graph(Bottleneck(), (1, 3, 3))
    graph["middle"].weight[:] *= 30
    images = np.random.default_rng(0).random((20, 1, 3, 3), dtype=np.float32)
    model = convert(graph, images, steps=20, norm="spike-norm", encoder="poisson")
    assert model.scales["stem"] == model.scales["middle"] == model.trace["middle"][-1]
    assert model.trace["stem"][-1] < model.scales["stem"]
    scales, _ = slow_spike_norm(model, images)
    assert model.scales == pytest.approx(scales, rel=1e-5)


def test_spike_norm_by_channel():
    """The largest over the channels is the layer's; a silent channel has the layer's scale."""
    graph = dense_graph([[1.0, 1.0], [0.5, 0.0], [-1.0, -1.0]], [[1.0, 1.0, 1.0]])
    options = {"encoder": "poisson", "norm": "spike-norm", "steps": 40, "channels": True}
    model = convert(graph, pixels([0.5, 1.0]), **options)
    np.testing.assert_array_equal(model.scales["fc1"], [2.0, 0.5, 2.0])
    assert model.trace["fc1"][-1] == 2.0


def test_spike_norm_depends_on_its_seed():
    graph, images = random_graph(AverageCnn(), (2, 7, 6)), np.full((3, 2, 7, 6), 0.3, np.float32)
    options = {"norm": "spike-norm", "encoder": "poisson", "steps": 5}
    found = [convert(graph, images, seed=seed, **options).scales for seed in (0, 0, 2**40)]
    assert found[0] == found[1]
    assert found[0]["fc1"] != found[2]["fc1"]


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("network", [AverageCnn, ResidualNet])
def test_the_vectorised_network_is_the_oracle(network, case):
    options, _ = options_of(case)
    shape = (2, 7, 6) if network is AverageCnn else (2, 6, 5)
    model, images = make_rate_model(network(), shape, **options)
    numbers = [4, 0, 9]
    expected = rate_reference.simulate(model, images[:3], 5, numbers)
    dynamics = RateDynamics(model, images[:3].astype(np.float64), 5, numbers)
    for step in range(model.steps):
        for name, spikes in dynamics.step().items():
            if name in expected.spikes:
                np.testing.assert_array_equal(spikes, expected.spikes[name][:, step], err_msg=name)
    for name, potentials in expected.potentials.items():
        found = dynamics.populations[name].potential
        np.testing.assert_allclose(found, potentials[:, -1], atol=1e-9)


@pytest.mark.parametrize(("initial", "low", "high"), [(0.0, -1.0, 0.0), (0.5, -0.5, 0.5)])
@pytest.mark.parametrize("steps", [7, 50])
def test_a_rate_is_the_activation_within_a_step(numpy_target, initial, low, high, steps):
    """One layer, constant input, subtraction: floored, or rounded if it starts at a half."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(9, 30), nn.ReLU(), nn.Linear(30, 2))
    model, images = make_rate_model(
        net, (1, 3, 3), steps=steps, initial_potential=initial, norm="model-based"
    )
    built = run_here(model, images[:6])
    scale = model.scales["fc1"]
    exact = np.maximum(model.graph.activations(images[:6].astype(np.float64))["fc1"], 0)
    error = (spikes_of(built, "fc1").mean(axis=1) * scale - exact) * steps / scale
    assert exact.max() < scale
    assert low - 1e-6 <= error.min() < 0.8 * low
    assert 0.8 * high - 1e-6 <= error.max() <= high + 1e-6


@pytest.mark.parametrize("network", [AverageCnn, ResidualNet])
@pytest.mark.parametrize("encoder", ["constant", "regular"])
def test_rates_converge_to_the_activations(network, encoder):
    shape = (2, 7, 6) if network is AverageCnn else (2, 6, 5)
    model, images = make_rate_model(
        network(), shape, norm="model-based", encoder=encoder, read_out="potential"
    )
    if network is ResidualNet:
        # bounds that are multiplied layer by layer leave too low rates
        model, images = make_rate_model(
            network(), shape, norm="data-based", encoder=encoder, read_out="potential"
        )
    exact = model.graph.forward(images[:4].astype(np.float64))
    errors = []
    for steps in (50, 400, 3200):
        longer = dataclasses.replace(model, steps=steps)
        run = rate_reference.simulate(longer, images[:4])
        found = rate_reference.read_out(longer, run)[:, -1]
        errors.append(np.sqrt(np.mean((found - exact) ** 2)) / np.abs(exact).max())
    assert errors[0] > 2 * errors[1]
    assert errors[1] > 2 * errors[2]
    assert errors[2] < 0.02


def test_expected_spikes():
    model, images = tiny_dense(encoder="constant", steps=1000, read_out="count")
    run = rate_reference.simulate(model, images)
    expected = model.expected_spikes(images)
    assert expected.keys() == run.spikes.keys()
    for name, spikes in run.spikes.items():
        assert expected[name] == pytest.approx(spikes.sum() / len(images), rel=0.05)


@pytest.mark.parametrize("channels", [False, True])
@pytest.mark.parametrize("array_type", ["float32", "float16"])
def test_a_file_keeps_every_field(tmp_path, channels, array_type):
    graph = as_stored(random_graph(ResidualNet(), (2, 6, 5)), array_type)
    images = np.random.default_rng(0).random((9, 2, 6, 5), dtype=np.float32)
    model = convert(
        graph, images, steps=8, norm="spike-norm", norm_steps=6, seed=4, encoder="poisson",
        input_scale=1.5, reset="zero", balance="thresholds", residual="unequal",
        initial_potential=0.25, potential_floor=-0.5, read_out="potential", channels=channels,
        images_from="noise", source={"by": "a test"},
    )  # fmt: skip
    model.save(tmp_path / "model.h5", array_type)
    found = bsnn.load_model(tmp_path / "model.h5")
    assert type(found) is bsnn.RateModel
    for field in dataclasses.fields(model):
        one, other = getattr(model, field.name), getattr(found, field.name)
        if field.name in ("scales", "trace"):
            assert one.keys() == other.keys()
            for name in one:
                np.testing.assert_array_equal(one[name], other[name])
        elif field.name == "source":
            assert other.items() >= one.items()
        elif field.name != "graph":
            assert one == other, field.name
    assert [layer.name for layer in found.graph] == [layer.name for layer in graph]
    for layer in graph:
        for name, array in layer.arrays.items():
            np.testing.assert_array_equal(array, found.graph[layer.name].arrays[name])
    for name in model.populations:
        np.testing.assert_array_equal(model.threshold(name), found.threshold(name))
    with h5py.File(tmp_path / "model.h5") as file:
        assert file["graph/stem/weight"].dtype == array_type


def test_no_floor_survives_a_file(tmp_path):
    model, _ = tiny_dense()
    model.save(tmp_path / "model.h5")
    found = bsnn.load_model(tmp_path / "model.h5")
    assert found.potential_floor is None
    assert found.trace == {}


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("reset", "half", "the reset is 'half'; known are subtract, zero"),
        ("encoder", "loud", "the encoder is 'loud'"),
        ("initial_potential", 1.0, "initial potential is 1.0 thresholds"),
        ("potential_floor", 0.5, "lowest potential is 0.5"),
    ],
)
def test_a_file_with_values_out_of_range(tmp_path, name, value, message):
    model, _ = tiny_dense()
    model.save(tmp_path / "model.h5")
    with h5py.File(tmp_path / "model.h5", "r+") as file:
        file["conversion"].attrs[name] = value
    _write_seal(tmp_path / "model.h5")
    with pytest.raises(bsnn.StorageError, match=message):
        bsnn.load_model(tmp_path / "model.h5")


def test_files_of_version_1_still_load():
    for path in paper("lopez_randulfe_2022").SHIPPED.values():
        with h5py.File(path) as file:
            assert file.attrs["schema_version"] == 1
        model = bsnn.load_model(path)
        assert isinstance(model, bsnn.TtfsModel)
        assert model.norm in ("data-based", "percentile", "model-based", "min-rmse")


class LinearJunction(nn.Module):
    """A sum that a convolution reads, not rectified."""

    def __init__(self, into_sum: bool) -> None:
        super().__init__()
        self.stem, self.branch = nn.Conv2d(1, 2, 3, padding=1), nn.Conv2d(2, 2, 3, padding=1)
        self.after = nn.Conv2d(2, 2, 3, padding=1)
        self.into_sum = into_sum

    def forward(self, x):
        x = torch.relu(self.stem(x))
        x = x + self.branch(x)
        return (x + torch.relu(self.after(x))) if self.into_sum else x + self.after(x)


@pytest.mark.parametrize("into_sum", [False, True])
def test_a_sum_that_is_not_rectified_is_read_by_each_of_its_readers(into_sum):
    model, images = make_rate_model(
        LinearJunction(into_sum), (1, 4, 4), steps=4000, norm="data-based", read_out="potential"
    )
    exact = model.graph.forward(images)
    found = model.reference(images).values[model.output.name]
    assert np.abs(found - exact).max() < 2e-3 * np.abs(exact).max()


def test_rates_above_one_are_refused():
    options = {"encoder": "poisson", "input_scale": 0.5}
    with pytest.raises(bsnn.ConversionError, match="up to the input's scale, 0.5.*input_scale"):
        tiny_dense(**options)
    # a current may be of any size
    tiny_dense(**{**options, "encoder": "constant"})
    model, images = tiny_dense(encoder="regular")
    with pytest.raises(bsnn.SimulationError, match="need 2 spikes a step.*divided by 255"):
        model.encode(images / images.max() * 2)
    with pytest.raises(bsnn.SimulationError, match="NaN or infinite"):
        model.encode(np.full_like(images, np.nan))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"percentile": 0.0}, "between 0 and 100"),
        ({"percentile": 100.1}, "between 0 and 100"),
        ({"steps": 0}, "steps is 0; at least one"),
        ({"steps": 2.5}, "steps is 2.5; at least one"),
        ({"norm": "spike-norm", "norm_steps": 0}, "norm_steps is 0"),
        ({"norm": "data-based", "percentile": 99.9}, "'data-based' looks at none"),
        ({"norm_steps": 5}, "norm_steps: only Spike-Norm"),
        ({"input_scale": 0.0}, "input_scale is 0.0; it must be positive"),
        ({"input_scale": float("nan")}, "input_scale is nan"),
        ({"reset": "half"}, "the reset is 'half'"),
        ({"balance": "none"}, "the balance is 'none'"),
        ({"residual": "some"}, "the residual rule is 'some'"),
        ({"initial_potential": 1.0}, "from 0 to below 1"),
        ({"initial_potential": -0.1}, "from 0 to below 1"),
        ({"potential_floor": 0.1}, "it is 0 or below"),
        ({"read_out": "first-spike"}, "the read-out is 'first-spike'; known are count"),
    ],
)
def test_arguments_out_of_range(options, message):
    with pytest.raises(bsnn.ConversionError, match=message):
        tiny_dense(**options)


@pytest.mark.parametrize("seed", [-1, 0.5, 2**53])
def test_seeds_out_of_range(seed):
    with pytest.raises(bsnn.ConversionError, match="whole number from 0 to below"):
        convert(dense_graph([[1.0]]), pixels([0.5]), seed=seed)


def test_a_seed_without_chance():
    with pytest.raises(bsnn.ConversionError, match="norm_steps and seed: only Spike-Norm"):
        convert(dense_graph([[1.0]]), pixels([0.5]), norm="data-based", norm_steps=5, seed=0)


@every_norm
def test_a_dead_layer_is_refused(norm):
    graph = dense_graph([[-1.0, -1.0]], [[1.0]])
    with pytest.raises(bsnn.ConversionError, match="'relu1' is not active for any of the 2"):
        convert(graph, pixels([0.5, 1.0], [1.0, 0.0]), norm=norm, encoder="poisson")


def test_no_images():
    with pytest.raises(bsnn.ConversionError, match="No calibration images"):
        convert(dense_graph([[1.0]]), pixels([0.5])[:0])
