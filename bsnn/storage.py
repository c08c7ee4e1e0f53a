"""Storage in HDF5: versioned, self-describing, written atomically and checked when read.

A file begins with its seal: two lines of text with the SHA-256 of all that follows. It is checked
before anything else is read, so that no damaged byte becomes another number. The seal lies in what
HDF5 calls a user block, which other readers of HDF5 skip; files from before there were seals, which
begin with HDF5's own signature, are read without.

What follows is a tree of groups. Arrays are datasets, everything else is an attribute:

    /                     format = "bsnn", schema_version, content
    /graph                layers (names in order), output, array_layout = "NCHW"
    /graph/<layer>        kind, inputs and geometry; datasets such as weight and bias
    /conversion           coding, steps per window, scales, thresholds, calibration
    /provenance           versions, date, and the SHA-256 of the trained arrays in float32

Results and checkpoints are files of the same form with other sections. What is kept as JSON has its
SHA-256 as the last of its keys.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
import platform
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np

from bsnn.errors import StorageError

__all__ = [
    "SCHEMA_VERSION",
    "Tree",
    "check_file",
    "check_folder",
    "file_content",
    "file_mask",
    "located",
    "package_version",
    "read_json",
    "read_tree",
    "replacing",
    "required",
    "shipped_models",
    "versions",
    "write_json",
    "write_tree",
]

#: Version of the layout that this bsnn writes.
SCHEMA_VERSION = 2

#: Groups as mappings, datasets as arrays, attributes as numbers, strings and tuples of these.
Tree = dict[str, Any]

_FORMAT = "bsnn"

# The smallest user block that HDF5 knows, and with what it and an HDF5 file without one begin.
_SEAL_BYTES = 512
_SEAL_MARK = b"bsnn: "
_HDF5_MARK = b"\x89HDF\r\n\x1a\n"

_JSON_SEAL = "sha256"


def _from_version_1(tree: Tree) -> Tree:
    """Normalisations and steps had other names, and results named no coding."""
    conversion = tree.get("conversion")
    if conversion is not None and "scale_rule" in conversion:
        rule = conversion.pop("scale_rule")
        conversion["norm"] = {"max": "data-based", "worst-case": "model-based"}.get(rule, rule)
    result = tree.get("result")
    if result is not None and "steps_per_window" in result:
        result["steps"] = result.pop("steps_per_window")
    return tree


#: For each older version, the function that turns its tree into the next version's.
MIGRATIONS: dict[int, Callable[[Tree], Tree]] = {1: _from_version_1}


def write_tree(path: str | os.PathLike[str], content: str, tree: Mapping[str, Any]) -> None:
    """Write a tree to a file, which appears whole or not at all.

    Parameters
    ----------
    path : path
        File to write; replaced if it exists.
    content : str
        What the file holds: ``"model"``, ``"result"`` or ``"checkpoint"``.
    tree : mapping
        Mappings become groups, arrays become datasets, other values attributes.

    Raises
    ------
    StorageError
        The file cannot be written.
    """
    with replacing(path) as temporary:
        with h5py.File(temporary, "w", userblock_size=_SEAL_BYTES) as file:
            file.attrs["format"] = _FORMAT
            file.attrs["schema_version"] = SCHEMA_VERSION
            file.attrs["content"] = content
            _write_group(file, tree)
        _write_seal(temporary)


def _write_seal(path: Path) -> None:
    """Fill the user block of an HDF5 file."""
    with path.open("r+b") as file:
        seal = _seal(file)
        file.seek(0)
        file.write(seal)


def _seal(file: BinaryIO) -> bytes:
    """Return the seal that fits what follows it."""
    file.seek(_SEAL_BYTES)
    digest, size = hashlib.sha256(), 0
    while part := file.read(1 << 20):
        digest.update(part)
        size += len(part)
    lines = f"{_SEAL_MARK.decode()}HDF5 after {_SEAL_BYTES} bytes\n"
    lines += f"sha256 {digest.hexdigest()} of {size} bytes\n"
    return lines.encode().ljust(_SEAL_BYTES, b"\0")


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary file to write, which takes the place of `path` at the end of the block.

    A link stays one: what it leads to is replaced. What is no plain file, such as a pipe, is
    written to.

    Raises
    ------
    StorageError
        The file cannot be written.
    """
    path = Path(path)
    target = Path(os.path.realpath(path))
    special = target.exists() and not target.is_file()
    try:
        descriptor, name = tempfile.mkstemp(
            dir=None if special else target.parent, prefix=path.name, suffix=".partial"
        )
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error}") from error
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        if special:
            with temporary.open("rb") as content, target.open("wb") as file:
                shutil.copyfileobj(content, file)
        else:
            # mkstemp makes files that only their owner can read; give this one the usual rights
            temporary.chmod(0o666 & ~file_mask())
            os.replace(temporary, target)
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def check_file(path: str | os.PathLike[str]) -> None:
    """Raise a `StorageError` if a file cannot be written later, before work is done for it."""
    path = Path(path)
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise StorageError(f"{path} cannot be written: it is a folder. Name a file in it.")
    if target.exists() and not target.is_file():
        if not os.access(target, os.W_OK):
            raise StorageError(f"{path} cannot be written: there are no rights to.")
        return
    _check_writable(path, target.parent, "Make it first, or name another one.")


