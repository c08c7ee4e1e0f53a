"""Presenting many images to a spiking network and collecting what it did."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from bsnn.brian.builder import build, check_options
from bsnn.brian.devices import active_device, check_device, code_target
from bsnn.brian.network import SpikingNetwork
from bsnn.brian.neural_code import neuron_model
from bsnn.brian.neuron_models import NeuronModel
from bsnn.brian.perturbations import check_perturbations
from bsnn.brian.size import check_memory
from bsnn.brian.synapse_models import SynapseModel, check_synapses
from bsnn.conversion import SpikingModel
from bsnn.errors import SettingsError, SimulationError
from bsnn.progress import simulation_progress
from bsnn.simulation.checkpoint import Checkpoint
from bsnn.simulation.collected import Collected
from bsnn.simulation.executor import Executor, Here, Outcome
from bsnn.simulation.job import Job
from bsnn.simulation.presenter import Presenter, open_presenter
from bsnn.simulation.result import Result
from bsnn.simulation.shown import checked_images
from bsnn.simulation.workers import Workers

__all__ = ["IncompleteSimulation", "Interrupted", "simulate"]

# So many chunks that fail before one has succeeded: the others would fail as well.
_HOPELESS = 2

# In rate coding a neuron's spikes for an image are counted in four bytes; so many are recorded.
_COUNT_BYTES = 100_000_000
# A GPU is kept busy by many images at once.
_COUNT_BYTES_CUDA = 1_000_000_000


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during a simulation.

    Attributes
    ----------
    result : Result or None
        Of the images that were done; None if there were none.
    """

    def __init__(self, result: Result | None) -> None:
        super().__init__("simulation interrupted")
        self.result = result


class IncompleteSimulation(SimulationError):
    """Some images could not be simulated.

    Attributes
    ----------
    result : Result or None
        Of the other images, which its ``indices`` name; None if there are none.
    messages : list of str
        For each chunk that has failed, which images it had and why it has failed.
    """

    def __init__(self, result: Result | None, messages: list[str], images: int) -> None:
        done = 0 if result is None else len(result)
        super().__init__(
            f"{images - done:,} of {images:,} images could not be simulated. " + " ".join(messages)
        )
        self.result = result
        self.messages = messages


