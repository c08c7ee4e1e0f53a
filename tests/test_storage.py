"""Files: what is written is read again, and what is damaged is refused with its place."""

from __future__ import annotations

import contextlib
import json
import shutil

import h5py
import numpy as np
import pytest
import torch
from ttfs_networks import ResidualCnn, SmallCnn

import bsnn
from bsnn import storage
from bsnn.conversion import load_model
from bsnn.graph import Input, Linear, Normalise, PadChannels, files


@pytest.fixture
def file(small_cnn, tmp_path):
    model, _ = small_cnn(steps=9, rounding=True, read_out="first-spike")
    path = tmp_path / "model.h5"
    model.save(path)
    return path


def edit(file, change):
    """Change a file as if it had been written so."""
    with h5py.File(file, "a") as f:
        change(f)
    storage._write_seal(file)


def without_seal(file):
    """Make a file what it would have been before there were seals."""
    content = file.read_bytes()
    assert content[512:520] == b"\x89HDF\r\n\x1a\n"
    file.write_bytes(content[512:])


def flip(file, place, bits=0x10):
    content = bytearray(file.read_bytes())
    content[place] ^= bits
    file.write_bytes(content)


@pytest.mark.parametrize(("net", "shape"), [(SmallCnn(), (1, 9, 8)), (ResidualCnn(), (2, 6, 7))])
def test_graph_round_trip(net, shape, tmp_path):
    graph = bsnn.from_torch(net, shape)
    bsnn.save_graph(graph, tmp_path / "net.h5", {"source": "a test"})
    found = bsnn.load_graph(tmp_path / "net.h5")
    assert found.output == graph.output
    for layer, again in zip(graph, found, strict=True):
        assert (again.name, again.kind, again.inputs) == (layer.name, layer.kind, layer.inputs)
        assert again.geometry == layer.geometry
        assert again.arrays.keys() == layer.arrays.keys()
        for name, array in layer.arrays.items():
            np.testing.assert_array_equal(again.arrays[name], array)


def test_round_trip_of_layers_without_trained_weights(tmp_path):
    mean, std = np.random.default_rng(0).uniform(0.1, 1, (2, 2, 3, 3)).astype(np.float32)
    graph = bsnn.Graph([
        Input(name="x", shape=(2, 3, 3)),
        Normalise(name="n", inputs=("x",), mean=mean, std=std[:, :1, :1]),
        PadChannels(name="p", inputs=("n",), before=1, after=2),
    ])  # fmt: skip
    bsnn.save_graph(graph, tmp_path / "net.h5")
    images = np.random.default_rng(1).random((4, 2, 3, 3))
    found = bsnn.load_graph(tmp_path / "net.h5")
    np.testing.assert_array_equal(found.forward(images), graph.forward(images))


def test_half_precision_round_trip(small_cnn, tmp_path):
    """What is read are the values of float16, in float32; the checksum is theirs."""
    model, images = small_cnn()
    graph = model.graph
    paths = {dtype: tmp_path / f"{dtype}.h5" for dtype in ("float32", "float16")}
    for dtype, path in paths.items():
        bsnn.save_graph(graph, path, dtype=dtype)
    found = bsnn.load_graph(paths["float16"])
    with h5py.File(paths["float16"]) as f:
        assert f["graph/fc1/weight"].dtype == np.float16
        assert f["provenance"].attrs["weights_sha256"] == files.weights_sha256(found)
    for layer, again in zip(graph, found, strict=True):
        for name, array in layer.arrays.items():
            assert again.arrays[name].dtype == np.float32
            expected = torch.from_numpy(array).half().float().numpy()
            np.testing.assert_array_equal(again.arrays[name], expected)
    assert files.weights_sha256(found) != files.weights_sha256(graph)
    np.testing.assert_allclose(found.forward(images), graph.forward(images), atol=0.05)
    bsnn.save_graph(found, paths["float32"])
    again = storage.read_tree(paths["float32"], "model")
    assert again["provenance"]["weights_sha256"] == files.weights_sha256(found)


