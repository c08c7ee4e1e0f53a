"""What the connections of a network are called."""

from __future__ import annotations

from collections.abc import Container

from bsnn.conversion import Population, Projection, SpikingModel

__all__ = ["connection_name", "connection_names"]


def connection_name(source: str, target: str, taken: Container[str]) -> str:
    """Return the name of a connection between populations, of which there may be several."""
    name = f"{source}_to_{target}"
    candidate, number = name, 1
    while candidate in taken:
        number += 1
        candidate = f"{name}_path{number}"
    return candidate


def connection_names(model: SpikingModel) -> dict[str, tuple[Projection, Population]]:
    """Return the connections with weights by name, in the order in which they are built."""
    names: dict[str, tuple[Projection, Population]] = {}
    for population in model.populations.values():
        if population.role != "max_pool":
            for path in population.projections:
                names[connection_name(path.source, population.name, names)] = (path, population)
    return names