def simulate(
    network: SpikingModel | SpikingNetwork,
    images: np.ndarray,
    labels: np.ndarray | None = None,
    *,
    device: str | None = None,
    form: str | None = None,
    connectivity: str | None = None,
    precision: str | None = None,
    neuron: str | NeuronModel | None = None,
    perturbations: Mapping[str, Any] | None = None,
    synapses: Mapping[str, str | SynapseModel] | None = None,
    workers: int = 1,
    cluster: str | None = None,
    chunk: int | None = None,
    batch: int | None = None,
    seed: int | None = None,
    first_image: int = 0,
    checkpoint: str | os.PathLike[str] | None = None,
    resume: bool = False,
    directory: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> Result:
    """Simulate a spiking network on images and compare it with the trained network.

    Results depend on neither `workers` nor `cluster` nor `chunk` nor `batch`. A chunk that fails,
    because the process that has it dies or its binary crashes, is tried once more, while the others
    go on.

    Parameters
    ----------
    network : SpikingModel or SpikingNetwork
        A model is built here, on `device`. A network that you have built yourself, and perhaps
        changed, is run as it is on the device that it was built on, in this process; what is said
        below to be for a model is for `bsnn.build` then, and refused here.
    images : array_like
        Shape ``(n, *input_shape)``, values like those that the network was trained on: plain pixels
        from 0 to 1, or to the scale that the network was converted with.
    labels : array_like, optional
        True classes, whole numbers from 0, shape ``(n,)``.
    device : str, optional
        ``"runtime"``, ``"cpp"`` (C++ standalone) or ``"cuda"`` (see `bsnn.cuda`). By default the
        one that is active.
    form, connectivity, precision : str, optional
        If a model is built here: see `bsnn.build`. None of them changes what is computed, but for
        the rounding of ``"float32"``. By default the form is the fast one, connectivity
        ``"shared"`` and the precision ``"float64"``.
    neuron, perturbations, synapses
        If a model is built here: what its neurons are, what is disturbed and how strongly, and what
        its connections do with spikes; see `bsnn.build`.
    workers : int
        Processes that simulate. With one it is this process. With more, each builds the network
        and needs memory for it; a script must do its work under ``if __name__ == "__main__":``,
        because each of them imports it.
    cluster : str, optional
        Address of a Dask scheduler, such as ``"tcp://host:8786"``, whose workers simulate; needs
        ``bsnn[cluster]``.
    chunk : int, optional
        Most images in one run, if a model is built here. It bounds the memory for what is recorded;
        by default 500, in rate coding so many that counts of spikes take 100 MB (on CUDA 1 GB).
    batch : int, optional
        Images that are simulated side by side, if a model is built here: see `bsnn.build`. By
        default 1, and on CUDA the whole chunk.
    seed : int, optional
        Of all that is random, if a model is built here; by default 0.
    first_image : int
        Number of the first image; those of the others follow. The noise of an image depends on
        seed and number only, so that images can be simulated in parts.
    checkpoint : path, optional
        A file in which what is done is kept, so that it is not lost whatever happens. It stays:
        delete it when you have saved the result.
    resume : bool
        Go on with what `checkpoint` holds, if it exists. Otherwise a checkpoint that exists is an
        error.
    directory : path, optional
        Where generated code goes; kept. Each worker has a folder of its own in it. By default a
        temporary folder. The runtime device has none.
    progress : bool
        Show how far it is: a table in a terminal, elsewhere now and then a line.

    Returns
    -------
    Result

    Raises
    ------
    InputError
        The images or labels do not fit the network, or there are labels and it gives no classes.
    GraphError
        The images do not have the network's input shape.
    SimulationError
        Arguments do not fit each other, or one would have no effect.
    IncompleteSimulation
        Some images could not be simulated; holds the result of the others.
    BuildError
        The network cannot be built or compiled.
    StorageError
        The checkpoint is damaged or cannot be written.
    Interrupted
        On Ctrl-C; holds the result of the images that were done.
    """
    own = network if isinstance(network, SpikingNetwork) else None
    model = network if own is None else own.model
    if own is not None:
        _check_not_given(
            form=form,
            connectivity=connectivity,
            precision=precision,
            neuron=neuron,
            perturbations=perturbations,
            synapses=synapses,
            chunk=chunk,
            batch=batch,
            seed=seed,
        )
    connectivity = connectivity or "shared"
    precision = precision or "float64"
    seed = seed or 0
    device_name = device or active_device()
    check_device(device_name)
    chunk = _default_chunk(model, device_name) if chunk is None else chunk
    if batch is None:
        batch = chunk if device_name == "cuda" else 1
    for name, number in (("workers", workers), ("chunk", chunk), ("batch", batch)):
        if number < 1:
            raise SimulationError(f"{name} is {number}; at least one is needed.")
    if own is not None:
        _check_own_network(own, device, workers, cluster, checkpoint)
    if cluster is not None and (workers > 1 or directory is not None):
        raise SimulationError(
            "The workers of a cluster are those that it has, and generate their code where they "
            "run: leave out the number of workers and the directory, or the cluster."
        )
    if directory is not None and device_name == "runtime":
        raise SimulationError(
            f"The device 'runtime' generates no project that could go to {directory}: leave the "
            "directory out, or simulate on 'cpp' or 'cuda'."
        )
    if resume and checkpoint is None:
        raise SimulationError("To resume, name the checkpoint in which the last run is kept.")
    images, labels = checked_images(model, images, labels)
    neuron = neuron_model(neuron, model.coding)
    strengths = check_perturbations(perturbations, model)
    models = check_synapses(synapses, model)
    _check_nothing_learns(models)
    form = check_options(model, form, connectivity, precision, neuron, strengths)
    chunk = min(chunk, -(-len(images) // workers))
    options = {
        "form": form,
        "connectivity": connectivity,
        "precision": precision,
        "seed": seed,
        "neuron": neuron,
        "perturbations": strengths,
        "synapses": models,
    }
    job = Job(
        model=model,
        device=device_name,
        code_target=code_target(),
        options=options,
        chunk=chunk,
        batch=min(batch, chunk),
        first_image=first_image,
    )
    if workers > 1:
        check_memory(
            model,
            connectivity,
            precision,
            batch=job.batch,
            processes=workers,
            synapses=models,
        )
    folder = None if directory is None else Path(directory)

    def executor(stack: ExitStack) -> Executor:
        if cluster is not None:
            return stack.enter_context(_cluster(cluster, job))
        if workers > 1:
            return stack.enter_context(Workers(job, workers, folder))
        if own is not None:
            return Here(Presenter(own, folder), job)
        if device is None:
            net = build(model, images=job.chunk, batch=job.batch, **job.options)
            return Here(Presenter(net, folder), job)
        return Here(stack.enter_context(open_presenter(job, folder)), job)

    kept = None if checkpoint is None else Checkpoint(checkpoint, job.settings(), images)
    simulation = _Simulation(
        Collected(model, len(images)),
        images,
        labels,
        kept,
        chunk=job.chunk if own is None else own.capacity,
        about={
            "device": job.device,
            "neuron": str(neuron if own is None else own.neuron),
            "perturbations": strengths if own is None else dict(own.perturbations),
            "synapses": {
                name: str(synapse)
                for name, synapse in (models if own is None else own.synapse_models).items()
            },
            "form": form if own is None else own.form,
            "connectivity": connectivity if own is None else own.connectivity,
            "precision": precision if own is None else own.precision,
            "workers": workers,
        },
    )
    if kept is not None:
        kept.resume(simulation.collected, wanted=resume)
    return simulation.run(executor, progress)


def _cluster(address: str, job: Job) -> Any:
    try:
        # Dask is an extra, and takes a second to import
        from bsnn.simulation.cluster import Cluster
    except ModuleNotFoundError as error:
        if error.name not in ("dask", "distributed"):
            raise
        raise SettingsError(
            "Simulating on a cluster needs Dask, which is not installed. Install it here and "
            "on the cluster's machines with pip install 'bsnn[cluster]'."
        ) from error
    return Cluster(address, job)


class _Simulation:
    """One call of `simulate`: what is done, and what is still to do."""

    def __init__(
        self,
        collected: Collected,
        images: np.ndarray,
        labels: np.ndarray | None,
        checkpoint: Checkpoint | None,
        chunk: int,
        about: dict[str, Any],
    ) -> None:
        self.collected = collected
        self._images = images
        self._labels = labels
        self._checkpoint = checkpoint
        self._chunk = chunk
        self._about = about
        self._messages: list[str] = []

    def run(self, executor: Callable[[ExitStack], Executor], progress: bool) -> Result:
        with ExitStack() as stack:
            stack.enter_context(_interrupts_at_once())
            try:
                if not self.collected.done.all():
                    with self._timed_and_kept():
                        self._present(lambda: executor(stack), progress)
            except KeyboardInterrupt:
                raise Interrupted(self._result()) from None
        result = self._result()
        if result is None or self._messages:
            raise IncompleteSimulation(result, self._messages, len(self._images))
        return result

    def _present(self, executor: Callable[[], Executor], progress: bool) -> None:
        collected, missing = self.collected, np.flatnonzero(~self.collected.done)
        chunks = [missing[k : k + self._chunk] for k in range(0, len(missing), self._chunk)]
        built_before = collected.build_seconds
        running = executor()
        self._about["workers"] = running.workers
        with simulation_progress(collected.state(self._labels), disable=not progress) as show:
            for outcome in running.run(self._images, chunks):
                collected.build_seconds = built_before + running.build_seconds
                self._take(outcome)
                show(collected.state(self._labels))
                if len(self._messages) >= _HOPELESS and not collected.done.any():
                    return

    def _take(self, outcome: Outcome) -> None:
        if outcome.presented is None:
            first, last = outcome.indices[0], outcome.indices[-1]
            self._messages.append(f"Images {first} to {last}: {outcome.error}")
            return
        self.collected.add(outcome)
        if self._checkpoint is not None:
            self._checkpoint.save_now_and_then(self.collected)

    @contextmanager
    def _timed_and_kept(self) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.collected.wall_seconds += time.perf_counter() - started
            if self._checkpoint is not None and self.collected.done.any():
                self._checkpoint.save(self.collected)

    def _result(self) -> Result | None:
        return self.collected.result(labels=self._labels, **self._about)


def _default_chunk(model: SpikingModel, device: str) -> int:
    if not model.read_each_step:
        return 500
    neurons = sum(population.size for population in model.populations.values())
    count_bytes = _COUNT_BYTES_CUDA if device == "cuda" else _COUNT_BYTES
    return min(500, max(1, count_bytes // (4 * neurons)))


def _check_nothing_learns(synapses: Mapping[str, SynapseModel]) -> None:
    for name, synapse in synapses.items():
        if synapse.learns:
            raise SettingsError(
                f"The connection {name!r} learns ({synapse.name}): what an image finds would "
                "depend on those before it, and so on how images are dealt out to runs, workers "
                "and batches. Build the network with bsnn.build, present the images in your order "
                "and run it."
            )


def _check_not_given(**options: Any) -> None:
    """Refuse options that say how a network is built, for one that is built."""
    given = [name for name, value in options.items() if value is not None]
    if given:
        renamed = {"chunk": "images (in place of chunk)"}
        instead = ", ".join(renamed.get(name, name) for name in given)
        raise SimulationError(
            f"The network is built already, and {', '.join(given)} would change nothing of it. "
            f"Give bsnn.build {instead}; or simulate the model, which is then built here."
        )


def _check_own_network(
    own: SpikingNetwork, device: str | None, workers: int, cluster: str | None, checkpoint: Any
) -> None:
    if own.source is not None:
        raise SimulationError(
            f"The input of the network is the group {own.source.name!r}, so that no images can be "
            "presented. Run its .network as it is, or build it without source=..."
        )
    if device not in (None, active_device()):
        raise SimulationError(
            f"The network was built on the device {active_device()!r}, not on {device!r}. "
            "Give the model instead, or leave device out."
        )
    if workers > 1 or cluster is not None:
        raise SimulationError(
            "A network that you have built is in this process and cannot be sent to others. Give "
            "the model instead, or leave workers and cluster out."
        )
    if checkpoint is not None:
        raise SimulationError(
            "A network that you have built, and may have changed, cannot be told from another one "
            "when a checkpoint is resumed. Give the model instead, or leave checkpoint out."
        )


@contextmanager
def _interrupts_at_once() -> Iterator[None]:
    """Let Ctrl-C raise KeyboardInterrupt for the duration of a block.

    Brian2 takes it as the wish to end the run in progress early and to go on after it. Among many
    runs that would leave the images of one with results of half a run.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
