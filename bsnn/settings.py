"""What is built of a converted network, and where and how it is run: records that go as a whole.

Functions take a record, or its fields as keywords, never both.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any, TypeVar, overload

from bsnn.errors import SettingsError, SimulationError
from bsnn.registry import check_name

__all__ = ["Run", "Setup", "taken"]

Record = TypeVar("Record")
Other = TypeVar("Other")


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Setup:
    """What is built of a model. But for rounding in float32, the first three change no spike.

    Attributes
    ----------
    form : str, optional
        Form of the neurons; by default the fast one. See `bsnn.build`.
    connectivity : str
        ``"shared"`` (weights are stored once, connections never) or ``"synapses"`` (a row for each
        connection).
    precision : str
        ``"float64"`` or ``"float32"``, for neurons and shared weights.
    neuron : str or NeuronModel, optional
        What the neurons are: a name in `bsnn.network.NEURON_MODELS`, or a model of one's own. By
        default those that the conversion assumes.
    perturbations : mapping of str to float, optional
        What is disturbed and how strongly, by names in `bsnn.network.PERTURBATIONS`.
    synapses : mapping of str to str or SynapseModel, optional
        What connections do with the spikes that arrive; by default all are static.
    seed : int
        Of all that is random.
    batch : int, optional
        Images that are simulated side by side; by default 1, and on CUDA all of a run.
    """

    form: str | None = None
    connectivity: str = "shared"
    precision: str = "float64"
    neuron: Any = None
    perturbations: Mapping[str, Any] | None = None
    synapses: Mapping[str, Any] | None = None
    seed: int = 0
    batch: int | None = None

    def of_network(self) -> dict[str, Any]:
        """Return the fields that decide what a network does: all but the batch."""
        fields = fields_of(self)
        del fields["batch"]
        return fields


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """Where and how a simulation is run. Results depend on the device and the first image only.

    Attributes
    ----------
    device : str, optional
        ``"runtime"``, ``"cpp"`` (C++ standalone) or ``"cuda"`` (see `bsnn.devices.cuda`). By
        default the one that is active.
    workers : int
        Processes that simulate. With one it is this process. With more, each builds the network
        and needs memory for it; a script must do its work under ``if __name__ == "__main__":``,
        because each of them imports it.
    cluster : str, optional
        Address of a Dask scheduler, such as ``"tcp://host:8786"``, whose workers simulate; needs
        ``bsnn[cluster]``.
    chunk : int, optional
        Most images in one run. It bounds the memory for what is recorded; by default 500, where the
        last layer is read in each step so many that counts of spikes take 100 MB (on CUDA 1 GB).
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
    """

    device: str | None = None
    workers: int = 1
    cluster: str | None = None
    chunk: int | None = None
    first_image: int = 0
    checkpoint: str | os.PathLike[str] | None = None
    resume: bool = False
    directory: str | os.PathLike[str] | None = None
    progress: bool = True

    def check(self, device: str, *, generates: bool) -> None:
        """Refuse what does not fit a device, which generates code or not (`SimulationError`)."""
        for name in ("workers", "chunk"):
            number = getattr(self, name)
            if number is not None and number < 1:
                raise SimulationError(f"{name} is {number}; at least one is needed.")
        if self.cluster is not None and (self.workers > 1 or self.directory is not None):
            raise SimulationError(
                "The workers of a cluster are those that it has, and generate their code where "
                "they run: leave out the number of workers and the directory, or the cluster."
            )
        if self.directory is not None and not generates:
            raise SimulationError(
                f"The device {device!r} generates no project that could go to {self.directory}: "
                "leave the directory out, or simulate on 'cpp' or 'cuda'."
            )
        if self.resume and self.checkpoint is None:
            raise SimulationError("To resume, name the checkpoint in which the last run is kept.")


def fields_of(record: Any) -> dict[str, Any]:
    """Return the fields of a record by name."""
    return {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}


@overload
def taken(
    given: Mapping[str, Any], record: tuple[type[Record], Record | None], /
) -> tuple[Record]: ...


@overload
def taken(
    given: Mapping[str, Any],
    record: tuple[type[Record], Record | None],
    other: tuple[type[Other], Other | None],
    /,
    *,
    without: tuple = (),
) -> tuple[Record, Other]: ...


def taken(given: Mapping[str, Any], *records: tuple[Any, Any], without: tuple = ()) -> Any:
    """Return records, of which each was given as a whole or by its fields.

    Parameters
    ----------
    given : mapping of str to object
        Fields, of all the records together.
    *records : tuple of type and record
        Kinds of records, and what was given as a whole, or None.
    without : tuple of str
        Fields that would have no effect.

    Raises
    ------
    UnknownNameError
        There is no field of a name.
    SettingsError
        A record and fields of it are given, or a field that would have no effect.
    """
    names = {kind: [field.name for field in dataclasses.fields(kind)] for kind, _ in records}
    known = [name for own in names.values() for name in own if name not in without]
    for name in given:
        check_name(name, known, "argument")
    found = []
    for kind, record in records:
        own = {name: given[name] for name in names[kind] if name in given}
        if record is not None and own:
            raise SettingsError(
                f"{', '.join(own)} is given, and a {kind.__name__} that has it: leave one of them "
                "out (dataclasses.replace changes a record)."
            )
        record = kind(**own) if record is None else record
        for name in set(without) & set(names[kind]):
            default = next(f.default for f in dataclasses.fields(kind) if f.name == name)
            if getattr(record, name) != default:
                raise SettingsError(f"{name} of the {kind.__name__} would have no effect here.")
        found.append(record)
    return tuple(found)
