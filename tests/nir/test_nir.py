"""Networks to and from the Neuromorphic Intermediate Representation (NIR)."""

from __future__ import annotations

import dataclasses
import itertools
import subprocess
import sys
import warnings

import brian2 as b2
import numpy as np
import pytest
from fuzzing import examples
from hypothesis import given
from hypothesis import strategies as st
from rate_networks import AverageCnn, MaxCnn, ResidualNet, make_rate_model
from rate_reference import simulate

import bsnn
from bsnn.conversion import ENCODERS, RateDynamics
from bsnn.conversion.populations import per_channel
from bsnn.graph import (
    AdaptiveAvgPool2d,
    Add,
    AvgPool2d,
    Conv2d,
    Flatten,
    Graph,
    Input,
    Linear,
    PadChannels,
    ReLU,
)

nir = pytest.importorskip("nir", reason="needs the extra nir")

pytestmark = pytest.mark.filterwarnings("ignore:bsnn's neurons are reset by subtraction")

CNN = (AverageCnn, (2, 7, 6))
RESIDUAL = (ResidualNet, (2, 8, 8))


def network(kind, *, bias=True, **options):
    net, shape = kind
    return make_rate_model(net(bias), shape, **options)


@pytest.fixture
def through_file(tmp_path):
    """Write a model and read it again."""

    def write_and_read(model, **options):
        bsnn.save_nir(model, tmp_path / "model.nir", **options)
        return bsnn.from_nir(tmp_path / "model.nir")

    return write_and_read


def assert_same_spikes(model, other, images, images_of_other=None):
    """Compare two models with the oracle, population by population in order."""
    told = simulate(model, images)
    other_told = simulate(other, images if images_of_other is None else images_of_other)
    own, others = list(model.populations)[1:], list(other.populations)[1:]
    assert len(own) == len(others)
    fired = 0
    for name, other_name in zip(own, others, strict=True):
        if model.spikes(name):
            np.testing.assert_array_equal(told.spikes[name], other_told.spikes[other_name])
            fired += told.spikes[name].sum()
    assert fired > 100


CASES = {
    "chain": (CNN, {}),
    "no bias": (CNN, {"bias": False}),
    "reset to zero, potentials read, poisson": (
        CNN,
        {"reset": "zero", "read_out": "potential", "encoder": "poisson"},
    ),
    "channels, thresholds": (CNN, {"channels": True, "balance": "thresholds"}),
    "channels, weights": (CNN, {"channels": True}),
    "normalised, signed": (CNN, {"mean": (0.4, 0.5), "std": (0.2, 0.3), "encoder": "regular"}),
    "start and floor": (CNN, {"initial_potential": 0.5, "potential_floor": -1.0}),
    "residual": (RESIDUAL, {}),
    "residual, channels": (RESIDUAL, {"channels": True}),
    "residual, thresholds of one": (RESIDUAL, {"balance": "thresholds", "residual": "one"}),
    "residual, unequal": (RESIDUAL, {"residual": "unequal", "reset": "zero"}),
}


@pytest.mark.filterwarnings("ignore:Potentials|Images are")
@pytest.mark.parametrize(("kind", "options"), CASES.values(), ids=CASES)
def test_there_and_back_again(kind, options, through_file):
    model, images = network(kind, **options)
    found = through_file(model)
    assert (found.neuron, found.parameters, found.notes) == ("if", {"dt": 1.0}, ())
    again = found.model
    assert list(again.populations) == list(model.populations)
    for name, population in model.populations.items():
        assert again.populations[name].shape == population.shape
        np.testing.assert_array_equal(again.threshold(name), model.threshold(name))
        np.testing.assert_array_equal(again.scales[name], model.scales[name])
    # names of layers stay; an adaptive pooling becomes a plain one
    assert {layer.name for layer in again.graph} == {layer.name for layer in model.graph}
    for layer in model.graph:
        assert again.graph[layer.name].arrays.keys() == layer.arrays.keys()
        for name, array in layer.arrays.items():
            found_array = again.graph[layer.name].arrays[name]
            assert found_array.dtype == np.float32
            np.testing.assert_array_equal(found_array, array)
    kept = ("reset", "balance", "encoder", "steps", "residual", "read_out", "norm", "calibration")
    for field in (*kept, "initial_potential", "potential_floor"):
        assert getattr(again, field) == getattr(model, field)
    assert_same_spikes(model, again, images)


@pytest.mark.filterwarnings("ignore:Potentials|Images are")
@pytest.mark.parametrize(("kind", "options"), CASES.values(), ids=CASES)
def test_nodes_alone_tell_the_same_spikes(kind, options):
    """Without the metadata, as another tool would read it."""
    model, images = network(kind, **options)
    graph = bsnn.to_nir(model)
    graph.metadata.clear()
    for node in graph.nodes.values():
        node.metadata.clear()
    again = bsnn.from_nir(
        graph,
        reset=model.reset,
        steps=model.steps,
        encoder=model.encoder,
        input_scale=model.scales[model.input.name],
    ).model
    for (name, population), other in zip(
        model.populations.items(), again.populations.values(), strict=True
    ):
        if model.spikes(name) and population.role != "input":
            np.testing.assert_allclose(
                again.threshold(other.name), model.threshold(name), rtol=1e-12
            )
    told = ("initial_potential", "potential_floor")
    again = dataclasses.replace(again, **{name: getattr(model, name) for name in told})
    entering = None
    if model.input.layer != model.graph.input.name:
        entering = model.graph.evaluate(
            model.input.layer, {model.graph.input.name: images.astype(np.float64)}
        )
    assert_same_spikes(model, again, images, entering)


