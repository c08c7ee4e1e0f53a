"""Where, by how much and why a spiking network departs from the trained one."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from rate_networks import AverageCnn, MaxCnn, ResidualNet, make_rate_model

import bsnn
from bsnn.errors import GraphError, SettingsError
from bsnn.explain import CAUSES, CHANGES, Situation, Thresholds, decomposition_of, forecast
from bsnn.explain.measures import LayerMeasures
from bsnn.graph import Graph, Linear
from bsnn.networks import paper

#: Images that an `AverageCnn` takes.
AVERAGE_SHAPE = (2, 6, 5)

SAMPLE = bsnn.datasets.mnist_sample()

#: Nothing departs and all is good: no change is tried.
NO_ADVICE = Thresholds(good=0, broken=0, layer_error=1e9)

#: With which a changed conversion must agree on other images as it was announced.
MARGIN = 0.1


def shipped(paper_name: str, model_name: str) -> bsnn.SpikingModel:
    module = paper(paper_name)
    return bsnn.load_model({**module.SHIPPED, **getattr(module, "ARCHITECTURES", {})}[model_name])


def compare(model, images, labels=None, **options) -> bsnn.Comparison:
    return bsnn.compare(model, images, labels, progress=False, **options)


@pytest.fixture(scope="module")
def mnist() -> bsnn.RateModel:
    return shipped("nguyen_2020", "mnist")


@pytest.fixture(scope="module")
def ttfs() -> bsnn.TtfsModel:
    return shipped("lopez_randulfe_2022", "mnist_cnn")


# ---- six conversions that are broken on purpose


def rows_first(graph: Graph, name: str) -> Graph:
    """The mistake of a network whose flattening was in the order (row, column, channel)."""
    layers = []
    for layer in graph:
        if layer.name == name:
            shape = graph.shapes[graph[layer.inputs[0]].inputs[0]]
            weight = layer.weight.reshape(-1, *shape).transpose(0, 2, 3, 1)
            layer = dataclasses.replace(layer, weight=weight.reshape(layer.weight.shape))
        layers.append(layer)
    return Graph(layers, graph.output)


@pytest.mark.parametrize("kind", ["graph", "activations"])
def test_wrong_layout_of_a_flattening(mnist, kind):
    test = SAMPLE.first(40)
    wrong = dataclasses.replace(mnist, graph=rows_first(mnist.graph, "fc"))
    # its spikes do what its own weights say
    assert compare(wrong, test.images, thresholds=NO_ADVICE).layers["fc"].relative_error < 0.25
    reference = mnist.graph
    if kind == "activations":
        reference = mnist.graph.activations(test.images)
    found = compare(wrong, test.images, test.labels, reference=reference)
    assert (found.verdict, found.departs, found.cause) == ("broken", "fc", "conversion")
    assert found.layers["fc"].share("conversion") > 0.9
    assert found.layers["conv2"].share("conversion") == pytest.approx(0, abs=1e-6)
    best = found.advice[0]
    assert best.change == "layout"
    assert "fc" in best.text
    assert best.before.agreement < 0.5
    assert best.after.agreement == best.after.accuracy == 1


def test_a_percentile_far_too_low(mnist):
    low = bsnn.convert_to_rate(
        mnist.graph, SAMPLE.images[300:], percentile=20, steps=64, read_out="potential"
    )
    found = compare(low, SAMPLE.images[:20])
    assert (found.verdict, found.departs, found.cause) == ("broken", "conv1", "clipping")
    layer = found.layers["conv1"]
    assert layer.clipped == pytest.approx(0.8, abs=0.05)
    assert layer.saturated > 0
    assert layer.bias < 0
    assert found.advice[0].change == "scales"
    assert found.advice[0].after.agreement == 1


@pytest.mark.parametrize("start", [0.0, 0.5])
def test_too_few_steps(mnist, start):
    few = dataclasses.replace(mnist, steps=2, initial_potential=start)
    found = compare(few, SAMPLE.images[:40])
    assert (found.departs, found.cause) == ("conv1", "quantisation")
    assert found.advice[0].change == "steps"
    assert start or found.layers["conv2"].silent > 0
    # the part that is due to a start from zero is told apart
    assert (found.layers["conv1"].share("start") > 0.5) == (start == 0)


def test_reset_to_zero_in_a_deep_network(ttfs):
    zero = bsnn.convert_to_rate(
        ttfs.graph, SAMPLE.images[300:], steps=48, reset="zero", read_out="potential"
    )
    found = compare(zero, SAMPLE.images[:6])
    assert found.cause == "reset"
    assert found.layers["fc2"].main_cause == "reset"
    best = found.advice[0]
    assert best.change == "reset"
    assert best.after.output_error < 0.3 * best.before.output_error


@pytest.mark.parametrize("gate", ["pre_reset", "average"])
def test_max_pooling_as_or_and_as_average(mnist, gate):
    broken = bsnn.convert_to_rate(
        mnist.graph, SAMPLE.images[300:], gate=gate, steps=32, read_out="potential"
    )
    found = compare(broken, SAMPLE.images[:10])
    # average poolings are no populations of their own
    assert found.departs == ("pool1" if gate == "pre_reset" else "conv2")
    assert found.cause == "pooling"
    assert found.advice[0].change == "gate"
    assert found.advice[0].after.output_error < 0.2 * found.stages[-1].outcome.output_error
    assert found.advice[0].model.gate == "new_maximum"


def test_unequal_scales_at_junctions():
    model, images = make_rate_model(
        ResidualNet(), (2, 8, 8), residual="unequal", steps=100, initial_potential=0.5,
        percentile=99.9,
    )  # fmt: skip
    found = compare(model, images, thresholds=Thresholds(layer_error=0.1))
    assert (found.departs, found.cause) == ("add", "junction")
    best = found.advice[0]
    assert best.change == "junctions"
    assert best.after.layer_error < 0.1 * best.before.layer_error
    assert best.model.residual == "equal"


def test_random_input_and_other_causes():
    model, images = make_rate_model(AverageCnn(), AVERAGE_SHAPE, encoder="poisson", steps=12)
    found = compare(model, images, thresholds=Thresholds(layer_error=0.05))
    assert (found.departs, found.cause) == ("input", "input")
    assert "input" in {advice.change for advice in found.advice}
    model, images = make_rate_model(AverageCnn(), AVERAGE_SHAPE, potential_floor=0.0, steps=64)
    assert "floor" in [r.cause for r in compare(model, images, thresholds=NO_ADVICE).stages]


# ---- arithmetic


def all_stages(situation, images):
    """Return what the last stage computes that is not a simulation."""
    decomposition = decomposition_of(situation.model)
    causes = [cause for cause in decomposition.causes(situation) if cause.name != "simulation"]
    return decomposition.stage(situation, causes, images)


@pytest.mark.parametrize(
    ("name", "model", "steps", "images"),
    [
        ("lopez_randulfe_2022", "mnist_cnn", None, 20),
        ("lopez_randulfe_2022", "mnist_cnn_sparse", None, 20),
        ("nguyen_2020", "mnist", 16, 10),
        ("nguyen_2020", "cifar10", 16, 3),
        ("sengupta_2019", "resnet20", 24, 2),
        ("sengupta_2019", "resnet20_plain", 24, 2),
        ("sengupta_2019", "vgg16", 24, 2),
    ],
)
def test_causes_add_up_in_networks_that_ship(name, model, steps, images, data_folder):
    spiking_model = shipped(name, model)
    if steps is not None:
        spiking_model = dataclasses.replace(spiking_model, steps=steps)
    data = spiking_model.calibration["images_from"]
    test = bsnn.datasets.load(data, "test", data_folder).exact().first(images)
    found = compare(spiking_model, test.images, test.labels, thresholds=NO_ADVICE)
    assert list(found.layers) == list(spiking_model.populations)
    for layer in found.layers.values():
        total = sum(share.contribution for share in layer.causes.values())
        assert total == pytest.approx(layer.rmse, rel=1e-6, abs=1e-12)
    assert found.advice == ()


MODELS = {
    "rate": lambda: make_rate_model(MaxCnn(), (2, 8, 7), steps=20),
    "rate, count, zero": lambda: make_rate_model(
        AverageCnn(), AVERAGE_SHAPE, steps=20, reset="zero", encoder="poisson"
    ),
    "rate, residual": lambda: make_rate_model(
        ResidualNet(), (2, 8, 8), steps=20, residual="unequal", channels=False
    ),
    "rate, channels": lambda: make_rate_model(
        AverageCnn(),
        AVERAGE_SHAPE,
        steps=20,
        channels=True,
        encoder="regular",
        read_out="potential",
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_the_last_rung_is_the_simulation(name, numpy_target):
    model, images = MODELS[name]()
    images = images[:4]
    result = bsnn.simulate(model, images, device="runtime", progress=False, seed=3, first_image=5)
    found = compare(model, images, thresholds=NO_ADVICE, result=result, seed=3, first_image=5)
    for population, rmse in result.layer_rmse.items():
        assert found.layers[population].rmse == pytest.approx(rmse, rel=1e-6, abs=1e-9)
    assert found.agreement == (result.predictions == result.ann_predictions).mean()
    output = found.layers[model.output.name]
    assert output.causes["simulation"].rms == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("options", [{}, {"rounding": True}, {"read_out": "first-spike"}])
@pytest.mark.parametrize("small", ["small_cnn", "residual_cnn"])
def test_the_last_rung_is_the_closed_form_of_spike_times(small, options, request):
    model, images = request.getfixturevalue(small)(**options)
    coded = model.code(images.astype(np.float64))
    told = all_stages(Situation(model), images.astype(np.float64))
    for name, values in coded.values.items():
        np.testing.assert_array_equal(told.values[name], values)
    if not options.get("read_out"):
        np.testing.assert_array_equal(told.values[model.output.name], coded.potentials["fc2" if
            small == "small_cnn" else "fc"])  # fmt: skip


def test_without_dynamics_the_first_layer_is_exact(mnist):
    images = SAMPLE.images[:5].astype(np.float64)
    model = dataclasses.replace(mnist, steps=13, initial_potential=0.3)
    causes = {"clipping", "start", "quantisation"}
    static = decomposition_of(model).closed_form(model, images, causes)
    np.testing.assert_allclose(
        static.values["conv1"], model.reference(images).values["conv1"], atol=1e-9
    )


def test_single_precision_is_a_cause_of_its_own(ttfs, numpy_target):
    model, images = make_rate_model(AverageCnn(), AVERAGE_SHAPE, steps=20)
    images = images[:3]
    result = bsnn.simulate(model, images, device="runtime", precision="float32", progress=False)
    found = compare(model, images, result=result, thresholds=NO_ADVICE)
    assert [r.cause for r in found.stages][-2:] == ["precision", "simulation"]
    single = Situation(ttfs, precision="float32")
    told = all_stages(single, SAMPLE.images[:3].astype(np.float64))
    assert told.values["conv1"].dtype == np.float32


def test_measures_of_a_layer(small_cnn):
    model, _ = small_cnn()
    population = model.populations["fc1"]
    scale = model.scales["fc1"]
    activation = np.zeros((2, *population.shape))
    activation[:, 0] = 2 * scale
    activation[0, 1] = scale / 2
    activation[1, 2] = scale / 4
    middle = np.minimum(activation, scale)
    decoded = middle.copy()
    decoded[:, 1] = 0
    measures = LayerMeasures(model, population, ["clipping", "quantisation"], {})
    for k in range(2):
        measures.add([values[k : k + 1] for values in (activation, middle, decoded)])
    found = measures.comparison()
    error = decoded - activation
    assert found.rmse == pytest.approx(np.sqrt(np.mean(error**2)))
    assert found.bias == pytest.approx(error.mean())
    assert found.correlation == pytest.approx(
        np.corrcoef(activation.ravel(), decoded.ravel())[0, 1]
    )
    assert found.relative_error == pytest.approx(
        np.sqrt(np.mean(error**2) / np.mean(activation**2))
    )
    assert (found.clipped, found.silent, found.saturated) == (0.5, 1, 1)
    worst = found.worst[0]
    assert (worst.index, len(found.worst)) == ((0,), 2)
    assert (worst.ann, worst.decoded) == pytest.approx((2 * scale, scale))
    assert found.causes["clipping"].rms == pytest.approx(
        np.sqrt(np.mean((middle - activation) ** 2))
    )
    assert found.main_cause == "clipping"


# ---- advice


def broken_conversions(mnist, ttfs):
    low = bsnn.convert_to_rate(
        mnist.graph, SAMPLE.images[300:], percentile=20, steps=32, read_out="potential"
    )
    return {
        "scales": low,
        "steps": dataclasses.replace(mnist, steps=2),
        "start": dataclasses.replace(ttfs, steps=3),
        "gate": dataclasses.replace(mnist, steps=16, gate="average", scales={
            name: scale for name, scale in mnist.scales.items() if "pool" not in name
        }),
    }  # fmt: skip


@pytest.mark.parametrize("change", ["scales", "steps", "start", "gate"])
def test_advice_brings_on_other_images_what_it_says(mnist, ttfs, change):
    model = broken_conversions(mnist, ttfs)[change]
    found = compare(model, SAMPLE.images[:60])
    best = found.advice[0]
    assert best.change == change
    assert best.helps
    others = SAMPLE.images[60:160]
    before = compare(model, others, thresholds=NO_ADVICE)
    after = compare(best.model, others, thresholds=NO_ADVICE)
    gain = after.agreement - before.agreement
    assert gain == pytest.approx(best.agreement_gain, abs=MARGIN)
    # the error of the output is told to a fifth of it
    assert after.stages[-1].outcome.output_error == pytest.approx(
        best.after.output_error, rel=2 * MARGIN
    )


def test_every_cause_has_a_change_or_needs_none():
    answered = {cause for change in CHANGES.values() for cause in change.causes}
    assert CAUSES.keys() - answered == {"precision", "simulation"}
    assert answered <= CAUSES.keys()


# ---- steps needed


def test_forecast_of_rates_and_of_spike_times(mnist, ttfs):
    images = SAMPLE.images[:30]
    for model in (dataclasses.replace(mnist, steps=8), ttfs):
        found = forecast(model, images, 0.95, progress=False)
        assert found.agreement[found.steps - 1] >= 0.95
        assert found.steps == 1 or found.agreement[found.steps - 2] < 0.95
        told = compare(dataclasses.replace(model, steps=found.steps), images, thresholds=NO_ADVICE)
        assert told.agreement == found.agreement[found.steps - 1]
        assert found.spikes > 0
        assert found.operations > found.spikes
        assert set(found.memory_bytes) == {"shared", "synapses"}
        assert ("cpp", "shared") in found.seconds
        json.dumps(found.summary())
    none = forecast(dataclasses.replace(mnist, steps=1), images, 1.0, steps=1, progress=False)
    assert (none.steps, none.searched) == (None, 1)
    assert "not within" in none.rows()[0][1]
    with pytest.raises(SettingsError, match="agreement"):
        forecast(ttfs, images, 1.5)


# ---- what it says


def test_a_good_conversion_in_words(ttfs):
    found = compare(ttfs, SAMPLE.images[:20], SAMPLE.labels[:20])
    assert (found.verdict, found.departs, found.cause, found.advice) == ("good", None, None, ())
    assert found.accuracy == found.ann_accuracy == 1
    assert "No layer departs" in str(found)


def test_thresholds_decide(mnist):
    few = dataclasses.replace(mnist, steps=2)
    images = SAMPLE.images[:20]
    verdicts = {}
    for name, (broken, good) in {"a": (0.0, 0.1), "b": (0.1, 1.0), "c": (0.99, 1.0)}.items():
        thresholds = Thresholds(good=good, broken=broken, layer_error=1e9)
        verdicts[name] = compare(few, images, thresholds=thresholds).verdict
    assert verdicts == {"a": "good", "b": "lossy", "c": "broken"}
    for wrong in ({"good": 0.5, "broken": 0.6}, {"good": 1.2}, {"layer_error": 0}):
        with pytest.raises(SettingsError):
            Thresholds(**wrong)


def test_what_does_not_fit_is_refused(mnist, ttfs, small_cnn):
    images = SAMPLE.images[:3]
    with pytest.raises(SettingsError, match="no images"):
        compare(mnist, images[:0])
    with pytest.raises(GraphError, match="do not fit"):
        compare(mnist, images[:, :, 1:])
    with pytest.raises(SettingsError, match="one label for each image"):
        compare(mnist, images, [1, 2])
    with pytest.raises(SettingsError, match="no layer"):
        compare(mnist, images, reference=ttfs.graph)
    with pytest.raises(SettingsError, match="for 2 images"):
        compare(mnist, images, reference=mnist.graph.activations(images[:2]))
    with pytest.raises(SettingsError, match="has shape"):
        compare(mnist, images, reference={"fc": np.zeros((3, 4))})
    one = Graph([*mnist.graph, Linear(name="one", inputs=("fc",),
                                      weight=np.ones((1, 10), np.float32))])  # fmt: skip
    single = bsnn.convert_to_ttfs(one, SAMPLE.images[:50])
    with pytest.raises(SettingsError, match="one output"):
        compare(single, images)


def test_a_result_of_something_else_is_refused(small_cnn, numpy_target):
    model, images = small_cnn()
    result = bsnn.simulate(model, images[:3], device="runtime", progress=False)
    with pytest.raises(SettingsError, match="result.indices"):
        compare(model, images, result=result)
    with pytest.raises(SettingsError, match="16 steps"):
        compare(dataclasses.replace(model, steps=5), images[:3], result=result)
    found = compare(model, images[:3], result=result, thresholds=NO_ADVICE)
    assert found.layers["fc2"].causes["simulation"].rms == pytest.approx(0, abs=1e-9)


def test_the_command(command_line, mnist, tmp_path):
    mnist.save(tmp_path / "good.h5")
    dataclasses.replace(mnist, steps=1).save(tmp_path / "broken.h5")
    bsnn.save_graph(mnist.graph, tmp_path / "graph.h5")
    sample = ("--dataset", "mnist-sample", "--images", 15)
    status, out, _ = command_line(
        "compare", "good.h5", *sample, "--steps", 16, "--json", "good.json", "--reference",
        "graph.h5",
    )  # fmt: skip
    assert status == 0
    assert "good: the same class in both networks for 100.0 %" in out
    status, out, _ = command_line("compare", "broken.h5", *sample, "--json", "broken.json")
    assert status == 1
    assert "The first layer that departs is conv1" in out
    assert "What weighs most there is quantisation" in out
    assert "The error of conv1, " in out
    assert "4 steps in place of 1 (--steps 4)" in out
    told = json.loads((tmp_path / "broken.json").read_text())
    assert told["verdict"] == "broken"
    assert (told["departs"], told["cause"]) == ("conv1", "quantisation")
    assert list(told["layers"]) == list(mnist.populations)
    for layer in told["layers"].values():
        assert layer.keys() >= {
            "correlation", "rmse", "relative_error", "bias", "clipped", "silent", "saturated",
            "worst", "causes", "main_cause",
        }  # fmt: skip
        assert layer["causes"].keys() == told["causes"].keys()
    assert {advice["change"] for advice in told["advice"]} == {"steps", "start"}
    assert told["stages"][0]["cause"] == "none"
    assert json.loads((tmp_path / "good.json").read_text())["causes"].keys() >= {"conversion"}
    status, _, err = command_line("compare", "broken.h5", *sample, "--broken", 2)
    assert status == 1
    assert "thresholds of the verdict" in err
    # a network that is lossy by the user's leave passes
    assert command_line("compare", "broken.h5", *sample, "--broken", 0)[0] == 0
    assert command_line("compare", "none.h5", *sample)[0] == 1


def test_info_advises(command_line, mnist, tmp_path):
    mnist.save(tmp_path / "model.h5")
    status, out, _ = command_line(
        "info", "model.h5", "--advise", "--dataset", "mnist-sample", "--images", 20,
        "--agreement", 0.95, "--steps", 20, "--json", "info.json",
    )  # fmt: skip
    assert status == 0
    assert "steps for the same class in 95 %" in out
    assert "not known beforehand: bsnn bench --device cuda" in out
    advice = json.loads((tmp_path / "info.json").read_text())["advice"]
    assert advice["steps"] <= 20
    assert advice["images"] == 20
    assert {(s["device"], s["connectivity"]) for s in advice["seconds"]} >= {("cpp", "shared")}
    status, _, err = command_line("info", "model.h5", "--advise", "--dataset", "nothing")
    assert status == 1
    assert "no data set 'nothing'" in err
