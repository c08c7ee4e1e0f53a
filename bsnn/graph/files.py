"""Trained networks in files: a graph as a tree for `bsnn.storage`, and back."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import os
from collections.abc import Mapping

import numpy as np

from bsnn.errors import GraphError, StorageError
from bsnn.graph.graph import Graph
from bsnn.graph.layers import LAYER_KINDS
from bsnn.storage import Tree, read_tree, required, versions, write_tree

__all__ = [
    "ARRAY_TYPES",
    "as_stored",
    "graph_from_tree",
    "graph_to_tree",
    "load_graph",
    "provenance",
    "save_graph",
    "weights_sha256",
]

#: Types that trained arrays can have in a file.
ARRAY_TYPES = ("float32", "float16")


def as_stored(graph: Graph, dtype: str) -> Graph:
    """Return a graph with the arrays that will be read from a file in which they have this type.

    Raises
    ------
    StorageError
        The type is not one of `ARRAY_TYPES`, or cannot hold a value.
    """
    if dtype not in ARRAY_TYPES:
        raise StorageError(
            f"Arrays cannot be stored as {dtype!r}; known types are {', '.join(ARRAY_TYPES)}."
        )
    layers = []
    for layer in graph:
        arrays = {}
        for name, array in layer.arrays.items():
            with np.errstate(over="ignore"):
                arrays[name] = array.astype(dtype).astype(np.float32)
            lost = int(np.count_nonzero(np.isfinite(array) & ~np.isfinite(arrays[name])))
            if lost:
                raise StorageError(
                    f"/graph/{layer.name}/{name} has {lost} values up to "
                    f"{np.abs(array).max():.3g}, too large for {dtype}. Store it as float32."
                )
        layers.append(dataclasses.replace(layer, **arrays))
    try:
        return Graph(layers, graph.output)
    except GraphError as error:
        # a deviation became zero
        raise StorageError(
            f"The network cannot be stored as {dtype}: {error}. Store it as float32."
        ) from error


def graph_to_tree(graph: Graph, dtype: str = "float32") -> Tree:
    """Return a graph as a tree that `write_tree` takes.

    Parameters
    ----------
    graph : Graph
        The network.
    dtype : str
        Type of the arrays in the file, one of `ARRAY_TYPES`. They are read as float32 again.

    Raises
    ------
    StorageError
        The type cannot hold a value.
    """
    graph = as_stored(graph, dtype)
    tree: Tree = {
        "layers": tuple(layer.name for layer in graph),
        "output": graph.output,
        "array_layout": "NCHW; Conv2d weights (out, in / groups, height, width), Linear (out, in)",
    }
    for layer in graph:
        tree[layer.name] = {
            "kind": layer.kind,
            "inputs": layer.inputs,
            **layer.geometry,
            **{name: array.astype(dtype) for name, array in layer.arrays.items()},
        }
    return tree


def graph_from_tree(tree: Tree, path: str | os.PathLike[str]) -> Graph:
    """Make a graph from the tree of a whole file; `path` is named in errors.

    Raises
    ------
    StorageError
        A layer is missing or of an unknown kind, an array is missing, of a wrong shape or not
        finite, or the arrays do not have the SHA-256 under ``/provenance``.
    """
    digest = tree.get("provenance", {}).get("weights_sha256")
    tree = required(tree, "graph", path, "/")
    layers = []
    for name in required(tree, "layers", path, "/graph"):
        where = f"/graph/{name}"
        record = dict(required(tree, name, path, "/graph"))
        kind = required(record, "kind", path, where)
        layer_type = LAYER_KINDS.get(kind)
        if layer_type is None:
            raise StorageError(
                f"{path}: {where} is a layer of the unknown kind {kind!r}; known are "
                f"{', '.join(LAYER_KINDS)}."
            )
        del record["kind"]
        for array_name in layer_type.array_fields:
            array = record.get(array_name)
            if array is None:
                continue
            if not isinstance(array, np.ndarray) or array.dtype.name not in ARRAY_TYPES:
                types = " or ".join(ARRAY_TYPES)
                raise StorageError(f"{path}: {where}/{array_name} is no {types} dataset.")
            array = record[array_name] = array.astype(np.float32, copy=False)
            bad = int(np.count_nonzero(~np.isfinite(array)))
            if bad:
                raise StorageError(
                    f"{path}: {where}/{array_name} has {bad} values that are NaN or infinite."
                )
        try:
            layers.append(layer_type(name=name, **record))
        except TypeError as error:
            raise StorageError(
                f"{path}: {where} does not describe a layer of kind {kind!r}: {error}."
            ) from error
    try:
        graph = Graph(layers, output=required(tree, "output", path, "/graph"))
    except (GraphError, IndexError, AttributeError) as error:
        raise StorageError(f"{path}: /graph is not a consistent network: {error}.") from error
    if digest != weights_sha256(graph):
        raise StorageError(
            f"{path}: the trained arrays under /graph do not have the SHA-256 under /provenance: "
            "they were changed after the file was written. Make or fetch it again."
        )
    return graph


def save_graph(
    graph: Graph,
    path: str | os.PathLike[str],
    source: Mapping[str, str] | None = None,
    dtype: str = "float32",
) -> None:
    """Write a trained network to a file.

    Parameters
    ----------
    graph : Graph
        The network.
    path : path
        File to write.
    source : mapping, optional
        Where the network came from, as names and texts; kept under ``/provenance``.
    dtype : str
        Type of the arrays in the file: ``"float32"``, or ``"float16"`` for half the size.

    Raises
    ------
    StorageError
        The file cannot be written, or the type cannot hold a value.
    """
    tree = {
        "graph": graph_to_tree(graph, dtype),
        "provenance": provenance(graph, source, dtype),
    }
    write_tree(path, "model", tree)


def load_graph(path: str | os.PathLike[str]) -> Graph:
    """Read the trained network from a file, whether it was converted or not."""
    return graph_from_tree(read_tree(path, "model"), path)


def weights_sha256(graph: Graph) -> str:
    """Return the SHA-256 of the trained arrays: names, shapes and bytes, in layer order."""
    digest = hashlib.sha256()
    for layer in graph:
        for name, array in layer.arrays.items():
            digest.update(f"{layer.name}/{name}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array, dtype="<f4").tobytes())
    return digest.hexdigest()


def provenance(
    graph: Graph, source: Mapping[str, str] | None = None, dtype: str = "float32"
) -> Tree:
    """Return when, with what and from what a file was made, in which arrays are of a type."""
    return {
        "created": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "weights_sha256": weights_sha256(as_stored(graph, dtype)),
        **versions(),
        **(source or {}),
    }
