"""Spiking models as Brian2 objects: neurons, synapses, perturbations and the builder."""

from bsnn.network.builder import build
from bsnn.network.hooks import HOOKS
from bsnn.network.network import SpikingNetwork
from bsnn.network.neural_code import NEURAL_CODES, NeuralCode, neuron_model
from bsnn.network.neuron_models import NEURON_MODELS, NeuronModel, register_neuron
from bsnn.network.perturbations import (
    PERTURBATIONS,
    DelayLinePart,
    Perturbation,
    check_perturbations,
)
from bsnn.network.rate_code import RateCode
from bsnn.network.rate_neurons import RateNeuron
from bsnn.network.size import CONNECTIVITIES, BuildEstimate, estimate
from bsnn.network.synapse_models import (
    SHORT_TERM,
    STATIC,
    STDP,
    SYNAPSE_MODELS,
    SynapseModel,
    check_synapses,
    register_synapse,
)
from bsnn.network.ttfs_code import TtfsCode
from bsnn.network.ttfs_neurons import NEURON_FORMS, NeuronForm, PopulationEquations, TtfsNeuron
from bsnn.network.window_model import WINDOW_MODEL, follow_schedule
from bsnn.network.wiring import connect

__all__ = [
    "CONNECTIVITIES",
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
    "BuildEstimate",
    "DelayLinePart",
    "NeuralCode",
    "NeuronForm",
    "NeuronModel",
    "Perturbation",
    "PopulationEquations",
    "RateCode",
    "RateNeuron",
    "SpikingNetwork",
    "SynapseModel",
    "TtfsCode",
    "TtfsNeuron",
    "build",
    "check_perturbations",
    "check_synapses",
    "connect",
    "estimate",
    "follow_schedule",
    "neuron_model",
    "register_neuron",
    "register_synapse",
]
