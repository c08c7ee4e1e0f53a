"""Max-pooling of spikes: a group whose neurons each pass on the spikes of one neuron of a window.

It is the neuron whose key is the largest: its membrane potential, its number of spikes, or, where
the first spike counts, how early it spikes (`FIRST_SPIKE`). The group acts in the step of the
spikes, and costs what these do. Neurons are numbered channel last (row, column, channel).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from brian2.core.variables import Variables

from bsnn.brian.batch import check_countable, checked_batch, images
from bsnn.brian.own_spikes import OwnSpikes
from bsnn.brian.pooling import Windows
from bsnn.brian.targets import TemplateRunner

__all__ = ["FIRST_SPIKE", "GatedPool"]

#: The key of the neuron that spikes first in a time window, if ``spike_step`` is the step in which
#: it does, and one after the window for a neuron that does not.
FIRST_SPIKE = "-spike_step"


class GatedPool(OwnSpikes):
    """Max-pooling by a gate: of each window the spikes of the neuron with the largest key pass.

    In each step the key of all neurons of a window is compared, and if the one with the largest
    spikes, the window does. Of equal keys the first counts, row by row. There are no weights, no
    delay and no state of the pool's own: what the key may depend on stands in the variables of the
    source, as they are when the pool is run. Where neurons spike once in a time window, and
    ``spike_step`` is the step in which they do or did, the key `FIRST_SPIKE` passes the first spike
    of the window.

    Parameters
    ----------
    source : brian2.NeuronGroup
        The neurons that are pooled, ``channels`` maps of ``height x width``.
    source_shape : (int, int, int)
        Channels, height and width of the source (of one image, if there is a batch).
    windows : Windows, MaxPooling
        Which rows and columns each neuron pools.
    key : str
        An expression over variables of the source, such as ``"v"``, with one dimensionless value a
        neuron.
    batch : int
        Images side by side: the source holds that many, one after another, and so does the pool.
    model : str
        Equations of the pool's own neurons.
    order : int
        Order in the slot ``thresholds``; must be above the source's, and of what changes the key.
    **options
        As for `brian2.NeuronGroup`.

    Examples
    --------
    >>> pool = GatedPool(neurons, (12, 24, 24), MaxPooling(2), key="v + v_removed",
    ...                  order=1)  # doctest: +SKIP
    """

    def __init__(
        self, source, source_shape, windows, *, key, batch=1, model: Any = "", order, **options
    ):
        channels, height, width = source_shape
        windows = windows.over(height, width)
        rows, columns = windows.shape
        owner = f"The {type(self).__name__} of {source.name!r}"
        self.batch = checked_batch(owner, batch)
        if len(source) != self.batch * channels * height * width:
            raise ValueError(
                f"The source {source.name!r} has {len(source)} neurons, not "
                f"{images(self.batch, source_shape)}."
            )
        size = self.batch * rows * columns * channels
        # a list of spikes ends with their number
        check_countable(owner, "the list of its spikes", size + 1)
        super().__init__(size, model, order=order, **options)
        # which windows each place of the map lies in
        self._first, self._containing = windows.containing(height, width)
        self._fan_out = windows.fan_out(channels, height, width)
        self.find_spikes_by(_Gate(self, source, source_shape[0], source_shape[2], windows, key))

    def _images(self) -> dict[str, int]:
        """Say how many images there are, and how many neurons each has in source and pool."""
        return {
            "batch": self.batch,
            "image_size": len(self._fan_out),
            "image_windows": len(self) // self.batch,
        }

    def fan_out(self) -> np.ndarray:
        """Return the number of windows that each neuron of an image takes part in."""
        return self._fan_out


class _Gate(TemplateRunner):
    """Compares the keys of the source's neurons, and writes the spikes of a pool."""

    def __init__(self, pool, source, channels: int, width: int, windows: Windows, key: str) -> None:
        code = f"_key = {key}"
        geometry = {
            "pooled_channels": channels,
            "pooled_from_width": width,
            "pooled_width": windows.shape[1],
            "pool_size": len(pool),
            "source_size": len(source),
            # elements of a window
            "row_elements": windows.rows.shape[1],
            "column_elements": windows.columns.shape[1],
            **pool._images(),
        }
        super().__init__(
            source,
            "gated_pool",
            code=code,
            user_code=code,
            clock=source.clock,
            when="thresholds",
            order=pool.order,
            name=f"{pool.name}_gate",
            template_kwds={"_g": geometry},
        )
        # beside those of the source, in which the key is read
        self.variables = Variables(self)
        self.variables.add_auxiliary_variable("_key", dtype=float)
        self.variables.add_reference("_pool_spikespace", pool, "_spikespace")
        _add_tables(
            self.variables,
            {
                "_first_window": pool._first,
                "_windows": pool._containing,
                "_row_elements": windows.rows,
                "_column_elements": windows.columns,
            },
        )
        # a bit for each window that spikes of the step have reached, a byte for each neuron
        self.variables.add_array("_reached", size=-(-len(pool) // 64), dtype=np.int64)
        self.variables.add_array("_spiking", size=len(source), dtype=bool)


def _add_tables(variables: Variables, tables: dict[str, np.ndarray]) -> None:
    for name, values in tables.items():
        variables.add_array(
            name, size=values.size, values=values.ravel().astype(np.int32), dtype=np.int32,
            constant=True, read_only=True,
        )  # fmt: skip
