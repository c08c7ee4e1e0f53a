"""Images of one's own: folders, files of arrays, registered data sets, loaders."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, TensorDataset
from typer.testing import CliRunner

import bsnn
from bsnn.cli.app import app
from bsnn.datasets import LOADERS, Dataset
from bsnn.networks import paper

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path):
    """Twelve images of three classes, each with a colour of its own."""
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for number, name in enumerate(("b", "a", "c")):
            place = tmp_path / "photos" / split / name
            place.mkdir(parents=True)
            for image in range(2):
                pixels = rng.integers(0, 256, (6, 8, 3), np.uint8)
                pixels[..., number] = 255
                Image.fromarray(pixels).save(place / f"{image}.png")
            (place / "notes.txt").write_text("no image")
    return tmp_path / "photos"


def test_a_folder_with_a_folder_for_each_class(folder):
    data = bsnn.datasets.load(str(folder), "train")
    assert data.classes == ("a", "b", "c")
    np.testing.assert_array_equal(data.labels, [0, 0, 1, 1, 2, 2])
    assert data.pixels.shape == (6, 3, 6, 8)
    assert (data.pixels[:2, 1] == 255).all()
    assert (data.pixels[2:4, 0] == 255).all()
    first = np.asarray(Image.open(folder / "train" / "a" / "0.png")).transpose(2, 0, 1)
    np.testing.assert_array_equal(data.pixels[0], first)
    assert data.images.max() == 1
    # a split that was named is taken, whatever is asked for
    again = bsnn.datasets.load(str(folder / "train"), "test")
    np.testing.assert_array_equal(again.pixels, data.pixels)


def test_images_are_scaled_and_cut(folder):
    data = bsnn.datasets.load(str(folder), "test", image_size=(3, 3))
    assert data.pixels.shape == (6, 3, 3, 3)
    image = Image.open(folder / "test" / "a" / "0.png").resize((4, 3), Image.Resampling.BILINEAR)
    expected = np.asarray(image.crop((0, 0, 3, 3))).transpose(2, 0, 1)
    np.testing.assert_array_equal(data.pixels[0], expected)
    grey = bsnn.datasets.load(str(folder), "test", channels=1)
    assert grey.pixels.shape == (6, 1, 6, 8)


def test_grey_images_among_coloured_ones(folder):
    Image.new("L", (8, 6), 7).save(folder / "test" / "a" / "grey.png")
    data = bsnn.datasets.load(str(folder), "test")
    assert data.pixels.shape == (7, 3, 6, 8)
    assert (data.pixels[2] == 7).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: Image.new("RGB", (5, 5)).save(f / "test/b/5.png"), "5x5 pixels.*--image-size"),
        (lambda f: (f / "test/b/5.png").write_bytes(b"nothing"), "5.png cannot be read"),
        (lambda f: Image.new("I;16", (8, 6)).save(f / "test/b/5.png"), "more than 8 bits"),
        (lambda f: [p.unlink() for p in f.glob("test/*/*.png")], "no images in folders"),
    ],
)
def test_folders_that_cannot_be_read(folder, change, message):
    change(folder)
    with pytest.raises(bsnn.DatasetError, match=message):
        bsnn.datasets.load(str(folder), "test")


def test_arrays_in_files(tmp_path):
    sample = bsnn.datasets.mnist_sample().first(20)
    path = tmp_path / "digits.npz"
    np.savez(path, images=sample.pixels[:, 0], labels=sample.labels)
    found = bsnn.datasets.load(str(path))
    np.testing.assert_array_equal(found.images, sample.images)
    np.testing.assert_array_equal(found.labels, sample.labels)
    np.savez(
        path, x_train=sample.images[:5].transpose(0, 2, 3, 1), y_train=sample.labels[:5, None],
        x_test=sample.images[5:], y_test=sample.labels[5:],
    )  # fmt: skip
    np.testing.assert_array_equal(bsnn.datasets.load(str(path), "train").images, sample.images[:5])
    np.testing.assert_array_equal(bsnn.datasets.load(str(path), "test").images, sample.images[5:])
    np.save(tmp_path / "digits.npy", sample.images)
    found = bsnn.datasets.load(str(tmp_path / "digits.npy"))
    assert found.labels is None
    np.testing.assert_array_equal(found.images, sample.images)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a": np.zeros(3)}, "holds a: name the arrays images and labels"),
        ({"images": np.zeros((3, 4, 4)), "labels": np.zeros(2, int)}, "one whole number"),
        ({"images": np.zeros((3, 4, 4)), "labels": np.zeros(3)}, "one whole number"),
        ({"images": np.zeros(3)}, "are an array of float64 of shape"),
        ({"images": np.array(["a"])}, "are an array of <U1"),
        ({"images": np.array([{}], object)}, "damaged|no file of arrays"),
        ({"images": np.zeros((0, 4, 4))}, "holds no images"),
    ],
)
def test_arrays_that_cannot_be_read(tmp_path, content, message):
    path = tmp_path / "data.npz"
    np.savez(path, **content)
    with pytest.raises(bsnn.DatasetError, match=f"(?i){message}"):
        bsnn.datasets.load(str(path))


def test_what_is_not_there(tmp_path, folder):
    with pytest.raises(bsnn.DatasetError, match=r"missing.npz does not exist"):
        bsnn.datasets.load(str(tmp_path / "missing.npz"))
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(bsnn.DatasetError, match="damaged"):
        bsnn.datasets.load(str(tmp_path / "broken.npz"))
    with pytest.raises(bsnn.UnknownNameError, match="Did you mean 'mnist'.*Or name a folder"):
        bsnn.datasets.load("mnits")
    with pytest.raises(bsnn.DatasetError, match="leave .*--data"):
        bsnn.datasets.load(str(folder), data=tmp_path)
    with pytest.raises(bsnn.DatasetError, match="leave image_size"):
        bsnn.datasets.load("mnist-sample", image_size=(3, 3))


@pytest.fixture
def registered():
    sample = bsnn.datasets.mnist_sample()

    def load(split):
        part = sample.first(20) if split == "train" else sample.first(10, 100)
        return (part.images, part.labels) if split == "train" else part

    bsnn.datasets.register("ours", load)
    yield sample
    del LOADERS["ours"]


def test_a_registered_data_set(registered):
    train, test = (bsnn.datasets.load("ours", split) for split in ("train", "test"))
    assert isinstance(train, Dataset)
    np.testing.assert_array_equal(train.images, registered.images[:20])
    np.testing.assert_array_equal(test.labels, registered.labels[100:110])
    with pytest.raises(bsnn.SettingsError, match="'ours' already"):
        bsnn.datasets.register("ours", lambda split: test)


def test_data_sets_and_loaders_are_taken_for_arrays(numpy_target):
    sample = bsnn.datasets.mnist_sample().first(12)
    graph = bsnn.load_graph(paper("lopez_randulfe_2022").SHIPPED["mnist_cnn"])
    tensors = TensorDataset(
        torch.from_numpy(sample.images).requires_grad_(), torch.from_numpy(sample.labels)
    )
    loader = DataLoader(tensors, batch_size=5)
    models = [bsnn.convert_to_ttfs(graph, i) for i in (sample.images, sample, loader)]
    assert models[0].scales == models[1].scales == models[2].scales
    expected = bsnn.simulate(models[0], sample.images, sample.labels, progress=False)
    for images in (sample, loader):
        found = bsnn.simulate(models[0], images, progress=False)
        np.testing.assert_array_equal(found.potentials, expected.potentials)
        np.testing.assert_array_equal(found.labels, sample.labels)
    with pytest.raises(bsnn.InputError, match="yields no images"):
        bsnn.simulate(models[0], DataLoader([]), progress=False)


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "mnist_cnn", "--device", "runtime"],
        ["run", "mnist_cnn", "--dry-run"],
        ["compare", "mnist_cnn"],
        ["report", "mnist_cnn", "--device", "runtime", "--browse", "1", "-o", "report.html"],
        ["convert", "mnist_cnn", "-o", "again.h5"],
        ["export", "mnist_cnn", "cpp", "-o", "project"],
    ],
    ids=lambda arguments: " ".join(arguments[:3:2]),
)
def test_commands_take_images_of_which_no_labels_are_known(
    arguments, tmp_path, monkeypatch, numpy_target
):
    monkeypatch.chdir(tmp_path)
    np.save("digits.npy", bsnn.datasets.mnist_sample().first(6).images)
    if arguments[0] == "export":
        arguments = ["export", "mnist_cnn", "--target", "cpp", "-o", "project"]
    found = CliRunner().invoke(app, [*arguments, "--dataset", "./digits.npy", "--images", "4"])
    assert found.exit_code == 0, found.exception or found.output


def test_the_page_about_own_data_runs_as_printed(tmp_path):
    """From a folder of PNG files to a report, by commands alone."""
    text = (ROOT / "tutorials" / "own-data.md").read_text()
    write_files, network = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (tmp_path / "digits.py").write_text(network)
    (commands,) = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
    subprocess.run([sys.executable, "-c", write_files], cwd=tmp_path, check=True)
    programs = {"python": [sys.executable], "bsnn": [sys.executable, "-m", "bsnn"]}
    outputs = {}
    for line in commands.splitlines():
        program, *arguments = line.removeprefix("$ ").split()
        found = subprocess.run(
            [*programs[program], *arguments], cwd=tmp_path, capture_output=True, text=True,
            check=False, env={**os.environ, "COLUMNS": "120"},
        )  # fmt: skip
        assert found.returncode == 0, line + found.stdout + found.stderr
        outputs[" ".join([program, *arguments[:1]])] = found.stdout
    accuracy = re.search(r"accuracy of the spiking network\s*│\s*([\d.]+)", outputs["bsnn run"])
    assert accuracy is not None
    assert float(accuracy.group(1)) > 75
    assert (tmp_path / "digits.html").stat().st_size > 10_000
