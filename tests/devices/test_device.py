"""Devices: a further one is one subclass."""

from __future__ import annotations

import numpy as np
import pytest
from brian2.devices.cpp_standalone.device import CPPStandaloneDevice
from brian2.devices.device import all_devices

import bsnn
from bsnn.devices import DEVICES, Standalone, active_device


class Logged(CPPStandaloneDevice):
    """A device of Brian2's that is not one of its own."""


class LoggedStandalone(Standalone):
    name = "logged"
    language = "C++"
    brian_name = "logged_standalone"

    def __init__(self):
        self.checked = []

    def active(self, directory):
        return self.activated(directory)

    def check(self, net):
        self.checked.append(net)


@pytest.fixture
def logged(monkeypatch):
    monkeypatch.setitem(all_devices, "logged_standalone", Logged())
    device = LoggedStandalone()
    monkeypatch.setitem(DEVICES, device.name, device)
    return device


def test_a_device_is_one_subclass(small_cnn, logged):
    model, images = small_cnn()
    results = {name: bsnn.simulate(model, images[:4], device=name) for name in ("cpp", "logged")}
    np.testing.assert_array_equal(results["cpp"].potentials, results["logged"].potentials)
    assert results["cpp"].spikes_per_neuron == results["logged"].spikes_per_neuron
    assert len(logged.checked) == 1
    assert results["logged"].device == "logged"


def test_it_is_known_while_it_is_active(logged, tmp_path):
    with bsnn.use_device("logged", tmp_path):
        assert active_device() == "logged"
        with pytest.raises(bsnn.BuildError, match="'logged' is active already"):
            bsnn.use_device("cpp")
    assert active_device() == "runtime"


def test_unknown_devices():
    with pytest.raises(bsnn.UnknownNameError, match="Did you mean 'cpp'"):
        bsnn.use_device("cp")
