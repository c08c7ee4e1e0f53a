"""Compile a generated project for the CPU, with an emulation of what it uses of CUDA."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

_LAUNCH = re.compile(r"(\w+)<<<(.*?)>>>\(", re.DOTALL)
_KERNEL = re.compile(r"\bvoid\s+(?:__launch_bounds__\([^)]*\)\s*)?(\w+)\s*\([^{;]*\)\s*\{")
_FOREIGN = re.compile(r'#\s*include\s*[<"]((?:thrust/|cu)[\w/]+(?:\.h)?)[>"]')


def compile_for_cpu(project: Path, source: str) -> Path:
    """Compile a project's merged source; its headers are the project's own."""
    (project / "emulated.cpp").write_text(_without_launches(source))
    headers = project / "emulated_headers"
    texts = [source, *(path.read_text() for path in project.rglob("*.h"))]
    for name in {name for text in texts for name in _FOREIGN.findall(text)}:
        if not (project / "brianlib" / name).exists():
            (headers / name).parent.mkdir(parents=True, exist_ok=True)
            (headers / name).write_text("#pragma once\n")
    program = project / "emulated"
    subprocess.run(
        # -O0: the compiler takes much longer than the programs that it makes
        ["g++", "-w", "-std=c++17", "-O0", "-fpermissive", "-ffp-contract=off",
         "-include", Path(__file__).parent / "cuda_emulation.h",
         f"-I{headers}", f"-I{project}", f"-I{project / 'brianlib'}",
         project / "emulated.cpp", "-o", program],
        check=True,
    )  # fmt: skip
    return program


def _without_launches(source: str) -> str:
    waiting = _kernels_that_wait(source)
    parts, position = [], 0
    for launch in _LAUNCH.finditer(source):
        end, depth = launch.end(), 1
        while depth:
            depth += {"(": 1, ")": -1}.get(source[end], 0)
            end += 1
        kernel, dimensions = launch.groups()
        arguments = source[launch.end() : end]
        parts.append(source[position : launch.start()])
        function = "launch_together" if kernel in waiting else "launch"
        parts.append(f"emulated::{function}([&] {{ {kernel}({arguments}; }}, {dimensions})")
        position = end
    return "".join((*parts, source[position:]))


def _kernels_that_wait(source: str) -> set[str]:
    """Return the kernels whose threads wait for each other."""
    found = [(kernel.end(), kernel[1]) for kernel in _KERNEL.finditer(source)]
    ends = [start for start, _ in found[1:]] + [len(source)]
    return {
        name
        for (start, name), end in zip(found, ends, strict=True)
        if "__syncthreads()" in source[start:end]
    }
