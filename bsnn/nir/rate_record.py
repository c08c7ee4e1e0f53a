"""What bsnn adds to a NIR graph: the facts that NIR has no place for, as metadata.

They stand under the key ``bsnn``, of the graph (coding, scales, reset rule, encoder) and of nodes.
Readers that know nothing of bsnn skip them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bsnn.conversion import RateModel

__all__ = ["KEY", "MODEL", "SCHEMA", "model_fields", "model_record", "note_of"]

#: Where the metadata of a graph, and those of a node, have bsnn's.
KEY = "bsnn"

#: Version of this record.
SCHEMA = 1

#: What NIR's neurons are read as, and written from: they spike in every step, as rates need it.
MODEL = RateModel

#: Fields of a model that are kept beside those of `RateModel.conversion_tree`.
_SHARED = ("read_out", "norm", "calibration", "source")

#: What is not kept: how max-poolings chose, of which there are none, and a log of the conversion.
_LEFT_OUT = ("gate", "trace")


def model_record(model: RateModel) -> dict[str, Any]:
    """Return all of a model but its graph."""
    tree = {**model.conversion_tree(), **{name: getattr(model, name) for name in _SHARED}}
    return {name: value for name, value in tree.items() if name not in _LEFT_OUT}


def model_fields(record: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of `RateModel` that a record has; raise `KeyError` if some lack."""
    shared = {name: record[name] for name in _SHARED}
    return {**RateModel.fields_from_tree(record), **shared}


def note_of(node: Any) -> dict[str, Any]:
    """Return bsnn's metadata of a node, or of a graph; empty if there are none."""
    found = (node.metadata or {}).get(KEY, {})
    return _plain(found) if isinstance(found, dict) else {}


def _plain(value: Any) -> Any:
    """Turn what a file gives for a number into a number again."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0):
        return value.item()
    return value
