"""The cost of a network in hardware: counted, and estimated in energy.

Counts are exact for the images that were simulated. Energies are products of counts and of figures
that others have published for one operation in one technology: *estimated, not measured*. They
leave out what is alike in both networks and what nobody has counted: clocks, control, leakage, and
the way to and from the chip.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from bsnn.conversion import SpikingModel
from bsnn.errors import SimulationError
from bsnn.graph import count
from bsnn.network.size import estimate
from bsnn.simulation import Result

__all__ = [
    "BREAK_EVEN_SPIKES",
    "ENERGY_MODELS",
    "EnergyEstimate",
    "PopulationCost",
    "SpikingCost",
    "spiking_cost",
]

#: Spikes of a neuron for an inference below which a digital spiking network may need less energy
#: than the trained one (Davidson and Furber, 2021: Comparison of artificial and spiking neural
#: networks on digital hardware, Frontiers in Neuroscience 15:651141).
BREAK_EVEN_SPIKES = 1.72

_WORD_BITS = 32

# Horowitz (2014), Computing's energy problem, ISSCC, figure 1.1.9: 45 nm, 0.9 V, in pJ.
_ADD = {"int32": 0.1, "float32": 0.9}
_MULTIPLY = {"int32": 3.1, "float32": 3.7}
# The same figure: 64 bits from a cache of so many bytes; half of it for a word of 32.
_CACHE_BYTES = (8 * 1024, 32 * 1024, 1024 * 1024)
_CACHE_PICOJOULES = (10.0, 20.0, 100.0)

_HOROWITZ = "Horowitz, ISSCC 2014, figure 1.1.9 (45 nm, 0.9 V)"
_LEMAIRE = (
    "Lemaire et al., ICONIP 2022 (An analytical estimation of spiking neural networks energy "
    f"efficiency): memory, arithmetic and addresses, with figures of {_HOROWITZ}"
)


@dataclasses.dataclass(frozen=True)
class PopulationCost:
    """What a population costs for an image, on average.

    Attributes
    ----------
    name, role : str
        The population.
    neurons : int
        Their number.
    spikes : float
        That its neurons emit; 0 for a read-out that does not spike.
    operations : float
        Synaptic operations that arrive at it: spikes times connections, border-exact over all
        populations together; those of a source that feeds several are dealt out by connections.
    updates : int
        Updates of a neuron's state by a clock, whether anything arrives or not.
    state_words : int
        State variables that are kept.
    weights : int
        Trained values on the way to it.
    macs : int
        Multiply-accumulates of the trained network for the same layers.
    """

    name: str
    role: str
    neurons: int
    spikes: float
    operations: float
    updates: int
    state_words: int
    weights: int
    macs: int

    @property
    def spikes_per_neuron(self) -> float:
        """Spikes that a neuron emits."""
        return self.spikes / self.neurons

    @property
    def spike_bits(self) -> float:
        """Bits of the spikes that it emits: each is the number of its neuron."""
        return self.spikes * max(1, math.ceil(math.log2(self.neurons)))

    @property
    def bits_moved(self) -> float:
        """Bits of weights and state that are read and written, and of spikes, for an image."""
        words = 3 * self.operations + 2 * self.updates
        return words * _WORD_BITS + self.spike_bits


@dataclasses.dataclass(frozen=True)
class SpikingCost:
    """What a spiking network costs for an image, on average over the images of a result.

    Attributes
    ----------
    populations : tuple of PopulationCost
        In the order of the network.
    inputs, outputs : int
        Values that the trained network reads and writes in all layers with weights.
    """

    populations: tuple[PopulationCost, ...]
    inputs: int
    outputs: int

    def _sum(self, name: str) -> float:
        return sum(getattr(population, name) for population in self.populations)

    @property
    def spikes(self) -> float:
        """Spikes of all populations, the input's included."""
        return self._sum("spikes")

    @property
    def operations(self) -> float:
        """Synaptic operations."""
        return self._sum("operations")

    @property
    def updates(self) -> int:
        """Updates of neurons by a clock."""
        return int(self._sum("updates"))

    @property
    def state_words(self) -> int:
        """State variables."""
        return int(self._sum("state_words"))

    @property
    def bits_moved(self) -> float:
        """Bits of weights, state and spikes that are moved."""
        return self._sum("bits_moved")

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the trained network."""
        return int(self._sum("macs"))

    @property
    def spikes_per_neuron(self) -> float:
        """Spikes of a neuron with weights (not of input or pooling), as papers count them."""
        counted = [p for p in self.populations if p.role in ("neurons", "read_out") and p.spikes]
        return sum(p.spikes for p in counted) / max(1, sum(p.neurons for p in counted))

    def energies(self) -> list[EnergyEstimate]:
        """Return all estimates of `ENERGY_MODELS`."""
        return [make(name, self) for name, make in ENERGY_MODELS.items()]

    def rows(self) -> list[tuple[str, str]]:
        """Return the main figures as pairs of a description and a text."""
        below = "below" if self.spikes_per_neuron < BREAK_EVEN_SPIKES else "above"
        return [
            ("synaptic operations", f"{self.operations:,.0f}"),
            ("MACs of the trained network", f"{self.macs:,}"),
            ("updates of neurons by a clock", f"{self.updates:,}"),
            ("state variables", f"{self.state_words:,}"),
            ("bits moved", f"{self.bits_moved:,.0f}"),
            (
                "spikes a neuron",
                f"{self.spikes_per_neuron:.3f}, {below} the break-even of {BREAK_EVEN_SPIKES} "
                "(Davidson and Furber, 2021)",
            ),
            *((f"energy, {energy.name}", str(energy)) for energy in self.energies()),
        ]

    def summary(self) -> dict[str, Any]:
        """Return everything, ready for JSON."""
        return {
            "populations": [
                {
                    **dataclasses.asdict(population),
                    "spikes_per_neuron": population.spikes_per_neuron,
                    "bits_moved": population.bits_moved,
                }
                for population in self.populations
            ],
            **{
                name: getattr(self, name)
                for name in ("spikes", "operations", "updates", "state_words", "bits_moved", "macs",
                             "spikes_per_neuron")
            },
            "break_even_spikes": BREAK_EVEN_SPIKES,
            "energies": [dataclasses.asdict(energy) for energy in self.energies()],
        }  # fmt: skip


@dataclasses.dataclass(frozen=True)
class EnergyEstimate:
    """Energy for an image: estimated, not measured.

    Attributes
    ----------
    name : str
        As in `ENERGY_MODELS`.
    spiking, trained : tuple of float
        Lowest and highest value in joules, of the spiking and of the trained network. The lowest is
        that of neurons which cost nothing where nothing arrives, the highest that of a clock which
        updates each neuron in every step; the trained network's two values are equal.
    source : str
        Where the figures come from.
    """

    name: str
    spiking: tuple[float, float]
    trained: tuple[float, float]
    source: str

    @property
    def ratio(self) -> tuple[float, float]:
        """How many times less the spiking network takes: lowest and highest value."""
        return self.trained[0] / self.spiking[1], self.trained[1] / self.spiking[0]

    def __str__(self) -> str:
        low, high = (1e6 * energy for energy in self.spiking)
        return (
            f"{low:.3g} to {high:.3g} µJ, trained network {1e6 * self.trained[0]:.3g} µJ "
            "(estimated, not measured)"
        )


def spiking_cost(model: SpikingModel, result: Result) -> SpikingCost:
    """Count what a simulation has cost for an image, population by population.

    Parameters
    ----------
    model : SpikingModel
        What was simulated.
    result : Result
        What was found.

    Raises
    ------
    SimulationError
        The result is that of another network.
    """
    if list(result.populations) != list(model.populations) or any(
        result.populations[name].neurons != population.size
        for name, population in model.populations.items()
    ):
        raise SimulationError(
            f"The result has the populations {', '.join(result.populations)}, the model "
            f"{', '.join(model.populations)}: it is that of another network."
        )
    connections = estimate(model).by_path
    sources: dict[str, int] = {}
    for (source, _), number in connections.items():
        sources[source] = sources.get(source, 0) + number
    layers = {layer.name: layer for layer in count(model.graph).layers}
    # in a clocked design a neuron of a pipeline integrates in one window and spikes in the next
    windows = 2 if model.pipelined else 1
    populations = []
    for name, population in model.populations.items():
        found = result.populations[name]
        passed = {layer for path in population.projections for layer in path.layers}
        operations = sum(
            spent.mean() * connections[source, name] / sources[source]
            for source in dict.fromkeys(path.source for path in population.projections)
            if (spent := result.populations[source].operations) is not None
        )
        keeps_state = population.role in ("neurons", "read_out")
        populations.append(
            PopulationCost(
                name=name,
                role=population.role,
                neurons=population.size,
                spikes=0.0 if found.spikes is None else float(found.spikes.mean()),
                operations=float(operations),
                updates=keeps_state * population.size * windows * model.steps,
                state_words=keeps_state * population.size * model.state_words,
                weights=sum(layers[layer].parameters for layer in passed),
                macs=sum(layers[layer].macs for layer in passed),
            )
        )
    weighted = [layer for layer in layers.values() if layer.macs]
    return SpikingCost(
        tuple(populations),
        inputs=sum(int(np.prod(model.graph.input_shapes(layer.name)[0])) for layer in weighted),
        outputs=sum(int(np.prod(layer.shape)) for layer in weighted),
    )


def _arithmetic(name: str, cost: SpikingCost, kind: str) -> EnergyEstimate:
    """Additions for synaptic operations against multiply-accumulates, and nothing else."""
    add, multiply = 1e-12 * _ADD[kind], 1e-12 * _MULTIPLY[kind]
    spiking = cost.operations * add
    trained = cost.macs * (add + multiply)
    return EnergyEstimate(
        name, (spiking, spiking + cost.updates * add), (trained, trained), _HOROWITZ
    )


def _with_memory(name: str, cost: SpikingCost) -> EnergyEstimate:
    """Memory sized to what it holds, arithmetic in int32, and the computation of addresses.

    For each synaptic operation a weight is read, and a potential read and written; for each spike a
    neuron's number is written and read, and an address multiplied; for each operation two addresses
    are added up. For each multiply-accumulate a weight and an input are read and their counters
    raised; each output is written once.
    """
    add, multiply = _ADD["int32"], _MULTIPLY["int32"]
    events = clocked = trained = 0.0
    for population in cost.populations:
        weight = _word(population.weights)
        state = _word(population.state_words)
        events += population.operations * (weight + 2 * state + add + 2 * add)
        events += population.spikes * (2 * _word(population.neurons) + multiply)
        clocked += population.updates * (2 * state + add)
        trained += population.macs * (weight + add + multiply + 2 * add)
    # inputs and outputs lie in memories of their layers' mean size
    weighted = max(1, sum(bool(population.macs) for population in cost.populations))
    trained += cost.macs * _word(cost.inputs // weighted)
    trained += cost.outputs * _word(cost.outputs // weighted)
    return EnergyEstimate(
        name,
        (1e-12 * events, 1e-12 * (events + clocked)),
        (1e-12 * trained, 1e-12 * trained),
        _LEMAIRE,
    )


def _word(words: int) -> float:
    """Energy in pJ of reading or writing a word in a memory of so many, on a log-log line."""
    size = max(words, 1) * _WORD_BITS / 8
    steps = np.diff(np.log(_CACHE_PICOJOULES)) / np.diff(np.log(_CACHE_BYTES))
    place = np.log(size)
    if size <= _CACHE_BYTES[0]:
        return _CACHE_PICOJOULES[0] / 2
    if size >= _CACHE_BYTES[-1]:
        # beyond the figures: as steep as their end
        beyond = steps[-1] * (place - np.log(_CACHE_BYTES[-1]))
        return float(_CACHE_PICOJOULES[-1] * np.exp(beyond)) / 2
    return float(np.exp(np.interp(place, np.log(_CACHE_BYTES), np.log(_CACHE_PICOJOULES)))) / 2


#: By name, the function that estimates energies from counts.
ENERGY_MODELS: Mapping[str, Callable[[str, SpikingCost], EnergyEstimate]] = {
    "arithmetic in float32": lambda name, cost: _arithmetic(name, cost, "float32"),
    "arithmetic in int32": lambda name, cost: _arithmetic(name, cost, "int32"),
    "with memory and addresses": _with_memory,
}
