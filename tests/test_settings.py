"""Records of what is built and how it is run: whole, or by their fields, never both."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import bsnn
from bsnn.cli.record_options import RUN_OPTIONS, SETUP_OPTIONS
from bsnn.settings import Run, Setup, fields_of, taken


def test_a_record_and_its_fields_are_the_same(small_cnn):
    model, images = small_cnn()
    fields = {"precision": "float32", "perturbations": {"loss": 0.1}, "seed": 3}
    by_fields = bsnn.simulate(model, images[:3], device="runtime", progress=False, **fields)
    run = Run(device="runtime", progress=False)
    by_records = bsnn.simulate(model, images[:3], setup=Setup(**fields), run=run)
    np.testing.assert_array_equal(by_records.potentials, by_fields.potentials)
    assert by_records.perturbations == by_fields.perturbations == {"loss": 0.1}


def test_one_or_the_other(small_cnn):
    model, images = small_cnn()
    axes = [bsnn.Axis("jitter", [0, 1])]
    for call in (
        lambda: bsnn.simulate(model, images[:1], setup=Setup(seed=1), precision="float32"),
        lambda: bsnn.simulate(model, images[:1], run=Run(), workers=2),
        lambda: bsnn.sweep(model, images[:1], None, axes, setup=Setup(), form="event"),
    ):
        with pytest.raises(bsnn.SettingsError, match="leave one of them out"):
            call()


def test_unknown_and_idle_fields(small_cnn):
    model, images = small_cnn()
    with pytest.raises(bsnn.UnknownNameError, match="Did you mean 'precision'"):
        bsnn.simulate(model, images[:1], precison="float32")
    axes = [bsnn.Axis("jitter", [0, 1])]
    for fields in ({"seed": 1}, {"checkpoint": "x"}, {"directory": "x"}):
        with pytest.raises(bsnn.UnknownNameError, match="There is no argument"):
            bsnn.sweep(model, images[:1], None, axes, **fields)
    with pytest.raises(bsnn.SettingsError, match="seed of the Setup would have no effect"):
        bsnn.sweep(model, images[:1], None, axes, setup=Setup(seed=1))
    net = bsnn.build(model)
    for fields in ({"setup": Setup()}, {"run": Run(chunk=2)}, {"batch": 2}):
        with pytest.raises(bsnn.SimulationError, match="is built already"):
            bsnn.simulate(net, images[:1], **fields)


def test_what_does_not_fit():
    assert taken({"workers": 2, "seed": 4}, (Setup, None), (Run, None))[1].workers == 2
    for run, message in (
        (Run(workers=0), "workers is 0"),
        (Run(chunk=0), "chunk is 0"),
        (Run(resume=True), "name the checkpoint"),
        (Run(directory="x"), "leave the directory out"),
        (Run(cluster="tcp://x", workers=2), "leave out the number of workers"),
    ):
        with pytest.raises(bsnn.SimulationError, match=message):
            run.check("runtime", generates=False)


def test_every_field_has_an_option_or_another_way():
    # perturbations have an option each; others are said by --first, --out, or in Python only
    elsewhere = {"perturbations", "synapses", "first_image", "checkpoint", "progress"}
    fields = {field.name for record in (Setup, Run) for field in dataclasses.fields(record)}
    assert {*SETUP_OPTIONS, *RUN_OPTIONS} == fields - elsewhere
    assert fields_of(Run(workers=3))["workers"] == 3
