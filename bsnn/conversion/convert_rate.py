"""Conversion of a trained network to rate coding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from bsnn.conversion.calibration import (
    calibration_images,
    calibration_record,
    calibration_refused,
    chosen_percentile,
    positive_scale,
    scale_of_silence,
)
from bsnn.conversion.encoders import ENCODERS
from bsnn.conversion.gates import AVERAGE
from bsnn.conversion.model import CONVERTERS
from bsnn.conversion.pixels import FAR, is_within
from bsnn.conversion.rate import SETTINGS, RateModel
from bsnn.conversion.residual import Junctions
from bsnn.conversion.scales import (
    NORMALISATIONS,
    SPIKE_TIME_NORMALISATIONS,
    ScaleContext,
    given_scales,
)
from bsnn.conversion.shifted_pooling import with_shifted_poolings
from bsnn.conversion.spike_norm import spike_norm
from bsnn.conversion.spiking_form import spiking_form
from bsnn.conversion.statistics import ActivationStatistics
from bsnn.errors import ConversionError
from bsnn.graph import Graph, are_counts
from bsnn.registry import check_name
from bsnn.splitmix import check_seed

__all__ = ["RATE_NORMALISATIONS", "convert_to_rate"]

#: Names of the normalisations of rate coding.
RATE_NORMALISATIONS = ("data-based", "percentile", "model-based", "spike-norm")

_DEFAULTS = {
    **{name: getattr(RateModel, name) for name in SETTINGS if hasattr(RateModel, name)},
    "steps": 100,
    "read_out": "count",
}


def convert_to_rate(
    graph: Graph,
    images: np.ndarray,
    *,
    norm: str = "percentile",
    percentile: float | None = None,
    channels: bool = False,
    norm_steps: int | None = None,
    seed: int | None = None,
    input_scale: float | None = None,
    scales: Mapping[str, float | np.ndarray] | None = None,
    images_from: str = "unnamed",
    source: dict[str, str] | None = None,
    progress: bool = True,
    **settings: Any,
) -> RateModel:
    """Convert a trained network to integrate-and-fire neurons whose rates stand for activations.

    Parameters
    ----------
    graph : Graph
        The trained network: convolutions, dense layers, poolings, ReLUs, and sums of branches with
        a ReLU after them. A normalisation of the images is part of it.
    images : array_like
        Calibration images, from the training set, shape ``(n, *input_shape)``: plain pixels from 0
        to 1, or to the values that `input_scale` or the network's normalisation is of. With a
        constant input also images that were normalised beforehand.
    norm : str
        How the value that one spike a step stands for is found for each layer:
        ``"model-based"`` and ``"data-based"`` (Diehl et al. 2015), ``"percentile"`` (Rueckauer et
        al. 2017), ``"spike-norm"`` (Sengupta et al. 2019, Algorithm 1).
    percentile : float, optional
        For that rule; of the activations that are not zero. By default 99.9.
    channels : bool
        Find a scale for each channel (of a flat layer: for each neuron), not one for the layer.
    norm_steps : int, optional
        Steps for which Spike-Norm shows each image; by default `steps`.
    seed : int, optional
        Of the encoder's noise during Spike-Norm; by default 0.
    input_scale : float, optional
        The value, after the network's normalisation, that one spike a step stands for; the rate of
        a Poisson input is the value divided by it. By default the largest that a pixel from 0 to 1
        can have.
    scales : mapping of str to float, optional
        Scales that are not to be found but are known, by population: one number, or for rate coding
        one for each channel. Those of clipped rectifications are their clips in any case.
    images_from : str
        Name of the data set the images are from, for the record.
    source : dict, optional
        Where the trained network came from, for the record.
    progress : bool
        Show a progress bar for Spike-Norm.
    **settings
        Of the network, with these names:

        steps : int
            Time steps for which an image is shown, unless a simulation says otherwise; by default
            100.
        encoder : str
            How images enter: ``"constant"`` (a current, the default), ``"poisson"`` (Bernoulli
            spikes that carry the sign of the value, as in Sengupta et al.) or ``"regular"``
            (evenly spaced spikes).
        reset : str
            ``"subtract"`` (the threshold is subtracted, nothing is lost; the default) or
            ``"zero"`` (Sengupta et al.).
        balance : str
            ``"weights"`` (weight normalisation: thresholds are one; the default) or
            ``"thresholds"`` (threshold balancing: weights are the trained ones). Both give the same
            spikes.
        residual : str
            For residual networks, a name in `bsnn.conversion.RESIDUAL_RULES`; by default
            ``"equal"``.
        initial_potential : float
            Potential at the beginning of an image, as a share of the threshold, by default 0; a
            half rounds rates in place of flooring them.
        potential_floor : float, optional
            Lowest potential, in thresholds; zero or below.
        gate : str
            How max-pooling chooses the neuron of a window whose spikes pass: a name in
            `bsnn.conversion.GATES`; ``"average"`` (the trained network's max-poolings become
            average poolings); or an expression over `bsnn.conversion.GATE_QUANTITIES`.
        read_out : str
            ``"count"`` (most spikes, the default) or ``"potential"`` (the last layer integrates and
            does not spike).

    Returns
    -------
    RateModel

    Raises
    ------
    ConversionError
        An argument is out of range or of another normalisation, the images have values that cannot
        be encoded or meant (such as pixels that were not divided by 255), the network breaks a rule
        of the method (such as a max-pooling of values that are not rectified), or a layer is never
        active.
    """
    # those that are registered elsewhere are for both codings
    known = [name for name in NORMALISATIONS if name not in SPIKE_TIME_NORMALISATIONS]
    check_name(norm, [*known, "spike-norm"], "normalisation for rates")
    for name in settings:
        check_name(name, SETTINGS, "setting of rate coding")
    settings = _DEFAULTS | settings
    for name in ("initial_potential", "potential_floor"):
        settings[name] = None if settings[name] is None else float(settings[name])
    of_spike_norm = {"norm_steps": norm_steps, "seed": seed}
    norm_steps = int(settings["steps"] if norm_steps is None else norm_steps)
    seed = 0 if seed is None else seed
    percentile = chosen_percentile(percentile, norm)
    check_name(settings["encoder"], ENCODERS, "encoder")
    images, extremes = calibration_images(graph, images)
    graph = spiking_form(graph)
    if settings["gate"] != AVERAGE:
        graph = with_shifted_poolings(graph, images)
    if norm_steps < 1:
        raise ConversionError(f"norm_steps is {norm_steps}; at least one is needed.")
    further = {"seed": seed, "steps": norm_steps} if norm == "spike-norm" else {}
    model = RateModel(
        graph=graph,
        scales={},
        norm=norm,
        calibration=calibration_record(
            images, extremes, images_from, percentile if norm == "percentile" else None, **further
        ),
        source=dict(source or {}),
        **settings,
    )
    try:
        model.scales.update(dict.fromkeys(model.populations, 1.0))
        model.scales[model.input.name] = _input_scale(model, input_scale)
        model.check()
        check_seed(seed)
        model.check_pixels(extremes)
        fixed = given_scales(model.spiking_graph, model.populations, scales, by_channel=True)
    except ValueError as error:
        raise ConversionError(f"The network cannot be converted: {error}") from error
    _check_pixels(model, extremes, input_scale)
    _check_spike_norm(norm, of_spike_norm)
    if norm == "spike-norm":
        model = spike_norm(
            model,
            images,
            steps=norm_steps,
            seed=seed,
            channels=channels,
            fixed=fixed,
            progress=progress,
        )
    else:
        _from_activations(model, images, percentile, channels, fixed)
    for name, population in model.populations.items():
        positive_scale(model.scales[name], population.layer, len(images))
    return model


CONVERTERS.add(RateModel.coding, convert_to_rate)


def _check_spike_norm(norm: str, options: Mapping[str, int | None]) -> None:
    """Refuse what only Spike-Norm looks at for other normalisations."""
    given = [name for name, value in options.items() if value is not None]
    if given and norm != "spike-norm":
        raise ConversionError(
            f"{' and '.join(given)}: only Spike-Norm, which simulates, has a use for it, and the "
            f"normalisation is {norm!r}. Leave it out, or choose norm='spike-norm'."
        )


def _input_scale(model: RateModel, wanted: float | None) -> float:
    if wanted is not None:
        if not wanted > 0:
            raise ConversionError(f"input_scale is {wanted}; it must be positive.")
        return float(wanted)
    # a normalisation is monotone: its extremes are those of black and of white
    graph = model.graph
    extremes = np.stack([np.zeros(graph.input.shape), np.ones(graph.input.shape)])
    told = graph.evaluate(model.input.layer, {graph.input.name: extremes})
    return float(np.abs(told).max())


def _check_pixels(model: RateModel, extremes: np.ndarray, stated: float | None) -> None:
    """Refuse calibration images that the network cannot have been trained on.

    A current can be of any size and sign, so that a network may have been trained on images that
    were normalised beforehand. Not so pixels that were not divided by 255, unless the network's
    normalisation, or the scale that was stated, is of these.
    """
    low, high = float(extremes.min()), float(extremes.max())
    plain = model.plain_values
    if is_within(low, high, plain):
        return
    if model.normalises:
        largest = float(np.abs(model.encoded_values(extremes)).max())
        scale = model.scales[model.input.name]
        refused = model.graph.white == 1 and not is_within(0, largest, (0, scale))
    else:
        refused = low >= 0 and high > max(FAR, stated or 0)
    if refused or are_counts(extremes):
        raise calibration_refused(extremes, plain, model.normalises)


def _from_activations(
    model: RateModel,
    images: np.ndarray,
    percentile: float,
    channels: bool,
    fixed: Mapping[str, float | np.ndarray],
) -> None:
    """Find scales by looking at the trained network only."""
    graph, plan = model.spiking_graph, model.populations
    wanted = percentile if model.norm == "percentile" else None
    statistics = ActivationStatistics(graph, images, plan, wanted, channels)
    junctions = Junctions(model, fixed)
    normalised = model.input.layer != model.graph.input.name
    signed = {model.input.layer} if normalised or images.min() < 0 else set()
    for name, population in plan.items():
        if population.role in ("input", "max_pool"):
            continue
        if junctions.given(name):
            junctions.assign(name, 1.0)
            continue
        context = ScaleContext(
            graph=graph,
            population=population,
            statistics=statistics,
            source_scales={
                path.source: model.spike_amplitude(path, population)
                for path in population.projections
            },
            percentile=percentile,
            signed_layers=frozenset(signed),
            channels=channels and model.spikes(name),
        )
        found = NORMALISATIONS[model.norm](context)
        if not model.spikes(name) and not np.all(found > 0):
            found = scale_of_silence(statistics.extent(name))
        junctions.assign(name, found)
