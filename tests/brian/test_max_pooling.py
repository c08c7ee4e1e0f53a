"""Max-pooling of rates: gates in Brian2 against definitions, window by window."""

from __future__ import annotations

import dataclasses

import brian2 as b2
import numpy as np
import pytest
import rate_reference
import torch
from fuzzing import examples
from hypothesis import given
from hypothesis import strategies as st
from rate_networks import MaxCnn, make_rate_model
from rate_runs import assert_same_spikes, run_here, spikes_of, spiking
from targets import RUNTIME_TARGETS
from torch import nn

import bsnn
from bsnn.brian import GatedPool, MaxPooling, Windows
from bsnn.conversion import AVERAGE, DEFAULT_GATE, GATES, RateDynamics
from bsnn.devices import start, use_code_target, use_device
from bsnn.graph import MaxPool2d
from bsnn.network import NEURAL_CODES

SHAPE = (2, 7, 7)
EXPRESSION = "v_before + 0.25*v_th*spike_count"

every_gate = pytest.mark.parametrize("gate", rate_reference.KEYS)
every_reset = pytest.mark.parametrize("reset", ["subtract", "zero"])


def make(gate: str, **options):
    return make_rate_model(MaxCnn(), SHAPE, gate=gate, **{"steps": 20, **options})


def test_the_reference_knows_all_gates():
    assert {*rate_reference.KEYS} == {*GATES, EXPRESSION}


