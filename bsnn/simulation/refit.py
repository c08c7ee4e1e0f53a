"""Thresholds fitted to the spikes of neurons that are not the ideal ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bsnn.conversion import SpikingModel
from bsnn.conversion.populations import per_channel
from bsnn.devices import start, use_device
from bsnn.errors import ConversionError
from bsnn.network.builder import build
from bsnn.network.network import SpikingNetwork
from bsnn.network.neuron_models import NeuronModel
from bsnn.progress import progress_bar

__all__ = ["refit_thresholds"]

# Rounds for each layer, and how little a round may change for it to be the last.
_ROUNDS = 6
_CLOSE = 0.01

# Where no neuron spikes the threshold is divided by so much.
_SILENT = 3.0

# A threshold that must be lower or higher than this is no answer.
_FACTORS = (1e-3, 1e3)


def refit_thresholds(
    model: SpikingModel,
    images: np.ndarray,
    *,
    neuron: str | NeuronModel | None = None,
    perturbations: Mapping[str, Any] | None = None,
    seed: int = 0,
    device: str = "cpp",
    progress: bool = True,
) -> SpikingModel:
    """Fit a network's thresholds to neurons of another kind, or to disturbed ones.

    Conversion assumes neurons that lose nothing, so that a rate is the value of a layer divided by
    its scale. Others spike more seldom (a leak, a refractory period, lost spikes) or more often.
    Layer after layer, from the first to the last, as Spike-Norm does (Sengupta et al. 2019,
    Algorithm 1), the thresholds are changed by one factor until the rates that the neurons have in
    the spiking network are, by least squares, those that the trained network asks for.


    Parameters
    ----------
    model : SpikingModel
        The network, with as many steps as it will be simulated for.
    images : numpy.ndarray
        Calibration images from the training set, shape ``(n, *input_shape)``; some dozens are
        enough.
    neuron, perturbations, seed
        As they will be simulated: see `bsnn.build`.
    device : str
        Where the network runs, once or more often for each layer: ``"cpp"`` or ``"runtime"``.
    progress : bool
        Show a progress bar.

    Returns
    -------
    SpikingModel
        The same network with other `threshold_factors`.

    Raises
    ------
    SettingsError
        The network is not rate-coded.
    ConversionError
        The neurons of a layer cannot be brought to their rates by their threshold.
    """
    model.check_offers("refit")
    images = model.check_images(images)
    names = [
        name
        for name, population in model.populations.items()
        if population.role in ("neurons", "read_out") and model.spikes(name)
    ]
    exact = model.spiking_graph.activations(images)
    factors: dict[str, float] = {}
    with use_device(device) as folder, progress_bar(disable=not progress) as shown:
        net = build(
            dataclasses.replace(model, threshold_factors={}),
            name="",
            images=len(images),
            neuron=neuron,
            perturbations=perturbations,
            seed=seed,
        )
        for name in names:
            net.record(name)
        run = _Runs(net, images, folder)
        task = shown.add_task("fitting thresholds", total=len(names))
        for name in names:
            population = model.populations[name]
            scale = per_channel(model.scales[name], population.shape)
            wanted = np.clip(exact[population.layer] / scale, 0, 1)
            factors[name] = _fitted(run, factors, name, wanted)
            shown.advance(task)
    return dataclasses.replace(model, threshold_factors=factors)


class _Runs:
    """Runs one network with thresholds that are changed from run to run."""

    def __init__(self, net: SpikingNetwork, images: np.ndarray, folder: Path | None) -> None:
        self._net, self._images = net, images
        self._before = {name: np.array(net[name].v_th[:]) for name in net.recorders}
        self._runner = start(net, folder)

    def rates(self, factors: Mapping[str, float], name: str) -> np.ndarray:
        """Return the spikes a step of each neuron of a population, for each image."""
        net = self._net
        thresholds = {net[k].v_th: factor * self._before[k] for k, factor in factors.items()}
        self._runner.run(self._images, values=thresholds)
        return net.recorded(name)[: len(self._images)] / net.model.steps


def _fitted(run: _Runs, factors: Mapping[str, float], name: str, wanted: np.ndarray) -> float:
    """Return the factor for a population, given those of the populations before it."""
    factor, squares = 1.0, 0.0
    for _ in range(_ROUNDS):
        rates = run.rates({**factors, name: factor}, name)
        squares = float((rates**2).sum())
        more = float((wanted * rates).sum()) / squares if squares else _SILENT
        factor /= more
        if not _FACTORS[0] < factor < _FACTORS[1]:
            break
        if abs(more - 1) < _CLOSE:
            return factor
    if squares and _FACTORS[0] < factor < _FACTORS[1]:
        return factor
    raise ConversionError(
        f"The neurons of {name!r} do not come to the rates that the trained network asks for, "
        f"whatever their threshold (it was multiplied by {factor:.3g}). Take milder parameters or "
        "perturbations, or more steps."
    )
