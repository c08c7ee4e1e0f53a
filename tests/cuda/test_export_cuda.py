"""Exported projects: what they compute, and that all networks of the papers compile."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("brian2cuda", reason="brian2cuda is not installed: make test-cuda installs it")

from projects import NO_DRIVER, emulate, has_nvcc, linkable_curand

import bsnn
from bsnn.networks import PAPERS, paper
from bsnn.networks.sengupta_2019.residual_architectures import with_junction_relus

NETWORKS = {
    f"{name}-{network}": path
    for name in PAPERS
    for network, path in {
        **paper(name).SHIPPED,
        **getattr(paper(name), "ARCHITECTURES", {}),
    }.items()
}
#: Have the same code as another one; only arrays differ.
SAME_CODE = {"lopez_randulfe_2022-mnist_cnn_sparse": "lopez_randulfe_2022-mnist_cnn"}


def load(name: str) -> bsnn.SpikingModel:
    """Return a network with few steps; one that was only trained is converted."""
    try:
        model = bsnn.load_model(NETWORKS[name])
    except bsnn.StorageError:
        graph = with_junction_relus(bsnn.load_graph(NETWORKS[name]))
        images = np.random.default_rng(0).random((2, *graph.input.shape), dtype=np.float32)
        model = bsnn.convert_to_rate(graph, images, norm="data-based", residual="unequal")
    return dataclasses.replace(model, steps=8)


def some_images(model, count: int) -> np.ndarray:
    rng = np.random.default_rng(1)
    return rng.random((count, *model.graph.input.shape), dtype=np.float32)


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


def compile_and_link(folder, scratch) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "ARCH=sm_80 sm_90", f"CURAND={linkable_curand(scratch)}",
         # the time of the test counts, and nothing is run
         "NVCCFLAGS=-O0 -Xcicc -O0 -Xptxas -O0"],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    )  # fmt: skip


@pytest.mark.skipif(not has_nvcc(), reason="nvcc is not installed")
@pytest.mark.parametrize("name", [name for name in NETWORKS if name not in SAME_CODE])
def test_every_network_compiles_and_links(tmp_path, name):
    """For two generations of GPUs; without a GPU the program comes as far as asking for it."""
    model = load(name)
    folder = bsnn.export(
        model, some_images(model, 2), directory=tmp_path / "project", target="cuda", batch=2
    )
    made = compile_and_link(folder, tmp_path)
    assert made.stdout.count("-gencode arch=compute_80,code=sm_80") >= 2
    assert made.stdout.count("-gencode arch=compute_90,code=sm_90") >= 2
    run = subprocess.run(["./main"], cwd=folder, capture_output=True, text=True)
    assert run.returncode == 0 or NO_DRIVER.fullmatch(run.stderr)


@pytest.mark.parametrize(("name", "other"), SAME_CODE.items())
def test_networks_that_have_the_same_code(tmp_path, name, other):
    texts = []
    for number, one in enumerate((name, other)):
        model = load(one)
        folder = bsnn.export(
            model, some_images(model, 2), directory=tmp_path / str(number), target="cuda"
        )
        texts.append({p.name: p.read_text() for p in folder.glob("code_objects/*.cu")})
    assert texts[0] == texts[1]
