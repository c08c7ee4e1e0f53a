"""Units of all strings of a network, before it runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import brian2 as b2
from brian2.codegen.translation import analyse_identifiers
from brian2.core.base import BrianObject
from brian2.core.variables import Variable
from brian2.equations.unitcheck import check_units_statements
from brian2.groups.group import CodeRunner, Group
from brian2.groups.neurongroup import StateUpdater
from brian2.synapses.synapses import StateUpdater as SynapticStateUpdater

from bsnn.brian.shared import SharedConnections
from bsnn.errors import BuildError

__all__ = ["check_units"]


def check_units(network: b2.Network, source: BrianObject | None = None) -> None:
    """Refuse statements and equations whose units do not agree, as Brian2 does when they first run.

    Parameters
    ----------
    network : brian2.Network
        Objects whose namespaces are complete.
    source : brian2.BrianObject, optional
        A group of the user's, whose strings may need names of their script.

    Raises
    ------
    BuildError
        Which string of which object is wrong, and how.
    """
    checked = set()
    for item in _contained(network.objects):
        group: Any = getattr(item, "group", item)
        # a proxy of it equals it
        if source is not None and getattr(group, "name", None) == source.name:
            continue
        try:
            if isinstance(item, (b2.NeuronGroup, b2.Synapses)):
                item.equations.check_units(item, run_namespace={})
            elif isinstance(item, CodeRunner) and not isinstance(
                item, (StateUpdater, SynapticStateUpdater)
            ):
                # populations share their strings: each is checked once
                key = (_text(item), str(getattr(_target(group), "equations", "")))
                if key not in checked:
                    checked.add(key)
                    _check_statements(key[0], group, getattr(item, "variables", {}))
        except b2.DimensionMismatchError as error:
            raise BuildError(
                f"The strings of {getattr(group, 'name', item.name)!r} do not agree in their "
                f"units ({item.name}): {error}"
            ) from error


def _check_statements(code: str, group: Group, own: Mapping[str, Variable]) -> None:
    known = {**group.variables, **own}
    _, used, unknown = analyse_identifiers(code, known, recursive=True)
    names = (used | unknown) - set(own)
    check_units_statements(code, {**group.resolve_all(names, run_namespace={}), **own})


def _contained(objects: Iterable[BrianObject]) -> Iterator[BrianObject]:
    for item in objects:
        yield item
        yield from _contained(item.contained_objects)


def _target(group):
    return getattr(group, "target", group)


def _text(runner: CodeRunner) -> str:
    """Return the statements of an object; what finds its own in `before_run` says them itself."""
    group = runner.group
    if isinstance(group, SharedConnections):
        return group.on_pre
    if not runner.abstract_code:
        runner.update_abstract_code(run_namespace={})
    code = runner.abstract_code
    return "\n".join(code.values()) if isinstance(code, dict) else code or ""
