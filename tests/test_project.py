"""The project itself: what is packaged, what may import what, and that the README is true."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import bsnn
from bsnn.cli.app import app
from bsnn.datasets import DATA_VARIABLE

ROOT = Path(__file__).parents[1]

#: Floors of the design: a file may import from its own floor or those before it only.
FLOORS = (
    ("errors", "progress", "registry", "cache", "settings"),
    ("graph", "storage"),
    ("frontends", "conversion"),
    ("brian", "cuda"),
    ("simulation", "cosimulation"),
    ("analysis", "comparison", "datasets"),
    ("benchmark", "gpu_check"),
    ("networks",),
    ("cli",),
)

#: Packages that only some parts may import.
CONFINED = {
    "torch": ("frontends/", "networks/", "cli/model_source.py"),
    "brian2": (
        *("brian/", "cuda/", "analysis/", "benchmark/", "gpu_check/"),
        *("networks/", "cli/runtime.py"),
    ),
    "brian2cuda": ("cuda/configuration.py",),
    "h5py": ("storage.py",),
    "nir": ("frontends/nir/",),
    "pooch": ("datasets/downloads.py",),
    "distributed": ("simulation/cluster.py",),
    "matplotlib": ("analysis/", "networks/"),
    "jinja2": ("analysis/",),
    "typer": ("cli/",),
    "rich": ("cli/", "progress.py", "datasets/downloads.py", "networks/"),
}


def sources():
    for folder in ("bsnn", "networks"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            inside = path.relative_to(ROOT)
            yield path, str(inside if folder == "networks" else inside.relative_to("bsnn"))


def imports(path: Path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def floor_of(part: str) -> int | None:
    part = part.removesuffix(".py")
    return next((level for level, parts in enumerate(FLOORS) if part in parts), None)


@pytest.mark.parametrize(("path", "inside"), sources(), ids=lambda value: str(value))
def test_imports_go_downwards(path, inside):
    own = floor_of(inside.split("/")[0])
    for module in imports(path):
        top, _, rest = module.partition(".")
        if top == "bsnn" and rest:
            below = floor_of(rest.split(".")[0])
            assert own is None or below is None or below <= own, f"{inside} imports {module}"
        if top in CONFINED:
            assert inside.startswith(CONFINED[top]), f"{inside} imports {module}"


def test_all_packages_are_listed():
    tomllib = pytest.importorskip("tomllib", reason="needs Python 3.11")
    listed = set(
        tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    )
    # files that are found through a package, without Python of their own
    found = {"bsnn.hardware"}
    for path, _ in sources():
        if not (path.parent / "__init__.py").exists():
            # what is copied for others to run
            continue
        package = ".".join(path.parent.relative_to(ROOT).parts)
        found.add(package if package.startswith("bsnn") else f"bsnn.{package}")
    assert found == listed


def test_importing_bsnn_needs_no_torch_and_no_command_line():
    code = (
        "import sys, bsnn\n"
        "assert not {'torch', 'typer', 'distributed', 'brian2', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_each_package_can_be_imported_first():
    """Imports in a circle would go wrong from one of its ends."""
    packages = sorted(f"bsnn.{path.parent.name}" for path in (ROOT / "bsnn").glob("*/__init__.py"))
    code = f"""
import importlib, sys
for package in {packages}:
    for known in [name for name in sys.modules if name.partition(".")[0] == "bsnn"]:
        del sys.modules[known]
    importlib.import_module(package)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_model_is_looked_at_without_brian():
    code = (
        "import sys; sys.modules['brian2'] = None\n"
        "import bsnn\n"
        "model = bsnn.load_model(bsnn.networks.paper('nguyen_2020').SHIPPED['mnist'])\n"
        "assert isinstance(model, bsnn.RateModel)\n"
        "bsnn.Setup(precision='float32'), bsnn.Run(workers=2)\n"
        "try:\n    bsnn.build\n"
        "except ModuleNotFoundError as error:\n    print(error)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "brian2" in found.stdout


def test_every_public_name_is_there():
    for name in bsnn.__all__:
        assert getattr(bsnn, name) is not None
        assert name in dir(bsnn)
    with pytest.raises(AttributeError, match="no attribute 'simulat'"):
        bsnn.simulat  # noqa: B018


def test_without_torch_the_message_says_what_to_install():
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import bsnn\n"
        "try:\n    bsnn.from_torch\n"
        "except bsnn.ConversionError as error:\n    print(error)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'bsnn[torch]'" in found.stdout


def code_blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)


def test_readme_python_runs_as_printed(tmp_path, data_folder, monkeypatch):
    """All Python of the README, in order, in one interpreter."""
    monkeypatch.setenv(DATA_VARIABLE, str(data_folder))
    blocks = code_blocks("python")
    assert len(blocks[0].splitlines()) <= 15
    (tmp_path / "my_model.py").write_text(next(b for b in blocks if "class " in b))
    runnable = [block for block in blocks if "class " not in block]
    script = tmp_path / "readme.py"
    script.write_text(
        "import shutil, bsnn\nfrom bsnn.networks import paper\n"
        "shutil.copy(paper('lopez_randulfe_2022').SHIPPED['mnist_cnn'], 'model.h5')\n"
        + "\n".join(runnable)
    )
    found = subprocess.run(
        [sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr
    assert "accuracy of the spiking network" in found.stdout


def test_readme_names_commands_that_exist():
    shell = "\n".join(code_blocks("console"))
    named = set(re.findall(r"^\$ bsnn ([\w-]+)", shell, re.MULTILINE))
    assert {"demo", "convert", "info", "run", "train", "reproduce"} <= named
    for command in sorted(named):
        found = CliRunner().invoke(app, [command, "--help"])
        assert found.exit_code == 0, command
        assert "Usage" in found.output
