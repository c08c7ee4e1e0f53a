"""The sweeps of the fifth tutorial are reproducible: the same command finds the same."""

from __future__ import annotations

import re
import shlex
from itertools import pairwise
from pathlib import Path

import nbformat
import pytest

import bsnn
from bsnn.networks import paper
from bsnn.simulation import parse_axis
from bsnn.storage import read_json, write_json

TUTORIAL = Path(__file__).parents[2] / "tutorials" / "5-what-biology-does-to-a-cnn.ipynb"


def commands():
    """Return the sweeps that the tutorial names, as arguments."""
    cells = nbformat.read(TUTORIAL, as_version=4).cells
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    found = re.findall(r"^\$ bsnn (sweep (?:.*\\\n)*.*)$", text, re.MULTILINE)
    one_line = [command.replace("\\\n", " ") for command in found]
    return {arguments[-1]: arguments for arguments in map(shlex.split, one_line)}


def test_the_sweeps_that_are_named():
    """What they have found is there, complete, and drawn."""
    folder = TUTORIAL.parent / "sweeps"
    assert set(commands()) == {path.name for path in folder.glob("*.json")}
    for name, arguments in commands().items():
        kept = bsnn.load_sweep(folder / name)
        vary = [text for before, text in pairwise(arguments) if before == "--vary"]
        assert kept.axes == tuple(map(parse_axis, vary))
        assert kept.done == kept.runs
        assert kept.images == int(arguments[arguments.index("--images") + 1])
        assert kept.grid == ("--each" not in arguments)


@pytest.mark.long
# those in rate coding take longer, and what they name is in these
@pytest.mark.parametrize("name", ["ttfs.json", "refractory.json"])
def test_the_same_command_finds_the_same(command_line, numpy_target, name):
    if name == "refractory.json":
        sample = bsnn.datasets.mnist_sample()
        graph = bsnn.load_graph(paper("nguyen_2020").SHIPPED["mnist"])
        bsnn.convert_to_rate(graph, sample.images[:20], encoder="constant").save("mnist_rate.h5")
    command, model, *rest = commands()[name]
    if name == "ttfs.json":
        model = paper("lopez_randulfe_2022").SHIPPED["mnist_cnn"]
    small = ("--dataset", "mnist-sample", "--images", 2, "--seeds", 1, "--steps", 4)
    options = (*rest, *small, "--device", "runtime")
    status, out, err = command_line(command, model, *options)
    assert status == 0, out + err
    first = bsnn.load_sweep(name)
    assert first.done == first.runs > 5

    # some of it once more, by two processes
    tree = read_json(name)
    del tree["points"][1::5]
    write_json(name, tree)
    assert bsnn.load_sweep(name).done < first.done
    status, out, err = command_line(command, model, *options, "--resume", "--workers", 2)
    assert status == 0, out + err
    assert bsnn.load_sweep(name) == first
