"""`bsnn bench`: the systems compute the same as the closed form, and the figures are complete.

Nothing here depends on how long anything takes.
"""

from __future__ import annotations

import dataclasses
import json
import sys

import numpy as np
import pytest
import torch
from rate_networks import AverageCnn, MaxCnn, ResidualNet, make_rate_model
from torch import nn
from ttfs_networks import make_model

import bsnn
from bsnn.benchmark import (
    CHECKOUT_SYSTEMS,
    OWN_SYSTEMS,
    Case,
    checkout_module,
    choose,
    compare,
    registry,
    systems,
)
from bsnn.benchmark.usage import Usage, run_here, run_program
from bsnn.cli import main
from bsnn.errors import BuildError, SettingsError, SimulationError
from bsnn.networks import paper

#: Of the images of networks in rate coding.
AVERAGE_SHAPE = (2, 6, 5)
RESIDUAL_SHAPE = (2, 6, 5)

#: What the documentation promises of each row.
ROW_KEYS = {
    "system", "ms_per_image", "cpu_ms_per_image", "events_per_second", "build_seconds", "peak_mb",
    "accuracy", "images",
}  # fmt: skip

systems()
event_driven = sys.modules[f"{registry._PACKAGE}.event_driven"]
torch_time_stepped = sys.modules[f"{registry._PACKAGE}.torch_time_stepped"]
spikingjelly_rate = sys.modules[f"{registry._PACKAGE}.spikingjelly_rate"]


