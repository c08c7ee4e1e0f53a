"""An exported project: what it computes."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("brian2cuda", reason="brian2cuda is not installed: make test-cuda installs it")

from projects import emulate

import bsnn
from bsnn.networks import paper


def test_an_exported_project_gives_the_results_of_simulate(tmp_path):
    model = bsnn.load_model(paper("lopez_randulfe_2022").SHIPPED["mnist_cnn"])
    model = dataclasses.replace(model, steps=8)
    images = bsnn.datasets.mnist_sample().images[:5]
    labels = bsnn.datasets.mnist_sample().labels[:5]
    folder = bsnn.export(
        model, images, labels, directory=tmp_path / "project", target="cuda", batch=2
    )
    emulate(folder, [])
    # as the Makefile starts it, which would have it compiled by nvcc
    (command,) = re.findall(r"^\t\./(main .*) >", (folder / "Makefile").read_text(), re.MULTILINE)
    (folder / "results").mkdir(exist_ok=True)
    subprocess.run(["./main", *command.split()[1:]], cwd=folder, check=True, capture_output=True)
    said = subprocess.run(
        [sys.executable, folder / "read_results.py"], check=True, capture_output=True, text=True
    ).stdout
    expected = bsnn.simulate(model, images, labels, device="runtime", progress=False)
    assert f"accuracy: {100 * expected.accuracy:.2f} %" in said
    with np.load(folder / "results.npz") as found:
        np.testing.assert_array_equal(found["predictions"], expected.predictions)
        np.testing.assert_allclose(found["values"], expected.potentials, rtol=1e-9)
        for name, population in expected.populations.items():
            if population.spikes is not None:
                np.testing.assert_array_equal(found[f"spikes_{name}"], population.spikes)
