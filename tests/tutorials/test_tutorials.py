"""Notebooks and the Python of pages run from top to bottom."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import nbclient
import nbformat
import pytest

from bsnn.datasets import DATA_VARIABLE

TUTORIALS = Path(__file__).parents[2] / "tutorials"

# Notebooks that read a data set which does not come with the project.
NEED_DATA = ("2-rate-coding-and-deep-nets",)

# Those that take less than a minute.
QUICK = ("1-from-pytorch-to-spikes", "4-on-the-gpu")


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, id=path.stem, marks=() if path.stem in QUICK else pytest.mark.long)
        for path in sorted(TUTORIALS.glob("*.ipynb"))
    ],
)
def test_notebook(path, tmp_path, request, monkeypatch):
    if path.stem in NEED_DATA:
        monkeypatch.setenv(DATA_VARIABLE, str(request.getfixturevalue("data_folder")))
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=600, resources=resources).execute()
    assert all(cell.get("execution_count") for cell in notebook.cells if cell.cell_type == "code")


def test_page_about_convolution(tmp_path):
    text = (TUTORIALS / "convolution.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 3
    script = tmp_path / "page.py"
    script.write_text("\n".join(blocks))
    found = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    convolution, stored, one_pass = found.stdout.strip().splitlines()
    assert int(convolution.split()[-1]) > 0, "neurons spike"
    # 16*16 windows of 3x3 on 32x32 with a border of one, two apart: one row and column are cut off
    assert stored == f"432 weights in place of {(16 * 3 - 1) ** 2 * 3 * 16} connections"
    spikes, charge = map(float, one_pass.split())
    assert abs(spikes - charge) <= 1000, "each neuron has lost less than one threshold"
