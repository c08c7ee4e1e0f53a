"""Max-pooling in hardware: vectors from Brian2, and the Verilated block that must agree."""

from bsnn.cosimulation.cosimulate import LayerCosimulation, cosimulate
from bsnn.cosimulation.fixed_point import integer_pool, quantise
from bsnn.cosimulation.harness import Harness, Replay
from bsnn.cosimulation.recording import PoolRecording, poolings, record_pools
from bsnn.cosimulation.vectors import PoolVectors

__all__ = [
    "Harness",
    "LayerCosimulation",
    "PoolRecording",
    "PoolVectors",
    "Replay",
    "cosimulate",
    "integer_pool",
    "poolings",
    "quantise",
    "record_pools",
]
