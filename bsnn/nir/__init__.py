"""Neuromorphic Intermediate Representation: networks to and from other simulators."""

from bsnn.nir.nir_export import NirExport, export_nir, save_nir, to_nir, write_graph
from bsnn.nir.nir_import import NirNetwork, from_nir

__all__ = [
    "NirExport",
    "NirNetwork",
    "export_nir",
    "from_nir",
    "save_nir",
    "to_nir",
    "write_graph",
]
