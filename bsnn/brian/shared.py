"""Connections that are computed from their geometry and never stored.

What `Convolution` and `Dense` have in common: everything but which targets a spike reaches.
"""

from __future__ import annotations

import contextlib
import weakref
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import brian2 as b2
import numpy as np
from brian2.core.functions import Function
from brian2.core.variables import ArrayVariable, Subexpression, Variable, Variables
from brian2.equations.equations import PARAMETER, SUBEXPRESSION, Equations
from brian2.groups.group import Group
from brian2.units.fundamentalunits import (
    fail_for_dimension_mismatch,
    get_dimensions,
)
from brian2.utils.stringtools import get_identifiers, word_substitute

from bsnn.brian.batch import check_countable, checked_batch, images
from bsnn.brian.pooling import AveragePooling, MaxPooling, Windows
from bsnn.brian.statements import statements
from bsnn.brian.targets import TemplateRunner, runs_in_parallel
from bsnn.errors import BuildError

__all__ = ["SharedConnections"]

Shape = tuple[int, int, int]

#: Statements that may be executed in any order among those of their kind.
_COMMUTING = {"+=": "sum", "-=": "sum", "*=": "product"}

#: Types for which Brian2CUDA has atomic operations.
_ATOMIC_TYPES = (np.int32, np.float32, np.float64)


