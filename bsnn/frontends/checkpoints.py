"""The weights of a module in the files that training loops write.

A file may hold a state dict, or a dictionary with one in it; the state dict's keys may have the
prefixes of wrappers (``module.`` of DataParallel, ``_orig_mod.`` of ``torch.compile``, ``model.``
of Lightning). Files are read as data: nothing in them is executed.
"""

from __future__ import annotations

import os
import pickle
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bsnn.errors import StorageError, first_line

__all__ = ["load_weights"]

# Components of a key that wrappers put there, and that are no module's of the network.
_WRAPPERS = ("module", "_orig_mod")

# Where a checkpoint has its state dict, the likeliest first.
_PLACES = (
    "state_dict", "model_state_dict", "model_state", "model", "net", "network", "weights", "params",
    "module", "generator", "student", "encoder",
)  # fmt: skip
_AVERAGES = ("ema", "swa", "averag")

# What a state dict may lack or have besides: counters that no result depends on.
_COUNTERS = ("num_batches_tracked", "n_averaged")

State = dict[str, torch.Tensor]


def load_weights(model: nn.Module, path: str | os.PathLike[str]) -> list[str]:
    """Load the weights in a file into a module.

    Parameters
    ----------
    model : torch.nn.Module
        The module; it is changed.
    path : path
        Written by ``torch.save``, or a safetensors file. It holds a state dict, alone or in a
        dictionary, with or without the prefixes of wrappers.

    Returns
    -------
    list of str
        What was unwrapped, in a sentence each; empty for a plain state dict.

    Raises
    ------
    StorageError
        The file cannot be read, holds more than tensors and plain values, or its keys or shapes
        are not those of the module.
    """
    path = Path(path)
    found = _states(_read(path), path)
    first: StorageError | None = None
    for place, state in found:
        try:
            fitted, notes = _fit(state, model, path)
        except StorageError as error:
            first = first or error
            continue
        if place:
            notes.insert(0, f"{path.name}: the weights are those under {place!r}.")
        others = [name for name, _ in found if _is_average(name) and name != place]
        if others and not _is_average(place):
            notes.append(
                f"{path.name} has averaged weights too, under {others[0]!r}; these were not taken."
            )
        missing = model.load_state_dict(fitted, strict=False).missing_keys
        assert all(_is_counter(name) for name in missing), missing
        return notes
    assert first is not None
    raise first


def _read(path: Path) -> Any:
    if not path.is_file():
        raise StorageError(f"The weights {path} do not exist.")
    if _is_safetensors(path):
        try:
            from safetensors import SafetensorError
            from safetensors.torch import load_file
        except ModuleNotFoundError:
            raise StorageError(
                f"{path} is a safetensors file, for which a package is needed: "
                "pip install safetensors."
            ) from None
        try:
            return load_file(path)
        except (SafetensorError, OSError, ValueError) as error:
            raise StorageError(f"{path} cannot be read as safetensors: {error}.") from error
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        if isinstance(error, pickle.UnpicklingError) and "global" in str(error).lower():
            raise _not_only_weights(path) from error
        reason = first_line(error)
        raise StorageError(
            f"{path} cannot be read as a file of PyTorch's: {reason} A state dict is needed: "
            "torch.save(model.state_dict(), 'net.pt')."
        ) from error


def _is_safetensors(path: Path) -> bool:
    """Say whether a file begins with the length of a header, and a header of JSON."""
    if path.suffix == ".safetensors":
        return True
    with path.open("rb") as file:
        start = file.read(9)
    return len(start) == 9 and start[8:] == b"{" and struct.unpack("<Q", start[:8])[0] < 1 << 27


def _not_only_weights(path: Path) -> StorageError:
    try:
        unknown = sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except Exception:  # an older torch, or another format: its names are not known
        unknown = []
    names = f" ({', '.join(unknown[:3])}{', ...' if len(unknown) > 3 else ''})" if unknown else ""
    return StorageError(
        f"{path} holds objects of Python besides tensors{names}, a whole module perhaps. To load "
        "those would run code that the file names, and bsnn does not. Save the state dict alone in "
        "the program that made the file: torch.save(model.state_dict(), 'net.pt')."
    )


# Which of a file's dictionaries is the state dict


def _states(content: Any, path: Path) -> list[tuple[str, State]]:
    """Return all state dicts in a file with the keys that lead to them, the likeliest first."""
    if isinstance(content, torch.jit.ScriptModule):
        content = content.state_dict()
    found = list(_search(content, ""))
    if not found:
        what = f"a dictionary with {_listed(content)}" if isinstance(content, Mapping) else (
            f"a {type(content).__name__}"
        )  # fmt: skip
        raise StorageError(
            f"{path} holds {what}, and no state dict. Save one: "
            "torch.save(model.state_dict(), 'net.pt')."
        )
    return sorted(found, key=lambda pair: _likelihood(pair[0]))


