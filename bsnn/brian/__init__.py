"""Spiking models as Brian2 objects: equations, connectivity, builders and devices."""

from bsnn.brian.builder import build
from bsnn.brian.convolution import Convolution
from bsnn.brian.dense import Dense
from bsnn.brian.devices import DEVICES, check_device, use_device
from bsnn.brian.hooks import HOOKS
from bsnn.brian.max_pooling import FIRST_SPIKE, GatedPool
from bsnn.brian.network import SpikingNetwork
from bsnn.brian.neural_code import NEURAL_CODES, NeuralCode, neuron_model
from bsnn.brian.neuron_models import NEURON_MODELS, NeuronModel, register_neuron
from bsnn.brian.noise import spike_noise
from bsnn.brian.perturbations import (
    PERTURBATIONS,
    AxonPart,
    Perturbation,
    check_perturbations,
)
from bsnn.brian.pooling import AveragePooling, MaxPooling, Windows
from bsnn.brian.quantities import parse_quantity
from bsnn.brian.rate_code import RateCode
from bsnn.brian.rate_neurons import RateNeuron
from bsnn.brian.size import CONNECTIVITIES, BuildEstimate, estimate
from bsnn.brian.spike_step_recorder import SpikeStepRecorder
from bsnn.brian.spiking_groups import CalendarGroup, OnePassGroup
from bsnn.brian.synapse_models import (
    SHORT_TERM,
    STATIC,
    STDP,
    SYNAPSE_MODELS,
    SynapseModel,
    check_synapses,
    register_synapse,
)
from bsnn.brian.time_origin import TimeOrigin
from bsnn.brian.ttfs_code import TtfsCode
from bsnn.brian.ttfs_neurons import NEURON_FORMS, NeuronForm, PopulationEquations, TtfsNeuron
from bsnn.brian.window_model import WINDOW_MODEL, follow_schedule
from bsnn.brian.window_recorder import WindowRecorder
from bsnn.brian.window_start import WindowStart
from bsnn.brian.wiring import connect

__all__ = [
    "CONNECTIVITIES",
    "DEVICES",
    "FIRST_SPIKE",
    "HOOKS",
    "NEURAL_CODES",
    "NEURON_FORMS",
    "NEURON_MODELS",
    "PERTURBATIONS",
    "SHORT_TERM",
    "STATIC",
    "STDP",
    "SYNAPSE_MODELS",
    "WINDOW_MODEL",
    "AveragePooling",
    "AxonPart",
    "BuildEstimate",
    "CalendarGroup",
    "Convolution",
    "Dense",
    "GatedPool",
    "MaxPooling",
    "NeuralCode",
    "NeuronForm",
    "NeuronModel",
    "OnePassGroup",
    "Perturbation",
    "PopulationEquations",
    "RateCode",
    "RateNeuron",
    "SpikeStepRecorder",
    "SpikingNetwork",
    "SynapseModel",
    "TimeOrigin",
    "TtfsCode",
    "TtfsNeuron",
    "WindowRecorder",
    "WindowStart",
    "Windows",
    "build",
    "check_device",
    "check_perturbations",
    "check_synapses",
    "connect",
    "estimate",
    "follow_schedule",
    "neuron_model",
    "parse_quantity",
    "register_neuron",
    "register_synapse",
    "spike_noise",
    "use_device",
]
