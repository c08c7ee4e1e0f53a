"""The checks, by name.

A check is one entry in `CHECKS`: a function that is given a `Bench` and yields lines. What it
raises becomes a line that has failed, and the other checks go on.
"""

from __future__ import annotations

import dataclasses
import math
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

import bsnn
from bsnn.datasets import mnist_sample
from bsnn.devices import use_device
from bsnn.devices.cuda.memory import gpu_memory
from bsnn.devices.cuda.usage import MemoryWatch
from bsnn.gpu_check.cases import CASES, RANDOM
from bsnn.gpu_check.parts import Outcome
from bsnn.gpu_check.programs import words_of_programs
from bsnn.gpu_check.report import Line
from bsnn.gpu_check.scenes import PROBABILITY
from bsnn.gpu_check.together import Simulated, simulate_cases
from bsnn.storage import package_version

__all__ = ["CHECKS", "Bench", "TrainedNetwork", "made"]

_STANDARD_ERRORS = 5
# Of what a network's memory is estimated to be: what may be measured.
_MEMORY_FACTOR = 1.5
# Trained weights have many digits, and threads add them in any order: where a potential lies on a
# threshold to the last bit, a spike may come a step earlier or later, or not at all.
_DIFFERENT_COUNTS = 1e-3
_SANITIZER_SECONDS = 1200
_SANITIZER_SUMMARY = re.compile(r"ERROR SUMMARY: (\d+) errors?")


@dataclasses.dataclass(frozen=True)
class TrainedNetwork:
    """A converted network for MNIST.

    Attributes
    ----------
    name : str
        To be called by.
    path : path
        Its file.
    images : int
        How many of MNIST's sample it is shown.
    """

    name: str
    path: Path
    images: int


@dataclasses.dataclass
class Bench:
    """What checks share.

    Attributes
    ----------
    found : Configuration
        GPU and compiler.
    networks : sequence of TrainedNetwork
        To be compared.
    folder : path
        Where generated code goes.
    say : callable
        Is told what is being done.
    """

    found: Any
    networks: Sequence[TrainedNetwork]
    folder: Path
    say: Callable[[str], None]

    @cached_property
    def cpp(self) -> Simulated:
        """What C++ makes of all cases."""
        return simulate_cases("cpp", [*CASES.values()], self.folder / "cases_cpp", self.say)

    @cached_property
    def cuda(self) -> Simulated:
        """What CUDA makes of all cases, and of random numbers."""
        cases = [*CASES.values(), RANDOM]
        return simulate_cases("cuda", cases, self.folder / "cases_cuda", self.say)


@dataclasses.dataclass(frozen=True)
class _Difference:
    compared: int
    different: int
    where: str

    @property
    def numbers(self) -> dict[str, int]:
        return {"compared": self.compared, "different": self.different}

    def __str__(self) -> str:
        return f"{self.different:,} of {self.compared:,} differ"


def _difference(found: Outcome, expected: Outcome) -> _Difference:
    """Compare all values of two outcomes."""
    different = {
        name: int(np.count_nonzero(found.values[name] != values))
        for name, values in expected.values.items()
    }
    where = ", ".join(f"{name} {count:,}" for name, count in different.items() if count)
    return _Difference(
        sum(values.size for values in expected.values.values()), sum(different.values()), where
    )


def _machine(bench: Bench) -> Iterator[Line]:
    # the check needs a GPU, and a toolkit
    found: Any = bench.found
    versions = {
        package: package_version(package)
        for package in ("brian2cuda", "brian2", "bsnn", "nvidia-curand")
    }
    with_toolkit = "with the toolkit" if found.curand.with_toolkit else "a package of Python"
    for name, text, detail in (
        ("GPU", found.gpu.name, f"compute capability {found.gpu.compute_capability}"),
        ("memory", f"{found.gpu.memory / 1e9:.1f} GB", f"{found.gpu.free_memory / 1e9:.1f} free"),
        ("driver", found.gpu.driver, ""),
        ("nvcc", found.toolkit.version, str(found.toolkit.nvcc)),
        ("cuRAND", with_toolkit, str(found.curand.library)),
        *((package, version, "") for package, version in versions.items()),
    ):
        yield Line("machine", name, None, text, detail=detail)


