"""Where a neuron stands in its layer, as variables that a Brian2 user can address.

Neurons are numbered channel last, image after image: ``((image*rows + y)*columns + x)*channels +
channel``. What is defined here are subexpressions: they take no memory, are computed where a string
names them, and are read only.
"""

from __future__ import annotations

import brian2 as b2

from bsnn.graph.layers import Shape

__all__ = ["with_positions"]


def with_positions(model: str | b2.Equations, shape: Shape, batch: int) -> b2.Equations:
    """Add ``x``, ``y`` and ``channel`` to the equations of a population that is a map.

    ``x`` is the column and ``y`` the row. A flat population has ``unit``, and where images are
    simulated side by side each has ``image``. A name that the equations define stays theirs.

    Parameters
    ----------
    model : str or brian2.Equations
        Of the group.
    shape : tuple of int
        Of the population: channels, rows and columns, or units.
    batch : int
        Images side by side.
    """
    equations = model if isinstance(model, b2.Equations) else b2.Equations(model)
    if len(shape) == 3:
        channels, rows, columns = shape
        size = channels * rows * columns
        places = {
            "x": f"(i // {channels}) % {columns}",
            "y": f"(i // {channels * columns}) % {rows}",
            "channel": f"i % {channels}",
        }
    else:
        (size,) = shape
        places = {"unit": f"i % {size}"}
    if batch > 1:
        places["image"] = f"i // {size}"
    return equations + b2.Equations(
        "\n".join(
            f"{name} = {text} : integer"
            for name, text in places.items()
            if name not in equations.names
        )
    )
