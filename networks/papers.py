"""What it takes to train and reproduce the networks of a paper."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import bsnn
from bsnn.analysis.saving import save_figure
from bsnn.errors import torch_is_missing

from .evaluation import accuracy

__all__ = ["Paper"]


@dataclasses.dataclass(frozen=True)
class Paper:
    """A paper, whose folder has a module ``training`` and a module ``reproduction``.

    Attributes
    ----------
    name : str
        The folder, after authors and year.
    shipped : mapping of str to path
        Trained and converted networks that come with bsnn, by name.
    settings : tuple of str
        Fields of ``training.TrainingSettings`` that can be chosen.
    dataset : callable
        Given the settings, returns the name of the data set.
    file : callable
        Given the settings, returns the name of the model's file, without its suffix.
    convert : callable
        Given the trained module, the training images, the settings, the facts of where the model
        comes from, the path, and what is in `further`: converts the network, writes the model, and
        returns the graph.
    further : mapping of str to object
        Options of the conversion that can be chosen, with their defaults.
    stated : tuple of str
        Settings that the command in a model's provenance has even where they are the defaults.
    """

    name: str
    shipped: Mapping[str, Path]
    settings: tuple[str, ...]
    dataset: Callable[[Any], str]
    file: Callable[[Any], str]
    convert: Callable[..., bsnn.Graph]
    further: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    stated: tuple[str, ...] = ("network", "epochs", "seed")

    def _module(self, name: str) -> ModuleType:
        return importlib.import_module(f"bsnn.networks.{self.name}.{name}")

    def train(
        self,
        out: str | os.PathLike[str],
        *,
        data: str | os.PathLike[str] | None = None,
        threads: int = 1,
        device: str = "cpu",
        resume: bool = False,
        **options: Any,
    ) -> tuple[Path, dict[str, float]]:
        """Train a network, convert it as the paper does, and write it into a folder.

        Parameters
        ----------
        out : path
            Folder for the model, the weights, the checkpoint, the log and ``curves.png``.
        data : path, optional
            Folder with the data set (see `bsnn.datasets.load`).
        threads : int
            CPU threads.
        device : str
            PyTorch's device.
        resume : bool
            Go on from the checkpoint in `out`.
        **options
            Of `settings` and `further`; see the paper's ``training.TrainingSettings``.

        Returns
        -------
        path : pathlib.Path
            The model.
        accuracies : dict of str to float
            Of the trained network on the test images.
        """
        try:
            import torch

            training = self._module("training")
            from .curves import curves_figure
        except ModuleNotFoundError as error:
            raise torch_is_missing("Training") from error
        torch.set_num_threads(threads)
        further = {name: options.pop(name, value) for name, value in self.further.items()}
        settings = training.TrainingSettings(**options)
        dataset = self.dataset(settings)
        images = bsnn.datasets.load(dataset, "train", data)
        net = training.train(images, out, settings, resume=resume, device=device)
        path = Path(out) / f"{self.file(settings)}.h5"
        save_figure(curves_figure({path.stem: Path(out) / "log.jsonl"}), Path(out) / "curves.png")
        source = {
            "source": self._command(settings, {"threads": threads, **further}),
            "torch_version": torch.__version__,
        }
        graph = self.convert(net, images, settings, source, path, **further)
        test = bsnn.datasets.load(dataset, "test", data).exact()
        return path, {f"the {len(test):,} exact test images": accuracy(graph, test)}

    def _command(self, settings: Any, further: Mapping[str, Any]) -> str:
        """Return the command that trains with these settings."""
        words = ["bsnn train", self.name]
        for field in dataclasses.fields(settings):
            value = getattr(settings, field.name)
            option = field.name.replace("_", "-")
            if field.name in self.stated or value != field.default:
                text = f"{value:g}" if isinstance(value, float) else value
                words.append(f"--no-{option}" if value is False else f"--{option} {text}")
        words += [f"--{name.replace('_', '-')} {value}" for name, value in further.items()]
        return " ".join(words)

    @property
    def reproduction(self) -> Callable[..., dict[str, Any]]:
        """What ``bsnn reproduce`` calls: ``reproduction.reproduce``."""
        return self._module("reproduction").reproduce

    def reproduce(self, out: str | os.PathLike[str], **options: Any) -> dict[str, Any]:
        """Print and plot the paper's results, ours beside them; see `reproduction`."""
        return self.reproduction(out, **options)

    @property
    def trainable(self) -> set[str]:
        """Names of the options of `train` that only some papers have."""
        return {*self.settings, *self.further}

    @property
    def reproducible(self) -> set[str]:
        """Names of the options of `reproduce`."""
        return set(inspect.signature(self.reproduction).parameters)
