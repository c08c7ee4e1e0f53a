"""`bsnn gpu-check` as a whole, with an emulated GPU: it passes where CUDA is right, and only there.

What nvcc would compile is compiled for the CPU; the driver and compute-sanitizer are scripts.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import brian2 as b2
import pytest

pytest.importorskip("brian2cuda", reason="brian2cuda is not installed: make test-cuda installs it")

from emulation import compile_for_cpu
from merging import merge

import bsnn.devices.standalone
from bsnn.cli import gpu_check as command
from bsnn.cli import main
from bsnn.gpu_check import CASES, CHECKS

# Brian2CUDA looks for the release in the fourth line
_NVCC = """#!/bin/sh
echo "nvcc: NVIDIA (R) Cuda compiler driver"
echo "Copyright"
echo "Built on"
echo "Cuda compilation tools, release 13.0, V13.0.0"
"""

# the memory in use is more whenever it is asked for
_NVIDIA_SMI = """#!/bin/sh
case "$*" in
    *compute_cap*) echo "Emulated GPU, 9.0, 81559, 81000, 580.00" ;;
    *memory.used*) echo >> "$0.asked"; [ $(wc -l < "$0.asked") -gt 1 ] && echo 600 || echo 400 ;;
esac
"""

_SANITIZER = """#!/bin/sh
while [ "$1" != ./main ]; do shift; done
"$@" > /dev/null && echo "========= ERROR SUMMARY: 0 errors"
"""


#: Cases that differ from each other in all that cases differ in.
FEW = ("ttfs_event_batch", "ttfs_trace_batch", "ttfs_residual", "rate_poisson_batch",
       "rate_synapses", "gate_count", "delays")  # fmt: skip


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine with a GPU; what changes the code that it compiles may be put into the list."""
    changes = []
    programs = tmp_path / "cuda" / "bin"
    programs.mkdir(parents=True)
    for name, text in (
        ("nvcc", _NVCC),
        ("nvidia-smi", _NVIDIA_SMI),
        ("compute-sanitizer", _SANITIZER),
    ):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("CUDA_HOME", str(programs.parent))
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    monkeypatch.setenv("BSNN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    # it takes longer to optimise the programs than to run them
    monkeypatch.setitem(b2.prefs, "codegen.cpp.extra_compile_args_gcc", ["-w", "-O0"])
    compile_project = bsnn.devices.standalone.compile_project

    def compile_emulated(directory: Path, sources) -> None:
        sources = list(sources)
        if not any(name.endswith(".cu") for name in sources):
            compile_project(directory, sources)
            return
        source = merge(directory)
        for change in changes:
            source = change(source)
        compile_for_cpu(directory, source).rename(directory / "main")

    monkeypatch.setattr(bsnn.devices.standalone, "compile_project", compile_emulated)
    return changes


@pytest.fixture
def gpu_check(machine, monkeypatch, tmp_path, capsys):
    """Run the command; return its exit status, its lines by check and name, and what it prints."""

    def call(complete=True):
        out = tmp_path / "found.json"
        monkeypatch.setattr(sys, "argv", ["bsnn", "gpu-check", "--out", str(out)])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        assert out.exists(), printed
        report = json.loads(out.read_text())
        assert report["complete"] == complete
        lines = {(line["check"], line["name"]): line for line in report["lines"]}
        assert len(lines) == len(report["lines"])
        return ended.value.code or 0, lines, printed.out

    return call


def select(monkeypatch, *names, trained=()):
    """Leave a few of the networks, and of the trained ones those named, with three images."""
    for name in set(CASES) - set(names):
        monkeypatch.delitem(CASES, name)
    networks = [(paper, name, 3) for paper, name, _ in command.NETWORKS if name in trained]
    monkeypatch.setattr(command, "NETWORKS", networks)


def in_kernel_of(source: str, code_object: str, old: str, new: str) -> str:
    """Change the first of something in the kernel of a code object."""
    start = source.index(f"_run_kernel_{code_object}")
    position = source.index(old, start)
    return source[:position] + new + source[position + len(old) :]


def failing(lines):
    return {key for key, line in lines.items() if line["passed"] is False}


@pytest.mark.parametrize(
    ("cases", "trained"),
    [
        pytest.param(FEW, ("mnist",), id="few"),
        pytest.param(CASES, ("mnist_cnn", "mnist"), marks=pytest.mark.long, id="all"),
    ],
)
def test_all_lines_pass_where_cuda_is_right(gpu_check, monkeypatch, cases, trained):
    select(monkeypatch, *cases, trained=trained)
    status, lines, printed = gpu_check()
    assert not failing(lines), printed
    assert status == 0
    assert {check for check, _ in lines} == set(CHECKS)
    judged = [line for line in lines.values() if line["passed"]]
    assert {line["name"] for line in judged} >= set(CASES)
    assert all(lines["spikes", name]["numbers"]["compared"] > 500 for name in CASES)
    assert lines["machine", "GPU"]["found"] == "Emulated GPU"
    memory = [line for (_, name), line in lines.items() if name.endswith(": memory")]
    assert len(memory) == len(trained)
    assert all(line["numbers"]["rise"] == 200 * 2**20 for line in memory[:1])
    assert f"{len(judged)} lines pass, 0 fail." in printed


LAST_CONNECTION = "gate_count_pool_to_gate_count_fc_pre_codeobject"


def test_what_differs_fails_and_no_more(gpu_check, machine, monkeypatch):
    """In one network spikes reach the wrong neurons, and random numbers are always the same."""
    select(monkeypatch, "gate_count", "gate_average")
    machine.append(
        lambda source: in_kernel_of(
            source, LAST_CONNECTION, "_targets_begin + _tap;", "_targets_begin + (_tap + 1) % 3;"
        )
    )
    machine.append(
        lambda source: source.replace("curandGenerateUniformDouble(curand_generator, ", "_halves(")
    )
    status, lines, printed = gpu_check()
    assert status == 1
    assert failing(lines) == {
        ("spikes", "gate_count"),
        ("inputs", "other images, against C++"),
        ("random", "rate of spikes by rand()"),
        ("random", "steps differ from each other"),
    }, printed
    wrong = lines["spikes", "gate_count"]
    # not the spikes of those before
    assert wrong["detail"].startswith("differ: gate_count_fc")
    assert 0 < wrong["numbers"]["different"] < wrong["numbers"]["compared"] / 2


def test_a_program_that_fails_is_found_among_the_others(gpu_check, machine, monkeypatch):
    select(monkeypatch, "gate_count", "gate_average")

    def fail(source):
        if LAST_CONNECTION not in source:
            return source
        ending = '_targets_begin + _tap; fprintf(stderr, "an illegal access"); exit(3);'
        return in_kernel_of(source, LAST_CONNECTION, "_targets_begin + _tap;", ending)

    machine.append(fail)
    status, lines, printed = gpu_check()
    assert status == 1
    assert failing(lines) == {
        ("build", "CUDA, all networks as one"),
        ("spikes", "gate_count"),
        ("inputs", "inputs"),
    }, printed
    for key in failing(lines):
        assert "The program has said: an illegal access" in lines[key]["detail"]
    assert lines["spikes", "gate_average"]["passed"]
    assert lines["memory accesses", "compute-sanitizer memcheck"]["found"] == "not run"


@pytest.mark.usefixtures("machine")
def test_an_interrupted_check_keeps_its_lines(gpu_check, monkeypatch):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setitem(CHECKS, "build", interrupt)
    status, lines, printed = gpu_check(complete=False)
    assert status == 130
    assert {check for check, _ in lines} == {"machine"}
    assert "the check has not come to its end" in printed
