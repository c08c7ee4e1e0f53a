"""Sweeps: what is varied, that nothing but the values counts, resuming, the command, the plot."""

from __future__ import annotations

import dataclasses
import json
import math

import brian2 as b2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from rate_networks import AverageCnn, make_rate_model

import bsnn
from bsnn.analysis.sweep_plots import draw_sweep, sweep_figure
from bsnn.brian.quantities import numbers_and_unit, parse_quantity
from bsnn.networks import paper
from bsnn.simulation import parse_axis
from bsnn.simulation import simulator as simulator_module
from bsnn.simulation.axes import places

pytestmark = pytest.mark.usefixtures("numpy_target")

LABELS = np.arange(6) % 5


def sweep(model, images, axes, **options):
    return bsnn.sweep(model, images[:6], LABELS, axes, progress=False, **options)


@pytest.fixture
def ttfs(small_cnn):
    return small_cnn(steps=7)


@pytest.mark.parametrize(
    ("text", "name", "values", "unit"),
    [
        ("leak=0:0.1:3", "leak", (0, 0.05, 0.1), ""),
        (" jitter = 0, 1,2 ", "jitter", (0, 1, 2), ""),
        ("tau=5*ms,20*ms", "tau", (5, 20), "ms"),
        ("tau=500*us,0.02*second", "tau", (0.5, 20), "ms"),
        ("refractory_period=0*ms:5*ms:6", "refractory_period", (0, 1, 2, 3, 4, 5), "ms"),
        ("v_rest=-65*mV", "v_rest", (-65,), "mV"),
        ("tau=20*ms,inf*ms", "tau", (20, math.inf), "ms"),
        ("loss=0.3:0.1:3", "loss", (0.3, 0.2, 0.1), ""),
    ],
)
def test_axes_are_read(text, name, values, unit):
    assert parse_axis(text) == bsnn.Axis(name, values, unit)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("leak", "NAME=START:STOP:COUNT"),
        ("=1,2", "NAME=START:STOP:COUNT"),
        ("leak=0:1", "no range of values"),
        ("leak=0:1:2:3", "no range of values"),
        ("leak=0:1:x", "no range of values"),
        ("leak=0:1:1", "at least two"),
        ("tau=1*ms:inf*ms:3", "finite"),
        ("leak=a,b", "'a' is no quantity"),
        ("leak=0,,1", "'' is no quantity"),
        ("tau=1*ms,2*mV", "different units"),
        ("tau=0:2*ms:3", "different units"),
        ("leak=1,1", "each once"),
        ("leak=0:0:3", "each once"),
        ("leak=nan", "each once"),
        ("leak=__import__('os').getpid()", "no quantity"),
    ],
)
def test_what_is_no_axis_is_refused(text, message):
    with pytest.raises(bsnn.SettingsError, match=message):
        parse_axis(text)


@given(
    st.lists(st.integers(-(10**6), 10**6), min_size=1, max_size=5, unique=True),
    st.sampled_from(["", "ms", "mV", "nS", "Hz", "second", "pF"]),
)
def test_a_list_of_values_is_read_as_written(thousandths, unit):
    texts = [f"{number / 1000!r}*{unit}".rstrip("*") for number in thousandths]
    found = parse_axis(f"x={','.join(texts)}").quantities()
    expected = [parse_quantity(text) for text in texts]
    assert all(map(b2.have_same_dimensions, found, expected))
    np.testing.assert_allclose(np.array(found), np.array(expected), rtol=1e-11)


@given(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3), st.integers(2, 30))
def test_a_range_has_its_ends_and_equal_distances(start, stop, count):
    if abs(start - stop) < 1e-6:
        return
    values = parse_axis(f"x={start!r}:{stop!r}:{count}").values
    assert len(values) == count
    np.testing.assert_allclose(values, np.linspace(start, stop, count), rtol=1e-10, atol=1e-9)


