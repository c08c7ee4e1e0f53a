"""Data sets: read from a folder, downloaded from a server, and what is wrong with them."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import http.server
import lzma
import shutil
import struct
import tarfile
import threading

import numpy as np
import pytest

import bsnn
from bsnn.datasets import DATASETS, load
from bsnn.datasets.registry import Archive, Part

COUNTS = tuple(range(3, 13))


def tiny_mnist(folder, suffix="", pack=None):
    """Files in MNIST's format whose label counts are `COUNTS`."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(10), COUNTS).astype(np.uint8)
    pixels = rng.integers(0, 256, (len(labels), 28, 28), dtype=np.uint8)
    contents = {
        "t10k-images-idx3-ubyte": struct.pack(">4I", 0x803, *pixels.shape) + pixels.tobytes(),
        "t10k-labels-idx1-ubyte": struct.pack(">2I", 0x801, len(labels)) + labels.tobytes(),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / (name + suffix)).write_bytes(pack(content) if pack else content)
    return pixels, labels


@pytest.fixture
def tiny(monkeypatch):
    """Make bsnn expect the tiny files in place of MNIST's."""
    parts = {"test": Part(DATASETS["mnist"].parts["test"].files, COUNTS)}
    monkeypatch.setitem(DATASETS, "mnist", dataclasses.replace(DATASETS["mnist"], parts=parts))


@pytest.mark.parametrize(
    ("suffix", "pack"), [("", None), (".gz", gzip.compress), (".xz", lzma.compress)]
)
@pytest.mark.parametrize("nested", [True, False])
def test_files_may_be_packed_and_nested(tmp_path, tiny, suffix, pack, nested):
    pixels, labels = tiny_mnist(tmp_path / "mnist" if nested else tmp_path, suffix, pack)
    found = load("mnist", "test", tmp_path)
    np.testing.assert_array_equal(found.pixels[:, 0], pixels)
    np.testing.assert_array_equal(found.labels, labels)
    assert found.images.dtype == np.float32
    np.testing.assert_allclose(found.images[:, 0] * 255, pixels, rtol=1e-6)
    part = found.first(5, start=2)
    np.testing.assert_array_equal(part.labels, labels[2:7])


def test_the_environment_names_the_folder(tmp_path, tiny, monkeypatch):
    tiny_mnist(tmp_path)
    monkeypatch.setenv("BSNN_DATA", str(tmp_path))
    assert len(load("mnist")) == sum(COUNTS)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: f.write_bytes(f.read_bytes()[:100]), "holds .* values.*truncated"),
        (lambda f: f.write_bytes(b"\x00\x00\x0d\x03" + f.read_bytes()[4:]), "not an IDX file"),
        (lambda f: f.write_bytes(b""), "not an IDX file"),
        (lambda f: f.unlink(), "holds no file t10k-images-idx3-ubyte"),
        (lambda f: f.rename(f"{f}.gz"), "cannot be read .*damaged"),
        (lambda f: f.rename(f"{f}.xz"), "cannot be read .*damaged"),
        (
            lambda f: shutil.copy(f.with_name("t10k-labels-idx1-ubyte"), f),
            "1 dimensions.*exchanged",
        ),
    ],
)
def test_damaged_files(tmp_path, tiny, damage, message):
    tiny_mnist(tmp_path)
    damage(tmp_path / "t10k-images-idx3-ubyte")
    with pytest.raises(bsnn.DatasetError, match=f"(?s){message}"):
        load("mnist", "test", tmp_path)


def test_truncated_gzip(tmp_path, tiny):
    tiny_mnist(tmp_path, ".gz", lambda content: gzip.compress(content)[:-20])
    with pytest.raises(bsnn.DatasetError, match="damaged or incomplete"):
        load("mnist", "test", tmp_path)


def test_another_data_set_of_the_same_names(tmp_path):
    """Fashion-MNIST's files are called like MNIST's; the labels tell them apart."""
    tiny_mnist(tmp_path)
    with pytest.raises(bsnn.DatasetError, match="980, 1135.*are expected"):
        load("mnist", "test", tmp_path)


def test_wrong_names(tmp_path):
    with pytest.raises(bsnn.UnknownNameError, match="no data set 'mnits'. Did you mean 'mnist'"):
        load("mnits")
    with pytest.raises(bsnn.DatasetError, match="no split 'valid'"):
        load("mnist", "valid")
    with pytest.raises(bsnn.DatasetError, match="does not exist"):
        load("mnist", "test", tmp_path / "nowhere")


def test_cifar_and_its_approximate_images(tmp_path, monkeypatch):
    labels = np.repeat(np.arange(10), 2).astype(np.uint8)
    pixels = np.random.default_rng(0).integers(0, 256, (20, 3, 32, 32), dtype=np.uint8)
    records = np.concatenate([labels[:, None], pixels.reshape(20, -1)], axis=1)
    for batch in (0, 1):
        content = records[batch * 10 : batch * 10 + 10].tobytes()
        (tmp_path / f"data_batch_{batch + 1}.bin.xz").write_bytes(lzma.compress(content))
    (tmp_path / "approximate_images.csv").write_text(
        "file,index_in_file,label\ndata_batch_2.bin,3,6\ndata_batch_1.bin,4,2\ntest_batch.bin,1,0\n"
    )
    parts = {"train": Part(("data_batch_1.bin", "data_batch_2.bin"), (2,) * 10)}
    monkeypatch.setitem(DATASETS, "cifar10", dataclasses.replace(DATASETS["cifar10"], parts=parts))
    found = load("cifar10", "train", tmp_path)
    np.testing.assert_array_equal(found.pixels, pixels)
    np.testing.assert_array_equal(found.approximate, [4, 13])
    exact = found.exact()
    np.testing.assert_array_equal(exact.pixels, np.delete(pixels, [4, 13], axis=0))
    assert len(exact.approximate) == 0
    np.testing.assert_array_equal(found.first(8, start=10).approximate, [3])
    (tmp_path / "approximate_images.csv").write_text("a,b\n1,2\n")
    with pytest.raises(bsnn.DatasetError, match="approximate_images.csv cannot be understood"):
        load("cifar10", "train", tmp_path)
    (tmp_path / "data_batch_1.bin.xz").write_bytes(lzma.compress(b"x" * 5000))
    with pytest.raises(bsnn.DatasetError, match="no whole number of records"):
        load("cifar10", "train", tmp_path)


