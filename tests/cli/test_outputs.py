"""What a command would write is checked before it works; models that come with bsnn have names."""

from __future__ import annotations

import json
import os
import stat
import threading

import pytest
from typer.testing import CliRunner

import bsnn
from bsnn.cli.app import app
from bsnn.errors import StorageError
from bsnn.networks import paper
from bsnn.storage import check_file, check_folder, replacing, shipped_models

MODEL = str(paper("lopez_randulfe_2022").SHIPPED["mnist_cnn"])


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["run", MODEL, "--out"], "result.h5"),
        (["run", MODEL, "--json"], "figures.json"),
        (["run", MODEL, "--plot"], "plot.png"),
        (["convert", MODEL, "-o"], "model.h5"),
        (["compare", MODEL, "--json"], "figures.json"),
        (["report", MODEL, "-o"], "page.html"),
        (["sweep", MODEL, "-o"], "sweep.json"),
        (["refit", MODEL, "-o"], "model.h5"),
        (["demo", "--out"], "figure.png"),
        (["info", MODEL, "--json"], "figures.json"),
        (["nir", "export", MODEL, "-o"], "model.nir"),
    ],
)
def test_files_that_cannot_be_written_are_refused_at_once(arguments, named, tmp_path):
    path = tmp_path / "missing" / named
    found = CliRunner().invoke(app, [*arguments, str(path)])
    assert isinstance(found.exception, StorageError)
    assert f"{path} cannot be written: {path.parent} does not exist" in str(found.exception)
    found = CliRunner().invoke(app, [*arguments, str(tmp_path)])
    assert "it is a folder" in str(found.exception)


@pytest.mark.parametrize(
    "arguments", [["export", MODEL, "cpp", "-o"], ["train", "nguyen_2020", "-o"]]
)
def test_folders_that_cannot_be_made_are_refused_at_once(arguments, tmp_path):
    (tmp_path / "file").write_text("")
    found = CliRunner().invoke(app, [*arguments, str(tmp_path / "file" / "folder")])
    assert found.exit_code != 0
    assert "is no folder" in str(found.exception) or found.exit_code == 2


def test_links_are_followed_and_pipes_written_to(tmp_path):
    real, link = tmp_path / "real.txt", tmp_path / "link.txt"
    real.write_text("old")
    link.symlink_to(real)
    with replacing(link) as temporary:
        temporary.write_text("new")
    assert link.is_symlink()
    assert real.read_text() == "new"
    pipe, read = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    check_file(pipe)
    with replacing(pipe) as temporary:
        temporary.write_text("through")
    reader.join(10)
    assert read == ["through"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.txt", "pipe", "real.txt"]


def test_checks_leave_nothing_behind(tmp_path):
    check_file(tmp_path / "new.h5")
    check_folder(tmp_path / "a" / "b")
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").write_text("kept")
    check_file(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "kept"


def test_figures_are_printed():
    found = CliRunner().invoke(app, ["info", MODEL, "--json", "-"])
    assert found.exit_code == 0
    assert json.loads(found.stdout[found.stdout.index("\n{\n") :])["parameters"] > 0


def test_models_that_come_with_bsnn_have_names(tmp_path, monkeypatch):
    names = shipped_models()
    assert names["mnist_cnn"] == names["lopez_randulfe_2022/mnist_cnn"]
    for name, path in names.items():
        assert path.is_file(), name
    expected = bsnn.load_model(MODEL)
    assert bsnn.load_model("mnist_cnn").scales == expected.scales
    assert bsnn.load_graph("lopez_randulfe_2022/mnist_cnn").output == expected.graph.output
    monkeypatch.chdir(tmp_path)
    # a file of that name is that file
    (tmp_path / "mnist_cnn").write_text("no model")
    with pytest.raises(StorageError, match="not a readable HDF5 file"):
        bsnn.load_model("mnist_cnn")
    with pytest.raises(StorageError, match="neither a file nor a model.*: .*vgg16"):
        bsnn.load_model("vgg15")
    found = CliRunner().invoke(app, ["info"])
    assert found.exit_code == 0
    for name in names:
        assert "/" in name or name in found.output
    found = CliRunner().invoke(
        app, ["run", "mnist_cnn_sparse", "--dataset", "mnist-sample", "--images", "3", "--dry-run"]
    )
    assert found.exit_code == 0
