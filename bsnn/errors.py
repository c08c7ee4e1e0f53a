"""The errors that bsnn raises on purpose.

Every message says what was met, where, why it cannot be done and what to do about it.
"""

__all__ = [
    "BsnnError",
    "BuildError",
    "ConversionError",
    "ConversionWarning",
    "DatasetError",
    "GraphError",
    "InputError",
    "SettingsError",
    "SimulationError",
    "StorageError",
    "UnknownNameError",
    "first_line",
    "nir_is_missing",
    "onnx_is_missing",
    "torch_is_missing",
]


class BsnnError(Exception):
    """Base of all errors that bsnn raises on purpose."""


class GraphError(BsnnError):
    """A network description that is not consistent: shapes, names or edges."""


class ConversionError(BsnnError):
    """A trained network, or a part of it, that cannot be converted."""


class ConversionWarning(UserWarning):
    """What a converted network does otherwise than the trained one, and loses nothing by."""


class StorageError(BsnnError):
    """A file that is not a valid bsnn file; names the file and the path inside it."""


class BuildError(BsnnError):
    """A spiking model that cannot be built as a Brian2 network."""


class SimulationError(BsnnError):
    """A simulation that could not be run, or whose input does not fit the network."""


class SettingsError(BsnnError, ValueError):
    """Settings that do not fit what they are applied to."""


class UnknownNameError(SettingsError):
    """A name of something that is not there; the message says what is."""


class InputError(SimulationError, SettingsError):
    """Images or labels that cannot be meant as they were given."""


class DatasetError(BsnnError):
    """A data set that is missing, damaged or not what it claims to be."""


def first_line(error: BaseException) -> str:
    """Return what an error says first; its type, if it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def torch_is_missing(purpose: str) -> ConversionError:
    """Return the error for something that needs PyTorch, which is an extra."""
    return ConversionError(
        f"{purpose} needs PyTorch, which is not installed. Install it with "
        "pip install 'bsnn[torch]'."
    )


def onnx_is_missing(purpose: str) -> ConversionError:
    """Return the error for something that needs the ``onnx`` package, which is an extra."""
    return ConversionError(
        f"{purpose} needs the package onnx, which is not installed. Install it with "
        "pip install 'bsnn[onnx]'."
    )


def nir_is_missing(purpose: str) -> ConversionError:
    """Return the error for something that needs the ``nir`` package, which is an extra."""
    return ConversionError(
        f"{purpose} needs the package nir, which is not installed. Install it with "
        "pip install 'bsnn[nir]'."
    )
