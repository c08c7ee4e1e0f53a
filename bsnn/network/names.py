"""Names of the Brian2 objects of networks that stand side by side."""

from __future__ import annotations

import gc
import logging
import weakref
from itertools import count
from typing import Any

__all__ = ["keep_quiet_about", "unused_name"]

_living: weakref.WeakValueDictionary[str, Any] = weakref.WeakValueDictionary()


def unused_name(owner: Any, wanted: str | None) -> str:
    """Return what the names of a network's objects begin with.

    Parameters
    ----------
    owner : SpikingNetwork
        The network; its name is taken for as long as it lives.
    wanted : str or None
        The name, if it is given. Otherwise the first network has none, and one that is built while
        it waits for its first run has one of its own, so that both can stand in one
        `brian2.Network`. (Brian2 lets no object that was run join another network.)
    """
    if wanted is None:
        if _waits(""):
            # networks are in circles of references: those that nobody holds may still be there
            gc.collect()
        names = ("" if number == 0 else f"network_{number}" for number in count())
        wanted = next(name for name in names if not _waits(name))
    _living[wanted] = owner
    return wanted


def _waits(name: str) -> bool:
    network = _living.get(name)
    return network is not None and network.origin._network is None


_ours: set[str] = set()


def _is_of_others(record: logging.LogRecord) -> bool:
    return not any(f"The object '{name}' is" in record.getMessage() for name in _ours)


def keep_quiet_about(network: Any) -> None:
    """Let Brian2 not warn that objects were never in a network when one that was not run goes."""
    _ours.update(item.name for item in network.objects)


logging.getLogger("brian2.core.base.unused_brian_object").addFilter(_is_of_others)
