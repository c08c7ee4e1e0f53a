"""Finding what CUDA needs, on machines made up of scripts; and what is said where it is missing."""

from __future__ import annotations

import importlib.util
import sys

import brian2 as b2
import pytest

import bsnn
import bsnn.devices.cuda
from bsnn.devices.cuda.gpu import NoGpu
from bsnn.devices.cuda.toolkit import Missing, find_curand
from bsnn.networks import paper

has_brian2cuda = importlib.util.find_spec("brian2cuda") is not None

NVCC = """#!/bin/sh
case $1 in
  --version) printf 'Cuda compilation tools, release %s, V1\\n' {} ;;
  --list-gpu-code) printf 'sm_80\\nsm_90\\nsm_121\\n' ;;
esac
"""


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Return a function that puts programs into the bin of a toolkit, which alone is in PATH."""
    monkeypatch.setenv("PATH", f"{tmp_path / 'cuda' / 'bin'}:/usr/bin:/bin")
    for name in ("CUDA_HOME", "CUDA_PATH", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("bsnn.devices.cuda.toolkit._USUAL_PLACES", ())
    monkeypatch.setattr("bsnn.devices.cuda.toolkit._package_folders", lambda: iter(()))

    def install(**programs: str):
        folder = tmp_path / "cuda" / "bin"
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in programs.items():
            path = folder / name.replace("_", "-")
            path.write_text(text)
            path.chmod(0o755)
        return folder.parent

    return install


def add_curand(root, library="libcurand.so.10"):
    (root / "include").mkdir(exist_ok=True)
    (root / "include" / "curand.h").write_text("")
    (root / "lib64").mkdir(exist_ok=True)
    (root / "lib64" / library).write_text("")


# -------------------------------------------------------------------- the GPU


def test_a_gpu(machine):
    machine(nvidia_smi='#!/bin/sh\necho "NVIDIA H200, 9.0, 143771, 143000, 580.95.05"\n')
    gpu = bsnn.devices.cuda.find_gpu()
    assert gpu == bsnn.devices.cuda.Gpu(
        0, "NVIDIA H200", 9.0, 143771 * 2**20, 143000 * 2**20, "580.95.05"
    )


def test_the_gpus_that_this_process_may_use(machine, monkeypatch):
    """nvidia-smi sees all of them; numbers count those that are visible."""
    machine(nvidia_smi='#!/bin/sh\necho "GPU $2, 8.6, 10, 5, 1.0"\n')
    assert bsnn.devices.cuda.find_gpu(2).name == "GPU 2"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-8abe566f")
    assert bsnn.devices.cuda.find_gpu(0).name == "GPU 3"
    assert bsnn.devices.cuda.find_gpu(1).name == "GPU GPU-8abe566f"
    with pytest.raises(NoGpu, match=r"no GPU 2: CUDA_VISIBLE_DEVICES is '3,GPU-8abe566f'"):
        bsnn.devices.cuda.find_gpu(2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(NoGpu, match="no GPU 0"):
        bsnn.devices.cuda.find_gpu()


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (None, "no NVIDIA driver"),
        ("#!/bin/sh\necho No devices were found\nexit 6\n", "No devices were found"),
        ("#!/bin/sh\necho something else\n", "in a way not known"),
    ],
)
def test_no_gpu(machine, script, message):
    if script:
        machine(nvidia_smi=script)
    with pytest.raises(NoGpu, match=message):
        bsnn.devices.cuda.find_gpu()


# -------------------------------------------------------------------- the compiler


def test_the_compiler_in_path(machine):
    root = machine(nvcc=NVCC.format("13.0"))
    found = bsnn.devices.cuda.find_toolkit()
    assert found == bsnn.devices.cuda.Toolkit(root / "bin" / "nvcc", "13.0", (8.0, 9.0, 12.1))


def test_the_compiler_that_is_named_comes_first(machine, monkeypatch, tmp_path):
    machine(nvcc=NVCC.format("13.0"))
    other = tmp_path / "other" / "bin" / "nvcc"
    other.parent.mkdir(parents=True)
    other.write_text(NVCC.format("12.8"))
    other.chmod(0o755)
    assert bsnn.devices.cuda.find_toolkit(other).version == "12.8"
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "other"))
    assert bsnn.devices.cuda.find_toolkit().version == "12.8"
    with pytest.raises(Missing, match="no file in a folder bin"):
        bsnn.devices.cuda.find_toolkit(tmp_path / "nvcc")


@pytest.mark.parametrize("text", ["#!/bin/sh\necho gcc 12\n", "#!/bin/sh\nexit 3\n"])
def test_what_is_no_compiler(machine, text):
    machine(nvcc=text)
    with pytest.raises(Missing, match="is not the CUDA compiler|does not run"):
        bsnn.devices.cuda.find_toolkit()


def test_curand_of_the_toolkit_comes_first(machine, monkeypatch, tmp_path):
    root = machine(nvcc=NVCC.format("13.0"))
    package = tmp_path / "site" / "cu13"
    package.mkdir(parents=True)
    add_curand(package)
    monkeypatch.setattr("bsnn.devices.cuda.toolkit._package_folders", lambda: iter([package]))
    toolkit = bsnn.devices.cuda.find_toolkit()
    found = find_curand(toolkit)
    assert not found.with_toolkit
    assert found.library == package / "lib64" / "libcurand.so.10"
    add_curand(root, "libcurand.so")
    found = find_curand(toolkit)
    assert found.with_toolkit
    assert found.library == root / "lib64" / "libcurand.so"
    assert find_curand(toolkit, package).include == package / "include"
    with pytest.raises(Missing, match="pip install nvidia-curand"):
        find_curand(toolkit, tmp_path)


# -------------------------------------------------------------------- all of it


def test_one_message_says_all_that_is_missing(machine):
    with pytest.raises(bsnn.BuildError) as error:
        bsnn.devices.cuda.configure()
    message = str(error.value)
    assert "nvcc, the CUDA compiler" in message
    assert "pip install nvidia-curand" in message
    assert "no NVIDIA driver" in message
    assert ("pip install 'bsnn[cuda]'" in message) != has_brian2cuda


@pytest.mark.parametrize(
    ("capability", "message"),
    [(13.0, "a newer CUDA toolkit"), (5.2, "compute capability 6.0 or above"),
     (7.5, "an older CUDA toolkit: nvcc 13.0 compiles for 8.0, 9.0, 12.1, not")],
)  # fmt: skip
def test_gpus_that_the_compiler_does_not_know(machine, capability, message):
    add_curand(machine(nvcc=NVCC.format("13.0")))
    with pytest.raises(bsnn.BuildError, match=message):
        bsnn.devices.cuda.configure(compute_capability=capability)


@pytest.mark.skipif(has_brian2cuda, reason="is about Brian2CUDA not being there")
def test_without_brian2cuda(machine, capsys, monkeypatch, tmp_path):
    """In Python and on the command line: what to install, and nothing that was begun."""
    from bsnn.cli import main

    root = machine(nvcc=NVCC.format("13.0"), nvidia_smi='#!/bin/sh\necho "GPU, 9.0, 10, 5, 1.0"\n')
    add_curand(root)
    model = paper("lopez_randulfe_2022").SHIPPED["mnist_cnn"]
    before = b2.prefs["codegen.cpp.extra_compile_args_gcc"]
    for command in (
        ["run", model, "--device", "cuda", "--dataset", "mnist-sample", "--images", "1"],
        ["export", model, "--target", "cuda", "--dataset", "mnist-sample", "--out", "project"],
    ):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["bsnn", *map(str, command)])
        with pytest.raises(SystemExit) as end:
            main()
        assert end.value.code == 1
        said = " ".join(capsys.readouterr().err.split())
        assert "pip install 'bsnn[cuda]'" in said
        assert "nvcc" not in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cuda"]
    assert b2.prefs["codegen.cpp.extra_compile_args_gcc"] == before
