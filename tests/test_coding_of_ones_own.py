"""A coding that is defined here, and of which no file of bsnn knows.

Phase coding with binary weights (Kim et al. 2018): a value is a whole number of as many bits as a
window has steps, and a spike in step k stands for the bit of weight ``2**-(k + 1)``. A population
adds up, in the window of the one before, what arrives; in the next window its neurons spike for the
bits of what they have reached.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import brian2 as b2
import numpy as np
import pytest
import torch
from targets import RUNTIME_TARGETS
from torch import nn

import bsnn
from bsnn.analysis.report import report_html, write_report
from bsnn.brian import WindowRecorder
from bsnn.conversion import CODINGS, CONVERTERS, Decoded, SpikingModel, register_coding
from bsnn.conversion.populations import populations
from bsnn.devices import use_code_target
from bsnn.explain.cost import spiking_cost
from bsnn.explain.recording import record
from bsnn.network import (
    NEURAL_CODES,
    WINDOW_MODEL,
    NeuralCode,
    NeuronModel,
    connect,
    follow_schedule,
)

BITS = 5


@register_coding
@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class PhaseModel(SpikingModel):
    """A trained network whose values are the bits of whole numbers."""

    coding = "phase"
    title = "phase coding"
    read_outs = ("potential",)
    pipelined = True
    timed = True
    read_each_step = False

    def spikes(self, name):
        return self.populations[name].role != "read_out"

    def encode(self, images):
        return self.bits(self.input.name, self.check_images(images))

    def bits(self, name, values):
        """Return values as whole numbers."""
        levels = 2**self.steps
        return np.clip(np.floor(values / self.scales[name] * levels), 0, levels - 1)

    def decode(self, name, recorded):
        return recorded * (self.scales[name] / 2**self.steps)

    def count_spikes(self, recorded):
        return sum(recorded >> bit & 1 for bit in range(self.steps))

    def spike_worth(self, steps):
        return 2 ** (self.steps - 1 - steps)

    def reference(self, images, *, seed=0, streams=None, dtype=np.float64, tick=None):
        known = {self.graph.input.name: np.asarray(images, dtype)}
        values = {}
        for name, population in self.populations.items():
            value = self.graph.evaluate(population.potential_layer, known)
            if self.spikes(name):
                value = self.decode(name, self.bits(name, value))
            values[name] = known[population.layer] = value
        return Decoded(values, value.reshape(len(images), -1).argmax(axis=1))

    def check_pixels(self, extremes):
        if not 0 <= extremes.min() <= extremes.max() <= self.scales[self.input.name]:
            raise bsnn.InputError("pixels lie from 0 to the scale of the input")

    def expected_spikes(self, images):
        values = self.reference(self.check_images(images)).values
        return {
            name: self.count_spikes(self.bits(name, values[name]).astype(int)).sum() / len(images)
            for name in self.populations
            if self.spikes(name)
        }

    def conversion_tree(self):
        return {"steps": self.steps, "scales": self.scales}

    @classmethod
    def fields_from_tree(cls, tree):
        return {"steps": tree["steps"], "scales": dict(tree["scales"])}

    def conversion_options(self):
        return {"steps": self.steps}


def convert_to_phase(
    graph, images, *, steps=BITS, norm="percentile", percentile=100.0, source=None
):
    exact = graph.activations(images)
    scales = {}
    for name, population in populations(graph).items():
        values = exact[population.layer]
        scales[name] = float(np.percentile(values[values > 0], percentile))
    return PhaseModel(
        graph=graph, steps=steps, scales=scales, read_out="potential", norm=norm,
        calibration={"images": len(images)}, source=source or {},
    )  # fmt: skip


CONVERTERS.add("phase", convert_to_phase)


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class PhaseNeuron(NeuronModel):
    coding = "phase"
    forms = ("neuron-group",)


bsnn.register_neuron(PhaseNeuron(name="phase", about="spikes for the bits of its potential"))


class PhaseCode(NeuralCode):
    forms = ("neuron-group",)
    default_neuron = "phase"

    def shortest_interval(self, net):
        # one membrane holds one image at a time
        return 2

    def build(self, net):
        for name, population in net.model.populations.items():
            spikes = net.model.spikes(name)
            group = net.groups[name] = b2.NeuronGroup(
                net.group_size(name),
                WINDOW_MODEL
                + """
                v : 1
                rest : 1 (constant)
                v_th : 1 (shared, constant)
                code : integer
                significance = 2.0**(-1 - window_step) : 1 (shared)
                """,
                threshold="spiking_stage == 1 and v >= v_th*significance" if spikes else None,
                reset="v -= v_th*significance; code += int(2**(window_steps - 1 - window_step))"
                if spikes
                else None,
                clock=net.clock,
                name=net.label(name),
                namespace={"image_values": net.image_values},
                dtype=net.dtype,
            )
            net.network.add(group)
            follow_schedule(net, name)
            group.v_th = net.model.scales[name]
            if population.role == "input":
                start = "v = v_th*image_values((t_in_timesteps - start_step)*dt + 0.5*dt, i)"
                start += "*2.0**-window_steps"
            else:
                # the window before that in which it spikes is the one in which it adds up
                start = "v = int(spiking_stage == 0)*rest + int(spiking_stage == 1)*v"
                rest = net.model.projections[name].bias
                net.initial_values({"rest": rest, "v": rest}, name)
            at_start = start.replace("v = ", "v = int(window_step > 0)*v + int(window_step == 0)*(")
            group.run_regularly(
                f"{at_start})\ncode = int(window_step > 0)*code",
                when="before_thresholds", clock=net.clock, name=f"{group.name}_window_start",
            )  # fmt: skip
            for path in population.projections:
                connect(net, population, path, "v_post += w*significance_post")

    def recorder(self, net, name):
        schedule = net.schedule
        return WindowRecorder(
            net[name], "code", dtype=np.int32, origin=net.origin, name=net.label(f"{name}_codes"),
            window_steps=schedule.image_steps, windows=net.rounds,
            first_step=schedule.first_step(name) + schedule.steps - 1,
        )  # fmt: skip

    def read_out(self, net, name, label):
        return WindowRecorder(
            net[name], "v", when="after_thresholds", origin=net.origin, name=label,
            window_steps=net.schedule.image_steps, windows=net.rounds,
            first_step=net.schedule.first_step(name),
        )  # fmt: skip


NEURAL_CODES.add("phase", PhaseCode())


@pytest.fixture(scope="module")
def network():
    """Model, images and labels."""
    torch.manual_seed(3)
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(4, 6, 2), nn.ReLU(),
        nn.Flatten(), nn.Linear(6 * 4, 5),
    )  # fmt: skip
    graph = bsnn.from_torch(net, (2, 6, 6))
    images = np.random.default_rng(1).random((12, 2, 6, 6), dtype=np.float32)
    model = bsnn.convert(graph, images, coding="phase", steps=BITS)
    with torch.no_grad():
        labels = net(torch.as_tensor(images)).argmax(dim=1).numpy()
    return model, images, labels


def bits_of(values, scale):
    """Return step by step which values spike, by comparing and subtracting."""
    left, raster = values.reshape(len(values), -1).copy(), []
    for step in range(BITS):
        part = scale * 2.0 ** -(step + 1)
        raster.append(left >= part)
        left -= part * raster[-1]
    return np.array(raster)


def assert_reference(net, images, loops=1):
    """Compare each spike, and the read-out, with the reference, which knows no steps."""
    model, count = net.model, len(images)
    expected = model.reference(images.astype(np.float64))
    for name, population in model.populations.items():
        if not model.spikes(name):
            continue
        known = bits_of(expected.values[name] + 1e-12, model.scales[name])
        neurons, steps = net.recorded_spikes(name)
        raster = np.zeros((net.schedule.total_steps(count), population.size), bool)
        raster[steps, neurons] = True
        for number in range(count):
            first = net.schedule.first_step(name) + number * net.schedule.image_steps
            found = raster[first : first + BITS]
            order = net.to_neurons(name, np.arange(population.size))
            np.testing.assert_array_equal(found, known[:, number][:, order])
            raster[first : first + BITS] = False
        assert not raster.any()
        np.testing.assert_allclose(
            model.decode(name, net.recorded(name)[:count]), expected.values[name], rtol=1e-6
        )
    np.testing.assert_allclose(
        net.read_potentials()[:count], expected.values[model.output.name], rtol=1e-5, atol=1e-6
    )


def built(model, images, **options):
    net = bsnn.build(model, images=len(images), **options)
    for name in model.populations:
        if model.spikes(name):
            net.monitor(name, "spikes")
            net.record(name)
    net.record_read_out()
    net.present(images)
    return net


def test_it_is_saved_and_loaded(network, tmp_path):
    model, images, _ = network
    model.save(tmp_path / "phase.h5")
    again = bsnn.load_model(tmp_path / "phase.h5")
    assert type(again) is CODINGS["phase"]
    assert again.scales == model.scales
    np.testing.assert_array_equal(
        again.reference(images).values["fc1"], model.reference(images).values["fc1"]
    )


@pytest.mark.parametrize("target", RUNTIME_TARGETS)
@pytest.mark.parametrize("connectivity", ["shared", "synapses"])
def test_spikes_are_those_of_the_reference(network, target, connectivity):
    model, images, _ = network
    with use_code_target(target):
        net = built(model, images[:3], connectivity=connectivity)
        net.network.run(net.duration)
        assert_reference(net, images[:3])


def test_spikes_in_cpp_are_those_of_the_reference(network, cpp_standalone):
    model, images, _ = network
    net = built(model, images[:3])
    net.network.run(net.duration)
    cpp_standalone()
    assert_reference(net, images[:3])


def test_the_loop_that_every_user_writes(network):
    model, images, _ = network
    net = built(model, images[:1])
    for k in range(3):
        net.present(images[k : k + 1])
        net.network.run(net.duration)
        assert_reference(net, images[k : k + 1])


def test_it_is_simulated(network):
    model, images, labels = network
    alone = bsnn.simulate(model, images, labels, device="runtime", chunk=5, progress=False)
    shared = bsnn.simulate(
        model, images, labels, device="runtime", workers=2, batch=3, progress=False
    )
    expected = model.reference(images.astype(np.float64))
    for result in (alone, shared):
        np.testing.assert_array_equal(result.predictions, expected.classes)
        for name, population in result.populations.items():
            if population.spikes is not None:
                known = bits_of(expected.values[name] + 1e-12, model.scales[name])
                np.testing.assert_array_equal(population.spikes, known.sum(axis=(0, 2)))
    assert alone.summary()["coding"] == "phase"
    assert alone.ann_accuracy == 1


def test_it_is_swept(network):
    model, images, labels = network
    axes = [bsnn.Axis("steps", [2, 5]), bsnn.Axis("weight_bits", [3, 12])]
    found = bsnn.sweep(model, images[:6], labels[:6], axes, device="runtime", progress=False)
    assert found.done == found.runs == 4
    for point in found.points:
        if point.values["weight_bits"] == 12:
            changed = dataclasses.replace(model, steps=int(point.values["steps"]))
            classes = changed.reference(images[:6].astype(np.float64)).classes
            assert abs(point.accuracy - (classes == labels[:6]).mean()) <= 1 / 6


def test_it_is_compared_with_causes(network):
    model, images, labels = network
    coarse = dataclasses.replace(model, steps=2)
    found = bsnn.compare(coarse, images, labels, progress=False)
    assert found.coding == "phase"
    assert found.cause in [stage.cause for stage in found.stages]
    for name, layer in found.layers.items():
        parts = sum(cause.contribution for cause in layer.causes.values())
        assert parts == pytest.approx(layer.rmse), name
    finer = bsnn.compare(dataclasses.replace(model, steps=12), images, labels, progress=False)
    assert finer.verdict == "good"
    output = model.output.name
    assert finer.layers[output].relative_error < 0.1 * found.layers[output].relative_error


def test_what_it_does_not_offer_is_refused(network):
    model, images, _ = network
    neurons = b2.PoissonGroup(model.input.size, 1 * b2.Hz)
    for call in (
        lambda: bsnn.build(model, source=neurons),
        lambda: bsnn.build(model, synapses={"*": "short-term"}),
        lambda: bsnn.refit_thresholds(model, images),
        lambda: bsnn.build(model, perturbations={"jitter": 1.0}),
        lambda: bsnn.build(model, neuron="lif"),
    ):
        with pytest.raises(bsnn.BsnnError, match=r"phase|jitter"):
            call()
    with pytest.raises(bsnn.ConversionError, match="phase"):
        bsnn.to_nir(model)
    with pytest.raises(bsnn.UnknownNameError, match="step"):
        bsnn.convert(model.graph, images, coding="phase", stepps=3)
    with pytest.raises(bsnn.UnknownNameError, match="phase"):
        bsnn.convert(model.graph, images, coding="phases")


def test_it_is_reported_with_its_cost(network, tmp_path):
    model, images, labels = network
    result = bsnn.simulate(model, images, labels, device="runtime", progress=False)
    cost = spiking_cost(model, result)
    spikes = sum(
        population.spikes.mean()
        for population in result.populations.values()
        if population.spikes is not None
    )
    assert cost.spikes == pytest.approx(spikes)
    recording = record(model, images[:2])
    expected = model.reference(images[:2].astype(np.float64)).values
    for name in recording.spikes:
        np.testing.assert_allclose(recording.values(name), expected[name], rtol=1e-6)
    comparison = bsnn.compare(model, images, labels, progress=False)
    page = report_html(
        result, title="phases", model=model, recording=recording, labels=labels[:2],
        comparison=comparison, cost=cost,
    )  # fmt: skip
    write_report(tmp_path / "report.html", page)
    assert "phase coding" in page
    # hidden neurons, of whose threshold nothing is known, are not drawn as a read-out
    assert page.count("silent stage, then read out") == 1


def test_commands_know_it(command_line):
    torch.manual_seed(4)
    net = nn.Sequential(
        nn.Conv2d(1, 3, 4, stride=4), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 49, 10)
    )
    sample = bsnn.datasets.mnist_sample()
    images = sample.images[:20]
    model = bsnn.convert(bsnn.from_torch(net, (1, 28, 28)), images, coding="phase", steps=8)
    model.save("phase.h5")
    shown = ("--dataset", "mnist-sample", "--images", 4)
    here = ("--device", "runtime")
    for command in (
        ("info", "phase.h5"),
        ("run", "phase.h5", *shown, *here, "--json", "run.json", "--out", "result.h5"),
        ("compare", "phase.h5", *shown),
        ("sweep", "phase.h5", "--vary", "steps=2,4", *shown, *here, "--out", "sweep.json"),
        ("report", "phase.h5", *shown, *here, "--browse", 2, "-o", "report.html"),
        ("report", "result.h5", "-o", "result.html"),
        ("export", "phase.h5", *shown, "--target", "cpp", "--out", "project"),
    ):
        status, out, err = command_line(*command)
        assert status == 0, f"{command}: {out} {err}"
    expected = model.reference(images[:4].astype(np.float64))
    found = bsnn.load_result("result.h5")
    np.testing.assert_array_equal(found.predictions, expected.classes)
    assert json.loads(Path("run.json").read_text())["coding"] == "phase"
    assert json.loads(Path("project/network.json").read_text())["coding"] == "phase"


def test_an_exported_project_gives_the_reference(network, tmp_path):
    model, images, labels = network
    folder = bsnn.export(model, images, labels, directory=tmp_path / "project", target="cpp")
    subprocess.run(["make", "run"], cwd=folder, check=True, capture_output=True)
    read = [sys.executable, "read_results.py"]
    found = subprocess.run(read, cwd=folder, check=True, capture_output=True, text=True)
    assert "accuracy" in found.stdout
