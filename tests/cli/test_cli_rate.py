"""Rate coding from the command line."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

import bsnn


class Net(nn.Sequential):
    def __init__(self):
        super().__init__(
            nn.Conv2d(1, 4, 5, stride=2, bias=False),
            nn.ReLU(),
            nn.AvgPool2d(2),
            nn.Flatten(),
            nn.Linear(4 * 36, 10, bias=False),
        )


#: The convolution, as tracing names it.
FIRST = "conv1"


@pytest.fixture
def run(command_line, tmp_path, data_folder, monkeypatch, numpy_target):
    """Command line in a folder with a small trained network, ``net.h5``."""
    monkeypatch.setenv("BSNN_DATA", str(data_folder))
    torch.manual_seed(0)
    bsnn.save_graph(bsnn.from_torch(Net(), (1, 28, 28)), tmp_path / "net.h5")
    return command_line


CONVERT = ("convert", "net.h5", "--coding", "rate", "--images", 20, "-o", "rate.h5")
PAPER = ("--norm", "spike-norm", "--reset", "zero", "--input", "poisson", "--steps", 30)


def test_from_a_trained_network_to_accuracy_over_time(run, tmp_path):
    status, out, err = run(*CONVERT, *PAPER, "--seed", 3)
    assert status == 0, out + err
    model = bsnn.load_model("rate.h5")
    assert (model.norm, model.reset, model.encoder, model.steps) == (
        "spike-norm", "zero", "poisson", 30,
    )  # fmt: skip
    assert model.calibration["seed"] == 3

    status, out, err = run("info", "rate.h5", "--plot", "trace.png", "--json", "info.json")
    assert status == 0, out + err
    assert "spike-norm" in out
    assert (tmp_path / "trace.png").stat().st_size > 10_000
    assert len(json.loads((tmp_path / "info.json").read_text())["conversion"]["trace"][FIRST]) == 30

    command = (
        "run", "rate.h5", "--images", 6, "--device", "runtime", "--steps", 12, "--seed", 5,
        "--plot", "accuracy.png",
    )  # fmt: skip
    status, out, err = run(*command, "--json", "run.json", "--out", "whole.h5")
    assert status == 0, out + err
    figures = json.loads((tmp_path / "run.json").read_text())
    assert figures["coding"] == "rate"
    assert figures["steps"] == 12
    assert len(figures["accuracy_at_step"]) == 12
    assert figures["accuracy_at_step"][-1] == figures["accuracy"]
    assert (tmp_path / "accuracy.png").stat().st_size > 10_000
    # the images in two parts, told apart by --first, have the same noise
    for part, first in (("a.h5", 0), ("b.h5", 4)):
        images = 4 if first == 0 else 2
        status, out, err = run(
            "run", "rate.h5", "--images", images, "--first", first, "--device", "runtime",
            "--steps", 12, "--seed", 5, "--out", part,
        )  # fmt: skip
        assert status == 0, out + err
    whole, *parts = (bsnn.load_result(name) for name in ("whole.h5", "a.h5", "b.h5"))
    np.testing.assert_array_equal(
        whole.predictions_at_step, np.concatenate([part.predictions_at_step for part in parts])
    )
    np.testing.assert_array_equal(
        whole.populations[FIRST].spikes,
        np.concatenate([part.populations[FIRST].spikes for part in parts]),
    )


def test_options_reach_the_model(run):
    status, out, err = run(
        *CONVERT, "--norm", "percentile", "--percentile", 99, "--channels", "--balance",
        "thresholds", "--initial-potential", 0.5, "--potential-floor", -1, "--read-out",
        "potential", "--input-scale", 1.5, "--array-type", "float16",
    )  # fmt: skip
    assert status == 0, out + err
    assert "(4 channels)" in out
    model = bsnn.load_model("rate.h5")
    assert model.balance == "thresholds"
    assert model.initial_potential == 0.5
    assert model.potential_floor == -1
    assert model.read_out == "potential"
    assert model.scales["input"] == 1.5
    assert model.scales[FIRST].shape == (4,)
    status, out, _ = run("run", "rate.h5", "--dry-run")
    assert status == 0
    assert "neurons" in out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--rounding",), "--rounding: only with --coding ttfs"),
        (("--norm", "min-rmse"), "no normalisation for rates 'min-rmse'"),
        (("--input", "burst"), "no encoder 'burst'. Known are poisson, regular, constant"),
        (("--reset", "half"), "the reset is 'half'; known are subtract, zero"),
        (("--input", "poisson", "--input-scale", 0.5), "larger input_scale"),
        (("--read-out", "first-spike"), "known are count, potential"),
    ],
)
def test_what_does_not_fit_is_said(run, options, message):
    status, _, err = run(*CONVERT, *options)
    assert status == 1
    assert message in err
    assert "Traceback" not in err


def test_options_of_rate_coding_need_it(run):
    status, _, err = run("convert", "net.h5", "-o", "x.h5", "--reset", "zero", "--input", "poisson")
    assert status == 1
    assert "--encoder, --reset: only with --coding rate" in err
    status, _, err = run("convert", "net.h5", "-o", "x.h5", "--coding", "burst")
    assert "no coding 'burst'" in err


def test_plots_that_a_model_does_not_have(run):
    run(*CONVERT)
    status, _, err = run("info", "rate.h5", "--plot", "trace.png")
    assert status == 1
    assert "only 'spike-norm' leaves a trace" in err
    run("convert", "net.h5", "-o", "ttfs.h5", "--images", 10)
    status, _, err = run("run", "ttfs.h5", "--plot", "accuracy.png")
    assert status == 1
    assert "in time-to-first-spike coding the class is read once" in err


def test_options_of_other_papers_are_refused(run):
    status, _, err = run("train", "lopez_randulfe_2022", "--width", 0.5, "--out", "x")
    assert status == 1
    assert "lopez_randulfe_2022 has no --width" in err
    status, _, err = run("reproduce", "sengupta_2019", "--models", "x", "--out", "x")
    assert status == 1
    assert "sengupta_2019 has no --models" in err
