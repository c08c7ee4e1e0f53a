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


def floors() -> tuple[dict[str, int], dict[str, set[str]]]:
    """Read the floor of each package, and the libraries that it may import, from the table."""
    levels, libraries = {}, {}
    for line in (ROOT / "CONTRIBUTING.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) != 4 or not cells[0].isdigit():
            continue
        packages = re.findall(r"`(\w+)`", cells[1])
        levels |= dict.fromkeys(packages, int(cells[0]))
        for part in filter(None, re.split(r"\s+·\s+", cells[3])):
            named, _, names = part.rpartition(":")
            for package in re.findall(r"\w+", named) or packages:
                libraries.setdefault(package, set()).update(re.findall(r"\w+", names))
    return levels, libraries


FLOORS, LIBRARIES = floors()

#: Libraries that one file only of a package may import: they are extras, or slow to import.
CONFINED = {
    ("cli", "brian2"): "cli/runtime.py",
    ("cli", "torch"): "cli/model_source.py",
    ("datasets", "pooch"): "datasets/downloads.py",
    ("devices", "brian2cuda"): "devices/cuda/configuration.py",
    ("simulation", "distributed"): "simulation/cluster.py",
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


def part_of(inside: str) -> str:
    """Return the package, or the module at the top, that a file is of."""
    return inside.split("/")[0].removesuffix(".py")


def parts_imported(path: Path) -> set[str]:
    parts = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "bsnn":
            parts |= {alias.name for alias in node.names}
    parts |= {name.split(".")[1] for name in imports(path) if name.startswith("bsnn.")}
    return parts


@pytest.mark.parametrize(("path", "inside"), list(sources()), ids=lambda value: str(value))
def test_imports_go_downwards(path, inside):
    part = part_of(inside)
    if part == "__init__":
        return
    assert part in FLOORS, f"{part} has no floor in CONTRIBUTING.md"
    for other in parts_imported(path):
        assert FLOORS.get(other, 0) <= FLOORS[part], f"{inside} imports {other}"


@pytest.mark.parametrize(("path", "inside"), list(sources()), ids=lambda value: str(value))
def test_libraries_are_imported_where_they_are_named(path, inside):
    known = set.union(*LIBRARIES.values())
    for library in {module.partition(".")[0] for module in imports(path)} & known:
        allowed = LIBRARIES.get(part_of(inside), set())
        assert library in allowed, f"{inside} imports {library}"
        place = CONFINED.get((part_of(inside), library), inside)
        assert inside == place, f"{inside} imports {library}"


def test_within_a_floor_there_is_no_circle():
    below = {part: set() for part in FLOORS}
    for path, inside in sources():
        if part_of(inside) in FLOORS:
            below[part_of(inside)] |= parts_imported(path) & set(FLOORS) - {part_of(inside)}
    while ready := [part for part, needed in below.items() if not needed]:
        for part in ready:
            del below[part]
        below = {part: needed - set(ready) for part, needed in below.items()}
    assert not below


def test_no_package_has_grown_too_large():
    lines: dict[str, int] = {}
    for path, inside in sources():
        part = part_of(inside)
        lines[part] = lines.get(part, 0) + path.read_text().count("\n")
    assert max(lines.values()) <= 0.15 * sum(lines.values()), lines


def test_the_brian_extension_needs_no_higher_floor():
    hidden = [f"bsnn.{part}" for part, floor in FLOORS.items() if floor > FLOORS["brian"]]
    hidden += ["bsnn.graph", "bsnn.frontends", "bsnn.datasets", "bsnn.devices"]
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({hidden}))\n"
        "import brian2 as b2\n"
        "from bsnn.brian import Convolution, GatedPool, MaxPooling\n"
        "assert not [name for name in sys.modules if name.startswith('bsnn.graph.')]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


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


def code_blocks(language: str, page: str = "README.md") -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


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


@pytest.mark.parametrize(
    ("page", "printed"),
    [("CONTRIBUTING.md", "my-leaky"), ("tutorials/networks.md", "'expand': 6.0")],
)
def test_what_a_page_shows_runs_as_printed(page, printed, tmp_path):
    script = tmp_path / "page.py"
    script.write_text("\n".join(code_blocks("python", page)))
    found = subprocess.run(
        [sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr
    assert printed in found.stdout


def test_a_checkout_that_is_not_installed_finds_its_networks():
    code = (
        "import sys\n"
        "sys.meta_path = [f for f in sys.meta_path if 'editable' not in repr(f).lower()]\n"
        "from bsnn.networks import paper; import bsnn.hardware\n"
        "print(paper('nguyen_2020').SHIPPED['mnist'].is_file())"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert found.stdout == "True\n"


def test_readme_names_commands_that_exist():
    shell = "\n".join(code_blocks("console"))
    named = set(re.findall(r"^\$ bsnn ([\w-]+)", shell, re.MULTILINE))
    assert {"demo", "convert", "info", "run", "train", "reproduce"} <= named
    for command in sorted(named):
        found = CliRunner().invoke(app, [command, "--help"])
        assert found.exit_code == 0, command
        assert "Usage" in found.output
