"""Writing a network as a project that is compiled and run without Python."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import string
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from bsnn.conversion import CODINGS, SpikingModel
from bsnn.devices import DEVICES, Standalone, default_step, generated_file
from bsnn.devices.compilation import write_units
from bsnn.errors import SettingsError
from bsnn.network.builder import build
from bsnn.network.network import SpikingNetwork
from bsnn.registry import Registry
from bsnn.settings import Setup, fields_of, taken
from bsnn.simulation.reader import Reader
from bsnn.simulation.shown import checked_images
from bsnn.storage import file_mask, versions

__all__ = ["TARGETS", "export"]

#: The devices that generate a program.
TARGETS = Registry(
    "target", {name: entry for name, entry in DEVICES.items() if isinstance(entry, Standalone)}
)

_TEMPLATES = Path(__file__).parent / "exported"


def export(
    model: SpikingModel,
    images: np.ndarray,
    labels: np.ndarray | None = None,
    *,
    directory: str | os.PathLike[str],
    target: str,
    first_image: int = 0,
    setup: Setup | None = None,
    **fields: Any,
) -> Path:
    """Write a network and images as a project that needs no Python to be compiled and run.

    ``make run`` in the folder compiles it, simulates the images and leaves the results as files;
    ``python read_results.py`` there, which needs numpy only, reads them. The folder's own README
    says what the files are. Nothing of CUDA need be installed here, other than Brian2CUDA.

    Parameters
    ----------
    model : SpikingModel
        What to simulate.
    images, labels : array_like
        As for `bsnn.simulate`; labels may be left out.
    directory : path
        Folder to make.
    target : str
        A name in `TARGETS`: ``"cpp"`` or ``"cuda"``.
    first_image : int
        Number of the first image, on which its noise depends.
    setup : Setup, optional
        What is built; by default for CUDA all images are side by side.
    **fields
        Fields of it in its place.

    Returns
    -------
    path
        The folder.

    Raises
    ------
    SettingsError
        There is no such target, or the folder has something in it.
    SimulationError
        The images or labels do not fit the network.
    BuildError
        The network cannot be built.
    """
    (setup,) = taken(fields, (Setup, setup))
    folder = Path(directory)
    device = TARGETS[target]
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SettingsError(f"{folder} exists and is not an empty folder: name another one.")
    images, labels = checked_images(model, images, labels)
    batch = setup.batch
    if batch is None:
        batch = len(images) if device.parallel else 1
    setup = dataclasses.replace(setup, batch=min(batch, len(images)))
    folder.absolute().parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=folder.absolute().parent, prefix=f"{folder.name}."))
    try:
        with device.generating(), default_step():
            net = build(model, images=len(images), **fields_of(setup), name="")
            numbers = first_image + np.arange(len(images))
            inputs = {
                f"{timed.name}.values": values
                for timed, values in net.presentation(images, numbers).items()
            }
            Reader(net)
            sources = write_units(made, device.generate(net, made))
            description = _describe(net, len(images), target)
        _write_inputs(made, inputs, images, labels)
        (made / "network.json").write_text(json.dumps(description, indent=1) + "\n")
        (made / "makefile").unlink()
        _write_texts(made, target, sources, inputs, description)
        # temporary folders are their owner's only
        made.chmod(0o777 & ~file_mask())
        if folder.exists():
            folder.rmdir()
        os.replace(made, folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return folder


def _describe(net: SpikingNetwork, images: int, target: str) -> dict[str, Any]:
    """Return what must be known of the results to read them."""
    model, output = net.model, net.model.output
    recorders = {**net.recorders, "read-out": net.read_out}
    files = {
        name: {
            "file": f"results/{generated_file(recorder.variables[recorder.recorded])}",
            "dtype": np.dtype(recorder.recorded_type).name,
        }
        for name, recorder in recorders.items()
    }
    read_out = files.pop("read-out")
    return {
        "coding": model.coding,
        "read_each_step": model.read_each_step,
        "decided_by_spikes": model.decided_by_spikes,
        "spikes_by_recorded": _spikes_by_recorded(model),
        "target": target,
        "steps": model.steps,
        "images": images,
        "rounds": net.rounds,
        "batch": net.batch,
        "layers": {
            name: {"neurons": model.populations[name].size, **entry}
            for name, entry in files.items()
        },
        "read_out": {
            **read_out,
            "layer": output.name,
            "spikes": model.spikes(output.name),
            "scale": net.by_neuron(output.name, model.read_out_scale).tolist(),
            "offset": model.read_out_offset,
            # of each neuron the place of its value in the layer, channel first
            "order": net.to_neurons(output.name, np.arange(output.size)).tolist(),
        },
        "versions": versions(),
    }


def _spikes_by_recorded(model: SpikingModel) -> list[int] | None:
    """Return how many spikes what is recorded stands for, from 0 on; None if it is their number."""
    recorded = np.arange(model.largest_recorded + 1)
    spikes = model.count_spikes(recorded).astype(int)
    return None if (spikes == recorded).all() else spikes.tolist()


def _write_inputs(
    made: Path, inputs: dict[str, np.ndarray], images: np.ndarray, labels: np.ndarray | None
) -> None:
    folder = made / "inputs"
    folder.mkdir()
    for name, values in inputs.items():
        np.ascontiguousarray(values, dtype=np.float64).tofile(folder / f"{name}.dat")
    np.save(folder / "images.npy", images)
    if labels is not None:
        np.save(folder / "labels.npy", labels)


def _write_texts(
    made: Path,
    target: str,
    sources: list[str],
    inputs: dict[str, np.ndarray],
    description: dict[str, Any],
) -> None:
    shapes = "\n".join(
        f"  - `inputs/{name}.dat`: float64, {' x '.join(map(str, np.shape(values)))}"
        for name, values in inputs.items()
    )
    filled = {
        "sources": " ".join(sources),
        "arguments": " ".join(f"{name}=inputs/{name}.dat" for name in inputs),
        "inputs": shapes,
        "language": TARGETS[target].language,
        "coding": CODINGS[description["coding"]].title,
        **{name: description[name] for name in ("steps", "images", "batch", "rounds")},
        "versions": ", ".join(
            f"{name.removesuffix('_version')} {version}"
            for name, version in description["versions"].items()
        ),
    }
    for template, name in (
        (f"Makefile.{target}", "Makefile"),
        (f"README.{target}.md", "README.md"),
    ):
        text = string.Template((_TEMPLATES / template).read_text()).substitute(filled)
        (made / name).write_text(text)
    shutil.copy(_TEMPLATES / "read_results.py", made)
