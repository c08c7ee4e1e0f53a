"""The converted network as plain data: a graph with a coding, and a scale for each layer."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from bsnn.conversion.populations import (
    Population,
    Projection,
    pooled_windows,
    populations,
)
from bsnn.conversion.projections import Drive, LinearMap
from bsnn.conversion.schedule import Schedule
from bsnn.errors import BsnnError, InputError, SettingsError, StorageError
from bsnn.graph import Graph, image_batch
from bsnn.graph.files import graph_from_tree, graph_to_tree, provenance
from bsnn.registry import Registry
from bsnn.storage import Tree, read_tree, write_tree

__all__ = [
    "CAPABILITIES",
    "CODINGS",
    "CONVERTERS",
    "Decoded",
    "SpikingModel",
    "load_model",
    "model_from_tree",
    "register_coding",
]

#: Kinds of spiking model by their coding.
CODINGS: Registry[type[SpikingModel]] = Registry("coding")

#: Functions that convert a trained network, by coding.
CONVERTERS: Registry[Callable[..., SpikingModel]] = Registry("coding")

#: What a coding may offer besides being simulated, and what that is.
CAPABILITIES = {
    "source": "a group of the user's in the place of the input",
    "synapses": "synapses with dynamics of their own",
    "NIR": "being written as NIR",
    "pooling block": "the spikes and gates of the hardware's pooling block",
    "refit": "thresholds that are fitted to other neurons",
}

#: Called after each step of a reference simulation.
Tick = Callable[[], None]


@dataclasses.dataclass(frozen=True)
class Decoded:
    """The values that the spikes of a batch of images stand for.

    Attributes
    ----------
    values : dict of str to numpy.ndarray
        By population, in the units of the trained network; shape ``(n, *shape)``.
    classes : numpy.ndarray
        Class of each image.
    """

    values: dict[str, np.ndarray]
    classes: np.ndarray


_Coding = TypeVar("_Coding", bound="type[SpikingModel]")


def register_coding(model_type: _Coding) -> _Coding:
    """Make a class known by its ``coding``."""
    CODINGS.add(model_type.coding, model_type)
    return model_type


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class SpikingModel:
    """A trained network with all that its spiking form is determined by.

    A coding is one class that derives from it, such as `TtfsModel` and `RateModel`: how a value
    becomes spikes and back, when populations spike, and what the network computes, in numbers. Its
    Brian2 objects are a `bsnn.network.NeuralCode` of the same name.

    Attributes
    ----------
    graph : Graph
        The trained network.
    steps : int
        Time steps for which a layer's value is told.
    scales : dict
        By population, the largest value that its spikes can stand for, in the units of the trained
        network.
    read_out : str
        How a class is read from the last layer, one of `read_outs`.
    norm : str
        How the scales were found, a name in `bsnn.conversion.NORMALISATIONS`.
    calibration : dict
        What they were found with: number of images, their SHA-256, their origin.
    source : dict
        Where the trained network came from.
    """

    graph: Graph
    steps: int
    scales: dict[str, Any]
    read_out: str
    norm: str
    calibration: dict[str, Any]
    source: dict[str, str] = dataclasses.field(default_factory=dict)

    #: Name of the coding.
    coding: ClassVar[str]
    #: What it is called in sentences.
    title: ClassVar[str]
    #: Known ways to read a class.
    read_outs: ClassVar[tuple[str, ...]]
    #: Whether each layer has a time window of its own; otherwise all act in the same steps.
    pipelined: ClassVar[bool]
    #: Whether it counts in which step of its window a spike comes; otherwise how many come.
    timed: ClassVar[bool]
    #: Whether the last layer is read in each step of an image; otherwise once.
    read_each_step: ClassVar[bool]
    #: State variables of a neuron: by default the membrane potential.
    state_words: ClassVar[int] = 1
    #: What it does not offer of `CAPABILITIES`, and why.
    refused: ClassVar[Mapping[str, str]] = MappingProxyType(
        {name: f"it does not offer {what}." for name, what in CAPABILITIES.items()}
    )

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Each coding has settings of its own."""

    @classmethod
    def check_offers(cls, capability: str, error: type[BsnnError] = SettingsError) -> None:
        """Raise an error that says why, if the coding does not offer one of `CAPABILITIES`."""
        if capability in cls.refused:
            raise error(
                f"{capability!r} has no meaning for a network in the coding {cls.coding}: "
                f"{cls.refused[capability]}"
            )

    @property
    def spiking_graph(self) -> Graph:
        """The layers that the spiking network has; those of the trained one, if nothing differs."""
        return self.graph

    @cached_property
    def populations(self) -> dict[str, Population]:
        """Populations by name, each after those that it reads."""
        return populations(self.spiking_graph)

    @property
    def input(self) -> Population:
        """The population that the images enter."""
        return next(iter(self.populations.values()))

    @property
    def output(self) -> Population:
        """The population that the result is read from."""
        return next(reversed(self.populations.values()))

    def schedule(self, interval: int = 1) -> Schedule:
        """Return when populations spike, with so many windows from an image to the next."""
        depths = {
            name: population.depth if self.pipelined else 0
            for name, population in self.populations.items()
        }
        return Schedule(self.steps, interval, depths)

    def encode(self, images: np.ndarray) -> np.ndarray:
        """Return images as the input encodes them; float64.

        Raises
        ------
        InputError, GraphError
            The network cannot be shown them (see `check_images`).
        """
        raise NotImplementedError

    def decode(self, name: str, recorded: np.ndarray) -> np.ndarray:
        """Return what the spikes of a population stand for, in the units of the trained network.

        Parameters
        ----------
        name : str
            The population.
        recorded : numpy.ndarray
            What a `bsnn.network.SpikingNetwork` records of each neuron for an image, shape
            ``(n, *shape)``.
        """
        raise NotImplementedError

    def count_spikes(self, recorded: np.ndarray) -> np.ndarray:
        """Return the spikes of each neuron for an image, of what is recorded of it."""
        raise NotImplementedError

    def spike_worth(self, steps: np.ndarray) -> np.ndarray:
        """Return what a spike adds to what is recorded, given its step in its window.

        One, where only the number of spikes counts.
        """
        return np.ones_like(steps)

    def reference(
        self,
        images: np.ndarray,
        *,
        seed: int = 0,
        streams: np.ndarray | None = None,
        dtype: type = np.float64,
        tick: Tick | None = None,
    ) -> Decoded:
        """Return what the spiking network computes, without Brian2: its reference.

        Parameters
        ----------
        images : numpy.ndarray
            Shape ``(n, *input_shape)``.
        seed : int
            Of the noise of the input, if it has some.
        streams : numpy.ndarray, optional
            Number of each image's own noise; by default 0, 1, ...
        dtype : dtype
            Of the potentials.
        tick : callable, optional
            Called after each step, if there are steps.
        """
        raise NotImplementedError

    def classes_by_steps(
        self, images: np.ndarray, furthest: int, *, seed: int = 0
    ) -> Iterator[np.ndarray]:
        """Yield the classes of images with 1, 2, ... steps."""
        for steps in range(1, furthest + 1):
            yield dataclasses.replace(self, steps=steps).reference(images, seed=seed).classes

    def facts(self) -> list[tuple[str, str]]:
        """Return what there is to say of the conversion, as pairs of a description and a text."""
        return [("steps per window" if self.pipelined else "steps", str(self.steps))]

    def conversion_options(self) -> dict[str, Any]:
        """Return the arguments of the coding's converter that this model was made with.

        Those with which scales are found are left out.
        """
        raise NotImplementedError

    def classes(self, potentials: np.ndarray, recorded: np.ndarray | None) -> np.ndarray:
        """Return the class of each image.

        Parameters
        ----------
        potentials : numpy.ndarray
            What the last layer has reached, ``(n, outputs)``.
        recorded : numpy.ndarray or None
            What is recorded of its spikes, ``(n, outputs)``, if it spikes.
        """
        if self.decided_by_spikes:
            assert recorded is not None
            largest = recorded == recorded.max(axis=1, keepdims=True)
            potentials = np.where(largest, potentials, -np.inf)
        return potentials.argmax(axis=1)

    @property
    def largest_recorded(self) -> int:
        """The most that is recorded of a neuron for an image."""
        return int(self.spike_worth(np.arange(self.steps)).sum())

    @property
    def decided_by_spikes(self) -> bool:
        """Say whether the class is that of the largest that is recorded of the last layer.

        Among equals, and otherwise, it is that of the largest potential.
        """
        return False

    @property
    def read_out_scale(self) -> float | np.ndarray:
        """What a value of one that is read from the last layer stands for; one for each channel."""
        return 1.0

    @property
    def read_out_offset(self) -> float:
        """What is read where nothing has reached the last layer."""
        return 0.0

    def windows(self, name: str) -> tuple[str, np.ndarray, np.ndarray]:
        """Say which neurons a max-pooling chooses from; see `populations.pooled_windows`."""
        return pooled_windows(self.spiking_graph, self.populations, name)

    def input_of_silence(self, name: str) -> np.ndarray:
        """Return what the neurons of a population get when nothing before them spikes.

        The biases, carried through the linear layers, in the units of the trained network; float64,
        of the population's shape.
        """
        graph, population = self.spiking_graph, self.populations[name]
        silence = {
            projection.source_layer: np.zeros((1, *graph.shapes[projection.source_layer]))
            for projection in population.projections
        }
        return graph.evaluate(population.potential_layer, silence)[0]

    def spikes(self, name: str) -> bool:
        """Say whether a population emits spikes; a read-out by potential does not."""
        raise NotImplementedError

    @cached_property
    def projections(self) -> dict[str, Drive]:
        """What the neurons of each population get, as it is built: weights, biases, thresholds.

        Inputs and poolings, which have no such neurons, are left out.
        """
        plan = self.populations
        return {
            name: Drive(
                maps=tuple(
                    LinearMap(
                        path,
                        self.weight_factor(path, population),
                        self.spiking_graph,
                        plan[path.source],
                        population,
                    )
                    for path in population.projections
                ),
                bias=self.bias(name),
                threshold=self.threshold(name),
            )
            for name, population in plan.items()
            if population.role in ("neurons", "read_out")
        }

    def weight_factor(self, projection: Projection, target: Population) -> float | np.ndarray:
        """Return by what the trained weights of a projection are multiplied (see `LinearMap`).

        By default the scale of its source: a spike of one stands for that, and potentials are in
        the units of the trained network.
        """
        return self.scales[projection.source]

    def bias(self, name: str) -> np.ndarray:
        """Return what the neurons of a population get, or begin with, without any spike.

        By default what silence gives, in the units of the trained network; float64, of the
        population's shape.
        """
        return self.input_of_silence(name)

    def threshold(self, name: str) -> float | np.ndarray:
        """Return the threshold of a population, one number or one for each channel.

        By default the scale.
        """
        return self.scales[name]

    def check_images(self, images: ArrayLike) -> np.ndarray:
        """Return images as float32 or float64, if the network can be shown them.

        Raises
        ------
        InputError
            There are none, they are no numbers, or they have values that cannot be coded or meant.
        GraphError
            They have another shape than the network takes.
        """
        images, extremes = image_batch(images, self.graph.input.shape)
        if not len(images):
            raise InputError("There are no images; give at least one.")
        self.check_pixels(extremes)
        return images

    def check_pixels(self, extremes: np.ndarray) -> None:
        """Refuse, with an `InputError`, pixels that cannot be coded or meant.

        Parameters
        ----------
        extremes : numpy.ndarray
            Two images, of the lowest and of the highest value that each pixel has, in the type
            that the images came in.
        """
        raise NotImplementedError

    def expected_spikes(self, images: np.ndarray) -> dict[str, float]:
        """Return by population that spikes about how many spikes an image will cause."""
        raise NotImplementedError

    def conversion_tree(self) -> dict[str, Any]:
        """Return what this coding keeps in a file, besides what all do."""
        raise NotImplementedError

    @classmethod
    def fields_from_tree(cls, tree: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments for the class that `conversion_tree` has kept."""
        raise NotImplementedError

    def check(self) -> None:
        """Raise `ValueError` if values are out of range."""
        if self.read_out not in self.read_outs:
            raise ValueError(
                f"the read-out is {self.read_out!r}; known are {', '.join(self.read_outs)}"
            )
        if not isinstance(self.steps, int) or self.steps < 1:
            raise ValueError(f"steps is {self.steps!r}; at least one is needed")
        for name in self.populations:
            if name not in self.scales:
                raise ValueError(f"no scale for {name!r}; a number is needed")

    def save(self, path: str | os.PathLike[str], array_type: str = "float32") -> None:
        """Write the model to a file, atomically.

        Parameters
        ----------
        path : path
            File to write.
        array_type : str
            Type of the trained arrays in the file: ``"float32"``, or ``"float16"`` for half the
            size. Convert a network with weights of `bsnn.graph.as_stored`, so that the scales
            are those of the weights that will be read back.
        """
        conversion = {
            "coding": self.coding,
            "read_out": self.read_out,
            "norm": self.norm,
            "calibration": self.calibration,
            **self.conversion_tree(),
        }
        tree = {
            "graph": graph_to_tree(self.graph, array_type),
            "conversion": conversion,
            "provenance": {**provenance(self.graph, dtype=array_type), **self.source},
        }
        write_tree(path, "model", tree)

    def settings(self) -> dict[str, Any]:
        """Return all that spikes depend on besides graph and images."""
        shared = {"norm", "calibration", "source", "graph"}
        return {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name not in shared
        }


_PROVENANCE_OF_FILE = {"created", "weights_sha256", "python_version"}


def load_model(path: str | os.PathLike[str]) -> SpikingModel:
    """Read a spiking model from a file.

    Raises
    ------
    StorageError
        The file is missing, damaged, or holds a trained network that was not converted.
    """
    return model_from_tree(read_tree(path, "model"), path)


def model_from_tree(tree: Tree, path: str | os.PathLike[str]) -> SpikingModel:
    """Make a spiking model from a file's tree; `path` is named in errors (see `load_model`)."""
    graph = graph_from_tree(tree, path)
    conversion = tree.get("conversion")
    if conversion is None:
        raise StorageError(
            f"{path} holds a trained network that was not converted. Convert it with "
            "`bsnn convert`."
        )
    stored = tree.get("provenance", {})
    source = {
        name: text
        for name, text in stored.items()
        if name not in _PROVENANCE_OF_FILE and not name.endswith("_version")
    }
    coding = conversion.get("coding")
    if coding not in CODINGS:
        raise StorageError(
            f"{path}: /conversion has the unknown coding {coding!r}; known are "
            f"{', '.join(CODINGS)}."
        )
    try:
        model = CODINGS[coding](
            graph=graph,
            read_out=conversion["read_out"],
            norm=conversion["norm"],
            calibration=dict(conversion["calibration"]),
            source=source,
            **CODINGS[coding].fields_from_tree(conversion),
        )
        model.check()
    except KeyError as error:
        raise StorageError(f"{path}: /conversion is incomplete ({error}).") from error
    except (TypeError, ValueError) as error:
        raise StorageError(f"{path}: /conversion is not right ({error}).") from error
    return model
