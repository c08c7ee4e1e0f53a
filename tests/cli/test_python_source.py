"""Files of users' are run as the modules that they are."""

from __future__ import annotations

import sys
import textwrap
import types

import pytest

import bsnn
from bsnn.cli.python_source import made_by, named_in_file


@pytest.fixture(autouse=True)
def modules(monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text))


#: By what is special about it: the file, what else there is, its content.
FILES = {
    "a command line": (
        "train.py",
        {},
        """
        import argparse
        parser = argparse.ArgumentParser()
        parser.add_argument("--lr", type=float, default=0.1)
        arguments = parser.parse_args()
        """,
    ),
    "prints": ("loud.py", {}, "print('training ...')\n"),
    "in a package": (
        "nets/resnet/model.py",
        {"nets/__init__.py": "", "nets/resnet/__init__.py": "", "nets/layers.py": "width = 3\n"},
        "from ..layers import width\n",
    ),
    "in a folder": ("part/net.py", {"part/layers.py": "width = 3\n"}, "from .layers import width"),
    "beside another": ("net.py", {"own_layers.py": "width = 3\n"}, "from own_layers import width"),
    "called as one of Python's": ("types.py", {}, ""),
    "a data class": (
        "settings.py",
        {},
        """
        from __future__ import annotations
        import dataclasses
        @dataclasses.dataclass
        class Settings:
            width: int = 3
        """,
    ),
    "spaces": ("my-net v2.py", {}, ""),
}  # fmt: skip


@pytest.mark.parametrize("what", FILES)
def test_files(tmp_path, capsys, what):
    file, others, text = FILES[what]
    for name, content in others.items():
        write(tmp_path / name, content)
    made = "\nclass Zoo:\n    def make():\n        from sys import argv\n        return argv\n"
    write(tmp_path / file, textwrap.dedent(text) + made)
    make = named_in_file(f"{tmp_path / file}:Zoo.make")
    assert make.__globals__["__file__"] == str(tmp_path / file)
    # the command's own arguments are its own again
    assert made_by(make, "it") is sys.argv
    assert capsys.readouterr().out == ""
    assert sys.modules["types"] is types


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ("import sys\nsys.exit('no GPU found')", "make", r"line 2: .*\(no GPU found\)\. Put what"),
        ("def (:", "make", "SyntaxError"),
        ("import not_here_at_all", "make", "line 1: .*No module named 'not_here_at_all'"),
        ("def make(): pass", "mkae", "nothing called 'mkae'. Did you mean 'make'?"),
        ("def make(): pass", "", "has no name after the colon"),
        ("from ...above import x", "make", "ImportError"),
    ],
)
def test_files_that_cannot_be_run(tmp_path, text, name, message):
    write(tmp_path / "mine.py", text)
    with pytest.raises(bsnn.ConversionError, match=message):
        named_in_file(f"{tmp_path / 'mine.py'}:{name}")


def test_what_cannot_be_called(tmp_path):
    write(tmp_path / "mine.py", "class Net:\n    def __init__(self, hidden): pass\n")
    with pytest.raises(bsnn.ConversionError, match=r"'hidden'\).*def make_net\(\): return Net\("):
        made_by(named_in_file(f"{tmp_path / 'mine.py'}:Net"), "mine.py:Net")
    with pytest.raises(bsnn.ConversionError, match=r"Is it .*mine\.py:Net"):
        named_in_file(f"{tmp_path / 'mine'}:Net")
