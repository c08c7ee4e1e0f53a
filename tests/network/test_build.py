"""The network as a Brian2 user meets it."""

from __future__ import annotations

import brian2 as b2
import numpy as np
import pytest
from brian2.devices.device import reset_device, runtime_device

import bsnn
from bsnn.devices import start, use_device

pytestmark = pytest.mark.usefixtures("numpy_target")


def test_objects_are_named_after_their_layers(small_cnn):
    model, _ = small_cnn()
    net = bsnn.build(model, monitors={"conv1": ["spikes", "u"], "fc2": "v", "pool1": "count"})
    assert list(net.groups) == ["input", "conv1", "pool1", "conv2", "pool2", "fc1", "fc2"]
    assert isinstance(net["conv1"], b2.NeuronGroup)
    assert net["conv1"].name == "conv1"
    assert net["conv1"] is net.network["conv1"]
    assert net.synapses["pool1_to_conv2"] is net.network["pool1_to_conv2"]
    assert isinstance(net.monitors["conv1"]["spikes"], b2.SpikeMonitor)
    assert isinstance(net.monitors["fc2"]["v"], b2.StateMonitor)
    assert all(obj.name == obj.name.lower() for obj in net.network.objects)
    assert "7 populations" in repr(net)


def test_unknown_names_are_refused(small_cnn):
    model, _ = small_cnn()
    net = bsnn.build(model)
    with pytest.raises(KeyError, match="no population 'conv9'; there are input, conv1"):
        net["conv9"]
    with pytest.raises(bsnn.BuildError, match="no variable 'w' to monitor. There are"):
        net.monitor("conv1", "w")
    with pytest.raises(bsnn.BuildError, match="does not spike"):
        net.monitor("fc2", "spikes")
    with pytest.raises(bsnn.UnknownNameError, match="no form of the neuron 'two-stage' 'best'"):
        bsnn.build(model, form="best")
    with pytest.raises(
        bsnn.UnknownNameError, match="no connectivity 'sparse'.* Known are shared, syn"
    ):
        bsnn.build(model, connectivity="sparse")
    with pytest.raises(bsnn.UnknownNameError, match="no precision 'float16'"):
        bsnn.build(model, precision="float16")
    with pytest.raises(bsnn.BuildError, match="at least one"):
        bsnn.build(model, images=0)


def test_time_needs_a_unit(small_cnn):
    model, _ = small_cnn()
    with pytest.raises(b2.DimensionMismatchError):
        bsnn.build(model, dt=0.001)


def test_duration(small_cnn):
    model, _ = small_cnn(steps=10)
    assert bsnn.build(model, images=3, dt=0.5 * b2.ms).duration == (2 + 4 + 1) * 5 * b2.ms
    trace = bsnn.build(model, images=3, form="trace")
    assert trace.duration == (2 * 2 + 4 + 1) * 10 * b2.ms


def test_own_objects_join_the_network(small_cnn):
    """A user's neurons listen to a layer, in plain Brian2."""
    steps = 3  # a name of the user's that must not meet one of the network's
    model, images = small_cnn(steps=6)
    net = bsnn.build(model, monitors={"conv2": "count"})
    listener = b2.NeuronGroup(
        1, "dv/dt = -v/(5*ms) : 1\nheard : 1", method="exact", clock=net.clock
    )
    ears = b2.Synapses(net["conv2"], listener, on_pre="v_post += 0.1\nheard_post += 1")
    ears.connect()
    net.network.add(listener, ears)
    net.present(images[:1])
    net.network.run(net.duration)
    count = int(np.sum(net.monitors["conv2"]["count"].count))
    assert count > 0
    assert listener.heard[0] == count
    assert steps == 3


def test_images_can_be_presented_again(small_cnn):
    model, images = small_cnn(steps=6)
    net = bsnn.build(model, images=2)
    net.network.store("fresh")
    found = []
    for pair in (images[:2], images[2:4], images[:2]):
        net.network.restore("fresh")
        net.present(pair)
        net.network.run(net.duration)
        found.append(net.read_potentials())
    np.testing.assert_array_equal(found[0], found[2])
    assert not np.allclose(found[0], found[1])


