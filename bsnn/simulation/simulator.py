"""Presenting many images to a spiking network and collecting what it did."""

from __future__ import annotations

import dataclasses
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from bsnn.conversion import SpikingModel
from bsnn.devices import DEVICES, active_device, code_target
from bsnn.errors import SettingsError, SimulationError
from bsnn.network.builder import build, checked_setup
from bsnn.network.network import SpikingNetwork
from bsnn.network.size import check_memory
from bsnn.network.synapse_models import SynapseModel
from bsnn.progress import simulation_progress
from bsnn.settings import Run, Setup, fields_of, taken
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
    setup: Setup | None = None,
    run: Run | None = None,
    **fields: Any,
) -> Result:
    """Simulate a spiking network on images and compare it with the trained network.

    Results depend on neither `workers` nor `cluster` nor `chunk` nor `batch`. A chunk that fails,
    because the process that has it dies or its binary crashes, is tried once more, while the others
    go on.

    Parameters
    ----------
    network : SpikingModel or SpikingNetwork
        A model is built here, on the device. A network that you have built yourself, and perhaps
        changed, is run as it is on the device that it was built on, in this process; what a `Setup`
        says is for `bsnn.build` then, and refused here, as is `chunk`.
    images : array_like
        Shape ``(n, *input_shape)``, values like those that the network was trained on: plain pixels
        from 0 to 1, or to the scale that the network was converted with.
    labels : array_like, optional
        True classes, whole numbers from 0, shape ``(n,)``.
    setup : Setup, optional
        What is built of a model.
    run : Run, optional
        Where and how it is run.
    **fields
        Fields of the two in their place: `form`, `connectivity`, `precision`, `neuron`,
        `perturbations`, `synapses`, `seed`, `batch` (see `bsnn.Setup`); `device`, `workers`,
        `cluster`, `chunk`, `first_image`, `checkpoint`, `resume`, `directory`, `progress` (see
        `bsnn.Run`).

    Returns
    -------
    Result

    Raises
    ------
    InputError
        The images or labels do not fit the network, or there are labels and it gives no classes.
    GraphError
        The images do not have the network's input shape.
    SettingsError
        There is no field of a name, or it does not fit.
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

    Examples
    --------
    >>> bsnn.simulate(model, images, labels, device="cpp", workers=2)      # doctest: +SKIP
    """
    own: SpikingNetwork | None = None
    if isinstance(network, SpikingNetwork):
        own, model = network, network.model
        _check_not_given(fields, setup, run)
    else:
        model = network
    setup, run = taken(fields, (Setup, setup), (Run, run))
    device = run.device or active_device()
    run.check(device, generates=DEVICES[device].language is not None)
    chunk = _default_chunk(model, device) if run.chunk is None else run.chunk
    batch = setup.batch
    if batch is None:
        batch = chunk if DEVICES[device].parallel else 1
    if batch < 1:
        raise SimulationError(f"batch is {batch}; at least one is needed.")
    if own is not None:
        _check_own_network(own, run)
    images, labels = checked_images(model, images, labels)
    setup = checked_setup(model, setup)
    _check_nothing_learns(setup.synapses or {})
    chunk = min(chunk, -(-len(images) // run.workers))
    batch = min(batch, chunk)
    setup = dataclasses.replace(setup, batch=batch)
    job = Job(
        model=model,
        device=device,
        code_target=code_target(),
        setup=setup,
        chunk=chunk,
        first_image=run.first_image,
    )
    if run.workers > 1:
        check_memory(
            model,
            setup.connectivity,
            setup.precision,
            batch=batch,
            processes=run.workers,
            synapses=setup.synapses,
        )
    folder = None if run.directory is None else Path(run.directory)

    def executor(stack: ExitStack) -> Executor:
        if run.cluster is not None:
            return stack.enter_context(_cluster(run.cluster, job))
        if run.workers > 1:
            return stack.enter_context(Workers(job, run.workers, folder))
        if own is not None:
            return Here(Presenter(own, folder), job)
        if run.device is None:
            net = build(model, images=job.chunk, **fields_of(setup), name="")
            return Here(Presenter(net, folder), job)
        return Here(stack.enter_context(open_presenter(job, folder)), job)

    kept = None if run.checkpoint is None else Checkpoint(run.checkpoint, job.settings(), images)
    built = setup if own is None else own
    synapses = setup.synapses or {} if own is None else own.synapse_models
    simulation = _Simulation(
        Collected(model, len(images)),
        images,
        labels,
        kept,
        chunk=job.chunk if own is None else own.capacity,
        about={
            "device": job.device,
            "neuron": str(built.neuron),
            "perturbations": dict(built.perturbations or {}),
            "synapses": {name: str(synapse) for name, synapse in synapses.items()},
            "form": built.form,
            "connectivity": built.connectivity,
            "precision": built.precision,
            "workers": run.workers,
        },
    )
    if kept is not None:
        kept.resume(simulation.collected, wanted=run.resume)
    return simulation.run(executor, run.progress)


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
    return min(500, max(1, DEVICES[device].record_bytes // (4 * neurons)))


def _check_nothing_learns(synapses: Mapping[str, SynapseModel]) -> None:
    for name, synapse in synapses.items():
        if synapse.learns:
            raise SettingsError(
                f"The connection {name!r} learns ({synapse.name}): what an image finds would "
                "depend on those before it, and so on how images are dealt out to runs, workers "
                "and batches. Build the network with bsnn.build, present the images in your order "
                "and run it."
            )


def _check_not_given(fields: Mapping[str, Any], setup: Setup | None, run: Run | None) -> None:
    """Refuse what says how a network is built, for one that is built."""
    of_setup = {field.name for field in dataclasses.fields(Setup)}
    given = [name for name in fields if name in of_setup or name == "chunk"]
    given += ["setup"] if setup is not None else []
    given += ["chunk"] if run is not None and run.chunk is not None else []
    if given:
        renamed = {"chunk": "images (in place of chunk)"}
        instead = ", ".join(renamed.get(name, name) for name in given)
        raise SimulationError(
            f"The network is built already, and {', '.join(given)} would change nothing of it. "
            f"Give bsnn.build {instead}; or simulate the model, which is then built here."
        )


def _check_own_network(own: SpikingNetwork, run: Run) -> None:
    if own.source is not None:
        raise SimulationError(
            f"The input of the network is the group {own.source.name!r}, so that no images can be "
            "presented. Run its .network as it is, or build it without source=..."
        )
    if run.device not in (None, active_device()):
        raise SimulationError(
            f"The network was built on the device {active_device()!r}, not on {run.device!r}. "
            "Give the model instead, or leave device out."
        )
    if run.workers > 1 or run.cluster is not None:
        raise SimulationError(
            "A network that you have built is in this process and cannot be sent to others. Give "
            "the model instead, or leave workers and cluster out."
        )
    if run.checkpoint is not None:
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
