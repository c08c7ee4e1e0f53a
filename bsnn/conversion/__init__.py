"""Conversion of a trained network to a spiking model: codes, scales and thresholds."""

from bsnn.conversion.convert import convert_to_ttfs
from bsnn.conversion.model import READ_OUTS, CodedImages, SpikingModel, load_model
from bsnn.conversion.populations import Population, Projection
from bsnn.conversion.scales import SCALE_RULES, rmse_by_scale

__all__ = [
    "READ_OUTS",
    "SCALE_RULES",
    "CodedImages",
    "Population",
    "Projection",
    "SpikingModel",
    "convert_to_ttfs",
    "load_model",
    "rmse_by_scale",
]