def _build(bench: Bench) -> Iterator[Line]:
    for device, simulated in (("C++", bench.cpp), ("CUDA", bench.cuda)):
        numbers = {"seconds": simulated.build_seconds, "files": simulated.files}
        yield Line(
            "build",
            f"{device}, all networks as one",
            not simulated.error,
            f"{simulated.build_seconds:,.0f} s, {simulated.files:,} files",
            numbers,
            simulated.error,
        )


def _spikes(bench: Bench) -> Iterator[Line]:
    for case in CASES.values():
        try:
            difference = _difference(bench.cuda.runs(case.name)[0], bench.cpp.runs(case.name)[0])
            spikes = bench.cpp.runs(case.name)[0].spikes
        except Exception as error:
            yield _failed("spikes", case.name, error)
            continue
        silent = [name for name, count in spikes.items() if not count]
        passed = not difference.different and not silent
        detail = f"differ: {difference.where}" if difference.where else case.about
        if silent:
            detail = f"proves nothing, as these do not spike: {', '.join(silent)}"
        numbers = {**difference.numbers, "spikes": sum(spikes.values())}
        text = f"{difference}, {numbers['spikes']:,} spikes"
        yield Line("spikes", case.name, passed, text, numbers, detail)


def _inputs(bench: Bench) -> Iterator[Line]:
    """The same binary with other images, and with the first ones again."""
    other, same_as_first, again = [], [], []
    for name in CASES:
        first, second, third = bench.cuda.runs(name)
        difference = _difference(second, bench.cpp.runs(name)[1])
        other.append(difference)
        if not _difference(second, first).different:
            same_as_first.append(name)
        again.append(_difference(third, first))
    yield _over_cases("other images, against C++", other)
    yield Line(
        "inputs",
        "other images have other spikes",
        not same_as_first,
        f"{len(CASES) - len(same_as_first)} of {len(CASES)} networks",
        {"networks": len(CASES), "alike": len(same_as_first)},
        f"alike: {', '.join(same_as_first)}" if same_as_first else "",
    )
    yield _over_cases("first images again, against the first run", again)


def _over_cases(name: str, differences: list[_Difference]) -> Line:
    total = _Difference(
        sum(difference.compared for difference in differences),
        sum(difference.different for difference in differences),
        ", ".join(difference.where for difference in differences if difference.where),
    )
    detail = f"differ: {total.where}" if total.where else ""
    return Line("inputs", name, not total.different, str(total), total.numbers, detail)


def _random(bench: Bench) -> Iterator[Line]:
    outcome = bench.cuda.runs(RANDOM.name)[0]
    (spikes,) = outcome.values.values()
    error = math.sqrt(PROBABILITY * (1 - PROBABILITY) / spikes.size)
    deviation = float((spikes.mean() - PROBABILITY) / error)
    yield Line(
        "random",
        "rate of spikes by rand()",
        abs(deviation) <= _STANDARD_ERRORS,
        f"{spikes.mean():.5f} of {spikes.size:,}",
        {"mean": float(spikes.mean()), "expected": PROBABILITY, "standard_errors": deviation},
        f"{deviation:+.1f} standard errors from {PROBABILITY}; at most {_STANDARD_ERRORS}",
    )
    alike = sum(map(np.array_equal, spikes[1:], spikes[:-1]))
    yield Line(
        "random",
        "steps differ from each other",
        alike == 0,
        f"{alike} of {len(spikes) - 1} like the one before",
        {"steps": len(spikes), "alike": alike},
    )


def _networks(bench: Bench) -> Iterator[Line]:
    for network in bench.networks:
        try:
            yield from _network(bench, network)
        except Exception as error:
            yield _failed("networks", network.name, error)


