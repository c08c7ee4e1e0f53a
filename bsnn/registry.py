"""Things that are found by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from bsnn.errors import SettingsError, UnknownNameError

__all__ = ["Registry", "check_name", "unknown_name"]

Entry = TypeVar("Entry", bound=Any)


class Registry(dict[str, Entry]):
    """Entries of one kind by their names; a name that is not there is an error that says which are.

    Parameters
    ----------
    kind : str
        What the entries are, for messages.
    entries : mapping or iterable, optional
        Those that are there from the beginning, by name, or each with a ``name`` of its own.

    Examples
    --------
    >>> gates = Registry("gate", {"count": 1, "average": 2})
    >>> gates["avarage"]
    Traceback (most recent call last):
        ...
    bsnn.errors.UnknownNameError: There is no gate 'avarage'. Did you mean 'average'? Known are
    count, average.
    """

    def __init__(self, kind: str, entries: Mapping[str, Entry] | Iterable[Entry] = ()) -> None:
        if not isinstance(entries, Mapping):
            entries = {entry.name: entry for entry in entries}
        super().__init__(entries)
        self.kind = kind

    def __missing__(self, name: str) -> Entry:
        raise unknown_name(name, self, self.kind)

    def add(self, name: str, entry: Entry) -> Entry:
        """Make an entry known by a name; return it.

        Raises
        ------
        SettingsError
            The name is another entry's.
        """
        if self.get(name, entry) is not entry:
            raise SettingsError(
                f"There is a {self.kind} {name!r} already. Choose another name, or take the old "
                "one out first (with del)."
            )
        self[name] = entry
        return entry

    def entry(self, *names: str) -> Callable[[Entry], Entry]:
        """Return a decorator that makes what it is put before known by names (see `add`)."""

        def add(entry: Entry) -> Entry:
            for name in names:
                self.add(name, entry)
            return entry

        return add


def unknown_name(
    name: object, known: Iterable[str], kind: str, advice: str = ""
) -> UnknownNameError:
    """Return the error for a name that is none of those known, of what `kind` says."""
    names = list(known)
    close = difflib.get_close_matches(str(name), names, 1)
    return UnknownNameError(
        f"There is no {kind} {name!r}."
        + (f" Did you mean {close[0]!r}?" if close else "")
        + f" Known are {', '.join(names) or 'none'}."
        + (f" {advice}" if advice else "")
    )


def check_name(name: object, known: Iterable[str], kind: str) -> None:
    """Refuse a name that is none of those known, with an `UnknownNameError`."""
    names = list(known)
    if name not in names:
        raise unknown_name(name, names, kind)
