"""Finding the network that a command line names."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import typer

import bsnn
from bsnn.cli.groups import group, option
from bsnn.cli.output import noted, print_notes
from bsnn.cli.python_source import made_by, named_in_file
from bsnn.errors import ConversionError, torch_is_missing

if TYPE_CHECKING:
    from torch import nn

__all__ = ["TRAINED", "Trained", "load_torch_model", "parse_numbers", "parse_shape"]


def parse_shape(text: str) -> tuple[int, ...]:
    """Read a shape such as ``1,28,28``."""
    try:
        shape = tuple(int(part) for part in text.split(","))
    except ValueError:
        shape = ()
    if not shape or min(shape) < 1:
        raise ConversionError(
            f"--input-shape {text!r} is no shape. Write channels, height and width of one image, "
            "such as 1,28,28."
        )
    return shape


def parse_numbers(option: str, text: str | None) -> tuple[float, ...] | None:
    """Read numbers such as ``0.49,0.48,0.45``."""
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ConversionError(
            f"{option} {text!r}: numbers with commas between them are needed, such as 0.49,0.48."
        ) from None


@dataclasses.dataclass(frozen=True)
class Trained:
    """Facts about a trained PyTorch module besides its code."""

    weights: Path | None
    input_shape: str | None
    mean: str | None
    std: str | None

    def graph(self, source: str) -> tuple[bsnn.Graph, dict[str, str]]:
        """Return the graph of a network named as ``FILE.py:FUNCTION``, an ONNX file or bsnn's.

        Returns
        -------
        graph : Graph
        source : dict
            Where it came from, for the record.
        """
        if source.endswith(".onnx"):
            return self._graph_in_onnx(Path(source))
        if ":" not in source or source.endswith((".h5", ".hdf5")):
            return self._graph_in_file(Path(source))
        if self.weights is None or self.input_shape is None:
            raise ConversionError(
                f"For {source} the trained weights and the shape of an image are needed too: "
                "--weights net.pt --input-shape 1,28,28."
            )
        model = load_torch_model(source, self.weights)
        with noted():
            graph = bsnn.from_torch(model, parse_shape(self.input_shape), **self._normalisation())
        return graph, {"source": source, "weights_file": self.weights.name}

    def _graph_in_onnx(self, path: Path) -> tuple[bsnn.Graph, dict[str, str]]:
        if self.weights is not None:
            raise ConversionError(
                f"--weights: the network in {path} has its weights in it, or beside it. Leave it "
                "out."
            )
        shape = None if self.input_shape is None else parse_shape(self.input_shape)
        with noted():
            return bsnn.from_onnx(path, shape, **self._normalisation()), {"source": path.name}

    def _normalisation(self) -> dict[str, tuple[float, ...] | None]:
        return {
            "mean": parse_numbers("--mean", self.mean),
            "std": parse_numbers("--std", self.std),
        }

    def _graph_in_file(self, path: Path) -> tuple[bsnn.Graph, dict[str, str]]:
        if path.suffix == ".py":
            raise ConversionError(
                f"{path} does not say what in it makes the network. Write {path}:NAME with the "
                "name of a function without arguments, or of a class."
            )
        if path.suffix in (".pt", ".pth", ".ckpt", ".safetensors"):
            raise ConversionError(
                f"{path} holds weights only. Name the code of the model, and the weights by "
                f"--weights: bsnn convert my_model.py:make_net --weights {path} --input-shape ..."
            )
        given = [
            f"--{name.replace('_', '-')}" for name, value in vars(self).items() if value is not None
        ]
        if given:
            raise ConversionError(
                f"{', '.join(given)}: the network in {path} has all that. Leave it out, or name "
                "the code of a PyTorch module, FILE.py:NAME, or an ONNX file."
            )
        return bsnn.load_graph(path), {"source": path.name}


TRAINED = group(
    (
        option(
            "weights",
            Path | None,
            typer.Option(
                help="State dict of the module, saved with torch.save or as safetensors; also in a "
                "checkpoint, and with the prefixes of DataParallel, torch.compile or Lightning."
            ),
        ),
        option(
            "input_shape",
            str | None,
            typer.Option(help="Channels, height and width of an image, such as 1,28,28."),
        ),
        option(
            "mean",
            str | None,
            typer.Option(
                help="What was subtracted from the pixels (0 to 1) in training, by channel."
            ),
        ),
        option(
            "std",
            str | None,
            typer.Option(help="What the pixels were divided by in training, by channel."),
        ),
    ),
    lambda values: Trained(**values),
)


def load_torch_model(source: str, weights: Path) -> nn.Module:
    """Make the model that ``FILE.py:NAME`` names, and load its weights.

    `NAME` is a class, a function without arguments, or a module that the file has made. The weights
    are read without unpickling code (see `bsnn.frontends.checkpoints`).
    """
    try:
        import torch

        from bsnn.frontends.checkpoints import load_weights
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise torch_is_missing("Converting a PyTorch model") from None
    made = named_in_file(source)
    if callable(made) and not isinstance(made, torch.nn.Module):
        made = made_by(made, source)
    if not isinstance(made, torch.nn.Module):
        raise ConversionError(f"{source} gives a {type(made).__name__}, not a torch.nn.Module.")
    print_notes(load_weights(made, weights))
    return made.eval()