def _network(bench: Bench, network: TrainedNetwork) -> Iterator[Line]:
    name = network.name
    bench.say(f"{name} on cpp")
    model = bsnn.load_model(network.path)
    images = mnist_sample().first(network.images).images
    folder = bench.folder / name
    expected = bsnn.simulate(model, images, device="cpp", directory=folder / "cpp", progress=False)
    bench.say(f"{name} on cuda")
    directory = folder / "cuda"
    with use_device("cuda", directory), words_of_programs(directory):
        net = bsnn.build(model, images=len(images), batch=len(images))
        with MemoryWatch(bench.found.gpu.number) as watch:
            found = bsnn.simulate(net, images, directory=directory, progress=False)
        estimate = gpu_memory(net.stored_connections)
    different = int(np.count_nonzero(found.predictions != expected.predictions))
    yield Line(
        "networks",
        f"{name}: predictions",
        not different,
        f"{different} of {len(images)} differ",
        {"compared": len(images), "different": different},
    )
    counts = [
        (found.populations[layer].spikes, population.spikes)
        for layer, population in expected.populations.items()
        if population.spikes is not None
    ]
    compared = sum(wanted.size for _, wanted in counts)
    different = sum(int(np.count_nonzero(counted != wanted)) for counted, wanted in counts)
    yield Line(
        "networks",
        f"{name}: spikes of layers for an image",
        different <= _DIFFERENT_COUNTS * compared,
        f"{different} of {compared} differ",
        {"compared": compared, "different": different},
        f"at most {_DIFFERENT_COUNTS:.1%}, as sums of trained weights depend on their order",
    )
    speeds = {
        device: len(images) / result.run_seconds
        for device, result in (("cuda", found), ("cpp", expected))
    }
    yield Line(
        "networks",
        f"{name}: images a second",
        None,
        f"{speeds['cuda']:,.1f}",
        speeds,
        f"{speeds['cpp']:,.1f} by C++; with the start of the program",
    )
    yield _memory_line(name, watch, estimate)


def _memory_line(name: str, watch: MemoryWatch, estimate: int) -> Line:
    measured = watch.of_processes or watch.rise
    numbers = {
        "estimate": estimate,
        "of_processes": watch.of_processes,
        "rise": watch.rise,
    }
    if not measured:
        return Line("networks", f"{name}: memory", None, "not measured", numbers,
                    "nvidia-smi has not seen the program")  # fmt: skip
    by = "by its process" if watch.of_processes else "by the rise of what is used in all"
    return Line(
        "networks",
        f"{name}: memory",
        measured <= _MEMORY_FACTOR * estimate,
        f"{measured / 1e6:,.0f} MB",
        numbers,
        f"{by}; estimated {estimate / 1e6:,.0f} MB, and at most {_MEMORY_FACTOR} times that",
    )


def _memory_accesses(bench: Bench) -> Iterator[Line]:
    """compute-sanitizer, on the binary of all cases."""
    name = "compute-sanitizer memcheck"
    beside_nvcc = bench.found.toolkit.nvcc.resolve().parent
    program = shutil.which("compute-sanitizer") or shutil.which(
        "compute-sanitizer", path=str(beside_nvcc)
    )
    if program is None:
        yield Line("memory accesses", name, None, "not installed")
        return
    folder = bench.cuda.folder
    if folder is None:
        yield Line("memory accesses", name, None, "not run", detail=bench.cuda.error)
        return
    bench.say(name)
    try:
        checked = subprocess.run(
            [program, "--tool", "memcheck", "./main"],
            cwd=folder, capture_output=True, text=True, errors="replace",
            timeout=_SANITIZER_SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        text = f"not done after {_SANITIZER_SECONDS} s"
        yield Line("memory accesses", name, None, text)
        return
    said = checked.stdout + checked.stderr
    summary = _SANITIZER_SUMMARY.search(said)
    if summary is None:
        yield Line("memory accesses", name, False, "no summary", detail=said.strip()[-500:])
        return
    errors = int(summary[1])
    first = said[said.find("=========") :].strip()[:500] if errors else ""
    yield Line("memory accesses", name, not errors, f"{errors} errors", {"errors": errors}, first)


def _failed(check: str, name: str, error: BaseException) -> Line:
    # Brian2 names the object, and has the reason in the error before
    reason = error
    while reason.__cause__ is not None:
        reason = reason.__cause__
    detail = f"{type(reason).__name__}: {reason}"
    if reason is not error:
        detail = f"{str(error).splitlines()[0]} {detail}"
    return Line(check, name, False, "failed", detail=detail)


#: The checks by name, in the order in which they are made.
CHECKS: Mapping[str, Callable[[Bench], Iterator[Line]]] = {
    "machine": _machine,
    "build": _build,
    "spikes": _spikes,
    "inputs": _inputs,
    "random": _random,
    "networks": _networks,
    "memory accesses": _memory_accesses,
}


def made(name: str, bench: Bench) -> Iterator[Line]:
    """Make a check; what it raises becomes its last line."""
    try:
        yield from CHECKS[name](bench)
    except Exception as error:
        yield _failed(name, name, error)
