"""`simulate` on CUDA, from the model to the result, with programs that run on the CPU."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import brian2 as b2
import numpy as np
import pytest
from brian2.devices.device import reset_device

pytest.importorskip("brian2cuda", reason="brian2cuda is not installed: make test-cuda installs it")

from projects import cuda_standalone

import bsnn
from bsnn.devices import start
from bsnn.networks import paper


def shipped(name: str, network: str, steps: int) -> bsnn.SpikingModel:
    return dataclasses.replace(bsnn.load_model(paper(name).SHIPPED[network]), steps=steps)


def images(count: int) -> np.ndarray:
    return bsnn.datasets.mnist_sample().images[:count]


def assert_same(found: bsnn.Result, expected: bsnn.Result) -> None:
    np.testing.assert_array_equal(found.predictions, expected.predictions)
    np.testing.assert_allclose(found.potentials, expected.potentials, rtol=1e-9, atol=1e-9)
    for name, population in expected.populations.items():
        if population.spikes is not None:
            assert population.spikes.sum() > 0
            np.testing.assert_array_equal(found.populations[name].spikes, population.spikes)


@pytest.mark.usefixtures("emulated_gpu")
@pytest.mark.parametrize(
    ("name", "network", "steps"),
    [("lopez_randulfe_2022", "mnist_cnn", 8), ("nguyen_2020", "mnist", 10)],
)
def test_shipped_networks(name, network, steps):
    """Two runs of one binary, of three images side by side, and one place that stays empty."""
    model = shipped(name, network, steps)
    expected = bsnn.simulate(model, images(5), device="runtime", progress=False)
    found = bsnn.simulate(model, images(5), device="cuda", chunk=3, progress=False)
    assert found.device == "cuda"
    assert_same(found, expected)


def test_a_gpu_that_is_too_small_is_refused(gpu_of):
    gpu_of(700)
    model = shipped("lopez_randulfe_2022", "mnist_cnn", 8)
    with pytest.raises(
        bsnn.BuildError, match=r"needs about \d\.\d GB on the GPU.*0\.7 GB are free"
    ):
        bsnn.simulate(model, images(500), device="cuda", progress=False)


def test_without_a_gpu_nothing_is_built(tmp_path, gpu_of):
    gpu_of(1)
    (tmp_path / "driver" / "bin" / "nvidia-smi").write_text(
        "#!/bin/sh\necho No devices were found\nexit 6\n"
    )
    model = shipped("lopez_randulfe_2022", "mnist_cnn", 8)
    with pytest.raises(bsnn.BuildError) as error:
        bsnn.simulate(model, images(1), device="cuda", progress=False)
    assert "No devices were found" in str(error.value)


def test_names_in_upper_case_are_refused():
    """Values that a run is given for them would not be found; layers cannot have such names."""
    model = shipped("lopez_randulfe_2022", "mnist_cnn", 8)
    for probe in (
        b2.NeuronGroup(3, "x : 1", name="Probe"),
        b2.NeuronGroup(3, "Rate : 1", name="probe"),
    ):
        with cuda_standalone() as device:
            net = bsnn.build(model)
            net.network.add(probe)
            with pytest.raises(bsnn.BuildError, match=r"Probe is not|probe\.Rate is not"):
                start(net)
            assert not device.code_objects


def test_another_step_than_that_of_defaultclock_is_refused():
    model = shipped("lopez_randulfe_2022", "mnist_cnn", 8)
    with cuda_standalone():
        with pytest.raises(bsnn.BuildError, match="defaultclock"):
            bsnn.build(model, dt=3 * b2.ms)
        b2.defaultclock.dt = 3 * b2.ms
        assert bsnn.build(model, dt=3 * b2.ms).clock.dt == 3 * b2.ms


@pytest.mark.usefixtures("emulated_gpu")
def test_the_page_about_the_gpu(tmp_path, monkeypatch, capsys):
    """Its script runs as printed, and leaves the device active, as a script does."""
    page = Path(__file__).parents[2] / "tutorials" / "gpu.md"
    (code,) = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    before = {name: b2.prefs[name] for name in b2.prefs}
    try:
        exec(compile(code, str(page), "exec"), {"__name__": "__main__"})
    finally:
        b2.device.reinit()
        b2.device.activate()
        reset_device()
        for name, value in before.items():
            b2.prefs[name] = value
    said = capsys.readouterr().out
    assert "Emulated GPU, compute capability 9.0" in said
    assert re.search(r"accuracy of the spiking network +100.00 %", said)