def test_a_model_in_half_precision_passes_the_check(file):
    tree = storage.read_tree(file, "model")
    graph = load_model(file).graph
    tree["graph"] = files.graph_to_tree(graph, "float16")
    tree["provenance"] = files.provenance(graph, dtype="float16")
    storage.write_tree(file, "model", tree)
    found = load_model(file).graph["fc1"].weight
    np.testing.assert_array_equal(found, graph["fc1"].weight.astype(np.float16))
    tree["provenance"] = files.provenance(graph)
    storage.write_tree(file, "model", tree)
    with pytest.raises(bsnn.StorageError, match="changed after"):
        load_model(file)


@pytest.mark.parametrize(
    ("std", "weight", "dtype", "message"),
    [
        (1.0, -7e4, "float16", r"/graph/flat_out/weight has 1 values up to 7e\+04, too large"),
        (1e-9, 1.0, "float16", "stored as float16: layer 'n'.*std .*not positive"),
        (1.0, 1.0, "int8", "stored as 'int8'; known types are float32, float16"),
    ],
)
def test_values_that_a_type_cannot_hold(std, weight, dtype, message, tmp_path):
    def array(value, *shape):
        return np.full(shape, value, np.float32)

    weights = array(1.0, 2, 4)
    weights[0, 0] = weight
    graph = bsnn.Graph([
        Input(name="x", shape=(4,)),
        Normalise(name="n", inputs=("x",), mean=array(0, 1), std=array(std, 4)),
        Linear(name="flat_out", inputs=("n",), weight=weights),
    ])  # fmt: skip
    with pytest.raises(bsnn.StorageError, match=message):
        bsnn.save_graph(graph, tmp_path / "net.h5", dtype=dtype)
    assert not list(tmp_path.iterdir())
    bsnn.save_graph(graph, tmp_path / "net.h5")


def test_model_round_trip(small_cnn, tmp_path):
    model, images = small_cnn(steps=9, rounding=True, read_out="first-spike", norm="data-based")
    model.save(tmp_path / "model.h5")
    found = load_model(tmp_path / "model.h5")
    for field in ("steps", "scales", "rounding", "read_out", "norm", "calibration", "coding"):
        assert getattr(found, field) == getattr(model, field), field
    np.testing.assert_array_equal(
        found.code(images).potentials["fc2"], model.code(images).potentials["fc2"]
    )
    found.save(tmp_path / "again.h5")
    assert load_model(tmp_path / "again.h5").source == found.source


def test_three_lines_of_h5py_read_the_weights(file):
    with h5py.File(file) as f:
        weight = f["graph/conv1/weight"][:]
        kind = f["graph/conv1"].attrs["kind"]
    assert weight.shape == (4, 1, 3, 2)
    assert kind == "conv2d"


def test_a_file_appears_whole_or_not_at_all(file, monkeypatch):
    before = file.read_bytes()
    model = load_model(file)

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(storage, "_write_group", full_disk)
    with pytest.raises(bsnn.StorageError, match="No space left"):
        model.save(file)
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == ["model.h5"]


def test_a_folder_that_does_not_exist(small_cnn, tmp_path):
    model, _ = small_cnn()
    with pytest.raises(bsnn.StorageError, match="cannot be written"):
        model.save(tmp_path / "nowhere" / "model.h5")


def test_missing_file(tmp_path):
    with pytest.raises(bsnn.StorageError, match="does not exist"):
        load_model(tmp_path / "no.h5")


def test_not_hdf5(tmp_path):
    path = tmp_path / "text.h5"
    path.write_text("hello")
    with pytest.raises(bsnn.StorageError, match="not a readable HDF5 file"):
        load_model(path)


def test_hdf5_of_somebody_else(tmp_path):
    path = tmp_path / "other.h5"
    with h5py.File(path, "w") as f:
        f["x"] = 1
    with pytest.raises(bsnn.StorageError, match="not one of bsnn's"):
        load_model(path)


@pytest.mark.parametrize("keep", [0.3, 0.6, 0.95])
def test_truncated_file(file, keep):
    content = file.read_bytes()
    file.write_bytes(content[: int(keep * len(content))])
    with pytest.raises(bsnn.StorageError, match="model.h5"):
        load_model(file)


