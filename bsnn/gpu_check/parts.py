"""What networks need in order to be simulated as one: objects, inputs, and what they did."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from typing import Any

import brian2 as b2
import numpy as np

from bsnn.brian.window_recorder import WindowRecorder
from bsnn.network.network import SpikingNetwork

__all__ = ["DT", "Outcome", "Part", "RatePart", "ScenePart", "TtfsPart"]

#: Duration of a step. A power of two, so that times are exact.
DT: Any = b2.second / 1024


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What one network did for one input.

    Attributes
    ----------
    values : dict of str to numpy.ndarray
        Everything that is compared.
    spikes : dict of str to int
        By group, how many spikes are among it.
    """

    values: dict[str, np.ndarray]
    spikes: dict[str, int]


class Part(ABC):
    """One network among several.

    Attributes
    ----------
    objects : list
        Its Brian2 objects.
    duration : brian2.Quantity
        Simulated time of one run.
    stored_connections : int
        See `SpikingNetwork.stored_connections`.
    """

    objects: list[Any]
    duration: Any
    stored_connections: int = 0

    @abstractmethod
    def inputs(self, rng: np.random.Generator) -> np.ndarray:
        """Return an input of random values, of as many digits as sums of it can bear."""

    @abstractmethod
    def presentation(self, inputs: np.ndarray) -> dict[Any, np.ndarray]:
        """Return what a run must be given so that it presents an input (``run_args``)."""

    @abstractmethod
    def outcome(self) -> Outcome:
        """Read what the last run did."""


class _NetworkPart(Part):
    """A network that was built from a model.

    Parameters
    ----------
    net : SpikingNetwork
        What `bsnn.build` has returned.
    images : int
        Images to present, at most the network's capacity.
    """

    def __init__(self, net: SpikingNetwork, images: int) -> None:
        self._net = net
        self._images = images
        self.record()
        self.objects = list(net.network.objects)
        self.duration = net.duration
        self.stored_connections = net.stored_connections

    def record(self) -> None:
        """Add recorders."""
        raise NotImplementedError

    def presentation(self, inputs: np.ndarray) -> dict[Any, np.ndarray]:
        return self._net.presentation(inputs)

    def _read_out(self) -> np.ndarray:
        assert self._net.read_out is not None
        return self._net.read_out.values

    @property
    def _spiking(self) -> list[str]:
        return [name for name in self._net.model.populations if self._net.model.spikes(name)]


class TtfsPart(_NetworkPart):
    """Recorded are the step of every spike, and the potentials of the last layer."""

    def record(self) -> None:
        for name in self._spiking:
            self._net.record(name)

    def inputs(self, rng: np.random.Generator) -> np.ndarray:
        model = self._net.model
        shape = (self._images, *model.graph.input.shape)
        return rng.integers(0, model.steps + 1, shape) / model.steps

    def outcome(self) -> Outcome:
        net = self._net
        levels = {name: net.recorders[name].values for name in self._spiking}
        potentials = {f"{net.model.output.name} potential": self._read_out()}
        spikes = {name: int(np.count_nonzero(values)) for name, values in levels.items()}
        return Outcome({**levels, **potentials}, spikes)


class RatePart(_NetworkPart):
    """Recorded are spikes up to each step, and potentials at the end of each image.

    Those of a last layer that does not spike are recorded in each step.
    """

    def record(self) -> None:
        net = self._net
        self._recorders = {
            name: WindowRecorder(
                net[name],
                "spike_count",
                window_steps=1,
                windows=net.rounds * net.model.steps,
                dtype=np.int32,
                name=f"{name}_spikes_so_far",
            )
            for name in self._spiking
        }
        self._potentials = {
            f"{name} v": WindowRecorder(
                net[name],
                "v",
                window_steps=net.model.steps,
                windows=net.rounds,
                name=f"{name}_v_at_end",
            )
            for name in self._spiking
            if "v" in net[name].variables
        }
        net.network.add(*self._recorders.values(), *self._potentials.values())
        net.record_read_out()

    def inputs(self, rng: np.random.Generator) -> np.ndarray:
        shape = (self._images, *self._net.model.graph.input.shape)
        # with values of both signs, and many zeros
        return rng.integers(-8, 17, shape) * rng.integers(0, 2, shape) / 16

    def outcome(self) -> Outcome:
        net = self._net
        counts = {name: recorder.values for name, recorder in self._recorders.items()}
        potentials = {name: recorder.values for name, recorder in self._potentials.items()}
        read_out = {f"{net.model.output.name} read-out": self._read_out()}
        last = net.model.steps
        spikes = {name: int(values[last - 1 :: last].sum()) for name, values in counts.items()}
        return Outcome({**counts, **potentials, **read_out}, spikes)


class ScenePart(Part):
    """Brian2 objects without a model.

    Recorded are the spikes of all groups.

    Parameters
    ----------
    objects : list
        Groups, connections and recorders; what `WindowRecorder` records is compared as well.
    steps : int
        To simulate.
    source : brian2.NeuronGroup
        Its variable ``phase`` takes the input: whole numbers below `phases`.
    phases : int
        See `source`.
    stored_connections : int
        Rows of `brian2.Synapses`.
    """

    def __init__(
        self,
        objects: list[Any],
        *,
        steps: int,
        source: b2.NeuronGroup,
        phases: int,
        stored_connections: int = 0,
    ) -> None:
        self._steps = steps
        self._source = source
        self._phases = phases
        self._recorders = [item for item in objects if isinstance(item, WindowRecorder)]
        self._monitors = {
            item.name: b2.SpikeMonitor(item, name=f"{item.name}_spikes")
            for item in objects
            if isinstance(item, b2.NeuronGroup)
        }
        self._sizes = {item.name: len(item) for item in objects if item.name in self._monitors}
        self.objects = [*objects, *self._monitors.values()]
        self.duration = steps * DT
        self.stored_connections = stored_connections

    def inputs(self, rng: np.random.Generator) -> np.ndarray:
        return rng.integers(0, self._phases, len(self._source))

    def presentation(self, inputs: np.ndarray) -> dict[Any, np.ndarray]:
        return {self._source.phase: inputs}

    def outcome(self) -> Outcome:
        values = {}
        for name, monitor in self._monitors.items():
            # a network among others runs longer than it has to
            steps = np.rint(np.asarray(monitor.t / DT)).astype(int)
            early = steps < self._steps
            raster = np.zeros((self._steps, self._sizes[name]), dtype=np.int32)
            np.add.at(raster, (steps[early], np.asarray(monitor.i)[early]), 1)
            values[name] = raster
        spikes = {name: int(raster.sum()) for name, raster in values.items()}
        recorded = {recorder.name: recorder.values for recorder in self._recorders}
        return Outcome({**values, **recorded}, spikes)
