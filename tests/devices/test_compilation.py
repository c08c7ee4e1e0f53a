"""Compiling generated code: the binaries that are kept, and that they are the right ones."""

from __future__ import annotations

import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import brian2 as b2
import numpy as np
import pytest

import bsnn
from bsnn.cache import CACHE_VARIABLE, binary_cache
from bsnn.devices import compilation, use_device


@pytest.fixture
def compiled(monkeypatch, tmp_path):
    """Use an empty cache; return the list of the projects that are compiled."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    found, original = [], compilation._compile

    def noting(directory, sources):
        found.append(directory)
        original(directory, sources)

    monkeypatch.setattr(compilation, "_compile", noting)
    return found


def simulate(model, images, **options):
    return bsnn.simulate(model, images, device="cpp", progress=False, **options)


def binaries():
    return [path for path in binary_cache().iterdir() if path.suffix != ".lock"]


def key_of(model, folder, **options):
    """Generate the code of a model, and return the name that its binary would have."""
    with use_device("cpp", folder):
        net = bsnn.build(model, **options)
        net.network.run(net.duration, namespace={})
        b2.device.build(directory=str(folder), compile=False, run=False)
        return compilation._key(folder, sorted(b2.device.writer.source_files))


def test_an_equal_network_is_compiled_once(small_cnn, compiled):
    model, images = small_cnn(steps=6)
    parts = [simulate(model, images[first : first + 4]).potentials for first in (0, 4)]
    assert len(compiled) == len(binaries()) == 1
    exact = model.code(images[:8].astype(np.float64)).potentials["fc2"]
    np.testing.assert_allclose(np.concatenate(parts), exact, atol=1e-9)


def test_whatever_is_in_the_code_makes_another_binary(small_cnn, tmp_path):
    variants = [
        ({}, {}),
        ({"steps": 7}, {}),
        ({"seed": 1}, {}),
        ({"read_out": "first-spike"}, {}),
        ({}, {"form": "trace"}),
        ({}, {"images": 2}),
        ({}, {"monitors": {"conv1": "u"}}),
    ]
    keys = [
        key_of(small_cnn(**{"steps": 6, **changed})[0], tmp_path / f"{number}", **options)
        for number, (changed, options) in enumerate(variants)
    ]
    assert None not in keys
    assert len(set(keys)) == len(variants)


def test_weights_and_the_place_make_no_difference(small_cnn, tmp_path):
    """Weights are read when the binary runs; this is the same code with all weights halved."""
    model, _ = small_cnn(steps=6)
    for layer in model.graph:
        for array in layer.arrays.values():
            array *= 0.5
    again, _ = small_cnn(steps=6)
    assert key_of(model, tmp_path / "one") == key_of(again, tmp_path / "two")


def test_compiler_and_flags_make_another_binary(tmp_path, monkeypatch):
    made = project(tmp_path / "project")
    keys = {compilation._key(*made)}
    monkeypatch.setitem(b2.prefs, "codegen.cpp.extra_compile_args_gcc", ["-O1"])
    keys.add(compilation._key(*made))
    monkeypatch.setitem(b2.prefs, "codegen.cpp.extra_compile_args_gcc", ["-mavx2"])
    keys.add(compilation._key(*made))
    monkeypatch.setenv("CXX", "g++ -funroll-loops")
    keys.add(compilation._key(*made))
    assert len(keys) == 4


def test_the_least_recently_used_is_removed(compiled, monkeypatch, tmp_path):
    compilation.compile_project(*project(tmp_path / "first"))
    (kept,) = binaries()
    old, older = (kept.with_name(name) for name in ("old", "older"))
    for path, age in ((old, 100), (older, 200)):
        path.write_bytes(b"0" * 1000)
        os.utime(path, (time.time() - age,) * 2)
    monkeypatch.setattr(compilation, "_CACHE_BYTES", 2 * kept.stat().st_size + 1500)
    second = project(tmp_path / "second", **{"code_objects/one.h": "// new\nvoid _run_one();\n"})
    compilation.compile_project(*second)
    assert len(binaries()) == 3
    assert old.exists()
    assert not older.exists()


@pytest.mark.parametrize("place", [0, 5000, -1])
def test_a_damaged_binary_is_compiled_anew(compiled, tmp_path, place):
    compilation.compile_project(*project(tmp_path / "first"))
    (kept,) = binaries()
    content = bytearray(kept.read_bytes())
    content[place] ^= 1
    kept.write_bytes(content)
    compilation.compile_project(*project(tmp_path / "second"))
    compilation.compile_project(*project(tmp_path / "third"))
    assert len(compiled) == 2
    first, second, third = (tmp_path / name / "main" for name in ("first", "second", "third"))
    assert first.read_bytes() == second.read_bytes() == third.read_bytes()
    assert subprocess.run([third], check=False).returncode == 0


def test_without_a_place_to_keep_them(compiled, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "file"))
    folder, sources = project(tmp_path / "project")
    compilation.compile_project(folder, sources)
    assert (folder / "main").is_file()


def project(folder, **files):
    """Write a project as small as can be."""
    folder.mkdir()
    (folder / "code_objects").mkdir()
    contents = {
        "main.cpp": '#include "code_objects/one.h"\nint main() { _run_one(); return 0; }\n',
        "code_objects/one.h": "void _run_one();\n",
        "code_objects/one.cpp": '#include "code_objects/one.h"\nvoid _run_one() {}\n',
        "makefile": "SRCS = main.cpp code_objects/one.cpp\nOBJS = ${SRCS:.cpp=.o}\n"
        "main: $(OBJS)\n\t$(CXX) $(OBJS) -o main\n"
        "%.o : %.cpp\n\t$(CXX) -I. -c $< -o $@\n",
        **files,
    }
    for name, content in contents.items():
        (folder / name).write_text(content)
    return folder, ["main.cpp", "code_objects/one.cpp"]


def test_processes_wait_for_the_first(compiled, tmp_path):
    projects = [project(tmp_path / f"project{k}") for k in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda made: compilation.compile_project(*made), projects))
    assert len(compiled) == 1
    assert all((folder / "main").is_file() for folder, _ in projects)


def test_code_from_outside_of_the_project_is_always_compiled(compiled, tmp_path):
    (tmp_path / "outside.h").write_text("")
    main = f'#include "{tmp_path}/outside.h"\nint main() {{ return 0; }}\n'
    for k in range(2):
        compilation.compile_project(*project(tmp_path / f"project{k}", **{"main.cpp": main}))
    assert len(compiled) == 2


def test_a_header_makes_a_difference(compiled, tmp_path):
    for k in range(2):
        one = f"// {k}\nvoid _run_one();\n"
        made = project(tmp_path / f"project{k}", **{"code_objects/one.h": one})
        compilation.compile_project(*made)
    assert len(compiled) == 2


def test_code_that_cannot_share_a_file_is_compiled_alone(compiled, tmp_path):
    alone = (
        '#include "code_objects/one.h"\n#ifdef __has_include\nextern "C" int puts(const char*);\n'
        'namespace std { struct alone {}; }\nstd::alone x;\n#endif\nvoid _run_one() { ::puts(""); }'
    )
    folder, sources = project(tmp_path / "project", **{"code_objects/one.cpp": alone})
    compilation.compile_project(folder, sources)
    assert (folder / "main").is_file()


def test_the_compilers_message_is_in_the_error(compiled, tmp_path):
    made = project(tmp_path / "project", **{"main.cpp": "int main() { return nonsense; }"})
    with pytest.raises(bsnn.BuildError, match="nonsense.*was not declared"):
        compilation.compile_project(*made)