@every_gate
@every_reset
def test_spikes_are_the_references(gate, reset, numpy_target):
    """Each gate with both resets; forms, connectivities and further options take turns."""
    number = [*rate_reference.KEYS].index(gate) + (reset == "zero")
    model, images = make(
        gate,
        reset=reset,
        balance=("weights", "thresholds")[number % 2],
        channels=number % 3 == 0,
        initial_potential=0.5 * (number % 2),
        potential_floor=(None, -0.5)[number // 2 % 2],
        read_out=("count", "potential")[number // 3 % 2],
    )
    net = run_here(
        model,
        images[:3],
        form=NEURAL_CODES["rate"].forms[number % 2],
        connectivity=("shared", "synapses")[number // 2 % 2],
    )
    assert_same_spikes(net, images[:3])


@every_gate
@every_reset
def test_the_vectorised_network_tells_the_same(gate, reset):
    model, images = make(gate, reset=reset)
    expected = rate_reference.simulate(model, images[:4])
    dynamics = RateDynamics(model, images[:4])
    steps = [dynamics.step() for _ in range(model.steps)]
    for name, spikes in expected.spikes.items():
        np.testing.assert_array_equal(np.stack([step[name] for step in steps], 1), spikes)


def test_cython_target(cython_target):
    model, images = make(EXPRESSION, encoder="poisson", reset="zero")
    assert_same_spikes(run_here(model, images[:3]), images[:3])


@pytest.mark.parametrize("gate", [DEFAULT_GATE, "first_spike"])
def test_cpp_standalone(gate, tmp_path):
    """Two runs of one binary: nothing of an image is left for the next."""
    model, images = make(gate, encoder="poisson")
    with use_device("cpp", tmp_path):
        net = bsnn.build(model, images=3, monitors=spiking(model))
        net.record_read_out()
        runner = start(net, tmp_path)
        runner.run(images[:3])
        assert_same_spikes(net, images[:3])
        runner.run(images[5:8], np.arange(5, 8))
        assert_same_spikes(net, images[5:8], 0, np.arange(5, 8))


def or_of(spikes: np.ndarray, layer: MaxPool2d) -> np.ndarray:
    n, steps, *shape = spikes.shape
    pooled = layer.forward(spikes.reshape(-1, *shape))
    return pooled.reshape(n, steps, *pooled.shape[1:])


@every_reset
def test_before_the_reset_the_potential_is_an_or(reset):
    """The gate of the potential that has reached the threshold passes any spike; others do not."""
    differing = {}
    for gate in GATES:
        model, images = make(gate, reset=reset, channels=True)
        run = rate_reference.simulate(model, images)
        passed = run.spikes["pool1"]
        any_spike = or_of(run.spikes["conv1"], model.graph[model.populations["pool1"].layer])
        assert (passed <= any_spike).all()
        differing[gate] = float((passed != any_spike).mean())
    assert differing.pop("pre_reset") == 0
    assert min(differing.values()) > 0.001


@every_reset
def test_a_new_maximum_is_the_largest_count(reset, numpy_target):
    """After each step as many spikes have passed as the neuron with the most has had."""
    model, images = make("new_maximum", reset=reset, encoder="poisson")
    net = run_here(model, images[:3])
    counts, passed = (spikes_of(net, name).cumsum(axis=1) for name in ("conv2", "pool2"))
    layer = model.graph[model.populations["pool2"].layer]
    np.testing.assert_array_equal(passed, or_of(counts, layer))
    assert passed.any()


def test_the_rate_that_passes_is_the_largest():
    """Constant currents: the pooled rate comes as near to the largest as a rate can, others not."""
    error = {gate: pooled_rate_error(gate, 256) for gate in GATES}
    assert error[DEFAULT_GATE] < 0.005
    assert error["accumulated"] < 0.005
    assert error["count"] < 0.05
    for gate in ("previous", "pre_reset", "post_reset"):
        assert error[gate] > 0.05
    # the error falls with the number of steps
    assert pooled_rate_error(DEFAULT_GATE, 16) > 3 * pooled_rate_error(DEFAULT_GATE, 64)
    assert pooled_rate_error(DEFAULT_GATE, 64) > 3 * error[DEFAULT_GATE]


def pooled_rate_error(gate: str, steps: int, windows: int = 500) -> float:
    """Of windows of four neurons with currents from -0.3 to 0.8, against the largest current."""
    current = np.random.default_rng(0).uniform(-0.3, 0.8, (windows, 4))
    v, counts, removed, since = (np.zeros(current.shape) for _ in range(4))
    passed = np.zeros(windows)
    for _ in range(steps):
        before, v = v, v + current
        reached, spikes = v, v >= 1
        v, removed, counts = v - spikes, removed + spikes, counts + spikes
        since = since + (counts > 0)
        keys = {
            "accumulated": v + removed, "previous": before, "post_reset": v,
            "pre_reset": reached, "count": counts, "first_spike": since,
            "new_maximum": counts - spikes/2,
        }  # fmt: skip
        passed += spikes[np.arange(windows), keys[gate].argmax(axis=1)]
    target = np.clip(current.max(axis=1), 0, 1)
    return float(np.sqrt(np.mean((passed / steps - target) ** 2)))


@st.composite
def geometries(draw):
    size, stride, dilation = (tuple(draw(st.integers(1, 3)) for _ in range(2)) for _ in range(3))
    padding = tuple(draw(st.integers(0, extent // 2)) for extent in size)
    least = [d * (extent - 1) + 1 for extent, d in zip(size, dilation, strict=True)]
    height, width = (draw(st.integers(extent, extent + 5)) for extent in least)
    return {
        "shape": (draw(st.integers(1, 3)), height, width),
        "layer": MaxPool2d(
            name="pool", inputs=("relu",), kernel=size, stride=stride, padding=padding,
            dilation=dilation, ceil_mode=draw(st.booleans()),
        ),
        "seed": draw(st.integers(0, 1000)),
    }  # fmt: skip


def expected_winners(keys: np.ndarray, spiking: np.ndarray, layer: MaxPool2d) -> np.ndarray:
    """Neurons of the pool that pass a spike; torch says who wins."""
    channels = len(keys)
    _, winner = nn.functional.max_pool2d(
        torch.from_numpy(keys.astype(np.float64))[None], layer.kernel, layer.stride, layer.padding,
        layer.dilation, layer.ceil_mode, return_indices=True,
    )  # fmt: skip
    passed = np.take_along_axis(
        spiking.reshape(channels, -1), winner[0].numpy().reshape(channels, -1), axis=1
    ).reshape(winner.shape[1:])
    return np.flatnonzero(np.moveaxis(passed, 0, -1))


def with_ties(shape: tuple[int, ...], seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 4, shape), rng.random(shape) < 0.4


@given(geometry=geometries())
@examples(40)
def test_any_window(geometry):
    """Whole numbers as keys, with many ties."""
    b2.prefs.codegen.target = "numpy"
    layer = geometry["layer"]
    keys, spiking = with_ties(geometry["shape"], geometry["seed"])
    source, pool, monitor = grouped(keys, spiking, Windows(*layer.taps(*keys.shape[1:])))
    b2.Network(source, pool, monitor).run(source.clock.dt)
    assert list(monitor.i) == list(expected_winners(keys, spiking, layer))


TIED = [
    {"kernel": (2, 2), "stride": (2, 2)},
    {"kernel": (3, 2), "stride": (1, 2), "padding": (1, 1)},
    {"kernel": (2, 3), "stride": (2, 1), "dilation": (2, 1), "ceil_mode": True},
]


def tied_pools() -> tuple[b2.Network, list[tuple[b2.SpikeMonitor, np.ndarray]]]:
    """Several poolings of maps with ties, and what each must pass in each step."""
    net, expected = b2.Network(), []
    for number, geometry in enumerate(TIED):
        layer = MaxPool2d(name="pool", inputs=("relu",), **geometry)
        keys, spiking = with_ties((3, 9, 8), number)
        objects = grouped(keys, spiking, Windows(*layer.taps(9, 8)))
        net.add(*objects)
        expected.append((objects[-1], expected_winners(keys, spiking, layer)))
    return net, expected


def assert_ties_are_decided(expected) -> None:
    for monitor, wanted in expected:
        steps = np.rint(np.asarray(monitor.t / b2.ms)).astype(int)
        for step in range(3):
            np.testing.assert_array_equal(np.asarray(monitor.i)[steps == step], wanted)


@pytest.mark.long
def test_ties_in_cython(cython_target):
    net, expected = tied_pools()
    net.run(3 * b2.ms)
    assert_ties_are_decided(expected)


def test_ties_in_cpp_standalone(cpp_standalone):
    net, expected = tied_pools()
    net.run(3 * b2.ms)
    cpp_standalone()
    assert_ties_are_decided(expected)


def grouped(keys: np.ndarray, spiking: np.ndarray, windows: Windows):
    """Neurons that spike or not, with given keys, and a pool over them."""
    clock = b2.Clock(dt=1 * b2.ms)
    source = b2.NeuronGroup(
        keys.size, "key : 1\nspiking : boolean", threshold="spiking", reset="", clock=clock
    )
    source.key = np.moveaxis(keys, 0, -1).ravel()
    source.spiking = np.moveaxis(spiking, 0, -1).ravel()
    pool = GatedPool(source, keys.shape, windows, key="key", order=1, clock=clock)
    return source, pool, b2.SpikeMonitor(pool)


def test_spikes_between_windows(numpy_target):
    spiking = np.array([[[False, True]]])
    windows = MaxPooling(1, stride=2).over(1, 2)
    source, pool, monitor = grouped(np.ones(spiking.shape), spiking, windows)
    b2.Network(source, pool, monitor).run(source.clock.dt)
    assert monitor.num_spikes == 0


def test_a_tie_goes_to_the_first(numpy_target):
    """Row by row, and whether it spikes or not."""
    keys = np.array([[[1.0, 2.0], [2.0, 2.0]]])
    for chosen, passes in (
        ([[0, 1], [0, 0]], True),
        ([[0, 0], [1, 1]], False),
        ([[1, 0], [0, 0]], False),
    ):
        windows = MaxPooling(2).over(2, 2)
        source, pool, monitor = grouped(keys, np.array([chosen], bool), windows)
        b2.Network(source, pool, monitor).run(source.clock.dt)
        assert monitor.num_spikes == passes


@pytest.mark.parametrize("target", RUNTIME_TARGETS)
def test_pools_of_a_script(target):
    """Several keys over one source, a pool with neurons of its own, and a run that is restored."""
    with use_code_target(target):
        _run_pools_of_a_script()


def _run_pools_of_a_script():
    rng = np.random.default_rng(3)
    shape, steps = (3, 6, 5), 40
    clock = b2.Clock(dt=1 * b2.ms)
    source = b2.NeuronGroup(
        90, "v : 1\ni_ext : 1\nremoved : 1", threshold="v >= 1", reset="v -= 1; removed += 1",
        clock=clock,
    )  # fmt: skip
    source.run_regularly("v += i_ext", when="thresholds", order=-1)
    source.resetter["spike"].when, source.resetter["spike"].order = "thresholds", 1
    current = rng.integers(-20, 60, 90) / 64
    source.i_ext = current
    windows = MaxPooling((3, 2), stride=(2, 1), padding=(1, 0))
    pools = [
        GatedPool(source, shape, windows, key=key, model="n : 1", reset="n += 1", order=2,
                  clock=clock)
        for key in ("v + removed", "v")
    ]  # fmt: skip
    monitors = [b2.SpikeMonitor(pool) for pool in pools]
    net = b2.Network(source, *pools, *monitors)
    net.store()
    net.run(7 * b2.ms)
    net.restore()
    net.run(steps * b2.ms)
    expected = by_hand(np.moveaxis(current.reshape(6, 5, 3), -1, 0), windows.over(6, 5), steps)
    for pool, monitor, wanted in zip(pools, monitors, expected, strict=True):
        found = np.zeros((steps, len(pool)))
        found[np.rint(np.asarray(monitor.t / b2.ms)).astype(int), np.asarray(monitor.i)] = 1
        np.testing.assert_array_equal(found, wanted)
        np.testing.assert_array_equal(pool.n[:], wanted.sum(axis=0))
    assert (expected[0] != expected[1]).any()


def by_hand(current: np.ndarray, windows: Windows, steps: int) -> list[np.ndarray]:
    v, removed = np.zeros_like(current), np.zeros_like(current)
    passed = [[], []]
    for _ in range(steps):
        v = v + current
        spikes = v >= 1
        v, removed = v - spikes, removed + spikes
        for key, told in zip((v + removed, v), passed, strict=True):
            told.append(
                [
                    spikes[(c, *max(members(windows, y, x), key=lambda p, k=key[c]: k[p]))]
                    for y in range(windows.shape[0])
                    for x in range(windows.shape[1])
                    for c in range(len(current))
                ]
            )
    return [np.array(told, float) for told in passed]


def members(windows: Windows, y: int, x: int) -> list[tuple[int, int]]:
    # the first of several that max finds is the one that stands first
    return [(r, c) for r in windows.rows[y] for c in windows.columns[x] if r >= 0 and c >= 0]


def test_a_pool_of_pools_chooses_among_neurons(numpy_target):
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1, 2, 3, padding=1)
            self.pool1 = nn.MaxPool2d(3, stride=2, padding=1)
            self.pool2 = nn.MaxPool2d(2, stride=1)
            self.fc = nn.Linear(2 * 3 * 3, 3)

        def forward(self, x):
            x = self.pool2(self.pool1(torch.relu(self.conv(x))))
            return self.fc(torch.flatten(x, 1))

    model, images = make_rate_model(Twice(), (1, 8, 8), steps=25)
    net = run_here(model, images[:3])
    run = rate_reference.simulate_first(model, images[:3], "conv")
    # as one pooling of the union of the windows, from its own definition
    united = MaxPool2d(name="pool2", inputs=("relu",), kernel=(5, 5), stride=(2, 2), padding=(1, 1))
    population = dataclasses.replace(
        model.populations["pool2"], projections=model.populations["pool1"].projections
    )
    expected = rate_reference.pool(model, population, run, layer=united)
    np.testing.assert_array_equal(spikes_of(net, "pool2"), expected)
    assert expected.any()


def test_average_in_place_of_maximum(numpy_target):
    """The gate `average` is the network with its max-poolings replaced."""
    model, images = make(AVERAGE)
    net = run_here(model, images[:3])
    # the oracle's network has average poolings to begin with
    averaged = dataclasses.replace(model, graph=model.spiking_graph, gate=DEFAULT_GATE)
    for name, spikes in rate_reference.simulate(averaged, images[:3]).spikes.items():
        np.testing.assert_array_equal(spikes_of(net, name), np.abs(spikes))
    assert not any(p.role == "max_pool" for p in model.populations.values())
    kinds = [layer.kind for layer in model.graph]
    assert kinds.count("max_pool2d") == 2
    torch_pool = nn.AvgPool2d((3, 2), stride=(2, 1), padding=(1, 0), count_include_pad=False)
    x = np.random.default_rng(0).random((2, 4, 7, 7))
    pool = next(layer for layer in model.spiking_graph if layer.kind == "avg_pool2d")
    np.testing.assert_allclose(pool.forward(x), torch_pool(torch.from_numpy(x)).numpy())


def test_spike_norm_through_a_max_pooling():
    """Thresholds are the largest inputs that the oracle's network gets with them."""
    model, images = make(DEFAULT_GATE, norm="spike-norm", encoder="poisson", reset="zero")
    calibration = np.random.default_rng(0).random((48, *SHAPE), dtype=np.float32)
    calibration[calibration < 0.2] = 0
    run = rate_reference.simulate(model, calibration[16:])
    for name, inputs in run.inputs.items():
        assert inputs.max() == pytest.approx(model.scales[name], rel=1e-5), name
    assert model.scales["pool1"] == model.scales["conv1"]
    assert len(images) == 16


def test_a_model_with_a_gate_is_stored(tmp_path):
    for gate in ("previous", EXPRESSION):
        model, _ = make(gate)
        model.save(tmp_path / "model.h5")
        assert bsnn.load_model(tmp_path / "model.h5").gate == gate


@pytest.mark.parametrize(
    ("gate", "message"),
    [
        ("largest", "unknown name 'largest'"),
        ("v + w", "unknown name 'w'"),
        ("v +", "neither a gate nor an expression"),
        ("__import__('os')", "unknown name '__import__'"),
        ("v.real", "Attribute"),
        ("v + 'a'", "no number"),
        ("3 + 4", "depends on nothing"),
    ],
)
def test_a_gate_that_is_not_known(gate, message):
    with pytest.raises(bsnn.ConversionError, match=message) as error:
        make(gate)
    assert DEFAULT_GATE in str(error.value)


def test_what_cannot_be_pooled(numpy_target):
    first = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(2, 3, 2), nn.ReLU(), nn.Flatten(),
                          nn.Linear(12, 2))  # fmt: skip
    with pytest.raises(bsnn.ConversionError, match="follows the input"):
        make_rate_model(first, (2, 6, 6))
    dilated = nn.Sequential(nn.Conv2d(2, 3, 2), nn.ReLU(), nn.MaxPool2d(2, dilation=2),
                            nn.Flatten(), nn.Linear(3, 2))  # fmt: skip
    with pytest.raises(bsnn.ConversionError, match="dilation"):
        make_rate_model(dilated, (2, 4, 4), gate=AVERAGE)
    source = b2.NeuronGroup(16, "v : 1", threshold="v > 1")
    with pytest.raises(ValueError, match="has 16 neurons"):
        GatedPool(source, (1, 3, 3), MaxPooling(2), key="v", order=1)
    model, _ = make(DEFAULT_GATE)
    scales = {**model.scales, "pool1": 3.0}
    with pytest.raises(ValueError, match="'pool1' is not that of 'conv1'"):
        dataclasses.replace(model, scales=scales).check()
