"""What the tests share: small networks, and where MNIST is."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

import brian2 as b2
import fuzzing  # noqa: F401, registers the profiles of hypothesis
import pytest
import torch
from brian2.devices.device import reset_device
from hypothesis import settings
from targets import RUNTIME_TARGETS
from ttfs_networks import ResidualCnn, SmallCnn, make_model

import bsnn
from bsnn.cache import CACHE_VARIABLE
from bsnn.cli import main
from bsnn.cli.output import console
from bsnn.datasets import DATA_VARIABLE
from bsnn.devices import use_code_target
from bsnn.devices.compilation import compile_project

settings.load_profile("quick")

# a worker of pytest is there for each core: threads of theirs would wait for one another, which
# takes longer than the small networks of the tests
torch.set_num_threads(1)

# networks that a test builds and does not run are deleted on purpose
b2.BrianLogger.suppress_name("unused_brian_object")

_SHARED = Path(__file__).parents[2] / "shared" / "data"


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown() -> None:
    """Keep what is left of a test out of the way: Brian2 collects garbage at each run."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """Keep binaries for this session only: what the user's cache holds is not under test."""
    before = os.environ.get(CACHE_VARIABLE)
    os.environ[CACHE_VARIABLE] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ[CACHE_VARIABLE]
    else:
        os.environ[CACHE_VARIABLE] = before


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """Folder with the real data sets, which do not come with the project."""
    named = os.environ.get(DATA_VARIABLE)
    folder = Path(named) if named else _SHARED
    if not folder.is_dir():
        pytest.skip(f"needs MNIST: set {DATA_VARIABLE} to a folder that holds it")
    return folder


@pytest.fixture(scope="session")
def mnist_test(data_folder):
    return bsnn.datasets.load("mnist", "test", data_folder)


@pytest.fixture(autouse=True)
def numpy_target():
    """Run Brian2 without compilation, unless asked otherwise: most networks are not worth it."""
    with use_code_target("numpy"):
        yield


@pytest.fixture
def cython_target():
    """Cython, compiled without optimisation, which takes longer than these networks run."""
    flags = b2.prefs.codegen.cpp.extra_compile_args_gcc
    b2.prefs.codegen.cpp.extra_compile_args_gcc = ["-w", "-O0"]
    with use_code_target("cython"):
        yield
    b2.prefs.codegen.cpp.extra_compile_args_gcc = flags


@pytest.fixture
def cpp_standalone(tmp_path):
    """C++ standalone mode; call the fixture to build and run what was set up."""
    b2.set_device("cpp_standalone", build_on_run=False)

    def build_and_run(*, run: bool = True) -> None:
        b2.device.build(directory=str(tmp_path), compile=False, run=False, with_output=False)
        compile_project(tmp_path, b2.device.writer.source_files)
        if run:
            b2.device.run(with_output=False)

    try:
        yield build_and_run
    finally:
        b2.device.reinit()
        b2.device.activate()
        reset_device()


@pytest.fixture(params=[*RUNTIME_TARGETS, "cpp"])
def run(request):
    """Function that runs a network for a time on each of the targets."""
    if request.param == "cpp":
        build = request.getfixturevalue("cpp_standalone")

        def simulate(network, duration):
            network.run(duration, namespace={})
            build()

        yield simulate
        return
    with use_code_target(request.param):
        yield lambda network, duration: network.run(duration, namespace={})


@pytest.fixture
def command_line(monkeypatch, capsys, tmp_path):
    """Run a command line in a folder of its own; return status, output and error output."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    # which a console looks at once, when it is made
    monkeypatch.setattr(console, "width", 200)

    def call(*arguments) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["bsnn", *map(str, arguments)])
        try:
            main()
            status = 0
        except SystemExit as end:
            status = end.code or 0
        found = capsys.readouterr()
        return status, found.out, found.err

    return call


@pytest.fixture
def small_cnn():
    """Function that converts a `SmallCnn`."""
    return lambda **options: make_model(SmallCnn(), (1, 9, 8), **options)


@pytest.fixture
def residual_cnn():
    """Function that converts a `ResidualCnn`."""
    return lambda **options: make_model(ResidualCnn(), (2, 6, 7), **options)