def test_quantities_of_python_are_kept_as_numbers_and_a_unit():
    assert bsnn.Axis("tau", [5, 20] * b2.ms) == bsnn.Axis("tau", (5, 20), "ms")
    assert bsnn.Axis("tau", [5, 20] * b2.ms).quantities() == [5 * b2.ms, 20 * b2.ms]
    assert numbers_and_unit([0 * b2.mV, 0 * b2.mV])[1] == "mV"
    with pytest.raises(bsnn.SettingsError, match="leave out one"):
        bsnn.Axis("tau", [5, 20] * b2.ms, "ms")
    with pytest.raises(bsnn.SettingsError, match="no unit 'furlong'"):
        bsnn.Axis("tau", [1], "furlong").quantities()


def test_points_are_in_the_order_of_the_axes():
    axes = [bsnn.Axis("a", [1, 2]), bsnn.Axis("b", [3, 4, 5])]
    assert [tuple(p.values()) for p in places(axes, grid=True)] == [
        (0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2),
    ]  # fmt: skip
    assert places(axes, grid=False) == [{"a": 0}, {"a": 1}, {"b": 0}, {"b": 1}, {"b": 2}]


def test_each_point_is_what_simulate_finds(ttfs):
    model, images = ttfs
    found = sweep(model, images, [bsnn.Axis("loss", [0, 0.4])], seeds=(3, 5))
    assert [point.values for point in found.points] == [{"loss": 0}, {"loss": 0.4}]
    for point in found.points:
        assert [run.seed for run in point.runs] == [3, 5]
        for run in point.runs:
            # nothing disturbed at all, at the first point
            strengths = point.values if point.values["loss"] else None
            result = bsnn.simulate(
                model, images[:6], LABELS, perturbations=strengths, seed=run.seed, progress=False
            )
            assert run.correct == result.correct
            assert run.same_class == (result.predictions == result.ann_predictions).sum()
            assert run.spikes_per_neuron == result.spikes_per_neuron
            assert run.synaptic_operations == result.synaptic_operations
    assert found.ann_accuracy == result.ann_accuracy
    spikes = [point.spikes_per_neuron for point in found.points]
    assert spikes[1] < spikes[0]
    assert found.points[1].runs[0] != dataclasses.replace(found.points[1].runs[1], seed=3)


def test_parameters_of_the_neuron_and_steps_are_varied():
    model, images = make_rate_model(AverageCnn(), (2, 6, 5), steps=12)
    axes = [bsnn.Axis("tau", [2, math.inf], "ms"), bsnn.Axis("steps", [6, 12])]
    found = sweep(model, images, axes, neuron="lif", perturbations={"loss": 0.1})
    spikes = {tuple(p.values.values()): p.spikes_per_neuron for p in found.points}
    result = bsnn.simulate(
        dataclasses.replace(model, steps=6), images[:6], LABELS,
        neuron=bsnn.network.neuron_model("lif", "rate").with_parameters(tau=2 * b2.ms),
        perturbations={"loss": 0.1}, progress=False,
    )  # fmt: skip
    assert spikes[2, 6] == result.spikes_per_neuron
    assert spikes[2, 12] < spikes[math.inf, 12] > spikes[math.inf, 6]
    assert found.perturbations == {"loss": 0.1}


def test_one_after_the_other(ttfs):
    model, images = ttfs
    axes = [bsnn.Axis("loss", [0, 1]), bsnn.Axis("dead", [0.5])]
    found = sweep(model, images, axes, grid=False)
    assert [point.values for point in found.points] == [{"loss": 0}, {"loss": 1}, {"dead": 0.5}]
    assert len(found.along("loss")) == 2
    with pytest.raises(bsnn.SettingsError, match="'leak' was not varied, but loss, dead"):
        found.along("leak")


