"""Projects that need no Python: they are compiled by make, run, and read by their own script."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from rate_networks import MaxCnn, make_rate_model
from torch import nn

import bsnn


def read(folder) -> tuple[str, dict[str, np.ndarray]]:
    subprocess.run(["make", "-s", "run"], cwd=folder, check=True, capture_output=True)
    # without the packages of this interpreter, other than numpy: nothing of bsnn is needed
    said = subprocess.run(
        [sys.executable, "read_results.py"], cwd=folder, check=True, capture_output=True, text=True
    ).stdout
    with np.load(folder / "results.npz") as found:
        return said, dict(found)


def assert_as_simulated(found, expected) -> None:
    np.testing.assert_array_equal(found["predictions"], expected.predictions)
    np.testing.assert_allclose(
        found["values"], expected.potentials.reshape(found["values"].shape), rtol=1e-9, atol=1e-12
    )
    for name, population in expected.populations.items():
        if population.spikes is None:
            assert f"spikes_{name}" not in found
        else:
            assert population.spikes.sum() > 0
            np.testing.assert_array_equal(found[f"spikes_{name}"], population.spikes)


@pytest.mark.parametrize(("read_out", "batch"), [("potential", 1), ("first-spike", 4)])
def test_time_to_first_spike(small_cnn, tmp_path, numpy_target, read_out, batch):
    model, images = small_cnn(steps=8, read_out=read_out)
    labels = np.arange(6) % 5
    folder = bsnn.export(
        model, images[:6], labels, directory=tmp_path / "new" / "project", target="cpp", batch=batch
    )
    said, found = read(folder)
    expected = bsnn.simulate(model, images[:6], labels, device="runtime", progress=False)
    assert_as_simulated(found, expected)
    assert f"accuracy: {100 * expected.accuracy:.2f} % (" in said


def test_rate_coding_with_noise(tmp_path, numpy_target):
    """Images from the tenth on, whose noise is theirs; classes are those of a convolution."""
    model, images = make_rate_model(
        MaxCnn(), (2, 7, 7), encoder="poisson", reset="subtract", steps=12
    )
    folder = bsnn.export(
        model, images[:5], directory=tmp_path / "project", target="cpp", batch=2, seed=3,
        first_image=10,
    )  # fmt: skip
    said, found = read(folder)
    expected = bsnn.simulate(
        model, images[:5], device="runtime", seed=3, first_image=10, progress=False
    )
    assert_as_simulated(found, expected)
    assert "accuracy" not in said


class Maps(nn.Module):
    """The outputs are maps, whose neurons are numbered in another order than their values."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 3, 3)
        self.conv2 = nn.Conv2d(3, 2, 2)

    def forward(self, x):
        return self.conv2(torch.relu(self.conv1(x)))


def test_an_output_of_maps(tmp_path, numpy_target):
    torch.manual_seed(2)
    images = torch.rand(8, 1, 6, 5).numpy()
    model = bsnn.convert_to_ttfs(bsnn.from_torch(Maps(), (1, 6, 5)), images, steps=9)
    folder = bsnn.export(model, images, directory=tmp_path / "project", target="cpp")
    _, found = read(folder)
    assert_as_simulated(found, bsnn.simulate(model, images, device="runtime", progress=False))


def test_what_is_in_the_folder(small_cnn, tmp_path):
    model, images = small_cnn(steps=4)
    empty = tmp_path / "empty"
    empty.mkdir()
    folder = bsnn.export(model, images[:2], directory=empty, target="cpp")
    text = (folder / "README.md").read_text()
    assert "${" not in text
    assert "${" not in (folder / "Makefile").read_text()
    for name in ("read_results.py", "network.json", "inputs/images.npy", "code_objects"):
        assert (folder / name).exists(), name
    assert "inputs/input_image_values.values.dat" in text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty"]
    said = subprocess.run(
        [sys.executable, folder / "read_results.py"], check=False, capture_output=True, text=True
    )
    assert said.returncode == 1
    assert "make run writes it" in said.stderr


def test_what_cannot_be_exported(small_cnn, tmp_path):
    model, images = small_cnn(steps=4)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("")
    for options, error, message in (
        ({"target": "fortran"}, bsnn.SettingsError, "Known are cpp, cuda"),
        ({"directory": tmp_path / "full"}, bsnn.SettingsError, "not an empty folder"),
        ({"directory": tmp_path / "full" / "file"}, bsnn.SettingsError, "not an empty folder"),
        ({"form": "round"}, bsnn.UnknownNameError, "no form of the neuron"),
        ({"batch": 0}, bsnn.BuildError, "batch is 0"),
    ):
        with pytest.raises(error, match=message):
            bsnn.export(
                model, images[:1], **{"directory": tmp_path / "new", "target": "cpp", **options}
            )
    with pytest.raises(bsnn.SimulationError, match="no images"):
        bsnn.export(model, images[:0], directory=tmp_path / "new", target="cpp")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full"]