def check_folder(path: str | os.PathLike[str]) -> None:
    """Raise a `StorageError` if files cannot be written to a folder later, which may be made."""
    path = Path(path)
    existing = Path(os.path.realpath(path))
    while not existing.exists():
        existing = existing.parent
    _check_writable(path, existing, "Name another place.")


def _check_writable(path: Path, folder: Path, advice: str) -> None:
    if not folder.is_dir():
        missing = "is no folder" if folder.exists() else "does not exist"
        raise StorageError(f"{path} cannot be written: {folder} {missing}. {advice}")
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            # a disk may be full
            file.write(bytes(1))
            file.flush()
    except OSError as error:
        reason = error.strerror or str(error)
        raise StorageError(f"{path} cannot be written: {reason}") from error


def file_mask() -> int:
    """Return the rights that this process takes away from the files and folders it makes."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def read_tree(path: str | os.PathLike[str], content: str, *, sealed: bool = False) -> Tree:
    """Read a file that `write_tree` made, and bring older versions up to date.

    Parameters
    ----------
    path : path
        The file; for a model also the name of one that comes with bsnn (see `shipped_models`).
    content : str
        What it must hold.
    sealed : bool
        Refuse a file from before there were seals.

    Raises
    ------
    StorageError
        The file is missing, no bsnn file, of an unknown version, of other content, or damaged.
    """
    path = located(path) if content == "model" else Path(path)
    if content == "model" and not path.suffix and not path.is_file():
        raise StorageError(
            f"{path} is neither a file nor a model that comes with bsnn: "
            f"{', '.join(name for name in shipped_models() if '/' not in name)}."
        )
    with _opened(path, sealed=sealed) as file:
        tree = _read_group(file, path)
    if tree.pop("format", None) != _FORMAT:
        raise StorageError(
            f"{path} is an HDF5 file, but not one of bsnn's: the attribute 'format' of / is not "
            f"{_FORMAT!r}. Make one with `bsnn convert`."
        )
    version = tree.pop("schema_version", None)
    if not isinstance(version, int) or version < 1:
        raise StorageError(f"{path}: the attribute schema_version of / is {version!r}, no version.")
    if version > SCHEMA_VERSION:
        raise StorageError(
            f"{path} has schema version {version}; this bsnn ({package_version('bsnn')}) knows "
            f"versions up to {SCHEMA_VERSION}. Update bsnn, or write the file again with this "
            "version."
        )
    while version < SCHEMA_VERSION:
        tree = MIGRATIONS[version](tree)
        version += 1
    found = tree.pop("content", None)
    if found != content:
        raise StorageError(f"{path} holds a {found}; a {content} is needed here.")
    return tree


def shipped_models() -> dict[str, Path]:
    """Return the models that come with bsnn, by name.

    A name is that of the file, with that of its paper before it: ``"sengupta_2019/vgg16"``; the
    file's alone where only one paper has it: ``"vgg16"``.
    """
    spec = importlib.util.find_spec("bsnn.networks")
    folders = [] if spec is None else [Path(p) for p in spec.submodule_search_locations or ()]
    files = sorted(file for folder in folders for file in folder.glob("*/*.h5"))
    names = [file.stem for file in files]
    found = {file.stem: file for file in files if names.count(file.stem) == 1}
    return found | {f"{file.parent.name}/{file.stem}": file for file in files}


def located(path: str | os.PathLike[str]) -> Path:
    """Return the file of a model that comes with bsnn, if `path` is its name and no file's."""
    path = Path(path)
    if path.exists() or path.suffix:
        return path
    return shipped_models().get(path.as_posix(), path)


def file_content(path: str | os.PathLike[str]) -> str | None:
    """Return what a file says it holds: ``"model"`` or ``"result"``; None if it does not say.

    Raises
    ------
    StorageError
        The file is missing, no HDF5 file, or damaged.
    """
    with _opened(Path(path)) as file:
        return file.attrs.get("content")


@contextlib.contextmanager
def _opened(path: Path, *, sealed: bool = False) -> Iterator[h5py.File]:
    if not path.is_file():
        raise StorageError(f"{path} does not exist or is no file.")
    try:
        with path.open("rb") as file:
            _check_seal(path, file, needed=sealed)
        with h5py.File(path, "r") as file:
            yield file
    except OSError as error:
        raise _unreadable(path, str(error)) from error