def test_what_stands_in_the_graph():
    model, _ = network(CNN, balance="thresholds", encoder="poisson")
    with pytest.warns(UserWarning, match="reset by subtraction") as told:
        graph = bsnn.to_nir(model, dt=0.5)
    assert len(told) == 1
    assert graph.metadata["bsnn"]["encoder"] == "poisson"
    assert graph.metadata["bsnn"]["dt"] == 0.5
    neurons = graph.nodes["relu"]
    assert isinstance(neurons, nir.IF)
    assert neurons.v_threshold.shape == model.populations["conv1"].shape
    np.testing.assert_array_equal(neurons.v_threshold, model.threshold("conv1"))
    np.testing.assert_array_equal(neurons.r, 2.0)
    np.testing.assert_array_equal(neurons.v_reset, 0.0)
    assert neurons.metadata["bsnn"]["reset"] == "subtract"
    assert neurons.metadata["bsnn"]["population"] == "conv1"
    # even kernel with padding on one side, two groups: with zeros in the kernel
    assert graph.nodes["conv1"].weight.shape == (4, 2, 3, 3)
    assert graph.nodes["conv2"].weight.shape == (6, 4, 3, 3)
    np.testing.assert_array_equal(
        graph.nodes["conv2"].weight[:3, :2], model.graph["conv2"].weight[:3]
    )
    assert not graph.nodes["conv2"].weight[:3, 2:].any()
    assert [type(graph.nodes[f"pool{i}"]).__name__ for i in (1, 2)] == ["AvgPool2d"] * 2


def test_branches_are_edges():
    model, _ = network(RESIDUAL, balance="thresholds", residual="one")
    graph = bsnn.to_nir(model)
    assert [source for source, target in graph.edges if target == "relu_3"] == [
        "relu_1", "block1_conv2",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "warning"),
    [
        ({"initial_potential": 0.5}, "begin at 0.5 thresholds"),
        ({"potential_floor": -2.0}, "never below -2 thresholds"),
        ({"mean": (0.5, 0.5), "std": (0.25, 0.2)}, "normalised"),
    ],
)
def test_what_has_no_place_is_warned_of(options, warning):
    model, _ = network(CNN, reset="zero", **options)
    with pytest.warns(UserWarning, match=warning):
        bsnn.to_nir(model)


def test_rounded_currents_are_warned_of_and_kept(through_file):
    model, _ = network(CNN, reset="zero")
    model = dataclasses.replace(model, fraction_bits=6)
    with pytest.warns(UserWarning, match="6 fraction bits"):
        again = through_file(model).model
    assert again.fraction_bits == 6


def test_nothing_to_warn_of():
    model, _ = network(CNN, reset="zero")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bsnn.to_nir(model)


def test_max_pooling_is_refused_and_average_is_not():
    model, _ = make_rate_model(MaxCnn(), (2, 8, 7))
    with pytest.raises(bsnn.ConversionError, match=r"pool1, pool2.*gate='average'"):
        bsnn.to_nir(model)
    # with padding the mean is over fewer elements at the border
    model, _ = make_rate_model(MaxCnn(), (2, 8, 7), gate="average")
    with pytest.raises(bsnn.ConversionError, match=r"'pool1' divides by 4 and 6"):
        bsnn.to_nir(model)


def test_first_spikes_are_refused(small_cnn):
    model, *_ = small_cnn()
    with pytest.raises(bsnn.ConversionError, match="'NIR' has no meaning"):
        bsnn.to_nir(model)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"neuron": "izhikevich"}, "no neuron 'izhikevich'"),
        ({"neuron": "lif"}, "needs a time constant"),
        ({"tau": 0.02}, "does not leak"),
        ({"dt": 0.0}, "dt is 0.0"),
        ({"neuron": "lif", "tau": -1.0}, "tau is -1.0"),
    ],
)
def test_neurons_that_cannot_be(options, message):
    model, _ = network(CNN)
    with pytest.raises(bsnn.SettingsError, match=message):
        bsnn.to_nir(model, **options)


def small_model(*layers, shape, reset="zero", **fields):
    """A model of given layers, whose scales are not alike."""
    graph = Graph([Input(name="input", shape=shape), *layers])
    model = bsnn.RateModel(
        graph=graph, steps=25, scales={}, read_out="count", norm="by hand", calibration={},
        reset=reset, **fields,
    )  # fmt: skip
    for number, name in enumerate(model.populations):
        # no ratio of small numbers, which a mean of spikes would hit to the last bit
        model.scales[name] = 1.0 if number == 0 else 0.7512347 + 0.3171093 * number
    model.check()
    return model


