"""Plots draw what the data say; traces and recordings are what the network did."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import rate_reference
import reference
import torch
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_hex, to_rgb
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from rate_networks import MaxCnn, ResidualNet, make_rate_model, random_graph
from torch import nn

import bsnn
from bsnn.analysis import activity_plots, network_plots, rate_plots, result_plots
from bsnn.analysis.style import PALETTE, new_figure, series, shade
from bsnn.errors import SettingsError
from bsnn.explain.recording import record
from bsnn.explain.tracing import WATCHES, trace_neuron

pytestmark = pytest.mark.usefixtures("numpy_target")

STEPS = 9


@pytest.fixture
def ttfs(small_cnn):
    model, images = small_cnn(steps=STEPS)
    return model, images[:3]


@pytest.fixture
def rate():
    model, images = make_rate_model(MaxCnn(), (2, 7, 7), encoder="regular", steps=12)
    return model, images[:3]


@pytest.fixture
def axes():
    return new_figure().add_subplot()


@pytest.fixture
def result(rate):
    model, images = rate
    return bsnn.simulate(model, images, [0, 1, 1], progress=False)


def lines(axes) -> dict[str, np.ndarray]:
    return {line.get_label(): np.column_stack(line.get_data()) for line in axes.get_lines()}


# --- recordings and traces ---


@pytest.mark.parametrize("options", [{}, {"rounding": True}, {"read_out": "first-spike"}])
def test_recorded_spike_times_are_the_oracles(small_cnn, options):
    model, images = small_cnn(steps=STEPS, **options)
    recording = record(model, images[:3])
    expected = reference.simulate(model, images[:3])
    assert set(recording.spikes) == set(expected.levels)
    for name, level in expected.levels.items():
        np.testing.assert_allclose(
            recording.values(name), level * model.scales[name] / STEPS, rtol=1e-12
        )
    last = model.output.depth * STEPS
    assert recording.steps == last + (STEPS if options.get("read_out") else 1)
    np.testing.assert_allclose(
        recording.output[:, last], expected.potentials.reshape(3, -1), atol=1e-9
    )
    assert np.isnan(recording.output[:, : last - STEPS]).all()
    assert not np.isnan(recording.output[:, last - STEPS :]).any()


@pytest.mark.parametrize("coding", ["ttfs", "rate"])
def test_recording_in_cpp_is_the_same(request, coding):
    model, images = request.getfixturevalue(coding)
    here, there = record(model, images), record(model, images, device="cpp")
    for name, of_images in here.spikes.items():
        for mine, other in zip(of_images, there.spikes[name], strict=True):
            np.testing.assert_array_equal(mine.neurons, other.neurons)
            np.testing.assert_array_equal(mine.steps, other.steps)
    np.testing.assert_allclose(here.output, there.output, rtol=1e-12, atol=1e-12)
    for name, traces in here.traces.items():
        for mine, other in zip(traces, there.traces[name], strict=True):
            np.testing.assert_allclose(mine.potential, other.potential, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("encoder", ["regular", "poisson", "constant"])
def test_recorded_rates_are_the_oracles(encoder):
    model, images = make_rate_model(MaxCnn(), (2, 7, 7), encoder=encoder, steps=12)
    numbers = np.array([5, 8])
    model = dataclasses.replace(model, steps=7)
    recording = record(model, images[:2], numbers=numbers, seed=3)
    expected = rate_reference.simulate(model, images[:2], 3, numbers)
    assert set(recording.spikes) == set(expected.spikes)
    for name, spikes in expected.spikes.items():
        for image in range(2):
            steps, neurons = np.nonzero(spikes[image].reshape(7, -1))
            np.testing.assert_array_equal(recording.spikes[name][image].steps, steps)
            np.testing.assert_array_equal(recording.spikes[name][image].neurons, neurons)
    if encoder == "poisson":
        found = recording.values(model.input.name)
        sent = expected.spikes[model.input.name].mean(axis=1) * model.scales[model.input.name]
        np.testing.assert_allclose(found, sent, atol=1e-12)
    np.testing.assert_allclose(
        recording.output, rate_reference.read_out(model, expected), atol=1e-9
    )


def test_a_trace_in_spike_times(ttfs):
    model, images = ttfs
    coded = model.code(images[:1].astype(np.float64))
    level = coded.levels["conv2"][0]
    position = np.unravel_index(level.argmax(), level.shape)
    trace = trace_neuron(model, images[0], "conv2", position)
    assert trace.position == position
    # the silent stage ends with what the closed form says
    reached = float(coded.potentials["conv2"][0][position])
    assert trace.potential[STEPS] == pytest.approx(reached, abs=1e-9)
    # what has arrived adds up to it
    rest = model.bias("conv2")[position]
    assert rest + trace.current[:STEPS].sum() / STEPS == pytest.approx(reached, abs=1e-9)
    (spike,) = trace.spikes
    assert spike == 3 * STEPS - level[position]
    assert trace.threshold == model.scales["conv2"]
    assert trace.left[trace.steps == spike] == 0
    assert trace.decoded[-1] == pytest.approx(coded.values["conv2"][0][position])
    assert trace.decoded[trace.steps < spike].max() == 0
    exact = model.graph.activations(images[:1].astype(np.float64))
    wanted = exact[model.populations["conv2"].potential_layer][0][position]
    assert trace.ann_value == pytest.approx(wanted)


def test_a_trace_of_a_silent_read_out(ttfs):
    model, images = ttfs
    trace = trace_neuron(model, images[1], "fc2", 3)
    assert trace.threshold is None
    assert not len(trace.spikes)
    logit = model.code(images[1:2].astype(np.float64)).potentials["fc2"][0, 3]
    assert trace.decoded[-1] == pytest.approx(logit, abs=1e-9)
    assert trace.potential[-1] == pytest.approx(logit, abs=1e-9)


@pytest.mark.parametrize("reset", ["subtract", "zero"])
@pytest.mark.parametrize("further", [{}, {"initial_potential": 0.5, "potential_floor": 0.0}])
@pytest.mark.parametrize("channels", [False, True])
def test_a_trace_in_rate_coding(reset, further, channels):
    model, images = make_rate_model(
        MaxCnn(), (2, 7, 7), encoder="poisson", reset=reset, channels=channels, steps=15, **further
    )
    expected = rate_reference.simulate(model, images[:1], 2, np.array([6]))
    spikes = expected.spikes["conv2"][0]
    position = np.unravel_index(spikes.sum(axis=0).argmax(), spikes.shape[1:])
    trace = trace_neuron(model, images[0], "conv2", position, number=6, seed=2)
    np.testing.assert_array_equal(trace.spikes, np.flatnonzero(spikes[(slice(None), *position)]))
    scale = np.broadcast_to(np.asarray(model.scales["conv2"]), spikes.shape[1])[position[0]]
    assert trace.threshold == pytest.approx(scale)
    spiked = np.isin(trace.steps, trace.spikes)
    np.testing.assert_array_equal(spiked, trace.potential >= trace.threshold * (1 - 1e-12))
    after = trace.potential - np.where(spiked, trace.threshold, 0)
    if reset == "zero":
        after = np.where(spiked, 0, trace.potential)
    np.testing.assert_allclose(trace.left, after, atol=1e-9)
    start = model.initial_potential * scale
    np.testing.assert_allclose(
        np.concatenate([[start], trace.left[:-1]]) + trace.current, trace.potential, atol=1e-9
    )
    assert trace.decoded[-1] == pytest.approx(scale * len(trace.spikes) / 15)


@pytest.mark.parametrize("coding", ["ttfs", "rate"])
def test_a_trace_in_a_coding_of_which_nothing_is_known(request, coding, axes, monkeypatch):
    model, images = request.getfixturevalue(coding)
    known = record(model, images)
    monkeypatch.delitem(WATCHES, model.coding)
    general = record(model, images)
    for name, of_images in known.spikes.items():
        for mine, other in zip(of_images, general.spikes[name], strict=True):
            np.testing.assert_array_equal(mine.neurons, other.neurons)
            np.testing.assert_array_equal(mine.steps, other.steps)
        np.testing.assert_array_equal(general.values(name), known.values(name))
    np.testing.assert_allclose(general.output, known.output, rtol=1e-12, atol=1e-12)
    assert list(general.traces) == list(known.traces)
    values = model.reference(images[:1].astype(np.float64)).values
    for name, traces in general.traces.items():
        for mine, other in zip(traces, known.traces[name], strict=True):
            assert (mine.position, mine.ann_value) == (other.position, other.ann_value)
            assert (mine.stage, mine.silent_stage) == (other.stage, other.silent_stage)
            assert mine.spiking == other.spiking == model.spikes(name)
            assert mine.threshold is None
            np.testing.assert_array_equal(mine.steps, other.steps)
            np.testing.assert_array_equal(mine.spikes, other.spikes)
            told = values[name][0][mine.position]
            assert mine.decoded[-1] == pytest.approx(told, rel=1e-6, abs=1e-9)
            if mine.spiking:
                assert not mine.decoded[
                    : np.searchsorted(mine.steps, mine.spikes.min(initial=99))
                ].any()
    # a neuron whose threshold is not known is no read-out
    hidden, output = general.traces["conv2"], general.traces[model.output.name]
    same = activity_plots.stages_text(known.traces["conv2"][0])
    assert activity_plots.stages_text(hidden[0]) == same
    assert any(len(trace.spikes) for trace in hidden)
    activity_plots.draw_potentials(axes, hidden)
    assert not axes.texts
    marks = np.concatenate([line.get_data()[0] for line in axes.lines if line.get_marker() == "v"])
    np.testing.assert_array_equal(marks, np.concatenate([trace.spikes for trace in hidden]))
    activity_plots.draw_potentials(axes, output)
    assert [text.get_text()[:5] for text in axes.texts] == ["class"] * (not output[0].spiking)


def test_traces_of_what_has_none(ttfs):
    model, images = ttfs
    with pytest.raises(SettingsError, match="conv1, conv2, fc1, fc2"):
        trace_neuron(model, images[0], "pool1", (0, 0, 0))
    with pytest.raises(SettingsError, match="no neuron"):
        trace_neuron(model, images[0], "conv1", (4, 0, 0))
    with pytest.raises(SettingsError, match="no neuron"):
        trace_neuron(model, images[0], "conv1", 3)


# --- activity ---


def test_raster(ttfs, axes):
    recording = record(*ttfs)
    activity_plots.draw_raster(axes, recording, 1)
    drawn, names = lines(axes), list(recording.spikes)
    for row, name in enumerate(names):
        spikes = recording.spikes[name][1]
        np.testing.assert_array_equal(drawn[name][:, 0], spikes.steps)
        base = len(names) - 1 - row
        neurons = (drawn[name][:, 1] - base - 0.08) / 0.84
        size = recording.model.populations[name].size
        np.testing.assert_allclose(neurons * (size - 1), spikes.neurons, atol=1e-9)
    assert [tick.get_text() for tick in axes.get_yticklabels()] == names
    count = len(recording.spikes["conv1"][1].steps)
    size = recording.model.populations["conv1"].size
    assert f"{count:,} of {size:,}" in [text.get_text() for text in axes.texts]


def test_potentials_in_spike_times(ttfs, axes):
    recording = record(*ttfs)
    traces = recording.traces["conv2"]
    activity_plots.draw_potentials(axes, traces)
    drawn = [np.column_stack(line.get_data()) for line in axes.get_lines()]
    for trace in traces:
        wanted = np.column_stack([trace.steps, trace.potential])
        assert any(np.array_equal(wanted, line) for line in drawn)
        crosses = [[trace.steps[0] + STEPS, trace.ann_value]]
        assert any(np.array_equal(crosses, line) for line in drawn)
        if len(trace.spikes):
            marks = [[trace.spikes[0], trace.threshold]]
            assert any(np.array_equal(marks, line) for line in drawn)
    (shaded,) = axes.patches
    assert shaded.get_x() == traces[0].steps[0]
    assert shaded.get_width() == STEPS
    assert "threshold" in [text.get_text() for text in axes.texts]


def test_potentials_of_a_silent_read_out_name_the_class(ttfs, axes):
    recording = record(*ttfs)
    activity_plots.draw_potentials(axes, recording.traces["fc2"])
    (text,) = axes.texts
    assert text.get_text().strip() == f"class {recording.output[0, -1].argmax()}"


def test_potentials_in_rate_coding_show_resets(rate, axes):
    (trace, *_) = record(*rate).traces["conv1"]
    activity_plots.draw_potentials(axes, [trace])
    potential = axes.get_lines()[0]
    np.testing.assert_array_equal(potential.get_ydata()[::2], trace.potential)
    np.testing.assert_array_equal(potential.get_ydata()[1::2], trace.left)
    np.testing.assert_array_equal(potential.get_xdata(), np.repeat(trace.steps, 2))


def test_figure_of_a_trace(rate, ttfs):
    for model, images in (rate, ttfs):
        trace = record(model, images).traces["conv1"][0]
        current, potential, told = activity_plots.trace_figure(trace).axes
        assert any(np.array_equal(line.get_ydata(), trace.current) for line in current.lines)
        assert any(np.array_equal(line.get_ydata(), trace.decoded) for line in told.lines)
        assert any(trace.ann_value in line.get_ydata() for line in told.lines)
        assert potential.get_ylabel() == "potential"


def stairs(axes) -> dict[str, np.ndarray]:
    return {patch.get_label(): np.asarray(patch.get_data().values) for patch in axes.patches}


def test_histogram_of_spike_times(ttfs, axes):
    model, images = ttfs
    recording = record(model, images)
    activity_plots.draw_spike_times(axes, recording)
    drawn = stairs(axes)
    # max-poolings repeat what is before them
    assert set(drawn) == {"input", "conv1", "conv2", "fc1"}
    level = reference.simulate(model, images).levels["conv1"]
    wanted = [100 * (level == STEPS - step).mean() for step in range(STEPS)]
    np.testing.assert_allclose(np.nan_to_num(drawn["conv1"]), wanted)
    with pytest.raises(SettingsError):
        activity_plots.draw_rates(axes, recording)


def test_histogram_of_rates(rate, axes):
    model, images = rate
    recording = record(model, images)
    activity_plots.draw_rates(axes, recording, ["conv1"])
    counts = rate_reference.simulate(model, images, 0, np.arange(3)).spikes["conv1"].sum(axis=1)
    classes = [1, 2, 4, 8, 16]
    assert model.steps < classes[-1]
    wanted = [
        100 * ((counts >= low) & (counts < high)).mean()
        for low, high in itertools.pairwise(classes)
    ]
    np.testing.assert_allclose(np.nan_to_num(stairs(axes)["conv1"]), wanted)
    with pytest.raises(SettingsError):
        activity_plots.draw_spike_times(axes, recording)


# --- results ---


def test_confusion(result, axes):
    matrix = result_plots.draw_confusion(axes, result, ["a", "b", "c", "d", "e"])
    wanted = np.zeros((5, 5), int)
    for label, prediction in zip(result.labels, result.predictions, strict=True):
        wanted[label, prediction] += 1
    np.testing.assert_array_equal(matrix, wanted)
    shares = wanted / np.maximum(1, wanted.sum(axis=1, keepdims=True))
    np.testing.assert_allclose(axes.images[0].get_array(), shares)
    numbers = {text.get_position(): text.get_text() for text in axes.texts}
    for row, column in np.argwhere(wanted):
        assert numbers[column, row] == str(wanted[row, column])
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["a", "b", "c", "d", "e"]


def test_confusion_with_the_trained_network_needs_no_labels(result, axes):
    unlabelled = dataclasses.replace(result, labels=None)
    matrix = result_plots.draw_confusion(axes, unlabelled, against="ann_predictions")
    assert np.trace(matrix) == (result.predictions == result.ann_predictions).sum()
    with pytest.raises(SettingsError, match="labels"):
        result_plots.draw_confusion(axes, unlabelled)


def bands(axes) -> list[np.ndarray]:
    """Highest and lowest value of each band at each step."""
    found = []
    for band in axes.collections:
        assert isinstance(band, PolyCollection)
        vertices = band.get_paths()[0].vertices
        steps = np.unique(vertices[:, 0])
        found.append(
            [(vertices[vertices[:, 0] == step, 1].min(), vertices[vertices[:, 0] == step, 1].max())
             for step in steps]
        )  # fmt: skip
    return [np.array(band) for band in found]


def test_accuracy_over_time_has_bands_of_images_and_seeds(axes):
    model, images = make_rate_model(MaxCnn(), (2, 7, 7), encoder="poisson", steps=10)
    results = [
        bsnn.simulate(model, images, np.arange(len(images)) % 5, seed=seed, progress=False)
        for seed in range(3)
    ]
    result_plots.draw_accuracy_over_time(axes, results, "noise")
    curves = 100 * np.array([result.accuracy_at_step for result in results])
    mean = curves.mean(axis=0)
    np.testing.assert_allclose(lines(axes)["noise"][:, 1], mean)
    of_images, of_seeds = bands(axes)
    error = np.sqrt(mean * (100 - mean) / len(images))
    np.testing.assert_allclose(of_images[:, 0], mean - error, atol=1e-9)
    np.testing.assert_allclose(of_images[:, 1], mean + error, atol=1e-9)
    np.testing.assert_allclose(of_seeds[:, 0], curves.min(axis=0), atol=1e-9)
    np.testing.assert_allclose(of_seeds[:, 1], curves.max(axis=0), atol=1e-9)
    trained = axes.get_lines()[1].get_ydata()
    assert trained[0] == 100 * results[0].ann_accuracy


def test_accuracy_over_time_of_spike_times(ttfs, axes):
    model, images = ttfs
    result = bsnn.simulate(model, images, [0, 1, 2], progress=False)
    with pytest.raises(SettingsError, match="rate coding"):
        result_plots.draw_accuracy_over_time(axes, result)
    with pytest.raises(SettingsError, match="rate coding"):
        rate_plots.accuracy_figure({"a": result})


def test_agreement_is_of_the_same_neurons(ttfs, axes):
    model, images = ttfs
    recording = record(model, images)
    exact = model.graph.activations(images)
    result_plots.draw_agreement(axes, recording, "fc1")
    points = np.column_stack(axes.get_lines()[1].get_data())
    told = model.code(images.astype(np.float64)).values["fc1"]
    np.testing.assert_allclose(points[:, 0], exact[model.populations["fc1"].layer].ravel())
    np.testing.assert_allclose(points[:, 1], told.ravel(), atol=1e-6)
    identity = axes.get_lines()[0]
    np.testing.assert_array_equal(identity.get_xdata(), identity.get_ydata())


def test_agreement_of_a_read_out_and_of_many_neurons(ttfs, axes, monkeypatch):
    model, images = ttfs
    recording = record(model, images)
    result_plots.draw_agreement(axes, recording, "fc2")
    points = np.column_stack(axes.get_lines()[1].get_data())
    np.testing.assert_allclose(points[:, 0], model.graph.forward(images).ravel())
    np.testing.assert_allclose(points[:, 1], recording.output[:, -1].ravel())
    monkeypatch.setattr(result_plots, "_POINTS", 100)
    dense = new_figure().add_subplot()
    result_plots.draw_agreement(dense, recording, "conv1")
    (hexagons,) = dense.collections
    assert hexagons.get_array().sum() == 3 * model.populations["conv1"].size


def heights(axes) -> dict[str, float]:
    names = [tick.get_text() for tick in axes.get_xticklabels()]
    return dict(zip(names, (bar.get_height() for bar in axes.patches), strict=True))


def test_spikes_and_operations_by_layer(result, axes):
    result_plots.draw_spikes_by_depth(axes, result)
    for name, height in heights(axes).items():
        population = result.populations[name]
        assert height == pytest.approx(population.spikes.mean() / population.neurons)
    axes = new_figure().add_subplot()
    result_plots.draw_operations(axes, result)
    drawn = heights(axes)
    assert sum(drawn.values()) == pytest.approx(result.synaptic_operations / 1e6)
    # told apart without colours
    assert [bar.get_hatch() for bar in axes.patches] == [
        "//" if result.populations[name].role == "max_pool" else "" for name in drawn
    ]


# --- networks ---


def boxes_and_arrows(graph):
    axes = new_figure(*network_plots.diagram_size(graph)).add_subplot()
    network_plots.draw_network(axes, graph)
    boxes = [patch for patch in axes.patches if isinstance(patch, FancyBboxPatch)]
    arrows = [patch for patch in axes.patches if isinstance(patch, FancyArrowPatch)]
    places = {box.get_gid().split()[1]: box.get_bbox() for box in boxes}
    texts = [text.get_text() for text in axes.texts]
    return places, {tuple(arrow.get_gid().split()[1:]) for arrow in arrows}, texts


def test_diagram_of_a_chain(ttfs):
    model, _ = ttfs
    places, arrows, texts = boxes_and_arrows(model.graph)
    assert list(places) == ["input", "conv1", "pool1", "conv2", "pool2", "fc1", "fc2"]
    assert arrows == set(zip(list(places)[:-1], list(places)[1:], strict=True))
    assert "conv 3×2  4×9×8, ReLU" in texts
    assert "max pool 2×2  4×4×4" in texts


def test_diagram_of_branches():
    graph = random_graph(ResidualNet(), (2, 6, 6))
    places, arrows, texts = boxes_and_arrows(graph)
    adds = [layer.name for layer in graph if layer.kind == "add"]
    assert len(adds) == 3
    for name in adds:
        assert sum(target == name for _, target in arrows) == 2
    assert any("pad channels" in text for text in texts)
    boxes = list(places.values())
    for number, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[number + 1 :])


def test_a_long_network_goes_on_in_further_columns():
    net = nn.Sequential(*(nn.Sequential(nn.Linear(3, 3), nn.ReLU()) for _ in range(20)))
    torch.manual_seed(0)
    places, arrows, _ = boxes_and_arrows(bsnn.from_torch(net, (3,)))
    assert len(places) == 21
    assert len(arrows) == 20
    columns = {round(box.x0, 6) for box in places.values()}
    assert len(columns) == 3
    width, height = network_plots.diagram_size(bsnn.from_torch(net, (3,)))
    assert height < 7
    assert 6 < width < 8


def test_scales_and_weights(ttfs, axes):
    model, _ = ttfs
    network_plots.draw_scales(axes, model)
    drawn = [float(line.get_ydata()[0]) for line in axes.get_lines()]
    assert drawn == pytest.approx(list(model.scales.values()))
    axes = new_figure().add_subplot()
    network_plots.draw_weights(axes, model.graph)
    names = [tick.get_text() for tick in axes.get_xticklabels()]
    assert names == ["conv1", "conv2", "fc1", "fc2"]
    medians = [line.get_ydata()[0] for line in axes.get_lines()[1:]]
    assert medians == pytest.approx([np.median(model.graph[name].weight) for name in names])


def test_scales_of_channels_are_a_range(axes):
    model, _ = make_rate_model(MaxCnn(), (2, 7, 7), channels=True)
    network_plots.draw_scales(axes, model)
    ranges = [collection.get_segments()[0][:, 1] for collection in axes.collections]
    wanted = [
        (scale.min(), scale.max()) for scale in map(np.atleast_1d, model.scales.values())
        if scale.size > 1
    ]  # fmt: skip
    np.testing.assert_allclose(ranges, wanted)


# --- style ---


def luminance(colour) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def test_series_differ_without_colours():
    styles = [(to_hex(series(k)["color"]), series(k)["ls"]) for k in range(28)]
    assert len(set(styles)) == 28
    assert len({series(k)["ls"] for k in range(4)}) == 4


def test_colours_are_seen_on_light_and_on_dark():
    for colour in PALETTE:
        for ground in (1.0, 0.009):
            high, low = sorted((luminance(colour), ground), reverse=True)
            assert (high + 0.05) / (low + 0.05) > 2
    shades = [luminance(shade(depth)) for depth in np.linspace(0, 1, 9)]
    assert (np.diff(shades) > 0).all()
