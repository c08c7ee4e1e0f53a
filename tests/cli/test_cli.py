"""The command line, as a newcomer types it: the main job, and mistakes."""

from __future__ import annotations

import dataclasses
import json
import sys
import textwrap

import brian2 as b2
import numpy as np
import pytest
import torch
from torch import nn
from ttfs_networks import SmallCnn

import bsnn
from bsnn.networks import paper
from bsnn.networks.lopez_randulfe_2022.training import TrainingSettings
from bsnn.simulation.presenter import Presenter

RUN_KEYS = {
    "images", "correct", "accuracy", "ann_accuracy", "coding", "steps", "spikes_per_neuron",
    "spikes_per_neuron_with_pools", "synaptic_operations", "ann_macs", "ann_flops", "layer_rmse",
    "build_seconds", "run_seconds", "cpu_seconds", "wall_seconds", "device", "form",
    "connectivity", "precision", "workers", "versions", "neuron", "perturbations", "synapses",
}  # fmt: skip

SPARSE = str(paper("lopez_randulfe_2022").SHIPPED["mnist_cnn_sparse"])


@pytest.fixture
def run(command_line, numpy_target):
    """Run a command line; where it simulates in runtime mode, nothing is compiled."""
    return command_line


@pytest.fixture
def error_of(run):
    """Run a command line that must fail with one message and no traceback."""

    def call(*arguments) -> str:
        status, out, err = run(*arguments)
        assert status == 1, out + err
        assert err.startswith("Error: ")
        assert "Traceback" not in out + err
        return " ".join(err.split())

    return call


def test_gpu_check_without_brian2cuda(error_of, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "brian2cuda", None)
    message = error_of("gpu-check", "--out", str(tmp_path / "check.json"))
    assert "Brian2CUDA, which generates the code: pip install 'bsnn[cuda]'" in message
    assert not list(tmp_path.iterdir())


def test_help_teaches(run):
    status, out, _ = run("--help")
    assert status == 0
    for command in ("demo", "train", "convert", "info", "run", "reproduce", "bench", "gpu-check"):
        assert command in out
    for command in ("convert", "run", "bench", "gpu-check"):
        _, out, _ = run(command, "--help")
        assert "Example: bsnn" in " ".join(out.split())


def test_version(run):
    status, out, _ = run("--version")
    assert status == 0
    assert out.startswith("python 3")
    assert "brian2 2" in out


def test_demo(run, tmp_path):
    status, out, _ = run("demo", "--device", "runtime", "--json", "demo.json", "--out", "fig.png")
    assert status == 0
    found = json.loads((tmp_path / "demo.json").read_text())
    assert found.keys() == RUN_KEYS
    assert found["images"] == 400
    assert found["accuracy"] >= 0.98
    assert found["spikes_per_neuron"] < 0.1
    assert (tmp_path / "fig.png").stat().st_size > 50_000
    assert "fig.png" in out


def test_run_on_the_sample(run, tmp_path):
    status, out, _ = run(
        "run", SPARSE, "--dataset", "mnist-sample", "--images", 6, "--first", 3,
        "--device", "runtime", "--json", "run.json", "--out", "run.h5",
    )  # fmt: skip
    assert status == 0
    found = json.loads((tmp_path / "run.json").read_text())
    assert found.keys() == RUN_KEYS
    result = bsnn.load_result(tmp_path / "run.h5")
    assert found["correct"] == result.correct
    np.testing.assert_array_equal(result.labels, bsnn.datasets.mnist_sample().labels[3:9])
    assert "accuracy of the spiking network" in out
    assert found["ann_flops"] == 14_316_496


def test_run_with_other_steps_and_form(run, tmp_path):
    run(
        "run", SPARSE, "--dataset", "mnist-sample", "--images", 2, "--steps", 5, "--form", "trace",
        "--device", "runtime", "--json", "run.json",
    )  # fmt: skip
    assert json.loads((tmp_path / "run.json").read_text())["steps"] == 5


def test_dry_run(run):
    status, out, _ = run("run", SPARSE, "--dataset", "mnist-sample", "--dry-run")
    assert status == 0
    for text in ("40,654", "7,008,392", "31,488", "GB", "build", "run, 500 images"):
        assert text in out


def test_info(run, tmp_path):
    status, out, _ = run("info", SPARSE, "--json", "info.json")
    assert status == 0
    found = json.loads((tmp_path / "info.json").read_text())
    assert (found["flops"], found["neurons"]) == (14_316_496, 31_998)
    assert found["conversion"]["steps_per_window"] == 16
    for text in ("conv1", "1,229,312", "percentile", "bsnn train"):
        assert text in out


