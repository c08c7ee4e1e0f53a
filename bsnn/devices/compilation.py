"""Compiling a project that Brian2 has generated: in few files, and only if nobody did before.

Brian2 writes one small file, C++ or CUDA, for each thing that happens in a step, and each of them
includes the same large headers: reading these is most of a compilation. Here the small files are
compiled together. Binaries are kept in a folder of the user's, under a name that is a hash of all
that they were made of, so that an equal network is not compiled a second time, whoever builds it.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import posixpath
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import brian2 as b2
from brian2.codegen.cpp_prefs import get_compiler_and_args
from brian2.utils.filelock import FileLock

from bsnn.cache import binary_cache
from bsnn.errors import BuildError

__all__ = ["compile_project", "cores", "write_units"]


# Beyond this, the binaries that were not used for the longest time are removed.
_CACHE_BYTES = 256 * 2**20

# By the ending of the files: enough for the headers to cost little (in CUDA they cost as much as a
# hundred files), few enough for the cores of a machine to share a large network's code.
_FILES_IN_A_UNIT = {".cpp": 64, ".cu": 128}

_PROGRAM = "main"

# The file that holds all arrays: optimising what fills them once takes longer than all else.
_ARRAYS = "objects.cpp"

# A binary is kept with its SHA-256 after it.
_DIGEST_BYTES = hashlib.sha256().digest_size

_INCLUDE = re.compile(r"^[ \t]*#[ \t]*include[ \t]*(<[^>\n]+>|\"[^\"\n]+\")", re.MULTILINE)
_DECLARED = re.compile(r"^\s*void\s+(\w+)\(\)\s*;", re.MULTILINE)


def compile_project(directory: Path, sources: Iterable[str]) -> None:
    """Leave the binary of a generated project in its directory.

    Parameters
    ----------
    directory : path
        What ``device.build(compile=False)`` has written.
    sources : iterable of str
        The C++ or CUDA files of the project, as its makefile names them.

    Raises
    ------
    BuildError
        The compiler has failed.
    """
    sources = sorted(sources)
    program = directory / _PROGRAM
    cache = _writable(binary_cache())
    key = None if cache is None else _key(directory, sources)
    if cache is None or key is None:
        _compile(directory, sources)
        return
    kept = cache / key
    if _fetch(kept, program):
        return
    # whoever comes second waits for the first, and then finds the binary
    lock = FileLock(str(cache / f"{key[:2]}.lock"))
    try:
        lock.acquire()
    except OSError:
        # a folder that several users share: this lock is another's
        _compile(directory, sources)
        return
    try:
        if not _fetch(kept, program):
            _compile(directory, sources)
            _keep(program, kept)
    finally:
        lock.release()


def cores() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _writable(folder: Path) -> Path | None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None


def _key(directory: Path, sources: list[str]) -> str | None:
    """Return a hash of all that the binary is made of; None if that is not in the project alone.

    Arrays are no part of it: a binary reads them from the project's files when it runs.
    """
    compiler = _compiler(sources)
    if compiler is None:
        return None
    digest = hashlib.sha256(compiler)
    names = {"makefile", *sources}
    waiting = sorted(names)
    while waiting:
        name = waiting.pop()
        if posixpath.isabs(name) or name.startswith(".."):
            return None
        content = (directory / name).read_text(errors="surrogateescape")
        encoded = content.encode(errors="surrogateescape")
        digest.update(f"{name}\0{len(encoded)}\0".encode() + encoded)
        for include in sorted(set(_INCLUDE.findall(content))):
            found = _included(directory, name, include[1:-1])
            if found is None and include[0] == '"':
                return None
            if found is not None and found not in names:
                names.add(found)
                waiting.append(found)
    return digest.hexdigest()


def _included(directory: Path, includer: str, name: str) -> str | None:
    """Return the path within the project of an included file; None if it is not in there."""
    for base in (posixpath.dirname(includer), ""):
        path = posixpath.normpath(posixpath.join(base, name))
        if not posixpath.isabs(path) and (directory / path).is_file():
            return path
    return None


def _compiler(sources: list[str]) -> bytes | None:
    """Return what tells compilers apart: versions, and the processor that flags stand for.

    ``-march=native`` means another processor on another machine, and both may share a folder. Which
    GPU code is for stands in the makefile.
    """
    _, flags = get_compiler_and_args()
    # make takes the compiler from the environment too
    command = [*shlex.split(os.environ.get("CXX", "g++")), *flags]
    described = _output(*command, "-dM", "-E", "-x", "c++", os.devnull)
    if described is not None and any(name.endswith(".cu") for name in sources):
        nvcc = Path(b2.prefs.devices.cuda_standalone.cuda_backend.cuda_path) / "bin" / "nvcc"
        version = _output(nvcc, "--version")
        described = None if version is None else described + version
    return (
        None if described is None else f"brian2 {b2.__version__} {command}\n".encode() + described
    )


def _output(*command: str | Path) -> bytes | None:
    made = subprocess.run(command, capture_output=True, check=False)
    return None if made.returncode else made.stdout


def _fetch(kept: Path, program: Path) -> bool:
    """Put a binary that was kept into a project; return whether there was one, undamaged."""
    temporary = program.with_name(f"{program.name}.new")
    try:
        content = kept.read_bytes()
        binary, digest = content[:-_DIGEST_BYTES], content[-_DIGEST_BYTES:]
        if hashlib.sha256(binary).digest() != digest:
            return False
        temporary.write_bytes(binary)
        shutil.copymode(kept, temporary)
    except OSError:
        return False
    with suppress(OSError):
        # the age of a binary counts from its last use
        os.utime(kept)
    os.replace(temporary, program)
    return True


def _keep(program: Path, kept: Path) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=kept.parent, prefix="new_")
    try:
        with os.fdopen(descriptor, "wb") as file:
            binary = program.read_bytes()
            file.write(binary + hashlib.sha256(binary).digest())
            file.flush()
            os.fsync(file.fileno())
        shutil.copymode(program, temporary)
        os.replace(temporary, kept)
    except OSError:
        # a full disk: the binary is compiled, and that is what was asked for
        Path(temporary).unlink(missing_ok=True)
        return
    _remove_oldest(kept.parent)


def _remove_oldest(folder: Path) -> None:
    ages = []
    for path in folder.iterdir():
        try:
            state = path.stat()
        except FileNotFoundError:
            continue
        if path.suffix != ".lock":
            ages.append((state.st_mtime, state.st_size, path))
    total = sum(size for _, size, _ in ages)
    for _, size, path in sorted(ages):
        if total <= _CACHE_BYTES:
            return
        path.unlink(missing_ok=True)
        total -= size


def _compile(directory: Path, sources: list[str]) -> None:
    few = write_units(directory, sources)
    (directory / "bsnn.mk").write_text("include makefile\nobjects.o: OPTIMISATIONS += -O0\n")
    # no list of dependencies is needed if everything is compiled
    if _make(directory, "-f", "bsnn.mk", f"SRCS={' '.join(few)}", "DEPS="):
        # code of a user's own may not bear to share a file with other code
        message = _make(directory)
        if message:
            language = "CUDA" if few[-1].endswith(".cu") else "C++"
            raise BuildError(
                f"The generated {language} could not be compiled. The compiler's last messages:\n"
                f"{message}\nThe sources are in {directory}."
            )


def _make(directory: Path, *arguments: str) -> str:
    """Run make; return the end of what the compiler has said if it failed."""
    settings = b2.prefs["devices.cpp_standalone.extra_make_args_unix"]
    if settings == ["-j"]:
        # Brian2's default starts all compilers at once, whatever the cores and the memory
        settings = [f"-j{cores()}"]
    made = subprocess.run(
        [str(b2.prefs["devices.cpp_standalone.make_cmd_unix"]), "-B", *settings, *arguments],
        cwd=directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    return made.stdout[-2000:] if made.returncode else ""


def write_units(directory: Path, sources: list[str]) -> list[str]:
    """Write files that compile many small ones together; return what is to be compiled then."""
    small: dict[str, list[str]] = {}
    others = []
    for name in sources:
        if _declared(directory, name):
            # in CUDA what is run at the end may use the kernels of the code object: one namespace
            owner = name.replace("/after_run_", "/") if name.endswith(".cu") else name
            small.setdefault(owner, []).append(name)
        else:
            others.append(name)
    if not small:
        return others
    ending = posixpath.splitext(next(iter(small)))[1]
    together = [name for name in others if name != _ARRAYS]
    objects, step = sorted(small), _FILES_IN_A_UNIT[ending]
    units = []
    for first in range(0, len(objects), step):
        unit = f"code_objects_{len(units)}{ending}"
        files = [sorted(small[name], key=name.__ne__) for name in objects[first : first + step]]
        (directory / unit).write_text(_unit(directory, files, [] if units else together))
        units.append(unit)
    return [name for name in others if name not in together] + units


def _unit(directory: Path, objects: list[list[str]], others: list[str]) -> str:
    """Return one file that holds several, those of each code object in a namespace of its own.

    Headers come first, outside of the namespaces, where their guards keep them from being read
    again. The functions that each file is there for are called through one of the same name.
    """
    includes: dict[str, None] = {}
    for name in (*others, *itertools.chain(*objects)):
        includes.update(dict.fromkeys(_INCLUDE.findall((directory / name).read_text())))
    lines = []
    for include in includes:
        # an include may stand under a condition that is not met
        lines += [f"#if __has_include({include})", f"#include {include}", "#endif"]
    for number, files in enumerate(objects):
        lines += [f"namespace file_{number} {{", *(f'#include "{name}"' for name in files), "}"]
        for name in files:
            lines += [
                f"void {function}() {{ file_{number}::{function}(); }}"
                for function in _declared(directory, name)
            ]
    lines += [f'#include "{name}"' for name in others]
    return "\n".join(lines) + "\n"


def _declared(directory: Path, name: str) -> list[str]:
    """Return the functions for which a code object's file is there; none for other files."""
    header = (directory / name).with_suffix(".h")
    if not name.startswith("code_objects/") or not header.is_file():
        return []
    return _DECLARED.findall(header.read_text())