@pytest.mark.parametrize(
    ("axes", "options", "message"),
    [
        ([], {}, "at least one axis"),
        (
            [bsnn.Axis("loss", [0, 1])],
            {"perturbations": {"loss": 0.5}},
            "loss is varied, and given as a perturbation of all points",
        ),
        ([bsnn.Axis("loss", [0]), bsnn.Axis("loss", [1])], {}, "each name once"),
        ([bsnn.Axis("los", [0])], {}, "Did you mean 'loss'"),
        (
            [bsnn.Axis("tau", [5], "ms")],
            {},
            "Of these are parameters of the neuron 'two-stage': none",
        ),
        ([bsnn.Axis("loss", [0, 2])], {}, "from 0 to 1"),
        ([bsnn.Axis("loss", [1], "ms")], {}, "it has no unit"),
        ([bsnn.Axis("steps", [3.5])], {}, "whole number"),
        ([bsnn.Axis("steps", [3], "ms")], {}, "whole number"),
        ([bsnn.Axis("delay", [1])], {}, "no meaning"),
        ([bsnn.Axis("loss", [0])], {"seeds": 0}, "at least one"),
        ([bsnn.Axis("loss", [0])], {"seeds": (1, 1)}, "each once"),
    ],
)
def test_what_cannot_be_varied_is_refused_before_anything_runs(
    ttfs, monkeypatch, axes, options, message
):
    monkeypatch.setattr("bsnn.simulation.sweeping.simulate", None)
    with pytest.raises(bsnn.SettingsError, match=message):
        sweep(*ttfs, axes, **options)


def test_forms_that_do_not_go_together_are_refused_before_anything_runs(ttfs, monkeypatch):
    monkeypatch.setattr("bsnn.simulation.sweeping.simulate", None)
    axes = [bsnn.Axis("jitter", [0, 1]), bsnn.Axis("leak", [0, 0.1])]
    with pytest.raises(bsnn.BuildError, match="one way at a time"):
        sweep(*ttfs, axes)


AXES = [bsnn.Axis("loss", [0, 0.3]), bsnn.Axis("jitter", [0, 1.5])]


def test_an_interrupted_sweep_goes_on(ttfs, tmp_path, monkeypatch):
    model, images = ttfs
    whole = sweep(model, images, AXES, seeds=2)
    file = tmp_path / "sweep.json"
    simulated = []

    def failing(*arguments, **options):
        if len(simulated) == 3:
            raise KeyboardInterrupt
        simulated.append(options["setup"].seed)
        return simulator_module.simulate(*arguments, **options)

    monkeypatch.setattr("bsnn.simulation.sweeping.simulate", failing)
    with pytest.raises(KeyboardInterrupt):
        sweep(model, images, AXES, seeds=2, file=file)
    kept = bsnn.load_sweep(file)
    assert (kept.done, kept.runs) == (3, 8)
    assert kept.points[0] == whole.points[0]
    with pytest.raises(bsnn.SimulationError, match="3 of 8 simulations"):
        sweep(model, images, AXES, seeds=2, file=file)
    monkeypatch.undo()
    monkeypatch.setattr(b2.prefs, "codegen.target", "numpy")
    again = sweep(model, images, AXES, seeds=2, file=file, resume=True)
    assert again == whole
    assert bsnn.load_sweep(file) == whole


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seeds": 3}, "seeds"),
        ({"perturbations": {"noise": 0.1}}, "perturbations"),
        ({"first_image": 1}, "first image"),
        ({"grid": False}, "as a grid"),
        ({"precision": "float32"}, "precision"),
        ({"axes": [bsnn.Axis("loss", [0.1])]}, "vary"),
        ({"images": 5}, "images"),
        ({"labels": LABELS[::-1]}, "labels"),
        ({"steps": 8}, "steps"),
    ],
)
def test_another_sweeps_file_is_refused(ttfs, tmp_path, change, message):
    model, images = ttfs
    file = tmp_path / "sweep.json"
    options = {"axes": [bsnn.Axis("loss", [0.2])], "labels": LABELS, "images": 6} | change
    sweep(model, images, [bsnn.Axis("loss", [0.2])], file=file)
    before = file.read_text()
    count = options.pop("images")
    model = dataclasses.replace(model, steps=options.pop("steps", model.steps))
    labels, axes = options.pop("labels")[:count], options.pop("axes")
    with pytest.raises(bsnn.SimulationError, match=rf"other settings: .*{message}.* there, "):
        bsnn.sweep(
            model, images[:count], labels, axes, file=file, resume=True, progress=False, **options
        )
    assert file.read_text() == before