def test_run_with_a_chunk_that_fails(run, tmp_path, monkeypatch):
    original, calls = Presenter.present, []

    def second_chunk_fails(self, images, numbers):
        calls.append(1)
        if len(calls) in (2, 3):
            raise MemoryError("too much")
        return original(self, images, numbers)

    monkeypatch.setattr(Presenter, "present", second_chunk_fails)
    command = (
        "run", SPARSE, "--dataset", "mnist-sample", "--images", 6, "--chunk", 2,
        "--device", "runtime", "--out", "run.h5",
    )  # fmt: skip
    status, out, err = run(*command)
    assert status == 1
    assert "2 of 6 images could not be simulated. Images 2 to 3: MemoryError: too much" in err
    assert "run.h5.partial: the same command with --resume goes on" in out
    np.testing.assert_array_equal(bsnn.load_result(tmp_path / "run.h5").indices, [0, 1, 4, 5])
    status, out, err = run(*command, "--resume")
    assert status == 0, err
    assert len(bsnn.load_result(tmp_path / "run.h5")) == 6
    assert not (tmp_path / "run.h5.partial").exists()


def test_resuming_needs_a_result(error_of):
    assert "give --out" in error_of("run", SPARSE, "--dataset", "mnist-sample", "--resume")


def test_interrupted_run_keeps_what_is_done(run, tmp_path, monkeypatch):
    original, calls = b2.Network.run, []

    def second_chunk_interrupted(self, *args, **kwargs):
        calls.append(1)
        if len(calls) == 3:  # one to compile, then one a chunk
            raise KeyboardInterrupt
        return original(self, *args, **kwargs)

    monkeypatch.setattr(b2.Network, "run", second_chunk_interrupted)
    status, out, _ = run(
        "run", SPARSE, "--dataset", "mnist-sample", "--images", 4, "--chunk", 2,
        "--device", "runtime", "--out", "run.h5",
    )  # fmt: skip
    assert status == 130
    assert "Interrupted" in out
    assert len(bsnn.load_result(tmp_path / "run.h5")) == 2


MODEL = """
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1, 3, 5, stride=2)
            self.norm = nn.BatchNorm2d(3)
            self.fc = nn.Linear(3 * 36, 10)

        def forward(self, x):
            x = nn.functional.max_pool2d(torch.relu(self.norm(self.conv(x))), 2)
            return self.fc(torch.flatten(x, 1))

    def make_net():
        return Net()

    class Smooth(Net):
        def forward(self, x):
            return torch.tanh(self.conv(x))

    def broken():
        return 1 / 0

    number = int
"""


@pytest.fixture
def own_model(tmp_path):
    """A user's folder: a model's code, and its weights."""
    (tmp_path / "my_model.py").write_text(textwrap.dedent(MODEL))
    namespace: dict = {}
    exec(textwrap.dedent(MODEL), namespace)
    torch.manual_seed(0)
    torch.save(namespace["make_net"]().state_dict(), tmp_path / "net.pt")
    torch.save(SmallCnn().state_dict(), tmp_path / "other.pt")
    return tmp_path


CONVERT = ("--input-shape", "1,28,28", "--out", "net.h5")


def test_a_users_model_from_code_to_result(run, own_model, data_folder):
    status, out, err = run(
        "convert", "my_model.py:make_net", "--weights", "net.pt", *CONVERT, "--images", 50,
        "--data", data_folder, "--steps", 12, "--norm", "data-based", "--mean", "0.1307",
        "--std", "0.3081",
    )  # fmt: skip
    assert status == 0, out + err
    model = bsnn.load_model("net.h5")
    assert model.source["source"] == "my_model.py:make_net"
    assert model.calibration["images_from"] == "mnist"
    status, out, err = run(
        "run", "net.h5", "--images", 4, "--data", data_folder, "--device", "runtime",
        "--json", "run.json",
    )  # fmt: skip
    assert status == 0, out + err
    # converted again from its own file, without PyTorch
    status, _, err = run("convert", "net.h5", "-o", "new.h5", "--steps", 30, "--data", data_folder)
    assert status == 0, err
    assert bsnn.load_model("new.h5").steps == 30


