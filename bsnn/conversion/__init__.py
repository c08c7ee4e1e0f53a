"""Conversion of a trained network to a spiking model: codes, scales and thresholds."""

from bsnn.conversion.calibration import DEFAULT_PERCENTILE
from bsnn.conversion.convert import convert
from bsnn.conversion.convert_rate import RATE_NORMALISATIONS, convert_to_rate
from bsnn.conversion.convert_ttfs import convert_to_ttfs
from bsnn.conversion.encoders import ENCODERS, Encoder
from bsnn.conversion.gates import AVERAGE, DEFAULT_GATE, GATE_QUANTITIES, GATES
from bsnn.conversion.grid import on_grid
from bsnn.conversion.model import (
    CODINGS,
    CONVERTERS,
    Decoded,
    SpikingModel,
    load_model,
    register_coding,
)
from bsnn.conversion.populations import Population, Projection
from bsnn.conversion.projections import Drive, LinearMap
from bsnn.conversion.rate import BALANCES, RATE_READ_OUTS, RESETS, RESIDUAL_RULES, RateModel
from bsnn.conversion.rate_dynamics import RateDynamics
from bsnn.conversion.scales import NORMALISATIONS, rmse_by_scale
from bsnn.conversion.ttfs import FIRST_CODING, READ_OUTS, CodedImages, TtfsModel

#: What is to be had as ``bsnn.NAME``, too.
PUBLIC = (
    "RateModel",
    "SpikingModel",
    "TtfsModel",
    "convert",
    "convert_to_rate",
    "convert_to_ttfs",
    "load_model",
)

__all__ = [
    "AVERAGE",
    "BALANCES",
    "CODINGS",
    "CONVERTERS",
    "DEFAULT_GATE",
    "DEFAULT_PERCENTILE",
    "ENCODERS",
    "FIRST_CODING",
    "GATES",
    "GATE_QUANTITIES",
    "NORMALISATIONS",
    "PUBLIC",
    "RATE_NORMALISATIONS",
    "RATE_READ_OUTS",
    "READ_OUTS",
    "RESETS",
    "RESIDUAL_RULES",
    "CodedImages",
    "Decoded",
    "Drive",
    "Encoder",
    "LinearMap",
    "Population",
    "Projection",
    "RateDynamics",
    "RateModel",
    "SpikingModel",
    "TtfsModel",
    "convert",
    "convert_to_rate",
    "convert_to_ttfs",
    "load_model",
    "on_grid",
    "register_coding",
    "rmse_by_scale",
]
