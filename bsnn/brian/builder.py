"""Building Brian2 objects from a spiking model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import brian2 as b2
import numpy as np

from bsnn.brian.connectivity import pool_connections, projection
from bsnn.brian.network import SpikingNetwork
from bsnn.brian.neurons import (
    MAX_POOL,
    NEURON_FORMS,
    POOL_MODEL,
    READ_OUT_EVENT,
    PopulationEquations,
)
from bsnn.brian.pooling import Windows
from bsnn.brian.shared_projection import shared_projection
from bsnn.brian.size import CONNECTIVITIES, check_memory
from bsnn.brian.spiking_groups import CalendarGroup, FirstSpikePool
from bsnn.conversion import Population, Projection, SpikingModel
from bsnn.errors import BuildError

__all__ = ["build", "check_options"]

#: Slot in which populations prepare a new window: after the state update, before thresholds.
_BOUNDARY = "after_groups"

_PRECISIONS = {"float64": np.float64, "float32": np.float32}


def build(
    model: SpikingModel,
    *,
    images: int = 1,
    form: str = "calendar",
    connectivity: str = "shared",
    precision: str = "float64",
    one_at_a_time: bool = False,
    dt: b2.Quantity = 1 * b2.ms,
    monitors: Mapping[str, str | Iterable[str]] | None = None,
) -> SpikingNetwork:
    """Build a spiking model as Brian2 objects on the device that is active.

    Parameters
    ----------
    model : SpikingModel
        What to build.
    images : int
        Images that one run presents.
    form : str
        ``"calendar"`` (plans its spikes once a window: the fast one), ``"event"`` (the same by
        Brian2's own threshold) or ``"trace"`` (the paper's differential equation, whose membrane
        potential is worth looking at); all emit the same spikes. See `bsnn.brian.neurons`.
    connectivity : str
        ``"shared"`` (`Convolution` and `Dense`: weights are stored once, connections never) or
        ``"synapses"`` (`brian2.Synapses`, with a row for each connection that you can inspect,
        delay and make plastic); both give the same spikes.
    precision : str
        ``"float64"`` or ``"float32"``, for neurons and shared weights; explicit synapses keep
        float64 weights.
    one_at_a_time : bool
        Present an image only when the last one has left the network. By default images follow one
        another as closely as the form allows: one each window (``event``) or every second window
        (``trace``).
    dt : brian2.Quantity
        Duration of a step; a window lasts ``model.steps`` of them.
    monitors : mapping, optional
        By population, one or more of ``"count"``, ``"spikes"`` and names of variables.

    Returns
    -------
    SpikingNetwork
        Its ``.network`` is a `brian2.Network`. Present images with ``.present(images)`` and run it
        for ``.duration``.

    Raises
    ------
    BuildError
        An argument is out of range, or the synapses would not fit the memory.
    brian2.DimensionMismatchError
        `dt` is not a time.

    Examples
    --------
    >>> net = bsnn.build(model, monitors={"conv1": "spikes"})  # doctest: +SKIP
    >>> net.present(images[:1])                                # doctest: +SKIP
    >>> net.network.run(net.duration)                          # doctest: +SKIP
    >>> net.monitors["conv1"]["spikes"].t                      # doctest: +SKIP
    """
    b2.units.fundamentalunits.fail_for_dimension_mismatch(
        dt, b2.second, error_message="dt must be a time, such as 1*ms"
    )
    check_options(form, connectivity, precision)
    if images < 1:
        raise BuildError(f"images is {images}; a run presents at least one image.")
    check_memory(model, connectivity, precision)
    neuron_form = NEURON_FORMS[form]
    interval = neuron_form.shortest_interval
    if one_at_a_time:
        interval = max(interval, model.output.depth + 1)
    clock = b2.Clock(dt=dt, name="window_clock")
    net = SpikingNetwork(model, neuron_form, clock, images, interval, connectivity, precision)
    orders: dict[str, int] = {}
    for name, population in model.populations.items():
        source = population.projections[0].source if population.projections else name
        # a pooling decides after its source has spiked and the spikes have arrived, in one step
        orders[name] = orders[source] + 2 if population.role == "max_pool" else 0
        _add_group(net, population, orders[name])
        if isinstance(net[name], FirstSpikePool):
            _count_fan_out(net, source, net[name].fan_out())
        else:
            for path in population.projections:
                _add_connections(net, population, path, orders[name])
        if population.role == "read_out":
            _add_read_out(net, population)
    for name, wanted in (monitors or {}).items():
        for what in (wanted,) if isinstance(wanted, str) else wanted:
            net.monitor(name, what)
    return net


def check_options(form: str, connectivity: str, precision: str) -> None:
    """Refuse names that `build` does not know.

    Raises
    ------
    BuildError
        There is no such form, connectivity or precision.
    """
    for what, name, known in (
        ("neuron form", form, NEURON_FORMS),
        ("connectivity", connectivity, CONNECTIVITIES),
        ("precision", precision, _PRECISIONS),
    ):
        if name not in known:
            raise BuildError(f"There is no {what} {name!r}. Known are {', '.join(known)}.")


def _add_group(net: SpikingNetwork, population: Population, order: int) -> None:
    model, name = net.model, population.name
    group = _make_group(net, population, order)
    net.groups[name] = group
    net.network.add(group)
    group.window_steps = model.steps
    group.first_window = population.depth
    group.image_interval = net.interval
    group.image_count = net.capacity
    if population.role in ("neurons", "read_out"):
        group.u_th = model.scales[name]
        if "t_max" in group.variables:
            group.t_max = model.steps * net.clock.dt
        if "share_of_step" in group.variables:
            group.share_of_step = 1 / model.steps
        rest = model.rest_potential(name)
        net.initial_values({"u_rest": rest, "u": rest}, name)


def _make_group(net: SpikingNetwork, population: Population, order: int) -> b2.NeuronGroup:
    model, name = net.model, population.name
    options = {"clock": net.clock, "name": name, "dtype": _PRECISIONS[net.precision]}
    if population.role == "max_pool" and net.connectivity == "shared":
        source = population.projections[0].source
        source_shape = model.populations[source].shape
        windows = Windows(*model.graph[population.layer].taps(*source_shape[1:]))
        return FirstSpikePool(
            net[source],
            source_shape,
            windows,
            window_steps=model.steps,
            model=POOL_MODEL,
            order=order,
            **options,
        )
    equations = _equations(net, population)
    options |= {
        "events": {"read_out": READ_OUT_EVENT} if population.role == "read_out" else {},
        "namespace": {"pixel_levels": net.pixel_levels} if population.role == "input" else {},
        "method": "euler",
    }
    if equations.at_start_of_window:
        return CalendarGroup(
            population.size,
            equations.model,
            equations.at_start_of_window,
            window_steps=model.steps,
            **options,
        )
    spikes = bool(equations.threshold)
    group = b2.NeuronGroup(
        population.size,
        equations.model,
        threshold=equations.threshold if spikes else None,
        reset=equations.reset if spikes else None,
        **options,
    )
    if spikes:
        group.thresholder["spike"].order = order
    if equations.every_step:
        group.run_regularly(
            equations.every_step, when=_BOUNDARY, name=f"{name}_window_start", clock=net.clock
        )
    return group


def _equations(net: SpikingNetwork, population: Population) -> PopulationEquations:
    if population.role == "read_out" and not net.model.spikes(population.name):
        return net.form.silent
    by_role = {"input": net.form.input, "max_pool": MAX_POOL}
    return by_role.get(population.role, net.form.equations)


def _add_connections(
    net: SpikingNetwork, population: Population, path: Projection, order: int
) -> None:
    model = net.model
    source = model.populations[path.source]
    options = {
        "delay": path.delay * model.steps * net.clock.dt,
        "namespace": {},
        "name": _unused(f"{path.source}_to_{population.name}", net.synapses),
    }
    shared = None
    if net.connectivity == "shared":
        shared = shared_projection(model.graph, path, source, population)
    if shared is None:
        connections, fan_out = _explicit(net, population, path, order, options)
    else:
        connections = shared.connect(
            net[path.source],
            net[population.name],
            net.form.on_pre,
            # a spike in the first step stands for the source's scale
            model.scales[path.source],
            dtype=_PRECISIONS[net.precision],
            **options,
        )
        fan_out = shared.fan_out()
    net.synapses[connections.name] = connections
    net.network.add(connections)
    _count_fan_out(net, path.source, fan_out)


def _count_fan_out(net: SpikingNetwork, source: str, fan_out: np.ndarray) -> None:
    net.fan_out[source] = net.fan_out.get(source, np.zeros_like(fan_out)) + fan_out


def _explicit(
    net: SpikingNetwork, population: Population, path: Projection, order: int, options: dict
) -> tuple[b2.Synapses, np.ndarray]:
    model = net.model
    source = model.populations[path.source]
    is_pool = population.role == "max_pool"
    if is_pool:
        connections = pool_connections(model.graph[population.layer], source, population)
    else:
        connections = projection(model.graph, path, source, population)
    if not len(connections):
        raise BuildError(f"The projection from {path.source!r} to {population.name!r} is empty.")
    synapses = b2.Synapses(
        net[path.source],
        net[population.name],
        "" if is_pool else "w : 1 (constant)",
        on_pre="arrived_post += 1" if is_pool else net.form.on_pre,
        clock=net.clock,
        **options,
    )
    if is_pool:
        synapses.pre.when = "thresholds"
        synapses.pre.order = order - 1
    synapses.connect(i=connections.source, j=connections.target)
    if not is_pool:
        synapses.w = connections.weight * model.scales[path.source]
    return synapses, connections.fan_out(source.size)


def _add_read_out(net: SpikingNetwork, population: Population) -> None:
    monitor = b2.EventMonitor(
        net[population.name],
        "read_out",
        variables=net.form.potential,
        name=f"{population.name}_read_out",
    )
    net.monitors[population.name] = {"read_out": monitor}
    net.network.add(monitor)


def _unused(name: str, taken: Mapping[str, object]) -> str:
    candidate, number = name, 1
    while candidate in taken:
        number += 1
        candidate = f"{name}_path{number}"
    return candidate
