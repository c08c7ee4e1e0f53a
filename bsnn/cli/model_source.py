"""Finding the network that a command line names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import bsnn
from bsnn.cli.python_source import named_in_file
from bsnn.errors import ConversionError, StorageError, torch_is_missing

if TYPE_CHECKING:
    from torch import nn

__all__ = ["load_torch_model", "parse_numbers", "parse_shape", "trained_graph"]


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


def trained_graph(
    source: str,
    weights: Path | None,
    input_shape: str | None,
    mean: str | None = None,
    std: str | None = None,
) -> tuple[bsnn.Graph, dict[str, str]]:
    """Return the graph of a network named as a file of bsnn's or as ``FILE.py:FUNCTION``.

    Returns
    -------
    graph : Graph
    source : dict
        Where it came from, for the record.
    """
    if ":" not in source or source.endswith((".h5", ".hdf5")):
        path = Path(source)
        if path.suffix == ".py":
            raise ConversionError(
                f"{source} does not say what in it makes the network. Write {source}:NAME with the "
                "name of a function without arguments, or of a class."
            )
        if path.suffix in (".pt", ".pth"):
            raise ConversionError(
                f"{source} holds weights only. Name the code of the model, and the weights by "
                f"--weights: bsnn convert my_model.py:make_net --weights {source} --input-shape ..."
            )
        own = {
            "--weights": weights,
            "--input-shape": input_shape,
            "--mean": mean,
            "--std": std,
        }
        given = [option for option, value in own.items() if value is not None]
        if given:
            raise ConversionError(
                f"{', '.join(given)}: the network in {source} has all that. Leave it out, or name "
                "the code of a PyTorch module, FILE.py:NAME."
            )
        graph = bsnn.load_graph(path)
        return graph, {"source": path.name}
    if weights is None or input_shape is None:
        raise ConversionError(
            f"For {source} the trained weights and the shape of an image are needed too: "
            "--weights net.pt --input-shape 1,28,28."
        )
    model = load_torch_model(source, weights)
    graph = bsnn.from_torch(
        model,
        parse_shape(input_shape),
        mean=parse_numbers("--mean", mean),
        std=parse_numbers("--std", std),
    )
    return graph, {"source": source, "weights_file": weights.name}


def load_torch_model(source: str, weights: Path) -> nn.Module:
    """Make the model that ``FILE.py:NAME`` names and load its state dict.

    The weights are read without unpickling code: a file that holds more than tensors is refused.
    """
    try:
        import torch
    except ModuleNotFoundError:
        raise torch_is_missing("Converting a PyTorch model") from None
    make = named_in_file(source)
    try:
        model = make()
    except Exception as error:
        raise ConversionError(f"{source} cannot be run: {type(error).__name__}: {error}") from error
    if not isinstance(model, torch.nn.Module):
        raise ConversionError(f"{source} gives a {type(model).__name__}, not a torch.nn.Module.")
    if not weights.is_file():
        raise StorageError(f"The weights {weights} do not exist.")
    try:
        state = torch.load(weights, map_location="cpu", weights_only=True)
        model.load_state_dict(state)
    except Exception as error:
        raise StorageError(
            f"{weights} does not hold the weights of {source}: {error}\n"
            "A state dict is needed: save it with torch.save(model.state_dict(), 'net.pt')."
        ) from error
    return model.eval()
