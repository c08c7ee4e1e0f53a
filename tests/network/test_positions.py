"""Neurons addressed by where they stand, and networks side by side in one `brian2.Network`."""

from __future__ import annotations

import dataclasses
import gc
import logging
import warnings

import brian2 as b2
import numpy as np
import pytest
from rate_networks import MaxCnn, make_rate_model

import bsnn

SHAPE = (2, 9, 8)


@pytest.fixture(scope="module")
def rate_cnn():
    return make_rate_model(MaxCnn(), SHAPE, steps=20)[0]


@pytest.fixture(params=["rate", "ttfs"])
def model(request, rate_cnn, small_cnn):
    return rate_cnn if request.param == "rate" else small_cnn()[0]


@pytest.mark.parametrize("batch", [1, 3])
def test_each_neuron_knows_its_place(model, batch):
    net = bsnn.build(model, images=batch, batch=batch)
    for name, population in model.populations.items():
        group, size = net[name], population.size
        if len(population.shape) == 3:
            places = np.stack([group.channel[:], group.y[:], group.x[:]], axis=1)
        else:
            places = group.unit[:].reshape(-1, 1)
        at = [net.neuron_position(name, neuron) for neuron in range(batch * size)]
        np.testing.assert_array_equal(places, at)
        assert [net.neuron_index(name, *place) for place in at[:size]] == list(range(size))
        assert ("image" in group.variables) == (batch > 1)
        if batch > 1:
            np.testing.assert_array_equal(group.image[:], np.arange(batch * size) // size)
        with pytest.raises(IndexError, match="and no"):
            net.neuron_position(name, batch * size)


def test_places_are_read_only(rate_cnn):
    net = bsnn.build(rate_cnn)
    name = next(name for name, p in rate_cnn.populations.items() if len(p.shape) == 3)
    with pytest.raises(TypeError, match="read-only"):
        net[name].x = 0
    np.testing.assert_array_equal(
        net[name].y["x == 2 and channel == 0"], np.arange(rate_cnn.populations[name].shape[1])
    )


def test_lateral_inhibition_by_place_is_that_of_a_plain_script(rate_cnn, run):
    """Neighbours of a feature map inhibit one another; the same with indices made by numpy."""
    name = "conv1"
    channels, rows, columns = rate_cnn.populations[name].shape
    found = {}
    images = np.random.default_rng(1).random((1, *SHAPE), dtype=np.float32)
    nets = {way: bsnn.build(rate_cnn, name=way, monitors={name: "spikes"}) for way in "ab"}
    both = b2.Network()
    for way, net in nets.items():
        group = net[name]
        lateral = b2.Synapses(group, group, on_pre="v_post -= 0.05", name=f"lateral_{way}")
        if way == "a":
            lateral.connect(
                "abs(x_pre - x_post) < 2 and abs(y_pre - y_post) < 2 and i != j"
                " and channel_pre == channel_post"
            )
        else:
            place = np.arange(channels * rows * columns).reshape(rows, columns, channels)
            pairs = [
                (place[y, x, c], place[other_y, other_x, c])
                for y in range(rows)
                for x in range(columns)
                for c in range(channels)
                for other_y in range(max(0, y - 1), min(rows, y + 2))
                for other_x in range(max(0, x - 1), min(columns, x + 2))
                if (y, x) != (other_y, other_x)
            ]
            lateral.connect(i=[pre for pre, _ in pairs], j=[post for _, post in pairs])
        net.network.add(lateral)
        net.present(images)
        both.add(*net.network.objects)
    run(both, nets["a"].duration)
    for way, net in nets.items():
        monitor = net.monitors[name]["spikes"]
        found[way] = sorted(zip(np.rint(monitor.t_[:] / net.clock.dt_), monitor.i[:], strict=True))
    assert found["a"] == found["b"]
    assert len(found["a"]) > 20


def test_two_networks_without_names_stand_in_one(rate_cnn):
    images = np.random.default_rng(2).random((2, *SHAPE), dtype=np.float32)
    alone = []
    for image in images:
        net = bsnn.build(rate_cnn)
        net.record_read_out()
        net.present(image[np.newaxis])
        net.network.run(net.duration)
        alone.append(net.read_potentials())
        del net
        gc.collect()
    nets = [bsnn.build(rate_cnn) for _ in images]
    for net in nets:
        net.record_read_out()
    both = b2.Network(*(net.network.objects for net in nets))
    for net, image in zip(nets, images, strict=True):
        net.present(image[np.newaxis])
    both.run(nets[0].duration)
    np.testing.assert_array_equal([net.read_potentials() for net in nets], alone)
    assert nets[0].name != nets[1].name
    assert bsnn.build(rate_cnn, name="")["conv1"].name == "conv1"


def test_a_network_that_was_not_run_goes_without_warnings(rate_cnn):
    records = []
    logger = logging.getLogger("brian2.core.base.unused_brian_object")
    handler = logging.Handler()
    handler.emit = records.append
    logger.addHandler(handler)
    try:
        logger.handle(_record("conv1_of_someone_else"))
        assert len(records) == 1
        net = bsnn.build(rate_cnn, name="unrun", monitors={"conv1": "v"})
        names = [item.name for item in net.network.objects]
        for name in names:
            logger.handle(_record(name))
        assert len(records) == 1
    finally:
        logger.removeHandler(handler)


def _record(name: str) -> logging.LogRecord:
    text = f"The object '{name}' is getting deleted, but was never included in a network."
    return logging.LogRecord("brian2", logging.WARNING, __file__, 1, text, (), None)


@pytest.mark.parametrize(
    "changes",
    [
        {"on_pre": "v_post += w"},
        {"drive": "v += drive"},
        {"threshold": "v >= v_th"},
        {"resets": {"subtract": "v -= v_th", "zero": "v = 0"}},
        {"at_start": "v = v_start"},
        {"update": "v += 1"},
        {"equations": "dv/dt = -v : volt"},
    ],
    ids=lambda changes: next(iter(changes)),
)
@pytest.mark.parametrize("connectivity", ["shared", "synapses"])
def test_units_of_a_neuron_are_checked_when_it_is_built(rate_cnn, changes, connectivity):
    neuron = bsnn.RateNeuron(
        name="in_volts",
        equations="v : volt",
        on_pre="v_post += w*mV",
        drive="v += drive*mV",
        threshold="v >= v_th*mV",
        resets={"subtract": "v -= v_th*mV", "zero": "v = 0*mV"},
        at_start="v = v_start*mV",
        potential_unit="mV",
    )
    bsnn.build(rate_cnn, neuron=neuron, connectivity=connectivity)
    with pytest.raises(bsnn.BuildError, match="units"):
        bsnn.build(
            rate_cnn, neuron=dataclasses.replace(neuron, **changes), connectivity=connectivity
        )


def test_a_reset_as_brian_users_write_it(rate_cnn):
    own = bsnn.RateNeuron(name="own", equations="v : 1", reset="v = 0")
    images = np.random.default_rng(3).random((1, *SHAPE), dtype=np.float32)
    zero = dataclasses.replace(rate_cnn, reset="zero")
    spikes = []
    for model, neuron in ((rate_cnn, own), (zero, None), (zero, own)):
        net = bsnn.build(model, neuron=neuron, monitors={"conv1": "spikes"})
        net.present(images)
        net.network.run(net.duration)
        spikes.append(net.recorded_spikes("conv1"))
    for other in spikes[1:]:
        np.testing.assert_array_equal(spikes[0], other)
    with pytest.raises(bsnn.BuildError, match="leave one of them out"):
        bsnn.RateNeuron(name="own", equations="v : 1", reset="v = 0", resets={"zero": "v = 0"})


def test_a_source_with_another_step_is_told(rate_cnn):
    source = b2.NeuronGroup(rate_cnn.input.size, "v : 1", threshold="v > 1", dt=0.5 * b2.ms)
    with pytest.warns(UserWarning, match=r"steps of 0.5 ms.*20 of these"):
        bsnn.build(rate_cnn, source=source)
    with warnings.catch_warnings(record=True) as told:
        bsnn.build(rate_cnn, source=source, dt=0.5 * b2.ms)
    assert not [warning for warning in told if "steps of" in str(warning.message)]


def test_connections_are_plotted_as_those_of_synapses(rate_cnn):
    nets = [bsnn.build(rate_cnn, connectivity=way) for way in ("shared", "synapses")]
    for name, synapses in nets[1].synapses.items():
        shared = nets[0].synapses[name]
        pairs = [sorted(zip(s.i[:], s.j[:], strict=True)) for s in (shared, synapses)]
        assert pairs[0] == pairs[1]
