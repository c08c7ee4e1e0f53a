"""Several processes, a cluster, checkpoints: nothing is lost, and nothing depends on who did it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import h5py
import numpy as np
import psutil
import pytest

import bsnn
from bsnn.devices import compilation
from bsnn.networks import paper
from bsnn.simulation.checkpoint import Checkpoint
from bsnn.storage import read_tree, write_tree

pytestmark = pytest.mark.usefixtures("numpy_target")

SPARSE = str(paper("lopez_randulfe_2022").SHIPPED["mnist_cnn_sparse"])


def simulate(model, images, labels=None, *, device="runtime", **options):
    return bsnn.simulate(model, images, labels, device=device, progress=False, **options)


def assert_equal(found: bsnn.Result, expected: bsnn.Result) -> None:
    for name in ("predictions", "ann_predictions", "potentials", "indices"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    for name, population in expected.populations.items():
        other = found.populations[name]
        np.testing.assert_array_equal(other.spikes, population.spikes)
        np.testing.assert_array_equal(other.operations, population.operations)
        assert other.rmse == pytest.approx(population.rmse, rel=1e-6)


@pytest.fixture
def many(small_cnn):
    """A model and so many images that their simulation can be disturbed in its midst."""
    model, images = small_cnn(steps=6)
    return model, np.concatenate([images] * 8)


class Disturbance(threading.Thread):
    """Does something as soon as there is a file."""

    def __init__(self, path: Path, act) -> None:
        super().__init__(daemon=True)
        self.done = False
        self._path, self._act = path, act
        self.start()

    def run(self) -> None:
        for _ in range(12_000):
            if self._path.exists():
                self._act()
                self.done = True
                return
            time.sleep(0.01)


def workers_of(pid: int) -> list[psutil.Process]:
    found = []
    for child in psutil.Process(pid).children(recursive=True):
        # one that has just ended is none any more
        with contextlib.suppress(psutil.Error):
            if any("spawn_main" in part for part in child.cmdline()):
                found.append(child)
    return found


def test_results_do_not_depend_on_workers(many, tmp_path):
    """Two workers, one of which is killed in the midst of its work."""
    model, images = many
    labels = np.arange(len(images)) % 5
    expected = simulate(model, images, labels, chunk=len(images))
    killed = Disturbance(
        tmp_path / "kept", lambda: workers_of(os.getpid())[0].send_signal(signal.SIGKILL)
    )
    found = simulate(model, images, labels, workers=2, chunk=8, checkpoint=tmp_path / "kept")
    assert killed.done
    assert_equal(found, expected)
    np.testing.assert_array_equal(found.labels, labels)
    assert (found.workers, expected.workers) == (2, 1)
    assert found.cpu_seconds > 0
    assert not workers_of(os.getpid())


def test_results_do_not_depend_on_the_cluster(many, tmp_path):
    """Two workers of a Dask cluster, one of which is killed in the midst of its work."""
    distributed = pytest.importorskip("distributed")
    model, images = many
    expected = simulate(model, images, chunk=len(images))
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None,
        local_directory=str(tmp_path),
    ) as cluster:  # fmt: skip
        pid = cluster.workers[0].process.pid
        killed = Disturbance(tmp_path / "kept", lambda: os.kill(pid, signal.SIGKILL))
        found = simulate(
            model, images, cluster=cluster.scheduler_address, chunk=8, checkpoint=tmp_path / "kept"
        )
        assert killed.done
        assert_equal(found, expected)
        assert found.workers == 2
        # another job on the same workers, in the other device
        again = simulate(model, images[:3], cluster=cluster.scheduler_address, device="cpp")
    np.testing.assert_allclose(again.potentials, expected.potentials[:3], atol=1e-9)


def test_a_cluster_that_is_not_there(small_cnn, monkeypatch):
    model, images = small_cnn()
    cluster = pytest.importorskip("bsnn.simulation.cluster")
    monkeypatch.setattr(cluster, "_PATIENCE", 0.5)
    with pytest.raises(bsnn.SimulationError, match=r"no Dask cluster .* at tcp://127.0.0.1:9 "):
        simulate(model, images, cluster="tcp://127.0.0.1:9")


def test_without_dask_the_message_says_what_to_install(small_cnn, monkeypatch):
    model, images = small_cnn()
    monkeypatch.delitem(sys.modules, "bsnn.simulation.cluster", raising=False)
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(bsnn.SettingsError, match=r"pip install 'bsnn\[cluster\]'"):
        simulate(model, images, cluster="tcp://127.0.0.1:9")


def binaries(cache: Path) -> list[Path]:
    return [path for path in (cache / "builds").iterdir() if path.suffix != ".lock"]


def break_binaries(cache: Path, how: str) -> None:
    """Let the binaries in a cache do something else if an image is black."""
    (cache / "real").mkdir()
    script = cache / "script"
    for binary in binaries(cache):
        real = cache / "real" / binary.name
        assert compilation._fetch(binary, real)
        script.write_text(
            "#!/bin/sh\n"
            'for a in "$@"; do case $a in *.values=*) file=${a#*=};; esac; done\n'
            f"if [ -z \"$(head -c 64 $file | tr -d '\\000')\" ]; then {how}; fi\n"
            f'exec {real} "$@"\n'
        )
        script.chmod(0o755)
        compilation._keep(script, binary)


@pytest.fixture(scope="module")
def binary_of_small_cnn(tmp_path_factory):
    """A cache with the binary of a `small_cnn` for two images a run, and what it finds.

    Or with two: Brian2 gives objects other names if earlier ones of the same name are still about,
    as they may be in this process, but are not in workers.
    """
    from ttfs_networks import SmallCnn, make_model

    cache = tmp_path_factory.mktemp("binary")
    model, images = make_model(SmallCnn(), (1, 9, 8), steps=6)
    images = images[:8].copy()
    images[:, :, 0] = 0.5
    images[4] = 0
    patch = pytest.MonkeyPatch()
    patch.setenv("BSNN_CACHE", str(cache))
    result = bsnn.simulate(model, images, device="cpp", chunk=2, progress=False)
    bsnn.simulate(model, images, device="cpp", chunk=2, progress=False, workers=2)
    patch.undo()
    return cache, model, images, result


@pytest.fixture
def broken(binary_of_small_cnn, tmp_path, monkeypatch):
    """Function that makes the binaries misbehave for the third of four chunks."""
    cache, model, images, result = binary_of_small_cnn
    shutil.copytree(cache, tmp_path / "cache")
    monkeypatch.setenv("BSNN_CACHE", str(tmp_path / "cache"))

    def make(how: str):
        break_binaries(tmp_path / "cache", how)
        return model, images, result

    return make


@pytest.mark.parametrize("workers", [1, 2])
def test_a_chunk_that_crashes_twice_is_reported(broken, workers, tmp_path):
    model, images, expected = broken("kill -SEGV $$")
    labels = np.arange(8) % 5
    options = {"device": "cpp", "workers": workers, "chunk": 2, "checkpoint": tmp_path / "kept"}
    with pytest.raises(bsnn.IncompleteSimulation, match="2 of 8 images could not") as caught:
        simulate(model, images, labels, **options)
    (message,) = caught.value.messages
    assert message.startswith("Images 4 to 5: The compiled simulation failed")
    result = caught.value.result
    rest = [0, 1, 2, 3, 6, 7]
    np.testing.assert_array_equal(result.indices, rest)
    np.testing.assert_array_equal(result.labels, labels[rest])
    np.testing.assert_array_equal(result.potentials, expected.potentials[rest])
    # mended, it goes on with what is missing, in chunks of another size
    for binary in binaries(tmp_path / "cache"):
        compilation._keep(tmp_path / "cache" / "real" / binary.name, binary)
    resumed = simulate(model, images, labels, **{**options, "resume": True, "workers": 1})
    assert_equal(resumed, expected)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_chunk_that_crashes_once_is_done_again(broken, workers, tmp_path):
    model, images, expected = broken(f"mkdir {tmp_path}/once && kill -SEGV $$")
    assert_equal(simulate(model, images, device="cpp", workers=workers, chunk=2), expected)
    assert (tmp_path / "once").exists()


def test_a_chunk_that_takes_its_worker_along(broken, tmp_path):
    model, images, expected = broken("kill -KILL $PPID")
    with pytest.raises(bsnn.IncompleteSimulation, match="ended by signal 9 .SIGKILL") as caught:
        simulate(model, images, device="cpp", workers=2, chunk=2, directory=tmp_path / "code")
    result = caught.value.result
    np.testing.assert_array_equal(result.potentials, expected.potentials[result.indices])
    assert len(result) == 6
    for name in ("worker_1", "worker_2"):
        assert (tmp_path / "code" / name / "main").is_file()


def test_what_fails_for_all_images_is_given_up_soon(small_cnn, monkeypatch):
    from bsnn.simulation import presenter

    model, images = small_cnn(steps=6)
    calls = []

    def fail(self, images, numbers):
        calls.append(1)
        raise OSError("no space left")

    monkeypatch.setattr(presenter.Presenter, "present", fail)
    with pytest.raises(bsnn.IncompleteSimulation, match="OSError: no space left") as caught:
        simulate(model, images, chunk=2)
    assert caught.value.result is None
    assert len(calls) == 4


def test_a_network_that_cannot_be_built_is_one_error(small_cnn):
    model, images = small_cnn(steps=6)
    with pytest.raises(bsnn.UnknownNameError, match="no form of the neuron 'two-stage' 'nonsense'"):
        simulate(model, images, form="nonsense", workers=2, chunk=4)


def test_resuming(many, tmp_path, monkeypatch):
    model, images = many
    images = images[:40]
    kept = tmp_path / "kept"
    expected = simulate(model, images)
    original, calls = Checkpoint.save_now_and_then, []

    def third_interrupted(self, collected):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        original(self, collected)

    monkeypatch.setattr(Checkpoint, "save_now_and_then", third_interrupted)
    with pytest.raises(bsnn.Interrupted) as caught:
        simulate(model, images, chunk=8, checkpoint=kept)
    monkeypatch.undo()
    assert len(caught.value.result) == 24
    with pytest.raises(bsnn.SimulationError, match="holds 24 of 40 images .* --resume"):
        simulate(model, images, checkpoint=kept)
    differing = [
        ({"form": "trace"}, "form calendar there, trace here"),
        ({"device": "cpp"}, "device runtime there, cpp here"),
    ]
    for options, message in differing:
        with pytest.raises(bsnn.SimulationError, match=message):
            simulate(model, images, checkpoint=kept, resume=True, **options)
    with pytest.raises(bsnn.SimulationError, match="images .* there, .* here"):
        simulate(model, images[::-1], checkpoint=kept, resume=True)
    resumed = simulate(model, images, chunk=5, checkpoint=kept, resume=True)
    assert_equal(resumed, expected)
    # a complete one is the result, at once
    assert_equal(simulate(model, images, checkpoint=kept, resume=True), expected)


def test_damaged_checkpoints(small_cnn, tmp_path):
    model, images = small_cnn(steps=6)
    kept = tmp_path / "kept"
    simulate(model, images[:4], checkpoint=kept)
    tree = read_tree(kept, "checkpoint")
    for part in ("settings", "records", "done"):
        write_tree(kept, "checkpoint", {k: v for k, v in tree.items() if k != part})
        with pytest.raises(bsnn.StorageError, match="incomplete"):
            simulate(model, images[:4], checkpoint=kept, resume=True)
    write_tree(kept, "checkpoint", {**tree, "done": np.ones(5, dtype=bool)})
    with pytest.raises(bsnn.StorageError, match="incomplete"):
        simulate(model, images[:4], checkpoint=kept, resume=True)
    kept.write_bytes(kept.read_bytes()[:1000])
    with pytest.raises(bsnn.StorageError, match="not a readable HDF5 file"):
        simulate(model, images[:4], checkpoint=kept, resume=True)


def test_damage_to_what_a_checkpoint_holds_is_noticed(small_cnn, tmp_path):
    """Whatever part it is in, and though HDF5 may give it out as if it had been written."""
    model, images = small_cnn(steps=6)
    kept = tmp_path / "kept"
    simulate(model, images[:4], checkpoint=kept)
    good = kept.read_bytes()
    # a place within the file of HDF5, without bsnn's seal
    plain = tmp_path / "plain"
    plain.write_bytes(good[512:])
    with h5py.File(plain) as file:
        done = 512 + file["done"].id.get_chunk_info(0).byte_offset
    settings = good.index(b"calendar")
    for place in (done, settings, 600, len(good) // 2, len(good) - 1):
        kept.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        with pytest.raises(bsnn.StorageError, match="not what was written"):
            simulate(model, images[:4], checkpoint=kept, resume=True)
    kept.write_bytes(good[512:])
    with pytest.raises(bsnn.StorageError, match="names no SHA-256.*delete it to begin anew"):
        simulate(model, images[:4], checkpoint=kept, resume=True)
    kept.write_bytes(good)
    simulate(model, images[:4], checkpoint=kept, resume=True)


def test_arguments_that_do_not_fit_each_other(small_cnn, tmp_path):
    model, images = small_cnn(steps=6)
    net = bsnn.build(model, images=4)
    for options, message in (
        ({"workers": 2}, "in this process"),
        ({"cluster": "tcp://127.0.0.1:9"}, "in this process"),
        ({"checkpoint": tmp_path / "kept"}, "cannot be told from another"),
    ):
        with pytest.raises(bsnn.SimulationError, match=message):
            bsnn.simulate(net, images, progress=False, **options)
    for options, message in (
        ({"workers": 0}, "workers is 0"),
        ({"chunk": 0}, "chunk is 0"),
        ({"resume": True}, "name the checkpoint"),
        ({"workers": 2, "cluster": "tcp://127.0.0.1:9"}, "workers of a cluster"),
    ):
        with pytest.raises(bsnn.SimulationError, match=message):
            simulate(model, images, **options)


@pytest.fixture
def command(tmp_path):
    """Start `bsnn run` with two workers on the sample, in a group of its own as a terminal does."""
    processes = []

    def start(*arguments) -> subprocess.Popen:
        process = subprocess.Popen(
            [
                sys.executable, "-c", "from bsnn.cli import main; main()", "run", SPARSE,
                "--dataset", "mnist-sample", "--workers", "2", "--chunk", "4",
                "--out", str(tmp_path / "run.h5"), *arguments,
            ],
            start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def wait_for(condition, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_ctrl_c_with_workers_and_resume(command, tmp_path):
    result, kept = tmp_path / "run.h5", tmp_path / "run.h5.partial"
    process = command()
    wait_for(lambda: kept.exists() or process.poll() is not None, 300)
    workers = workers_of(process.pid)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, out + err
    assert "--resume goes on" in " ".join(out.split())
    assert "Traceback" not in err
    wait_for(lambda: not any(worker.is_running() for worker in workers))
    done = len(bsnn.load_result(result))
    assert 0 < done < 500
    assert done % 4 == 0

    refused = command()
    _, err = refused.communicate(timeout=120)
    assert refused.returncode == 1
    assert f"holds {done} of 500 images" in " ".join(err.split())

    resumed = command("--resume")
    out, err = resumed.communicate(timeout=300)
    assert resumed.returncode == 0, out + err
    assert not kept.exists()
    found = bsnn.load_result(result)
    model, images = bsnn.load_model(SPARSE), bsnn.datasets.mnist_sample().images
    exact = model.code(images.astype(np.float64)).potentials["fc2"]
    np.testing.assert_allclose(found.potentials, exact, atol=1e-9)


def test_workers_end_with_the_one_who_started_them(command, tmp_path, monkeypatch):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    process = command()
    wait_for(lambda: (tmp_path / "run.h5.partial").exists() or process.poll() is not None, 300)
    family = psutil.Process(process.pid).children(recursive=True)
    assert len(workers_of(process.pid)) == 2
    process.kill()
    wait_for(lambda: not any(child.is_running() for child in family))
    wait_for(lambda: not list((tmp_path / "temporary").glob("bsnn_*")), 10)
