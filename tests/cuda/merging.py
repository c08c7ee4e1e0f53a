"""Make one translation unit of a generated project.

Thrust's and cuRAND's headers cost half a minute a file; a network has dozens of files.
"""

from __future__ import annotations

import re
from pathlib import Path

_INCLUDE = re.compile(r"^\s*#\s*include.*$", re.MULTILINE)
_ENTRY = re.compile(r"^void (_(?:before_|after_)?run_\w+|_debugmsg_\w+)\(\)$", re.MULTILINE)


def merge(project: Path) -> str:
    """Return the sources of a Brian2CUDA project as one, which stands in the project's folder.

    The names of helpers are unique within a code object only, so each has a namespace of its own.
    """
    sources = {
        path: path.read_text()
        for path in project.rglob("*.cu")
        # of bsnn's own units
        if not path.name.startswith("code_objects_")
    }
    includes = {
        line.strip(): None
        for text in sources.values()
        for line in _INCLUDE.findall(text)
        if "code_objects/" not in line
    }
    bodies = {path: _INCLUDE.sub("", text) for path, text in sources.items()}
    units: dict[str, str] = {}
    # a code object before what is run after it, which refers to it
    for path in sorted(
        project.glob("code_objects/*.cu"), key=lambda path: path.stem.startswith("after_run_")
    ):
        name = path.stem.removeprefix("after_run_")
        units[name] = units.get(name, "") + bodies.pop(path)
    parts = [*includes]
    parts += [bodies.pop(project / name) for name in ("objects.cu", "rand.cu", "network.cu")]
    for name, body in units.items():
        parts.append(f"namespace _unit_{name} {{\n{body}\n}}")
        parts += [
            f"void {entry}() {{ _unit_{name}::{entry}(); }}" for entry in _ENTRY.findall(body)
        ]
    main = bodies.pop(project / "main.cu")
    return "\n".join((*parts, *bodies.values(), main))
