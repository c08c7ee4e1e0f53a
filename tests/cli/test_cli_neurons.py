"""Neurons and perturbations from the command line."""

from __future__ import annotations

import dataclasses
import json

import brian2 as b2
import numpy as np
import pytest
from rate_networks import MaxCnn, make_rate_model

import bsnn
from bsnn.brian import parse_quantity
from bsnn.cli.record_options import SetupOptions
from bsnn.network import NEURON_MODELS, PERTURBATIONS
from bsnn.networks import paper

FILE = """
import brian2 as b2
import bsnn

neuron = bsnn.RateNeuron(
    name="mine",
    equations="dv/dt = -v/tau : 1",
    threshold="v >= 0.9*v_th",
    parameters={"tau": 20 * b2.ms},
)
number = 3
"""


@pytest.fixture
def run(command_line, data_folder, monkeypatch, numpy_target):
    monkeypatch.setenv("BSNN_DATA", str(data_folder))
    model = bsnn.load_model(paper("nguyen_2020").SHIPPED["mnist"])
    model.save("rate.h5")
    return command_line


RUN = ("run", "rate.h5", "--images", 3, "--device", "runtime", "--steps", 12)


def test_a_run_of_other_neurons(run, tmp_path):
    (tmp_path / "mine.py").write_text(FILE)
    potentials = {}
    for name, options in {
        "plain": (),
        "lif": ("--neuron", "lif", "--set", "tau=4*ms", "--set", "refractory_period=2*ms"),
        "mine": ("--neuron", "mine.py:neuron", "--set", "tau=4 * ms"),
        "disturbed": ("--loss", 0.2, "--threshold-spread", 0.1, "--seed", 2),
    }.items():
        status, out, err = run(*RUN, *options, "--json", "run.json", "--out", f"{name}.h5")
        assert status == 0, out + err
        potentials[name] = bsnn.load_result(f"{name}.h5").potentials
        figures = json.loads((tmp_path / "run.json").read_text())
        assert figures["neuron"].split()[0] == {"lif": "lif", "mine": "mine"}.get(name, "if")
        wanted = {"loss": 0.2, "threshold_spread": 0.1} if name == "disturbed" else {}
        assert figures["perturbations"] == wanted
    for name in ("lif", "mine", "disturbed"):
        assert (potentials[name] != potentials["plain"]).any()
    assert (potentials["mine"] != potentials["lif"]).any()
    images = bsnn.datasets.load("mnist", "test").first(3).images
    model = bsnn.load_model("rate.h5")

    model = dataclasses.replace(model, steps=12)
    neuron = NEURON_MODELS["lif"].with_parameters(tau=4 * b2.ms, refractory_period=2 * b2.ms)
    expected = bsnn.simulate(model, images, neuron=neuron, progress=False)
    np.testing.assert_array_equal(potentials["lif"], expected.potentials)


def test_every_perturbation_is_an_option(run):
    for command in ("run", "export", "refit"):
        status, out, _ = run(command, "--help")
        assert status == 0
        for name in PERTURBATIONS:
            assert f"--{name.replace('_', '-')}" in out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--neuron", "liff"), "Did you mean 'lif'"),
        (("--neuron", "two-stage"), "coding ttfs"),
        (("--neuron", "lif", "--set", "tau"), "write NAME=VALUE"),
        (("--neuron", "lif", "--set", "tau=5*mV"), "its unit is that of"),
        (("--neuron", "lif", "--set", "tau=fast"), "'fast' is no quantity"),
        (("--set", "tau=5*ms"), "no parameter 'tau'"),
        (("--neuron", "none.py:neuron"), "no file"),
        (("--neuron", "mine.py:number"), "is a int, not a bsnn.RateNeuron"),
        (("--neuron", "mine.py:other"), "nothing called 'other'"),
        (("--loss", 2), "from 0 to 1"),
        (("--neuron", "lif", "--leak", 0.1), "equations of its own"),
    ],
)
def test_options_that_make_no_sense(run, tmp_path, options, message):
    (tmp_path / "mine.py").write_text(FILE)
    status, _, err = run(*RUN, *options)
    assert status == 1
    assert message in " ".join(err.split())


def test_refit(run, tmp_path):
    status, out, err = run(
        "refit", "rate.h5", "--images", 4, "--steps", 12, "--device", "runtime", "--neuron", "lif",
        "--set", "tau=4*ms", "-o", "fitted.h5",
    )  # fmt: skip
    assert status == 0, out + err
    fitted = bsnn.load_model("fitted.h5")
    assert set(fitted.threshold_factors) == {"conv1", "conv2"}
    assert fitted.steps == 12
    for name, factor in fitted.threshold_factors.items():
        assert f"{name} times" in out
        assert f"{factor:.4f}" in out
    status, out, _ = run("info", "fitted.h5")
    assert status == 0
    assert "threshold of conv1, fitted" in out


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.1", 0.1),
        ("20*ms", 20 * b2.ms),
        (" -65 * mV ", -65 * b2.mV),
        ("inf*second", np.inf * b2.second),
        ("1e3*Hz", 1 * b2.kHz),
        ("10*nS", 10 * b2.nS),
    ],
)
def test_quantities(text, value):
    found = parse_quantity(text)
    assert b2.have_same_dimensions(found, value)
    assert found == value


@pytest.mark.parametrize("text", ["", "ms", "3*", "3*parsec", "__import__('os')", "3*ms*ms", "1,2"])
def test_what_is_no_quantity(text):
    with pytest.raises(bsnn.SettingsError, match="is no quantity"):
        parse_quantity(text)


def test_chosen_neuron():
    default = SetupOptions({"neuron": None}).of("ttfs")
    assert default.neuron is NEURON_MODELS["two-stage"]
    changed = SetupOptions({"neuron": "lif", "seed": 3}, ["tau=3*ms"]).of("rate")
    assert changed.neuron.parameters["tau"] == 3 * b2.ms
    assert changed.seed == 3


def test_an_exported_project_of_other_neurons(tmp_path):
    model, images = make_rate_model(MaxCnn(), (2, 7, 7), encoder="regular", steps=6)
    bsnn.export(
        model, images[:2], directory=tmp_path / "project", target="cpp", neuron="lif",
        perturbations={"loss": 0.1},
    )  # fmt: skip
    code = "".join(path.read_text() for path in (tmp_path / "project").rglob("*.cpp"))
    assert "conv1_stateupdater" in code
    assert "pool1_delay_line" in code
