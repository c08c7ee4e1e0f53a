"""The command line as a whole: its help, and what it imports."""

from __future__ import annotations

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from bsnn.cli.app import COMMANDS, app, command


@pytest.mark.parametrize("name", COMMANDS)
def test_what_the_help_says_of_a_command_is_what_the_command_says(name):
    shown = " ".join((command(name).help or "").split())
    assert shown.startswith(COMMANDS[name][1])
    found = CliRunner().invoke(app, [name, "--help"])
    assert found.exit_code == 0
    assert f"bsnn {name}" in " ".join(found.output.split()).replace("root", "bsnn")


def test_the_help_names_all_commands():
    found = CliRunner().invoke(app, ["--help"])
    assert found.exit_code == 0
    for name in COMMANDS:
        assert f" {name} " in found.output


def test_a_command_that_does_not_exist():
    found = CliRunner().invoke(app, ["cnvert"])
    assert found.exit_code == 2
    assert "No such command 'cnvert'. Did you mean 'convert'?" in " ".join(found.output.split())
    assert CliRunner().invoke(app, ["zzz"]).exit_code == 2


@pytest.mark.parametrize("module", ["bsnn", "bsnn.cli"])
def test_what_is_not_imported(module):
    code = (
        f"import sys, {module}\n"
        "heavy = {'brian2', 'torch', 'matplotlib', 'distributed', 'scipy', 'sympy', 'h5py'}\n"
        "print(sorted(heavy & sys.modules.keys()))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"


def test_python_m_bsnn():
    found = subprocess.run(
        [sys.executable, "-m", "bsnn", "--version"], capture_output=True, text=True, check=True
    )
    assert found.stdout.startswith("python ")
