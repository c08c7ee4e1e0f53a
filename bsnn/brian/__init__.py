"""Spiking models as Brian2 objects: equations, connectivity, builders and devices."""

from bsnn.brian.builder import build
from bsnn.brian.devices import DEVICES, use_device
from bsnn.brian.network import SpikingNetwork
from bsnn.brian.neurons import NEURON_FORMS, NeuronForm, PopulationEquations
from bsnn.brian.size import BuildEstimate, estimate

__all__ = [
    "DEVICES",
    "NEURON_FORMS",
    "BuildEstimate",
    "NeuronForm",
    "PopulationEquations",
    "SpikingNetwork",
    "build",
    "estimate",
    "use_device",
]
