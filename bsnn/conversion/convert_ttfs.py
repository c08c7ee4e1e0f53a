"""Conversion of a trained network to time-to-first-spike coding."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from bsnn.conversion.calibration import (
    calibration_images,
    calibration_record,
    calibration_refused,
    chosen_percentile,
    positive_scale,
    scale_of_silence,
)
from bsnn.conversion.model import CONVERTERS
from bsnn.conversion.pixels import is_within
from bsnn.conversion.populations import populations
from bsnn.conversion.scales import NORMALISATIONS, ScaleContext, given_scales
from bsnn.conversion.shifted_pooling import with_shifted_poolings
from bsnn.conversion.spike_time_pass import SpikeTimePass
from bsnn.conversion.spiking_form import spiking_form
from bsnn.conversion.statistics import ActivationStatistics
from bsnn.conversion.ttfs import READ_OUTS, TtfsModel
from bsnn.errors import ConversionError
from bsnn.graph import Graph
from bsnn.registry import check_name

__all__ = ["convert_to_ttfs"]


def convert_to_ttfs(
    graph: Graph,
    images: np.ndarray,
    *,
    steps: int = 16,
    norm: str = "percentile",
    percentile: float | None = None,
    rounding: bool = False,
    read_out: str = "potential",
    input_scale: float = 1.0,
    scales: Mapping[str, float] | None = None,
    images_from: str = "unnamed",
    source: dict[str, str] | None = None,
) -> TtfsModel:
    """Convert a trained network to the two-stage code of López-Randulfe et al. (2022).

    Parameters
    ----------
    graph : Graph
        The trained network.
    images : array_like
        Calibration images, from the training set, shape ``(n, *input_shape)``, values from 0 to
        `input_scale`.
    steps : int
        Time steps in a window. More are more precise and cost more spikes.
    norm : str
        How the largest value that a layer codes is chosen: ``"data-based"`` (largest activation),
        ``"percentile"``, ``"model-based"`` (the paper's eq. 5) or ``"min-rmse"`` (least error of
        the layer at this number of steps, what the paper did).
    percentile : float, optional
        For that rule; of the activations that are not zero. By default 99.9.
    rounding : bool
        Start neurons with half a step's charge, which rounds spike times instead of flooring
        them. False is the paper's neuron.
    read_out : str
        ``"potential"`` (the last layer integrates and does not spike) or ``"first-spike"``.
    input_scale : float
        Pixel value that spikes at once.
    scales : mapping of str to float, optional
        Scales that are not to be found but are known, by population. Those of clipped
        rectifications are their clips in any case.
    images_from : str
        Name of the data set the images are from, for the record.
    source : dict, optional
        Where the trained network came from, for the record.

    Returns
    -------
    TtfsModel

    Raises
    ------
    ConversionError
        An argument is out of range or of another normalisation, the images do not fit, or a layer
        is never active.
    """
    _check_arguments(steps, norm, read_out, input_scale)
    percentile = chosen_percentile(percentile, norm)
    graph = spiking_form(graph)
    images, extremes = calibration_images(graph, images)
    limits = (0.0, float(input_scale))
    if not is_within(float(extremes.min()), float(extremes.max()), limits):
        raise calibration_refused(extremes, limits)
    graph = with_shifted_poolings(graph, images)
    plan = populations(graph)
    fixed = given_scales(graph, plan, scales, by_channel=False)
    statistics = ActivationStatistics(
        graph, images, plan, percentile if norm == "percentile" else None
    )
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="bsnn_scales_") as folder:
        told = SpikeTimePass(graph, images, plan, steps, rounding, Path(folder))
        for name, population in plan.items():
            if population.role == "input":
                found[name] = float(input_scale)
            elif population.role == "max_pool":
                found[name] = found[population.projections[0].source]
            elif name in fixed:
                found[name] = float(fixed[name])
            else:
                context = ScaleContext(
                    graph=graph,
                    population=population,
                    statistics=statistics,
                    pairs=lambda name=name: told.pairs(name, found),
                    source_scales=found,
                    steps=steps,
                    rounding=rounding,
                    percentile=percentile,
                )
                scale = NORMALISATIONS[norm](context)
                if population.role == "read_out" and read_out == "potential" and not scale > 0:
                    scale = scale_of_silence(statistics.extent(name))
                # what is found is a number
                found[name] = float(positive_scale(scale, population.layer, len(images)))
    return TtfsModel(
        graph=graph,
        steps=steps,
        scales=found,
        rounding=rounding,
        read_out=read_out,
        norm=norm,
        calibration=calibration_record(
            images, extremes, images_from, percentile if norm == "percentile" else None
        ),
        source=dict(source or {}),
    )


CONVERTERS.add(TtfsModel.coding, convert_to_ttfs)


def _check_arguments(steps: int, norm: str, read_out: str, input_scale: float) -> None:
    if steps < 1:
        raise ConversionError(f"steps is {steps}; a window has at least one step.")
    check_name(norm, NORMALISATIONS, "normalisation for spike times")
    check_name(read_out, READ_OUTS, "read-out")
    if not input_scale > 0:
        raise ConversionError(f"input_scale is {input_scale}; it must be positive.")