@pytest.mark.parametrize(
    ("source", "weights", "message"),
    [
        ("my_model.py:make_nte", "net.pt", "has nothing called 'make_nte'"),
        ("my_model.py:broken", "net.pt", "cannot be run: ZeroDivisionError"),
        ("my_model.py:number", "net.pt", "gives a int, not a torch.nn.Module"),
        ("nowhere.py:make_net", "net.pt", "There is no file nowhere.py"),
        ("my_model.py", "net.pt", "Write my_model.py:NAME"),
        ("net.pt", "net.pt", "holds weights only"),
        ("my_model.py:make_net", "nowhere.pt", "nowhere.pt do not exist"),
        ("my_model.py:make_net", "other.pt", "does not hold the weights"),
        ("my_model.py:make_net", "my_model.py", "A state dict is needed"),
        ("my_model.py:Smooth", "net.pt", "line 21: the operation tanh cannot be converted"),
    ],
)
def test_mistakes_in_naming_a_model(error_of, own_model, source, weights, message):
    assert message in error_of("convert", source, "--weights", weights, *CONVERT)


def test_weights_are_read_without_running_code(error_of, own_model):
    """A file that would run code when it is unpickled is refused, and does not run it."""
    torch.save(nn.Linear(2, 2), own_model / "pickled.pt")
    message = error_of("convert", "my_model.py:make_net", "--weights", "pickled.pt", *CONVERT)
    assert "torch.save(model.state_dict()" in message


def test_missing_options(error_of, own_model):
    assert "--input-shape 1,28,28" in error_of("convert", "my_model.py:make_net", "-o", "net.h5")
    assert "is no shape" in error_of(
        "convert", "my_model.py:make_net", "--weights", "net.pt", "--input-shape", "28x28",
        "-o", "net.h5",
    )  # fmt: skip


def test_a_newcomers_mistakes_with_run(error_of, run, own_model, monkeypatch, tmp_path):
    assert "does not exist" in error_of("run", "nowhere.h5")
    assert "not a readable HDF5 file" in error_of("run", "my_model.py")
    assert "There is no data set 'minst'" in error_of("run", SPARSE, "--dataset", "minst")
    assert "There is no device 'gpu'" in error_of(
        "run", SPARSE, "--dataset", "mnist-sample", "--device", "gpu"
    )
    assert "has 500 test images" in error_of(
        "run", SPARSE, "--dataset", "mnist-sample", "--first", 500
    )
    assert "does not exist" in error_of("run", SPARSE, "--dataset", "mnist", "--data", "nowhere")
    graph = bsnn.load_graph(SPARSE)
    bsnn.save_graph(graph, tmp_path / "graph.h5")
    assert "was not converted" in error_of("run", "graph.h5")
    assert "cannot be written" in error_of("info", SPARSE, "--json", "no/such/folder.json")
    monkeypatch.setattr("bsnn.devices.standalone.shutil.which", lambda _: None)
    assert "needs a C++ compiler" in error_of("run", SPARSE, "--dataset", "mnist-sample")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("run", SPARSE, "--dataset", "mnist-sample", "--dry-run", "--seed", 0, "--loss", 0.1),
            "--seed, --loss: with --dry-run nothing is simulated",
        ),
        (
            ("run", SPARSE, "--dataset", "mnist-sample", "--dry-run", "--set", "tau=5*ms",
             "--out", "run.h5", "--workers", 2),
            "--set, --workers, --out: with --dry-run",
        ),
        (
            ("run", SPARSE, "--dataset", "mnist-sample", "--device", "runtime", "--build-dir", "x"),
            "'runtime' generates no project",
        ),
        (("run", SPARSE, "--dataset", "mnist-sample", "--data", "x"), "come with bsnn"),
        (("info", SPARSE, "--images", 100, "--steps", 9), "--images, --steps: only with --advise"),
        (("bench", "--batch", 3, "--networks", "mnist"), "--networks, --batch: only with --device"),
        (("bench", "--device", "cuda", "--steps", 32), "--steps: on CUDA the networks"),
        (
            ("convert", SPARSE, "-o", "x.h5", "--weights", "net.pt", "--mean", "0.5"),
            "--weights, --mean: the network in",
        ),
    ],
)  # fmt: skip
def test_options_without_effect(error_of, arguments, message):
    assert message in " ".join(error_of(*arguments).split())


def test_a_data_set_of_another_shape(error_of, data_folder):
    message = error_of("run", SPARSE, "--dataset", "cifar10", "--data", data_folder)
    assert "have shape (3, 32, 32), but the network takes (1, 28, 28)" in message


def test_unknown_papers(error_of):
    for command in ("train", "reproduce"):
        assert "There is no paper 'vgg'" in error_of(command, "vgg", "--out", "x")


def test_resuming_with_other_settings(error_of, tmp_path, data_folder):
    settings = dataclasses.asdict(TrainingSettings(epochs=3))
    (tmp_path / "run").mkdir()
    torch.save({"settings": settings}, tmp_path / "run" / "checkpoint.pt")
    message = error_of(
        "train", "lopez_randulfe_2022", "--data", data_folder, "--out", "run", "--resume"
    )
    assert "was made with other settings" in message