def _search(content: Any, place: str) -> Iterator[tuple[str, State]]:
    if not isinstance(content, Mapping):
        return
    tensors = {
        key: value
        for key, value in content.items()
        if isinstance(key, str) and isinstance(value, torch.Tensor)
    }
    # a dictionary with something else in it, such as a loss, is no state dict
    if tensors and not any(isinstance(value, Mapping) for value in content.values()):
        yield place, tensors
        return
    for key, value in content.items():
        yield from _search(value, f"{place}.{key}" if place else str(key))


def _is_average(place: str) -> bool:
    return any(word in place.lower() for word in _AVERAGES)


def _likelihood(place: str) -> tuple[bool, bool, int]:
    known = [number for number, name in enumerate(_PLACES) if name == place.split(".")[-1]]
    return _is_average(place), "optim" in place.lower(), min(known, default=len(_PLACES))


# Prefixes


def _is_counter(key: str) -> bool:
    return key.rsplit(".", 1)[-1] in _COUNTERS


def _bare(key: str) -> str:
    return ".".join(part for part in key.split(".") if part not in _WRAPPERS)


def _fit(state: State, model: nn.Module, path: Path) -> tuple[State, list[str]]:
    """Return a state dict by the keys of the module, and what was taken off its own."""
    wanted = model.state_dict()
    for own, words in _renamings(state, wanted):
        needed = {key for key in wanted if not _is_counter(key)}
        if not needed <= own.keys():
            continue
        fitted = {key: own[key] for key in wanted if key in own}
        if any(fitted[key].shape != wanted[key].shape for key in fitted):
            continue
        notes = [f"{path.name}: {words}."] if words else []
        left = [key for key in own if key not in wanted and not _is_counter(key)]
        if left:
            continue
        others = [key for key in state if not any(value is state[key] for value in own.values())]
        if others:
            notes.append(f"{path.name}: left out {_listed(others)}.")
        return fitted, notes
    raise _difference(state, wanted, model, path)


def _renamings(state: State, wanted: Mapping[str, Any]) -> Iterator[tuple[State, str]]:
    """All ways to name the tensors, and what they are in words."""
    yield state, ""
    by_bare = {_bare(key): key for key in wanted}
    bare = {_bare(key): value for key, value in state.items()}
    if len(by_bare) == len(wanted) and len(bare) == len(state):
        wrappers = [
            repr(f"{wrapper}.")
            for wrapper in _WRAPPERS
            if any(wrapper in key.split(".") for key in [*state, *wanted])
        ]
        words = f"keys were matched without {' and '.join(wrappers)}"
        if wrappers:
            yield {by_bare.get(key, key): value for key, value in bare.items()}, words
        # of Lightning, or of a module that has the network as an attribute
        for prefix in dict.fromkeys(key.split(".")[0] for key in bare):
            inner = _without(bare, prefix)
            taken = " and ".join([*wrappers, repr(f"{prefix}.")])
            yield (
                {by_bare.get(key, key): value for key, value in inner.items()},
                f"keys were matched without {taken}",
            )
        (*prefixes,) = dict.fromkeys(key.split(".")[0] for key in by_bare)
        if len(prefixes) == 1:
            outer = {f"{prefixes[0]}.{key}": value for key, value in bare.items()}
            yield (
                {by_bare.get(key, key): value for key, value in outer.items()},
                f"keys were matched with '{prefixes[0]}.' before them",
            )


def _without(state: State, prefix: str) -> State:
    start = f"{prefix}."
    return {key[len(start) :]: value for key, value in state.items() if key.startswith(start)}


def _difference(
    state: State, wanted: Mapping[str, torch.Tensor], model: nn.Module, path: Path
) -> StorageError:
    missing = [key for key in wanted if key not in state and not _is_counter(key)]
    more = [key for key in state if key not in wanted and not _is_counter(key)]
    shapes = [
        f"{key} {tuple(state[key].shape)} instead of {tuple(wanted[key].shape)}"
        for key in wanted
        if key in state and state[key].shape != wanted[key].shape
    ]
    lines = [f"{path} does not hold the weights of {type(model).__name__}."]
    if missing:
        lines.append(f"The file lacks {_listed(missing)}.")
    if more:
        lines.append(f"It has {_listed(more)} instead." if missing else f"It has {_listed(more)}.")
    if shapes:
        lines.append(f"Of another shape: {_listed(shapes)}.")
    return StorageError("\n".join(lines))


def _listed(names: Any) -> str:
    names = [str(name) for name in names]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{', '.join(names[:3])}{more}"