def test_a_damaged_sweep_is_not_gone_on_with(ttfs, tmp_path):
    file, axes = tmp_path / "sweep.json", [bsnn.Axis("loss", [0.2])]
    whole = sweep(*ttfs, axes, file=file)
    good = file.read_text()
    correct = whole.points[0].runs[0].correct
    file.write_text(good.replace(f'"correct": {correct}', f'"correct": {correct + 1}'))
    with pytest.raises(bsnn.StorageError, match="not what was written"):
        bsnn.load_sweep(file)
    with pytest.raises(bsnn.StorageError, match="not what was written"):
        sweep(*ttfs, axes, file=file, resume=True)
    # as sweeps were kept before they had a checksum
    file.write_text(json.dumps({k: v for k, v in json.loads(good).items() if k != "sha256"}))
    assert bsnn.load_sweep(file) == whole
    with pytest.raises(bsnn.StorageError, match="names no SHA-256"):
        sweep(*ttfs, axes, file=file, resume=True)


def test_resuming_needs_a_file(ttfs):
    with pytest.raises(bsnn.SimulationError, match="name the file"):
        sweep(*ttfs, AXES, resume=True)


def test_a_sweep_without_labels(ttfs):
    model, images = ttfs
    found = bsnn.sweep(model, images[:3], None, [bsnn.Axis("loss", [0])], progress=False)
    assert found.ann_accuracy is None
    assert found.points[0].accuracy is None
    assert found.points[0].agreement == found.points[0].runs[0].same_class / 3
    with pytest.raises(bsnn.SettingsError, match="measure='agreement'"):
        draw_sweep(Figure().add_subplot(), found)
    assert "same class" in sweep_figure(found).axes[0].get_ylabel()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        ("{", "no JSON file"),
        ("[]", "holds no sweep"),
        ('{"format": "bsnn sweep", "version": 99}', "of this version"),
        ('{"format": "bsnn sweep", "version": 1}', "incomplete"),
    ],
)
def test_files_that_are_no_sweeps(tmp_path, content, message):
    if content is not None:
        (tmp_path / "sweep.json").write_text(content)
    with pytest.raises(bsnn.StorageError, match=message):
        bsnn.load_sweep(tmp_path / "sweep.json")


def made_up(axes, *, grid=True, seeds=(0,), correct=lambda values, seed: 5):
    """A sweep whose figures are those of a function."""
    runs = [
        bsnn.simulation.SweepPoint(
            (values := {a.name: a.values[at[a.name]] for a in axes if a.name in at}),
            10,
            tuple(
                bsnn.simulation.SweepRun(s, correct(values, s), 9, 0.5 * k, 1e6, 0.1) for s in seeds
            ),
        )
        for k, at in enumerate(places(axes, grid=grid))
    ]
    return bsnn.Sweep(
        tuple(axes), grid, seeds, 10, 9, "rate", 64, "if", {}, {"network": "x"}, tuple(runs)
    )


def test_json_of_a_sweep_is_standard_and_complete(tmp_path):
    found = made_up([bsnn.Axis("tau", [5, math.inf], "ms")], seeds=(0, 2))
    found.save(tmp_path / "sweep.json")
    assert bsnn.load_sweep(tmp_path / "sweep.json") == found

    def refuse(name):
        raise AssertionError(name)

    tree = json.loads((tmp_path / "sweep.json").read_text(), parse_constant=refuse)
    assert tree["axes"] == [{"name": "tau", "unit": "ms", "values": [5, "inf"]}]


