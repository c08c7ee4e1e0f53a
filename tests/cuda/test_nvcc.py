"""That nvcc compiles and links all kinds of code, exported projects, and the papers' networks.

Headers are most of what it reads: `make test` has it compile two projects that have all kinds.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

pytest.importorskip("brian2cuda", reason="brian2cuda is not installed: make test-cuda installs it")

import scenes
from projects import (
    NO_DRIVER,
    compile_exported,
    compile_for_gpu,
    generate,
    has_nvcc,
    simulate,
    spikes,
)
from test_neurons_cuda import CASES
from test_simulate_cuda import images, shipped

import bsnn
from bsnn.gpu_check.models import rate_model, small_cnn, ttfs_model
from bsnn.network import SHORT_TERM
from bsnn.networks import PAPERS, paper
from bsnn.networks.sengupta_2019.residual_architectures import with_junction_relus

with_nvcc = pytest.mark.skipif(not has_nvcc(), reason="nvcc is not installed")

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


def make_all_kinds():
    """The scene, and what networks have apart from it: disturbed spikes, synapses with delays."""
    net, monitors, groups = scenes.make()
    options = {"images": 2, "batch": 2, "dt": scenes.DT, "precision": "float32"}
    disturbed = bsnn.build(
        ttfs_model(small_cnn, "ttfs_"), perturbations=CASES["ttfs"][1]["perturbations"], **options
    )
    delayed = bsnn.build(
        rate_model(small_cnn, "rate_"),
        # what Brian2CUDA does with delays that differ cannot be emulated
        synapses={"rate_fc": SHORT_TERM.with_delay("1*ms + 2*ms*uniform_late")},
        **options,
    )
    net.add(disturbed.network.objects, delayed.network.objects)
    return net, monitors, groups


@with_nvcc
def test_all_kinds_of_code(tmp_path):
    """Where there is a GPU, what it computes is compared as well."""
    project = generate(tmp_path / "project", make_all_kinds)
    run = compile_for_gpu(project)
    if run.returncode == 0:
        found, expected = project.read(), simulate()
        for group in [name.removesuffix(" i") for name in expected if name.endswith(" i")]:
            assert spikes(found, group) == spikes(expected, group), group
        return
    # without a GPU a program comes as far as asking for it
    assert NO_DRIVER.fullmatch(run.stderr)


@with_nvcc
def test_an_exported_project(tmp_path):
    """Neurons that are integrated and disturbed, in float32."""
    network, options = CASES["rate"]
    folder = bsnn.export(
        shipped(*network), images(2), directory=tmp_path / "project", target="cuda",
        precision="float32", **options,
    )  # fmt: skip
    compile_exported(folder, tmp_path)


@pytest.mark.long
@with_nvcc
@pytest.mark.parametrize("name", [name for name in NETWORKS if name not in SAME_CODE])
def test_every_network_compiles_and_links(tmp_path, name):
    model = load(name)
    folder = bsnn.export(
        model, some_images(model, 2), directory=tmp_path / "project", target="cuda", batch=2
    )
    compile_exported(folder, tmp_path)


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
