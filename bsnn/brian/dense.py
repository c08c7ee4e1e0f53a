"""All-to-all connections between two groups, with a matrix of weights and no index arrays."""

from __future__ import annotations

import numpy as np
from brian2.units.fundamentalunits import Quantity, get_dimensions

from bsnn.brian.batch import images
from bsnn.brian.shared import Shape, SharedConnections

__all__ = ["Dense"]


class Dense(SharedConnections):
    """All-to-all connections: a matrix of weights, and no index is ever stored.

    Does what `brian2.Synapses` with ``connect()`` do, spike for spike, with a third of the memory
    and without creating anything at the start of a run.

    Parameters
    ----------
    source, target : group
        Groups (or subgroups).
    w : array or brian2.Quantity
        Weights as in PyTorch: ``(targets, sources)``; behind a pooling, its windows are the
        sources.
    on_pre : str
        What a spike does to each target, as for `brian2.Synapses`; ``w`` is the weight.
    source_shape : (int, int, int), optional
        Channels, height and width of the source (of one image, if there is a batch); needed for
        pooling only.
    **options
        See `SharedConnections`: batch, pool, model, delay, on_event, deterministic, dtype,
        namespace, when, order.

    Attributes
    ----------
    w : brian2 variable
        The weights as they are kept, one-dimensional: those of a source side by side. `matrix`
        gives and takes them in PyTorch's order.

    Examples
    --------
    >>> dense = Dense(lif1, lif2, weights*nS, on_pre="g_post += w")  # doctest: +SKIP
    """

    template = "dense"

    def __init__(
        self,
        source,
        target,
        w,
        on_pre,
        *,
        source_shape: Shape | None = None,
        name: str = "dense*",
        **options,
    ):
        if np.ndim(w) != 2:
            raise ValueError(
                f"The weights have shape {np.shape(w)}; (targets, sources) is expected."
            )
        self._matrix_shape = np.shape(w)
        super().__init__(
            source,
            target,
            Quantity(_to_memory(w), dim=get_dimensions(w)),
            on_pre,
            source_shape=source_shape,
            name=name,
            **options,
        )
        outputs, inputs = self._matrix_shape
        self._check_sizes(inputs, outputs)

    def __repr__(self) -> str:
        outputs, inputs = (images(self.batch, size) for size in self._matrix_shape)
        return (
            f"<{type(self).__name__} {self.name!r} from {self.source.name!r} ({inputs}) to "
            f"{self.target.name!r} ({outputs}), on_pre {self.on_pre!r}>"
        )

    @property
    def matrix(self) -> np.ndarray | Quantity:
        """The weights in PyTorch's order, ``(targets, sources)``; assign to change them."""
        outputs, inputs = self._matrix_shape
        values = self.variables["w"].get_value().reshape(inputs, outputs).T
        return Quantity(values, dim=self.variables["w"].dim)

    @matrix.setter
    def matrix(self, value):
        self.w = self.in_memory_order(value)

    def in_memory_order(self, matrix) -> np.ndarray | Quantity:
        """Return weights, given in PyTorch's order, as ``w`` holds them.

        For ``device.run(run_args={dense.w: dense.in_memory_order(matrix)})``.
        """
        if np.shape(matrix) != self._matrix_shape:
            raise ValueError(
                f"{self.name}: the weights have shape {np.shape(matrix)}; {self._matrix_shape} is "
                "expected."
            )
        return Quantity(_to_memory(matrix), dim=get_dimensions(matrix))

    def _geometry(self) -> dict[str, int]:
        outputs, inputs = self._matrix_shape
        return {"inputs": inputs, "outputs": outputs, "taps": outputs}

    def _reached(self, position: int) -> tuple[np.ndarray, np.ndarray]:
        outputs = self._matrix_shape[0]
        post = np.arange(outputs)
        return position * outputs + post, post


def _to_memory(matrix) -> np.ndarray:
    return np.ascontiguousarray(np.asarray(matrix).T).ravel()