def test_figures_of_a_point():
    point = made_up([bsnn.Axis("leak", [0])], seeds=(0, 1), correct=lambda _, s: 5 + 2 * s).points[
        0
    ]
    assert point.accuracies.tolist() == [0.5, 0.7]
    assert point.accuracy == 0.6
    assert point.agreement == 0.9
    assert point.standard_error(0.5) == pytest.approx(0.5 / math.sqrt(10))


def test_the_plot_has_the_data():
    found = made_up(
        [bsnn.Axis("leak", [0.2, 0, 0.1])],
        seeds=(0, 1),
        correct=lambda values, s: 8 - 20 * values["leak"] + s,
    )
    axes = Figure().add_subplot()
    draw_sweep(axes, found, label="rate")
    curve, trained = axes.get_lines()
    assert curve.get_xdata().tolist() == [0, 0.1, 0.2]
    np.testing.assert_allclose(curve.get_ydata(), [85, 65, 45])
    assert set(trained.get_ydata()) == {90}
    over_seeds, error = (band.get_paths()[0].get_extents() for band in axes.collections)
    np.testing.assert_allclose([over_seeds.ymin, over_seeds.ymax], [40, 90])
    deviation = 100 * math.sqrt(0.45 * 0.55 / 10)
    assert error.ymin == pytest.approx(45 - deviation)
    assert axes.get_xlabel() == "leak (share of the potential)"


def test_two_names_are_curves_or_a_map():
    few = made_up(
        [bsnn.Axis("leak", [0, 0.1]), bsnn.Axis("loss", [0, 0.5])],
        correct=lambda values, s: 9 - 10 * values["leak"] - 4 * values["loss"],
    )
    axes = Figure().add_subplot()
    draw_sweep(axes, few)
    first, second, _ = axes.get_lines()
    np.testing.assert_allclose(first.get_ydata(), [90, 80])
    np.testing.assert_allclose(second.get_ydata(), [70, 60])
    assert (first.get_label(), second.get_label()) == ("loss 0", "loss 0.5")
    assert first.get_linestyle() != second.get_linestyle()
    assert first.get_color() != second.get_color()
    # the other way round
    axes = Figure().add_subplot()
    draw_sweep(axes, few, vary="loss")
    np.testing.assert_allclose(axes.get_lines()[0].get_ydata(), [90, 70])

    many = made_up(
        [bsnn.Axis("leak", [0, 0.1]), bsnn.Axis("loss", np.arange(8) / 8)],
        correct=lambda values, s: 9 - 10 * values["leak"] - 4 * values["loss"],
    )
    axes = Figure().add_subplot()
    draw_sweep(axes, many)
    (image,) = axes.get_images()
    assert image.get_array().shape == (8, 2)
    np.testing.assert_allclose(image.get_array()[4], [70, 60])
    with pytest.raises(bsnn.SettingsError, match="by itself"):
        sweep_figure({"few": few, "many": many})


def test_what_cannot_be_drawn():
    three = made_up([bsnn.Axis(name, [0]) for name in ("leak", "loss", "dead")])
    axes = Figure().add_subplot()
    with pytest.raises(bsnn.SettingsError, match="one or two names"):
        draw_sweep(axes, three)
    with pytest.raises(bsnn.SettingsError, match="no measure 'time'"):
        draw_sweep(axes, three, measure="time")


def test_a_figure_has_a_row_for_each_name_and_room_for_all_curves():
    one = made_up([bsnn.Axis("leak", [0, 0.1]), bsnn.Axis("tau", [5, math.inf], "ms")], grid=False)
    other = made_up([bsnn.Axis("leak", [0, 0.1, 0.2, 0.3])])
    figure = sweep_figure({"one": one, "other": other})
    panels = figure.axes
    assert [panel.get_ylabel() for panel in panels] == 2 * ["accuracy (%)", "spikes a neuron"]
    assert [text.get_text() for text in panels[0].get_legend().get_texts()] == ["one", "other"]
    assert panels[1].get_ylim()[1] > 1.5
    # what is infinite is named, at the end
    assert [text.get_text() for text in panels[2].get_xticklabels()] == ["5", "∞"]
    # the third line on the left is that of the trained network, drawn once for each
    left, right = ([line.get_color() for line in panel.get_lines()] for panel in panels[:2])
    assert left[0] == right[0] != right[1] == left[2]
    pairs = made_up([bsnn.Axis("leak", [0, 0.1]), bsnn.Axis("loss", [0, 0.1])])
    curves = sweep_figure({"pairs": pairs, "other": other}).axes[1].get_lines()
    assert len({line.get_color() for line in curves}) == 3


