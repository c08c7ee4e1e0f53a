"""What a coding makes of Brian2 objects.

A coding is one entry in `NEURAL_CODES`, under the name by which models know it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from bsnn.brian.spike_step_recorder import SpikeStepRecorder
from bsnn.brian.window_recorder import WindowRecorder
from bsnn.errors import SettingsError
from bsnn.network.network import SpikingNetwork
from bsnn.network.neuron_models import NEURON_MODELS, NeuronModel
from bsnn.registry import Registry

__all__ = ["NEURAL_CODES", "NeuralCode", "neuron_model"]


class NeuralCode(ABC):
    """A coding in Brian2: its neurons, connections, and what is recorded of them."""

    #: Forms of the neurons, the default first.
    forms: ClassVar[tuple[str, ...]]
    #: Name of the neuron of a converted network, unless another is asked for.
    default_neuron: ClassVar[str]
    #: Slot in which monitors of variables sample them.
    monitor_slot: ClassVar[str] = "end"
    #: Form of the neurons whose potentials are worth looking at; None for the default.
    traced_form: ClassVar[str | None] = None
    #: Variable of the neurons that holds the membrane potential, in that form.
    potential: ClassVar[str] = "v"

    def shortest_interval(self, net: SpikingNetwork) -> int:
        """Return the windows from an image to the next, as close as neurons allow."""
        return 1

    @abstractmethod
    def build(self, net: SpikingNetwork) -> None:
        """Add all populations and connections to a network."""

    @abstractmethod
    def recorder(self, net: SpikingNetwork, name: str) -> WindowRecorder | SpikeStepRecorder:
        """Return what records for each image the spikes of a population."""

    @abstractmethod
    def read_out(self, net: SpikingNetwork, name: str, label: str) -> WindowRecorder:
        """Return what records the last layer, under a name."""


#: Codings by name.
NEURAL_CODES: Registry[NeuralCode] = Registry("coding")


def neuron_model(wanted: str | NeuronModel | None, coding: str) -> NeuronModel:
    """Return a neuron model for a coding: by its name, the default for None.

    Raises
    ------
    SettingsError
        There is none of this name, or it is one of another coding.
    """
    if wanted is None:
        return NEURON_MODELS[NEURAL_CODES[coding].default_neuron]
    found = wanted if isinstance(wanted, NeuronModel) else NEURON_MODELS[wanted]
    if found.coding != coding:
        known = [name for name, model in NEURON_MODELS.items() if model.coding == coding]
        raise SettingsError(
            f"The neuron {found.name!r} is one for the coding {found.coding}, and the network has "
            f"the coding {coding}. For that there are {', '.join(known)}."
        )
    return found
