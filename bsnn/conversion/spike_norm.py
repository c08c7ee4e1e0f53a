"""Spike-Norm: thresholds from what neurons receive in the spiking network itself.

Sengupta et al. (2019), Algorithm 1. A layer's threshold is the largest weighted input that any of
its neurons gets in any one step, when the layers before it spike with the thresholds that they have
been given. Trained activations do not tell it: with inputs of 0.5 and 1 and weights of one the
activation is 1.5, but in half of the steps both inputs spike and the neuron gets 2.

Residual networks are covered too: where branches meet, scales follow one of `RESIDUAL_RULES`.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from bsnn.conversion.populations import Population
from bsnn.conversion.rate import RateModel
from bsnn.conversion.rate_dynamics import PopulationDynamics, input_signals, pools_of
from bsnn.conversion.residual import Junctions
from bsnn.graph import slices
from bsnn.progress import progress_bar

__all__ = ["spike_norm"]

# Images that are simulated at once.
_BATCH = 64

# The vectorised network computes in the precision of the trained one.
_DTYPE = np.float32


def spike_norm(
    model: RateModel,
    images: np.ndarray,
    *,
    steps: int,
    seed: int,
    channels: bool,
    fixed: Mapping[str, float | np.ndarray] | None = None,
    progress: bool = True,
) -> RateModel:
    """Find the scales of a network, layer by layer.

    Parameters
    ----------
    model : RateModel
        The network, with the scale of its input; other scales are not looked at.
    images : numpy.ndarray
        Calibration images; the paper takes 256.
    steps : int
        Steps for which each is shown to each layer; the paper takes 2,500.
    seed : int
        Of the encoder's noise.
    channels : bool
        Find a scale for each channel, not one for the layer.
    fixed : mapping of str to float, optional
        Scales that are known, by population.
    progress : bool
        Show a progress bar.

    Returns
    -------
    RateModel
        With scales and trace.
    """
    with (
        tempfile.TemporaryDirectory(prefix="bsnn_spike_norm_") as folder,
        progress_bar(disable=not progress) as bar,
    ):
        search = _Search(model, images, steps, seed, channels, fixed or {}, Path(folder))
        weighted = ("neurons", "read_out")
        names = [name for name, p in model.populations.items() if p.role in weighted]
        task = bar.add_task("Spike-Norm", total=len(names))
        for name in names:
            bar.update(task, description=f"Spike-Norm, {name}")
            search.find(model.populations[name])
            bar.advance(task)
    return search.model


class _Search:
    def __init__(
        self,
        model: RateModel,
        images: np.ndarray,
        steps: int,
        seed: int,
        channels: bool,
        fixed: Mapping[str, float | np.ndarray],
        folder: Path,
    ) -> None:
        self.model = dataclasses.replace(model, scales=dict(model.scales), trace={})
        self._values = model.encode(images)
        self._steps = steps
        self._seed = seed
        self._channels = channels
        self._folder = folder
        self._spikes: dict[str, _Spikes] = {}
        self._junctions = Junctions(self.model, fixed)

    def find(self, population: Population) -> None:
        """Find the scale of a population and keep its spikes for those after it."""
        model, name = self.model, population.name
        if self._junctions.given(name):
            # its scale does not depend on what it receives
            self._junctions.assign(name, 1.0)
            self._record(population)
            self._forget(name)
            return
        largest = self._largest_inputs(population)
        over_time = np.maximum.accumulate(largest, axis=0)
        model.trace[name] = over_time.max(axis=1)
        found = over_time[-1].astype(np.float64)
        scale = float(found.max())
        if self._channels and model.spikes(name):
            # a channel that never gets a positive input has the scale of the layer
            scale = np.where(found > 0, found, scale)
        anew = set(self._junctions.assign(name, scale))
        names = list(model.populations)
        for other in names[: names.index(name) + 1]:
            reads = {path.source for path in model.populations[other].projections}
            # what gets other spikes than before tells others, too
            if other in anew or anew & reads:
                anew.add(other)
                # poolings are recorded with the neurons that they choose from
                if model.populations[other].role != "max_pool":
                    self._record(model.populations[other])
        self._forget(name)

    def _largest_inputs(self, population: Population) -> np.ndarray:
        """Largest weighted input of each channel in each step, over images and neurons."""
        # a scale of its own is not needed yet: weighted inputs do not depend on it
        self.model.scales.setdefault(population.name, 1.0)
        largest = np.zeros((self._steps, population.shape[0]), _DTYPE)
        others = tuple(axis for axis in range(len(population.shape) + 1) if axis != 1)
        for batch in self._all_batches():
            dynamics = PopulationDynamics(self.model, population, 1, _DTYPE)
            for step in range(self._steps):
                weighted = dynamics.weighted_input(self._emitted(population, batch, step))
                np.maximum(largest[step], weighted.max(axis=others), out=largest[step])
        return largest

    def _record(self, population: Population) -> None:
        if not self.model.spikes(population.name) or population.name == self.model.output.name:
            return
        pools = pools_of(self.model, population.name)
        for name in (population.name, *pools):
            self._spikes[name] = _Spikes(
                self._folder / name, len(self._values), self._steps, self.model.populations[name]
            )
        for batch in self._all_batches():
            images = batch.stop - batch.start
            dynamics = PopulationDynamics(self.model, population, images, _DTYPE)
            for step in range(self._steps):
                weighted = dynamics.weighted_input(self._emitted(population, batch, step))
                spikes = dynamics.step(weighted)
                # all but a silent read-out spike
                assert spikes is not None
                self._spikes[population.name].write(batch, step, spikes)
                for name, pool in pools.items():
                    self._spikes[name].write(batch, step, pool.step(dynamics, spikes))

    def _emitted(self, population: Population, batch: slice, step: int) -> dict[str, np.ndarray]:
        return {
            path.source_layer: self._signals(path.source, batch, step)
            for path in population.projections
        }

    def _signals(self, name: str, batch: slice, step: int) -> np.ndarray:
        if name in self._spikes:
            return self._spikes[name].read(batch, step)
        streams = np.arange(batch.start, batch.stop)
        return input_signals(self.model, self._values[batch], step, self._seed, streams, _DTYPE)

    def _forget(self, name: str) -> None:
        """Delete the spikes of populations that nobody reads any more, to save space."""
        populations = self.model.populations
        names = list(populations)
        # poolings have been recorded with their neurons
        later = [n for n in names[names.index(name) + 1 :] if populations[n].role != "max_pool"]
        # what shares a scale with a later population is simulated again if that changes it
        readers = [*later, *self._junctions.undecided(later)]
        needed = {path.source for reader in readers for path in populations[reader].projections}
        for other in self._spikes.keys() - needed:
            self._spikes.pop(other).delete()

    def _all_batches(self) -> Iterator[slice]:
        return slices(len(self._values), _BATCH)


class _Spikes:
    """Spikes of a population, a bit each, in a file."""

    def __init__(self, path: Path, images: int, steps: int, population: Population) -> None:
        self._path = path
        self._shape = population.shape
        self._size = population.size
        self._bits = np.memmap(
            path, dtype=np.uint8, mode="w+", shape=(steps, images, -(-self._size // 8))
        )

    def write(self, batch: slice, step: int, spikes: np.ndarray) -> None:
        rows = spikes.reshape(len(spikes), -1) > 0
        self._bits[step, batch] = np.packbits(rows, axis=1)

    def read(self, batch: slice, step: int) -> np.ndarray:
        rows = np.unpackbits(self._bits[step, batch], axis=1, count=self._size)
        return rows.reshape(-1, *self._shape).astype(_DTYPE)

    def delete(self) -> None:
        del self._bits
        self._path.unlink()