SHIPPED = paper("lopez_randulfe_2022").SHIPPED["mnist_cnn"]
COMMAND = (
    "sweep", SHIPPED, "--dataset", "mnist-sample", "--images", 3, "--device", "runtime",
    "--steps", 4, "--each", "--vary", "loss=0:0.5:2", "--vary", "jitter=2",
)  # fmt: skip


def test_the_command(command_line, tmp_path):
    status, out, err = command_line(
        *COMMAND, "--seeds", 2, "--out", "sweep.json", "--plot", "sweep.png"
    )
    assert status == 0, out + err
    found = bsnn.load_sweep("sweep.json")
    assert [p.values for p in found.points] == [{"loss": 0}, {"loss": 0.5}, {"jitter": 2}]
    assert found.seeds == (0, 1)
    rows = [line for line in out.splitlines() if line.startswith("│")]
    assert len(rows) == 3
    assert f"{found.points[1].spikes_per_neuron:.4f}" in rows[1]
    assert f"{100 * found.points[1].accuracy:.2f} ± " in rows[1]
    assert "The trained network: 100.00 %" in out
    assert (tmp_path / "sweep.png").stat().st_size > 10_000


def test_ctrl_c_says_how_to_go_on(command_line, monkeypatch):
    simulated = []

    def failing(*arguments, **options):
        if simulated:
            raise KeyboardInterrupt
        simulated.append(1)
        return simulator_module.simulate(*arguments, **options)

    monkeypatch.setattr("bsnn.simulation.sweeping.simulate", failing)
    status, out, _ = command_line(*COMMAND, "--out", "sweep.json")
    assert status == 130
    assert "1 of 3 simulations are kept in sweep.json" in out
    assert "--resume" in out
    monkeypatch.setattr("bsnn.simulation.sweeping.simulate", simulator_module.simulate)
    status, out, err = command_line(*COMMAND, "--out", "sweep.json", "--resume")
    assert status == 0, out + err
    assert bsnn.load_sweep("sweep.json").done == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--vary", "leak=x"), "no quantity"),
        (("--vary", "los=0"), "Did you mean 'loss'"),
        (("--vary", "loss=0", "--resume"), "give --out"),
        (("--vary", "steps=4,5", "--steps", 6), "--steps gives a value to steps"),
        (("--vary", "tau=1*ms,2*ms", "--set", "tau=3*ms"), "--set gives a value to tau"),
        (
            ("--vary", "loss=0", "--vary", "dead=0", "--vary", "noise=0", "--plot", "a.png"),
            "one or two",
        ),
    ],
)
def test_mistakes_on_the_command_line(command_line, options, message):
    status, _, err = command_line("sweep", SHIPPED, "--dataset", "mnist-sample", *options)
    assert status == 1
    assert message in " ".join(err.split())


def test_points_that_differ_in_numbers_share_a_binary(small_cnn, monkeypatch):
    """In C++ standalone: strengths, seeds and parameters are data."""
    from bsnn.devices import compilation

    compiled = []
    real = compilation._compile
    monkeypatch.setattr(
        compilation, "_compile", lambda *arguments: (compiled.append(1), real(*arguments))
    )
    model, images = small_cnn(steps=7)
    axes = [bsnn.Axis("loss", [0, 0.2, 0.4])]
    found = sweep(model, images, axes, seeds=2, device="cpp")
    assert len(compiled) == 1
    here = sweep(model, images, axes, seeds=2, device="runtime")
    assert found.points == here.points
