"""Conversion of a trained network to any coding."""

from __future__ import annotations

import inspect
from typing import Any

from numpy.typing import ArrayLike

from bsnn.conversion.model import CONVERTERS, SpikingModel
from bsnn.graph import Graph
from bsnn.registry import check_name

__all__ = ["convert"]


def convert(graph: Graph, images: ArrayLike, *, coding: str, **options: Any) -> SpikingModel:
    """Convert a trained network to a coding, by its name.

    Parameters
    ----------
    graph : Graph
        The trained network.
    images : array_like
        Calibration images, from the training set, shape ``(n, *input_shape)``.
    coding : str
        A name in `bsnn.conversion.CONVERTERS`, such as ``"rate"`` or ``"ttfs"``.
    **options
        Of the coding: see `bsnn.convert_to_rate` and `bsnn.convert_to_ttfs`.

    Returns
    -------
    SpikingModel

    Raises
    ------
    UnknownNameError
        There is no such coding, or it has no such option.
    ConversionError
        The network cannot be converted.
    """
    converter = CONVERTERS[coding]
    known = inspect.signature(converter).parameters
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values()):
        for name in options:
            check_name(name, list(known)[2:], f"option of the coding {coding}")
    return converter(graph, images, **options)