def test_images_that_do_not_fit(small_cnn):
    model, images = small_cnn()
    net = bsnn.build(model, images=2)
    with pytest.raises(bsnn.SimulationError, match="3 images were given to a network built for 2"):
        net.present(images[:3])
    with pytest.raises(bsnn.SimulationError, match="not divided"):
        net.present(images[:1] * 255)
    with pytest.raises(bsnn.GraphError, match="takes"):
        net.present(images[:1, :, :4])


def test_neuron_index(small_cnn):
    model, _ = small_cnn()
    net = bsnn.build(model)
    channels, height, width = model.populations["conv1"].shape
    position = (2, 5, 3)
    number = net.neuron_index("conv1", *position)
    assert number == (position[1] * width + position[2]) * channels + position[0]
    values = np.zeros((1, channels * height * width))
    values[0, number] = 1
    assert net.to_layer("conv1", values)[0][position] == 1


def test_potentials_are_in_the_units_of_the_trained_network(small_cnn):
    model, images = small_cnn(steps=200)
    net = bsnn.build(model)
    net.present(images[:1])
    net.network.run(net.duration)
    logits = model.graph.forward(images[:1])
    np.testing.assert_allclose(net.read_potentials(), logits, atol=0.05 * np.abs(logits).max())


def test_altered_equations_that_break_the_code_are_noticed(small_cnn):
    """A network whose neurons spike when they must not gives an error, not wrong counts."""
    model, images = small_cnn(steps=6)
    net = bsnn.build(model)
    net.record("conv1")
    net["conv1"].first_window = 0
    net.present(images[:1])
    net.network.run(net.duration)
    with pytest.raises(bsnn.SimulationError, match="outside their windows"):
        net.recorded("conv1")


def test_too_large_a_network_is_refused_before_it_is_built(small_cnn, monkeypatch):
    model, _ = small_cnn()

    class Memory:
        available = 100_000_000

    monkeypatch.setattr("bsnn.network.size.psutil.virtual_memory", Memory)
    with pytest.raises(bsnn.BuildError, match=r"connections need about .* GB with .*'shared'; 0.1"):
        bsnn.build(model)
    with pytest.raises(bsnn.BuildError, match=r"'synapses'; .*connectivity='shared' needs about"):
        bsnn.build(model, connectivity="synapses")
    images = np.zeros((1, *model.input.shape), np.float32)
    with pytest.raises(bsnn.BuildError, match="'shared' in 3 processes; 0.1 GB .* Fewer workers"):
        bsnn.simulate(model, images, workers=3)


def test_no_compiler(monkeypatch):
    monkeypatch.setattr("bsnn.devices.standalone.shutil.which", lambda _: None)
    with pytest.raises(bsnn.BuildError, match="needs a C\\+\\+ compiler"), use_device("cpp"):
        pass
    assert b2.get_device() is runtime_device


def test_the_device_is_given_back(small_cnn, tmp_path):
    before = b2.get_device()
    with pytest.raises(RuntimeError, match="user"), use_device("cpp", tmp_path):
        raise RuntimeError("the user's")
    assert b2.get_device() is before
    with pytest.raises(bsnn.UnknownNameError, match="no device 'gpu'"):
        use_device("gpu")
    with use_device("cpp", tmp_path), pytest.raises(bsnn.BuildError, match="active already"):
        use_device("runtime")


def test_a_device_that_builds_at_the_first_run_is_refused(small_cnn, tmp_path):
    model, _ = small_cnn()
    b2.set_device("cpp_standalone", directory=str(tmp_path))
    try:
        net = bsnn.build(model)
        with pytest.raises(bsnn.BuildError, match="build_on_run=False"):
            start(net)
    finally:
        b2.device.reinit()
        b2.device.activate()
        reset_device()