class Server:
    """A publisher on this machine."""

    def __init__(self, folder):
        class Handler(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *args, **kwargs):
                super().__init__(*args, directory=str(folder), **kwargs)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/"


@pytest.fixture
def publisher(tmp_path, monkeypatch, tiny):
    """A server with packed tiny files, and a cache of the test's own."""
    folder = tmp_path / "published"
    tiny_mnist(folder, ".gz", gzip.compress)
    server = Server(folder)
    archives = {
        path.name: Archive(
            (f"{server.url}missing/{path.name}", f"{server.url}{path.name}"),
            f"md5:{hashlib.md5(path.read_bytes()).hexdigest()}",
        )
        for path in folder.iterdir()
    }
    spec = dataclasses.replace(DATASETS["mnist"], archives=archives)
    monkeypatch.setitem(DATASETS, "mnist", spec)
    monkeypatch.setattr("bsnn.datasets.downloads.cache_directory", lambda: tmp_path / "cache")
    monkeypatch.delenv("BSNN_DATA", raising=False)
    yield folder
    server.server.shutdown()
    server.server.server_close()


def test_download_and_cache(publisher):
    """The second address answers; afterwards no server is needed."""
    assert len(load("mnist")) == sum(COUNTS)
    for path in publisher.iterdir():
        path.unlink()
    assert len(load("mnist")) == sum(COUNTS)


def cached_files(tmp_path):
    return [path.name for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_damaged_download_leaves_nothing(publisher, tmp_path):
    for path in publisher.iterdir():
        path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(
        bsnn.DatasetError, match="(?s)could not be downloaded.*mnist-sample.*--data.*hash"
    ):
        load("mnist")
    assert cached_files(tmp_path) == []


def test_no_network_leaves_nothing(publisher, tmp_path, monkeypatch):
    dead = {
        name: Archive(("http://127.0.0.1:9/x.gz",), archive.known_hash)
        for name, archive in DATASETS["mnist"].archives.items()
    }
    monkeypatch.setitem(DATASETS, "mnist", dataclasses.replace(DATASETS["mnist"], archives=dead))
    with pytest.raises(bsnn.DatasetError, match="(?s)could not be downloaded.*check the network"):
        load("mnist")
    assert cached_files(tmp_path) == []


def test_full_disk_leaves_nothing(publisher, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pooch.core.shutil.move", full)
    with pytest.raises(bsnn.DatasetError, match="No space left on device"):
        load("mnist")
    assert cached_files(tmp_path) == []


def test_archives_are_unpacked(tmp_path, monkeypatch):
    """CIFAR-10 is published as one archive with a folder in it."""
    labels = np.arange(10, dtype=np.uint8)
    records = np.concatenate([labels[:, None], np.zeros((10, 3072), np.uint8)], axis=1)
    inner = tmp_path / "make" / "cifar-10-batches-bin"
    inner.mkdir(parents=True)
    (inner / "test_batch.bin").write_bytes(records.tobytes())
    published = tmp_path / "published"
    published.mkdir()
    with tarfile.open(published / "cifar-10-binary.tar.gz", "w:gz") as archive:
        archive.add(inner, "cifar-10-batches-bin")
    server = Server(published)
    content = (published / "cifar-10-binary.tar.gz").read_bytes()
    spec = dataclasses.replace(
        DATASETS["cifar10"],
        parts={"test": Part(("test_batch.bin",), (1,) * 10)},
        archives={
            "cifar-10-binary.tar.gz": Archive(
                (f"{server.url}cifar-10-binary.tar.gz",),
                f"md5:{hashlib.md5(content).hexdigest()}",
            )
        },
    )
    monkeypatch.setitem(DATASETS, "cifar10", spec)
    monkeypatch.setattr("bsnn.datasets.downloads.cache_directory", lambda: tmp_path / "cache")
    monkeypatch.delenv("BSNN_DATA", raising=False)
    try:
        assert len(load("cifar10")) == 10
    finally:
        server.server.shutdown()
        server.server.server_close()


def test_real_sources_are_named_with_checksums():
    for spec in DATASETS.values():
        assert spec.archives
        for archive in spec.archives.values():
            assert archive.known_hash.startswith("md5:")
            assert len(archive.known_hash) == 4 + 32
            assert all(url.startswith("http") for url in archive.urls)


def test_real_mnist(data_folder):
    training, test = load("mnist", "train", data_folder), load("mnist", "test", data_folder)
    assert training.pixels.shape == (60000, 1, 28, 28)
    sample = bsnn.datasets.mnist_sample()
    np.testing.assert_array_equal(sample.pixels, test.pixels[:500])
    np.testing.assert_array_equal(sample.labels, test.labels[:500])


def test_real_cifar10(data_folder):
    test = load("cifar10", "test", data_folder)
    assert test.pixels.shape == (10000, 3, 32, 32)
    if len(test.approximate):
        assert len(test.exact()) == 10000 - len(test.approximate)
        assert set(test.labels[test.approximate]) <= {7, 8}, "only horses and ships are approximate"
