"""Names that Brian2CUDA cannot read values for."""

from __future__ import annotations

from brian2 import Network
from brian2.core.variables import ArrayVariable

from bsnn.errors import BuildError

__all__ = ["check_names"]


def check_names(network: Network) -> None:
    """Refuse objects and variables whose names have upper-case letters.

    Brian2CUDA writes all names of files in lower case when it is given values for a run
    (``run_args``): those of an object with an upper-case letter would not be found, and the run
    would go on with the old ones.

    Parameters
    ----------
    network : brian2.Network
        What is to be run.

    Raises
    ------
    BuildError
        Names them.
    """
    refused = sorted(
        {
            f"{item.name}.{name}" if item.name == item.name.lower() else item.name
            for item in network.sorted_objects
            for name, variable in getattr(item, "variables", {}).items()
            if isinstance(variable, ArrayVariable)
            and not variable.read_only
            and not name.startswith("_")
            and (f"{item.name}.{name}" != f"{item.name}.{name}".lower())
        }
    )
    if refused:
        raise BuildError(
            f"On CUDA names are in lower case, but {', '.join(refused)} "
            f"{'is' if len(refused) == 1 else 'are'} not. Brian2CUDA would not find the values "
            "that a run is given for them, and would go on with old ones. Rename them."
        )