def _check_seal(path: Path, file: BinaryIO, *, needed: bool) -> None:
    head = file.read(_SEAL_BYTES)
    if head.startswith(_HDF5_MARK):
        if needed:
            raise _not_sealed(path)
    elif not head.startswith(_SEAL_MARK):
        raise _unreadable(path, "it begins neither as one of bsnn's nor as HDF5 does")
    elif head != _seal(file):
        written = re.search(rb" of (\d+) bytes", head)
        found = max(0, path.stat().st_size - _SEAL_BYTES)
        if written is not None and found < int(written[1]):
            raise _unreadable(path, f"{found:,} of {int(written[1]):,} bytes follow its head")
        raise _changed(path)


def _unreadable(path: Path, reason: str) -> StorageError:
    return StorageError(
        f"{path} is not a readable HDF5 file ({reason}). It may be truncated or of another format: "
        "make or fetch it again."
    )


def _changed(path: Path) -> StorageError:
    return StorageError(
        f"{path} is not what was written: it does not have the SHA-256 that it names. It is "
        "damaged, or another program has changed it: make or fetch it again."
    )


def _not_sealed(path: Path) -> StorageError:
    return StorageError(
        f"{path} names no SHA-256 of what it holds, so that damage would not be noticed: it is of "
        "an earlier version of bsnn. It is not gone on with: delete it to begin anew."
    )


def write_json(path: str | os.PathLike[str], tree: Mapping[str, Any]) -> None:
    """Write a tree to a JSON file with its SHA-256, which appears whole or not at all.

    Raises
    ------
    StorageError
        The file cannot be written.
    """
    with replacing(path) as temporary, temporary.open("w") as file:
        json.dump({**tree, _JSON_SEAL: _json_sha256(tree)}, file, indent=1, allow_nan=False)
        file.write("\n")


def read_json(path: str | os.PathLike[str], *, sealed: bool = False) -> Any:
    """Read a file that `write_json` made.

    Parameters
    ----------
    path : path
        The file.
    sealed : bool
        Refuse a file from before there were checksums.

    Raises
    ------
    StorageError
        The file is missing, no JSON file, or damaged.
    """
    path = Path(path)
    try:
        tree = json.loads(path.read_text())
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error}") from error
    except ValueError as error:
        raise StorageError(f"{path} is no JSON file ({error}). Make it again.") from error
    digest = tree.pop(_JSON_SEAL, None) if isinstance(tree, dict) else None
    if digest is None and sealed:
        raise _not_sealed(path)
    if digest is not None and digest != _json_sha256(tree):
        raise _changed(path)
    return tree


def _json_sha256(tree: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a tree, however its file is laid out."""
    return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that results depend on."""
    names = ("bsnn", "brian2", "numpy", "h5py")
    return {
        "python_version": platform.python_version(),
        **{f"{name}_version": package_version(name) for name in names},
    }


def package_version(package: str) -> str:
    """Return the version of a package that is installed, or that it is not."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def required(tree: Tree, key: str, path: str | os.PathLike[str], where: str) -> Any:
    """Return what a tree has under a key; a file without it is incomplete (`StorageError`)."""
    try:
        return tree[key]
    except KeyError:
        raise StorageError(
            f"{path}: {where} has no group, dataset or attribute {key!r}. The file is incomplete: "
            "make or fetch it again."
        ) from None


def _write_group(group: h5py.Group, tree: Mapping[str, Any]) -> None:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            _write_group(group.create_group(name, track_order=True), value)
        elif isinstance(value, np.ndarray) and value.ndim:
            # compressed as long as it is not empty; fletcher32 names the array that was damaged to
            # other readers of HDF5, which know no seal
            options = {"compression": "gzip", "shuffle": True, "fletcher32": True}
            group.create_dataset(name, data=value, **(options if value.size else {}))
        elif isinstance(value, tuple) and not value:
            group.attrs[name] = h5py.Empty("f8")
        else:
            # a subclass of str, such as torch's version, is not a text to h5py
            group.attrs[name] = str(value) if isinstance(value, str) else value


def _read_group(group: h5py.Group, path: Path) -> Tree:
    tree = {name: _from_attribute(value) for name, value in group.attrs.items()}
    for name, item in group.items():
        if isinstance(item, h5py.Group):
            tree[name] = _read_group(item, path)
            continue
        try:
            tree[name] = item[()]
        except OSError as error:
            raise StorageError(
                f"{path}: {item.name} cannot be read ({error}). The file is damaged: make or fetch "
                "it again."
            ) from error
    return tree


def _from_attribute(value: Any) -> Any:
    """Turn what h5py returns for an attribute into the plain value that was written."""
    if isinstance(value, h5py.Empty):
        return ()
    if isinstance(value, np.ndarray):
        return tuple(_from_attribute(item) for item in value.tolist())
    if isinstance(value, np.generic):
        return value.item()
    return value.decode() if isinstance(value, bytes) else value
