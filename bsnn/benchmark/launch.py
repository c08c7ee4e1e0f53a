"""Run a program and write down what it used: ``python launch.py REPORT PROGRAM ARGUMENT ...``.

Run as a small process of its own, without site packages. The system counts towards a program's
peak memory the process that started it, so that a program started by one with large arrays would
seem to need their memory too. Uses the standard library only.
"""

from __future__ import annotations

import json
import os
import sys
import time


def main(report: str, command: list[str]) -> int:
    """Run the command; add one line of JSON to the report and return the exit status."""
    started = time.perf_counter()
    pid = os.posix_spawn(command[0], command, os.environ)
    _, status, usage = os.wait4(pid, 0)
    figures = {
        "wall_seconds": time.perf_counter() - started,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        # kilobytes, on macOS bytes
        "peak_mb": usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10),
    }
    with open(report, "a") as file:
        file.write(json.dumps(figures) + "\n")
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
