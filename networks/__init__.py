"""The networks of the papers: what it takes to train, convert and reproduce each.

One folder a paper, named after authors and year. Each offers

``SHIPPED``
    Trained and converted networks that come with bsnn, by name.
``PAPER``
    A `Paper`, with which ``bsnn train`` and ``bsnn reproduce`` train and reproduce them; ``train``
    and ``reproduce`` are its.
"""

from __future__ import annotations

import importlib
from types import ModuleType

from bsnn.registry import check_name

__all__ = ["PAPERS", "paper"]

PAPERS = ("lopez_randulfe_2022", "nguyen_2020", "sengupta_2019")


def paper(name: str) -> ModuleType:
    """Return the module of a paper's networks.

    Raises
    ------
    UnknownNameError
        There is none of that name.
    """
    check_name(name, PAPERS, "paper")
    return importlib.import_module(f"bsnn.networks.{name}")