def middle_of(file, array):
    """Return the place in a file, which has no seal, of a byte in the middle of an array."""
    with h5py.File(file) as f:
        chunk = f[array].id.get_chunk_info(0)
        return chunk.byte_offset + chunk.size // 2


def test_flipped_bits_in_an_array(file):
    without_seal(file)
    flip(file, middle_of(file, "graph/fc1/weight"))
    with pytest.raises(bsnn.StorageError, match="/graph/fc1/weight"):
        load_model(file)


@pytest.mark.parametrize("load", [bsnn.load_graph, load_model])
def test_other_weights_are_not_loaded(file, load):
    """Nor from a file without a seal: arrays are checked whatever HDF5 says of them."""
    edit(file, lambda f: f["graph/fc1/bias"].write_direct(np.ones(9, "f4")))
    with pytest.raises(bsnn.StorageError, match="do not have the SHA-256 under /provenance"):
        load(file)
    without_seal(file)
    with pytest.raises(bsnn.StorageError, match="do not have the SHA-256 under /provenance"):
        load(file)


@pytest.mark.parametrize("load", [bsnn.load_graph, load_model])
def test_a_network_that_another_program_has_changed(file, load):
    with h5py.File(file, "a") as f:
        f["graph/conv1"].attrs["stride"] = (2, 2)
    with pytest.raises(bsnn.StorageError, match="not what was written.*another program"):
        load(file)


def arrays_of(tree, path=""):
    """Yield all values of a tree by their paths, arrays as types, shapes and bytes."""
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from arrays_of(value, f"{path}/{name}")
        elif isinstance(value, np.ndarray):
            yield f"{path}/{name}", (value.dtype, value.shape, value.tobytes())
        else:
            yield f"{path}/{name}", (type(value), value)


def test_no_flipped_byte_loads_as_something_else(tmp_path, numpy_target):
    """Of none that bsnn writes, wherever the byte lies: the library of HDF5 never sees it."""
    rng = np.random.default_rng(0)
    graph = bsnn.Graph([
        Input(name="x", shape=(4,)),
        Linear(name="fc", inputs=("x",), weight=rng.random((2, 4), np.float32)),
    ])  # fmt: skip
    model = bsnn.convert_to_rate(graph, rng.random((5, 4), np.float32), steps=4)
    kept = tmp_path / "checkpoint"
    result = bsnn.simulate(model, rng.random((3, 4)), checkpoint=kept, progress=False)
    bsnn.save_graph(graph, tmp_path / "graph")
    model.save(tmp_path / "model")
    result.save(tmp_path / "result")
    loads = {
        "graph": bsnn.load_graph,
        "model": load_model,
        "result": bsnn.load_result,
        "checkpoint": lambda path: storage.read_tree(path, "checkpoint", sealed=True),
    }
    for name, load in loads.items():
        path = tmp_path / name
        good = path.read_bytes()
        load(path)
        places = {*range(0, 140, 5), 511, len(good) - 1, *rng.integers(len(good), size=80).tolist()}
        for place in places:
            flip(path, place, 1 << int(rng.integers(8)))
            with pytest.raises(bsnn.StorageError, match=str(path)):
                load(path)
            path.write_bytes(good)
        for size in rng.integers(len(good), size=20).tolist():
            path.write_bytes(good[:size])
            with pytest.raises(bsnn.StorageError, match=str(path)):
                load(path)


def test_what_is_kept_without_a_seal_is_read_but_not_gone_on_with(tmp_path):
    path = tmp_path / "kept"
    tree = {"some": {"array": np.arange(3.0), "text": "x", "none": ()}, "number": 2}
    storage.write_tree(path, "checkpoint", tree)
    sealed = storage.read_tree(path, "checkpoint", sealed=True)
    without_seal(path)
    assert dict(arrays_of(storage.read_tree(path, "checkpoint"))) == dict(arrays_of(sealed))
    with pytest.raises(bsnn.StorageError, match="names no SHA-256.*delete it to begin anew"):
        storage.read_tree(path, "checkpoint", sealed=True)