class SharedConnections(Group):
    """Base of connections that are computed from their geometry and never stored.

    Use `Convolution` or `Dense`. They behave as `brian2.Synapses` of one pathway does, as far as
    what they offer reaches: same slot and order, same names in `on_pre`, same spikes.

    Parameters
    ----------
    source, target : brian2.NeuronGroup or other group, or brian2.Subgroup
        Where spikes come from, and whose variables they change.
    weights : array or brian2.Quantity
        In the order in which they are kept, one-dimensional.
    on_pre : str
        What a spike does to each target that it reaches: statements as for `brian2.Synapses`. They
        may use ``w``, variables of the target (``v`` or ``v_post``) and of the source (``v_pre``),
        ``i``, ``j``, ``t``, what `model` defines, functions, and names of the namespace. They may
        write variables of the target.
    source_shape : (int, int, int) or None
        Channels, height and width of the source (of one image, if there is a batch).
    batch : int
        Images side by side: source and target hold that many, one after another, and share the
        weights. A spike reaches neurons of its own image.
    pool : MaxPooling, AveragePooling or Windows, optional
        Pooling of the source's spikes before they are passed on.
    model : str or brian2.Equations
        Parameters and subexpressions that all connections share, each flagged ``(shared)``.
    delay : brian2.Quantity, optional
        Time from a spike to its effect, a whole number of steps; none by default.
    on_event : str
        Event of the source that is passed on.
    deterministic : bool
        On CUDA: add what the spikes of a step do to a target in the order of the source's neurons,
        as the other targets always do (after average pooling: of its windows). By default the
        threads of all spikes add at once, by atomic operations, in an order that may differ from
        run to run, and with it the rounding of floats. Costs a look at each possible source of each
        target in every step that has a spike at all, instead of work for the spikes alone.
        Statements that are more than sums (``+=``, ``-=``) or products (``*=``) of what on_pre does
        not change are always run in this way.
    dtype : dtype, optional
        Of the weights; by default Brian2's preference ``core.default_float_dtype``.
    namespace : dict, optional
        Names in `on_pre` that are no variables; by default looked up where the run is started.
    when, order : str, int
        Scheduling slot and order in it; by default those of a pathway of `brian2.Synapses`.
    name : str
        Unique name.
    on_post : None
        Not offered.
    """

    add_to_magic_network = True

    #: Name of the template, in the folder ``templates``.
    template: ClassVar[str]

    def __init__(
        self,
        source,
        target,
        weights,
        on_pre,
        *,
        source_shape=None,
        batch=1,
        pool=None,
        model="",
        delay=None,
        on_event="spike",
        deterministic=False,
        dtype=None,
        namespace=None,
        when="synapses",
        order=-1,
        name,
        on_post=None,
    ):
        Group.__init__(
            self, clock=source.clock, when=when, order=order, namespace=namespace, name=name
        )
        if on_post is not None:
            raise self._not_offered("statements for postsynaptic spikes (on_post)")
        self.codeobj_class = None
        self.source, self.target = source, target
        self.events = {}
        self.on_event = on_event
        self.deterministic = bool(deterministic)
        self.source_shape: Any = None if source_shape is None else tuple(map(int, source_shape))
        self.batch = checked_batch(self.name, batch)
        self._delay = self._checked_delay(delay)
        self._delay_steps = None
        #: What is pooled, if anything is.
        self.windows: Any = self._checked_windows(pool)
        self._check_source()
        eventspace = f"_{on_event}space"
        if eventspace not in source.variables:
            raise ValueError(
                f"{self.name}: the source {source.name!r} has no event {on_event!r}. Give it a "
                "threshold, or name one of its events with on_event."
            )

        self.variables = Variables(self)
        self.variables.create_clock_variables(self._clock)
        dimensions = get_dimensions(weights)
        values = np.ravel(np.asarray(weights))
        self.variables.add_constant("N", value=len(values))
        self.variables.add_constant("N_pre", value=self._source_size)
        self.variables.add_constant("N_post", value=self._target_size)
        self.variables.add_array(
            "w", size=len(values), dimensions=dimensions, dtype=dtype, constant=True
        )
        for index in ("_presynaptic_idx", "_postsynaptic_idx"):
            self.variables.add_auxiliary_variable(index, dtype=np.int32)
            # the targets of a spike differ from one another, and so do those of a pooling window
            # (those of all spikes do not: see _share_among_threads)
            self.variables[index].unique = True
        self.variables.add_auxiliary_variable("_pool_share", dtype=self.variables["w"].dtype)
        self.variables.add_reference("_eventspace", source, eventspace)
        self._add_number("i", source, "_presynaptic_idx")
        self._add_number("j", target, "_postsynaptic_idx")
        self._add_shared_equations(model)
        self._add_references()
        self.on_pre = on_pre
        self._check_on_pre()
        if self.windows is not None:
            self._add_pooling()
        itself = weakref.proxy(self)
        self.variables.add_object("_arrivals", lambda spikes: itself._arrivals(spikes))
        # as groups have them: Brian2 asks for the extent of w when it is set from a file
        self.start, self.stop = 0, len(values)
        #: Passes spikes on; its ``when`` and ``order`` say at which point of a step.
        self.pre = _SpikePropagation(self, when=when, order=order)
        self.contained_objects.append(self.pre)
        self._enable_group_attributes()
        self.variables["w"].set_value(values.astype(self.variables["w"].dtype, copy=False))

    # ---------------------------------------------------------------- what a subclass says

    @abstractmethod
    def _geometry(self) -> dict[str, int]:
        """Numbers that the template needs, beside those of the source and the pooling."""

    @abstractmethod
    def _reached(self, position: int) -> tuple[np.ndarray, np.ndarray]:
        """Weights (indices into ``w``) and targets of a position of the (pooled) source.

        Positions and targets are those of one image.
        """

    # ---------------------------------------------------------------- what a user sees

    @property
    def delay(self) -> Any:
        """Time from a spike to its effect."""
        return self._delay * b2.second

    def connections(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return all connections as `brian2.Synapses` would store them.

        Returns
        -------
        i, j : numpy.ndarray
            Source and target neuron of each connection, int32, sorted by source. With a maximum
            over overlapping windows one pair may occur more than once.
        k : numpy.ndarray
            Index into ``w`` of its weight; an average pooling's share is not part of it.

        Examples
        --------
        >>> i, j, k = conv.connections()                        # doctest: +SKIP
        >>> synapses = Synapses(source, target, "w : 1", on_pre="v_post += w")  # doctest: +SKIP
        >>> synapses.connect(i=i, j=j)                          # doctest: +SKIP
        >>> synapses.w = conv.w[:][k]                           # doctest: +SKIP
        """
        parts = []
        for pre in range(self._source_size):
            for position, _ in self._positions(pre):
                index, post = self._reached_in_batch(position)
                parts.append((np.full(len(index), pre), post, index))
        if not parts:
            parts = [(np.zeros(0), np.zeros(0), np.zeros(0))]
        i, j, k = (np.concatenate(column).astype(np.int32) for column in zip(*parts, strict=True))
        return i, j, k

    @property
    def i(self) -> np.ndarray:
        """Source neuron of each connection, as `brian2.Synapses` have it; computed each time."""
        return self.connections()[0]

    @property
    def j(self) -> np.ndarray:
        """Target neuron of each connection, as `brian2.Synapses` have it; computed each time."""
        return self.connections()[1]

    # ---------------------------------------------------------------- checks

    def _not_offered(self, what: str) -> NotImplementedError:
        return NotImplementedError(
            f"{self.name}: {type(self).__name__} does not offer {what}. Use brian2.Synapses (in "
            "bsnn.build: connectivity='synapses'), which store each connection; .connections() "
            "gives their indices."
        )

    def _checked_delay(self, delay) -> float:
        if delay is None:
            return 0.0
        fail_for_dimension_mismatch(
            delay,
            b2.second,
            "Delay has to be specified in units of seconds but got {value}",
            value=delay,
        )
        if np.size(delay) != 1:
            raise self._not_offered("different delays for different connections")
        seconds = float(np.asarray(delay).item())
        if seconds < 0:
            raise ValueError(f"{self.name}: the delay is negative ({delay}).")
        return seconds

    def _checked_windows(self, pool) -> Windows | None:
        if pool is None:
            return None
        if not isinstance(pool, (MaxPooling, AveragePooling, Windows)):
            raise TypeError(
                f"{self.name}: pool is {pool!r}; MaxPooling, AveragePooling or Windows is expected."
            )
        if self.source_shape is None:
            raise ValueError(f"{self.name}: pooling needs source_shape=(channels, height, width).")
        return pool.over(*self.source_shape[1:])

    def _check_source(self) -> None:
        """Compare the source with its shape, before arrays are made for each image of it."""
        if self.source_shape is not None:
            size = self.batch * int(np.prod(self.source_shape))
            if size != self._source_size:
                takes = (
                    f"source_shape={self.source_shape} takes"
                    if self.batch == 1
                    else f"{images(self.batch, self.source_shape)} take"
                )
                raise ValueError(
                    f"{self.name}: the source {self.source.name!r} has {self._source_size} "
                    f"neurons; {takes} {size}."
                )
        # lists of spikes end with their number
        check_countable(self.name, f"the spikes of {self.source.name!r}", self.source.stop + 1)
        check_countable(self.name, f"the target {self.target.name!r}", self.target.stop)
        pooled = self.batch * self._positions_of_image
        check_countable(self.name, "the spikes of the pooled source", pooled + 1)

    def _check_sizes(self, inputs: int, outputs: int | Shape) -> None:
        """Compare the groups with what the weights expect, the pooling included."""
        pooled = self._source_size
        if self.windows is not None:
            pooled = self.batch * self._positions_of_image
        if pooled != self.batch * inputs:
            raise ValueError(
                f"{self.name}: the weights take {images(self.batch, inputs)} inputs, but the source"
                f"{' after its pooling' if self.windows else ''} has {pooled}."
            )
        reached = self.batch * int(np.prod(outputs))
        if reached != self._target_size:
            which = f"{images(self.batch, outputs)}, which are " if self.batch > 1 else ""
            raise ValueError(
                f"{self.name}: the target {self.target.name!r} has {self._target_size} neurons; "
                f"the connections reach {which}{reached}."
            )

    def _check_on_pre(self) -> None:
        if not isinstance(self.on_pre, str):
            raise TypeError(f"{self.name}: on_pre is {self.on_pre!r}; statements are expected.")
        for written, *rest in statements(self.on_pre):
            line = " ".join((written, *rest))
            if written == "w":
                raise self._not_offered(f"plasticity: on_pre writes w ({line!r})")
            if written in self._own_names:
                raise self._not_offered(
                    f"state that a spike changes: on_pre writes {written!r} ({line!r})"
                )
            if self.variables.indices.get(written) == "_presynaptic_idx":
                raise self._not_offered(
                    f"changes of the source: on_pre writes {written!r} ({line!r})"
                )
        if self.windows is not None and self.windows.share is None:
            for name in get_identifiers(self.on_pre):
                if self.variables.indices.get(name) == "_presynaptic_idx":
                    raise ValueError(
                        f"{self.name}: on_pre uses {name!r} of the source, but after max-pooling "
                        "a spike stands for a window, not for one neuron."
                    )

    # ---------------------------------------------------------------- variables

    @property
    def _source_size(self) -> int:
        return self.source.stop - self.source.start

    @property
    def _target_size(self) -> int:
        return self.target.stop - self.target.start

    @property
    def _positions_of_image(self) -> int:
        """Neurons of an image of the source, or its windows of all channels."""
        if self.windows is None:
            return self._source_size // self.batch
        return int(np.prod(self.pooled_shape))

    @property
    def pooled_shape(self) -> Shape:
        """Channels, height and width of the source (of one image) after its pooling."""
        channels, height, width = self.source_shape
        return (channels, *((height, width) if self.windows is None else self.windows.shape))

    def _add_shared_equations(self, model) -> None:
        equations = model if isinstance(model, Equations) else Equations(model)
        self._own_names = set(equations.names)
        for equation in equations.values():
            if equation.type not in (PARAMETER, SUBEXPRESSION) or "shared" not in equation.flags:
                raise self._not_offered(
                    f"state of each connection: {equation.varname!r} in the model is not a "
                    "parameter or subexpression flagged (shared)"
                )
            if equation.type == PARAMETER:
                self.variables.add_array(
                    equation.varname,
                    size=1,
                    dimensions=equation.dim,
                    scalar=True,
                    constant="constant" in equation.flags,
                    index="0",
                )
            else:
                self.variables.add_subexpression(
                    equation.varname, dimensions=equation.dim, expr=str(equation.expr), scalar=True
                )
        self.equations = equations

    def _add_references(self) -> None:
        """Add variables of both groups, named as in `brian2.Synapses`."""
        for group, suffix, index in (
            (self.source, "_pre", "_presynaptic_idx"),
            (self.target, "_post", "_postsynaptic_idx"),
        ):
            for name in group.variables:
                if name.startswith("_"):
                    continue
                if name == "i":
                    self._add_number(name + suffix, group, index)
                    continue
                own = "0" if group.variables[name].scalar else index
                names = [name + suffix]
                if suffix == "_post" and not name.endswith(("_pre", "_post")):
                    names.append(name)
                for known_as in names:
                    # variables that are not one a neuron (the spikes of a SpikeGeneratorGroup)
                    # cannot be meant
                    with contextlib.suppress(TypeError):
                        self.variables.add_reference(known_as, group, name, index=own)

    def _add_number(self, name: str, group, index: str) -> None:
        """Add the number of a neuron in its group, which for a subgroup may begin later."""
        if group.start == 0:
            self.variables.add_reference(name, group, "i", index=index)
            return
        self.variables.add_reference(f"_whole_{name}", group.source, "i", index=index)
        self.variables.add_subexpression(
            name, dtype=np.int32, expr=f"_whole_{name} - {group.start}", index=index
        )

    def _add_pooling(self) -> None:
        # which windows each place lies in: for the templates, and for numpy's loop over spikes
        self._containing = first, window = self.windows.containing(*self.source_shape[1:])
        tables = {"_first_window": first, "_windows": window}
        if self.windows.share is not None:
            tables["_window_share"] = self.windows.share.ravel()
        for name, values in tables.items():
            dtype = self.variables["w"].dtype if name == "_window_share" else np.int32
            self.variables.add_array(
                name, size=len(values), values=values, dtype=dtype, constant=True, read_only=True
            )
        if self.windows.share is None:
            # the step in which each window last passed a spike, and those that do in this step
            # (where threads list them, their number stands last)
            size = self.batch * self._positions_of_image
            self.variables.add_array("_window_passed", size=size, dtype=np.int32)
            self.variables.add_array("_window_spikes", size=size + 1, dtype=np.int32)
            self.variables["_window_passed"].set_value(-1)

    def _prepare_delay(self) -> None:
        """Make the ring in which spikes wait; the step is known when a run begins."""
        dt = self.source.clock.dt_
        steps = round(self._delay / dt)
        if abs(steps * dt - self._delay) > 1e-6 * dt:
            raise ValueError(
                f"{self.name}: the delay of {self.delay} is not a whole number of steps of "
                f"{dt * b2.second}."
            )
        if steps == self._delay_steps:
            return
        if self._delay_steps is not None:
            raise NotImplementedError(
                f"{self.name}: the step of the simulation has changed; spikes of steps of another "
                "length may still wait for their delay. Make a new object for the new step."
            )
        # a row a step: the spikes, and last their number
        size = (steps + 1) * (self._source_size + 1)
        check_countable(self.name, "the spikes that wait for their delay", size)
        self._delay_steps = steps
        if steps:
            self.variables.add_array("_waiting_spikes", size=size, dtype=np.int32)
            self.variables.add_array("_waiting_row", size=1, dtype=np.int32, scalar=True)

    def _share_among_threads(self) -> None:
        """Decide what a thread does: its part of each spike, or all spikes of its target."""
        parallel = runs_in_parallel()
        self._gathers = parallel and (self.deterministic or not self._in_any_order())
        # several spikes at once may reach a target: Brian2CUDA then writes atomic operations
        self.variables["_postsynaptic_idx"].unique = self._gathers or not parallel
        if not self._gathers:
            return
        self._refuse_race()
        averaged = self.windows is not None and self.windows.share is not None
        if (self.windows is None or averaged) and "_step_of_spike" not in self.variables:
            # one more than the step in which each neuron last spiked
            self.variables.add_array("_step_of_spike", size=self._source_size, dtype=np.int32)
        if averaged and "_row_elements" not in self.variables:
            windows: Any = self.windows
            for name, table in (
                ("_row_elements", windows.rows),
                ("_column_elements", windows.columns),
            ):
                self.variables.add_array(
                    name, size=table.size, values=table.ravel().astype(np.int32), dtype=np.int32,
                    constant=True, read_only=True,
                )  # fmt: skip

    def _in_any_order(self) -> bool:
        """Say whether on_pre has the same effect in whichever order spikes are passed on."""
        changed, read = {}, set()
        for name, operation, expression in statements(self.on_pre):
            read |= _variables_in(expression, self.variables)
            if name not in self.variables:
                continue
            variable = self.variables[name]
            if operation not in _COMMUTING or variable.dtype not in _ATOMIC_TYPES:
                return False
            if changed.setdefault(variable, _COMMUTING[operation]) != _COMMUTING[operation]:
                return False
        return not read & changed.keys()

    def _refuse_race(self) -> None:
        """Refuse to read of the source what threads for other targets may be changing."""
        if self.source.start >= self.target.stop or self.target.start >= self.source.stop:
            return
        changed = {
            self.variables[name] for name, _, _ in statements(self.on_pre) if name in self.variables
        }
        for name in get_identifiers(self.on_pre):
            if (
                self.variables.indices.get(name) == "_presynaptic_idx"
                and _variables_in(name, self.variables) & changed
            ):
                raise BuildError(
                    f"{self.name}: on_pre reads {name!r} of the source and changes it, as the "
                    "source is the target too. In CUDA the neurons run side by side, so that what "
                    "is read depends on chance. Copy it into another variable before, or simulate "
                    "on another device."
                )

    def _restore_from_full_state(self, state):
        # what was stored before the first run has no waiting spikes yet
        if self._delay_steps:
            for name in ("_waiting_spikes", "_waiting_row"):
                self.variables[name].set_value(0)
        super()._restore_from_full_state(state)

    # ---------------------------------------------------------------- the numpy target

    def _positions(self, pre: int) -> Iterator[tuple[int, float]]:
        """Positions of the (pooled) source that a neuron takes part in, and its share in each."""
        if self.windows is None:
            yield pre, 1.0
            return
        channels, share = self.source_shape[0], self.windows.share
        first, windows = self._containing
        image, within = divmod(pre, int(np.prod(self.source_shape)))
        place, channel = divmod(within, channels)
        begin = image * self._positions_of_image + channel
        for window in windows[first[place] : first[place + 1]]:
            yield begin + int(window) * channels, 1.0 if share is None else share.flat[window]

    def _reached_in_batch(self, position: int) -> tuple[np.ndarray, np.ndarray]:
        image, within = divmod(position, self._positions_of_image)
        index, post = self._reached(within)
        return index, post + image * (self._target_size // self.batch)

    def _arrivals(self, spikes: np.ndarray) -> Iterator[tuple]:
        """For each spike that arrives: weights, targets (in their group), sources, share."""
        start = self.target.start
        if self.windows is not None and self.windows.share is None:
            positions = {p for pre in spikes for p, _ in self._positions(int(pre))}
            found = [(0, position, 1.0) for position in sorted(positions)]
        else:
            found = [(int(pre), *where) for pre in spikes for where in self._positions(int(pre))]
        for pre, position, share in found:
            index, post = self._reached_in_batch(position)
            if len(index):
                post += start
                yield index, post, np.full(len(index), pre + self.source.start), share


class _SpikePropagation(TemplateRunner):
    """Runs `on_pre` for every target of every spike that arrives in a step."""

    def __init__(self, connections: SharedConnections, when: str, order: int) -> None:
        super().__init__(
            connections,
            connections.template,
            clock=connections.clock,
            when=when,
            order=order,
            name=f"{connections.name}_pre",
        )

    def before_run(self, run_namespace):
        self.group._prepare_delay()
        self.group._share_among_threads()
        super().before_run(run_namespace)
        if runs_in_parallel():
            self._refuse_random_numbers()

    def _refuse_random_numbers(self) -> None:
        code: Any = self.codeobj
        for name, function in code.variables.items():
            if isinstance(function, Function) and not function.stateless:
                raise BuildError(
                    f"{self.group.name}: on_pre uses {name!r}. Brian2CUDA draws random numbers "
                    "before a step, a number for each neuron; how many this step's spikes need is "
                    "not known then. Draw them in the target's equations, or simulate on another "
                    "device."
                )

    def update_abstract_code(self, run_namespace):
        connections = self.group
        pooled = connections.windows is not None
        averaged = pooled and connections.windows.share is not None
        self.user_code = connections.on_pre
        self.abstract_code = (
            word_substitute(connections.on_pre, {"w": "(w*_pool_share)"})
            if averaged
            else connections.on_pre
        )
        source = connections.source
        geometry = {
            "source_start": source.start,
            "source_size": connections._source_size,
            "eventspace_size": connections.variables["_eventspace"].size,
            "target_start": connections.target.start,
            "delay_steps": connections._delay_steps,
            "pooling": "average" if averaged else "max" if pooled else "none",
            "weight_type": connections.variables["w"].dtype,
            "gathers": connections._gathers,
            "targets": connections._target_size,
            "batch": connections.batch,
            # neurons of one image; its positions are what weights are connected to
            "image_size": connections._source_size // connections.batch,
            "image_positions": connections._positions_of_image,
            "image_targets": connections._target_size // connections.batch,
            **connections._geometry(),
        }
        geometry["spike_threads"] = _threads_for(geometry["taps"])
        self.needed_variables = [
            name
            for name, variable in connections.variables.items()
            if isinstance(variable, ArrayVariable)
            and name.startswith(("_window", "_waiting_", "_first_", "_row_", "_column_", "_step_"))
        ]
        if pooled:
            geometry |= {
                "pooled_channels": connections.source_shape[0],
                "pooled_from_width": connections.source_shape[2],
                "pooled_width": connections.windows.shape[1],
                "windows": connections.batch * connections._positions_of_image,
                # elements of a window, and the most windows that an element lies in
                "row_elements": connections.windows.rows.shape[1],
                "column_elements": connections.windows.columns.shape[1],
                "most_windows": connections.windows.most_common(),
            }
        # under one name, which no variable can have
        self.template_kwds = {"_g": geometry}


def _threads_for(taps: int) -> int:
    """Return how many threads of a block of 256 take a spike, so that few of them have no tap.

    No fewer than 32 if there are so many taps: threads of a warp then work side by side.
    """
    numbers = [2**power for power in range(3, 9) if 2**power >= min(32, taps)]
    return max(numbers, key=lambda number: (taps / (-(-taps // number) * number), number))


def _variables_in(expression: str, variables: Mapping[str, Variable]) -> set[Variable]:
    """Return the variables that an expression reads, through subexpressions too."""
    found = set()
    for name in get_identifiers(expression):
        variable = variables.get(name)
        if isinstance(variable, Subexpression):
            owner: Any = variable.owner
            found |= _variables_in(variable.expr, owner.variables)
        elif variable is not None:
            found.add(variable)
    return found