class WideCnn(nn.Sequential):
    """Channels that fill vectors, and a dense layer after a convolution without pooling."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(2, 32, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 64, (2, 3), stride=(2, 1)),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(64 * 3 * 5, 7),
        )


@pytest.fixture
def wide_cnn():
    return lambda **options: make_model(WideCnn(), (2, 6, 7), **options)


def closed_form(model, images):
    """Potentials of the last layer, spikes and operations of each population and image."""
    coded = model.code(images.astype(np.float64))
    potentials = coded.potentials[model.output.name]
    spikes = {name: (level > 0) for name, level in coded.levels.items()}
    return potentials, spikes


def fan_out(model) -> dict[str, np.ndarray]:
    """True fan-out of each neuron, from the connections that Brian2 is given."""
    from bsnn.network.connectivity import neuron_order, projection

    found = {}
    for population in model.populations.values():
        for path in population.projections:
            if population.role == "max_pool":
                continue
            source = model.populations[path.source]
            by_neuron = projection(model.graph, path, source, population).fan_out(source.size)
            by_value = np.empty_like(by_neuron)
            by_value[neuron_order(source.shape)] = by_neuron
            found[path.source] = by_value.reshape(source.shape)
    return found


@pytest.mark.parametrize("rounding", [False, True])
@pytest.mark.parametrize("steps", [1, 9, 64])
@pytest.mark.parametrize("name", ["small_cnn", "wide_cnn"])
def test_event_driven_program_equals_the_closed_form(request, tmp_path, name, steps, rounding):
    model, images = request.getfixturevalue(name)(steps=steps, rounding=rounding)
    simulation = event_driven.Simulation(model, tmp_path)
    simulation.present(images)
    found = simulation.run()
    potentials, spikes = closed_form(model, images)
    np.testing.assert_allclose(found.potentials, potentials, rtol=1e-4, atol=1e-4)
    out = fan_out(model)
    for population, spiked in spikes.items():
        np.testing.assert_array_equal(
            found.spikes[population], spiked.reshape(len(images), -1).sum(1), population
        )
        operations = (spiked * out.get(population, 0)).reshape(len(images), -1).sum(1)
        np.testing.assert_array_equal(found.operations[population], operations, population)


@pytest.mark.parametrize("rounding", [False, True])
@pytest.mark.parametrize("name", ["small_cnn", "wide_cnn"])
def test_time_stepped_torch_equals_the_closed_form(request, name, rounding):
    model, images = request.getfixturevalue(name)(steps=12, rounding=rounding)
    network = torch_time_stepped.TimeStepped(model)
    potentials, spikes = closed_form(model, images)
    np.testing.assert_allclose(network.run(images), potentials, rtol=1e-4, atol=1e-4)
    out = fan_out(model)
    assert network.events == sum(
        (spiked * out.get(name, 0)).sum() for name, spiked in spikes.items()
    )


@pytest.fixture(scope="module")
def paper_case(mnist_test):
    model = bsnn.load_model(paper("lopez_randulfe_2022").SHIPPED["mnist_cnn"])
    test = mnist_test.first(100)
    return Case(dataclasses.replace(model, steps=32), test.images, test.labels)


def test_systems_agree_on_mnist(paper_case, tmp_path):
    """The same classes, potentials and operations; a spike on the edge of a step may move."""
    simulation = event_driven.Simulation(paper_case.model, tmp_path)
    simulation.present(paper_case.images)
    found = simulation.run()
    potentials, spikes = closed_form(paper_case.model, paper_case.images)
    np.testing.assert_array_equal(found.potentials.argmax(1), potentials.argmax(1))
    differences = np.abs(found.potentials - potentials).max(1)
    assert np.median(differences) < 1e-4
    assert (differences > 1e-3).mean() <= 0.02
    counted = sum(operations.sum() for operations in found.operations.values())
    out = fan_out(paper_case.model)
    wanted = sum((spiked * out.get(name, 0)).sum() for name, spiked in spikes.items())
    assert counted == pytest.approx(wanted, rel=1e-5)
    network = torch_time_stepped.TimeStepped(paper_case.model)
    stepped = network.run(paper_case.images[:20])
    np.testing.assert_array_equal(stepped.argmax(1), potentials[:20].argmax(1))
    assert np.median(np.abs(stepped - potentials[:20])) < 1e-4


def test_operations_are_those_of_a_simulation(small_cnn, tmp_path, numpy_target):
    model, images = small_cnn(steps=7)
    result = bsnn.simulate(model, images[:5], device="runtime", progress=False)
    simulation = event_driven.Simulation(model, tmp_path)
    simulation.present(images[:5])
    found = simulation.run()
    for name, population in result.populations.items():
        # a result counts the connections to a pooling too, which have no weights
        pooled = any(
            path.source == name and reader.role == "max_pool"
            for reader in model.populations.values()
            for path in reader.projections
        )
        if population.operations is not None and not pooled:
            np.testing.assert_array_equal(found.operations[name], population.operations, name)


def test_other_networks_are_refused(residual_cnn, small_cnn, tmp_path):
    model, _ = residual_cnn()
    with pytest.raises(BuildError, match="event_driven.cpp"):
        event_driven.Simulation(model, tmp_path)
    with pytest.raises(BuildError, match="chain"):
        torch_time_stepped.TimeStepped(model)
    model, _ = small_cnn(read_out="first-spike")
    for make in (lambda: event_driven.Simulation(model, tmp_path),
                 lambda: torch_time_stepped.TimeStepped(model)):  # fmt: skip
        with pytest.raises(BuildError, match="potential"):
            make()


@pytest.mark.parametrize("name", OWN_SYSTEMS)
def test_bsnn_as_a_system(small_cnn, tmp_path, name):
    """In C++ standalone mode: the classes of the closed form, and every event counted."""
    model, images = small_cnn(steps=8)
    case = Case(model, images[:6], np.zeros(6, dtype=int))
    (system,), _ = choose([name])
    system.prepare(case, tmp_path)
    try:
        outcomes = [system.run(), system.run()]
    finally:
        system._open.close()
    potentials, spikes = closed_form(model, case.images)
    out = fan_out(model)
    for outcome in outcomes:
        np.testing.assert_array_equal(outcome.predictions, potentials.argmax(1))
        assert outcome.events == sum(
            (spiked * out.get(name, 0)).sum() for name, spiked in spikes.items()
        )
        # the program alone, not the Python that built it
        assert 1 < outcome.usage.peak_mb < 60


def test_rate_coded_brian2_finds_the_classes_of_the_trained_network(
    wide_cnn, tmp_path, numpy_target
):
    model, images = wide_cnn()
    case = Case(model, images[:5], np.zeros(5, dtype=int))
    (system,), _ = choose(["brian2_rate"])
    system.prepare(case, tmp_path)
    outcome = system.run()
    trained = model.graph.forward(case.images).argmax(1)
    assert (outcome.predictions == trained).sum() >= 4
    assert outcome.events > 0
    np.testing.assert_array_equal(system.run().predictions, outcome.predictions)


@pytest.mark.parametrize("name", ["mnist_cnn", "mnist_cnn_sparse"])
def test_the_torch_module_for_spikingjelly_is_the_trained_network(name):
    graph = bsnn.load_graph(paper("lopez_randulfe_2022").SHIPPED[name])
    images = bsnn.datasets.mnist_sample().first(3).images
    with torch.no_grad():
        found = spikingjelly_rate.torch_module(graph)(torch.from_numpy(images))
    np.testing.assert_allclose(found, graph.forward(images), rtol=1e-4, atol=1e-4)


@pytest.fixture
def bench(command_line, monkeypatch):
    """Run `bsnn bench` on the images that come with bsnn; return status, output and error."""
    monkeypatch.delenv("BSNN_DATA", raising=False)
    return lambda *arguments: command_line("bench", *arguments)


def test_bench_writes_what_is_documented(bench, tmp_path):
    status, out, err = bench(
        "--systems", "event_driven_cpp,torch_time_stepped", "--images", 4, "--rounds", 2,
        "--steps", 8, "--json", "bench.json",
    )  # fmt: skip
    assert status == 0, err
    found = json.loads((tmp_path / "bench.json").read_text())
    assert {"rows", "ratios", "left_out", "machine", "versions", "rounds"} <= found.keys()
    assert [row["system"] for row in found["rows"]] == ["event_driven_cpp", "torch_time_stepped"]
    for row in found["rows"]:
        assert row.keys() >= ROW_KEYS
        assert row["images"] == 4
        assert row["same_class"] == 1
        assert len(row["cpu_ms_of_rounds"]) == 2
        for figure in ROW_KEYS - {"system", "accuracy", "images"}:
            assert row[figure] > 0
    assert found["dataset"] == "mnist-sample"
    assert "torch_time_stepped" in out


def test_ratios_are_those_of_a_round():
    """Medians of ratios, which a machine that changes its speed between rounds does not change."""
    ratio = bsnn.benchmark.RATIOS["cpu_explicit_over_shared"]
    assert (ratio.figure, ratio.system, ratio.other) == (
        "cpu_seconds", "bsnn_explicit", "bsnn_shared",
    )  # fmt: skip
    for ratio in bsnn.benchmark.RATIOS.values():
        assert {ratio.system, ratio.other} <= systems().keys()
        assert ratio.figure in {field.name for field in dataclasses.fields(Usage)}


def test_an_unknown_system_is_named(bench):
    status, _, err = bench("--systems", "event_driven_cpp,quantum", "--images", 1)
    assert status == 1
    assert "'quantum'" in err
    assert "bsnn_explicit" in err


def test_an_installed_package_says_what_the_checkout_has(monkeypatch):
    monkeypatch.setattr(registry, "checkout_folder", lambda: None)
    assert systems().keys() == set(OWN_SYSTEMS)
    _, left_out = choose()
    assert left_out.keys() >= set(CHECKOUT_SYSTEMS)
    with pytest.raises(SettingsError, match="source checkout"):
        choose(["event_driven_cpp"])


def test_the_list_of_the_checkout_is_complete():
    assert set(CHECKOUT_SYSTEMS) == systems().keys() - set(OWN_SYSTEMS)


def test_a_system_that_fails_is_left_out(residual_cnn):
    model, images = residual_cnn()
    chosen, _ = choose(["event_driven_cpp"])
    comparison = compare(chosen, Case(model, images, np.zeros(len(images), dtype=int)), rounds=1)
    assert comparison.rows == []
    assert "failed" in comparison.left_out["event_driven_cpp"]


def test_nothing_to_compare():
    model, images = make_model(WideCnn(), (2, 6, 7))
    with pytest.raises(SettingsError, match="0 systems"):
        compare([], Case(model, images, np.zeros(len(images), dtype=int)))


def test_a_program_is_measured_alone(tmp_path):
    """Memory of the process that starts it does not count."""
    ballast = np.ones(100 * 2**17)  # 100 MiB
    usage = run_program([sys.executable, "-I", "-S", "-c", "x = bytearray(2**25)"], tmp_path / "u")
    assert 32 < usage.peak_mb < 100
    assert run_here(lambda: None).peak_mb > ballast.nbytes / 2**20
    with pytest.raises(SimulationError, match="status 3"):
        run_program([sys.executable, "-c", "raise SystemExit(3)"], tmp_path / "u")


def test_a_network_for_other_images_is_refused(bench, small_cnn, tmp_path):
    small_cnn()[0].save(tmp_path / "small.h5")
    status, _, err = bench("small.h5", "--systems", "event_driven_cpp", "--images", 1)
    assert status == 1
    assert "(1, 9, 8)" in err


@pytest.mark.parametrize("reset", ["zero", "subtract"])
@pytest.mark.parametrize(
    ("net", "shape"), [(AverageCnn, AVERAGE_SHAPE), (ResidualNet, RESIDUAL_SHAPE)]
)
def test_torch_rate_has_the_spikes_of_bsnn(numpy_target, net, shape, reset):
    """In double precision: then sums differ in their last digits only, and no spike does."""
    model, images = make_rate_model(
        net(), shape, encoder="regular", reset=reset, read_out="count", steps=40
    )
    told = checkout_module("torch_rate").TorchRate(model, dtype=torch.float64).run(images[:4], 40)
    found = bsnn.simulate(model, images[:4], device="runtime", progress=False)
    assert told.max() > 3
    expected = found.potentials.reshape(4, -1)
    np.testing.assert_allclose(told * model.scales[model.output.name] / 40, expected, rtol=1e-12)


def test_torch_rate_refuses_other_networks():
    torch_rate = checkout_module("torch_rate")
    model, _ = make_rate_model(AverageCnn(), AVERAGE_SHAPE, encoder="constant", steps=4)
    with pytest.raises(bsnn.BuildError, match="no encoder 'constant'"):
        torch_rate.TorchRate(model)
    model, _ = make_rate_model(MaxCnn(), (2, 7, 7), encoder="regular", steps=4)
    with pytest.raises(bsnn.BuildError, match="no max-pooling"):
        torch_rate.TorchRate(model)


def test_what_is_not_there_on_a_gpu(capsys, monkeypatch):
    """Without Brian2CUDA, and with a network that is not known."""
    for arguments, message in (
        (["--device", "cuda"], "What is missing"),
        (["--device", "cuda", "--networks", "alexnet"], "Known are mnist, resnet20, vgg16"),
        (["--device", "tpu"], "Known are cpp, cuda"),
    ):
        monkeypatch.setattr(sys, "argv", ["bsnn", "bench", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        assert end.value.code == 1
        assert message in " ".join(capsys.readouterr().err.split())