def test_json_is_checked(tmp_path):
    path = tmp_path / "kept.json"
    tree = {"b": [1, 2.5, "x"], "a": {"0.1": None, "c": 1e-300}}
    storage.write_json(path, tree)
    assert storage.read_json(path, sealed=True) == tree
    good = path.read_bytes()
    for place in range(len(good)):
        flip(path, place, 1 << place % 7)
        with contextlib.suppress(bsnn.StorageError):
            assert storage.read_json(path, sealed=True) == tree
        path.write_bytes(good)
    # how it is laid out is not what it holds
    path.write_text(json.dumps(dict(reversed(json.loads(good).items()))))
    assert storage.read_json(path, sealed=True) == tree
    path.write_text(json.dumps(tree))
    assert storage.read_json(path) == tree
    with pytest.raises(bsnn.StorageError, match="names no SHA-256.*delete it to begin anew"):
        storage.read_json(path, sealed=True)


def test_future_version_is_refused(file):
    edit(file, lambda f: f.attrs.__setitem__("schema_version", 999))
    with pytest.raises(bsnn.StorageError, match="schema version 999.*versions up to 2.*Update"):
        load_model(file)


@pytest.mark.parametrize(
    ("rule", "norm"),
    [("max", "data-based"), ("worst-case", "model-based"), ("percentile", "percentile")],
)
def test_a_model_of_version_1_is_migrated(file, rule, norm):
    without_seal(file)
    with h5py.File(file, "a") as f:
        f.attrs["schema_version"] = 1
        del f["conversion"].attrs["norm"]
        f["conversion"].attrs["scale_rule"] = rule
    assert load_model(file).norm == norm


def retype(group, name, dtype):
    values = group[name][:].astype(dtype)
    del group[name]
    group[name] = values


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f["graph/conv1"].__delitem__("weight"), "/graph/conv1.*weight"),
        (lambda f: f["graph"].__delitem__("conv2"), "/graph has no .*'conv2'"),
        (lambda f: f["graph/conv1"].attrs.__delitem__("kind"), "/graph/conv1 has no .*'kind'"),
        (lambda f: f["graph/conv1"].attrs.__setitem__("kind", "conv9d"), "unknown kind 'conv9d'"),
        (lambda f: f["graph/conv1"].attrs.__setitem__("colour", 3), "/graph/conv1.*colour"),
        (lambda f: f["graph/pool1"].attrs.__setitem__("kernel", (30, 30)), "not a consistent"),
        (lambda f: f["graph/fc1"].attrs.__setitem__("inputs", ("nothing",)), "not a consistent"),
        (lambda f: f["graph/conv1/bias"].write_direct(np.full(4, np.nan, "f4")), "4 values .*NaN"),
        (lambda f: f["graph/conv1/bias"].write_direct(np.zeros(4, "f4")), "changed after"),
        (lambda f: retype(f["graph/conv1"], "bias", "f8"), "is no float32 or float16 dataset"),
        (lambda f: f.__delitem__("conversion"), "not converted.*bsnn convert"),
        (lambda f: f["conversion/scales"].attrs.__delitem__("conv1"), "'conv1'; a number"),
        (lambda f: f["conversion/scales"].attrs.__setitem__("fc1", -1.0), "-1.0 for 'fc1'"),
        (lambda f: f["conversion"].attrs.__setitem__("coding", "burst"), "coding 'burst'"),
        (lambda f: f["conversion"].attrs.__delitem__("steps_per_window"), "incomplete"),
        (lambda f: f.attrs.__setitem__("content", "result"), "holds a result"),
    ],
)
def test_damage_is_named(file, change, message):
    edit(file, change)
    with pytest.raises(bsnn.StorageError, match=message) as caught:
        load_model(file)
    assert str(file) in str(caught.value)


def test_an_array_of_another_shape(file):
    def change(f):
        del f["graph/fc2/weight"]
        f["graph/fc2/weight"] = np.zeros((5, 7), "f4")

    edit(file, change)
    with pytest.raises(bsnn.StorageError, match="not a consistent network.*'fc2'"):
        load_model(file)


def test_files_can_be_read_by_others(file, tmp_path):
    assert file.stat().st_mode & 0o044 == 0o044
    shutil.copy(file, tmp_path / "copy.h5")
    load_model(tmp_path / "copy.h5")