@st.composite
def convolutions(draw):
    """A convolution of any geometry and a map that it fits."""
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    inputs, outputs = groups * draw(st.integers(1, 2)), groups * draw(st.integers(1, 2))
    pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
    kernel, stride, dilation = draw(pair), draw(pair), draw(pair)
    padding = tuple(draw(st.integers(0, 3)) for _ in range(4))
    size = tuple(
        max(1, step * (taps - 1) + 1 - before - after) + draw(st.integers(0, 5))
        for step, taps, before, after in zip(
            dilation, kernel, padding[::2], padding[1::2], strict=True
        )
    )
    weight = np.random.default_rng(draw(st.integers(0, 99))).normal(
        0.2, 1, (outputs, inputs // groups, *kernel)
    )
    conv = Conv2d(
        name="conv", inputs=("input",), weight=weight.astype(np.float32), stride=stride,
        bias=np.full(outputs, 0.1, np.float32) if draw(st.booleans()) else None,
        padding=padding, dilation=dilation, groups=groups,
    )  # fmt: skip
    return conv, (inputs, *size)


@examples(60)
@given(convolutions(), st.booleans())
def test_any_convolution(case, with_metadata):
    conv, shape = case
    model = small_model(
        conv,
        ReLU(name="relu", inputs=("conv",)),
        AdaptiveAvgPool2d(name="mean", inputs=("relu",), output_size=(1, 1)),
        Flatten(name="flat", inputs=("mean",)),
        Linear(name="fc", inputs=("flat",), weight=np.eye(len(conv.weight), dtype=np.float32)),
        shape=shape,
        # the weights are then the trained ones, also without the metadata
        balance="thresholds",
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="A convolution has a kernel that is not square")
        graph = bsnn.to_nir(model)
    if not with_metadata:
        graph.metadata.clear()
        graph.nodes["conv"].metadata.clear()
    again = bsnn.from_nir(graph, steps=model.steps).model
    found = again.graph["conv"]
    if with_metadata:
        assert found.geometry == conv.geometry
        np.testing.assert_array_equal(found.weight, conv.weight)
        assert (found.bias is None) == (conv.bias is None)
    images = np.random.default_rng(1).random((3, *shape))
    for population, other in zip(
        list(model.populations)[1:], list(again.populations)[1:], strict=True
    ):
        np.testing.assert_array_equal(
            simulate(model, images).spikes[population], simulate(again, images).spikes[other]
        )


def test_files_are_read_by_nir_with_its_check(tmp_path):
    for kind, options in ((CNN, {}), (RESIDUAL, {"channels": True})):
        model, _ = network(kind, **options)
        bsnn.save_nir(model, tmp_path / "model.nir")
        assert "fc2_neurons" in nir.read(tmp_path / "model.nir").nodes or kind is RESIDUAL


def test_kernels_that_nir_takes_for_square(tmp_path):
    conv = Conv2d(
        name="conv", inputs=("input",), weight=np.ones((2, 1, 3, 1), np.float32)
    )  # fmt: skip
    model = small_model(
        conv,
        ReLU(name="relu", inputs=("conv",)),
        Flatten(name="flat", inputs=("relu",)),
        Linear(name="fc", inputs=("flat",), weight=np.ones((3, 24), np.float32)),
        shape=(1, 5, 4),
    )
    with pytest.warns(UserWarning, match="type_check=False"):
        bsnn.save_nir(model, tmp_path / "model.nir")
    with pytest.raises(ValueError, match="type mismatch"):
        nir.read(tmp_path / "model.nir")
    assert bsnn.from_nir(tmp_path / "model.nir").model.graph["conv"].kernel == (3, 1)


def test_poolings(through_file):
    model = small_model(
        AvgPool2d(name="sums", inputs=("input",), kernel=(2, 2), stride=(2, 2), divisor=1),
        Conv2d(name="conv", inputs=("sums",), weight=np.ones((2, 1, 1, 1), np.float32) / 2),
        ReLU(name="relu", inputs=("conv",)),
        # all windows are complete
        AvgPool2d(
            name="means", inputs=("relu",), kernel=(2, 2), stride=(1, 1), ceil_mode=True,
            count_include_pad=False,
        ),
        PadChannels(name="wide", inputs=("means",), before=1, after=2),
        AdaptiveAvgPool2d(name="halves", inputs=("wide",), output_size=(1, 2)),
        Flatten(name="flat", inputs=("halves",)),
        Linear(name="fc", inputs=("flat",), weight=np.ones((3, 10), np.float32)),
        shape=(1, 6, 10),
    )  # fmt: skip
    kinds = [type(node).__name__ for node in bsnn.to_nir(model).nodes.values()]
    assert kinds[1:9] == [
        "SumPool2d", "Conv2d", "IF", "AvgPool2d", "Conv2d", "AvgPool2d", "Flatten", "Linear",
    ]  # fmt: skip
    again = through_file(model).model
    assert isinstance(again.graph["wide"], PadChannels)
    assert_same_spikes(model, again, np.random.default_rng(0).random((8, 1, 6, 10)))


@pytest.mark.parametrize("with_metadata", [True, False])
def test_channels_of_a_shortcut_have_scales_of_their_own(with_metadata):
    rng = np.random.default_rng(8)
    model = small_model(
        Conv2d(
            name="conv",
            inputs=("input",),
            weight=rng.normal(0.3, 0.5, (2, 1, 3, 3)).astype(np.float32),
        ),
        ReLU(name="relu", inputs=("conv",)),
        Conv2d(
            name="main",
            inputs=("relu",),
            weight=rng.normal(0.2, 1, (5, 2, 1, 1)).astype(np.float32),
        ),
        PadChannels(name="wide", inputs=("relu",), before=1, after=2),
        Add(name="sum", inputs=("wide", "main")),
        ReLU(name="relu2", inputs=("sum",)),
        Flatten(name="flat", inputs=("relu2",)),
        Linear(name="fc", inputs=("flat",), weight=rng.normal(0.1, 1, (4, 45)).astype(np.float32)),
        shape=(1, 5, 5),
    )
    model.scales["conv"] = np.array([0.6, 1.7])
    model.scales["sum"] = np.array([0.7, 0.9, 1.1, 1.3, 2.1])
    graph = bsnn.to_nir(model)
    if not with_metadata:
        graph.metadata.clear()
        for node in graph.nodes.values():
            node.metadata.clear()
    found = bsnn.from_nir(graph, steps=model.steps)
    assert bool(found.notes) is not with_metadata
    assert_same_spikes(model, found.model, rng.random((6, 1, 5, 5)))


@pytest.mark.parametrize(
    ("pool", "message"),
    [
        (AdaptiveAvgPool2d(name="pool", inputs=("relu",), output_size=(3, 2)), "unequal bins"),
        (
            AvgPool2d(name="pool", inputs=("relu",), kernel=(2, 2), stride=(2, 2), ceil_mode=True),
            "ceil_mode=False",
        ),
        (
            AvgPool2d(name="pool", inputs=("relu",), kernel=(2, 2), stride=(1, 1), divisor=3),
            "divides by 3, not by the 4",
        ),
    ],
)
def test_poolings_that_nir_has_not(pool, message):
    model = small_model(
        Conv2d(name="conv", inputs=("input",), weight=np.ones((2, 1, 1, 1), np.float32)),
        ReLU(name="relu", inputs=("conv",)),
        pool,
        shape=(1, 5, 5),
    )
    with pytest.raises(bsnn.ConversionError, match=f"'pool'.*{message}"):
        bsnn.to_nir(model)


def test_two_edges_between_two_nodes():
    model = small_model(
        Linear(name="fc", inputs=("input",), weight=np.ones((3, 4), np.float32)),
        ReLU(name="relu", inputs=("fc",)),
        Add(name="twice", inputs=("relu", "relu")),
        shape=(4,),
    )
    model = dataclasses.replace(model, balance="thresholds")
    model.scales["twice"] = model.scales["fc"]
    with pytest.raises(bsnn.ConversionError, match="adds a layer to itself"):
        bsnn.to_nir(model)


# -- graphs that bsnn has not written -------------------------------------------------------------


def if_node(*shape, threshold=1.0, r=1.0, **fields):
    return nir.IF(r=np.full(shape, r), v_threshold=np.full(shape, threshold), **fields)


def lif_node(*shape, tau=0.02, threshold=1.0, r=20.0, leak=0.0):
    return nir.LIF(
        tau=np.full(shape, tau), r=np.full(shape, r), v_leak=np.full(shape, leak),
        v_threshold=np.full(shape, threshold),
    )  # fmt: skip


def chain(*nodes, shape=(4,), last=(3,)):
    """A graph of nodes one after another, called 0, 1, ..."""
    named = {str(number): node for number, node in enumerate(nodes)}
    names = ["input", *named, "output"]
    ends = {"input": nir.Input(np.array(shape)), "output": nir.Output(np.array(last))}
    return nir.NIRGraph({**named, **ends}, list(itertools.pairwise(names)), type_check=False)


def random(seed=5):
    """A generator for one test: tests do not depend on those before them."""
    return np.random.default_rng(seed)


FIRST, SECOND = random(1).normal(0.3, 1, (6, 4)), random(2).normal(0.3, 1, (3, 6))


def test_a_graph_made_by_hand():
    """Thresholds and weights stay; the spikes are those of the definition."""
    rng = random()
    bias = rng.normal(0, 0.1, 6)
    graph = chain(
        nir.Affine(FIRST, bias), if_node(6, threshold=0.7), nir.Linear(SECOND),
        if_node(3, threshold=1.9),
    )  # fmt: skip
    found = bsnn.from_nir(graph, steps=40)
    model = found.model
    assert (model.reset, model.encoder, model.read_out) == ("zero", "constant", "count")
    assert [float(model.threshold(name)) for name in list(model.populations)[1:]] == [0.7, 1.9]
    np.testing.assert_array_equal(model.graph["node_0"].weight, FIRST.astype(np.float32))
    np.testing.assert_allclose(model.graph["node_2"].weight, SECOND.astype(np.float32), rtol=1e-6)
    assert any("rounded to float32" in note for note in found.notes)
    x = rng.random((5, 4))
    run = simulate(model, x)
    first, second = np.zeros((5, 6)), np.zeros((5, 3))
    for t in range(40):
        first += x @ FIRST.astype(np.float32).T + bias.astype(np.float32)
        spikes = first > 0.7
        first[spikes] = 0
        second += spikes @ SECOND.astype(np.float32).T
        out = second > 1.9
        second[out] = 0
        np.testing.assert_array_equal(run.spikes["node_0"][:, t], spikes)
        np.testing.assert_array_equal(run.spikes["node_2"][:, t], out)
    assert run.spikes["node_2"].sum() > 20


def test_it_runs_in_brian(numpy_target):
    rng = random()
    graph = chain(nir.Linear(FIRST), if_node(6), nir.Linear(SECOND), if_node(3))
    model = bsnn.from_nir(graph, steps=12).model
    images = rng.random((3, 4))
    result = bsnn.simulate(model, images, device="runtime", progress=False)
    expected = simulate(model, images).spikes
    for name in ("node_0", "node_2"):
        np.testing.assert_array_equal(
            result.populations[name].spikes, expected[name].sum(axis=(1, 2))
        )


def test_resistances_are_relative_to_the_step():
    """A spike of weight w moves a potential by R dt w."""
    graph = chain(nir.Linear(FIRST), if_node(6, r=500.0, threshold=0.8), nir.Linear(SECOND),
                  if_node(3, r=1000.0))  # fmt: skip
    with pytest.raises(bsnn.ConversionError, match=r"different resistances \(500, 1000\).*--dt"):
        bsnn.from_nir(graph)
    found = bsnn.from_nir(graph, dt=1e-3)
    assert found.parameters == {"dt": 1e-3}
    thresholds = [found.model.threshold(name) for name in ("node_0", "node_2")]
    np.testing.assert_allclose(thresholds, [1.6, 1.0])
    # alike in all neurons: the writer counts in steps
    graph = chain(nir.Linear(FIRST), if_node(6, r=500.0), nir.Linear(SECOND), if_node(3, r=500.0))
    assert bsnn.from_nir(graph).model.threshold("node_0") == 1.0


@pytest.mark.parametrize("shortcut_first", [False, True])
def test_thresholds_that_differ_meet_at_a_junction(shortcut_first):
    """A shortcut without weights, of spikes of height one, between thresholds that differ."""
    rng = random()
    w = rng.normal(0.3, 1, (4, 4))
    nodes = {
        "input": nir.Input(np.array([4])), "w1": nir.Linear(w), "a": if_node(4, threshold=0.6),
        "w2": nir.Linear(w.T), "b": if_node(4, threshold=1.7), "w3": nir.Linear(w + 0.1),
        "c": if_node(4, threshold=2.5), "output": nir.Output(np.array([4])),
    }  # fmt: skip
    edges = [("input", "w1"), ("w1", "a"), ("a", "w2"), ("w2", "b"), ("b", "w3"), ("w3", "c"),
             ("a", "c"), ("c", "output")]  # fmt: skip
    if shortcut_first:
        edges.sort(key=lambda edge: edge != ("a", "c"))
    model = bsnn.from_nir(nir.NIRGraph(nodes, edges), steps=30).model
    np.testing.assert_allclose(
        [model.threshold(name) for name in list(model.populations)[1:]], [0.6, 1.7, 2.5]
    )
    x = rng.random((4, 4))
    *_, last = simulate(model, x).spikes.values()
    state = {name: np.zeros((4, 4)) for name in "abc"}
    single = {k: np.float32(v).astype(float).T for k, v in (("a", w), ("b", w.T), ("c", w + 0.1))}
    expected = np.zeros((4, 30, 4))

    def step(name, current):
        state[name] += current
        spikes = state[name] > nodes[name].v_threshold
        state[name][spikes] = 0
        return spikes

    for t in range(30):
        a = step("a", x @ single["a"])
        b = step("b", a @ single["b"])
        expected[:, t] = step("c", b @ single["c"] + a)
    np.testing.assert_array_equal(last, expected)
    assert expected.sum() > 30


def test_populations_stay_in_the_order_of_the_edges(through_file):
    """A file has its nodes in the order of the alphabet."""
    rng = random()

    def dense(name, source):
        weight = rng.normal(0.3, 1, (3, 3)).astype(np.float32)
        return Linear(name=name, inputs=(source,), weight=weight)

    model = small_model(
        dense("z", "input"),
        ReLU(name="z_relu", inputs=("z",)),
        dense("a", "input"),
        ReLU(name="a_relu", inputs=("a",)),
        dense("z_out", "z_relu"),
        dense("a_out", "a_relu"),
        Add(name="sum", inputs=("z_out", "a_out")),
        ReLU(name="relu", inputs=("sum",)),
        dense("fc", "relu"),
        shape=(3,),
        balance="thresholds",
    )
    again = through_file(model).model
    assert list(again.populations) == ["input", "z", "a", "sum", "fc"]
    assert_same_spikes(model, again, rng.random((8, 3)))


def test_neurons_after_neurons_and_factors():
    """Populations without weights between them; Scale is a layer with weights."""
    graph = chain(
        if_node(2, 3, 3, threshold=0.5), if_node(2, 3, 3, threshold=2.0),
        nir.Scale(np.broadcast_to([[[1.0]], [[3.0]]], (2, 3, 3))), nir.Flatten({"input": None}, 0),
        nir.Scale(np.arange(1.0, 19.0)), if_node(18, threshold=20.0), shape=(2, 3, 3), last=(18,),
    )  # fmt: skip
    model = bsnn.from_nir(graph, steps=20).model
    images = np.full((1, 2, 3, 3), 0.3)
    first, second, last = simulate(model, images).spikes.values()
    # a spike each second step, of which each second passes, four steps apart
    assert first[0, :, 0, 0, 0].tolist() == [0, 1] * 10
    assert second[0, :, 0, 0, 0].tolist() == [0, 0, 0, 1] * 5
    # factors: 1 x 1, 3 x 10 (the second channel's first)
    assert last[0].sum(axis=0)[[0, 9]].tolist() == [0, 5]


def test_names_and_forms_of_other_tools():
    graph = nir.NIRGraph(
        {
            "in": nir.Input(np.array([2, 4, 4])),
            "Block.0": nir.Conv2d((4, 4), np.ones((4, 1, 2, 2)), 1, "same", 1, 2, np.zeros(4)),
            "0.if": if_node(4, 4, 4, threshold=np.arange(1.0, 5.0)[:, None, None]),
            "pool": nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
            # with the axis of the batch, as some count
            "flat": nir.Flatten({"input": None}, start_dim=1),
            "fc": nir.Linear(np.ones((3, 16))),
            "li": nir.I(r=np.ones(3)),
            "out": nir.Output(np.array([3])),
        },
        [("in", "Block.0"), ("Block.0", "0.if"), ("0.if", "pool"), ("pool", "flat"), ("flat", "fc"),
         ("fc", "li"), ("li", "out")],
        type_check=False,
    )  # fmt: skip
    model = bsnn.from_nir(graph).model
    assert [layer.name for layer in model.graph] == [
        "in", "block_0", "node_0_if", "pool", "flat", "fc",
    ]  # fmt: skip
    conv = model.graph["block_0"]
    assert (conv.padding, conv.groups) == ((0, 1, 0, 1), 2)
    assert model.read_out == "potential"
    np.testing.assert_allclose(model.threshold("block_0"), [1, 2, 3, 4])


def test_a_last_layer_without_neurons_is_read_by_its_sums():
    found = bsnn.from_nir(chain(nir.Linear(FIRST), if_node(6), nir.Linear(SECOND)))
    assert found.model.read_out == "potential"
    assert "'2' has no neurons after it" in " ".join(found.notes)


REFUSED = {
    "CubaLIF": (
        lambda: chain(nir.Linear(FIRST), nir.CubaLIF(*[np.ones(6)] * 5)),
        r"'1' \(CubaLIF\) has synapses with a time constant",
    ),
    "Delay": (lambda: chain(nir.Delay(np.ones(4)), if_node(4)), r"'0' \(Delay\) is an axonal"),
    "two kinds": (
        lambda: chain(nir.Linear(FIRST), if_node(6), nir.Linear(SECOND), lif_node(3)),
        "several kinds .*1: if, 3: lif",
    ),
    "reset to something": (
        lambda: chain(nir.Linear(FIRST), if_node(6, v_reset=np.full(6, -1.0))),
        "'1' .IF. is reset to v_reset",
    ),
    "leak to something": (
        lambda: chain(nir.Linear(FIRST), lif_node(6, leak=0.1)),
        "'1' .LIF. leaks to v_leak",
    ),
    "no step": (lambda: chain(nir.Linear(FIRST), lif_node(6)), "length of a step.*dt=0.001"),
    "threshold of each neuron": (
        lambda: chain(if_node(2, 1, 2, threshold=[1, 2]), shape=(2, 1, 2)),
        "'0' have thresholds .* differ within a channel",
    ),
    "no threshold": (lambda: chain(if_node(4, threshold=0.0)), "'0' has a threshold that is not"),
    "integrator inside": (
        lambda: chain(nir.Linear(FIRST), nir.I(np.ones(6)), nir.Linear(SECOND), if_node(3)),
        r"'1' \(I\) does not spike",
    ),
    "no neurons": (lambda: chain(nir.Linear(FIRST)), "no spiking neurons"),
    "shapes": (lambda: chain(nir.Linear(SECOND), if_node(3)), "does not fit an input of shape"),
    "flattening": (
        lambda: chain(nir.Flatten({"input": None}, 2), if_node(4), shape=(1, 2, 2)),
        "'0' .Flatten. flattens axes 2 to -1",
    ),
    "cycle": (
        lambda: nir.NIRGraph(
            {"input": nir.Input(np.array([3])), "n": if_node(3), "w": nir.Linear(np.eye(3)),
             "output": nir.Output(np.array([3]))},
            [("input", "n"), ("n", "w"), ("w", "n"), ("n", "output")], type_check=False,
        ),
        "cycle through n, w",
    ),
    "two inputs": (
        lambda: nir.NIRGraph(
            {"a": nir.Input(np.array([3])), "b": nir.Input(np.array([3])), "n": if_node(3),
             "output": nir.Output(np.array([3]))},
            [("a", "n"), ("b", "n"), ("n", "output")], type_check=False,
        ),
        "2 Input nodes .a, b.",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("graph", "message"), REFUSED.values(), ids=REFUSED)
def test_refused_by_name(graph, message):
    with pytest.raises(bsnn.ConversionError, match=message):
        bsnn.from_nir(graph())


def test_reset_can_be_told():
    graph = chain(nir.Linear(FIRST), if_node(6, v_reset=np.full(6, -1.0)))
    assert bsnn.from_nir(graph, reset="subtract").model.reset == "subtract"
    with pytest.raises(bsnn.SettingsError, match="no reset 'half'"):
        bsnn.from_nir(graph, reset="half")


def test_files_that_are_none(tmp_path):
    with pytest.raises(bsnn.StorageError, match="does not exist"):
        bsnn.from_nir(tmp_path / "none.nir")
    (tmp_path / "text.nir").write_text("no graph")
    with pytest.raises(bsnn.StorageError, match="no NIR file"):
        bsnn.from_nir(tmp_path / "text.nir")
    nir.write(tmp_path / "one.nir", if_node(3))
    with pytest.raises(bsnn.StorageError, match="no NIR file"):
        bsnn.from_nir(tmp_path / "one.nir")


def test_a_failed_export_leaves_the_old_file(tmp_path, monkeypatch):
    model, _ = network(CNN)
    path = tmp_path / "model.nir"
    bsnn.save_nir(model, path)
    before = path.read_bytes()

    def fail(file, graph):
        file.write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(nir, "write", fail)
    with pytest.raises(bsnn.StorageError, match="no space left"):
        bsnn.save_nir(model, path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["model.nir"]


@pytest.mark.parametrize("kind", [CNN, RESIDUAL], ids=["chain", "residual"])
def test_what_was_changed_meanwhile_is_taken_from_the_nodes(kind, through_file):
    """Metadata that do not fit any more are not believed."""
    model, images = network(kind, encoder="regular")
    graph = bsnn.to_nir(model)
    graph.nodes["relu"].v_threshold *= 2
    found = bsnn.from_nir(graph)
    assert "changed after bsnn wrote it" in found.notes[0]
    assert (found.model.norm, found.model.encoder, found.model.steps) == (
        "nir", "regular", model.steps,
    )  # fmt: skip
    first = list(model.populations)[1]
    np.testing.assert_allclose(
        found.model.threshold(first), 2 * np.asarray(model.threshold(first)), rtol=1e-12
    )
    spikes = [simulate(m, images).spikes[first].sum() for m in (model, found.model)]
    assert 0 < spikes[1] < spikes[0]


def test_zeros_of_a_kernel_that_were_changed_are_weights():
    """Groups, and padding on one side, come back only as long as the zeros are zeros."""
    model, _ = network(CNN)
    graph = bsnn.to_nir(model)
    graph.nodes["conv2"].weight[0, 3] = 0.5
    graph.nodes["conv1"].weight[0, 0, 0, 0] = 0.25
    again = bsnn.from_nir(graph).model.graph
    assert (again["conv1"].kernel, again["conv2"].groups) == ((3, 3), 1)
    assert again["conv2"].weight[0, 3].all()
    assert again["conv1"].weight[0, 0, 0, 0] != 0


def test_metadata_of_a_later_version_are_not_used():
    model, _ = network(CNN)
    graph = bsnn.to_nir(model)
    graph.metadata["bsnn"]["schema"] = 99
    found = bsnn.from_nir(graph)
    assert "unknown version 99" in found.notes[0]
    assert found.model.norm == "nir"


def test_leaky_neurons(through_file):
    model, _ = network(CNN, reset="zero")
    graph = bsnn.to_nir(model, neuron="lif", tau=20e-3, dt=1e-3)
    np.testing.assert_array_equal(graph.nodes["relu"].r, 20e-3 / 1e-3)
    found = through_file(model, neuron="lif", tau=20e-3, dt=1e-3)
    assert found.neuron == "lif"
    assert found.parameters == {"dt": 1e-3, "tau": 20e-3}
    for name in model.populations:
        np.testing.assert_array_equal(found.model.threshold(name), model.threshold(name))
    graph.nodes["relu"].tau[0, 0, 0] = 1.0
    with pytest.raises(bsnn.ConversionError, match="different time constants .relu: 0.02 to 1"):
        bsnn.from_nir(graph)


def test_a_leaky_read_out_is_told():
    li = nir.LI(tau=np.full(3, 0.05), r=np.full(3, 50.0), v_leak=np.zeros(3))
    found = bsnn.from_nir(chain(nir.Linear(FIRST), lif_node(6), nir.Linear(SECOND), li), dt=1e-3)
    assert found.parameters == {"dt": 1e-3, "tau": 0.02, "read_out_tau": 0.05}
    assert "adds up without a leak" in " ".join(found.notes)


# -- other simulators -----------------------------------------------------------------------------


def spikes_of(model, images, *, decay=1.0, owing=False, tie=0.0):
    """Spikes of each population, shape ``(steps, n, *shape)``, by the rules of one simulator.

    Parameters
    ----------
    decay : float
        What a potential is multiplied by before each step's input.
    owing : bool
        As snnTorch does it: a neuron whose potential is above the threshold although it was reset
        is compared with the threshold after another one is subtracted.
    tie : float
        By which share of the threshold a potential may miss it: nothing elsewhere than in bsnn.
    """
    dynamics = RateDynamics(model, images)
    values, names = model.encode(images), list(model.populations)[1:]
    encoder = ENCODERS[model.encoder]
    potentials = {name: np.zeros_like(dynamics.populations[name].potential) for name in names}
    spikes = {name: [] for name in model.populations}
    for step in range(model.steps):
        entering = encoder.encode(values, step, 0, np.arange(len(images)))
        spikes[model.input.name].append(entering)
        told = {model.input.layer: entering}
        for name in names:
            shape = model.populations[name].shape
            threshold = per_channel(model.threshold(name), shape)
            unit = per_channel(model.unit(name), shape)
            before = potentials[name]
            owed = (before > threshold) * threshold if owing else 0
            reached = decay * before + dynamics.populations[name].weighted_input(told) / unit - owed
            fired = reached > threshold * (1 - tie)
            rest = reached + owed - threshold if model.reset == "subtract" else 0
            potentials[name] = np.where(fired, rest, reached + owed)
            told[model.populations[name].layer] = fired.astype(float)
            spikes[name].append(fired)
    return {name: np.array(told) for name, told in spikes.items()}


@pytest.fixture(scope="module")
def mnist_model():
    """A shipped network, trained on MNIST, in rate coding, and real images.

    With balanced thresholds the weights are the trained ones, which are float32's: other
    simulators do not round them.
    """
    from bsnn.networks import paper

    trained = bsnn.load_model(paper("lopez_randulfe_2022").SHIPPED["mnist_cnn"]).graph
    sample = bsnn.datasets.mnist_sample()
    options = {"gate": "average", "steps": 30, "balance": "thresholds"}
    return {
        reset: bsnn.convert_to_rate(trained, sample.images[100:200], reset=reset, **options)
        for reset in ("subtract", "zero")
    }, sample.images[:3]


class SnnTorch:
    """A graph in snnTorch, in double precision, with the spikes of each layer recorded."""

    def __init__(self, graph, **settings):
        import torch
        from snntorch import Leaky
        from snntorch.import_nir import import_from_nir

        self.torch = torch
        self.network = import_from_nir(graph).double()
        for name, module in self.network.named_modules():
            # read in single precision: bias divided by a scale are no float32
            if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)):
                module.bias.data = torch.from_numpy(np.asarray(graph.nodes[name].bias, float))
        self.neurons = {
            name: module
            for name, module in self.network.named_modules()
            if isinstance(module, Leaky)
        }
        for module in self.neurons.values():
            # without it the potential is handed on with the spikes, and the next layer fails
            module.init_hidden = True
            for setting, value in settings.items():
                setattr(module, setting, torch.as_tensor(value, dtype=torch.float64))
            # spikes come in single precision, whatever that of the potentials
            module.register_forward_hook(lambda _, __, spikes: spikes.double())

    def run(self, inputs):
        """Return the spikes of each layer for one image, shape ``(steps, *shape)``."""
        recorded = {name: [] for name in self.neurons}
        handles = [
            module.register_forward_hook(
                lambda _, __, spikes, name=name: recorded[name].append(spikes.detach().numpy())
            )
            for name, module in self.neurons.items()
        ]
        for module in self.neurons.values():
            module.reset_mem()
        for values in inputs:
            # without a batch: a Flatten of NIR's begins with the first axis of the image
            self.network(self.torch.from_numpy(values))
        for handle in handles:
            handle.remove()
        return {name: np.array(spikes) for name, spikes in recorded.items()}


def compare_with(simulator, model, images, expected):
    """Count spikes, and those that differ, layer by layer."""
    fired = different = 0
    for number in range(len(images)):
        found = simulator.run(expected[model.input.name][:, number].astype(np.float64))
        names = list(model.populations)[1:]
        for name, spikes in zip(names, found.values(), strict=True):
            fired += int(expected[name][:, number].sum())
            different += int((expected[name][:, number] != spikes).sum())
    return fired, different


@pytest.fixture
def snntorch():
    pytest.importorskip("nirtorch", reason="needs nirtorch, which snntorch reads NIR with")
    return pytest.importorskip("snntorch", reason="needs snntorch")


def test_snntorch_tells_the_same_spikes(mnist_model, tmp_path, snntorch):
    """IF neurons of a network trained on MNIST, layer by layer, through a file.

    snnTorch (1.0) makes of NIR's IF a neuron that leaks, with ``beta=0.9``, and that is reset by
    subtraction, whatever ``v_reset``. With ``beta=1`` it differs from bsnn in neurons that get
    more than they can spike: still above the threshold after a reset, they are compared with two
    thresholds in the next step. Nothing else differs: with both told, all spikes are the same.
    """
    models, images = mnist_model
    model = models["subtract"]
    bsnn.save_nir(model, tmp_path / "model.nir")
    graph = nir.read(tmp_path / "model.nir")
    own = spikes_of(model, images, tie=2**-17)
    assert_bsnn_spikes(model, images, own)

    fired, different = compare_with(SnnTorch(graph, beta=1.0), model, images, own)
    assert fired > 50_000
    assert different <= fired / 1000
    owing = spikes_of(model, images, owing=True)
    assert compare_with(SnnTorch(graph, beta=1.0), model, images, owing)[1] == 0

    # as it is read
    fired, different = compare_with(SnnTorch(graph), model, images, own)
    assert different > fired / 2
    leaking = spikes_of(model, images, owing=True, decay=float(np.float32(0.9)))
    assert compare_with(SnnTorch(graph), model, images, leaking)[1] == 0


def test_snntorch_reads_leaky_neurons(mnist_model, snntorch):
    """LIF neurons, as they are read. snnTorch takes steps of 0.1 ms and Euler's method.

    Its potentials decay by ``1 - dt/tau`` a step, bsnn's by ``exp(-dt/tau)``. With a time
    constant for which the two are one number, the spikes are the same.
    """
    models, images = mnist_model
    model, dt, tau = models["zero"], 1e-4, 2e-3
    simulator = SnnTorch(bsnn.to_nir(model, neuron="lif", tau=tau, dt=dt))
    # which has read its decay in single precision
    decay = float(simulator.neurons["relu"].beta.flatten()[0])
    assert decay == pytest.approx(1 - dt / tau, rel=1e-6)
    fired, different = compare_with(simulator, model, images, spikes_of(model, images, decay=decay))
    assert fired > 10_000
    assert different == 0
    exact = spikes_of(model, images, decay=np.exp(-dt / tau))
    different = compare_with(simulator, model, images, exact)[1]
    assert 0 < different < fired / 10


def test_snntorch_reads_shortcuts(snntorch):
    """Residual branches with an identity, zeros for channels, and a convolution."""
    model, images = network(RESIDUAL, balance="thresholds", residual="one")
    simulator = SnnTorch(bsnn.to_nir(model), beta=1.0)
    images = images[:4]
    fired, different = compare_with(simulator, model, images, spikes_of(model, images, owing=True))
    assert fired > 1_000
    assert different == 0


@pytest.mark.filterwarnings("ignore:nirtorch.load is being deprecated")
def test_norse_tells_the_same_spikes():
    """IF neurons, reset to zero: as bsnn's. Norse (1.1) has no average pooling, and ignores R."""
    norse = pytest.importorskip("norse.torch.utils.import_nir", reason="needs norse 1.1")
    import torch

    shape = (2, 9, 9)
    rng = np.random.default_rng(4)
    model = small_model(
        Conv2d(
            name="conv", inputs=("input",), stride=(2, 2), padding=(1, 1, 1, 1),
            weight=rng.normal(0.1, 0.3, (5, 2, 3, 3)).astype(np.float32),
        ),
        ReLU(name="relu", inputs=("conv",)),
        Flatten(name="flat", inputs=("relu",)),
        Linear(
            name="fc", inputs=("flat",),
            weight=rng.normal(0.05, 0.2, (7, 125)).astype(np.float32),
            bias=np.full(7, 0.05, np.float32),
        ),
        shape=shape, balance="thresholds", encoder="regular",
    )  # fmt: skip
    images = rng.random((4, *shape))
    expected = spikes_of(model, images)
    assert_bsnn_spikes(model, images, expected)
    network = norse.from_nir(bsnn.to_nir(model)).double()
    for number in range(len(images)):
        state = None
        for step in range(model.steps):
            entering = torch.from_numpy(expected["input"][step, number])
            spikes, state = network(entering, state)
            np.testing.assert_array_equal(spikes.detach(), expected["fc"][step, number])
    assert expected["fc"].sum() > 50


def assert_bsnn_spikes(model, images, spikes):
    """Check spikes against bsnn's own."""
    dynamics = RateDynamics(model, images)
    for step in range(model.steps):
        for name, told in dynamics.step().items():
            np.testing.assert_array_equal(spikes[name][step], told)


# -- the command line and what is not installed ---------------------------------------------------


def test_command_line(command_line, tmp_path):
    model, images = network(CNN)
    model.save("model.h5")
    status, out, err = command_line("nir", "export", "model.h5", "-o", "model.nir")
    assert status == 0, out + err
    assert "reset by subtraction" in out
    status, out, err = command_line(
        "nir", "import", "model.nir", "-o", "again.h5", "--steps", 11, "--input", "regular"
    )
    assert status == 0, out + err
    again = bsnn.load_model("again.h5")
    assert (again.steps, again.encoder) == (11, "regular")
    assert_same_spikes(dataclasses.replace(model, steps=11, encoder="regular"), again, images)
    status, out, err = command_line("info", "again.h5")
    assert status == 0, out + err


def test_command_line_refuses(command_line, tmp_path):
    status, _, err = command_line("nir", "import", "none.nir", "-o", "model.h5")
    assert status == 1
    assert "none.nir does not exist" in err
    assert not (tmp_path / "model.h5").exists()


def test_leaky_neurons_from_file_to_simulation(command_line, numpy_target):
    """What the command line says of a leaky network tells the spikes of the oracle."""
    model, images = network(CNN)
    model.save("model.h5")
    arguments = ("--neuron", "lif", "--tau", 0.002, "--dt", 1e-4)
    status, out, err = command_line("nir", "export", "model.h5", "-o", "lif.nir", *arguments)
    assert status == 0, out + err
    status, out, err = command_line("nir", "import", "lif.nir", "-o", "again.h5")
    assert status == 0, out + err
    assert "bsnn run again.h5 --neuron lif --set tau=20*ms" in out
    again = bsnn.load_model("again.h5")
    neuron = bsnn.network.NEURON_MODELS["lif"].with_parameters(tau=20 * b2.ms)
    found = bsnn.simulate(again, images[:3], neuron=neuron, progress=False)
    expected = spikes_of(model, images[:3], decay=np.exp(-1 / 20))
    for name, population in found.populations.items():
        if population.role == "neurons":
            wanted = expected[name].reshape(model.steps, 3, -1).sum(axis=(0, 2))
            np.testing.assert_array_equal(population.spikes, wanted)


def test_without_nir_the_message_says_what_to_install():
    code = (
        "import sys; sys.modules['nir'] = None\n"
        "import bsnn\n"
        "try:\n    bsnn.to_nir\n"
        "except bsnn.ConversionError as error:\n    print(error)\n"
        "sys.argv = ['bsnn', 'nir', 'import', 'a.nir', '-o', 'b.h5']\n"
        "from bsnn.cli import main; main()"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "pip install 'bsnn[nir]'" in found.stdout
    assert found.returncode == 1
    assert "bsnn[nir]" in found.stderr.replace("\n", "")
